"""The exponential moving average of the parameters in the training call."""

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels import spec

DECAY = 0.8
# With two threads or more, the parameters of the first are replicated, those of the second are streamed: see schedule.h.
SIZES = {"small": (9, 7, 3), "large": (9, 200, 60, 3)}
every_optimizer = pytest.mark.parametrize("optimizer", spec.OPTIMIZERS)
dense_and_sparse = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


@pytest.fixture
def averaged():
    """averaged(problem, decay): the problem with an average, full of NaN at first."""
    return lambda given, decay=DECAY: given | {"ema_decay": decay, "average": np.full_like(given["params"], np.nan)}


@pytest.fixture
def sized(problem, rng, dtype):
    """sized(size, sparse, optimizer): a problem with a network of one of the SIZES."""

    def make(size, sparse, optimizer="momentum"):
        layers = kernels.layer_table(SIZES[size], "tanh", "softmax")
        params = rng.uniform(-0.3, 0.3, kernels.n_parameters(layers)).astype(dtype)
        return problem("softmax labels", optimizer, sparse=sparse, n_epochs=3, layers=layers, params=params)

    return make


def params_after_each_step(backend, job, n_threads):
    found = []
    for order in job.orders:
        for start in range(0, len(order), job.batch_size):
            step = job._replace(orders=order[None, start : start + job.batch_size], losses=job.losses[:1])
            backend.raw.train_epochs(step, n_threads)
            found.append(job.params.copy())
    return np.array(found)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@dense_and_sparse
@pytest.mark.parametrize("size", SIZES)
def test_weights_of_the_steps(backend, sized, job_of, averaged, assert_close, size, sparse, n_threads):
    """The mean of the parameters after all steps, weighted by powers of the decay."""
    given = sized(size, sparse)
    job = job_of(averaged(given))
    backend.raw.train_epochs(job, n_threads)
    params = params_after_each_step(backend, job_of(given), n_threads)
    np.testing.assert_array_equal(params[-1], job.params)
    weights = DECAY ** np.arange(len(params))[::-1]
    assert_close(job.average, np.average(params.astype(np.float64), axis=0, weights=weights), job.params.dtype)


@every_optimizer
@dense_and_sparse
def test_nothing_else_changes(backend, sized, job_of, bits, averaged, optimizer, sparse):
    for size in SIZES:
        given = sized(size, sparse, optimizer)
        for n_threads in (1, 2):
            with_average, without = job_of(averaged(given)), job_of(given)
            for job in (with_average, without):
                backend.raw.train_epochs(job, n_threads)
            assert bits(with_average) | {"average": b""} == bits(without)


@every_optimizer
def test_as_by_hand(assert_as_by_hand, problem, averaged, optimizer):
    for sparse in (False, True):
        assert_as_by_hand(averaged(problem("softmax labels", optimizer, sparse=sparse)))


def test_an_average_of_steps_before(assert_as_by_hand, problem, rng, dtype):
    given = problem("squared error", "adam", step=5, ema_decay=DECAY)
    assert_as_by_hand(given | {"average": rng.uniform(-0.5, 0.5, len(given["params"])).astype(dtype)})


def test_without_decay_it_is_the_parameters(backend, sized, job_of, averaged):
    for size in SIZES:
        job = job_of(averaged(sized(size, False), 0.0))
        backend.raw.train_epochs(job, 2)
        np.testing.assert_array_equal(job.average, job.params)


@pytest.mark.parametrize("skipped", [0, 1, 3])
def test_batches_without_weight_leave_it(assert_as_by_hand, problem, weights, skipped):
    """They count as steps. The first leaves what was given."""
    given = problem("softmax labels", "adam", ema_decay=DECAY)
    weight = weights(given)
    weight[given["orders"][0][10 * skipped : 10 * skipped + 10]] = 0
    given["orders"][1] = np.roll(given["orders"][0], 5)
    assert_as_by_hand(given | {"sample_weight": weight, "average": given["params"]})


def test_an_epoch_without_weight_leaves_it(backend, problem, job_of, dtype):
    given = problem("softmax labels", "adam", ema_decay=DECAY, step=1, sample_weight=np.zeros(37, dtype))
    job = job_of(given | {"average": np.arange(len(given["params"]), dtype=dtype)})
    backend.raw.train_epochs(job, 2)
    np.testing.assert_array_equal(job.average, np.arange(len(job.average)))
    assert job.step[0] == 9


@pytest.mark.parametrize("validation", ["dense", "sparse", "dense weighted"])
def test_validation_is_of_the_average(assert_as_by_hand, problem, averaged, validation):
    given = problem("softmax labels", "momentum", n_epochs=6, hyper={"lr": 0.3}, validation=validation)
    found = assert_as_by_hand(averaged(given))
    plain = assert_as_by_hand(given)
    assert np.abs(np.subtract(found.validation_losses, plain.validation_losses)).max() > 1e-2


@pytest.mark.parametrize("n_threads", [2, 3])
@dense_and_sparse
def test_the_average_does_not_depend_on_who_works(backend, sized, job_of, bits, averaged, sparse, n_threads):
    if backend.backend != "cython":
        pytest.skip("only the compiled back end has schedules, and threads that leave and join in again")
    given, found = averaged(sized("small", sparse)), set()
    try:
        for schedule in ("shared", "replicated"):
            for period in (0, 1, 2, 3, 1000):  # 1000: only in the first step
                backend.raw.follow(schedule)
                backend.raw.drill(period)
                job = job_of(given)
                backend.raw.train_epochs(job, n_threads)
                found.add(bits(job)["average"])
    finally:
        backend.raw.follow(None)
        backend.raw.drill(0)
    assert len(found) == 1

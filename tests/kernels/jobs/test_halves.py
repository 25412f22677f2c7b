"""A step in two halves: sums over shares of a batch, and the update by their total, against the training call on whole batches."""

from itertools import cycle, pairwise

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.checks import private
from fastprop.kernels.encoded import columns_of

FORMS = ["softmax labels", "softmax dense", "binary dense", "squared error", "poisson"]
SMOOTHED = FORMS[:3]
MORE_FORMS = ["absolute error", "huber", "quantile", "gamma", "tweedie"]
every_optimizer = pytest.mark.parametrize(("form", "optimizer"), [*zip(FORMS, spec.OPTIMIZERS, strict=True)])
N_IN, N_OUT = 9, 3
COLUMNS = columns_of(["plain", "piecewise_linear", "one_hot"], [1, 5, 3])
# A multiple of no register's width: sums are in the middle of a longer array, and nothing may be written beyond them.
MARGIN = 17
OPTIONS = {"exempt": True, "clip_norm": 0.5, "gradient_scale": 0.7, "value_scale": 1.3, "alpha": 0.2, "clip": 0.01}
OPTIONS |= {"batch_size": 15, "step": 11, "hyper": {"l2": 0.05, "weight_decay": 0.1}, "ema_decay": 0.8}


@pytest.fixture
def in_shares(backend, rng, bits):
    """in_shares(job, n_shares, n_threads): train the job as so many processes do that draw their shares of each batch."""

    def sums_of_share(job, batch, first, last, n_threads):
        block, before = np.full(len(job.params) + 2 + 2 * MARGIN, np.nan, job.params.dtype), bits(job)
        sums = block[MARGIN:-MARGIN]
        share = job._replace(orders=private(batch[None, first:last]), rates=job.rates[:0], losses=job.losses[:1])
        backend.raw.batch_sums(share, first, sums, n_threads)
        assert bits(job) == before
        assert np.isnan(block[[*range(MARGIN), *range(-MARGIN, 0)]]).all()
        return sums

    def train(job, n_shares, n_threads):
        first_step = job.step[0]
        for epoch, order in enumerate(job.orders):
            mean = 0.0
            for start in range(0, len(order), job.batch_size):
                batch = order[start : start + job.batch_size]
                bounds = [0, *np.sort(rng.integers(0, len(batch) + 1, n_shares - 1)), len(batch)]
                total = sum(sums_of_share(job, batch, *bound, n_threads) for bound in pairwise(bounds))
                at, loss, kept = int(job.step[0] - first_step), np.full(1, np.nan), total.copy()
                step = job._replace(orders=private(order[None, :0]), rates=job.rates[at : at + 1], losses=loss)
                backend.raw.apply_sums(step, total, n_threads)
                np.testing.assert_array_equal(total, kept)
                mean += loss[0] * len(batch) / len(order)
            job.losses[epoch] = mean
        return job

    return train


@pytest.fixture
def assert_as_whole(backend, in_shares, job_of, assert_close, dtype):
    """assert_as_whole(problem, change): jobs in shares end as one that nobody shares, ``change`` (job) made of both."""

    def check(given, change=lambda job: job):
        for n_threads in (1, 2):
            whole = change(job_of(given))
            backend.raw.train_epochs(whole, n_threads)
            for n_shares in (1, 2, 3):
                shared = in_shares(change(job_of(given)), n_shares, n_threads)
                assert shared.step[0] == whole.step[0]
                for name in ("params", "state", "average", "losses"):
                    assert_close(getattr(shared, name), getattr(whole, name), dtype, "epoch")

    return check


@pytest.fixture
def deep(rng, dtype):
    """deep(problem): the problem with a network of residual blocks, with layer norms and dropout."""

    def make(given):
        program = kernels.LayerProgram(N_IN).linear(20).dropout(0.3, 5, 6)
        program = program.layer_norm().linear(20).activation("gelu").dropout(0.2, 1, 2).linear(20).add(program.value)
        layers = program.activation("relu").linear(N_OUT).link(spec.LOSSES[given["loss"]].link)
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
        return given | {"layers": layers, "params": params}

    return make


@every_optimizer
def test_all_options_together(assert_as_whole, problem, weights, rng, form, optimizer):
    smoothing = 0.1 if form in SMOOTHED else 0.0
    for sparse in (False, True):
        given = problem(form, optimizer, sparse=sparse, rates=rng.uniform(0.5, 1.5, 6), smoothing=smoothing, **OPTIONS)
        assert_as_whole(given | {"sample_weight": weights(given), "average": given["params"]})


@pytest.mark.parametrize(("form", "optimizer"), [*zip(MORE_FORMS, cycle(["momentum"]), strict=False)])
def test_more_losses(assert_as_whole, problem, form, optimizer):
    assert_as_whole(problem(form, optimizer, batch_size=15))


@pytest.mark.parametrize("form_of_x", ["dense", "sparse", "encoded"])
def test_masks_are_those_of_the_whole_batch(assert_as_whole, problem, deep, rng, dtype, form_of_x):
    given = deep(problem("softmax labels", "adamw", sparse=form_of_x == "sparse", **OPTIONS))
    encoded = np.stack([rng.standard_normal(37), rng.uniform(-1, 6, 37), rng.integers(-1, 3, 37)], 1).astype(dtype)
    change = {"x": encoded, "indices": private(COLUMNS)} if form_of_x == "encoded" else {}
    assert_as_whole(given | {"average": given["params"]}, lambda job: job._replace(**change))


@every_optimizer
def test_one_share_has_the_bits_of_the_whole_batch(backend, in_shares, problem, deep, job_of, bits, dtype, form, optimizer):
    """But for the reported loss, and for clipping on sparse X, where the norm is added up in another order."""
    for sparse in (False, True):
        plain = {"sparse": sparse, "clip_norm": 0.0 if sparse else 0.5}
        for given in (problem(form, optimizer, **OPTIONS | plain), deep(problem(form, optimizer, **OPTIONS | plain))):
            weight = (np.arange(37) % 4 / 4).astype(dtype)  # whose sums are exact
            given |= {"sample_weight": weight, "average": given["params"]}
            for n_threads in (1, 2, 3):
                whole = job_of(given)
                backend.raw.train_epochs(whole, n_threads)
                shared = in_shares(job_of(given), 1, n_threads)
                assert bits(shared) | {"losses": b""} == bits(whole) | {"losses": b""}


def test_a_large_network_that_begins_on_no_boundary(assert_as_whole, problem, rng, dtype):
    """Whose parameters several threads would stream."""
    layers = kernels.layer_table([N_IN, 200, 60, N_OUT], "relu", "softmax")
    block = rng.uniform(-0.3, 0.3, kernels.n_parameters(layers) + 1).astype(dtype)
    given = problem("softmax labels", "adam", layers=layers, params=block[1:], n_epochs=1)
    for offset in (0, 1):
        assert_as_whole(given, lambda job, at=offset: job._replace(params=block.copy()[at:][: len(job.params)]))


def test_the_update_has_the_bits_of_any_schedule(each_source, problem, job_of, bits):
    """Though it follows but one."""
    if each_source.backend != "cython":
        pytest.skip("only the compiled back end has schedules")
    given, found = problem("softmax labels", "adam", n_epochs=1, clip_norm=0.1), set()
    try:
        for schedule in (None, "shared", "replicated"):
            each_source.raw.follow(schedule)
            job = job_of(given)
            each_source.raw.apply_sums(job, np.arange(len(job.params) + 2, dtype=job.params.dtype), 3)
            found.add(tuple(bits(job).values()))
    finally:
        each_source.raw.follow(None)
    assert len(found) == 1


@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_without_weight_is_counted(backend, problem, job_of, bits, dtype, sparse):
    given = problem("softmax labels", "adam", sparse=sparse, n_epochs=1, sample_weight=np.zeros(37, dtype), **OPTIONS)
    job = job_of(given | {"average": given["params"]})
    before, sums = bits(job), np.full(len(job.params) + 2, np.nan, dtype)
    backend.raw.batch_sums(job, 0, sums, 2)
    assert not sums.any()
    sums[:-1] = 1
    backend.raw.apply_sums(job, sums, 2)
    assert job.losses[0] == 0
    assert job.step[0] == 12
    assert bits(job) | {"losses": b"", "step": b""} == before | {"losses": b"", "step": b""}


def test_sums_of_another_size_are_refused(backend, problem, job_of, bits, dtype):
    if backend.backend != "cython":
        pytest.skip("has no addresses")
    job = job_of(problem("softmax labels", "adam", n_epochs=1))
    before = bits(job)
    for n in (0, len(job.params) + 1, len(job.params) + 3):
        for call in (lambda sums: backend.raw.batch_sums(job, 0, sums, 1), lambda sums: backend.raw.apply_sums(job, sums, 1)):
            with pytest.raises(ValueError, match="sums must have"):
                call(np.zeros(n, dtype))
    assert bits(job) == before

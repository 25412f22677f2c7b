"""The options of the training call, each and together, against a training loop in NumPy."""

from itertools import cycle

import numpy as np
import pytest
from scipy.special import expit, log_expit

from fastprop import kernels
from fastprop.kernels import spec

FORMS = ["softmax labels", "softmax dense", "binary dense", "squared error", "poisson"]
MORE_FORMS = ["absolute error", "huber", "quantile", "gamma", "tweedie"]
SMOOTHED = FORMS[:3]
EVERY = [*zip(cycle(FORMS), spec.OPTIMIZERS, strict=False)]
every_optimizer = pytest.mark.parametrize(("form", "optimizer"), EVERY)
every_form = pytest.mark.parametrize(("form", "optimizer"), [*zip(FORMS, cycle(["momentum", "adamw"]), strict=False)])


@every_optimizer
def test_no_options(assert_as_by_hand, problem, form, optimizer):
    assert_as_by_hand(problem(form, optimizer))
    assert_as_by_hand(problem(form, optimizer, sparse=True, step=5))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_nesterov(assert_as_by_hand, problem, optimizer, nesterov):
    assert_as_by_hand(problem("softmax labels", optimizer, hyper={"lr": 0.05, "momentum": 0.7, "nesterov": nesterov}))


@every_optimizer
def test_l2_and_weight_decay(assert_as_by_hand, problem, form, optimizer):
    """Each alone, both, and for the weights alone; beside the L2 term of the loss, which is divided by the batch."""
    for exempt in (False, True):
        for own in ({"l2": 0.1}, {"weight_decay": 0.2}, {"l2": 0.1, "weight_decay": 0.2}):
            given = problem(form, optimizer, hyper=own, alpha=0.3, exempt=exempt)
            assert_as_by_hand(given)


@every_optimizer
def test_rates(assert_as_by_hand, problem, rng, form, optimizer):
    """One for each step of the call, over its epochs, also where steps were done before; weight decay follows."""
    hyper = {"weight_decay": 0.2}
    assert_as_by_hand(problem(form, optimizer, hyper=hyper, step=7, rates=rng.uniform(0, 2, 8)))


def test_rates_count_batches_without_weight(assert_as_by_hand, problem, weights, rng):
    given = problem("softmax labels", "adam", rates=rng.uniform(0, 2, 8))
    weight = weights(given)
    weight[given["orders"][0][10:20]] = 0
    expected = assert_as_by_hand(given | {"sample_weight": weight})
    assert len(expected.clipped) < expected.step == 8


@every_form
def test_clip_norm(assert_as_by_hand, by_hand, problem, form, optimizer):
    """A norm that some batches have and others do not, in which L2 term and scale are seen."""
    options = {"alpha": 0.2, "gradient_scale": 3.0}
    low = assert_as_by_hand(problem(form, optimizer, **options, clip_norm=1e-3))
    assert all(low.clipped)
    for limit in np.geomspace(0.1, 100, 40):
        given = problem(form, optimizer, **options, clip_norm=float(limit))
        if len(set(by_hand(given).clipped)) == 2:
            assert_as_by_hand(given)
            return
    raise AssertionError("no norm clips some batches and not others")


def test_a_norm_that_is_not_finite_clips_nothing(backend, problem, job_of, bits):
    given = problem("squared error", "momentum", n_epochs=1)
    for bad in (np.inf, np.nan):
        given["x"][given["orders"][0][-1], 2] = bad
        jobs = [job_of(given | {"clip_norm": limit}) for limit in (0.0, 1e30)]
        for job in jobs:
            with np.errstate(all="ignore"):
                backend.raw.train_epochs(job, 1)
        assert np.isnan(jobs[0].params).any()
        assert bits(jobs[0]) == bits(jobs[1])


def test_a_sum_of_squares_that_overflows_clips_nothing(backend, problem, job_of, bits, dtype):
    if dtype == np.float32:
        pytest.skip("the sum of squares is in float64")
    given = problem("squared error", "momentum", n_epochs=1, batch_size=99, gradient_scale=1e200)
    plain, clipped = (job_of(given | {"clip_norm": limit}) for limit in (0.0, 1.0))
    for job in (plain, clipped):
        with np.errstate(over="ignore"):
            backend.raw.train_epochs(job, 1)
    assert np.isfinite(plain.params).all()
    assert bits(plain) == bits(clipped)


def test_a_norm_whose_square_overflows_the_dtype_is_finite(assert_as_by_hand, problem, dtype):
    if dtype == np.float64:
        pytest.skip("the sum of squares is in float64")
    expected = assert_as_by_hand(problem("squared error", "momentum", gradient_scale=1e25, clip_norm=1.0))
    assert all(expected.clipped)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("form", SMOOTHED)
def test_smoothing(assert_as_by_hand, problem, form, optimizer):
    """Training alone; reported with clipped probabilities or not."""
    for clip in (0.0, 0.1):
        given = problem(form, optimizer, validation="dense", clip=clip)
        smoothed, plain = (assert_as_by_hand(given | {"smoothing": smoothing}) for smoothing in (0.15, 0.0))
        assert abs(smoothed.losses[0] - plain.losses[0]) > 1e-3


def test_smoothing_of_binary_labels(backend, problem, job_of, assert_close, dtype):
    """One output has two classes."""
    layers = kernels.layer_table([9, 1], link="sigmoid")
    given = problem("binary dense", "momentum", n_epochs=1, layers=layers, smoothing=0.2)
    given |= {"params": given["params"][:10], "targets": (given["targets"][:, :1] > 0.5).astype(dtype), "batch_size": 99}
    job, y = job_of(given), 0.8 * given["targets"][:, 0].astype(np.float64) + 0.1
    backend.raw.train_epochs(job, 1)
    weight, bias = given["params"][:-1].astype(np.float64), float(given["params"][-1])
    z = given["x"].astype(np.float64) @ weight + bias
    assert_close(job.losses[0], -np.mean(y * log_expit(z) + (1 - y) * log_expit(-z)), dtype, "network")
    assert_close(job.params[-1], bias - given["hyper"]["lr"] * np.mean(expit(z) - y), dtype, "network", magnitude=1)


@every_form
def test_scales(assert_as_by_hand, problem, form, optimizer):
    """Of the loss's gradient, and of its value, that of validation too; the L2 term has neither."""
    scales = {"gradient_scale": 2 / 3, "value_scale": 2.5}
    assert_as_by_hand(problem(form, optimizer, **scales, alpha=0.3, validation="dense"))


@every_form
@pytest.mark.parametrize("validation", ["dense", "sparse", "dense weighted", "sparse weighted"])
def test_validation(assert_as_by_hand, problem, form, optimizer, validation):
    options = {"hyper": {"lr": 0.3}, "n_epochs": 6, "validation": validation, "alpha": 0.1}
    assert_as_by_hand(problem(form, optimizer, **options))
    assert_as_by_hand(problem(form, optimizer, **options, clip=0.1, sparse=True, step=3))


def test_only_better_parameters_are_kept(assert_as_by_hand, problem):
    """The best epoch is not the last, and none is best where a better loss is known."""
    found = []
    for lr in (0.05, 0.1, 0.2, 0.4):
        given = problem("softmax labels", "momentum", hyper={"lr": lr}, n_epochs=8, validation="dense")
        found.append(assert_as_by_hand(given).best[1])
        expected = assert_as_by_hand(given | {"best": 1e-9})
        assert expected.best == [1e-9, 0]
        assert not expected.best_params.any()
    assert any(step < 8 * 4 for step in found)


@pytest.mark.parametrize("averaged", [False, True])
def test_running_statistics_are_kept_with_the_best_parameters(
    backend, oracle, problem, job_of, rng, assert_close, wide, dtype, averaged
):
    """Validation goes by the running statistics, as predictions do, also where it is of the average of the parameters."""
    layers = kernels.LayerProgram(9).linear(8).batch_norm(0.1, 0.5).activation("gelu").dropout(0.2, 1, 2).linear(3).link("softmax")
    params = rng.standard_normal(kernels.n_parameters(layers)).astype(dtype)
    given = problem("softmax labels", "momentum", n_epochs=6, hyper={"lr": 0.5}, validation="dense", layers=layers, params=params)
    given["buffers"] = np.repeat([0, 1], 8).astype(dtype)
    given |= {"ema_decay": 0.7, "average": np.full_like(params, np.nan)} if averaged else {}
    for n_threads in (1, 2):
        whole, part = job_of(given), job_of(given | {"validation": None})
        backend.raw.train_epochs(whole, n_threads)
        x, targets, _ = given["validation"]
        losses, after = [], []
        for i in range(6):
            backend.raw.train_epochs(part._replace(orders=part.orders[i : i + 1], losses=part.losses[i : i + 1]), n_threads)
            validated = part.average if averaged else part.params
            probs = oracle.network_forward(wide(x), layers, wide(validated), buffers=wide(part.buffers))
            losses.append(-np.log(probs[np.arange(len(x)), targets]).mean())
            after.append((validated.copy(), part.buffers.copy()))
        best = int(np.argmin(losses))
        assert_close(whole.validation_losses, losses, dtype, "network")
        assert whole.best.tolist() == [whole.validation_losses[best], 4 * (best + 1)]
        np.testing.assert_array_equal(whole.best_params, after[best][0])
        np.testing.assert_array_equal(whole.best_buffers, after[best][1])
        np.testing.assert_array_equal(whole.buffers, part.buffers)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_biases_and_norms_may_be_exempt_from_weight_decay(backend, problem, job_of, rng, assert_close, dtype, optimizer):
    """Without a gradient nothing else moves them."""
    layers = kernels.LayerProgram(9).batch_norm().linear(8).layer_norm().activation("relu").linear(3).link("softmax")
    params = rng.standard_normal(kernels.n_parameters(layers)).astype(dtype)
    options = {"layers": layers, "params": params, "hyper": {"weight_decay": 0.5}, "gradient_scale": 0.0}
    given = problem("softmax labels", optimizer, n_epochs=1, **options) | {"buffers": np.ones(18, dtype)}
    shrunk = (1 - given["hyper"]["lr"] * 0.5) ** 4
    for exempt in (False, True):
        job = job_of(given | {"exempt": exempt})
        backend.raw.train_epochs(job, 1)
        views = zip(kernels.layer_views(layers, params), kernels.layer_views(layers, job.params), strict=True)
        for (before, bias_before), (after, bias_after) in views:
            assert_close(after, before * (1 if exempt and before.ndim == 1 else shrunk), dtype)
            assert_close(bias_after, bias_before * (1 if exempt else shrunk), dtype)


def test_nan_is_never_best(backend, problem, job_of):
    given = problem("softmax labels", "momentum", n_epochs=3, validation="dense")
    given["validation"][0][3, 2] = np.nan
    job = job_of(given)
    with np.errstate(all="ignore"):
        backend.raw.train_epochs(job, 1)
    assert np.isnan(job.validation_losses).all()
    assert job.best.tolist() == [np.inf, 0]
    assert not job.best_params.any()


def test_an_equal_loss_is_not_better(backend, problem, job_of):
    job = job_of(problem("softmax labels", "momentum", n_epochs=4, hyper={"lr": 0.0}, validation="dense"))
    backend.raw.train_epochs(job, 1)
    assert len(set(job.validation_losses)) == 1
    assert job.best.tolist() == [job.validation_losses[0], 4]


@pytest.mark.parametrize("form", MORE_FORMS)
def test_more_losses(assert_as_by_hand, problem, weights, form):
    """Weighted and not, scaled, with validation: their gradient is not output - target."""
    given = problem(form, "momentum", validation="dense weighted", gradient_scale=0.7, value_scale=1.3)
    assert_as_by_hand(given)
    assert_as_by_hand(given | {"sample_weight": weights(given)})


@every_optimizer
def test_all_options_together(assert_as_by_hand, problem, weights, rng, form, optimizer):
    hyper = {"l2": 0.05, "weight_decay": 0.1}
    smoothing = 0.1 if form in SMOOTHED else 0.0
    options = {"hyper": hyper, "rates": rng.uniform(0.5, 1.5, 21), "exempt": True, "clip_norm": 0.5, "smoothing": smoothing}
    options |= {"gradient_scale": 0.7, "value_scale": 1.3, "alpha": 0.2, "clip": 0.01, "n_epochs": 3, "batch_size": 6, "step": 11}
    for sparse, validation in ((False, "sparse weighted"), (True, "dense")):
        given = problem(form, optimizer, sparse=sparse, validation=validation, ema_decay=0.8, **options)
        assert_as_by_hand(given | {"sample_weight": weights(given), "average": given["params"]})


@every_optimizer
def test_epochs_in_one_call_are_those_of_several(backend, problem, job_of, bits, rng, form, optimizer):
    """The same bits: steps, memory, average and the best so far are handed on."""
    given = problem(form, optimizer, n_epochs=3, validation="dense", exempt=True, clip_norm=0.7, ema_decay=0.9)
    given["average"] = np.full_like(given["params"], np.nan)
    rates = rng.uniform(0.5, 1.5, 12)
    for n_threads in (1, 2):
        whole, one_by_one = job_of(given | {"rates": rates}), job_of(given)
        backend.raw.train_epochs(whole, n_threads)
        for i in range(3):
            part = {"orders": one_by_one.orders[i : i + 1], "rates": rates[4 * i : 4 * i + 4]}
            part |= {name: getattr(one_by_one, name)[i : i + 1] for name in ("losses", "validation_losses")}
            backend.raw.train_epochs(one_by_one._replace(**part), n_threads)
        assert bits(whole) == bits(one_by_one)

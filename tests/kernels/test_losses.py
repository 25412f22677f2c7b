"""Losses of every back end against the reference in float64, with every form of targets."""

from functools import partial
from itertools import cycle

import numpy as np
import pytest
from scipy.special import xlogy
from sklearn._loss import loss as scikit_learns

from fastprop import kernels
from fastprop.kernels.checks import NO_LABELS, loss_hyper, private
from fastprop.kernels.spec import LOSSES

FORMS = ["softmax labels", "softmax dense", "binary labels", "binary dense", "squared error", "poisson"]
FORMS += ["absolute error", "huber", "quantile", "gamma", "tweedie"]
KERNEL = {"softmax": "softmax_cross_entropy", "binary": "binary_cross_entropy", "squared": "squared_error"}
KERNEL |= {"absolute": "absolute_error"}
P = 1.3  # Tweedie's power


@pytest.fixture(params=FORMS)
def problem(request, rng, draw, dtype):
    """problem(n, n_out) -> (kernel name, logits, targets, targets as a dense float64 array, parameters of the loss)."""
    form = request.param

    def make(n, n_out):
        n_out = 1 if form == "binary labels" else n_out
        logits, kernel = 2 * draw(n, n_out), KERNEL.get(form.split()[0], form)
        levels = rng.uniform(0.1, 0.9, n_out)
        hyper = {"huber": {"delta": 0.7}, "quantile": {"quantile": levels}, "tweedie": {"power": P}}.get(form, {})
        if form == "softmax labels":
            targets = rng.integers(0, n_out, n)
            return kernel, logits, targets, np.eye(n_out)[targets], hyper
        if form == "binary labels":
            targets = rng.integers(0, 2, n)
            return kernel, logits, targets, targets[:, None].astype(np.float64), hyper
        if LOSSES[kernel].link == "identity":
            targets = draw(n, n_out)
        elif LOSSES[kernel].link == "exp":
            targets = (rng.integers(0, 4, (n, n_out)) + (kernel == "gamma")).astype(dtype)
        else:
            targets = rng.random((n, n_out)).astype(dtype)
        return kernel, logits, targets, targets.astype(np.float64), hyper

    return make


def shapes(sizes):
    """(n, n_out) with one of the two at each size."""
    return [shape for size in sizes for shape in ((size, 3), (5, max(size, 1)))]


def terms(kernel, z, y):
    """Above the absolute values of all that is added up for one element of a loss."""
    if LOSSES[kernel].link == "identity":
        return np.abs(y) + z + (np.abs(y) + z) ** 2 / 2
    if kernel == "tweedie":  # the exponents are rounded too
        return (1 + z) * (np.exp((2 - P) * z) / (2 - P) + (y * np.exp((P - 1) * z) + (1 + np.abs(xlogy(y, y))) * (1 + y)) / (P - 1))
    if kernel == "gamma":
        return (1 + z) * (1 + y * np.exp(z)) + np.abs(np.log(y))
    return (1 + z) * (1 + y) + np.abs(xlogy(y, y)) + (np.exp(z) if kernel == "poisson" else 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_forward(backend, oracle, problem, rng, wide, assert_close, dtype, sizes, weighted):
    for (n, n_out), n_threads in zip(shapes(sizes), cycle((1, 3, 2)), strict=False):
        kernel, logits, targets, dense, hyper = problem(n, n_out)
        weight = rng.random(n).astype(dtype) if weighted else None
        function = partial(getattr(backend, f"{kernel}_forward"), **hyper)
        expected = getattr(oracle, f"{kernel}_forward")(*wide(logits, targets, weight), **hyper)
        z = np.abs(logits.astype(np.float64))
        magnitude = terms(kernel, z, dense).sum(axis=1) @ (np.ones(n) if weight is None else weight)
        if LOSSES[kernel].link == "identity":
            assert_close(function(logits, targets, weight, n_threads=n_threads), expected, dtype, magnitude=magnitude)
            continue
        out = np.full(logits.shape, np.nan, dtype)
        loss_sum, outputs = function(logits, targets, weight, out=out, n_threads=n_threads)
        assert outputs is out
        assert type(loss_sum) is float
        assert_close(loss_sum, expected[0], dtype, magnitude=magnitude)
        assert_close(out, expected[1], dtype, magnitude=expected[1] * (1 + z.max(axis=1, keepdims=True, initial=0) * 2))
        again, outputs = function(logits, targets, weight, out=logits, n_threads=n_threads)  # in place
        assert outputs is logits
        assert again == loss_sum
        np.testing.assert_array_equal(logits, out)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_backward(backend, oracle, problem, rng, wide, assert_close, dtype, sizes, weighted):
    for (n, n_out), n_threads in zip(shapes(sizes), cycle((1, 3, 2)), strict=False):
        kernel, logits, targets, dense, hyper = problem(n, n_out)
        outputs = np.abs(logits) / 8
        weight = rng.random(n).astype(dtype) if weighted else None
        function = partial(getattr(backend, f"{kernel}_backward"), scale=-0.75, **hyper)
        expected = getattr(oracle, f"{kernel}_backward")(*wide(outputs, targets, weight), scale=-0.75, **hyper)
        mass = dense.sum(axis=1, keepdims=True) if kernel == "softmax_cross_entropy" else 1
        row_weight = np.ones((n, 1)) if weight is None else weight[:, None]
        out = np.full(logits.shape, np.nan, dtype)
        size = outputs * mass + np.abs(dense) + (kernel in ("absolute_error", "huber", "quantile"))
        if kernel in ("gamma", "tweedie"):  # the exponents are rounded too
            power = outputs.astype(np.float64) ** -(1 if kernel == "gamma" else P - 1)
            size = (1 + dense + outputs) * (1 + power) * (1 + np.abs(np.log(outputs.astype(np.float64))))
        assert function(outputs, targets, weight, out=out, n_threads=n_threads) is out
        assert_close(out, expected, dtype, magnitude=row_weight * size)
        assert function(outputs, targets, weight, out=outputs, n_threads=n_threads) is outputs  # in place
        np.testing.assert_array_equal(outputs, out)


@pytest.mark.parametrize("integer", ["int8", "uint8", "int32", "uint32", "int64", "uint64", ">i4"])
@pytest.mark.parametrize("dtype", [np.dtype(np.float32)], ids=str)
def test_labels_of_every_integer_dtype(draw, integer):
    """They are converted before any back end."""
    backend = kernels.active
    labels = np.array([0, 2, 1, 2])
    logits = draw(4, 3)
    expected = backend.softmax_cross_entropy_forward(logits, labels)
    got = backend.softmax_cross_entropy_forward(logits, labels.astype(integer))
    assert got[0] == expected[0]
    binary = backend.binary_cross_entropy_forward(logits[:, :1].copy(), np.array([0, 1, 1, 0], integer))
    as_bool = backend.binary_cross_entropy_forward(logits[:, :1].copy(), np.array([False, True, True, False]))
    assert binary[0] == as_bool[0]


def test_loss_is_finite_for_any_finite_logits(backend, dtype):
    """The loss comes from the logits: from clipped probabilities it would stop growing at about 37 nats, or 16 in float32."""
    logits = np.array([[1e30, -1e30, 0], [-1e4, 1e4, 3], [0, 0, 0]], dtype)
    loss_sum, probs = backend.softmax_cross_entropy_forward(logits, np.array([0, 0, 1]))
    np.testing.assert_allclose(loss_sum, 2e4 + np.log(3), rtol=1e-6)
    np.testing.assert_allclose(probs, [[1, 0, 0], [0, 1, 0], [1 / 3] * 3], rtol=1e-6)
    logits, targets = np.array([[1e30], [-1e4], [1e4], [-1e30]], dtype), np.array([1, 1, 0, 0])
    loss_sum, probs = backend.binary_cross_entropy_forward(logits, targets)
    np.testing.assert_allclose(loss_sum, 2e4, rtol=1e-6)
    np.testing.assert_array_equal(probs, [[1], [0], [1], [0]])


def test_loss_sums_are_accumulated_in_float64(backend, dtype):
    """In float32, 2^25 + 1 is 2^25: all the small losses after a large one would vanish, not just those of its block."""
    n = 20_000
    predictions, targets = np.full((n, 1), np.sqrt(2), dtype), np.zeros((n, 1), dtype)
    predictions[0] = 2**13
    large = 2.0**25
    np.testing.assert_allclose(backend.squared_error_forward(predictions, targets) - large, n - 1, rtol=5e-3)


def test_sums_without_outputs(backend, problem, dtype):
    """To the raw kernels, empty outputs are not wanted; the sum is that with outputs."""
    for n_out in (3, 40):
        kernel, logits, targets, dense, hyper = problem(9, n_out)
        has_labels = kernel == "softmax_cross_entropy" and targets.ndim == 1
        labels, y = (private(targets), np.empty((0, 0), dtype)) if has_labels else (NO_LABELS, dense.astype(dtype))
        common = LOSSES[kernel].code, loss_hyper(LOSSES[kernel], hyper, logits.shape[1]), logits, labels, y, np.empty(0, dtype)
        sums = [backend.raw.loss_forward(*common, outputs, 1) for outputs in (np.empty_like(logits), np.empty((0, 0), dtype))]
        assert sums[0] == sums[1]


REGRESSION = {
    "absolute_error": scikit_learns.AbsoluteError,
    "huber": scikit_learns.HuberLoss,
    "quantile": scikit_learns.PinballLoss,
    "poisson": scikit_learns.HalfPoissonLoss,
    "gamma": scikit_learns.HalfGammaLoss,
    "tweedie": scikit_learns.HalfTweedieLoss,
}


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("dtype", [np.dtype(np.float64)], ids=str)
def test_values_and_gradients_are_those_of_scikit_learn(backend, rng, draw, assert_close, name):
    """With the terms of y alone, so that the loss is 0 for a right prediction."""
    hyper = {"huber": {"delta": 0.6}, "quantile": {"quantile": 0.2}, "tweedie": {"power": 1.7}}.get(name, {})
    z, y = draw(60, 1), rng.gamma(2.0, 1.0, (60, 1))
    if name in ("poisson", "tweedie"):
        y[:20] = 0
    theirs = REGRESSION[name](**hyper)
    value, gradient = theirs.loss_gradient(y_true=y[:, 0], raw_prediction=z[:, 0].copy())
    value = value + theirs.constant_to_optimal_zero(y[:, 0])
    is_identity = LOSSES[name].link == "identity"
    result = getattr(backend, f"{name}_forward")(z, y, **hyper)
    outputs = z if is_identity else result[1]
    assert_close(result if is_identity else result[0], value.sum(), np.float64, magnitude=np.abs(value).sum() + 300)
    assert_close(getattr(backend, f"{name}_backward")(outputs, y, **hyper)[:, 0], gradient, np.float64, magnitude=20)
    right = getattr(backend, f"{name}_forward")(y.copy() if is_identity else np.log(y[20:]), y if is_identity else y[20:], **hyper)
    assert abs(right if is_identity else right[0]) < 1e-13


def test_gradients_at_a_kink_are_zero(backend, dtype):
    y = np.array([[1.5, -2.0, 0.0]], dtype)
    for name in ("absolute_error", "huber", "quantile"):
        assert not getattr(backend, f"{name}_backward")(y, y).any()
    beyond = backend.huber_backward(y + np.array([[3, -3, 0.5]], dtype), y, delta=0.75)
    np.testing.assert_array_equal(beyond, [[0.75, -0.75, 0.5]])


def test_one_level_for_each_output(backend, rng, draw, dtype):
    """The loss of several columns is the sum of those of the columns, with weights or not; one number is for all."""
    z, y, levels = draw(7, 5), draw(7, 5), rng.uniform(0.1, 0.9, 5)
    for weight in (None, rng.random(7).astype(dtype)):
        columns = [(z[:, [c]].copy(), y[:, [c]].copy(), weight, levels[c]) for c in range(5)]
        total = backend.quantile_forward(z, y, weight, levels)
        np.testing.assert_allclose(total, sum(backend.quantile_forward(*column) for column in columns), rtol=1e-5)
        gradient = backend.quantile_backward(z, y, weight, levels)
        np.testing.assert_allclose(gradient, np.hstack([backend.quantile_backward(*column) for column in columns]), rtol=1e-6)
        assert backend.quantile_forward(z, y, weight, [0.3] * 5) == pytest.approx(
            backend.quantile_forward(z, y, weight, 0.3), rel=1e-6
        )


def test_deviances_of_extreme_predictions(backend, dtype):
    """Powers of the mean come from its logarithm: Tweedie's loss is finite where the mean is 0 or infinite in the dtype."""
    z = np.array(
        [[-800.0], [-120.0], [0.0], [120.0], [800.0]] if dtype == np.float64 else [[-100.0], [-60], [0], [60], [100]], dtype
    )
    y = np.array([[0.0], [0], [0], [0], [0]], dtype)
    with np.errstate(all="ignore"):
        for targets in (y, y + 2):
            loss, means = backend.tweedie_forward(z, targets)
            exact = z.astype(np.longdouble)
            expected = 2 * np.exp(exact / 2) + 2 * (targets * np.exp(-exact / 2) - 2 * np.sqrt(targets))
            np.testing.assert_allclose(loss, float(expected.sum()), rtol=1e-4 if dtype == np.float32 else 1e-12)
            gradient = backend.tweedie_backward(means, targets)
            assert np.isfinite(gradient).all()
            inner = slice(1, 4)
            exact = np.exp(exact / 2) - targets * np.exp(-exact / 2)
            np.testing.assert_allclose(gradient[inner], exact[inner].astype(float), rtol=1e-4 if dtype == np.float32 else 1e-12)

"""Losses of every back end against the reference in float64, with every form of targets."""

from itertools import cycle

import numpy as np
import pytest
from scipy.special import xlogy

from fastprop import kernels

FORMS = ["softmax labels", "softmax dense", "binary labels", "binary dense", "squared error", "poisson"]
KERNEL = {"softmax": "softmax_cross_entropy", "binary": "binary_cross_entropy", "squared": "squared_error", "poisson": "poisson"}


@pytest.fixture(params=FORMS)
def problem(request, rng, draw, dtype):
    """problem(n, n_out) -> (kernel name, logits, targets, targets as a dense float64 array)."""
    form = request.param

    def make(n, n_out):
        n_out = 1 if form == "binary labels" else n_out
        logits, kernel = 2 * draw(n, n_out), KERNEL[form.split()[0]]
        if form == "softmax labels":
            targets = rng.integers(0, n_out, n)
            return kernel, logits, targets, np.eye(n_out)[targets]
        if form == "binary labels":
            targets = rng.integers(0, 2, n)
            return kernel, logits, targets, targets[:, None].astype(np.float64)
        targets = {"squared error": draw(n, n_out), "poisson": rng.integers(0, 4, (n, n_out)).astype(dtype)}.get(
            form, rng.random((n, n_out)).astype(dtype)
        )
        return kernel, logits, targets, targets.astype(np.float64)

    return make


def shapes(sizes):
    """(n, n_out) with one of the two at each size."""
    return [shape for size in sizes for shape in ((size, 3), (5, max(size, 1)))]


def terms(kernel, z, y):
    """Above the absolute values of all that is added up for one element of a loss."""
    if kernel == "squared_error":
        return (np.abs(y) + z) ** 2 / 2
    return (1 + z) * (1 + y) + np.abs(xlogy(y, y)) + (np.exp(z) if kernel == "poisson" else 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_forward(backend, oracle, problem, rng, wide, assert_close, dtype, sizes, weighted):
    for (n, n_out), n_threads in zip(shapes(sizes), cycle((1, 3, 2)), strict=False):
        kernel, logits, targets, dense = problem(n, n_out)
        weight = rng.random(n).astype(dtype) if weighted else None
        function = getattr(backend, f"{kernel}_forward")
        expected = getattr(oracle, f"{kernel}_forward")(*wide(logits, targets, weight))
        z = np.abs(logits.astype(np.float64))
        magnitude = terms(kernel, z, dense).sum(axis=1) @ (np.ones(n) if weight is None else weight)
        if kernel == "squared_error":
            assert_close(function(logits, targets, weight, n_threads), expected, dtype, magnitude=magnitude)
            continue
        out = np.full(logits.shape, np.nan, dtype)
        loss_sum, outputs = function(logits, targets, weight, out, n_threads)
        assert outputs is out
        assert type(loss_sum) is float
        assert_close(loss_sum, expected[0], dtype, magnitude=magnitude)
        assert_close(out, expected[1], dtype, magnitude=expected[1] * (1 + z.max(axis=1, keepdims=True, initial=0) * 2))
        again, outputs = function(logits, targets, weight, logits, n_threads)  # in place
        assert outputs is logits
        assert again == loss_sum
        np.testing.assert_array_equal(logits, out)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_backward(backend, oracle, problem, rng, wide, assert_close, dtype, sizes, weighted):
    for (n, n_out), n_threads in zip(shapes(sizes), cycle((1, 3, 2)), strict=False):
        kernel, logits, targets, dense = problem(n, n_out)
        outputs = np.abs(logits) / 8
        weight = rng.random(n).astype(dtype) if weighted else None
        function, scale = getattr(backend, f"{kernel}_backward"), -0.75
        expected = getattr(oracle, f"{kernel}_backward")(*wide(outputs, targets, weight), scale)
        mass = dense.sum(axis=1, keepdims=True) if kernel == "softmax_cross_entropy" else 1
        row_weight = np.ones((n, 1)) if weight is None else weight[:, None]
        out = np.full(logits.shape, np.nan, dtype)
        assert function(outputs, targets, weight, scale, out, n_threads) is out
        assert_close(out, expected, dtype, magnitude=row_weight * (outputs * mass + np.abs(dense)))
        assert function(outputs, targets, weight, scale, outputs, n_threads) is outputs  # in place
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

"""Where arrays begin in memory, and what an earlier call left in the memory that it gave back, must not show in the result."""

import numpy as np
import pytest

from fastprop import kernels

CACHE_LINE = 64


@pytest.fixture(params=[pair for pair in kernels.available() if pair[0] == "cython"], ids=lambda pair: pair[1])
def backend(request):
    return kernels.load(*request.param)


def copy_at(array, n_bytes):
    """A copy that begins so many bytes after the start of a cache line."""
    memory = np.zeros(array.nbytes + 2 * CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE + n_bytes
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def train(backend, x, n_hidden, n_threads, optimizer="adam", place=0):
    """(losses, parameters, state) after three epochs from parameters at this place in a cache line."""
    rng = np.random.default_rng(1)
    layers = kernels.layer_table([x.shape[1], n_hidden, 5], "relu", "softmax")
    params = copy_at(rng.normal(scale=0.3, size=kernels.n_parameters(layers)).astype(x.dtype), place)
    state = np.zeros((2 if optimizer == "adam" else 1, len(params)), x.dtype)
    labels = rng.integers(0, 5, len(x))
    n_steps = -(-len(x) // 37)
    problem = layers, params, state, "softmax_cross_entropy", optimizer
    options = {"batch_size": 37, "alpha": 0.01, "n_threads": n_threads}
    steps = range(0, 3 * n_steps, n_steps)
    losses = [backend.train_epoch(x, labels, rng.permutation(len(x)), *problem, step=step, **options) for step in steps]
    return np.array(losses), params, state


def assert_same_bits(actual, expected):
    for values, exact in zip(actual, expected, strict=True):
        assert np.isfinite(exact).all()
        np.testing.assert_array_equal(values, exact)


@pytest.mark.pairwise
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n_hidden", [7, 32, 99])
def test_where_the_parameters_begin(backend, n_hidden, n_threads, dtype, optimizer):
    """Several threads work on a copy of parameters that begin within a cache line."""
    x = np.random.default_rng(0).normal(size=(200, 20)).astype(dtype)
    expected = train(backend, x, n_hidden, n_threads, optimizer)
    for place in (dtype().itemsize, 16, 32, 48):
        assert_same_bits(train(backend, x, n_hidden, n_threads, optimizer, place), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_an_earlier_call_left(backend, n_threads, dtype):
    x = np.random.default_rng(0).normal(size=(200, 20)).astype(dtype)
    expected = train(backend, x, 30, n_threads)
    for n_inputs, n_hidden in ((20, 30), (300, 200), (3, 2)):
        with np.errstate(invalid="ignore"):
            losses, *_ = train(backend, np.full((300, n_inputs), np.nan, dtype), n_hidden, n_threads)
        assert np.isnan(losses).all()
        assert_same_bits(train(backend, x, 30, n_threads), expected)

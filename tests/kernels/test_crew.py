"""Threads that leave and join in again while training, and what they share: neither must show in the result."""

import numpy as np
import pytest
from scipy.sparse import random_array

from fastprop import kernels


@pytest.fixture(params=[pair for pair in kernels.available() if pair[0] == "cython"], ids=lambda pair: pair[1])
def backend(request):
    return kernels.load(*request.param)


@pytest.fixture
def drill(backend):
    """drill(period): every so many steps all threads but one are sent away."""
    yield backend.raw.drill
    backend.raw.drill(0)


@pytest.fixture
def follow(backend):
    """follow(schedule): every call shares the parameters among its threads, or replicates them."""
    yield backend.raw.follow
    backend.raw.follow(None)


def train(backend, x, targets, loss, link, n_threads, optimizer="adam"):
    n_outputs = targets.max() + 1 if targets.ndim == 1 else targets.shape[1]
    layers = kernels.layer_table([x.shape[1], 30, 20, n_outputs], "tanh", link, dropout=[(0.2, 3, 0), (0.0, 0, 0)])
    rng = np.random.default_rng(1)
    params = rng.normal(scale=0.3, size=kernels.n_parameters(layers)).astype(x.dtype)
    state = np.zeros((1 + (optimizer == "adam"), len(params)), x.dtype)
    problem = layers, params, state, loss, optimizer
    loss = [
        backend.train_epoch(
            x, targets, rng.permutation(x.shape[0]), *problem, batch_size=37, step=18 * i, alpha=0.01, n_threads=n_threads
        )
        for i in range(3)
    ]
    return np.array(loss), params, state


def assert_same_bits(results, expected):
    for actual, exact in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, exact)


@pytest.mark.pairwise
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_the_result_does_not_depend_on_who_works(backend, drill, follow, dtype, sparse, n_threads):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(640, 50)).astype(dtype)
    x = random_array(x.shape, density=0.2, rng=rng, format="csr", dtype=dtype) if sparse else x
    labels = rng.integers(0, 4, 640)
    problem = x, labels, "softmax_cross_entropy", "softmax", n_threads
    follow("shared")
    expected = train(backend, *problem)
    for schedule in ("shared", "replicated"):
        follow(schedule)
        for period in (0, 1, 2, 7, 1000):  # 1000: only in the first step
            drill(period)
            assert_same_bits(train(backend, *problem), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
def test_the_result_does_not_depend_on_the_schedule(backend, follow, loss, optimizer):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(640, 21)).astype(np.float32), rng.integers(0, 3, 640)
    links = {
        "softmax_cross_entropy": (labels, "softmax"),
        "squared_error": (rng.normal(size=(640, 2)).astype(np.float32), "identity"),
    }
    targets, link = links[loss]
    results = []
    for schedule in ("shared", "replicated", None):
        follow(schedule)
        results.append(train(backend, x, targets, loss, link, 2, optimizer))
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@pytest.mark.parametrize("schedule", ["shared", "replicated"])
def test_a_batch_of_no_weight_in_between(backend, drill, follow, schedule):
    """Who comes back in a step that is skipped must not be missed."""
    rng = np.random.default_rng(0)
    x, labels, weight = rng.normal(size=(640, 5)), rng.integers(0, 3, 640), np.repeat([0.0, 1.0, 0.0, 2.0], 160)
    layers = kernels.layer_table([5, 10, 3], "relu", "softmax")
    start = rng.normal(size=kernels.n_parameters(layers))
    results = []
    follow(schedule)
    for period in (0, 1, 3):
        drill(period)
        params, state = start.copy(), np.zeros((2, len(start)))
        problem = x, labels, np.arange(640), layers, params, state, "softmax_cross_entropy"
        results.append((backend.train_epoch(*problem, batch_size=40, sample_weight=weight, n_threads=2), params.copy()))
    for loss, params in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(params, results[0][1])

"""Data in memory maps: neither a fit nor a prediction copies them. NumPy reports what it allocates to tracemalloc."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from fastprop import MLPClassifier, MLPRegressor, kernels

pytestmark = [
    pytest.mark.skipif(kernels.active.backend != "cython", reason="the other back ends make temporary arrays"),
    pytest.mark.filterwarnings("ignore", category=ConvergenceWarning),
]
N = 50_000


@pytest.fixture
def mapped(tmp_path):
    """mapped(array, mode="r"): a memory map of an array's copy in a file."""

    def make(array, mode="r"):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        array.tofile(path)
        return np.memmap(path, array.dtype, mode, shape=array.shape)

    return make


@pytest.fixture
def dense(mapped):
    """dense(dtype, mode="r"): a memory map of (50000, 100) numbers, 20 MB in float32."""
    return lambda dtype, mode="r": mapped(np.resize(np.random.default_rng(0).random((997, 100), dtype), (N, 100)), mode)


@pytest.fixture
def sparse(mapped):
    """sparse(container, index_dtype): CSR rows of memory maps, 40 of 1000 columns each, unordered."""

    def make(container, index_dtype):
        rng = np.random.default_rng(0)
        X = container((N, 1000), dtype=np.float32)
        X.data = mapped(np.resize(rng.random(9973, np.float32), 40 * N))
        X.indices = mapped(np.resize(rng.integers(0, 1000, 9973), 40 * N).astype(index_dtype))
        X.indptr = mapped(np.arange(0, 40 * N + 1, 40, index_dtype))
        return X

    return make


def peak(function, *arguments):
    """The most bytes that a call has allocated at a time."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check(X, n_bytes, estimator=MLPClassifier, **parameters):
    """Fail if a fit or a prediction for X allocates a tenth of it, beside 32 bytes a row: targets, orders and outputs."""
    y, limit = np.arange(N) % 3, n_bytes // 10 + 32 * N
    model = estimator(hidden_layer_sizes=(2,), max_iter=1, batch_size=1000, random_state=0, **parameters)
    assert n_bytes > 3 * limit
    assert peak(model.fit, X, y) < limit
    for method in ("predict", "predict_proba", "transform")[:: 2 if estimator is MLPRegressor else 1]:
        assert peak(getattr(model, method), X) < limit, method
    assert peak(model.score, X, y) < limit


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense(dense, dtype, estimator):
    X = dense(dtype)
    check(X, X.nbytes, estimator)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_writable(dense, mode):
    X = dense(np.float32, mode)
    check(X, X.nbytes)


def test_training_that_goes_on(dense):
    X = dense(np.float32)
    check(X, X.nbytes, warm_start=True)
    model = MLPRegressor(hidden_layer_sizes=(2,), random_state=0).partial_fit(X[:10], np.zeros(10))
    assert peak(model.partial_fit, X, np.zeros(N)) < X.nbytes // 10 + 32 * N


def test_predictions_in_another_dtype(dense):
    """After lbfgs the weights are float64; the rows are converted a part at a time."""
    X = dense(np.float32)
    model = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs", max_iter=1, random_state=0)
    assert peak(model.fit, X, np.arange(N) / N) < X.nbytes // 10 + 32 * N
    assert model.coefs_[0].dtype == np.float64
    assert peak(model.predict, X) < X.nbytes
    np.testing.assert_array_equal(model.predict(X)[-99:], model.predict(X[-99:].astype(np.float64)))


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix])
def test_sparse(sparse, container, index_dtype):
    X = sparse(container, index_dtype)
    check(X, X.data.nbytes + X.indices.nbytes)

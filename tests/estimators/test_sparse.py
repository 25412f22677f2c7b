"""Sparse X: what scikit-learn's own classes learn from it, in every format, and nothing as large as the dense X is ever made."""

import subprocess
import sys
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import MLPClassifier, MLPRegressor

TARGETS = ["binary", "multiclass", "multilabel", "one output", "two outputs", "poisson"]
CONTAINERS = [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array, sp.coo_matrix, sp.coo_array, sp.lil_array, sp.dok_matrix]
BASE = {"hidden_layer_sizes": (9, 5), "batch_size": 32, "max_iter": 15, "alpha": 0.01}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.fixture(scope="module")
def counts(data):
    """counts(target, n_samples=90, dtype=np.float64) -> X with 7 dense columns' worth of signal in 40 sparse ones, and y."""

    def make(target, n_samples=90, dtype=np.float64):
        X, y = data(target, n_samples=n_samples, dtype=dtype)
        rng = np.random.default_rng(1)
        X = np.hstack([X, rng.poisson(0.3, (n_samples, 33)).astype(dtype)])
        X[np.abs(X) < 0.4] = 0
        X[::11] = 0
        X[:, 20] = 0
        return X, y

    return make


def wide(X):
    """CSR with int64 indices, which the constructor would turn into int32 where they fit."""
    X = sp.csr_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def disordered(X):
    """CSR with each row's columns from right to left, and every entry in two halves."""
    X = sp.csr_matrix(X)
    columns, values = np.repeat(X.indices, 2), np.repeat(X.data / 2, 2)
    starts = 2 * X.indptr
    for begin, end in pairwise(starts):
        columns[begin:end], values[begin:end] = columns[begin:end][::-1].copy(), values[begin:end][::-1].copy()
    X.data, X.indices, X.indptr = values, columns, starts
    assert not X.copy().has_sorted_indices
    return X


def bits(X):
    return [(name, getattr(X, name).tobytes(), getattr(X, name).dtype) for name in ("data", "indices", "indptr")]


@pytest.fixture
def check(counts, pair, assert_same, tolerance):
    """check(target, container, weighted, dtype, **parameters): fit both on sparse X and compare all there is to compare."""

    def check(target, container=sp.csr_matrix, weighted=False, dtype="float64", **parameters):
        X, y = counts(target, dtype=dtype)
        given = container(X)
        kept = bits(given) if given.format in ("csr", "csc") else None
        sample_weight = np.random.default_rng(1).uniform(0.1, 3, len(X)) if weighted else None
        allowed = tolerance[dtype] * (10 if dtype == "float32" and parameters.get("solver") == "lbfgs" else 1)
        streams = np.random.RandomState(5), np.random.RandomState(5)
        estimators = pair(target, **BASE | parameters)
        for estimator, stream in zip(estimators, streams, strict=True):
            estimator.set_params(random_state=stream).fit(given, y, sample_weight)
        assert_same(*estimators, allowed)
        for a, b in zip(streams[0].get_state(), streams[1].get_state(), strict=True):
            np.testing.assert_array_equal(a, b)
        compare_predictions(*estimators, given, y, allowed)
        if kept:
            assert kept == bits(given)
        return estimators

    return check


def compare_predictions(ours, theirs, X, y, tolerance):
    methods = ["predict_proba", "predict_log_proba"] if hasattr(theirs, "classes_") else ["predict"]
    for method in methods:
        a, b = getattr(ours, method)(X), getattr(theirs, method)(X)
        assert type(a) is np.ndarray
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=10 * tolerance * np.abs(b).max())
        np.testing.assert_allclose(a, getattr(ours, method)(X.toarray()), rtol=0, atol=10 * tolerance * np.abs(b).max())
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=100 * tolerance, abs=100 * tolerance)


@pytest.mark.pairwise
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_trajectory(check, target, solver, weighted):
    check(target, weighted=weighted, solver=solver, learning_rate_init=0.01)


@pytest.mark.pairwise
@pytest.mark.parametrize("container", [*CONTAINERS, wide, disordered], ids=lambda c: c.__name__)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_formats(check, container, solver):
    check("multiclass", container, solver=solver)
    check("two outputs", container, solver=solver)


@pytest.mark.pairwise
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_float32(check, target, solver):
    check(target, dtype="float32", solver=solver, max_iter=10)


@pytest.mark.pairwise
@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix], ids=lambda c: c.__name__)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping(check, target, weighted, container):
    options = {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 3, "learning_rate_init": 0.01}
    ours, _ = check(target, container, weighted, max_iter=30, **options)
    assert len(ours.validation_scores_) == ours.n_iter_


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (1,)},
        {"hidden_layer_sizes": (130,), "max_iter": 5},
        {"batch_size": 1, "max_iter": 3},
        {"batch_size": 90},
        {"shuffle": False},
        {"activation": "identity"},
        {"activation": "logistic"},
        {"activation": "tanh"},
        {"alpha": 0},
        {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.5, "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1, "max_iter": 30},
    ],
    ids=str,
)
def test_options(check, parameters):
    check("multiclass", **parameters)
    check("binary", sp.csc_array, **parameters)


def test_n_jobs_changes_nothing_but_rounding(counts, pair, assert_same):
    X, y = counts("multiclass")
    ours, theirs = pair("multiclass", hidden_layer_sizes=(40,), max_iter=5, random_state=0)
    theirs.fit(sp.csr_matrix(X), y)
    for n_jobs in (1, 2, 3):
        assert_same(ours.set_params(n_jobs=n_jobs).fit(sp.csr_matrix(X), y), theirs)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", TARGETS)
def test_partial_fit(counts, pair, assert_same, target, solver):
    """Formats may change from call to call, to dense rows and back too."""
    X, y = counts(target)
    classes = {"multilabel": [0, 1, 2], "binary": np.unique(y), "multiclass": np.unique(y)}.get(target)
    estimators = pair(target, solver=solver, hidden_layer_sizes=(6,), learning_rate_init=0.01, batch_size=16, random_state=0)
    containers = [sp.csr_matrix, sp.csc_array, np.asarray, wide, sp.coo_array]
    for start, container in zip((0, 30, 50, 0, 15), containers, strict=True):
        part = slice(start, start + 40)
        options = {} if classes is None else {"classes": classes}
        if start == 15:
            options["sample_weight"] = np.linspace(0.5, 2, 40)
        assert_same(*(estimator.partial_fit(container(X[part]), y[part], **options) for estimator in estimators))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warm_start(counts, pair, assert_same, solver):
    X, y = counts("multiclass")
    options = {"solver": solver, "warm_start": True, "max_iter": 4, "random_state": 0}
    estimators = pair("multiclass", hidden_layer_sizes=(6,), batch_size=16, **options)
    for container in (sp.csr_matrix, sp.csc_array, np.asarray):
        assert_same(*(estimator.fit(container(X), y) for estimator in estimators))


def test_integers(counts, pair, assert_same):
    X, y = counts("multiclass")
    X = sp.csr_matrix(np.rint(np.abs(X)).astype(np.int32))
    estimators = [estimator.fit(X, y) for estimator in pair("multiclass", max_iter=5, random_state=0)]
    assert_same(*estimators)
    for dtype in (np.int8, np.float32, np.bool_):
        a, b = (estimator.predict_proba(X.astype(dtype)) for estimator in estimators)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_dense_rows_give_the_same(counts, pair, assert_same):
    for target in TARGETS:
        X, y = counts(target)
        sparse, dense = (pair(target, max_iter=10, random_state=0)[0].fit(x, y) for x in (sp.csr_matrix(X), X))
        assert_same(sparse, dense)


@pytest.mark.parametrize("bad", ["NaN", "infinity", "more features", "other rows", "no rows", "no features", "complex"])
def test_bad_input(counts, pair, bad):
    X, y = counts("multiclass")
    good = sp.csr_matrix(X)
    X = good.copy()
    if bad in ("NaN", "infinity"):
        X.data[3] = float(bad[:3])
    wrong = {"more features": sp.hstack([X, X], "csr"), "other rows": X[:50], "no rows": X[:0], "no features": X[:, :0]}
    wrong["complex"] = good.astype(complex)
    X = wrong.get(bad, X)
    errors = []
    for estimator in pair("multiclass", max_iter=2, random_state=0):
        if bad != "more features":
            with pytest.raises(ValueError, match=r".") as caught:
                estimator.fit(X, y)
            errors.append(str(caught.value))
        if bad != "other rows":
            with pytest.raises(ValueError, match=r".") as caught:
                estimator.fit(good, y).predict(X)
            errors.append(str(caught.value))
    assert errors[: len(errors) // 2] == errors[len(errors) // 2 :]


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_starts_that_wrap(counts, container, index_dtype, early_stopping):
    """Row or column starts that rise if the differences of neighbours are computed in their own dtype."""
    X, y = counts("multiclass")
    good = container(X)
    bad = good.copy()
    bad.indices, bad.indptr = bad.indices.astype(index_dtype), bad.indptr.astype(index_dtype)
    bad.indptr[1], bad.indptr[2:-1] = np.iinfo(index_dtype).max, -2
    classifier = MLPClassifier((3,), max_iter=1, early_stopping=early_stopping, random_state=0)
    with pytest.raises(ValueError, match=r"^x\.indptr must rise from 0 to .* before -2 at position 2$"):
        classifier.fit(bad, y)
    classifier.fit(good, y)
    with pytest.raises(ValueError, match=r"^x\.indptr must rise from 0 to .* before -2 at position 2$"):
        classifier.predict(bad)


# Memory: 50 rows of 2,000,000 features would be 800 MB.

SHAPE = 50, 2_000_000
DENSE_BYTES = 8 * SHAPE[0] * SHAPE[1]


@pytest.fixture(scope="module")
def tall():
    rng = np.random.default_rng(0)
    indices, starts = rng.integers(0, SHAPE[1], 500), np.arange(0, 501, 10)
    X = sp.csr_array((rng.random(500), indices, starts), shape=SHAPE)
    return X, rng.integers(0, 3, SHAPE[0])


def peak(call):
    """(what it returns, the most bytes that Python and NumPy held during it beyond those before)."""
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor], ids=lambda c: c.__name__)
def test_nothing_is_made_dense(tall, estimator):
    X, y = tall
    fitted, used = peak(lambda: estimator(hidden_layer_sizes=(3,), max_iter=2, random_state=0, n_jobs=1).fit(X, y))
    # Parameters and two moments are 48 MB each, the drawing of the first ones takes another.
    assert used < DENSE_BYTES / 3
    predicted, used = peak(lambda: fitted.predict(X))
    assert used < DENSE_BYTES / 1000
    assert predicted.shape == y.shape
    columns = np.unique(X.indices)  # nothing else is ever seen of the 2,000,000
    few, position = X[:, columns].toarray(), np.array(fitted.coefs_[0][columns])
    hidden = np.maximum(few @ position + fitted.intercepts_[0], 0)
    outputs = hidden @ fitted.coefs_[1] + fitted.intercepts_[1]
    expected = fitted.classes_[outputs.argmax(axis=1)] if estimator is MLPClassifier else outputs.ravel()
    np.testing.assert_allclose(predicted, expected, rtol=1e-9)


# What the compiled code allocates is only seen from outside: VmHWM, the largest resident set of this one process image.
CHILD = """
import pathlib, warnings
import numpy as np, scipy.sparse as sp
from fastprop import MLPClassifier

def resident():
    return 1024 * int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
y = np.arange(50) % 3
MLPClassifier(max_iter=1).fit(sp.csr_array(rng.random((50, 4))), y)
X = sp.csr_array((rng.random(500), rng.integers(0, 2_000_000, 500), np.arange(0, 501, 10)), shape=(50, 2_000_000))
before = resident()
MLPClassifier((3,), max_iter=2, n_jobs=2).fit(X, y).predict(X)
print(resident() - before)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_nothing_is_made_dense_in_compiled_code():
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert int(child.stdout) < DENSE_BYTES / 2

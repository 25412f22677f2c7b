"""Bad input gives scikit-learn's class of error, and its text where the text is scikit-learn's."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from fastprop import MLPClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))
CLASSES = rng.integers(0, 3, 40)
LABELS = (X[:, :3] > 0).astype(int)
Y = X[:, 0]
NAN, INF = X.copy(), X.copy()
NAN[3, 1], INF[0, 0] = np.nan, -np.inf
SMALL = {"max_iter": 2, "hidden_layer_sizes": (3,), "random_state": 0}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

FIT = {
    "NaN in X": (NAN, CLASSES, Y),
    "infinity in X": (INF, CLASSES, Y),
    "one-dimensional X": (X[0], CLASSES, Y),
    "three-dimensional X": (X[:, :, None], CLASSES, Y),
    "no rows": (X[:0], CLASSES[:0], Y[:0]),
    "no features": (X[:, :0], CLASSES, Y),
    "other number of rows": (X[:5], CLASSES, Y),
    "complex X": (X + 1j, CLASSES, Y),
    "strings in X": (X.astype(str).astype(object)[:, :1] + "a", CLASSES, Y),
    "no y": (X, None, None),
    "NaN in y": (X, np.where(CLASSES, Y, np.nan), np.where(CLASSES, Y, np.nan)),
    "continuous classes, complex numbers": (X, Y, Y + 1j),
    "several outputs of classes, strings": (X, np.c_[CLASSES, CLASSES], np.full(40, "a")),
    "scalar": (3, CLASSES, Y),
    "mixed types, objects": (X, np.array([1, "b", None] * 13 + [1], object), np.array([object()] * 40)),
}
PREDICT = {
    "NaN": NAN,
    "infinity": INF,
    "one row as a vector": X[0],
    "fewer features": X[:, :2],
    "more features": np.hstack([X, X]),
    "no rows": X[:0],
    "text": "abc",
    "complex": X + 1j,
    "None": None,
}
WEIGHTS = {
    "all zero": np.zeros(40),
    "wrong length": np.ones(39),
    "NaN": np.full(40, np.nan),
    "infinity": np.full(40, np.inf),
    "two-dimensional": np.ones((40, 1)),
    "text": np.full(40, "a"),
}
PARAMETERS = [
    {"hidden_layer_sizes": (3, 0)},
    {"hidden_layer_sizes": [2, -1]},
    {"hidden_layer_sizes": 0},
    {"hidden_layer_sizes": 2.5},
    {"activation": "sigmoid"},
    {"solver": "newton"},
    {"alpha": -1},
    {"alpha": "small"},
    {"batch_size": 10.0},
    {"batch_size": 0},
    {"learning_rate": "fast"},
    {"learning_rate_init": 0},
    {"power_t": -1},
    {"max_iter": 0},
    {"max_iter": 3.0},
    {"shuffle": 1},
    {"random_state": -1},
    {"tol": -1e-3},
    {"verbose": -1},
    {"warm_start": "yes"},
    {"momentum": 1.1},
    {"nesterovs_momentum": 1},
    {"early_stopping": None},
    {"validation_fraction": 1.0},
    {"beta_1": 1.0},
    {"beta_2": -0.1},
    {"epsilon": 0},
    {"n_iter_no_change": 2.0},
    {"n_iter_no_change": 0},
    {"max_fun": 0},
]


def _error(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is compared
            call()
    return caught.value


def _assert_same_error(ours, theirs, text=True):
    assert isinstance(ours, (type(theirs), *type(theirs).__mro__[1:-3])), (ours, theirs)
    if text:
        assert str(ours) == str(theirs)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
@pytest.mark.parametrize("case", FIT)
def test_fit(pair, case, target):
    x, classes, y = FIT[case]
    y = classes if target == "multiclass" else y
    ours, theirs = (_error(lambda e=e: e.fit(x, y)) for e in pair(target, **SMALL))
    _assert_same_error(ours, theirs, text=not case.endswith(("strings", "objects")))


@pytest.mark.parametrize("target", ["multiclass", "one output"])
@pytest.mark.parametrize("case", PREDICT)
def test_predict(pair, case, target):
    y = CLASSES if target == "multiclass" else Y
    ours, theirs = (_error(lambda e=e: e.fit(X, y).predict(PREDICT[case])) for e in pair(target, **SMALL))
    _assert_same_error(ours, theirs)


@pytest.mark.parametrize("case", WEIGHTS)
def test_sample_weight(pair, case):
    ours, theirs = (_error(lambda e=e: e.fit(X, CLASSES, WEIGHTS[case])) for e in pair("multiclass", **SMALL))
    if isinstance(theirs, ZeroDivisionError):  # scikit-learn 1.7 does not look for it, and NumPy fails
        assert str(ours) == "Sample weights must contain at least one non-zero number."
    else:
        _assert_same_error(ours, theirs)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_parameters(pair, parameters):
    for target, y in (("multiclass", CLASSES), ("one output", Y)):
        ours, theirs = (_error(lambda e=e, y=y: e.fit(X, y)) for e in pair(target, **SMALL | parameters))
        _assert_same_error(ours, theirs, text=False)
        _assert_same_choices(ours, theirs)


def test_a_regressor_has_no_loss_of_classes(pair):
    ours, theirs = (_error(lambda e=e: e.set_params(loss="log_loss").fit(X, Y)) for e in pair("one output", **SMALL))
    _assert_same_error(ours, theirs, text=False)
    _assert_same_choices(ours, theirs)


def _assert_same_choices(ours, theirs):
    """The same words, in any order, as choices come from a set; ours may have more choices."""
    words = [set(re.findall(r"[^\s,{}.]+", str(error))) for error in (ours, theirs)]
    assert words[1] <= words[0]
    assert all(re.fullmatch("'[a-z0-9_]+'|or|callable", word) for word in words[0] - words[1])


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_n_jobs(pair, n_jobs):
    ours, _ = pair("multiclass", **SMALL)
    with pytest.raises(ValueError, match="n_jobs"):
        ours.set_params(n_jobs=n_jobs).fit(X, CLASSES)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "score"])
def test_not_fitted(pair, method):
    for estimator in pair("multiclass"):
        arguments = (X, CLASSES) if method == "score" else (X,)
        with pytest.raises(NotFittedError):
            getattr(estimator, method)(*arguments)


def test_negative_counts(pair):
    ours, _ = pair("poisson", **SMALL)
    with pytest.raises(ValueError, match="non-negative"):
        ours.fit(X, Y)
    assert not hasattr(ours, "coefs_")


def test_another_number_of_outputs(pair):
    ours, _ = pair("one output", **SMALL)
    with pytest.raises(ValueError, match=r"y must have shape \(40, 1\)"):
        ours.partial_fit(X, Y).partial_fit(X, X[:, :2])


def test_sparse_y_of_a_regressor(pair):
    with pytest.raises(TypeError, match="dense array of numbers"):
        pair("two outputs", **SMALL)[0].fit(X, sp.csr_matrix(X[:, :2]))


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_read_only_strided_and_other_dtypes(pair, assert_same, target):
    y = CLASSES if target == "multiclass" else Y
    frozen = X.copy()
    frozen.setflags(write=False)
    unaligned = np.frombuffer(b"x" + X.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(X.shape)
    inputs = [frozen, np.asfortranarray(X), X[:, ::-1], X.astype(">f8"), X.tolist(), (10 * X).astype(np.int16), unaligned]
    inputs += [X.astype(object), X > 0]
    for x in inputs:
        estimators = [estimator.fit(x, y) for estimator in pair(target, **SMALL)]
        assert_same(*estimators)
        a, b = (estimator.predict(x) for estimator in estimators)
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_])
@pytest.mark.parametrize("trained", [np.float32, np.float64])
def test_the_dtype_of_predictions(pair, trained, dtype):
    for target, y in (("multiclass", CLASSES), ("one output", Y)):
        estimators = [estimator.fit(X.astype(trained), y) for estimator in pair(target, **SMALL)]
        method = "predict_proba" if target == "multiclass" else "predict"
        a, b = (getattr(estimator, method)((2 * X).astype(dtype)) for estimator in estimators)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-3 if np.float16 in (dtype, a.dtype) else 1e-5, atol=1e-6)


@pytest.mark.parametrize("X", [NAN, np.full((40, 2), "a"), pd.DataFrame({"town": ["Oslo"] * 40})], ids=["NaN", "text", "frame"])
def test_a_note_names_the_estimators_for_tables(X):
    """The message is scikit-learn's; a traceback has the note below it."""
    with pytest.raises(ValueError, match=r"NaN|string") as caught:
        MLPClassifier(**SMALL).fit(X, CLASSES)
    (note,) = caught.value.__notes__
    assert note.startswith("fastprop.TabularClassifier and TabularRegressor take missing values")


def test_other_errors_have_no_note():
    with pytest.raises(ValueError, match="infinity") as caught:
        MLPClassifier(**SMALL).fit(INF, CLASSES)
    assert not hasattr(caught.value, "__notes__")

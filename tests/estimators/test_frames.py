"""pandas and polars: names of features, targets and weights as series, the same results and words as scikit-learn's classes."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
NAMES = list("abcdefg")

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


def _frame(library, X, names=NAMES):
    return library.DataFrame(dict(zip(names, X.T, strict=True)))


def _target(library, y):
    return library.Series(y) if y.ndim == 1 else _frame(library, y, [f"y{i}" for i in range(y.shape[1])])


def _said(call):
    """(class, text) of the warnings, then of the error if there was one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = []
        try:
            call()
        except Exception as caught_error:
            error = [(type(caught_error), str(caught_error))]
    return [(warning.category, str(warning.message)) for warning in caught] + error


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "one output", "two outputs", "poisson"])
def test_fit_and_predict(data, pair, assert_same, tolerance, library, target, dtype):
    X, y = data(target, dtype=dtype)
    frame, series = _frame(library, X), _target(library, y)
    weight = library.Series(np.linspace(0.5, 2, len(y)))
    ours, theirs = (e.fit(frame, series, sample_weight=weight) for e in pair(target, **SMALL))
    assert_same(ours, theirs, tolerance[np.dtype(dtype).name])
    assert ours.feature_names_in_.tolist() == NAMES
    assert ours.feature_names_in_.dtype == theirs.feature_names_in_.dtype
    a, b = ours.predict(frame), theirs.predict(frame)
    assert (type(a), a.dtype, a.shape) == (type(b), b.dtype, b.shape)
    if a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-3 if dtype == np.float32 else 1e-8)
    else:
        np.testing.assert_array_equal(a, b)
    # scikit-learn takes a polars frame of float32 as float64.
    plain = clone(ours).fit(X.astype(ours.coefs_[0].dtype), y, sample_weight=weight.to_numpy())
    for with_names, without in zip(ours.coefs_, plain.coefs_, strict=True):
        np.testing.assert_array_equal(with_names, without)
    assert ours.score(frame, series, sample_weight=weight) == pytest.approx(
        theirs.score(frame, series, sample_weight=weight), rel=1e-3
    )


@pytest.mark.parametrize("target", ["multiclass", "binary", "one output", "two outputs"])
def test_partial_fit(data, pair, assert_same, library, target):
    X, y = data(target)
    frame, series = _frame(library, X), _target(library, y)
    options = {"classes": np.unique(y)} if target in ("multiclass", "binary") else {}
    estimators = pair(target, **SMALL)
    for _ in range(3):
        assert_same(*(e.partial_fit(frame, series, **options) for e in estimators))
    assert estimators[0].feature_names_in_.tolist() == NAMES
    words = [_said(lambda e=e: e.partial_fit(_frame(library, X, NAMES[::-1]), series)) for e in estimators]
    assert words[0] == words[1]
    assert words[0][-1][0] is ValueError
    words = [_said(lambda e=e: e.partial_fit(X, y)) for e in estimators]
    assert words[0] == words[1]
    assert "does not have valid feature names" in words[0][0][1]


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_names_are_checked(data, pair, library, target):
    X, y = data(target)
    named, unnamed = pair(target, **SMALL), pair(target, **SMALL)
    for estimator in named:
        estimator.fit(_frame(library, X), y)
    for estimator in unnamed:
        estimator.fit(X, y)
    cases = [
        (named, _frame(library, X, NAMES[::-1]), ValueError, "must be in the same order"),
        (named, _frame(library, X, [*NAMES[:6], "z"]), ValueError, "unseen at fit time"),
        (named, _frame(library, X[:, :6], NAMES[:6]), ValueError, "seen at fit time, yet now missing"),
        (named, X, UserWarning, "X does not have valid feature names"),
        (named, X[:, :3], ValueError, "is expecting 7 features"),
        (unnamed, _frame(library, X), UserWarning, "was fitted without feature names"),
    ]
    methods = ["predict", "predict_proba"] if target == "multiclass" else ["predict"]
    for estimators, given, category, text in cases:
        for method in methods:
            ours, theirs = (_said(lambda e=e, m=method, X=given: getattr(e, m)(X)) for e in estimators)
            assert ours == theirs
            assert any(issubclass(c, category) and text in message for c, message in ours), ours
        ours, theirs = (_said(lambda e=e, X=given: e.score(X, y)) for e in estimators)
        assert ours == theirs


def test_names_that_are_no_strings(data, pair):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = data("multiclass")
    for names in (range(7), [*NAMES[:6], 7]):
        frame = pandas.DataFrame(X, columns=names)
        ours, theirs = (_said(lambda e=e, X=frame: e.fit(X, y)) for e in pair("multiclass", **SMALL))
        assert ours == theirs
    assert any(issubclass(category, TypeError) for category, _ in ours)


def test_a_warm_start_checks_names_too(data, pair, assert_same, library):
    X, y = data("multiclass")
    estimators = pair("multiclass", warm_start=True, **SMALL)
    for _ in range(2):
        assert_same(*(e.fit(_frame(library, X), y) for e in estimators))
    ours, theirs = (_said(lambda e=e: e.fit(_frame(library, X, NAMES[::-1]), y)) for e in estimators)
    assert ours == theirs
    assert ours[-1][0] is ValueError


def test_early_stopping_with_names_warns_of_nothing(data, pair, assert_same, library, strings_stop_early):
    X, y = data("multiclass")
    estimators = pair("multiclass", early_stopping=True, **SMALL)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*feature names.*")
        assert_same(*(e.fit(_frame(library, X), library.Series(y)) for e in estimators))


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], ["low", "middle", "high"], [False, True], [-1, 1], [10, 20, 30], [0.0, 1.0, 2.0]],
    ids=str,
)
def test_labels_from_a_series(data, pair, assert_same, library, labels):
    X, _ = data("binary")
    y = library.Series(np.array(labels)[np.arange(len(X)) * 7 % len(labels)])
    ours, theirs = (e.fit(_frame(library, X), y) for e in pair("multiclass", **SMALL))
    assert_same(ours, theirs)
    assert ours.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(ours.predict(_frame(library, X)), theirs.predict(_frame(library, X)))


def test_special_columns_of_pandas(data, pair, assert_same):
    """Categories, nullable numbers and the string type as targets and features; a frame of one column as y; an odd index."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = data("binary")
    index = np.arange(len(y))[::-1] * 3
    frame = pandas.DataFrame(X, columns=NAMES, index=index).convert_dtypes()
    for series in (pandas.Series(y, index=index, dtype="category"), pandas.Series(y, index=index, dtype="string")):
        assert_same(*(e.fit(frame, series) for e in pair("binary", **SMALL)))
    series = pandas.Series(X[:, 0], index=index, dtype="Float64")
    assert_same(*(e.fit(frame, series) for e in pair("one output", **SMALL)))
    for target in ("binary", "one output"):
        column = pandas.DataFrame({"y": y if target == "binary" else X[:, 0]}, index=index)
        words = [_said(lambda e=e, y=column: e.fit(frame, y)) for e in pair(target, **SMALL)]
        assert words[0] == words[1]
        assert "column-vector" in words[0][0][1]


def test_what_cannot_be_numbers(data, pair, library):
    X, y = data("multiclass")
    columns = dict(zip(NAMES[:6], X.T[:6], strict=True))
    missing, text = X[:, 6].copy(), np.array(["x"] * len(y))
    missing[3] = np.nan
    for last in (text, missing):
        frame = library.DataFrame(columns | {"g": last})
        ours, theirs = (_said(lambda e=e, X=frame: e.fit(X, y)) for e in pair("multiclass", **SMALL))
        (*ours, (error, words)), (*theirs, (expected, reason)) = ours, theirs
        assert (ours, error) == (theirs, expected)
        assert issubclass(error, ValueError)
        assert words.endswith(reason)
        assert words == reason or words.startswith("X must hold numbers; its column 'g' of dtype ")


def test_frames_of_integers_and_booleans(data, pair, assert_same, library):
    X, y = data("one output")
    frame = library.DataFrame({"a": (10 * X[:, 0]).astype(np.int32), "b": X[:, 1] > 0, "c": X[:, 2].astype(np.float32)})
    ours, theirs = (e.fit(frame, y) for e in pair("one output", **SMALL))
    assert_same(ours, theirs)
    np.testing.assert_allclose(ours.predict(frame), theirs.predict(frame), rtol=1e-9)
    assert ours.predict(frame).dtype == theirs.predict(frame).dtype


def test_behind_a_column_transformer(data, pair, library):
    X, y = data("multiclass")
    kind = np.array(["x", "y", "z"])[np.arange(len(y)) % 3]
    frame = library.DataFrame(dict(zip(NAMES, X.T, strict=True)) | {"kind": kind})
    scores = []
    for estimator in pair("multiclass", **SMALL):
        columns = make_column_transformer(
            (StandardScaler(), NAMES), (OneHotEncoder(sparse_output=False), ["kind"]), verbose_feature_names_out=False
        )
        pipeline = make_pipeline(columns.set_output(transform=library.__name__), estimator)
        name = f"{type(estimator).__name__.lower()}__alpha"
        search = GridSearchCV(pipeline, {name: [1e-4, 1.0]}, cv=3).fit(frame, library.Series(y))
        assert search.best_estimator_[-1].feature_names_in_.tolist() == [*NAMES, "kind_x", "kind_y", "kind_z"]
        scores.append((search.cv_results_["mean_test_score"], search.predict(frame)))
    for a, b in zip(*scores, strict=True):
        np.testing.assert_array_equal(a, b)

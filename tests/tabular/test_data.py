"""Tables of every kind, and targets of every kind: the same model whatever holds the data, and what is there at predict."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning

from fastprop import TabularClassifier, TabularRegressor

N = 60
Y = [("no", "yes")[i * i % 37 > 18] for i in range(N)]


@pytest.fixture
def by_pandas(pandas, columns):
    return pandas.DataFrame(columns)


def test_the_same_model_whatever_the_frame(make, assert_same, by_pandas, frame, columns):
    """Also where X_val is a frame of another kind, and for frames of other kinds at predict."""
    given = {"X_val": by_pandas, "y_val": Y}
    ours, other = make("binary").fit(frame, Y, **given), make("binary").fit(by_pandas, Y, **given)
    assert_same(ours, other, by_pandas)
    np.testing.assert_array_equal(ours.predict_proba(frame), other.predict_proba(by_pandas))
    assert ours.feature_names_in_.tolist() == list(columns)
    assert ours.n_features_in_ == len(columns)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_targets_and_weights_of_a_library(make, assert_same, by_pandas, library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    make_column = module.array if library == "pyarrow" else module.Series
    weight = np.linspace(1, 2, N)
    for kind, y in (("binary", Y), ("one output", list(np.arange(N) / 7))):
        ours = make(kind).fit(by_pandas, make_column(y), make_column(weight), X_val=by_pandas, y_val=make_column(y))
        assert_same(ours, make(kind).fit(by_pandas, y, weight, X_val=by_pandas, y_val=y), by_pandas)


def test_classes_of_pandas_dtypes(pandas, make, by_pandas):
    for dtype in ("category", "string", "object"):
        ours = make("binary").fit(by_pandas, pandas.Series(Y, dtype=dtype))
        assert ours.classes_.tolist() == ["no", "yes"]
        assert set(ours.predict(by_pandas).tolist()) <= {"no", "yes"}
    for dtype in ("Int64", "Float64", "boolean"):
        ours = make("binary").fit(by_pandas, pandas.Series([y == "yes" for y in Y]).astype(dtype))
        assert ours.classes_.tolist() == [0, 1]


def test_columns_in_another_order(make_frame, make):
    columns = {"a": list(range(20)), "b": ["x", "y"] * 10, "c": [0.5, None] * 10}
    ours = make("binary", min_frequency=1).fit(make_frame(columns), ["p", "q"] * 10)
    other = make_frame(dict(reversed(columns.items())))
    np.testing.assert_array_equal(ours.predict_proba(other), ours.predict_proba(make_frame(columns)))


def test_columns_that_are_not_those_of_fit(make_frame, make):
    columns = {"a": list(range(20)), "b": ["x", "y"] * 10}
    ours = make("binary", min_frequency=1).fit(make_frame(columns), ["p", "q"] * 10)
    with pytest.raises(ValueError, match=r"Column 'a' of X held numbers in fit, and now holds strings \(dtype"):
        ours.predict(make_frame(columns | {"a": ["1"] * 20}))
    with pytest.raises(ValueError, match=r"X_val: Column 'b' of X held strings in fit, and now holds numbers"):
        ours.fit(make_frame(columns), ["p", "q"] * 10, X_val=make_frame(columns | {"b": [1] * 20}), y_val=["p", "q"] * 10)
    for wrong, words in (({"a": columns["a"]}, "missing:\n- b"), (columns | {"z": columns["a"]}, "unseen at fit time:\n- z")):
        with pytest.raises(ValueError, match=words):
            ours.predict(make_frame(wrong))


def test_unseen_categories_are_as_rare_ones(make_frame, make):
    columns = {"a": ["x"] * 12 + ["y"] * 12 + ["rare", "seldom"]}
    ours = make("binary", min_frequency=5).fit(make_frame(columns), ["p", "q"] * 13)
    found = ours.predict_proba(make_frame({"a": ["rare", "seldom", "never", None, "x"]}))
    np.testing.assert_array_equal(found[1:3], found[[0, 0]])
    assert (found[4] != found[0]).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_arrays_of_every_dtype(make, assert_same, outputs, kind):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (50, 3))
    y = np.array(list("abc"))[X[:, 0] % 3] if kind == "multiclass" else X[:, 0]
    ours = make(kind).fit(X, y)
    for form in (np.float32, np.float64, np.int8, np.uint16, np.float16, object, ">f8"):
        assert_same(make(kind).fit(X.astype(form), y), ours, X.astype(form))
    for other in (X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        assert_same(make(kind).fit(other, y), ours, other)


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array, sp.csc_array, sp.coo_array, sp.lil_matrix])
def test_sparse(make, assert_same, container):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((60, 5)) < 0.3, rng.normal(size=(60, 5)), 0)
    y = X[:, 0] + X[:, 1]
    ours, dense = make("one output").fit(container(X), y), make("one output").fit(X, y)
    assert_same(ours, dense, X)
    np.testing.assert_array_equal(ours.predict(container(X)), dense.predict(X))


def test_categorical_features_of_arrays(make, outputs):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, (80, 2)).astype(float)
    y = np.array(["a", "b"])[(X[:, 0] % 2).astype(int)]
    for given in ([0], [True, False], np.array([0])):
        ours = make("binary", categorical_features=given).fit(X, y)
        assert ours.encoders_[0].is_categorical_.tolist() == [True, False]
    unseen = make("binary", categorical_features=[0], min_frequency=1).fit(X, y).predict_proba([[9.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(unseen[0], unseen[1])


CLASSES = {
    "strings": ["b", "a"],
    "booleans": [False, True],
    "floats": [1.0, 2.0],
    "integers": [7, -3, 100],
    "large": [2**62, 2**62 + 1],
    "objects": np.array(["x", "y", "z"], dtype=object),
    "one": ["only"],
    "thirty": list(range(30)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes(make, name):
    classes = np.array(CLASSES[name])
    rng = np.random.default_rng(0)
    y = classes[np.arange(90) % len(classes)]
    ours = make("multiclass").fit(rng.normal(size=(90, 3)), y)
    np.testing.assert_array_equal(ours.classes_, np.unique(classes))
    found = ours.predict_proba(rng.normal(size=(7, 3)))
    assert found.shape == (7, len(classes))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    predicted = ours.predict(rng.normal(size=(7, 3)))
    assert predicted.dtype == ours.classes_.dtype
    assert set(predicted.tolist()) <= set(classes.tolist())
    np.testing.assert_array_equal(ours.predict_log_proba([[0.0] * 3]), np.log(ours.predict_proba([[0.0] * 3])))


WAYS = [{}, {"refit": True}, {"class_weight": "balanced"}, {"scoring": "accuracy"}, {"early_stopping": False}]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_very_rare_classes(make, way):
    """A class with one row, which a member trains on or holds out."""
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(57), 1, 2, 3].astype(int)
    ours = make("multiclass", n_members=5, **way).fit(rng.normal(size=(60, 2)), y)
    found = ours.predict_proba(rng.normal(size=(9, 2)))
    assert found.shape == (9, 4)
    assert np.isfinite(found).all()


def test_one_class_is_certain(make):
    """However sure the networks are that it is not the second one."""
    ours = make("binary").fit(np.arange(20.0)[:, None], ["only"] * 20)
    for network in ours.members_:
        network.intercepts[-1][...] = -1e4
    np.testing.assert_array_equal(ours.predict_proba([[3.0]]), [[1.0]])
    np.testing.assert_array_equal(ours.predict_log_proba([[3.0]]), [[0.0]])


def test_classes_learnt_well(make):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.where(X[:, 0] > 0, "right", "left")
    ours = make("binary", max_iter=20, batch_size=32, learning_rate_init=0.02).fit(X, y)
    assert ours.score(X, y) > 0.95


def test_shapes_of_y(data, make, assert_same):
    X, y = data("two outputs")
    ours = make("two outputs").fit(X, y)
    mean, std = ours.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape
    assert_same(make("two outputs").fit(X, y.tolist()), ours, X)
    one = make("one output").fit(X, y[:, 0])
    mean, std = one.predict(X, return_std=True)
    assert mean.shape == std.shape == (90,)
    assert (std > 0).all()
    for kind in ("one output", "multiclass"):
        targets = data(kind)[1]
        with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
            column = make(kind).fit(X, targets[:, None])
        assert_same(column, make(kind).fit(X, targets), X)
    alone = make("one output", n_members=1).fit(X, y[:, 0])
    np.testing.assert_array_equal(alone.predict(X, return_std=True)[1], np.zeros(90))


def test_outputs_are_learnt_whatever_their_scales(make):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.c_[1e-6 * X[:, 0], 1e6 * X[:, 1] + 1e7, np.full(200, 3.0)]
    ours = make("two outputs", max_iter=30, batch_size=20, learning_rate_init=0.02).fit(X, y)
    predicted = ours.predict(X)
    assert (np.var(y - predicted, axis=0)[:2] < 0.2 * np.var(y, axis=0)[:2]).all()
    np.testing.assert_array_equal(predicted[:, 2], 3)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize("cls", [TabularClassifier, TabularRegressor])
def test_few_rows(make, outputs, cls, n):
    """Fewer than a batch, with one class or several."""
    X = np.array([[0.5, np.nan, 1], [1.5, 2, 1], [np.nan, 3, 1]] * 4)[:n]
    kind = "binary" if cls is TabularClassifier else "one output"
    for y in (np.arange(n), np.zeros(n, int)):
        for way in ({"early_stopping": False}, {}, {"refit": True}):
            if n == 1 and "early_stopping" not in way:
                with pytest.raises(ValueError, match=r"n_samples = 1 with validation_fraction=0.2 leaves 1 rows to validate on"):
                    make(kind, **way).fit(X, y)
                continue
            found = outputs(make(kind, **way).fit(X, y), X)
            assert np.isfinite(found).all()
            if kind == "one output":
                assert ((y.min() <= found) & (found <= y.max())).all()
        given = make(kind).fit(X, y, X_val=X, y_val=y)
        assert np.isfinite(outputs(given, X)).all()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "one output", "two outputs"])
def test_columns_that_say_nothing(data, make, outputs, kind):
    """All that can be learnt is about the targets alone."""
    _, y = data(kind)
    for X in (np.ones((90, 3)), np.full((90, 2), np.nan)):
        found = outputs(make(kind, max_iter=40, learning_rate_init=0.05).fit(X, y), X)
        np.testing.assert_array_equal(found, np.repeat(found[:1], 90, axis=0))
        share = (y[:, None] == np.unique(y)).mean(axis=0) if kind in ("binary", "multiclass") else y.mean(axis=0)
        scale = 1 if kind in ("binary", "multiclass") else y.std(axis=0)
        assert (np.abs(found[0] - share) < 0.3 * scale).all()


@pytest.mark.parametrize("way", [{}, {"early_stopping": False}, {"refit": True}], ids=str)
@pytest.mark.parametrize("kind", ["multiclass", "one output", "two outputs"])
def test_rows_without_weight_count_for_nothing(data, make, assert_same, kind, way):
    """They are neither trained on nor held out. The encoding has seen them, but here they have nothing of their own."""
    _, y = data(kind)
    X = (np.arange(90) // 3 % 2)[:, None]
    counts = np.arange(90) % 3 == 0
    if kind == "multiclass":
        y[~counts] = "a"
    else:
        y[~counts] = 1e9
    ours, other = (make(kind, categorical_features=[0], batch_size=7, **way) for _ in range(2))
    assert_same(ours.fit(X, y, counts.astype(float)), other.fit(X[counts], y[counts], np.ones(30)), X)


@pytest.mark.parametrize("kind", ["binary", "one output"])
def test_weights_that_may_be_anything(data, make, outputs, kind):
    X, y = data(kind)
    for weight in (np.r_[1, np.zeros(87), 1, 1], np.r_[-np.ones(45), np.ones(45)], np.full(90, 1e-300), np.full(90, 1e300)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = make(kind).fit(X, y, weight)
        assert np.isfinite(outputs(ours, X)).all()
        assert len(set(ours.loss_curves_[0])) == 3


@pytest.mark.parametrize("kind", ["binary", "one output"])
def test_only_the_proportions_of_weights_count(data, make, assert_same, kind):
    X, y = data(kind)
    weight = np.linspace(0.5, 2, 90)
    once = {"X_val": X, "y_val": y, "sample_weight_val": weight}
    ours = make(kind).fit(X, y, weight, **once)
    for factor in (2.0**-900, 2.0**1000):
        assert_same(make(kind).fit(X, y, factor * weight, **once | {"sample_weight_val": factor * weight}), ours, X)


@pytest.mark.parametrize("kind", ["binary", "one output"])
def test_weights_matter(data, make, outputs, kind):
    X, y = data(kind)
    weight = np.linspace(0.1, 3, 90)
    plain, weighted = (make(kind).fit(X, y, w) for w in (None, weight))
    assert (outputs(plain, X) != outputs(weighted, X)).any()
    given = {"X_val": X, "y_val": y}
    curves = [make(kind).fit(X, y, **given, sample_weight_val=w).validation_loss_curves_ for w in (None, weight)]
    assert curves[0] != curves[1]


def test_class_weight(data, make, assert_same):
    X, y = data("multiclass")
    counts = {label: int((y == label).sum()) for label in "abc"}
    balanced = make("multiclass", class_weight="balanced").fit(X, y)
    by_hand = {label: 90 / (3 * count) for label, count in counts.items()}
    assert_same(balanced, make("multiclass", class_weight=by_hand).fit(X, y), X)
    weight = np.array([by_hand[label] for label in y])
    assert_same(balanced, make("multiclass").fit(X, y, weight), X)
    heavy = make("multiclass", class_weight={"a": 100.0, "b": 1.0, "c": 1.0}).fit(X, y).predict(X)
    assert (heavy == "a").mean() > 2 * (y == "a").mean()

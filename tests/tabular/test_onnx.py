"""ONNX of the estimators for tables and their encoder: what onnxruntime computes from a table is what they give."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastprop
from fastprop.onnx import register_onnx_converters
from fastprop.preprocessing import TabularEncoder

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
try:
    with warnings.catch_warnings():
        # Other versions of these three packages may warn when they are imported, which says nothing about fastprop.
        warnings.simplefilter("ignore")
        import onnx
        import onnxruntime
        import skl2onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
except ImportError as error:
    pytest.skip(f"skl2onnx, onnx and onnxruntime are needed: {error}", allow_module_level=True)

SMALL = {"n_members": 2, "max_iter": 2, "hidden_layer_sizes": (8, 8), "random_state": 0}
N = 120


def table(dtype=np.float64):
    """Every kind of column, with gaps, rare categories and a column that is left out."""
    rng = np.random.default_rng(0)
    X = {
        "size": np.where(np.arange(N) % 7 == 3, np.nan, rng.normal(50, 20, N)).astype(dtype),
        "rooms": np.arange(N) % 5,
        "age": (rng.normal(size=N) ** 3).astype(dtype),
        "city": np.array(["Rome", "Oslo", "Paris"], dtype=object)[np.arange(N) ** 2 % 11 % 3],
        "street": np.array(["a", "b", "c"], dtype=object)[np.arange(N) % 3],
        "garden": np.arange(N) % 4 == 0,
        "floor": (np.arange(N) % 3).astype(dtype),
        "same": np.ones(N, dtype),
    }
    X["city"][5:8] = ["Bern", "Bonn", "Cork"]
    X["street"][::9] = None
    return pandas.DataFrame({name: pandas.Series(values, dtype=values.dtype) for name, values in X.items()})


def later(X):
    """The same table with categories that are not in it, and with gaps where it has none."""
    X = X.copy()
    X.loc[:3, "city"], X.loc[4:6, "street"] = "Lima", "z"
    X.loc[7:9, "age"], X.loc[9, "city"], X.loc[10, "floor"], X.loc[11:13, "floor"] = np.nan, None, 7, np.nan
    return X


def target(X, kind):
    y = np.nan_to_num(X["size"].to_numpy(np.float64)) / 20 + (X["city"] == "Rome") + X["rooms"]
    classes = {"binary": ["no", "yes"], "multiclass": ["a", "b", "c"], "one class": ["a"]}
    if kind in classes:
        n = len(classes[kind])
        return np.array(classes[kind])[np.searchsorted(np.quantile(y, np.arange(1, n) / n), y)]
    return {"one output": y, "two outputs": np.stack([1e6 + y, -y], axis=1), "poisson": np.round(y.clip(0))}[kind]


def string_column(cells):
    return pandas.DataFrame({"c": pandas.Series(cells, dtype=object)})


def fitted(kind, X, **parameters):
    make = fastprop.TabularClassifier if kind in ("binary", "multiclass", "one class") else fastprop.TabularRegressor
    if kind == "poisson":
        parameters["loss"] = "poisson"
    return make(**SMALL | {"categorical_features": ["city", "street", "garden", "floor"]} | parameters).fit(X, target(X, kind))


def inputs_of(X):
    """A tensor for each column of a frame; a gap in strings is the empty string."""
    return {name: X[name].fillna("").to_numpy() if X[name].dtype == object else X[name].to_numpy() for name in X}


def run(model, X, opset=None, types=None, feed=None, **options):
    """The outputs in onnxruntime, after a check of the graph with its declared shapes."""
    register_onnx_converters()
    first = X[20:21] if types is None else None
    graph = skl2onnx.to_onnx(model, first, initial_types=types, options=options or None, target_opset=opset)
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {name: x[:, None] for name, x in inputs_of(X).items()} if feed is None else feed
    outputs = session.run(None, feed)
    for output, declared in zip(outputs, session.get_outputs(), strict=True):
        if isinstance(output, np.ndarray):
            assert declared.shape[1:] == list(output.shape[1:])
    return outputs


def assert_close(got, expected, dtype=np.float64):
    assert got.dtype == dtype
    assert got.shape == expected.shape
    size = np.abs(expected).max() if dtype is np.float32 else np.ptp(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * max(1, size))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "one class"])
def test_classifier(kind, dtype):
    X = table(dtype)
    model, X = fitted(kind, X), later(X)
    labels, probabilities = run(model, X, zipmap=False)
    assert_close(probabilities, model.predict_proba(X), dtype)
    assert labels.tolist() == model.predict(X).tolist()
    assert kind == "one class" or np.ptp(probabilities[:, 0]) > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["one output", "two outputs", "poisson"])
def test_regressor(kind, dtype):
    X = table(dtype)
    model, X = fitted(kind, X), later(X)
    mean, std = (expected.reshape(len(X), -1) for expected in model.predict(X, return_std=True))
    (values,) = run(model, X)
    assert_close(values, mean, dtype)
    assert np.ptp(values[:, 0]) > 0.1
    values, deviations = run(model, X, return_std=True)
    assert_close(values, mean, dtype)
    np.testing.assert_allclose(deviations, std, rtol=0, atol=1e-5 * std.max())
    assert deviations.dtype == dtype
    assert std.max() > 0.01


def test_predictions_are_within_the_range_of_training_data():
    X = table()
    model = fitted("one output", X)
    low, high = np.quantile(model.predict(X), [0.3, 0.7])
    model._scale = dataclasses.replace(model._scale, lowest=np.array([low]), highest=np.array([high]))
    (values,) = run(model, X)
    assert_close(values, model.predict(X)[:, None])
    assert (values.min(), values.max()) == pytest.approx((low, high))


@pytest.mark.parametrize("size", [1e-300, 1e-9, 1e9, 1e307])
def test_targets_of_any_magnitude(size):
    X = table()
    model = fastprop.TabularRegressor(**SMALL).fit(X, size * target(X, "one output"))
    np.testing.assert_allclose(run(model, X)[0][:, 0] / size, model.predict(X) / size, rtol=0, atol=1e-5)


def test_options_of_the_classifier():
    X = table(np.float32)
    model = fitted("multiclass", X)
    expected = model.predict_proba(X)
    _, rows = run(model, X)
    assert [list(row) for row in rows] == [["a", "b", "c"]] * N
    np.testing.assert_allclose([list(row.values()) for row in rows], expected, atol=2e-6)
    assert run(model, X, zipmap=False, nocl=True)[0].tolist() == expected.argmax(axis=1).tolist()
    assert run(model, X, zipmap=False, output_class_labels=True)[2].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder(dtype):
    X = table()
    for encoding in ("piecewise_linear", "standard"):
        encoder = TabularEncoder(categorical_features=["floor", "city", "street"], numeric_encoding=encoding, dtype=dtype).fit(X)
        for rows in (X, later(X)):
            (features,) = run(encoder, rows)
            assert features.dtype == dtype
            # A bin's number and the share of the way through it are one number where rows are kept.
            np.testing.assert_allclose(features, encoder.transform(rows), rtol=0, atol=3e-6 if dtype is np.float32 else 1e-14)


def test_gaps_of_columns_without_gaps_and_categories_of_every_kind():
    """The number of categories that are frequent, infrequent and missing is one of 0, 1 and more."""
    seen = set()
    for frequent, rare, missing in itertools.product(("", "a", "ab"), ("", "xyz"), (0, 12)):
        cells = [*12 * frequent, *rare, *[None] * missing]
        if cells and (encoder := TabularEncoder().fit(string_column(cells))).columns_:
            seen.add((type(encoder.columns_[0]).__name__, encoder.columns_[0].n))
            rows = string_column([*"abxq", None])
            (features,) = run(encoder, rows, types=[("c", StringTensorType([None, 1]))])
            np.testing.assert_array_equal(features, encoder.transform(rows))
    assert seen == {("TwoCategories", 1), ("OneHot", 3), ("OneHot", 4)}


def test_numbers_as_categories_in_tensors_of_every_type():
    big = 2**53
    X = pandas.DataFrame({"id": np.repeat([big, big + 1, big + 2], 10), "half": np.tile([0.5, 1.0, 1.5], 10)})
    encoder = TabularEncoder(categorical_features=[0, 1]).fit(X)
    assert (encoder.transform(X).sum(axis=1) == 2).all()
    np.testing.assert_array_equal(run(encoder, X)[0], encoder.transform(X))
    flags = pandas.DataFrame({"flag": np.arange(30) % 3 > 0})
    encoder = TabularEncoder().fit(flags)
    np.testing.assert_array_equal(run(encoder, flags)[0], encoder.transform(flags))
    as_numbers = {"flag": np.array([[0.0], [1.0], [np.nan], [2.0]], np.float32)}
    (features,) = run(encoder, None, types=[("flag", FloatTensorType([None, 1]))], feed=as_numbers)
    assert features[:, 0].tolist() == [-0.5, 0.5, 0, 0]


def test_an_empty_string_that_is_a_category():
    X = string_column(["", "a", "b"] * 10)
    encoder = TabularEncoder().fit(X)
    assert encoder.transform(X[:1]).tolist() == [[1, 0, 0]]
    np.testing.assert_array_equal(run(encoder, X)[0], encoder.transform(X))


def test_one_tensor_for_all_columns():
    X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    X[::5, 1], X[:, 2] = np.nan, np.arange(N) % 3
    model = fastprop.TabularRegressor(**SMALL, categorical_features=[2]).fit(X, np.nan_to_num(X).sum(axis=1))
    for width in (3, None):
        (values,) = run(model, X, types=[("X", FloatTensorType([None, width]))], feed={"X": X})
        assert_close(values, model.predict(X)[:, None], np.float32)


def test_columns_are_found_by_name_and_else_by_place():
    X = table()
    model = fitted("one output", X)
    expected = model.predict(X)[:, None]
    assert_close(run(model, X[X.columns[::-1]])[0], expected)
    assert_close(run(model, X.set_axis([f"input{i}" for i in range(X.shape[1])], axis=1))[0], expected)


def test_dates_are_seconds():
    days = pandas.date_range("2020-01-01", periods=N)
    X = pandas.DataFrame({"day": days})
    model = fastprop.TabularRegressor(**SMALL).fit(X, np.arange(N))
    seconds = {"day": (days - pandas.Timestamp(0)).total_seconds().to_numpy()[:, None]}
    (values,) = run(model, None, types=[("day", DoubleTensorType([None, 1]))], feed=seconds)
    assert_close(values, model.predict(X)[:, None])


def test_pipelines():
    X = table(np.float32)[["size", "rooms", "age", "floor"]].astype(np.float32).fillna(0)
    y = target(table(), "one output")
    model = make_pipeline(StandardScaler(), fastprop.TabularRegressor(**SMALL)).fit(X.to_numpy(), y)
    (values,) = run(model, X.to_numpy(), feed={"X": X.to_numpy()})
    assert_close(values, model.predict(X.to_numpy())[:, None], np.float32)
    values, std = run(model, X.to_numpy(), feed={"X": X.to_numpy()}, tabularregressor__return_std=True)
    assert values.shape == std.shape == (N, 1)
    X = table(np.float32)
    columns = make_column_transformer((StandardScaler(), ["age"]), ("passthrough", ["rooms"]))
    labels = target(X, "multiclass")
    model = make_pipeline(columns, fastprop.TabularClassifier(**SMALL)).fit(X, labels)
    found, probabilities = run(model, X, zipmap=False)
    assert_close(probabilities, model.predict_proba(X), np.float32)
    assert found.tolist() == model.predict(X).tolist()
    model = make_pipeline(TabularEncoder(), fastprop.MLPClassifier((5,), max_iter=3, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, labels)
    np.testing.assert_allclose(run(model, X, zipmap=False)[1], model.predict_proba(X), atol=2e-6)


@pytest.mark.parametrize("opset", [11, 12, 13, 15, 18, 21])
def test_old_and_new_operators(opset):
    X = table()
    model, X = fitted("one output", X), later(X)
    assert_close(run(model, X, opset)[0], model.predict(X)[:, None])


def test_no_column_that_says_anything():
    X = pandas.DataFrame({"same": np.ones(N), "name": pandas.Series(["a"] * N, dtype=object)})
    model = fastprop.TabularRegressor(**SMALL).fit(X, np.arange(N) / 9)
    assert_close(run(model, X)[0], model.predict(X)[:, None])
    with pytest.raises(ValueError, match="this TabularEncoder has no features that could be converted to ONNX"):
        run(TabularEncoder().fit(X), X)


def test_errors():
    X = table()
    model = fitted("one output", X)
    with pytest.raises(ValueError, match=r"TabularRegressor needs target_opset of at least 11 .* got 10"):
        run(model, X, 10)
    with pytest.raises(ValueError, match="TabularRegressor was fitted to 8 columns; the inputs to convert have 3"):
        run(model, None, types=[("X", FloatTensorType([None, 3]))])
    for name, words in {
        "size": "numbers .* tensor of numbers; got strings",
        "floor": "numbers .* tensor of numbers; got str",
    }.items():
        with pytest.raises(ValueError, match=f"Column '{name}' held {words}"):
            run(model, X.assign(**{name: X["city"]}))
    with pytest.raises(
        ValueError, match="Column 'city' held strings in fit, so its input must be a tensor of strings; got numbers"
    ):
        run(model, X.assign(city=X["age"]))
    middle = make_pipeline(fitted("one output", X), StandardScaler())
    with pytest.raises(ValueError, match="TabularRegressor must be the last step of what is converted to ONNX"):
        run(middle, X)

"""Gradients by the columns of a table against differences of predictions, in double so that these say something."""

import copy
import dataclasses

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import fastprop
from fastprop.inspection import input_gradients, integrated_gradients, tabular_gradients

pandas = pytest.importorskip("pandas", reason="pandas is not installed")

CLASSES = {"binary": ["no", "yes"], "multiclass": ["a", "b", "c"], "one class": ["a"]}
NUMBERS = ["length", "width", "steps"]
CLOSE = {"rtol": 1e-6, "atol": 1e-8}
N = 200


def table(seed, n=N):
    rng = np.random.default_rng(seed)
    X = {
        "length": rng.normal(50, 20, n),
        "kind": rng.choice(["x", "y", "z"], n, p=[0.5, 0.3, 0.2]),
        "width": rng.uniform(0, 1e-6, n),
        "side": rng.choice(["l", "r"], n, p=[0.7, 0.3]),
        "steps": rng.integers(0, 4, n) + rng.uniform(0.1, 0.2, n),
        "same": np.ones(n),
    }
    X["length"][::6], X["kind"] = np.nan, X["kind"].astype(object)
    X["kind"][:15], X["kind"][20:40] = [*"abcabcabcabcabc"], None
    return pandas.DataFrame(X)


def target(X, kind):
    y = X["length"].fillna(60) / 20 + 1e6 * X["width"] + (X["kind"] == "x") + 2 * (X["side"] == "l") * X["steps"]
    if kind in CLASSES:
        n = len(CLASSES[kind])
        return np.array(CLASSES[kind])[np.searchsorted(np.quantile(y, np.arange(1, n) / n), y)]
    return {"one output": y, "two outputs": np.stack([1e3 * y, -y], axis=1), "poisson": np.round(y.clip(0))}[kind]


def in_double(model):
    """The same estimator with double networks and encoding."""
    double = copy.deepcopy(model)
    double.members_ = [network.astype(np.float64) for network in model.members_]
    for encoder in double.encoders_:
        encoder.dtype = np.float64
    return double


def fitted(kind, **parameters):
    make = fastprop.TabularClassifier if kind in CLASSES else fastprop.TabularRegressor
    if kind == "poisson":
        parameters["loss"] = "poisson"
    small = {"n_members": 2, "max_iter": 3, "hidden_layer_sizes": (8, 8), "random_state": 0}
    X = table(0)
    return in_double(make(**small | parameters).fit(X, target(X, kind)))


def outputs_of(model, X):
    return (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(X).reshape(len(X), -1)


def differences(model, X, name):
    step = 1e-5 * X[name].std()
    up, down = (outputs_of(model, X.assign(**{name: X[name] + sign * step})) for sign in (1, -1))
    return (up - down) / (2 * step)


@pytest.mark.parametrize("encoding", ["piecewise_linear", "standard"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "one output", "two outputs", "poisson"])
def test_numbers(kind, encoding):
    model, X = fitted(kind, numeric_encoding=encoding), table(1)
    outputs = CLASSES.get(kind, range(outputs_of(model, X).shape[1]))
    for j, output in enumerate(outputs):
        gradients = input_gradients(model, X, output)
        assert gradients.shape == X.shape
        assert gradients.dtype == np.float64
        for name in NUMBERS:
            expected = differences(model, X, name)[:, j]
            found = gradients[:, list(X).index(name)]
            np.testing.assert_allclose(found * X[name].std(), expected * X[name].std(), **CLOSE)
            assert np.abs(expected).max() * X[name].std() > 0.005
        assert not gradients[X["length"].isna(), 0].any()
        assert not gradients[:, -1].any()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "one output"])
def test_categories(kind):
    """Along the way from the mean of the one-hot features to those of the row."""
    model, X = fitted(kind, n_bins=8), table(1)
    (encoder,), weights = model.encoders_, model.member_weights_
    X.loc[X.index[:3], "side"] = "new"
    output = CLASSES[kind][1] if kind in CLASSES else 0
    gradients, names = input_gradients(model, X, output), encoder.get_feature_names_out().tolist()
    wide, mean = encoder.transform(X), encoder.transform(table(0)).mean(axis=0)
    for name in ("kind", "side"):
        way = np.zeros_like(wide)
        columns = [i for i, each in enumerate(names) if each.startswith(name)]
        assert len(columns) == {"kind": 5, "side": 1}[name]
        way[:, columns] = (wide - mean)[:, columns]
        if name == "side":
            way[:3] = 0
        ends = [
            np.average([network.forward(wide + h * way) for network in model.members_], axis=0, weights=weights)
            for h in (1e-5, -1e-5)
        ]
        expected = ((ends[0] - ends[1]) / 2e-5)[:, 1 if kind == "multiclass" else 0]
        if kind == "one output":
            low, high = model._scale.network_targets(np.array([[0.0], [1.0]]))[:, 0]
            expected = expected / (high - low)
        np.testing.assert_allclose(gradients[:, list(X).index(name)], expected, **CLOSE)
        assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_by_default_it_is_the_class_that_is_predicted(kind):
    model, X = fitted(kind), table(1)
    predicted, expected = model.predict(X), np.empty(X.shape)
    assert len(set(predicted)) > 1
    for label in CLASSES[kind]:
        expected[predicted == label] = input_gradients(model, X, label)[predicted == label]
    np.testing.assert_array_equal(input_gradients(model, X), expected)


def test_the_only_output_and_the_only_class():
    model, X = fitted("one output"), table(1)
    np.testing.assert_array_equal(input_gradients(model, X), input_gradients(model, X, 0))
    assert not input_gradients(fitted("one class"), X).any()


def test_outside_of_all_bins_only_the_scaled_number_changes():
    model = fitted("one output")
    X = table(1).assign(steps=np.tile([-4.0, 9.0], N // 2))
    expected = differences(model, X, "steps")[:, 0]
    np.testing.assert_allclose(input_gradients(model, X)[:, 4], expected, **CLOSE)


def test_numbers_at_edges():
    """The slope is that of the bin to the right, at the last edge of the bin to the left."""
    x = np.random.default_rng(0).normal(size=(N, 1))
    model = in_double(fastprop.TabularRegressor(n_members=1, max_iter=3, n_bins=4, random_state=0).fit(x, x[:, 0]))
    edges = model.encoders_[0].columns_[1].edges[:, None]
    inside = edges + np.where(edges == edges.max(), -1e-7, 1e-7)
    np.testing.assert_allclose(input_gradients(model, edges), input_gradients(model, inside), rtol=1e-4, atol=1e-6)


def test_a_clipped_prediction_does_not_change():
    model, X = fitted("one output", n_members=1), table(1)
    low, high = np.quantile(model.predict(X), [0.3, 0.7])
    clipped = copy.copy(model)
    clipped._scale = dataclasses.replace(model._scale, lowest=np.array([low]), highest=np.array([high]))
    is_clipped = np.isclose(clipped.predict(X)[:, None], [low, high], rtol=1e-12).any(axis=1)
    assert 0 < is_clipped.sum() < N
    gradients = input_gradients(clipped, X)
    assert not gradients[is_clipped].any()
    np.testing.assert_allclose(gradients[~is_clipped], input_gradients(model, X)[~is_clipped], rtol=1e-10)


def test_float_networks_and_parts(monkeypatch):
    X = table(0)
    model = fastprop.TabularClassifier(n_members=2, max_iter=2, random_state=0).fit(X, target(X, "binary"))
    whole, size = input_gradients(model, X, "yes"), np.abs(input_gradients(in_double(model), X, "yes")).max(axis=0)
    np.testing.assert_allclose(whole / (size + 1), input_gradients(in_double(model), X, "yes") / (size + 1), atol=1e-5)
    monkeypatch.setattr(tabular_gradients, "EVALUATION_ROWS", 64)
    np.testing.assert_allclose(input_gradients(model, X, "yes"), whole, rtol=1e-4, atol=1e-6)


def test_pipelines_and_columns_in_another_order():
    model, X = fitted("one output"), table(1)
    expected = input_gradients(model, X)
    np.testing.assert_array_equal(input_gradients(model, X[X.columns[::-1]]), expected)
    half = FunctionTransformer(lambda X: X.assign(steps=X["steps"] / 2))
    np.testing.assert_array_equal(input_gradients(make_pipeline(half, model), X.assign(steps=2 * X["steps"])), expected)


def test_errors():
    model, X = fitted("binary"), table(1)
    with pytest.raises(ValueError, match=r"output must be one of the classes \['no', 'yes'\], or None for .* predicted; got 1"):
        input_gradients(model, X, 1)
    with pytest.raises(ValueError, match="output must be the number of an output, from 0 to 1; got None"):
        input_gradients(fitted("two outputs"), X)
    with pytest.raises(ValueError, match="Column 'length' of X held numbers in fit, and now holds strings"):
        input_gradients(model, X.assign(length="a"))
    with pytest.raises(NotFittedError):
        input_gradients(fastprop.TabularRegressor(), X)
    with pytest.raises(TypeError, match=r"an MLPRegressor, or a Pipeline that ends in one; got TabularClassifier"):
        integrated_gradients(model, X)

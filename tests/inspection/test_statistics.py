"""Activation statistics: saturation and dead units, for activations inside Linear, as layers, and of the user's own."""

import numpy as np
import pytest

from fastprop import MLPRegressor, nn
from fastprop.inspection import activation_statistics
from fastprop.nn.activations import ACTIVATION_LAYERS


def _identity_layer(n, activation):
    layer = nn.Linear(n, n, activation=activation)
    layer.weight.data, layer.bias.data = np.eye(n), np.zeros(n)
    return layer


# One unit is dead, one is never saturated, one is saturated in half of the rows.
Z = np.array([[-9.0, 0.5, -9.0], [-8.0, 0.5, 0.5], [-7.0, 0.1, -7.0], [-9.0, 0.2, 0.2]])
LAYERS = {
    "relu": nn.ReLU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Activation(lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z)), name="softplus"),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("fused", [False, True], ids=["layer", "fused"])
def test_saturation(name, fused):
    if fused and name == "softplus":
        pytest.skip("an activation of the user's own is a layer")
    layer = _identity_layer(3, name) if fused else LAYERS[name]
    statistics = activation_statistics(nn.Sequential(layer), Z)
    (row,) = statistics.rows
    assert (row.name, row.activation, row.n_units) == ("0", name, 3)
    assert row.dead.tolist() == [0]
    assert row.saturated == 6 / 12
    a = nn.Sequential(layer).eval()(Z)
    assert (row.mean, row.std) == (pytest.approx(a.mean()), pytest.approx(a.std()))
    assert statistics["0"] is row


@pytest.mark.parametrize(("name", "edge"), [("sigmoid", 4.357), ("tanh", 2.178)])
def test_where_saturation_begins(name, edge):
    """sigmoid: a (1 - a) = 0.05 / 4; tanh: 1 - a^2 = 0.05."""
    z = np.array([[edge - 0.01], [edge + 0.01], [-edge + 0.01], [-edge - 0.01]])
    assert activation_statistics(nn.Sequential(LAYERS[name]), z)["0"].saturated == 0.5


@pytest.mark.parametrize("name", [name for name in ACTIVATION_LAYERS if name != "identity"])
def test_every_activation_fused_and_as_a_layer(name):
    """The share of values whose derivative, by central differences, is below 5 % of the largest."""
    z, h = np.linspace(-8, 8, 4001)[:, None], 1e-6
    layer = ACTIVATION_LAYERS[name]()
    derivative = np.abs(layer(z + h) - layer(z - h)) / (2 * h)
    expected = (derivative < 0.05 * derivative.max()).mean()
    for model in (layer, _identity_layer(1, name)):
        (row,) = activation_statistics(nn.Sequential(model), z).rows
        assert row.activation == name
        assert row.saturated == pytest.approx(expected, abs=1e-3)


def test_a_nested_model_in_evaluation_mode():
    rng = np.random.default_rng(0)
    block = nn.Sequential(nn.Linear(3, 3, random_state=0), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.9, random_state=0))
    model = nn.Sequential(nn.Linear(3, 3, activation="relu", random_state=1), nn.Residual(block), nn.Linear(3, 2, random_state=2))
    running_mean = block[1].running_mean.copy()
    statistics = activation_statistics(model, rng.normal(size=(20, 3)))
    assert [row.name for row in statistics.rows] == ["0", "1.block.2"]
    assert all(module.training for module in model.modules())
    np.testing.assert_array_equal(block[1].running_mean, running_mean)
    assert block[3].n_forwards == 0
    assert not any("forward" in vars(module) for module in model.modules())
    with pytest.raises(KeyError, match=r"no activations of layer '2'; there are \['0', '1\.block\.2'\]"):
        statistics["2"]


def test_what_is_no_matrix_counts_as_one_row():
    model = nn.Sequential(_identity_layer(3, "relu"), nn.Sigmoid())
    for name in ("0", "1"):
        one, many = activation_statistics(model, Z[0])[name], activation_statistics(model, Z[:1])[name]
        assert str(one) == str(many)
    graph = nn.Graph(nn.functional.sigmoid(nn.Input()))
    assert [activation_statistics(graph, x).rows[0].n_units for x in (2.0, Z[0], Z[None])] == [1, 3, 12]


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_an_estimator(normalization):
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.random.default_rng(1).normal(size=40)
    options = {"activation": ["relu", "gelu"], "normalization": normalization, "dropout": 0.5}
    regressor = MLPRegressor(hidden_layer_sizes=(5, 6), **options, random_state=0).partial_fit(X, y)
    dead = regressor.norm_biases_ if normalization else regressor.intercepts_
    dead[0][2] = -100
    rows = activation_statistics(regressor, X).rows
    assert [(row.activation, row.n_units) for row in rows] == [("relu", 5), ("gelu", 6)]
    for layer, row in enumerate(rows):
        np.testing.assert_allclose(row.mean, regressor.transform(X, layer).mean(), rtol=1e-12)
    assert 2 in rows[0].dead
    with pytest.raises(TypeError, match="model must be a Module, an MLPClassifier or an MLPRegressor; got"):
        activation_statistics(X, X)


def test_the_table():
    lines = repr(activation_statistics(nn.Sequential(nn.ReLU()), Z)).splitlines()
    assert lines[0].split() == ["layer", "activation", "units", "mean", "std", "saturated", "dead", "units"]
    assert lines[1].split()[-2:] == ["50.0%", "1"]

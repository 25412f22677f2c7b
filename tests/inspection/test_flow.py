"""Gradient flow: norms by layer and step, and warnings that name the layer."""

import warnings

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import GradientFlow, GradientWarning, gradient_flow
from fastprop.nn.activations import ACTIVATION_LAYERS

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 2))


def _model():
    layers = nn.Linear(3, 4, activation="tanh", random_state=0), nn.Dropout(0.1, random_state=0), nn.Linear(4, 2, random_state=1)
    return nn.Sequential(*layers)


def _step(model, loss, flow, factor=1.0):
    loss(model(X), Y)
    return flow.backward(factor * loss.backward())


def test_norms_of_the_parameters():
    model, loss = _model(), nn.MSELoss()
    flow = gradient_flow(model, loss, X, Y)
    assert flow.layers == ["0", "2"]
    for i, layer in enumerate((model[0], model[2])):
        both = np.concatenate([layer.weight.grad.ravel(), layer.bias.grad])
        assert flow.norms[0, i] == pytest.approx(np.linalg.norm(both), rel=1e-14)
    assert flow.ratio() == pytest.approx(flow.norms[0, 0] / flow.norms[0, 1])
    _step(model, loss, flow)
    assert flow.norms.shape == (2, 2)
    flow.record()
    np.testing.assert_array_equal(flow.norms[2], flow.norms[1])


def test_norms_at_the_outputs():
    model, loss = nn.Sequential(nn.Linear(3, 4, random_state=0), nn.Linear(4, 2, random_state=1)), nn.MSELoss()
    flow = gradient_flow(model, loss, X, Y, at="outputs")
    loss(model(X), Y)
    dlast = loss.backward()
    dfirst = dlast @ model[1].weight.data.T
    np.testing.assert_allclose(flow.norms, [[np.linalg.norm(dfirst), np.linalg.norm(dlast)]], rtol=1e-14)


def test_the_backward_is_the_models():
    model, loss = _model(), nn.MSELoss()
    loss(model(X), Y)
    expected = model.backward(loss.backward())
    np.testing.assert_array_equal(GradientFlow(model).backward(loss.backward()), expected)
    assert not any("backward" in vars(module) for module in model.modules())
    once = model[0].weight.grad.copy()
    GradientFlow(model).backward(loss.backward(), accumulate=True)
    np.testing.assert_allclose(model[0].weight.grad, 2 * once, rtol=1e-13)


def test_some_layers_of_a_nested_model():
    model = nn.Sequential(nn.Residual(nn.Linear(3, 3, random_state=0)), nn.LayerNorm(3), nn.Linear(3, 2, random_state=1))
    assert GradientFlow(model).layers == ["0.block", "1", "2"]
    flow = gradient_flow(model, nn.MSELoss(), X, Y, layers=["0.block", "2"])
    assert flow.norms.shape == (1, 2)


@pytest.mark.parametrize("at", ["parameters", "outputs"])
@pytest.mark.parametrize("factor", [np.inf, np.nan])
def test_a_warning_names_the_layer_that_is_not_finite(at, factor):
    model, loss = _model(), nn.MSELoss()
    flow = gradient_flow(model, loss, X, Y, at=at)
    with (
        np.errstate(invalid="ignore"),
        pytest.warns(GradientWarning, match=r"step 2: the gradient of layer '2' is not finite; its norm is (inf|nan)"),
    ):
        _step(model, loss, flow, factor)
    assert flow.norms.shape == (2, 2)


def test_a_nan_that_begins_further_down():
    model, loss = _model(), nn.MSELoss()
    loss(model(X), Y)
    model[2].weight.data[0, 0] = np.nan
    with pytest.warns(GradientWarning, match="the gradient of layer '0' is not finite"):
        GradientFlow(model).backward(loss.backward())


def test_a_warning_names_the_layer_that_spikes():
    model, loss = _model(), nn.MSELoss()
    flow = GradientFlow(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(6):
            _step(model, loss, flow)
            _step(model, loss, flow, factor=5)
    with pytest.warns(GradientWarning, match=r"step 13: the gradient of layer '[02]' spikes: norm [\d.e+]+, usually") as caught:
        _step(model, loss, flow, factor=100)
    assert caught[0].filename == __file__


def test_no_spike_is_seen_before_there_is_a_usual_norm():
    model, loss = _model(), nn.MSELoss()
    flow = GradientFlow(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for factor in (1, 100, 1, 100, 1):
            _step(model, loss, flow, factor)


def test_a_warning_where_the_gradient_grows_with_depth():
    layers = [nn.Linear(3, 3, random_state=seed) for seed in range(8)]
    for layer in layers:
        layer.weight.data = 5 * np.eye(3)
    model = nn.Sequential(*layers)
    with pytest.warns(GradientWarning, match=r"explodes on its way back: norm .* at layer '7', .* at layer '0'"):
        flow = gradient_flow(model, nn.MSELoss(), X, X, at="outputs")
    assert flow.ratio() == pytest.approx(5**7, rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient_flow(model, nn.MSELoss(), X, X, at="outputs", growth_limit=1e5)


def test_a_layer_that_is_not_used():
    class Skips(nn.Module):
        def __init__(self):
            self.used, self.idle = nn.Linear(3, 2, random_state=0), nn.Linear(3, 2, random_state=1)

        def forward(self, x):
            return self.used.forward(x)

        def backward(self, dout, accumulate=False):
            return self.used.backward(dout, accumulate)

    with pytest.raises(ValueError, match=r"the backward must reach all layers; it did not reach \['idle'\]"):
        gradient_flow(Skips(), nn.MSELoss(), X, Y, at="outputs")
    with pytest.raises(ValueError, match="layer 'idle' has no gradient"):
        gradient_flow(Skips(), nn.MSELoss(), X, Y)
    gradient_flow(Skips(), nn.MSELoss(), X, Y, layers=["used"])


def test_the_norm_at_the_input():
    model, loss = _model(), nn.MSELoss()
    flow = GradientFlow(model)
    dx = _step(model, loss, flow)
    flow.record()
    assert flow.input_norms[0] == pytest.approx(np.linalg.norm(dx), rel=1e-14)
    assert np.isnan(flow.input_norms[1])
    x, y = nn.Input(), nn.Input()
    graph = nn.Graph([x, y], nn.Linear(3, 2, random_state=0)(x) + y)
    graph(X, Y)
    flow = GradientFlow(graph)
    both = flow.backward(np.ones_like(Y))
    assert flow.input_norms[0] == pytest.approx(np.sqrt(sum((part**2).sum() for part in both)), rel=1e-14)


def test_the_table():
    flow = GradientFlow(_model())
    assert repr(flow).splitlines()[0] == "norm of the gradient with respect to the layer's parameters, nothing recorded yet"
    _step(flow.model, nn.MSELoss(), flow)
    lines = repr(flow).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["input", "0", "2"]
    assert lines[3].split()[-3:] == ["16", f"{flow.norms[0, 0]:.3g}", f"{flow.ratio():.3g}"]
    assert lines[-1] == f"first / last layer: {flow.ratio():.3g}"


def test_a_gradient_that_is_zero():
    model, loss = nn.Sequential(nn.Linear(3, 3, random_state=0), nn.Linear(3, 2, random_state=1)), nn.MSELoss()
    flow = gradient_flow(model, loss, X, model(X))
    assert np.isnan(flow.ratio())
    assert "nan" in repr(flow)


@pytest.mark.filterwarnings("ignore::fastprop.inspection.GradientWarning")  # of deep layers, some gradients are tiny
@pytest.mark.parametrize("name", [name for name in ACTIVATION_LAYERS if name != "identity"])
@pytest.mark.parametrize("fused", [False, True], ids=["layer", "fused"])
def test_the_bound_holds_for_every_activation(name, fused):
    rng = np.random.default_rng(0)
    layers = []
    for i in range(4):
        layers.append(nn.Linear(6, 6, activation=name if fused else "identity", random_state=i))
        if not fused:
            layers.append(ACTIVATION_LAYERS[name]())
    model = nn.Sequential(nn.Sequential(*layers), nn.Dropout(0.25, random_state=0), nn.Linear(6, 2, random_state=9))
    flow = gradient_flow(model, nn.MSELoss(), rng.normal(scale=3, size=(50, 6)), rng.normal(size=(50, 2)), at="outputs")
    bound, z = flow.bound(), np.linspace(-9, 9, 20001)[:, None]
    steepest = (np.diff(ACTIVATION_LAYERS[name]()(z), axis=0) / np.diff(z, axis=0)).max()
    assert [row.name for row in bound.rows] == ["input", *flow.layers]
    assert bound["input"].slopes == pytest.approx(steepest**4 / 0.75, rel=1e-2)
    assert bound["input"].weight_norms == pytest.approx(np.prod([np.linalg.norm(p.data, 2) for p in model.parameters()[::2]]))
    assert all(row.norm <= row.bound for row in bound.rows)
    assert bound[2] is bound["2"] is bound.rows[-1]  # as in a trace
    with pytest.raises(KeyError, match="no bound for '0'; there are"):
        bound["0"]


def test_the_bound_is_reached_where_nothing_is_lost():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(5)))
    for i, layer in enumerate(model):
        layer.weight.data = (i + 1) * np.eye(3)
    flow = gradient_flow(model, nn.MSELoss(), X, X, at="outputs")
    for row in flow.bound().rows:
        assert row.norm == pytest.approx(row.bound, rel=1e-12)
    assert [row.weight_norms for row in flow.bound().rows] == [120, 120, 60, 20, 5, 1]


def test_where_there_is_no_bound():
    residual = nn.Sequential(nn.Linear(3, 3, random_state=0), nn.Residual(nn.Linear(3, 3)), nn.Linear(3, 2, random_state=1))
    with pytest.raises(ValueError, match=r"Linear layers, activations and dropout in a row; layer '1', Residual, is none of them"):
        gradient_flow(residual, nn.MSELoss(), X, Y, at="outputs").bound()
    with pytest.raises(ValueError, match="make the flow with at='outputs'; got at='parameters'"):
        gradient_flow(_model(), nn.MSELoss(), X, Y).bound()
    with pytest.raises(ValueError, match="the flow must have recorded a step; it has none"):
        GradientFlow(_model(), at="outputs").bound()


def test_errors():
    model = _model()
    with pytest.raises(ValueError, match=r"layer '0' has no gradient; record\(\) comes after a backward"):
        GradientFlow(model).record()
    with pytest.raises(ValueError, match="gradients with respect to outputs are not kept"):
        GradientFlow(model, at="outputs").record()
    with pytest.raises(ValueError, match="at must be 'parameters' or 'outputs'; got 'inputs'"):
        GradientFlow(model, at="inputs")
    with pytest.raises(ValueError, match=r"layers must be some of \['0', '2'\], which have parameters; got \['1'\]"):
        GradientFlow(model, layers=["1"])
    with pytest.raises(ValueError, match=r"layers must be some of \[\]"):
        GradientFlow(nn.Sequential(nn.ReLU()))


def test_a_warning_once_where_the_gradient_vanishes_with_depth():
    layers = [nn.Linear(3, 3, random_state=seed) for seed in range(8)]
    for layer in layers:
        layer.weight.data = 0.2 * np.eye(3)
    model, loss = nn.Sequential(*layers), nn.MSELoss()
    with pytest.warns(GradientWarning, match=r"vanishes on its way back: norm .* at layer '7', .* at layer '0'"):
        flow = gradient_flow(model, loss, X, X, at="outputs")
    assert flow.ratio() == pytest.approx(0.2**7, rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(model(X), X)
        flow.backward(loss.backward())
        gradient_flow(model, loss, X, X, at="outputs", vanishing_limit=1e-5)

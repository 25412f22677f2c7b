"""The displays: what is drawn, where and with which words; nothing cut off; clear errors."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fastprop
from fastprop import nn
from fastprop.inspection import (
    ActivationDisplay,
    FirstLayerWeightsDisplay,
    GradientFlow,
    GradientFlowDisplay,
    InformationDisplay,
    gradient_flow,
)

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

X = np.random.default_rng(0).normal(size=(8, 4))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 6, activation="tanh", random_state=0), nn.Linear(6, 2, random_state=1))


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def nothing_is_cut_off(figure):
    figure.canvas.draw()
    whole = figure.bbox
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    return all(whole.x0 <= b.x0 < b.x1 <= whole.x1 and whole.y0 <= b.y0 < b.y1 <= whole.y1 for b in boxes)


ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2),
    "softplus": (lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),  # whose kernel takes f' from z
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    value, derivative = ACTIVATIONS[name]
    display = ActivationDisplay.from_activation(name, limits=(-3, 2), n_points=11)
    z = np.linspace(-3, 2, 11)
    for line, expected in zip(display.lines_, (value(z), derivative(z)), strict=True):
        np.testing.assert_allclose(line.get_xdata(), z)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12, atol=1e-15)
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--"]
    assert display.ax_.get_xlabel() == "pre-activation z"
    assert display.ax_.get_ylabel() == "activation, derivative"
    assert legend(display.ax_) == [name, f"{name}, derivative"]
    assert nothing_is_cut_off(display.figure_)


def test_activations_as_layers_on_one_plot():
    softplus = nn.Activation(lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z)), name="softplus")
    display = ActivationDisplay.from_activation(softplus)
    softplus.eval()
    other = ActivationDisplay.from_activation(nn.Tanh(), ax=display.ax_, line_kw={"linewidth": 3})
    assert legend(display.ax_) == ["softplus", "softplus, derivative", "Tanh", "Tanh, derivative"]
    np.testing.assert_allclose(display.lines_[1].get_ydata(), 1 / (1 + np.exp(-display.z)))
    assert [line.get_linewidth() for line in other.lines_] == [3, 3]
    assert other.lines_[0].get_color() == other.lines_[1].get_color() != display.lines_[0].get_color()
    with pytest.raises(ValueError, match="activation must be one of"):
        ActivationDisplay.from_activation("softsign")


def test_gradient_flow_over_layers(model):
    flow = gradient_flow(model, nn.MSELoss(), X, X[:, :2])
    display = GradientFlowDisplay.from_flow(flow, name="tanh")
    (line,) = display.lines_
    assert line.get_xdata().tolist() == [1, 2]
    np.testing.assert_array_equal(line.get_ydata(), flow.norms[0])
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_ylabel() == "norm of the gradient (log scale)"
    assert display.ax_.get_xlabel() == "layer, from the input to the output"
    GradientFlowDisplay.from_flow(flow, ax=display.ax_, name="again", line_kw={"color": "black"})
    assert legend(display.ax_) == ["tanh", "again"]
    assert nothing_is_cut_off(display.figure_)
    assert all(tick == round(tick) for tick in display.ax_.get_xticks())


def test_gradient_flow_over_steps(model):
    flow, loss = GradientFlow(model), nn.MSELoss()
    for _ in range(3):
        loss(model(X), X[:, :2])
        flow.backward(loss.backward())
    display = GradientFlowDisplay.from_flow(flow, kind="steps")
    assert [line.get_xdata().tolist() for line in display.lines_] == [[1, 2, 3]] * 2
    np.testing.assert_array_equal([line.get_ydata() for line in display.lines_], flow.norms.T)
    assert legend(display.ax_) == ["layer 0", "layer 1"]
    assert display.ax_.get_xlabel() == "step"
    assert nothing_is_cut_off(display.figure_)


def test_gradient_flow_errors(model):
    with pytest.raises(ValueError, match=r"norms must have shape \(n_steps >= 1, 2\); got \(0, 2\)"):
        GradientFlowDisplay.from_flow(GradientFlow(model))
    with pytest.raises(ValueError, match="kind must be 'layers' or 'steps'; got 'bars'"):
        GradientFlowDisplay(["0"], [[1.0]]).plot("bars")


def test_first_layer_weights():
    weight = np.arange(12.0).reshape(6, 2) - 5
    display = FirstLayerWeightsDisplay(weight, image_shape=(3, 2), name="mine").plot()
    picture = np.ma.filled(display.image_.get_array(), np.nan)
    np.testing.assert_array_equal(picture[:, :2], weight[:, 0].reshape(3, 2))
    np.testing.assert_array_equal(picture[:, 3:], weight[:, 1].reshape(3, 2))
    assert np.isnan(picture[:, 2]).all()
    assert display.image_.get_clim() == (-6, 6)
    assert display.ax_.get_title() == "mine"
    assert display.colorbar_.ax.get_ylabel() == "weight"
    assert nothing_is_cut_off(display.figure_)
    assert FirstLayerWeightsDisplay(weight, (3, 2)).plot(limit=10, colorbar=False).image_.get_clim() == (-10, 10)


def test_first_layer_weights_of_models():
    X, y = load_digits(return_X_y=True)
    layers = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 7, random_state=0), nn.Linear(7, 10, random_state=1))
    estimator = fastprop.MLPClassifier((7,), solver="lbfgs", max_iter=1, tol=1e9, random_state=0).fit(X, y)
    network = fastprop.Network([64, 7, 10])
    network.initialize(np.random.RandomState(0))
    weights = layers[1].weight.data, estimator.coefs_[0], network.coefs[0]
    for model, weight in zip((layers, estimator, network), weights, strict=True):
        display = FirstLayerWeightsDisplay.from_model(model, n_units=5)
        picture = np.ma.filled(display.image_.get_array(), np.nan)
        assert picture.shape == (2 * 9 - 1, 3 * 9 - 1)
        np.testing.assert_array_equal(picture[9:, 9:17], weight[:, 4].reshape(8, 8))
        assert np.isnan(picture[9:, 17:]).all()


def test_first_layer_errors():
    with pytest.raises(ValueError, match=r"image_shape must hold 10 pixels, one for each row of weight; got \(3, 3\)"):
        FirstLayerWeightsDisplay(np.ones((10, 2)))
    with pytest.raises(ValueError, match=r"weight must have shape \(n_in, n_units\); got \(3,\)"):
        FirstLayerWeightsDisplay(np.ones(3))
    for model in (nn.Sequential(nn.LayerNorm(4)), fastprop.MLPClassifier(), "model"):
        with pytest.raises(TypeError, match=r"model must be of fastprop\.nn with a Linear layer, or a fitted MLP; got"):
            FirstLayerWeightsDisplay.from_model(model)


def test_information():
    display = InformationDisplay(p=[0.25, 0.5, 1.0], z=[-1.0, 0.0, 1.0]).plot()
    loss, size, entropy, sigmoid, slope, sigmoid_entropy = (line.get_ydata() for line in display.lines_)
    np.testing.assert_allclose(loss, [np.log(4), np.log(2), 0])
    np.testing.assert_allclose(size, [0.75, 0.5, 0])
    np.testing.assert_allclose(entropy, [-0.25 * np.log(0.25) - 0.75 * np.log(0.75), np.log(2), 0], atol=1e-15)
    s = 1 / (1 + np.exp([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(sigmoid, s)
    np.testing.assert_allclose(slope, s * (1 - s))
    np.testing.assert_allclose(sigmoid_entropy, -s * np.log(s) - (1 - s) * np.log(1 - s))
    assert [line.axes for line in display.lines_] == [display.axes_[0]] * 3 + [display.axes_[1]] * 3
    assert [ax.get_xlabel() for ax in display.axes_] == ["probability p of the true class", "logit z"]
    assert legend(display.axes_[0]) == ["loss -log p (nats)", "gradient size |p - y|", "entropy of (p, 1 - p) (nats)"]
    assert nothing_is_cut_off(display.figure_)


def test_information_on_given_axes():
    figure, axes = plt.subplots(1, 2)
    assert InformationDisplay().plot(axes, line_kw={"linestyle": ":"}).figure_ is figure
    assert axes[1].lines[0].get_linestyle() == ":"
    with pytest.raises(ValueError, match="axes must be two Axes; got 1"):
        InformationDisplay().plot(axes[:1])
    with pytest.raises(ValueError, match=r"p must be a vector of probabilities in \(0, 1\]"):
        InformationDisplay(p=[0.0, 0.5])


@pytest.mark.full
def test_without_matplotlib():
    code = """
import sys; sys.modules['matplotlib'] = None
from fastprop import inspection
for display in (inspection.InformationDisplay(), inspection.FirstLayerWeightsDisplay([[1.0]]),
                inspection.GradientFlowDisplay(['0'], [[1.0]]), inspection.ActivationDisplay([0.0], [0.0], [1.0])):
    try:
        display.plot()
    except ImportError as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    names = ["InformationDisplay", "FirstLayerWeightsDisplay", "GradientFlowDisplay", "ActivationDisplay"]
    expected = [f"{name} needs matplotlib, which cannot be imported: pip install 'fastprop-mlp[plot]'" for name in names]
    assert result.stdout.splitlines() == expected, result.stderr


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, fastprop.inspection; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr

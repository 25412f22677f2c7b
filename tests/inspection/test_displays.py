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
    assert line.get_xdata().tolist() == [0, 1]
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["0", "1"] == flow.layers
    np.testing.assert_array_equal(line.get_ydata(), flow.norms[0])
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_ylabel() == "norm of the gradient (log scale)"
    assert display.ax_.get_xlabel() == "layer, by its name in the model"
    GradientFlowDisplay.from_flow(flow, ax=display.ax_, name="again", line_kw={"color": "black"})
    assert legend(display.ax_) == ["tanh", "again"]
    assert nothing_is_cut_off(display.figure_)
    assert all(tick == round(tick) for tick in display.ax_.get_xticks())


def bars(display):
    """{name under the Axes: height} of the bars, and their edges from left to right."""
    names = dict(zip(display.ax_.get_xticks(), (text.get_text() for text in display.ax_.get_xticklabels()), strict=True))
    heights = {names[np.floor(bar.get_x() + 0.5)]: bar.get_height() for bar in display.bars_}
    return heights, sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in display.bars_)


def test_gradient_flow_as_bars_side_by_side(model):
    flow = gradient_flow(model, nn.MSELoss(), X, X[:, :2], at="outputs")
    display = GradientFlowDisplay.from_flow(flow, "bars", name="tanh")
    other = GradientFlowDisplay.from_flow(flow, "bars", display.ax_, name="again")
    third = GradientFlowDisplay(flow.layers, flow.norms, name="no input").plot("bars", display.ax_)
    heights = dict(zip(["0", "1", "input"], [*flow.norms[0], flow.input_norms[0]], strict=True))
    (shown, edges), (again, other_edges), (without, third_edges) = map(bars, (display, other, third))
    assert shown == again == heights
    assert without == {"0": heights["0"], "1": heights["1"]}
    everything = np.array(sorted(edges + other_edges + third_edges))
    assert (everything[1:, 0] >= everything[:-1, 1] - 1e-12).all()  # none covers another
    assert legend(display.ax_) == [f"{name}\nfirst / last layer: {flow.ratio():.2g}" for name in ("tanh", "again", "no input")]
    assert display.lines_ == []
    assert nothing_is_cut_off(display.figure_)


def test_models_that_name_their_layers_differently(model):
    ax = GradientFlowDisplay(["0", "1"], [[1.0, 2.0]]).plot().ax_
    GradientFlowDisplay(["0", "1", "2"], [[1.0, 2.0, 3.0]]).plot(ax=ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "2"]
    GradientFlowDisplay(["0", "2.block"], [[1.0, 2.0]], input_norm=3.0).plot("bars", ax=ax)
    assert sorted(text.get_text() for text in ax.get_xticklabels()) == ["0", "1", "2", "input"]
    assert ax.get_xlabel() == "layer, counted from 0 at the input"
    GradientFlowDisplay(["a", "b"], [[1.0, 2.0]]).plot(ax=ax)
    assert sorted(text.get_text() for text in ax.get_xticklabels()) == ["0", "1", "2", "input"]


@pytest.mark.parametrize("kind", ["layers", "bars", "steps"])
def test_a_gradient_of_zero_is_marked(kind):
    display = GradientFlowDisplay(["0", "1", "2"], [[0.0, 0.0, 1.0]], input_norm=0.0).plot(kind)
    marks = [line for line in display.ax_.lines if line.get_marker() == "$0$" and len(line.get_xdata())]
    places = {"layers": [[0, 1]], "bars": [[0, 1, -1]], "steps": [[1], [1]]}[kind]
    np.testing.assert_allclose(np.concatenate([line.get_xdata() for line in marks]), np.concatenate(places))
    assert all((line.get_ydata() < 0.1).all() and line.get_transform() == display.ax_.get_xaxis_transform() for line in marks)
    assert nothing_is_cut_off(display.figure_)


def test_gradients_that_are_all_zero():
    display = GradientFlowDisplay(["0", "1.a block with a long name", "1.another block"], [[0.0] * 3]).plot("bars")
    assert nothing_is_cut_off(display.figure_)
    (mark,) = [line for line in display.ax_.lines if len(line.get_xdata())]
    np.testing.assert_allclose(mark.get_xdata(), [0, 1, 2])
    assert legend(display.ax_) == ["the norm of the last layer is 0"]


@pytest.mark.parametrize("kind", ["layers", "bars"])
def test_the_bound_beside_the_gradient_flow(model, kind):
    flow = gradient_flow(model, nn.MSELoss(), X, X[:, :2], at="outputs")
    display = GradientFlowDisplay.from_flow(flow, kind, bound=True, name="tanh")
    rows = flow.bound().rows[kind == "layers" :]
    last = flow.norms[0, -1]
    expected = [
        [last * f(row) for row in rows] for f in (lambda r: r.slopes * r.weight_norms, lambda r: r.weight_norms, lambda r: r.slopes)
    ]
    np.testing.assert_allclose([line.get_ydata() for line in display.bound_lines_], expected)
    assert [line.get_linestyle() for line in display.bound_lines_] == ["--", ":", "-."]
    assert f"= {rows[0].weight_norms:.2g}" in legend(display.ax_)[[1, 2][kind == "layers"]]
    assert nothing_is_cut_off(display.figure_)
    with pytest.raises(ValueError, match="the bound is that of the last step: kind must be 'layers' or 'bars' with it"):
        GradientFlowDisplay.from_flow(flow, "steps", bound=True)


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
    with pytest.raises(ValueError, match="kind must be 'layers', 'bars' or 'steps'; got 'pie'"):
        GradientFlowDisplay(["0"], [[1.0]]).plot("pie")


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
        display = FirstLayerWeightsDisplay.from_model(model, n_units=5, choice="first")
        picture = np.ma.filled(display.image_.get_array(), np.nan)
        assert picture.shape == (2 * 9 - 1, 3 * 9 - 1)
        np.testing.assert_array_equal(picture[9:, 9:17], weight[:, 4].reshape(8, 8))
        assert np.isnan(picture[9:, 17:]).all()


def test_the_largest_units_of_a_wide_layer():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(784, 128)) * rng.uniform(0.1, 1, 128)
    model = nn.Sequential(nn.Linear(784, 128, random_state=0))
    model[0].weight.data = weight
    display = FirstLayerWeightsDisplay.from_model(model, n_units=9, name="epoch 10")
    largest = np.sort(np.argsort(np.linalg.norm(weight, axis=0))[-9:])
    assert display.units.tolist() == largest.tolist()
    picture = np.ma.filled(display.image_.get_array(), np.nan)
    np.testing.assert_array_equal(picture[29:57, 58:], weight[:, largest[5]].reshape(28, 28))
    assert display.ax_.get_title() == "epoch 10\n9 of 128 units"
    whole = FirstLayerWeightsDisplay.from_model(model)
    assert whole.ax_.get_title() == ""
    whole.figure_.canvas.draw()
    (rows, columns), box = whole.image_.get_array().shape, whole.image_.get_window_extent()
    assert box.width >= 1.8 * columns  # dots of the picture for each weight
    assert box.height >= 1.8 * rows


def test_weights_of_several_epochs_on_one_scale():
    weights = {f"epoch {i}": np.arange(36.0).reshape(9, 4) * i - 9 for i in range(3)}
    displays = FirstLayerWeightsDisplay.compare(weights, n_units=2)
    assert [display.image_.get_clim() for display in displays] == [(-61, 61)] * 3
    assert [display.ax_.get_title() for display in displays] == [f"epoch {i}\n2 of 4 units" for i in range(3)]
    assert [display.units.tolist() for display in displays] == [[2, 3]] * 3  # the largest of the last
    assert [display.colorbar_ is None for display in displays] == [True, True, False]
    assert len(displays[0].figure_.axes) == 4
    assert nothing_is_cut_off(displays[0].figure_)
    _, axes = plt.subplots(1, 3)
    assert FirstLayerWeightsDisplay.compare(weights, axes=axes)[2].ax_ is axes[2]
    with pytest.raises(ValueError, match="axes must be 3 Axes, one for each matrix; got 2"):
        FirstLayerWeightsDisplay.compare(weights, axes=axes[:2])
    with pytest.raises(ValueError, match=r"weights must be matrices of one shape, at least one; got \[\(4, 1\), \(4, 2\)\]"):
        FirstLayerWeightsDisplay.compare({"a": np.ones((4, 1)), "b": np.ones((4, 2))})


def test_first_layer_errors():
    with pytest.raises(ValueError, match=r"units must be numbers from 0 to 1, at least one; got \[2\]"):
        FirstLayerWeightsDisplay(np.ones((4, 2)), units=[2])
    with pytest.raises(ValueError, match="choice must be 'largest' or 'first'; got 'last'"):
        FirstLayerWeightsDisplay.from_model(nn.Linear(4, 2), choice="last")
    with pytest.raises(ValueError, match=r"image_shape must hold 10 pixels, one for each row of weight; got \(3, 3\)"):
        FirstLayerWeightsDisplay(np.ones((10, 2)))
    with pytest.raises(ValueError, match=r"weight must have shape \(n_in, n_units\); got \(3,\)"):
        FirstLayerWeightsDisplay(np.ones(3))
    for model in (nn.Sequential(nn.LayerNorm(4)), fastprop.MLPClassifier(), "model"):
        with pytest.raises(TypeError, match=r"model must be of fastprop\.nn with a Linear layer, or a fitted MLP; got"):
            FirstLayerWeightsDisplay.from_model(model)


def test_information():
    display = InformationDisplay(p=[0.25, 0.5, 1.0], z=[-1.0, 0.0, 1.0], unit="nats").plot()
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


def test_information_in_bits():
    """Entropies in bits, at most 1; the loss in nats, whose gradient is p - y; the derivative and the entropy peak at z = 0."""
    display = InformationDisplay(p=[0.25, 0.5, 1.0]).plot()
    loss, _, entropy, sigmoid, slope, sigmoid_entropy = (line.get_ydata() for line in display.lines_)
    np.testing.assert_allclose(loss, [np.log(4), np.log(2), 0])
    np.testing.assert_allclose(entropy, [0.5 + 0.75 * np.log2(4 / 3), 1, 0], atol=1e-15)
    peak = int(np.flatnonzero(display.z == 0).item())
    assert slope.argmax() == sigmoid_entropy.argmax() == peak
    assert (sigmoid[peak], slope[peak], sigmoid_entropy[peak]) == (0.5, 0.25, pytest.approx(1))
    assert legend(display.axes_[1])[2:] == ["entropy of (s, 1 - s) (bits)", "z = 0, s = 0.5: both peak"]
    display.figure_.canvas.draw()
    for ax in display.axes_:
        assert not ax.get_legend().get_window_extent().overlaps(ax.bbox)
    with pytest.raises(ValueError, match="unit must be 'bits' or 'nats'; got 'bit'"):
        InformationDisplay(unit="bit")


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

"""Systems 29 to 36: what the texts calculate and draw beside the networks: graphs, deltas, Jacobians, bounds, bugs, beginnings."""

import io
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import (
    GradientFlowDisplay,
    check_gradients,
    gradient_flow,
    hessian,
    jacobian,
    jvp,
    numerical_gradient,
    softmax_jacobian,
    trace_step,
)
from fastprop.nn import functional as F


def test_s29_drawing_the_graph(figure, tmp_path):
    """Exercise 5.1, L = (y - ReLU(w2 ReLU(w1 x + b1) + b2))^2, with values on the edges and then gradients."""
    names = ["x", "w1", "b1", "w2", "b2", "y"]
    x, w1, b1, w2, b2, y = map(nn.Input, names)
    hidden = F.relu(w1 * x + b1).named("hidden")
    graph = nn.Graph(((y - F.relu(w2 * hidden + b2)) ** 2).named("L"))

    def texts(color):
        root = ElementTree.fromstring(graph.draw()._repr_svg_())
        return sorted(text.text for text in root.iter("{http://www.w3.org/2000/svg}text") if text.get("fill") == color)

    point = [2.0, 0.5, 0.25, 1.5, -0.5, 3.0]
    loss = graph(*point)
    assert loss == (3 - (1.5 * 1.25 - 0.5)) ** 2
    assert not texts("#c62828")
    gradients = np.array(graph.backward())
    figure("exercise 5.1: L and its gradients", f"{loss:.6f}; {dict(zip(names, gradients.tolist(), strict=True))}")
    np.testing.assert_allclose(gradients, numerical_gradient(lambda v: graph(*v), point), rtol=1e-8)
    graph(*point)
    graph.backward()
    forward = [2, 0.5, 1, 0.25, 1.25, 1.25, 1.5, 1.875, -0.5, 1.375, 1.375, 3, 1.625, 2.640625]
    assert texts("#1a7f37") == sorted([f"{value:.4g}" for value in forward] + ["value"])
    assert texts("#c62828") == sorted([f"{node.grad:.4g}" for node in graph.nodes] + ["gradient"])
    assert "hidden" in texts("#202020")
    graph.draw().save(tmp_path / "graph.svg")

    matplotlib = pytest.importorskip("matplotlib", reason="the second form needs matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    ax = plt.figure().subplots()
    assert {"L", "hidden", "2.641"} < {text.get_text() for text in graph.draw(ax=ax).ax_.texts}
    plt.close("all")


def test_s30_a_graph_of_scalars_and_arrays(figure, rng):
    x = nn.Input("x")
    q = (x + 2).named("q")
    square = nn.Graph(q**2)
    assert (square(3), square.backward()) == (25, 10)
    figure("(x + 2)^2 at 3", f"{square.value(q):g} squared is {square(3):g}, gradient {square.backward():g}")
    assert (square.grad("q"), square.grad("x")) == (10, 10)

    x, y = nn.Input("x"), nn.Input("y")
    for value, expected in (
        (x + y, (1, 1)),
        (x - y, (1, -1)),
        (x * y, (3, 2)),
        (x / y, (1 / 3, -2 / 9)),
        (x**y, (3 * 2**2, 2**3 * np.log(2))),
        (5 - 3 * x / 2 + y**2, (-1.5, 6)),
    ):
        graph = nn.Graph([x, y], value)
        graph(2, 3)
        assert graph.backward() == pytest.approx(expected, rel=1e-14)

    # Arrays: a matrix product, and a row that is repeated for every row of the batch.
    w, b = nn.Parameter(rng.normal(size=(3, 2))), nn.Parameter(np.zeros(2))
    z = (x @ w.named("w") + b.named("b")).named("z")
    model = nn.Graph(F.tanh(z))
    X, Y, loss = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), nn.MSELoss()
    loss(model(X), Y)
    model.backward(loss.backward())
    dz = model.grad("z")
    np.testing.assert_allclose(dz, 2 * (np.tanh(X @ w.data) - Y) / 10 * (1 - np.tanh(X @ w.data) ** 2), rtol=1e-12)
    np.testing.assert_allclose(w.grad, X.T @ dz, rtol=1e-12)
    np.testing.assert_allclose(b.grad, dz.sum(axis=0), rtol=1e-12)
    assert check_gradients(model, loss, X, Y).verdict == "correct"


def test_s31_delta_by_layer(figure, rng):
    """z, a, dz, da, dW and db of every layer by the formulas of the texts; layers by number and by name."""
    linears = (
        nn.Linear(4, 5, activation="sigmoid", random_state=0),
        nn.Linear(5, 5, random_state=1),
        nn.Linear(5, 3, random_state=2),
    )
    model, loss = nn.Sequential(*linears[:2], nn.ReLU(), nn.Sequential(linears[2], nn.Identity())), nn.SoftmaxCrossEntropy()
    X, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    trace = trace_step(model, loss, X, y, file=io.StringIO())

    W = [layer.weight.data for layer in linears]
    z_1 = X @ W[0]
    a_1 = 1 / (1 + np.exp(-z_1))
    z_2 = a_1 @ W[1]
    a_2 = np.maximum(z_2, 0)
    z_3 = a_2 @ W[2]
    p = np.exp(z_3) / np.exp(z_3).sum(axis=1, keepdims=True)
    delta_3 = (p - np.eye(3)[y]) / 6
    da_2 = delta_3 @ W[2].T
    delta_2 = da_2 * (z_2 > 0)
    da_1 = delta_2 @ W[1].T
    delta_1 = da_1 * a_1 * (1 - a_1)
    by_hand = {
        "0": {"z": z_1, "a": a_1, "da": da_1, "dz": delta_1, "dweight": X.T @ delta_1, "dbias": delta_1.sum(axis=0)},
        # This layer has no activation: that is the next one.
        "1": {"z": z_2, "a": z_2, "da": delta_2, "dz": delta_2, "dweight": a_1.T @ delta_2, "dbias": delta_2.sum(axis=0)},
        "2": {"z": z_2, "a": a_2, "da": da_2, "dz": delta_2},
        "3.0": {"z": z_3, "a": z_3, "da": delta_3, "dz": delta_3, "dweight": a_2.T @ delta_3, "dbias": delta_3.sum(axis=0)},
        "3.1": {"z": z_3, "a": z_3, "da": delta_3, "dz": delta_3},
        "3": {"z": z_3, "a": z_3, "da": delta_3, "dz": delta_3},
    }
    largest = 0.0
    for name, arrays in by_hand.items():
        for key, array in arrays.items():
            largest = max(largest, np.abs(trace[name][key] - array).max())
    figure("largest difference from the formulas by hand", f"{largest:.1e}")
    figure("norm of delta by layer", {name: f"{np.linalg.norm(layer.dz):.3g}" for name, layer in trace.layers.items() if name})
    assert largest < 1e-13
    assert trace[0] is trace["0"]
    assert {name.rpartition(".")[0] for name, _ in model.named_parameters()} < {*trace.layers}


def test_s32_jacobians(figure, rng):
    logits = rng.normal(size=5)
    p = np.exp(logits) / np.exp(logits).sum()
    formula = np.diag(p) - np.outer(p, p)
    explicit = softmax_jacobian(logits)
    by_differences = jacobian(lambda z: np.exp(z) / np.exp(z).sum(), logits)
    figure("softmax Jacobian, largest difference of formula and differences", f"{np.abs(explicit - by_differences).max():.1e}")
    np.testing.assert_allclose(explicit, formula, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(by_differences, formula, atol=1e-10)
    dp, softmax = rng.normal(size=(1, 5)), nn.Softmax()
    softmax(logits[None])
    np.testing.assert_allclose(softmax.backward(dp)[0], explicit @ dp[0], rtol=1e-12, atol=1e-15)

    polar = jacobian(lambda v: [v[0] * np.cos(v[1]), v[0] * np.sin(v[1])], [2.0, np.pi / 6])
    np.testing.assert_allclose(polar, [[np.sqrt(3) / 2, -1], [0.5, np.sqrt(3)]], rtol=1e-9)
    layer, x = nn.Linear(3, 2, random_state=0), nn.Input()
    for f in (layer, nn.Graph(x, layer(x))):  # modules and graphs take matrices
        np.testing.assert_allclose(jacobian(f, np.ones((1, 3)))[0, :, 0], layer.weight.data.T, rtol=1e-8)


def test_s33_second_order_and_forward_mode(figure, rng):
    n = 8
    X, y, loss = rng.normal(size=(n, 3)), rng.normal(size=(n, 1)), nn.MSELoss()
    H = hessian(lambda w: loss(X @ w, y), rng.normal(size=(3, 1)))[:, 0, :, 0]
    difference = np.abs(H - 2 * X.T @ X / n).max()
    figure("Hessian of the mean squared error of a linear layer, largest difference from 2 X^T X / n", f"{difference:.1e}")
    assert difference < 1e-6
    rosenbrock = hessian(lambda v: (1 - v[0]) ** 2 + 100 * (v[1] - v[0] ** 2) ** 2, [1.0, 1.0])
    np.testing.assert_allclose(rosenbrock, [[802, -400], [-400, 200]], rtol=1e-6)

    layers = nn.Linear(3, 4, activation="tanh", random_state=0), nn.Linear(4, 2, random_state=1)
    model, x, v = nn.Sequential(*layers), rng.normal(size=(1, 3)), rng.normal(size=(1, 3))
    # The chain rule from the input on: W_2^T diag(1 - a^2) W_1^T v
    a = np.tanh(x @ layers[0].weight.data)
    forward_mode = ((v @ layers[0].weight.data) * (1 - a**2)) @ layers[1].weight.data
    found = jvp(model, x, v)
    figure("Jacobian-vector product of 3-4-2, largest difference", f"{np.abs(found - forward_mode).max():.1e}")
    np.testing.assert_allclose(found, forward_mode, rtol=1e-8)
    np.testing.assert_allclose(found, np.tensordot(jacobian(model, x), v), rtol=1e-8)


@pytest.mark.filterwarnings("ignore::fastprop.inspection.GradientWarning")  # this is about such gradients
def test_s34_bound_on_vanishing_and_exploding(figure, rng):
    """max |f'|^L times the product of the weights' norms, beside the measured norms: numbers, a table, and a picture."""
    X, y = rng.normal(size=(32, 20)), rng.integers(0, 4, 32)
    for activation, slope in (("sigmoid", 0.25), ("tanh", 1.0), ("relu", 1.0)):
        model = nn.mlp([20] * 9 + [4], activation, init="xavier_normal", random_state=0)
        flow = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, y, at="outputs")
        bound = flow.bound()
        norms = [np.linalg.norm(layer.weight.data, 2) for layer in model]
        for i, row in enumerate(bound.rows):  # the input, then the layers
            assert row.slopes == pytest.approx(slope ** max(8 - i, 0), rel=1e-12)
            assert row.weight_norms == pytest.approx(np.prod(norms[i:]), rel=1e-12)
            assert row.bound == pytest.approx(flow.norms[0, -1] * row.slopes * row.weight_norms, rel=1e-12)
            assert 0 < row.norm <= row.bound * (1 + 1e-12)
        first = bound["input"]
        figure(
            f"{activation}: gradient with respect to the input, bound",
            f"{first.norm:.2e}, {first.bound:.2e}; slopes {first.slopes:.2e}",
        )
        assert len(str(bound).splitlines()) == 2 + 10

    matplotlib = pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    matplotlib.use("Agg")
    display = GradientFlowDisplay.from_flow(flow, "bars", bound=True)
    lines = [line.get_ydata() for line in display.bound_lines_]
    expected = [(row.bound, row.weight_norms * flow.norms[0, -1], row.slopes * flow.norms[0, -1]) for row in bound.rows]
    np.testing.assert_allclose(lines, np.transpose(expected))


class Dense(nn.Module):
    """``sigmoid(x @ weight + bias)`` as a student writes it, with one of the common mistakes."""

    def __init__(self, n_in, n_out, rng, mistake):
        self.weight, self.bias = nn.Parameter(rng.normal(size=(n_in, n_out))), nn.Parameter(rng.normal(size=n_out))
        self.mistake, self.x, self.before = mistake, None, None

    def forward(self, x):
        self.before, self.x = x if self.x is None else self.x, x
        self.a = 1 / (1 + np.exp(-(x @ self.weight.data + self.bias.data)))
        return self.a

    def backward(self, dout, accumulate=False):
        a, x = self.a, self.before if self.mistake == "stale cache" else self.x
        if self.mistake == "derivative at the wrong place":
            a = 1 / (1 + np.exp(-a))  # sigma'(a) in the place of sigma'(z)
        dz = dout * a * (1 - a)
        self.weight.grad = (dz.T @ x).reshape(self.weight.shape) if self.mistake == "transposed gradient" else x.T @ dz
        self.bias.grad = dz[0] if self.mistake == "missing batch sum" else dz.sum(axis=0)
        return dz @ self.weight.data.T


class MeanSquare:
    """The mean over the rows of the squared error, with one of the common mistakes."""

    def __init__(self, mistake):
        self.mistake = mistake

    def __call__(self, outputs, y):
        self.error = outputs - y
        return (self.error**2).sum() / len(y)

    def backward(self):
        gradient = 2 * self.error if self.mistake == "factor n" else 2 * self.error / len(self.error)
        return -gradient if self.mistake == "wrong sign" else gradient


MISTAKES = ("factor n", "transposed gradient", "derivative at the wrong place", "missing batch sum", "wrong sign", "stale cache")


def test_s35_common_bugs_planted(figure, rng):
    for mistake in ("", *MISTAKES):
        named = Counter()
        for _ in range(20):
            n, n_in, n_hidden, n_out = rng.integers([3, 2, 2, 2], 6)
            model = nn.Sequential(Dense(n_in, n_hidden, rng, mistake), nn.Linear(n_hidden, n_out, random_state=rng))
            X, y = rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))
            check = check_gradients(model, MeanSquare(mistake), X, y)
            named.update({found.name for found in check.mistakes})
            assert check.verdict == ("bug" if mistake else "correct")
        figure(f"{mistake or 'no mistake'} in 20 networks, named", dict(named))
        assert named == ({mistake: 20} if mistake else {})


def test_s36_lecun_initialisation(figure, rng):
    x = rng.normal(size=(200, 300))
    spreads = {}
    for init, variance in (
        ("lecun_normal", 1 / 300),
        ("lecun_uniform", 1 / 300),
        ("he_normal", 2 / 300),
        ("xavier_normal", 2 / 700),
    ):
        layer = nn.Linear(300, 400, init=init, random_state=0)
        figure(f"{init}: variance of the weights, times n_in", f"{layer.weight.data.var() * 300:.3f}")
        np.testing.assert_allclose(layer.weight.data.var(), variance, rtol=0.02)
        assert not layer.bias.data.any()
        spreads[init] = layer(x).var()
    # N(0, 1 / n_in) keeps the variance of its input.
    np.testing.assert_allclose(spreads["lecun_normal"], 1, rtol=0.03)

    selu = nn.mlp([300, *[200] * 10], "selu", init="lecun_normal", random_state=0)
    a = selu(x)
    figure("selu, 10 layers: mean and standard deviation of the outputs", f"{a.mean():.3f}, {a.std():.3f}")
    assert abs(a.mean()) < 0.2
    assert 0.8 < a.std() < 1.25

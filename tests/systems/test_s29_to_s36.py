"""Systems 29 to 36: graphs as pictures and of numbers."""

from xml.etree import ElementTree

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import check_gradients, numerical_gradient
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
    plt = pytest.importorskip("matplotlib.pyplot")
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

"""The picture of a graph: what stands where, as SVG and by matplotlib, and that nothing covers anything."""

import functools
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import GraphDisplay
from fastprop.inspection.graph_layout import layered
from fastprop.nn import functional as F

matplotlib = pytest.importorskip("matplotlib", reason="the widths of letters are matplotlib's")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
textpath = pytest.importorskip("matplotlib.textpath")

SVG = "{http://www.w3.org/2000/svg}"
GREEN, RED = "#1a7f37", "#c62828"


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def two_layers():
    """Exercise 5.1."""
    x, w1, b1, w2, b2, y = map(nn.Input, ["x", "w1", "b1", "w2", "b2", "y"])
    hidden = F.relu(w1 * x + b1).named("h")
    graph = nn.Graph(((y - F.relu(w2 * hidden + b2)) ** 2).named("L"))
    graph(x=1, w1=0.5, b1=0.1, w2=2, b2=0.3, y=1)
    graph.backward()
    return graph


def network():
    """Modules, parameters and arrays, and a value that skips many columns."""
    rng, x, t = np.random.default_rng(0), nn.Input("x"), nn.Input("t")
    w = nn.Parameter(rng.normal(size=(4, 3))).named("W")
    hidden = nn.Linear(5, 4, activation="relu", random_state=0)(x).named("hidden units")
    z = nn.Sequential(nn.Linear(4, 4, random_state=1), nn.BatchNorm1d(4))(hidden) @ w + nn.Parameter(np.zeros(3)) - [1, 2, 3]
    e = (z - z.mean(axis=1, keepdims=True)).exp()
    loss = -(t * (e / e.sum(axis=1, keepdims=True)).log()).sum(axis=1).mean() + 0.01 * (w**2).sum() + hidden.mean()
    graph = nn.Graph(loss)
    graph(rng.normal(size=(6, 5)), np.eye(3)[rng.integers(0, 3, 6)])
    graph.backward()
    return graph


def formula():
    """30 nodes of numbers, with two inputs that go to many places."""
    x, y = nn.Input("x"), nn.Input("y")
    top = 3 * x**2 * y + x * y**2 - x / y + F.sigmoid(x * y) + F.tanh(x - y) * x + (x * y).exp() + y**x
    graph = nn.Graph((top / (1 + x**2 + y**2)).named("f"))
    graph(1.2345, -0.00078 + 0.7)
    graph.backward()
    return graph


def random_graph(seed):
    """Sums, products and functions of any earlier values."""
    rng = np.random.default_rng(seed)
    values = [nn.Input(f"x{i}") for i in range(rng.integers(1, 5))]
    for i in range(int(rng.integers(1, 22))):
        a, b = (values[int(rng.integers(max(0, len(values) - 6), len(values)))] for _ in range(2))
        values.append([a + b, a * b, a - b, F.tanh(a), F.softplus(a), a**2, -a][int(rng.integers(7))])
        if rng.uniform() < 0.3:
            values[-1].named(f"value {i}")
    graph = nn.Graph(values[-1])
    graph(*rng.normal(size=graph._n_inputs))
    graph.backward()
    return graph


GRAPHS = {"two layers": two_layers, "network": network, "formula": formula}
GRAPHS |= {f"random {seed}": lambda seed=seed: random_graph(seed) for seed in range(6)}


@functools.cache
def extents(text, size):
    """Width, and from the line down and up, as matplotlib's default font has them."""
    box = textpath.TextPath((0, 0), text, size=size).get_extents()
    return box.width, box.y0, box.y1


def parsed(svg):
    """(size, texts, boxes of nodes, curves) of a picture: {(x0, y0, x1, y1, color, text)}, [(x0, y0, x1, y1)], [points]."""
    root, texts, boxes, curves = ElementTree.fromstring(svg), [], [], []
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x")), float(element.get("y"))
        length, down, up = extents(element.text, float(root.get("font-size")))
        x -= length / 2 if element.get("text-anchor") == "middle" else 0
        texts.append((x, y - up, x + length, y - down, element.get("fill"), element.text))
    for element in root.iter(f"{SVG}rect"):
        if "%" not in element.get("width"):
            x, y, w, h = (float(element.get(key)) for key in ("x", "y", "width", "height"))
            boxes.append((x, y, x + w, y + h))
    for element in root.iter(f"{SVG}path"):
        points = np.array([float(number) for number in re.findall(r"-?[\d.]+", element.get("d"))]).reshape(-1, 2)
        t = np.linspace(0, 1, 12)[:, None]
        parts = zip(points[:-1:3], points[1::3], points[2::3], points[3::3], strict=True)
        curve = [(1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d for a, b, c, d in parts]
        curves.append(np.concatenate(curve))
    return tuple(map(float, root.get("viewBox").split()[2:])), texts, boxes, curves


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(a, b):
    return b[0] <= a[0] and a[2] <= b[2] and b[1] <= a[1] and a[3] <= b[3]


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_covers_anything(name):
    graph = GRAPHS[name]()
    (width, height), texts, boxes, curves = parsed(graph.draw().svg)
    assert len(boxes) == len(graph.nodes)
    points = np.concatenate(curves)
    for i, text in enumerate(texts):
        assert inside(text, (0, 0, width, height)), text
        assert not any(overlap(text, other) for other in texts[:i]), text
        holders = [box for box in boxes if overlap(text, box)]
        assert len(holders) <= 1, text
        assert all(inside(text, box) for box in holders), text
        covered = (text[0] < points[:, 0]) & (points[:, 0] < text[2]) & (text[1] < points[:, 1]) & (points[:, 1] < text[3])
        assert not covered.any() or holders, text
    for i, box in enumerate(boxes):
        assert inside(box, (0, 0, width, height))
        assert not any(overlap(box, other) for other in boxes[:i])
        for points in curves:  # edges end at nodes and do not go through them
            x, y = points.T
            assert not ((box[0] + 1 < x) & (x < box[2] - 1) & (box[1] + 1 < y) & (y < box[3] - 1)).any() or _ends_at(points, box)


def _ends_at(points, box):
    """Whether a curve ends in a node: at the round part, where its box begins further left."""
    x, y = points[-1]
    return box[0] <= x <= (box[0] + box[2]) / 2 and box[1] <= y <= box[3]


def labels(display, color):
    return sorted(text for *_, fill, text in parsed(display.svg)[1] if fill == color)


def test_values_after_the_forward_and_gradients_after_the_backward():
    x, y, z = map(nn.Input, "xyz")
    graph = nn.Graph([x, y, z], ((x + y).named("q") * z + 0.5).named("f"))
    bare = graph.draw()
    assert labels(bare, GREEN) == labels(bare, RED) == []
    graph(-2, 5, -4)
    forward = graph.draw()
    assert labels(forward, GREEN) == sorted(["-2", "5", "-4", "3", "-12", "-11.5", "value"])
    assert labels(forward, RED) == []
    graph.backward()
    both = graph.draw()
    assert labels(both, GREEN) == labels(forward, GREEN)
    assert labels(both, RED) == sorted(["-4", "-4", "-4", "3", "1", "1", "gradient"])
    assert labels(forward, RED) == []  # it is what the graph was
    names = {text for *_, text in parsed(both.svg)[1]}
    assert {"x", "y", "z", "q", "f", "+", "*", "0.5"} <= names
    # Every value stands above its edge, every gradient below.
    _, texts, boxes, _ = parsed(both.svg)
    for x0, y0, _, y1, color, text in texts:
        if color in (GREEN, RED) and text not in ("value", "gradient"):
            before = [box for box in boxes if 0 < x0 - box[2] < 20 and box[1] - 5 < (y0 + y1) / 2 < box[3] + 5]
            assert len(before) == 1
            assert ((y0 + y1) / 2 < (before[0][1] + before[0][3]) / 2) == (color == GREEN)


def test_arrays_are_shown_by_shape_and_norm():
    x = nn.Input("x")
    graph = nn.Graph((x * [[1.0], [2.0]]).sum(axis=1).named("s"))
    graph(np.ones((2, 3)))
    graph.backward([3.0, 4.0])
    display = graph.draw()
    assert labels(display, GREEN) == ["(2, 3)", "(2, 3)", "[3, 6]", "value, or shape"]
    assert labels(display, RED) == ["[3, 4]", "gradient, or its norm", "norm 14.8", "norm 8.66"]


def test_operands_arrive_in_their_order():
    """The first operand from above, also where that makes edges cross: x - y is not y - x."""
    x, y = nn.Input("x"), nn.Input("y")
    display = nn.Graph([x, y], [(x - y).named("p"), (y - x).named("q"), (x + y).named("s"), (y + x).named("t")]).draw()
    _, texts, boxes, curves = parsed(display.svg)
    starts = {text: (y0 + y1) / 2 for _, y0, _, y1, _, text in texts if text in "xy"}
    for name, crossing in {"p": starts["x"] > starts["y"], "q": starts["x"] < starts["y"], "s": False, "t": False}.items():
        (at,) = (text for text in texts if text[5] == name)
        box = min(boxes, key=lambda box, at=at: abs(box[0] + box[2] - at[0] - at[2]) + abs(box[1] - at[3]))
        (a, b), (c, d) = ((points[0][1], points[-1][1]) for points in curves if _ends_at(points, box))
        assert ((a - c) * (b - d) < 0) == crossing, name


def test_columns_follow_the_depth():
    operands = [[], [], [0, 1], [], [2, 3], [0, 4]]
    layout = layered(operands, [10.0] * 6, 4.0)
    assert layout.depth == [0, 0, 1, 1, 2, 3]  # node 3 stands right before its use
    assert {(0, 1), (0, 2)} < set(layout.y)  # where the edge from 0 to 5 passes
    assert layered([], [], 4.0).height == 0
    operands = [[], [], [0], [1], [2], [3], [4, 5], [6, 0], [7, 1], [8, 2]]
    heights = [float(10 + i) for i in range(10)]
    layout = layered(operands, heights, 4.0)
    for column in range(max(layout.depth) + 1):
        places = sorted((y, heights[i] if layout.depth[i] == column else 4.0) for (i, at), y in layout.y.items() if at == column)
        for (above, room), (below, other) in pairwise(places):
            assert below - above >= (room + other) / 2 - 1e-9


def test_matplotlib_and_files(tmp_path):
    graph = two_layers()
    display = graph.draw()
    assert display._repr_svg_() == display.svg
    for name in ("graph.svg", "graph.png"):
        display.save(tmp_path / name)
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == display.svg
    assert plt.imread(tmp_path / "graph.png").std() > 0.01
    assert not plt.get_fignums()
    assert not hasattr(display, "ax_")

    figure, axes = plt.subplots(1, 2)
    drawn = graph.draw(ax=axes[1])
    assert isinstance(drawn, GraphDisplay)
    assert drawn.ax_ is axes[1]
    assert drawn.figure_ is figure
    assert sorted(text.get_text() for text in axes[1].texts) == sorted(text for *_, text in parsed(display.svg)[1])
    alone = display.plot()
    assert alone.figure_.get_size_inches() == pytest.approx([display.width / 72, display.height / 72])
    assert alone.ax_.texts[0].get_fontsize() == pytest.approx(11, rel=0.01)
    assert drawn.ax_.texts[0].get_fontsize() < 8  # as much smaller as the picture


def test_names_are_escaped():
    x = nn.Input("a<b & $c")
    graph = nn.Graph(x + 1)
    assert "a&lt;b &amp; $c" in graph.draw().svg
    assert {text for *_, text in parsed(graph.draw().svg)[1]} == {"a<b & $c", "+", "1"}
    graph.draw().plot().figure_.canvas.draw()

"""GraphDisplay: a computational graph as a picture."""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from ..files import replacing
from .drawing import pyplot
from .graph_layout import layered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..nn import Graph

# All lengths in points.
FONT, LINE = 11.0, 14.0  # size of the letters, height of a line
LETTER = 0.66 * FONT  # no less than the mean width of a letter
RADIUS = 17.0
MARGIN, PASSING = 10.0, 16.0
BLACK, GREY, GREEN, RED = "#202020", "#707070", "#1a7f37", "#c62828"
FILLS = {"input": "#e8f0fe", "parameter": "#fff4d6", "constant": "#f2f2f2", "operation": "#ffffff", "module": "#ffffff"}
COMMUTATIVE = ("+", "*")
QUARTER = 4 / 3 * (math.sqrt(2) - 1)  # how far the control points of a quarter of a circle are from its ends, in radii


class _Text(NamedTuple):
    x: float
    y: float  # of the middle
    text: str
    color: str
    anchor: str = "middle"


class _Shape(NamedTuple):
    """A rectangle with round corners; with a radius of half its height, a circle or a capsule."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str


class _Edge(NamedTuple):
    """A smooth curve through points, horizontal at each of them; with an arrow at its end or not."""

    points: list[tuple[float, float]]
    has_arrow: bool


class GraphDisplay:
    """A computational graph, drawn from left to right: forward values in green above the edges, gradients in red below.

    Inputs and parameters are boxes with their names, operations are circles, modules boxes with round corners. An array with more
    than three elements is shown by its shape, its gradient by the Euclidean norm. Notebooks show it as SVG; `plot` draws it with
    matplotlib.

    Parameters
    ----------
    graph : nn.Graph
        It has values after a forward in training mode, and gradients after a backward. Later changes do not affect the display.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The Axes on which `plot` drew it.
    figure_ : matplotlib Figure
        The figure of the Axes.

    Examples
    --------
    >>> from fastprop import nn
    >>> x = nn.Input("x")
    >>> graph = nn.Graph((x + 2) ** 2)
    >>> value, gradient = graph(3.0), graph.backward()
    >>> graph.draw().save("graph.svg")  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self._texts: list[_Text] = []
        self._shapes: list[_Shape] = []
        self._edges: list[_Edge] = []
        self._place()

    # The picture, as texts, shapes and edges

    def _place(self):
        nodes = self.nodes
        labels = [_labels(node) for node in nodes]
        widths = [_width(node) for node in nodes]
        layout = layered([node.operands for node in nodes], [_height(*pair) for pair in zip(nodes, labels, strict=True)], PASSING)
        depth, y = layout.depth, {place: MARGIN + value for place, value in layout.y.items()}

        # Every column has room for its widest node and, to the right of that, for the widest label.
        n_columns = max(depth, default=-1) + 1
        of_column = [[i for i in range(len(nodes)) if depth[i] == column] for column in range(n_columns)]
        room = [max(widths[i] for i in members) for members in of_column]
        wires = [max(max(map(len, labels[i])) for i in members) * LETTER + 8 for members in of_column]
        left, right, x = [], [], MARGIN
        for column in range(n_columns):
            climbs = [abs(y[source, column - 1] - y[i, column]) for i in of_column[column] for source in nodes[i].operands]
            x += min(24 + 0.15 * max(climbs, default=0), 80) if column else 0
            left.append(x)
            x += room[column] + wires[column]
            right.append(x)

        users = defaultdict(list)
        for i, node in enumerate(nodes):
            for source, port in zip(node.operands, self._ports(i, y, depth), strict=True):
                users[source].append((i, port))
        middle = [left[depth[i]] + room[depth[i]] / 2 for i in range(len(nodes))]
        for i, node in enumerate(nodes):
            height, start = y[i, depth[i]], middle[i] + widths[i] / 2
            self._draw_node(node, middle[i], height, widths[i])
            wire_middle = (start + right[depth[i]]) / 2
            for text, color, side in zip(labels[i], (GREEN, RED), (-1, 1), strict=True):
                if text:
                    self._texts.append(_Text(wire_middle, height + side * LINE / 2, text, color))
            if not users[i] and any(labels[i]):
                self._edges.append(_Edge([(start, height), (right[depth[i]], height)], False))
            for user, port in users[i]:
                points = [(start, height), (right[depth[i]], height)]
                for column in range(depth[i] + 1, depth[user]):
                    points += [(left[column], y[i, column]), (right[column], y[i, column])]
                at = y[user, depth[user]] + port
                points += [(left[depth[user]], at), (middle[user] - _inset(widths[user], port), at)]
                self._edges.append(_Edge(points, True))
        self.width, self.height = x + MARGIN, layout.height + 2 * MARGIN
        self._draw_legend(labels)

    def _ports(self, i, y, depth):
        """Vertical offsets at which the operands of node i arrive: from the top in their order, in a sum or product by height."""
        sources, column = self.nodes[i].operands, depth[i] - 1
        rank = range(len(sources))
        if self.nodes[i].symbol in COMMUTATIVE:
            rank = np.argsort(np.argsort([y[source, column] for source in sources], kind="stable"))
        return [(k - (len(sources) - 1) / 2) * 18 / max(len(sources) - 1, 1) for k in rank]

    def _draw_node(self, node, x, y, width):
        radius = {"operation": RADIUS, "module": 8}.get(node.kind, 3)
        height = 24 if _is_leaf(node) else 2 * RADIUS
        self._shapes.append(_Shape(x - width / 2, y - height / 2, width, height, radius, FILLS[node.kind]))
        self._texts.append(_Text(x, y, node.symbol, GREY if node.kind == "constant" else BLACK))
        if _has_name_above(node):
            self._texts.append(_Text(x, y - RADIUS - LINE / 2, node.name, BLACK))

    def _draw_legend(self, labels):
        has_arrays = any(np.ndim(node.value) for node in self.nodes)
        shape, norm = (", or shape", ", or its norm") if has_arrays else ("", "")
        entries = [(f"value{shape}", GREEN), (f"gradient{norm}", RED)]
        x, self.height = MARGIN, self.height + (LINE - 4 if any(map(any, labels)) else 0)
        for k, (text, color) in enumerate(entries):
            if any(pair[k] for pair in labels):
                self._texts.append(_Text(x, self.height - MARGIN, text, color, "start"))
                x += (len(text) + 2) * LETTER
        self.width = max(self.width, x)

    # SVG

    @property
    def svg(self) -> str:
        """The picture as the text of an SVG file."""
        size = f'width="{self.width:.0f}pt" height="{self.height:.0f}pt" viewBox="0 0 {self.width:.1f} {self.height:.1f}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, Verdana, sans-serif" font-size="{FONT:g}">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
        ]
        for edge in self._edges:
            first, *rest = (f"{x:.1f},{y:.1f}" for x, y in _bezier(edge))
            lines.append(f'<path d="M{first} C{" ".join(rest)}" fill="none" stroke="{GREY}"/>')
            if edge.has_arrow:
                corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in _arrow(edge))
                lines.append(f'<polygon points="{corners}" fill="{GREY}"/>')
        for x, y, width, height, radius, fill in self._shapes:
            place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}"'
            lines.append(f'<rect {place} fill="{fill}" stroke="{BLACK}"/>')
        for x, y, text, color, anchor in self._texts:
            place = f'x="{x:.1f}" y="{y + 0.35 * FONT:.1f}" text-anchor="{anchor}"'
            lines.append(f'<text {place} fill="{color}">{escape(text)}</text>')
        return "\n".join([*lines, "</svg>", ""])

    def _repr_svg_(self):
        return self.svg

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture to a file.

        Parameters
        ----------
        path : str or path
            With the suffix .svg it is written without matplotlib; other formats are those of matplotlib.
        """
        if Path(path).suffix == ".svg":
            with replacing(path) as file:
                file.write(self.svg.encode())
            return
        plt, figure = pyplot(self), GraphDisplay.plot(self._copy()).figure_
        figure.savefig(path)
        plt.close(figure)

    def _copy(self):
        """Another display of the same picture, so that what `plot` remembers stays."""
        other = object.__new__(GraphDisplay)
        vars(other).update(vars(self))
        return other

    # matplotlib

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the picture with matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw, scaled to fit; by default a new figure of the size of the picture.

        Returns
        -------
        GraphDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot(self)
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path as Curve

        if ax is None:
            figure = plt.figure(figsize=(self.width / 72, self.height / 72))
            ax = figure.add_axes((0, 0, 1, 1))
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(xlim=(0, self.width), ylim=(self.height, 0), aspect="equal")
        ax.set_axis_off()
        extent = ax.get_window_extent()
        scale = min(extent.width / self.width, extent.height / self.height) * 72 / ax.figure.dpi

        def curve(points):
            return Curve(points, [Curve.MOVETO] + [Curve.CURVE4] * (len(points) - 1))

        for edge in self._edges:
            ax.add_patch(PathPatch(curve(_bezier(edge)), fill=False, edgecolor=GREY, linewidth=scale))
            if edge.has_arrow:
                ax.add_patch(Polygon(_arrow(edge), facecolor=GREY, edgecolor="none"))
        for shape in self._shapes:
            ax.add_patch(PathPatch(curve(_outline(shape)), facecolor=shape.fill, edgecolor=BLACK, linewidth=scale))
        for x, y, text, color, anchor in self._texts:
            align = {"ha": "center" if anchor == "middle" else "left", "va": "center_baseline"}
            ax.text(x, y, text.replace("$", r"\$"), color=color, fontsize=FONT * scale, **align)
        return self


def _is_leaf(node):
    return node.kind not in ("operation", "module")


def _has_name_above(node):
    return not (_is_leaf(node) or node.name.isdigit())


def _width(node):
    text = len(node.symbol) * LETTER + 14
    return max(text, 28 if _is_leaf(node) else 2 * RADIUS)


def _height(node, labels):
    """The height of a node with the name above and the labels beside it, equal up and down from the middle, plus a gap."""
    up = 13 if _is_leaf(node) else RADIUS + LINE if _has_name_above(node) else RADIUS
    return 2 * max(up, LINE if any(labels) else 0) + 8


def _inset(width, port):
    """How far left of a node's middle an edge ends that arrives ``port`` above or below it."""
    round_part = min(width / 2, RADIUS)
    return width / 2 - round_part + math.sqrt(round_part**2 - port**2)


def _bezier(edge):
    """The points of cubic Bezier curves along an edge, each curve with two control points between its ends."""
    points = edge.points[:1]
    for (a, b), (c, d) in pairwise(edge.points):
        points += [((a + c) / 2, b), ((a + c) / 2, d), (c, d)]
    return points


def _outline(shape):
    """The points of cubic Bezier curves around a shape: straight sides, and corners that are nearly quarters of a circle."""
    x, y, width, height, r, _ = shape
    points = [(x + r, y)]
    for corner_x, corner_y, before, after in (
        (x + width, y, (-1, 0), (0, 1)),
        (x + width, y + height, (0, -1), (-1, 0)),
        (x, y + height, (1, 0), (0, -1)),
        (x, y, (0, 1), (1, 0)),
    ):
        near = [(corner_x + k * dx, corner_y + k * dy) for dx, dy in (before, after) for k in (r, (1 - QUARTER) * r)]
        points += [points[-1], near[0], near[0], near[1], near[3], near[2]]
    return points


def _arrow(edge):
    (x, y) = edge.points[-1]
    return [(x, y), (x - 6, y - 3), (x - 6, y + 3)]


def _labels(node):
    """The texts above and below the edge that leaves a node; none for a constant, whose box shows its value."""
    return ("", "") if node.kind == "constant" else (_number(node.value), _number(node.grad, is_gradient=True))


def _number(value, is_gradient=False):
    """A value or a gradient in a few letters."""
    if value is None:
        return ""
    if np.ndim(value) == 0:
        return f"{value:.4g}"
    if np.ndim(value) == 1 and np.size(value) <= 3:
        return f"[{', '.join(f'{number:.3g}' for number in value)}]"
    return f"norm {np.linalg.norm(value):.3g}" if is_gradient else str(np.shape(value))

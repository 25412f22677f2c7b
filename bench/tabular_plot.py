"""The picture of bench_tabular.py: quality against cost."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .plots import logarithmic
from .tabular_summary import CPU, MEASURES, TITLES, base_of, geometric_means, kinds_of

OURS, TREES, NETWORKS = "#1b6ca8", "#5a8f3d", "#c7402d"
IS_NETWORK = ("RealMLP", "TabM")
# Where a label may stand: how far from its point to the right and upwards, in points, and in which direction. Beyond the
# last number a line leads to it.
DISTANCES, FAR = (7, 12, 20, 30, 45, 60, 80), 15
PLACES = np.array([(d * np.cos(a), d * np.sin(a), np.cos(a), np.sin(a)) for d in DISTANCES for a in np.arange(24) * np.pi / 12])


def quality_and_cost(cases):
    """A panel for each kind of table, a point with standard errors for each contender; None where a run has no tables."""
    kinds, base = kinds_of(cases), base_of(cases)
    if not kinds:
        return None
    figure = Figure(figsize=(5.6 * len(kinds), 5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    points = []
    for ax, (kind, found) in zip(panels, kinds.items(), strict=True):
        points.append(_draw(ax, geometric_means(found, CPU), geometric_means(found, measure := MEASURES[kind][0])))
        n_tables = len({case.configuration for case in found})
        ax.set_title(f"{TITLES[kind].capitalize()}, {n_tables} table{'s' if n_tables > 1 else ''}", fontsize=11, loc="left")
        ax.set(xlabel=f"CPU time of fit and predict, {base} = 1", ylabel=f"{measure}, {base} = 1")
    figure.suptitle("Networks and boosted trees on tables: lower is better, left is cheaper", fontsize=12)
    figure.draw_without_rendering()  # now places are known
    for ax, of_panel in zip(panels, points, strict=True):
        _label(ax, of_panel)
    return figure


def _draw(ax, costs, qualities):
    """Points, error bars and axes; (name, colour, x with both ends of its error, y likewise) of each."""
    points = []
    for name, cost in costs.items():
        colour = OURS if name.startswith("fastprop") else NETWORKS if name.startswith(IS_NETWORK) else TREES
        x, y = _ends(cost), _ends(qualities[name])
        bars = [[[value - low], [high - value]] for value, low, high in (y, x)]
        ax.errorbar(x[0], y[0], *bars, "o", color=colour, markersize=6, elinewidth=1, capsize=2)
        points.append((name, colour, x, y))
    for line in (ax.axhline, ax.axvline):
        line(1, color="#999999", linewidth=0.8, linestyle=":", zorder=0)
    logarithmic(ax.xaxis)
    logarithmic(ax.yaxis)
    ax.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))  # less than a decade
    ax.margins(x=0.2, y=0.12)
    ax.grid(alpha=0.3, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    return points


def _ends(estimate):
    """The value, and where its error bar ends: the standard error is one of its logarithm."""
    factor = np.exp((estimate.error or 0) / estimate.value)
    return estimate.value, estimate.value / factor, estimate.value * factor


def _label(ax, points):
    """Write each name where it covers least of the points, their error bars, the lines at 1 and other names."""
    renderer, scale = ax.figure.canvas.get_renderer(), ax.figure.dpi / 72
    frame, taken = ax.bbox.extents, [box for _, _, x, y in points for box in _boxes(ax, x, y)]
    left, bottom, right, top = frame
    x, y = ax.transData.transform((1, 1))
    taken += [np.array([left, y - 1, right, y + 1]), np.array([x - 1, bottom, x + 1, top])]
    for name, colour, (x, *_), (y, *_) in points:
        style = {"fontsize": 8.5, "color": colour, "in_layout": False, "textcoords": "offset points"}
        text = ax.annotate(name, (x, y), (0, 0), **style)
        size = text.get_window_extent(renderer).size / scale
        text.remove()
        corners = PLACES[:, :2] + (PLACES[:, 2:] - 1) / 2 * size  # the lower left ones, relative to the point
        boxes = np.tile(ax.transData.transform((x, y)), 2) + scale * np.hstack([corners, corners + size])
        outside = np.prod(scale * size) - _shared(boxes, [frame])
        costs = _shared(boxes, taken) + 10 * outside + np.hypot(*PLACES[:, :2].T)
        best = int(np.argmin(costs))
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 4}
        is_far = np.hypot(*PLACES[best, :2]) > FAR
        ax.annotate(name, (x, y), corners[best], arrowprops=line if is_far else None, **style)
        taken.append(boxes[best] + [-1, -1, 1, 1])


def _boxes(ax, x, y):
    """What a point and its error bars cover: boxes (left, bottom, right, top) in pixels."""
    spans = [((x[0], y[0]), (x[0], y[0])), ((x[1], y[0]), (x[2], y[0])), ((x[0], y[1]), (x[0], y[2]))]
    return [
        ax.transData.transform(span).ravel() + np.array([-pad, -pad, pad, pad]) for span, pad in zip(spans, (6, 4, 4), strict=True)
    ]


def _shared(boxes, others):
    """The area that each box has in common with the others, in all."""
    boxes, others = np.array(boxes)[:, None], np.array(others)
    sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
    return np.prod(np.maximum(sides, 0), axis=2).sum(axis=1)

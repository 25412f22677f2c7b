"""Curves of the members of an ensemble: their mean and range by epoch, as a line and a band."""

from itertools import zip_longest

import numpy as np

# Opacity of a band.
OPACITY = 0.2


def is_of_members(curves):
    """Whether these are several curves, not the values of one."""
    return len(curves) > 0 and all(np.ndim(curve) == 1 for curve in curves)


def mean_of(curves):
    """The mean for each epoch over the members that were trained for that long."""
    return [float(np.mean(values)) for values in _by_epoch(curves)]


def draw_band(ax, curves, color):
    """A band for the range of the members, from the lowest to the highest in each epoch."""
    lowest, highest = np.array([(min(values), max(values)) for values in _by_epoch(curves)]).T
    style = {"color": color, "alpha": OPACITY, "linewidth": 0, "label": "_"}
    return ax.fill_between(range(1, len(lowest) + 1), lowest, highest, **style)


def draw_best(ax, curves, epochs, color):
    """A star for each member at its best epoch."""
    places = [(epoch, curve[epoch - 1]) for epoch, curve in zip(epochs, curves, strict=True) if 0 < epoch <= len(curve)]
    ax.plot(*np.reshape(places, (-1, 2)).T, linestyle="", marker="*", markersize=8, color=color, label="_")


def _by_epoch(curves):
    return [[value for value in values if value is not None] for values in zip_longest(*curves)]

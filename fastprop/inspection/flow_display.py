"""GradientFlowDisplay: the norm of the gradient by layer, or by step, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .bounds import INPUT
from .drawing import WITH_LEGEND, axes_for, legend_beside, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from .bounds import GradientBound
    from .flow import GradientFlow

Kind: TypeAlias = Literal["layers", "bars", "steps"]

NORM = "norm of the gradient (log scale)"
BY_NAME, BY_NUMBER = "layer, by its name in the model", "layer, counted from 0 at the input"
# Marks the zeros of a group of bars, which move with it.
ZEROS = "fastprop zeros"
# The number of letters that fit side by side under the Axes.
CROWDED = 60


class GradientFlowDisplay:
    """Gradient norms of a `GradientFlow`, on a logarithmic scale. A norm of 0 is shown as a digit 0 at the bottom.

    Make it with `from_flow`. Layers have the names of the model's `repr` and ``named_parameters``, or numbers if the models on one
    Axes name their layers differently.

    Parameters
    ----------
    layers : list of str
        The names of the layers.
    norms : ndarray, shape (n_steps, n_layers)
        The recorded norms.
    name : str, optional
        The model's name in the legend.
    input_norm : float, optional
        The norm of the last gradient with respect to the input. It gets a bar of its own.
    bound : GradientBound, optional
        Bounds to draw next to the norms of the last step.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of the Axes.
    lines_ : list of matplotlib Line2D
        One line over the layers; or one for each layer, over the steps. Empty for bars.
    bars_ : matplotlib BarContainer or None
        The bars: of the input if its norm is known, then one for each layer.
    bound_lines_ : list of three matplotlib Line2D
        The bound, and the last norm times each of its two factors; empty without a bound.

    Examples
    --------
    >>> from fastprop.inspection import GradientFlowDisplay, gradient_flow
    >>> flow = gradient_flow(model, loss, X, y, at="outputs")  # doctest: +SKIP
    >>> GradientFlowDisplay.from_flow(flow, "bars", name="relu", bound=True)  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure
    lines_: list[Line2D]
    bars_: BarContainer | None
    bound_lines_: list[Line2D]

    def __init__(
        self,
        layers: Iterable[str],
        norms: ArrayLike,
        *,
        name: str | None = None,
        input_norm: float | None = None,
        bound: GradientBound | None = None,
    ) -> None:
        self.layers = list(layers)
        self.norms = np.asarray(norms, dtype=np.float64)
        if self.norms.ndim != 2 or self.norms.shape[1] != len(self.layers) or not len(self.norms):
            raise ValueError(f"norms must have shape (n_steps >= 1, {len(self.layers)}); got {self.norms.shape}")
        self.name = name
        self.input_norm = None if input_norm is None or np.isnan(input_norm) else float(input_norm)
        self.bound = bound

    @classmethod
    def from_flow(
        cls,
        flow: GradientFlow,
        kind: Kind = "layers",
        ax: Axes | None = None,
        *,
        name: str | None = None,
        bound: bool = False,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw what a `GradientFlow` recorded.

        Parameters
        ----------
        flow : GradientFlow
            With at least one step.
        kind : {'layers', 'bars', 'steps'}, default='layers'
            The norms of the last step over the layers, as a line or as bars; or those of every layer over the steps. Bars have one
            for the input too, and the ratio of first and last layer in the legend.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare models; bars stand side by
            side.
        name : str, optional
            For the legend.
        bound : bool, default=False
            Whether to draw, next to the norms of the last step, what ``flow.bound()`` gives: the bound, and the last norm times
            each of its factors alone.
        line_kw : dict, optional
            Passed to matplotlib's ``plot``, or to its ``bar``.

        Returns
        -------
        GradientFlowDisplay
            The new display.

        Raises
        ------
        ValueError
            If nothing was recorded, if there is no such kind, or if there is no bound for such a flow or kind.
        ImportError
            If matplotlib is not installed.
        """
        norms = flow.norms
        input_norm = flow.input_norms[-1] if len(norms) else None
        display = cls(flow.layers, norms, name=name, input_norm=input_norm, bound=flow.bound() if bound else None)
        return display.plot(kind, ax, line_kw=line_kw)

    def plot(
        self, kind: Kind = "layers", ax: Axes | None = None, *, name: str | None = None, line_kw: dict[str, Any] | None = None
    ) -> Self:
        """Draw the lines or bars.

        Parameters
        ----------
        kind : {'layers', 'bars', 'steps'}, default='layers'
            As in `from_flow`.
        ax : matplotlib Axes, optional
            As in `from_flow`.
        name : str, optional
            For the legend; by default that of the display.
        line_kw : dict, optional
            As in `from_flow`.

        Returns
        -------
        GradientFlowDisplay
            This display.
        """
        draw = {"layers": self._over_layers, "bars": self._as_bars, "steps": self._over_steps}
        if kind not in draw:
            raise ValueError(f"kind must be 'layers', 'bars' or 'steps'; got {kind!r}")
        if kind == "steps" and self.bound is not None:
            raise ValueError("the bound is that of the last step: kind must be 'layers' or 'bars' with it; got 'steps'")
        name = self.name if name is None else name
        ax = axes_for(self, ax, WITH_LEGEND)
        ax.set_yscale("log")
        ax.set_ylabel(NORM)
        ax.grid(True, alpha=0.3)
        ax.set_axisbelow(True)
        self.lines_, self.bars_, self.bound_lines_ = [], None, []
        draw[kind](ax, name, line_kw or {})
        if ax.get_legend_handles_labels()[1]:
            legend_beside(ax)
        return self

    def _over_layers(self, ax, name, line_kw):
        places, norms = np.arange(len(self.layers)), self.norms[-1]
        self.lines_ = ax.plot(places, _positive(norms), **{"marker": "o", "label": name} | line_kw)
        colour = self.lines_[0].get_color()
        _mark_zeros(ax, places, norms, colour)
        self._name_places(ax, places, self.layers)
        self._draw_bound(ax, places, self.layers, colour, name)

    def _as_bars(self, ax, name, line_kw):
        layers, norms, places = self.layers, self.norms[-1], np.arange(len(self.layers))
        label = f"first / last layer: {norms[0] / norms[-1]:.2g}" if norms[-1] else "the norm of the last layer is 0"
        if self.input_norm is not None:
            layers, norms, places = [*layers, INPUT], np.append(norms, self.input_norm), np.append(places, -1)
        style = {"label": label if name is None else f"{name}\n{label}", "alpha": 1.0 if self.bound is None else 0.4}
        self.bars_ = ax.bar(places, _positive(norms), **style | line_kw)
        colour = self.bars_[0].get_facecolor()[:3]
        if self.input_norm is not None:
            self.bars_[-1].set(hatch="///", edgecolor="white")  # the input is no layer
        _mark_zeros(ax, places, norms, colour).set_gid(ZEROS)
        _put_side_by_side(ax)
        self._name_places(ax, places, layers)
        order = np.argsort(places)
        self._draw_bound(ax, places[order], [layers[i] for i in order], colour, name)

    def _over_steps(self, ax, name, line_kw):
        steps = np.arange(1, len(self.norms) + 1)
        dot = {"marker": "o"} if len(self.norms) == 1 else {}
        prefix = "" if name is None else f"{name}, "
        for layer, norms in zip(self.layers, self.norms.T, strict=True):
            self.lines_ += ax.plot(steps, _positive(norms), **dot | {"label": f"{prefix}layer {layer}"} | line_kw)
            _mark_zeros(ax, steps, norms, self.lines_[-1].get_color())
        ax.set_xlabel("step")
        whole_numbers(ax.xaxis)

    def _name_places(self, ax, places, layers):
        """Ticks with the layers' names, or with numbers if a model that was drawn before has another name at a place."""
        own, before = dict(zip(places.tolist(), layers, strict=True)), {}
        if ax.get_xlabel() in (BY_NAME, BY_NUMBER):
            before = {int(place): text.get_text() for place, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}
        names = own | before
        by_name = ax.get_xlabel() != BY_NUMBER and names == before | own
        if not by_name:
            names = {place: INPUT if place < 0 else str(place) for place in names}
        crowded = sum(len(text) + 2 for text in names.values()) > CROWDED
        ax.set_xticks(list(names), list(names.values()), rotation=90 if crowded else 0)
        ax.set_xlabel(BY_NAME if by_name else BY_NUMBER)

    def _draw_bound(self, ax, places, layers, colour, name):
        """The bound and its two factors; in the legend with what they are at the first place, 0.25^L for L layers with sigmoid."""
        if self.bound is None:
            return
        rows = [self.bound[layer] for layer in layers]
        factors = {
            ("bound\n" r"$\prod\,\max|f'|\,\|W\|$", "--"): [row.slopes * row.weight_norms for row in rows],
            ("weights alone\n" r"$\prod\,\|W\|$", ":"): [row.weight_norms for row in rows],
            ("activations alone\n" r"$\prod\,\max|f'|$", "-."): [row.slopes for row in rows],
        }
        for (label, linestyle), values in factors.items():
            label = f"{'' if name is None else f'{name}, '}{label} = {values[0]:.2g}"
            self.bound_lines_ += ax.plot(places, rows[-1].norm * np.array(values), color=colour, linestyle=linestyle, label=label)


def _positive(norms):
    """The norms without zeros, which a logarithmic axis cannot show."""
    return np.where(norms == 0, np.nan, norms)


def _mark_zeros(ax, places, norms, colour):
    """A digit 0 at the bottom of the Axes where a norm is 0."""
    zeros = places[norms == 0]
    style = {"marker": "$0$", "markersize": 9, "linestyle": "", "color": colour}
    (line,) = ax.plot(zeros, np.full(len(zeros), 0.03), transform=ax.get_xaxis_transform(), **style)
    line.set_in_layout(False)  # without points it would be at the corner of the figure
    return line


def _put_side_by_side(ax):
    """Give all groups of bars on the Axes an equal share of the room of a layer."""
    groups, zeros = ax.containers, [line for line in ax.lines if line.get_gid() == ZEROS]
    width = 0.8 / len(groups)
    for i, (bars, marks) in enumerate(zip(groups, zeros, strict=True)):
        for bar in bars:
            place = round(bar.get_x() + bar.get_width() / 2)
            bar.set(x=place - 0.4 + i * width, width=width)
        marks.set_xdata([bar.get_x() + width / 2 for bar in bars if np.isnan(bar.get_height())])

"""GradientFlowDisplay: the norm of the gradient by layer, or by step, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .drawing import axes_for, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from .flow import GradientFlow

Kind: TypeAlias = Literal["layers", "steps"]

NORM = "norm of the gradient (log scale)"


class GradientFlowDisplay:
    """Gradient norms of a `GradientFlow`, on a logarithmic scale.

    Make it with `from_flow`.

    Parameters
    ----------
    layers : list of str
        The names of the layers.
    norms : ndarray, shape (n_steps, n_layers)
        The recorded norms.
    name : str, optional
        The model's name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of the Axes.
    lines_ : list of matplotlib Line2D
        One line over the layers; or one for each layer, over the steps.

    Examples
    --------
    >>> from fastprop.inspection import GradientFlowDisplay, gradient_flow
    >>> flow = gradient_flow(model, loss, X, y)  # doctest: +SKIP
    >>> GradientFlowDisplay.from_flow(flow, name="relu")  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure
    lines_: list[Line2D]

    def __init__(self, layers: Iterable[str], norms: ArrayLike, *, name: str | None = None) -> None:
        self.layers = list(layers)
        self.norms = np.asarray(norms, dtype=np.float64)
        if self.norms.ndim != 2 or self.norms.shape[1] != len(self.layers) or not len(self.norms):
            raise ValueError(f"norms must have shape (n_steps >= 1, {len(self.layers)}); got {self.norms.shape}")
        self.name = name

    @classmethod
    def from_flow(
        cls,
        flow: GradientFlow,
        kind: Kind = "layers",
        ax: Axes | None = None,
        *,
        name: str | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw what a `GradientFlow` recorded.

        Parameters
        ----------
        flow : GradientFlow
            With at least one step.
        kind : {'layers', 'steps'}, default='layers'
            The norms of the last step over the layers, or those of every layer over the steps.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare models.
        name : str, optional
            For the legend.
        line_kw : dict, optional
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        GradientFlowDisplay
            What was drawn.

        Raises
        ------
        ValueError
            Nothing was recorded, or there is no such kind.
        ImportError
            matplotlib is not installed.
        """
        return cls(flow.layers, flow.norms, name=name).plot(kind, ax, line_kw=line_kw)

    def plot(
        self, kind: Kind = "layers", ax: Axes | None = None, *, name: str | None = None, line_kw: dict[str, Any] | None = None
    ) -> Self:
        """Draw the lines.

        Parameters
        ----------
        kind : {'layers', 'steps'}, default='layers'
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
            This one.
        """
        if kind not in ("layers", "steps"):
            raise ValueError(f"kind must be 'layers' or 'steps'; got {kind!r}")
        ax = axes_for(self, ax)
        name = self.name if name is None else name
        self.lines_ = (self._over_layers if kind == "layers" else self._over_steps)(ax, name, line_kw or {})
        ax.set_yscale("log")
        ax.set_ylabel(NORM)
        ax.grid(True, alpha=0.3)
        if kind == "steps" or name is not None:
            ax.legend()
        return self

    def _over_layers(self, ax, name, line_kw):
        numbers = range(1, len(self.layers) + 1)
        lines = ax.plot(numbers, self.norms[-1], **{"marker": "o", "label": name} | line_kw)
        ax.set_xlabel("layer, from the input to the output")
        whole_numbers(ax.xaxis)
        return lines

    def _over_steps(self, ax, name, line_kw):
        steps = range(1, len(self.norms) + 1)
        dot = {"marker": "o"} if len(self.norms) == 1 else {}
        prefix = "" if name is None else f"{name}, "
        lines = []
        for layer, norms in zip(self.layers, self.norms.T, strict=True):
            lines += ax.plot(steps, norms, **dot | {"label": f"{prefix}layer {layer}"} | line_kw)
        ax.set_xlabel("step")
        whole_numbers(ax.xaxis)
        return lines

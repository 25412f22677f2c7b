"""ActivationDisplay: an activation and its derivative, as the kernels compute them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import kernels
from ..annotations import ActivationName, Floats
from ..kernels.spec import ACTIVATIONS
from .drawing import WITH_LEGEND, axes_for, legend_beside
from .observation import value_and_derivative

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from ..nn import Module


class ActivationDisplay:
    """An activation and its derivative.

    Make it with `from_activation`. The activation is a solid line, the derivative a dashed one of the same colour.

    Parameters
    ----------
    z : ndarray, shape (n_points,)
        Pre-activations.
    a : ndarray, shape (n_points,)
        Activations f(z).
    derivative : ndarray, shape (n_points,)
        Derivatives f'(z).
    name : str, optional
        The activation's name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of the Axes.
    lines_ : list of matplotlib Line2D
        The activation, then the derivative.

    Examples
    --------
    >>> from fastprop.inspection import ActivationDisplay
    >>> display = ActivationDisplay.from_activation("tanh")  # doctest: +SKIP
    >>> ActivationDisplay.from_activation("sigmoid", ax=display.ax_)  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure
    lines_: list[Line2D]

    def __init__(self, z: Floats, a: Floats, derivative: Floats, *, name: str | None = None) -> None:
        self.z = z
        self.a = a
        self.derivative = derivative
        self.name = name

    @classmethod
    def from_activation(
        cls,
        activation: ActivationName | Module,
        limits: tuple[float, float] = (-5.0, 5.0),
        n_points: int = 401,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw an activation and its derivative.

        Parameters
        ----------
        activation : str or layer of fastprop.nn
            A name that `nn.Linear` takes, or a layer that works element by element, such as ``nn.Tanh()`` or a user's
            `nn.Activation`.
        limits : (float, float), default=(-5.0, 5.0)
            The first and the last pre-activation.
        n_points : int, default=401
            Number of pre-activations, equally spaced.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare activations.
        name : str, optional
            For the legend; by default the activation's.
        line_kw : dict, optional
            Passed to matplotlib's ``plot`` for both lines.

        Returns
        -------
        ActivationDisplay
            The new display.

        Raises
        ------
        ValueError
            If there is no activation of that name.
        ImportError
            If matplotlib is not installed.
        """
        z = np.linspace(*limits, n_points)
        a, derivative = (_by_kernel if isinstance(activation, str) else value_and_derivative)(activation, z[:, None])
        if name is None:
            name = activation if isinstance(activation, str) else getattr(activation, "name", type(activation).__name__)
        return cls(z, a[:, 0], derivative[:, 0], name=name).plot(ax, line_kw=line_kw)

    def plot(self, ax: Axes | None = None, *, name: str | None = None, line_kw: dict[str, Any] | None = None) -> Self:
        """Draw the two lines.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            As in `from_activation`.
        name : str, optional
            For the legend; by default that of the display.
        line_kw : dict, optional
            As in `from_activation`.

        Returns
        -------
        ActivationDisplay
            This display.
        """
        ax = axes_for(self, ax, WITH_LEGEND)
        name = self.name if name is None else name
        (value,) = ax.plot(self.z, self.a, **{"label": "activation" if name is None else name} | (line_kw or {}))
        style = {"color": value.get_color(), "linestyle": "--", "label": f"{value.get_label()}, derivative"}
        (slope,) = ax.plot(self.z, self.derivative, **(line_kw or {}) | style)
        self.lines_ = [value, slope]
        ax.set_xlabel("pre-activation z")
        ax.set_ylabel("activation, derivative")
        ax.grid(True, alpha=0.3)
        legend_beside(ax)
        return self


def _by_kernel(activation, z):
    a = kernels.activation_forward(z, activation)
    source = a if ACTIVATIONS[activation].derivative == "a" else z
    return a, kernels.activation_backward(np.ones_like(z), source, activation)

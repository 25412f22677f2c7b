"""InformationDisplay: the loss, the gradient and the entropy of a predicted probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import kernels
from .drawing import legend_below, pair_of_axes_for
from .information import entropy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Unit: TypeAlias = Literal["bits", "nats"]

# How close to 0 the probabilities begin: the loss there is 4.6 nats, and the other curves can still be seen beside it.
LOWEST = 0.01
NATS = {"bits": np.log(2), "nats": 1.0}  # in one of each


class InformationDisplay:
    """The information view of a prediction, on two Axes.

    Left, against the probability p of the true class: the loss -log p, the size ``|p - y|`` of the gradient with respect to the
    logit, with y = 1, and the entropy of (p, 1 - p). Right, against the logit z: the sigmoid, its derivative, and the entropy of
    (sigmoid, 1 - sigmoid). Derivative and entropy both peak at z = 0, where the sigmoid is 0.5; a vertical line is there.

    Parameters
    ----------
    p : ndarray, shape (n_points,), optional
        Probabilities in (0, 1]; by default 200 from 0.01 to 1.
    z : ndarray, shape (n_points,), optional
        Logits; by default 241 from -6 to 6.
    unit : {'bits', 'nats'}, default='bits'
        Unit of the entropies. In bits, the entropy of two outcomes is at most 1. The loss is in nats, so that its gradient is
        ``p - y``.

    Attributes
    ----------
    axes_ : two matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of the Axes.
    lines_ : list of six matplotlib Line2D
        Loss, gradient size and entropy against p; sigmoid, derivative and entropy against z.

    Examples
    --------
    >>> from fastprop.inspection import InformationDisplay
    >>> InformationDisplay().plot()  # doctest: +SKIP
    """

    axes_: Sequence[Axes] | NDArray[Any]
    figure_: Figure
    lines_: list[Line2D]

    def __init__(self, p: ArrayLike | None = None, z: ArrayLike | None = None, *, unit: Unit = "bits") -> None:
        if unit not in NATS:
            raise ValueError(f"unit must be 'bits' or 'nats'; got {unit!r}")
        self.unit = unit
        self.p = np.linspace(LOWEST, 1, 200) if p is None else np.asarray(p, dtype=np.float64)
        self.z = np.linspace(-6, 6, 241) if z is None else np.asarray(z, dtype=np.float64)
        if self.p.ndim != 1 or not ((self.p > 0) & (self.p <= 1)).all():
            raise ValueError(f"p must be a vector of probabilities in (0, 1]; got shape {self.p.shape}")

    def plot(self, axes: Sequence[Axes] | NDArray[Any] | None = None, *, line_kw: dict[str, Any] | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        axes : two matplotlib Axes, optional
            Where to draw; a new figure by default.
        line_kw : dict, optional
            Passed to matplotlib's ``plot`` for all lines.

        Returns
        -------
        InformationDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        left, right = pair_of_axes_for(self, axes)
        p, z = self.p, self.z
        sigmoid = kernels.activation_forward(z[:, None], "sigmoid")
        slope = kernels.activation_backward(np.ones_like(sigmoid), sigmoid, "sigmoid")
        nats, unit = NATS[self.unit], self.unit
        curves = [
            (left, p, -np.log(p), "loss -log p (nats)"),
            (left, p, 1 - p, "gradient size |p - y|"),
            (left, p, _binary_entropy(p) / nats, f"entropy of (p, 1 - p) ({unit})"),
            (right, z, sigmoid[:, 0], "sigmoid s(z)"),
            (right, z, slope[:, 0], "derivative s'(z)"),
            (right, z, _binary_entropy(sigmoid[:, 0]) / nats, f"entropy of (s, 1 - s) ({unit})"),
        ]
        self.lines_ = [ax.plot(x, y, **{"label": label} | (line_kw or {}))[0] for ax, x, y, label in curves]
        right.axvline(0, color="0.5", linestyle=":", label="z = 0, s = 0.5: both peak")
        left.set_xlabel("probability p of the true class")
        right.set_xlabel("logit z")
        for ax in (left, right):
            ax.set_ylabel("value")
            ax.grid(True, alpha=0.3)
            legend_below(ax)
        return self


def _binary_entropy(p):
    return entropy(np.stack([p, 1 - p], axis=1))

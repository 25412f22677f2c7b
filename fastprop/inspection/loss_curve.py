"""LossCurveDisplay: losses, validation score and learning rate by epoch, drawn with matplotlib, which is imported when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from .drawing import WITH_LEGEND, axes_for, legend_beside, whole_numbers
from .fitted_curves import curves_of
from .loss_curve_axes import label_y, lowest_axes, rate_axes, score_axes, score_axes_of, y_label
from .member_curves import draw_band, draw_best, is_of_members, mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from sklearn.base import BaseEstimator

# Of a network, or of each member of an ensemble
Curve: TypeAlias = Sequence[float] | Sequence[Sequence[float]]

LOSS, BOTH_LOSSES = "training loss", "training loss, validation loss dashed"
SCORE = "validation {} (dashed, with dots)"
# How far apart the dots on the line of the scores are, as a part of the Axes.
DOTS_EVERY = 0.1
# A figure with room for learning rates, too, in inches.
WITH_RATES = (8.0, 6.0)


class LossCurveDisplay:
    """The learning curves of an MLP: training loss and, if there are any, validation loss, validation score and learning rate.

    For an ensemble of networks, each curve is the mean over the members that were trained for that long, in a band from the lowest
    to the highest; a star marks a member's best epoch.

    Make it with `from_estimator`, or with `from_history` for a model of `fastprop.nn`. Each run has a colour of its own: its
    training loss is a solid line, its validation loss a dashed one, its validation score, on a second y axis, a dashed one with
    dots. Its learning rate is a solid line on a small Axes below, which takes its room from the losses; if runs have the same
    schedule, earlier lines are wider, so that all are visible. The legend is next to the Axes, or below where that leaves little
    width; in a figure without a layout engine it is inside.

    Parameters
    ----------
    loss_curve : sequence of float, or sequence of these
        The training loss of each epoch; for an ensemble, one sequence for each member.
    validation_scores : sequence of float, optional
        The score of each epoch.
    name : str, optional
        The estimator's name in the legend.
    unit : str, optional
        Unit of the loss.
    score_name : str, default='score'
        Name of the validation score.
    validation_losses : sequence of float, or sequence of these, optional
        The loss on validation data of each epoch; for an ensemble, one sequence for each member.
    learning_rates : sequence of float, optional
        The learning rate of each epoch, for instance of its last step.
    best_epochs : sequence of int, optional
        For an ensemble with validation losses, the number of each member's best epoch, counted from 1.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Epochs and loss.
    score_ax_ : matplotlib Axes or None
        The second y axis, of the scores; None without scores.
    rate_ax_ : matplotlib Axes or None
        The Axes of the learning rate, below ``ax_`` and with the same epochs; None without learning rates. Its scale is linear:
        ``rate_ax_.set_yscale("log")`` suits rates of very different size.
    figure_ : matplotlib Figure
        The figure of the Axes.
    lines_ : list of matplotlib Line2D
        The line of the training loss, then those of the validation loss, the score and the learning rate, if there are any.
    bands_ : list of matplotlib PolyCollection
        The bands of an ensemble, for the training loss and the validation loss; else empty.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import LossCurveDisplay, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> small = MLPClassifier((5,), max_iter=500, random_state=0).fit(X, y)  # doctest: +SKIP
    >>> large = MLPClassifier((50,), max_iter=500, random_state=0).fit(X, y)  # doctest: +SKIP
    >>> display = LossCurveDisplay.from_estimator(small, name="5 units")  # doctest: +SKIP
    >>> LossCurveDisplay.from_estimator(large, ax=display.ax_, name="50 units")  # doctest: +SKIP
    """

    ax_: Axes
    score_ax_: Axes | None
    rate_ax_: Axes | None
    figure_: Figure
    lines_: list[Line2D]
    bands_: list[PolyCollection]

    def __init__(
        self,
        loss_curve: Curve,
        validation_scores: Sequence[float] | None = None,
        *,
        name: str | None = None,
        unit: str | None = None,
        score_name: str = "score",
        validation_losses: Curve | None = None,
        learning_rates: Sequence[float] | None = None,
        best_epochs: Sequence[int] | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_losses = validation_losses
        self.validation_scores = validation_scores
        self.learning_rates = learning_rates
        self.best_epochs = best_epochs
        self.name = name
        self.unit = unit
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        loss_kw: dict[str, Any] | None = None,
        score_kw: dict[str, Any] | None = None,
        rate_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the learning curves of a fitted estimator.

        They are ``loss_curve_`` and, if the estimator has them, ``validation_loss_curve_``, ``validation_scores_`` and
        ``learning_rate_curve_``. Scores with ``scoring='loss'`` are not drawn, as they are the negative validation loss. For an
        estimator for tables they are ``loss_curves_``, ``validation_loss_curves_`` and ``best_iters_``.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or Pipeline
            A fitted estimator, of fastprop or of scikit-learn, but not with solver 'lbfgs'; or a pipeline that ends in one.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare estimators.
        name : str, optional
            Name in the legend; by default the name of the class, for an ensemble with the number of members.
        loss_kw : dict, optional
            Passed to matplotlib's ``plot`` for the lines of the losses.
        score_kw : dict, optional
            Passed to matplotlib's ``plot`` for the line of the scores.
        rate_kw : dict, optional
            Passed to matplotlib's ``plot`` for the line of the learning rates.

        Returns
        -------
        LossCurveDisplay
            The new display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is none of these.
        ValueError
            If it has no loss curve, because solver 'lbfgs' does not record one or because no epoch was finished.
        ImportError
            If matplotlib is not installed.
        """
        while hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        curves = curves_of(estimator)
        display = cls(**curves if name is None else curves | {"name": name})
        return display.plot(ax, loss_kw=loss_kw, score_kw=score_kw, rate_kw=rate_kw)

    @classmethod
    def from_history(
        cls,
        history: Mapping[str, Sequence[float]],
        ax: Axes | None = None,
        *,
        name: str | None = None,
        unit: str | None = None,
        validation_scores: Sequence[float] | None = None,
        score_name: str = "score",
        loss_kw: dict[str, Any] | None = None,
        score_kw: dict[str, Any] | None = None,
        rate_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the learning curves of a model of `fastprop.nn`.

        Parameters
        ----------
        history : dict
            The result of ``Module.fit``: 'loss', and 'val_loss' if there were validation data. Learning rates that a callback
            of ``fit`` collected may be added as 'learning_rate'.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare models.
        name : str, optional
            For the legend.
        unit : str, optional
            Unit of the loss.
        validation_scores : sequence of float, optional
            For instance accuracies that a callback of ``fit`` collected, for the second axis.
        score_name : str, default='score'
            Name of the validation score.
        loss_kw : dict, optional
            Passed to matplotlib's ``plot`` for the lines of the losses.
        score_kw : dict, optional
            Passed to matplotlib's ``plot`` for the line of the scores.
        rate_kw : dict, optional
            Passed to matplotlib's ``plot`` for the line of the learning rates.

        Returns
        -------
        LossCurveDisplay
            The new display.

        Raises
        ------
        ValueError
            If no epoch was finished.
        ImportError
            If matplotlib is not installed.
        """
        if not history["loss"]:
            raise ValueError("the history is empty: training ended in the first epoch")
        display = cls(
            history["loss"],
            validation_scores,
            name=name,
            unit=unit,
            score_name=score_name,
            validation_losses=history.get("val_loss"),
            learning_rates=history.get("learning_rate"),
        )
        return display.plot(ax, loss_kw=loss_kw, score_kw=score_kw, rate_kw=rate_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        loss_kw: dict[str, Any] | None = None,
        score_kw: dict[str, Any] | None = None,
        rate_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            As in `from_estimator`.
        name : str, optional
            For the legend; by default that of the display.
        loss_kw : dict, optional
            As in `from_estimator`.
        score_kw : dict, optional
            As in `from_estimator`.
        rate_kw : dict, optional
            As in `from_estimator`.

        Returns
        -------
        LossCurveDisplay
            This display.
        """
        ax = axes_for(self, ax, WITH_RATES if _has(self.learning_rates) else WITH_LEGEND)
        name = self.name if name is None else name
        self.score_ax_ = self.rate_ax_ = None
        self.lines_, self.bands_ = [], []
        self._draw_losses(ax, {"label": name} | (loss_kw or {}))
        run = {"color": self.lines_[0].get_color(), "label": "_" if name is None else f"_{name}"}
        if _has(self.validation_scores):
            self._draw_scores(score_axes(ax), run | (score_kw or {}))
        if _has(self.learning_rates):
            self._draw_rates(rate_axes(ax), run | (rate_kw or {}))
        lowest_axes(ax).set_xlabel("epoch")
        if ax.get_xscale() == "linear":
            whole_numbers(ax.xaxis)
        if name is not None:
            taken = legend_beside(ax, score_axes_of(ax), lowest_axes(ax))
            for each in {ax, score_axes_of(ax)} - {None} if taken else ():
                label_y(each, y_label(each), taken)
        return self

    def _draw_losses(self, ax, style):
        self._draw_loss(ax, self.loss_curve, style)
        if _has(self.validation_losses):
            color = self.lines_[0].get_color()
            self._draw_loss(ax, self.validation_losses, style | {"color": color, "linestyle": "--", "label": "_"})
            if self.best_epochs is not None:
                draw_best(ax, self.validation_losses, self.best_epochs, color)
        before, unit = y_label(ax), "" if self.unit is None else f" ({self.unit})"
        text = BOTH_LOSSES if _has(self.validation_losses) or before.startswith(BOTH_LOSSES) else LOSS
        label_y(ax, text + unit if before in ("", LOSS + unit, BOTH_LOSSES + unit) else text)

    def _draw_loss(self, ax, curve, style):
        has_members = is_of_members(curve)
        line = _line(ax, mean_of(curve) if has_members else curve, style)
        self.lines_.append(line)
        if has_members:
            self.bands_.append(draw_band(ax, curve, line.get_color()))

    def _draw_scores(self, ax, style):
        dashed = {"linestyle": "--", "marker": "o", "markersize": 4, "markevery": DOTS_EVERY}
        self.score_ax_ = ax
        self.lines_.append(_line(ax, self.validation_scores, dashed | style))
        text = SCORE.format(self.score_name)
        label_y(ax, text if y_label(ax) in ("", text) else SCORE.format("score"))

    def _draw_rates(self, ax, style):
        self.rate_ax_ = ax
        earlier = ax.get_lines()
        line = _line(ax, self.learning_rates, style)
        self.lines_.append(line)
        for other in earlier:
            if _coincide(other, line):
                other.set_linewidth(other.get_linewidth() + 2 * line.get_linewidth())
        label_y(ax, "learning rate")


def _has(values):
    """Whether there is a curve."""
    return values is not None and len(values) > 0


def _line(ax, values, style):
    """A line over the epochs from 1 on; a single epoch is a dot, that of a dashed line hollow."""
    if len(values) == 1:
        hollow = style.get("linestyle") == "--" and "marker" not in style
        style = {"marker": "o", "fillstyle": "none" if hollow else "full"} | style | {"markevery": None}
    (line,) = ax.plot(range(1, len(values) + 1), values, **style)
    return line


def _coincide(line, other):
    """Whether two lines have the same values in the epochs that they share."""
    return all(a == b for a, b in zip(line.get_ydata(), other.get_ydata(), strict=False))

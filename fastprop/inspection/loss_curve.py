"""LossCurveDisplay: losses, validation score and learning rate by epoch, drawn with matplotlib, which is imported when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .drawing import WITH_LEGEND, axes_for, legend_beside, whole_numbers
from .loss_curve_axes import label_y, lowest_axes, rate_axes, score_axes, score_axes_of, y_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from sklearn.base import BaseEstimator

# An estimator's loss -> what it is measured in
UNITS = {
    "log_loss": "nats",
    "squared_error": "half squared error",
    "absolute_error": "absolute error",
    "huber": "Huber",
    "quantile": "pinball",
    "poisson": "half Poisson deviance",
    "gamma": "half gamma deviance",
    "tweedie": "half Tweedie deviance",
}
LOSS, BOTH_LOSSES = "training loss", "training loss, validation loss dashed"
SCORE = "validation {} (dashed, with dots)"
# How far apart the dots on the line of the scores are, as a part of the Axes.
DOTS_EVERY = 0.1
# A figure with room for learning rates, too, in inches.
WITH_RATES = (8.0, 6.0)


class LossCurveDisplay:
    """The learning curves of an MLP: training loss, and where there are any, validation loss, validation score, learning rate.

    Make it with `from_estimator`, or with `from_history` for a model of `fastprop.nn`. Each run has a colour of its own: its
    training loss is a solid line, its validation loss a dashed one, its validation score, on a second y axis, a dashed one with
    dots. Its learning rate is a solid line on a small Axes below, which takes its room from that of the losses; of runs with the
    same schedule, earlier lines are wider, so that all are seen. The legend is beside the Axes, or below where that leaves little
    width; in a figure without a layout engine it is inside.

    Parameters
    ----------
    loss_curve : sequence of float
        The training loss of each epoch.
    validation_scores : sequence of float, optional
        The score of each epoch.
    name : str, optional
        The estimator's name in the legend.
    unit : str, optional
        What the loss is measured in.
    score_name : str, default='score'
        What the validation score is.
    validation_losses : sequence of float, optional
        The loss on validation data of each epoch.
    learning_rates : sequence of float, optional
        The learning rate of each epoch, for instance of its last step.

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
        The line of the training loss, then those of the validation loss, the score and the learning rate, of what there is.

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

    def __init__(
        self,
        loss_curve: Sequence[float],
        validation_scores: Sequence[float] | None = None,
        *,
        name: str | None = None,
        unit: str | None = None,
        score_name: str = "score",
        validation_losses: Sequence[float] | None = None,
        learning_rates: Sequence[float] | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_losses = validation_losses
        self.validation_scores = validation_scores
        self.learning_rates = learning_rates
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

        They are ``loss_curve_``, and where the estimator has them, ``validation_loss_curve_``, ``validation_scores_`` and
        ``learning_rate_curve_``. Scores with ``scoring='loss'`` are not drawn, as they are the validation loss with a minus.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Pipeline
            Fitted with solver 'adam' or 'sgd', of fastprop or of scikit-learn; of a pipeline, the last step.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare estimators.
        name : str, optional
            For the legend; by default the name of the class.
        loss_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the lines of the losses.
        score_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the scores.
        rate_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the learning rates.

        Returns
        -------
        LossCurveDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            The estimator was not fitted.
        TypeError
            It is not an MLP.
        ValueError
            It has no loss curve, because solver 'lbfgs' leaves none, or because no epoch was finished.
        ImportError
            matplotlib is not installed.
        """
        while hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        _check(estimator)
        is_minus_loss = getattr(estimator, "scoring", None) == "loss"
        display = cls(
            estimator.loss_curve_,
            None if is_minus_loss else getattr(estimator, "validation_scores_", None),
            name=type(estimator).__name__ if name is None else name,
            unit=UNITS.get(estimator.loss),
            score_name=_score_name(estimator),
            validation_losses=getattr(estimator, "validation_loss_curve_", None),
            learning_rates=getattr(estimator, "learning_rate_curve_", None),
        )
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
            What ``Module.fit`` returned: 'loss', and 'val_loss' where there were validation data. Learning rates that a callback
            of ``fit`` collected may be added as 'learning_rate'.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare models.
        name : str, optional
            For the legend.
        unit : str, optional
            What the loss is measured in.
        validation_scores : sequence of float, optional
            For instance accuracies that a callback of ``fit`` collected, for the second axis.
        score_name : str, default='score'
            What the validation score is.
        loss_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the lines of the losses.
        score_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the scores.
        rate_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the learning rates.

        Returns
        -------
        LossCurveDisplay
            What was drawn.

        Raises
        ------
        ValueError
            No epoch was finished.
        ImportError
            matplotlib is not installed.
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
            This one.
        """
        ax = axes_for(self, ax, WITH_RATES if _has(self.learning_rates) else WITH_LEGEND)
        name = self.name if name is None else name
        self.score_ax_ = self.rate_ax_ = None
        self.lines_ = []
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
            legend_beside(ax, score_axes_of(ax), lowest_axes(ax))
        return self

    def _draw_losses(self, ax, style):
        training = _line(ax, self.loss_curve, style)
        self.lines_.append(training)
        if _has(self.validation_losses):
            validation = {"color": training.get_color(), "linestyle": "--", "label": "_"}
            self.lines_.append(_line(ax, self.validation_losses, style | validation))
        before, unit = y_label(ax), "" if self.unit is None else f" ({self.unit})"
        text = BOTH_LOSSES if _has(self.validation_losses) or before.startswith(BOTH_LOSSES) else LOSS
        label_y(ax, text + unit if before in ("", LOSS + unit, BOTH_LOSSES + unit) else text)

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


def _check(estimator):
    """Fail unless there is a curve to draw."""
    kind = type(estimator).__name__
    if not (hasattr(estimator, "hidden_layer_sizes") and hasattr(estimator, "solver")):
        raise TypeError(f"estimator must be an MLPClassifier, an MLPRegressor, or a Pipeline that ends with one; got {kind}")
    check_is_fitted(estimator)
    if not hasattr(estimator, "loss_curve_"):
        raise ValueError(f"this {kind} has no loss curve: solver 'lbfgs' leaves none. Fit it with solver 'adam' or 'sgd'")
    if not estimator.loss_curve_:
        raise ValueError(f"the loss curve of this {kind} is empty: training ended in the first epoch")


def _score_name(estimator):
    """What an estimator's validation scores are."""
    scoring = getattr(estimator, "scoring", None)
    if scoring is None:
        return "accuracy" if is_classifier(estimator) else "R²"
    if isinstance(scoring, str):
        return "R²" if scoring == "r2" else scoring.replace("_", " ")
    name = getattr(scoring, "__name__", "")
    return name.replace("_", " ") if name.isidentifier() else "score"


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
    """Whether two lines have the same values in the epochs that both have."""
    return all(a == b for a, b in zip(line.get_ydata(), other.get_ydata(), strict=False))

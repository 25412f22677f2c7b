"""LossCurveDisplay: training loss and validation score by epoch, drawn with matplotlib, which is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .drawing import WITH_LEGEND, axes_for, legend_beside, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from sklearn.base import BaseEstimator

# out_activation_ -> what the loss is measured in
UNITS = {"softmax": "nats", "logistic": "nats", "identity": "half squared error", "exp": "half Poisson deviance"}
LOSS = "training loss"
# Marks the second axis, so that the next estimator is drawn on it too.
SCORES = "fastprop validation scores"
# How far apart the dots on the line of the scores are, as a part of the Axes.
DOTS_EVERY = 0.1


class LossCurveDisplay:
    """The loss curve of an MLP: training loss, and validation score on a second axis where early stopping recorded one.

    Make it with `from_estimator`, or with `from_history` for a model of `fastprop.nn`. Each run has a colour of its own: its
    training loss is a solid line, its validation loss a dashed one, its validation score a dashed one with dots. The legend is
    beside the Axes, in a figure with a layout engine.

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

    Attributes
    ----------
    ax_ : matplotlib Axes
        Epochs and loss.
    score_ax_ : matplotlib Axes or None
        The second axis, of the scores.
    figure_ : matplotlib Figure
        The figure of the Axes.
    lines_ : list of matplotlib Line2D
        The line of the loss, then those of the validation loss and of the score if there are any.

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
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_losses = validation_losses
        self.validation_scores = validation_scores
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
    ) -> Self:
        """Draw the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Pipeline
            Fitted with solver 'adam' or 'sgd', of fastprop or of scikit-learn; of a pipeline, the last step.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default. Give the ``ax_`` of an earlier display to compare estimators.
        name : str, optional
            For the legend; by default the name of the class.
        loss_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the loss.
        score_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the scores.

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
        display = cls(
            estimator.loss_curve_,
            getattr(estimator, "validation_scores_", None),
            name=type(estimator).__name__ if name is None else name,
            unit=UNITS.get(estimator.out_activation_),
            score_name="accuracy" if is_classifier(estimator) else "R²",
        )
        return display.plot(ax, loss_kw=loss_kw, score_kw=score_kw)

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
    ) -> Self:
        """Draw the learning curves of a model of `fastprop.nn`.

        Parameters
        ----------
        history : dict
            What ``Module.fit`` returned: 'loss', and 'val_loss' where there were validation data.
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
            Passed on to matplotlib's ``plot`` for the line of the loss.
        score_kw : dict, optional
            Passed on to matplotlib's ``plot`` for the line of the scores.

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
        losses = {"validation_losses": history.get("val_loss")}
        display = cls(history["loss"], validation_scores, name=name, unit=unit, score_name=score_name, **losses)
        return display.plot(ax, loss_kw=loss_kw, score_kw=score_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        loss_kw: dict[str, Any] | None = None,
        score_kw: dict[str, Any] | None = None,
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

        Returns
        -------
        LossCurveDisplay
            This one.
        """
        ax = axes_for(self, ax, WITH_LEGEND)
        self.score_ax_ = None
        name, loss_kw = self.name if name is None else name, loss_kw or {}
        self.lines_ = [_line(ax, self.loss_curve, {"label": name} | loss_kw)]
        validation = {"color": self.lines_[0].get_color(), "linestyle": "--", "label": "_" if name is None else f"_{name}"}
        loss = LOSS
        if self.validation_losses:
            self.lines_.append(_line(ax, self.validation_losses, loss_kw | validation))
            loss = f"{LOSS}, validation loss dashed"
        _describe(ax, loss if self.unit is None else f"{loss} ({self.unit})", LOSS)
        ax.set_xlabel("epoch")
        if ax.get_xscale() == "linear":
            whole_numbers(ax.xaxis)
        if self.validation_scores:
            self.score_ax_ = _score_axis(ax)
            dots = {"marker": "o", "markersize": 4, "markevery": DOTS_EVERY}
            self.lines_.append(_line(self.score_ax_, self.validation_scores, validation | dots | (score_kw or {})))
            _describe(self.score_ax_, f"validation {self.score_name} (dashed, with dots)", "validation score (dashed, with dots)")
        if name is not None:
            legend_beside(ax, _score_axis_of(ax))
        return self


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


def _line(ax, values, style):
    """A line over the epochs from 1 on; a single epoch is a dot."""
    dot = {"marker": "o"} if len(values) == 1 else {}
    (line,) = ax.plot(range(1, len(values) + 1), values, **dot | style)
    return line


def _describe(ax, text, common):
    """Label the y axis, with what all curves on it have in common if they differ."""
    ax.set_ylabel(text if ax.get_ylabel() in ("", text) else common)


def _score_axis_of(ax):
    """The second axis that earlier estimators on this one have, or None."""
    for other in ax.get_shared_x_axes().get_siblings(ax):
        if other.get_label() == SCORES and other.bbox.bounds == ax.bbox.bounds:
            return other
    return None


def _score_axis(ax):
    """The second axis of earlier estimators on this one, or a new one."""
    score_ax = _score_axis_of(ax)
    if score_ax is None:
        score_ax = ax.twinx()
        score_ax.set_label(SCORES)
    return score_ax

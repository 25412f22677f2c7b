"""scikit-learn's stopping rule, and what training remembers from epoch to epoch for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..warn import warn
from .held_out import Validation
from .schedules import ScheduledOptimizer

# History's field -> the estimator's attribute. Attributes that scikit-learn does not have exist only if there is something in them
HISTORY = {
    "loss_curve": "loss_curve_",
    "n_samples_seen": "t_",
    "best_loss": "best_loss_",
    "validation_losses": "validation_loss_curve_",
    "validation_scores": "validation_scores_",
    "best_validation_score": "best_validation_score_",
    "best_epoch": "best_iter_",
    "learning_rates": "learning_rate_curve_",
    "no_improvement_count": "_no_improvement_count",
}
OPTIONAL = ("validation_losses", "best_epoch", "learning_rates")


@dataclass
class History:
    """What training remembers from epoch to epoch, and over several calls where they continue each other.

    With early stopping the validation score decides and ``best_loss`` is None. Fields about validation are None if there are no
    validation rows, and the learning rates if the rate is constant.
    """

    loss_curve: list[float] = field(default_factory=list)
    n_samples_seen: int = 0
    best_loss: float | None = math.inf
    validation_losses: list[float] | None = None
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    best_epoch: int | None = None
    learning_rates: list[float] | None = None
    no_improvement_count: int = 0
    n_epochs: int = 0

    def expect(self, validation: bool, learning_rates: bool) -> None:
        """Make the lists for what will be recorded, if there are none yet."""
        if validation and self.validation_losses is None:
            self.validation_losses = []
        if validation and self.validation_scores is None:
            self.validation_scores, self.best_validation_score = [], -math.inf
        if learning_rates and self.learning_rates is None:
            self.learning_rates = []

    def end_epoch(self, loss: float, n_samples: int) -> None:
        self.n_epochs += 1
        self.n_samples_seen += n_samples
        self.loss_curve.append(loss)

    def judge_loss(self, tol: float) -> None:
        """Count the last epoch as one without improvement if its loss is above the best one minus tol."""
        loss = self.loss_curve[-1]
        self.no_improvement_count = self.no_improvement_count + 1 if loss > self.best_loss - tol else 0
        self.best_loss = min(self.best_loss, loss)

    def judge_score(self, tol: float) -> None:
        """Count the last epoch as one without improvement if its validation score is below the best one plus tol."""
        worse = self.validation_scores[-1] < self.best_validation_score + tol
        self.no_improvement_count = self.no_improvement_count + 1 if worse else 0

    def add_validation(self, loss: float, score: float) -> None:
        self.validation_losses.append(loss)
        self.validation_scores.append(score)

    def is_best(self) -> bool:
        """Whether the last epoch has the best validation score so far; if so, record it."""
        score = self.validation_scores[-1]
        if not score > self.best_validation_score:
            return False
        self.best_validation_score, self.best_epoch = score, len(self.validation_scores)
        return True


@dataclass
class StoppingRule:
    """The rule for `loop.run_epochs`, with parameters as in scikit-learn's estimators.

    ``says_more`` is whether ``verbose`` also prints what scikit-learn does not have.
    """

    optimizer: ScheduledOptimizer
    history: History
    n_rows: int
    validation: Validation | None = None
    tol: float = 1e-4
    n_iter_no_change: float = 10
    n_threads: int = 1
    verbose: bool | int = False
    says_more: bool = False

    @property
    def sure_epochs(self) -> float:
        """It takes more than ``n_iter_no_change`` epochs without improvement to stop."""
        return 1 if self.validation is not None else self.n_iter_no_change - self.history.no_improvement_count + 1

    def epoch_ends(self, loss: float, later: list[float]) -> bool:
        """Record an epoch in the history; return whether to stop after it."""
        history = self.history
        if not math.isfinite(loss) and all(map(math.isfinite, history.loss_curve[-1:])):
            warn(
                f"Overflow in training: the loss of epoch {history.n_epochs + 1} is {loss}. X or y may have values that are too "
                "large and need to be scaled, or learning_rate_init is too large.",
                RuntimeWarning,
            )
        history.end_epoch(loss, self.n_rows)
        if self.verbose:
            print(f"Iteration {history.n_epochs}, loss = {loss:.8f}")
        if self.validation is not None:
            self._validate()
        if self.validation is None or not self.validation.decides:
            history.judge_loss(self.tol)
        rate = self.optimizer.iteration_ends(history.n_samples_seen)
        if history.learning_rates is not None:
            history.learning_rates.append(rate)
        if self.verbose and self.optimizer.schedule is not None:
            print(f"Learning rate: {rate:g}")
        if history.no_improvement_count <= self.n_iter_no_change:
            return False
        if self.optimizer.trigger_stopping(self._no_improvement(), self.verbose):
            return True
        history.no_improvement_count = 0
        return False

    def _validate(self):
        validation, history = self.validation, self.history
        loss, score = validation.judge(self.n_threads)
        history.add_validation(loss, score)
        if self.verbose and self.says_more:
            print(f"Validation loss: {loss:.8f}")
        if self.verbose:
            print(f"Validation score: {score:f}")
        if validation.decides:
            history.judge_score(self.tol)
        if history.is_best() and validation.decides:
            validation.keep()

    def _no_improvement(self):
        decides = self.validation is not None and self.validation.decides
        what = "Validation score" if decides else "Training loss"
        return f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change:d} consecutive epochs."

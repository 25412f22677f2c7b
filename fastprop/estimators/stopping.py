"""scikit-learn's stopping rule, and what training remembers from epoch to epoch for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import loop
from ..annotations import Floats
from ..network import Network
from ..warn import warn
from .schedules import ScheduledOptimizer


@dataclass
class History:
    """What training remembers from epoch to epoch, and over several calls where they continue each other.

    Under early stopping the validation score decides and ``best_loss`` is None; otherwise the two about validation are None.
    """

    loss_curve: list[float] = field(default_factory=list)
    n_samples_seen: int = 0
    best_loss: float | None = math.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    n_epochs: int = 0

    def end_epoch(self, loss: float, n_samples: int) -> None:
        self.n_epochs += 1
        self.n_samples_seen += n_samples
        self.loss_curve.append(loss)

    def judge_loss(self, tol: float) -> None:
        """Count the last epoch as one without improvement if its loss is above the best one minus tol."""
        loss = self.loss_curve[-1]
        self.no_improvement_count = self.no_improvement_count + 1 if loss > self.best_loss - tol else 0
        self.best_loss = min(self.best_loss, loss)

    def judge_score(self, score: float, tol: float) -> bool:
        """Count the last epoch as one without improvement if its validation score is below the best one plus tol.

        Returns whether it is the best so far.
        """
        self.validation_scores.append(score)
        self.no_improvement_count = self.no_improvement_count + 1 if score < self.best_validation_score + tol else 0
        if not score > self.best_validation_score:
            return False
        self.best_validation_score = score
        return True


@dataclass
class Validation:
    """Early stopping: the rows to score on, what scores the outputs for them, and the parameters that scored best so far."""

    x: NDArray[Any]
    score: Callable[[Floats], float]
    best_params: Floats


@dataclass
class StoppingRule:
    """The rule for `loop.run_epochs`: parameters as in scikit-learn's estimators."""

    network: Network
    optimizer: ScheduledOptimizer
    history: History
    n_rows: int
    validation: Validation | None = None
    tol: float = 1e-4
    n_iter_no_change: float = 10
    n_threads: int = 1
    verbose: bool | int = False

    @property
    def sure_epochs(self) -> float:
        """It takes more than ``n_iter_no_change`` epochs without improvement to stop."""
        return 1 if self.validation is not None else self.n_iter_no_change - self.history.no_improvement_count + 1

    def epoch_ends(self, loss: float, later: list[float]) -> bool:
        """Enter an epoch into the history; whether to stop after it."""
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
        self._judge()
        self.optimizer.iteration_ends(history.n_samples_seen)
        if history.no_improvement_count <= self.n_iter_no_change:
            return False
        if self.optimizer.trigger_stopping(self._no_improvement(), self.verbose):
            return True
        history.no_improvement_count = 0
        return False

    def _judge(self):
        validation = self.validation
        if validation is None:
            self.history.judge_loss(self.tol)
            return
        outputs = loop.forward(self.network, validation.x, self.n_threads)
        score = float(validation.score(outputs)) if np.isfinite(outputs).all() else math.nan
        if self.verbose:
            print(f"Validation score: {score:f}")
        if self.history.judge_score(score, self.tol):
            validation.best_params[:] = self.network.params

    def _no_improvement(self):
        what = "Training loss" if self.validation is None else "Validation score"
        return f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change:d} consecutive epochs."


def train(rule, data, orders, n_epochs, *, observer=None, **options):
    """Train a rule's network by its optimizer, until it or ``n_epochs`` ends that; how it ended, as in `loop.run_epochs`.

    ``options`` are those of `Network.train_epochs`.
    """
    optimizer, history, n_rows = rule.optimizer, rule.history, rule.n_rows

    def rates(n_epochs, n_steps):
        return optimizer.begin(history.n_samples_seen, n_rows, n_epochs, n_steps)

    runner = loop.NetworkEpochs(rule.network, data, n_rows, optimizer.rule, rates, n_threads=rule.n_threads, **options)
    return loop.run_epochs(runner, orders, rule, n_epochs, observer=observer)

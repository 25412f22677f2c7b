"""The members of an ensemble of networks, and how they are trained side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import interrupts, loop, optim
from ..annotations import Integers
from ..estimators.learning_rates import Schedule
from ..network import Network
from ..precision import Precision
from ..training_calls import TrainingCalls, run_together
from ..training_set import TrainingSet
from . import recipe


@dataclass(frozen=True)
class Training:
    """How each member is trained.

    The learning rate rises over the first fraction ``warmup`` of ``max_iter`` epochs, then falls to 0 like a cosine. Training ends
    after ``patience`` epochs in a row that were not better on the validation rows.
    """

    max_iter: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    dropout: float
    smoothing: float
    ema_decay: float
    beta_2: float
    warmup: float
    precision: Precision
    patience: float


class Orders:
    """The order of some rows in each epoch. The last order is kept for members that share it."""

    def __init__(self, rows: Integers, random_state: np.random.RandomState) -> None:
        self.n_rows, self._next = len(rows), loop.shuffled_orders(rows, random_state)
        self._epoch, self._last = -1, np.empty((1, 0), np.intp)

    def of_epoch(self, number: int) -> NDArray[np.intp]:
        """That of an epoch, counted from 0, shape (1, n_rows): the epoch of the last call, or the next one."""
        if number > self._epoch:
            self._epoch, self._last = number, self._next(1)
        return self._last


class Member:
    """A network in training. Its best parameters so far are the averaged ones after its best epoch.

    Parameters
    ----------
    network : Network
        Trained in place.
    data : TrainingSet
        The rows; members may share them.
    orders : Orders
        The rows to train on; members may share them.
    validation : TrainingSet or None
        The rows on which the best epoch is chosen. Without any, the last epoch is the best.
    score : function of Network, or None
        A score that replaces the validation loss; higher is better.
    training : Training
        How to train.
    random_state : RandomState
        Draws the seeds of dropout.
    """

    def __init__(
        self,
        network: Network,
        data: TrainingSet,
        orders: Orders,
        validation: TrainingSet | None,
        score: Callable[[Network], float] | None,
        training: Training,
        random_state: np.random.RandomState,
    ) -> None:
        self.network, self.losses, self.validation_losses, self.best_epoch = network, [], [], 0
        self._training, self._n_rows, self._validation, self._score = training, orders.n_rows, validation, score
        masks = [(training.dropout, int(random_state.randint(2**31 - 1)), 0) for _ in network.sizes[1:-1]]
        learning = network.sharing(dropout=masks) if training.dropout else network
        self._average, self._best = network.params.copy(), network.params.copy()
        self._judged, self._best_score = network.sharing(params=self._average), -math.inf
        betas = (0.9, training.beta_2)
        optimizer = optim.AdamW(network, lr=training.learning_rate, betas=betas, weight_decay=training.weight_decay)
        self._optimizer, self._n_steps = optimizer, -(-orders.n_rows // training.batch_size)
        options = {"batch_size": training.batch_size, "smoothing": training.smoothing, "exempt": True}
        options |= {"ema_decay": training.ema_decay, "average": self._average, "precision": training.precision}
        self._calls = self._last_calls = TrainingCalls(learning, data, optimizer, **options)
        self._validation_loss, self._lowest = np.empty(1), np.array([math.inf, 0])
        self._calls_keep_the_best = validation is not None and score is None
        if validation is not None:
            best = self._best if self._calls_keep_the_best else None
            self._last_calls = TrainingCalls(learning, data, optimizer, **options)
            self._last_calls.validate(validation, self._validation_loss, 1, self._lowest, best, None)
        self._orders, self._schedule = orders, Schedule("cosine", training.warmup, training.max_iter)
        flops = training.batch_size * loop.flops_per_row(network, data) + loop.FLOPS_PER_UPDATE * network.n_weights
        self._steps_per_call = max(1, int(loop.FLOPS_PER_CALL // flops))

    @property
    def n_epochs(self) -> int:
        """The number of epochs that it was trained for."""
        return len(self.losses)

    @property
    def goes_on(self) -> bool:
        """Whether training should continue: another epoch may be better."""
        return self._validation is None or self.n_epochs - self.best_epoch < self._training.patience

    def parts_of_epoch(self) -> list[tuple[TrainingCalls, tuple[NDArray[Any], ...]]]:
        """The next epoch in parts that are short enough for Ctrl-C: which calls, and the arguments of their ``run``."""
        batch_size, size, order = self._training.batch_size, self._steps_per_call, self._orders.of_epoch(self.n_epochs)
        rates = self._schedule.factors(self.n_epochs, 1, self._n_steps)
        parts = []
        for start in range(0, self._n_steps, size):
            rows = order[:, start * batch_size : (start + size) * batch_size]
            parts.append((self._calls, (rows, np.empty(1), rates[start : start + size])))
        parts[-1] = self._last_calls, parts[-1][1]
        return parts

    def epoch_ends(self, parts: Sequence[tuple[Any, tuple[NDArray[Any], ...]]]) -> None:
        """Record an epoch, if all its parts were run."""
        if self._optimizer.t < (self.n_epochs + 1) * self._n_steps:
            return
        validation_loss = float(self._validation_loss[0])
        if self._validation is None:
            score = float(self.n_epochs)
        else:
            score = -validation_loss if self._score is None else self._score(self._judged)
            self.validation_losses.append(validation_loss)
        self.losses.append(sum(float(loss[0]) * rows.shape[1] for _, (rows, loss, _) in parts) / self._n_rows)
        if score > self._best_score:
            self._best_score, self.best_epoch = score, self.n_epochs
            if not self._calls_keep_the_best:
                self._best[:] = self._average

    def best_network(self) -> Network:
        """A copy of the network with the best parameters so far."""
        network = self.network.astype(self.network.dtype)
        network.params[:] = self._best
        return network

    def finish(self) -> None:
        """Give the network the best parameters."""
        self.network.params[:] = self._best


def orders_of_members(rows: Sequence[Integers], seeds: Integers) -> list[Orders]:
    """The orders of each member's rows; with very many rows all members share one, which takes less memory."""
    if len(rows[0]) > recipe.ROWS_OF_ONE_VIEW:
        return [Orders(rows[0], np.random.RandomState(seeds[0]))] * len(seeds)
    return [Orders(own, np.random.RandomState(seed)) for own, seed in zip(rows, seeds, strict=True)]


def train(
    members: Sequence[Member],
    n_epochs: Sequence[int],
    n_threads: int,
    *,
    epoch_ends: Callable[[], object],
    observer: loop.Observer | None = None,
    time_limit: float | None = None,
) -> Literal["finished", "stopped", "interrupted"]:
    """Train members, each for at most a given number of epochs; an epoch of all of them takes one compiled call or a few.

    Parameters
    ----------
    members : sequence of Member
        No two share a network.
    n_epochs : sequence of int
        Maximum number of epochs for each.
    n_threads : int
        Number of members that train at the same time. The results do not depend on it.
    epoch_ends : function
        Called after each epoch.
    observer : Observer, optional
        Called around each epoch; may stop the training.
    time_limit : float, optional
        Seconds after which no further epoch begins. The first epoch always runs.

    Returns
    -------
    {'finished', 'stopped', 'interrupted'}
        'finished' if every member was trained to its end, 'stopped' by the observer or the time limit, 'interrupted' by Ctrl-C.
        The members are as they were after the last complete epoch.
    """
    end = math.inf if time_limit is None else time.monotonic() + time_limit
    try:
        while running := [member for member, n in zip(members, n_epochs, strict=True) if member.goes_on and member.n_epochs < n]:
            if any(member.n_epochs for member in running) and time.monotonic() >= end:
                return "stopped"
            if observer is not None:
                observer.begin()
            _train_epoch(running, n_threads)
            epoch_ends()
            if observer is not None and observer.end():
                return "stopped"
    except KeyboardInterrupt:
        return "interrupted"
    finally:
        for member in members:
            member.finish()
    return "finished"


def _train_epoch(members, n_threads):
    parts = [member.parts_of_epoch() for member in members]
    try:
        for k in range(max(map(len, parts))):
            interrupts.check()
            now = [own[k] for own in parts if k < len(own)]
            run_together([calls for calls, _ in now], [arguments for _, arguments in now], n_threads)
    finally:
        for member, own in zip(members, parts, strict=True):
            member.epoch_ends(own)

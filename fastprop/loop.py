"""The loop over epochs for the estimators and for `Module.fit`, both compiled and layer by layer.

`run_epochs` is the loop. A runner trains the epochs, a rule decides when to stop, and an observer watches. Without an observer, one
compiled call trains all epochs that are certain to follow; a long epoch is divided into several calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

from . import interrupts
from .annotations import Integers
from .kernels import active, checks
from .training_calls import TrainingCalls
from .training_set import checked_indices

# An epoch is divided into calls of about this many floating-point operations: few enough to react to Ctrl-C quickly, and enough
# that the overhead of a call does not matter. A fixed number, not a measured time, keeps the sums reproducible. See docs/tuning.md,
# the length of a training call.
FLOPS_PER_CALL = 1e9
# Orders are made ahead for at most this many visits to rows, which bounds their memory.
VISITS_PER_CALL = 65536
# The approximate operations of an optimizer's step for each weight, apart from the gradient.
FLOPS_PER_UPDATE = 10


class Runner(Protocol):
    """An object that trains for epochs."""

    epochs_per_call: int
    """The best number of epochs for a call of `run`, at least 1."""

    def run(self, orders: Any, losses: list[float]) -> None:
        """Train for one epoch for each of the orders, and append the losses of finished epochs, even if an exception follows."""


class Rule(Protocol):
    """An object that gets the loss of each epoch and decides whether to stop."""

    sure_epochs: float
    """How many epochs are certain to follow, because nothing that happens in them can change or stop the training."""

    def epoch_ends(self, loss: float, later: list[float]) -> bool:
        """Process the next epoch and return whether to stop after it. ``later`` has the losses of epochs that already followed."""


class Observer(Protocol):
    """An object that is called before and after each epoch, and sees the state at that time."""

    def begin(self) -> None:
        """Act before an epoch."""

    def end(self) -> bool:
        """Act after an epoch; return whether to stop after it."""


def run_epochs(
    runner: Runner,
    orders: Callable[[int], Any],
    rule: Rule,
    n_epochs: int,
    *,
    observer: Observer | None = None,
    advance: Callable[[int, str], object] | None = None,
    time_limit: float | None = None,
) -> Literal["finished", "stopped", "interrupted"]:
    """Train for n_epochs, or until something stops the training.

    Parameters
    ----------
    runner : Runner
        Trains the epochs.
    orders : function of n
        Returns the rows of the next n epochs, as the runner takes them.
    rule : Rule
        Gets the loss of each epoch, and may stop the training.
    n_epochs : int
        The largest number of epochs.
    observer : Observer, optional
        Is called before and after each epoch, and may stop the training, too.
    advance : function of (n, doing), optional
        Moves a progress bar, as made by `progress.progress`; called after each call of the runner.
    time_limit : float, optional
        The number of seconds after which no further epoch begins. The first one always does.

    Returns
    -------
    {'finished', 'stopped', 'interrupted'}
        'finished' after n_epochs without a stop, 'stopped' after a stop or the time limit, 'interrupted' after Ctrl-C. Then,
        too, the rule gets the loss of every finished epoch.
    """
    losses: list[float] = []  # of trained epochs that the rule has not got yet
    n_begun, n_told, stopped, loss = 0, 0, False, 0.0
    end = None if time_limit is None else time.monotonic() + time_limit
    try:
        while n_begun < n_epochs and not stopped:
            if end is not None and n_begun and time.monotonic() >= end:
                return "stopped"
            if observer is not None:
                observer.begin()
            if not losses:
                interrupts.check()
                sure = max(1, int(min(n_epochs - n_begun, rule.sure_epochs, runner.epochs_per_call)))
                runner.run(orders(sure if observer is None and end is None else 1), losses)
            n_begun, loss = n_begun + 1, losses.pop(0)
            stopped = rule.epoch_ends(loss, losses)
            if observer is not None and observer.end():
                stopped = True
            if advance is not None and (stopped or not losses):
                advance(n_begun - n_told, f"loss {loss:.4g}")
                n_told = n_begun
    except KeyboardInterrupt:
        while losses:
            rule.epoch_ends(losses.pop(0), losses)
        return "interrupted"
    return "stopped" if stopped else "finished"


class CompiledEpochs:
    """Base of the runners that train in compiled calls, each short enough for Ctrl-C; a subclass defines ``train``.

    Parameters
    ----------
    optimizer : optim.Optimizer
        The optimizer, which counts the steps.
    n_rows : int
        The number of rows in an epoch.
    batch_size : int
        The number of rows in a step.
    flops_per_step : float
        The approximate number of floating-point operations in a step.
    """

    def __init__(self, optimizer: Any, n_rows: int, batch_size: int, flops_per_step: float) -> None:
        self.optimizer, self.n_samples, self.batch_size = optimizer, n_rows, batch_size
        self.n_steps = -(-n_rows // batch_size)
        flops = max(1.0, flops_per_step)
        self.epochs_per_call = max(1, int(min(FLOPS_PER_CALL // (flops * max(1, self.n_steps)), VISITS_PER_CALL // max(1, n_rows))))
        self._steps_per_call = max(1, int(FLOPS_PER_CALL // flops))  # of a long epoch, for which `run` gets no others

    def train(self, orders: Integers, losses: Any, rates: Any) -> None:
        """Call the training loop once, with the factors of the learning rate in ``rates`` or None."""
        raise NotImplementedError

    def rates(self, n_epochs: int) -> Any:
        """The factors of the learning rate for all steps of the next epochs, or None."""
        return None

    def run(self, orders, losses):
        """Train for one epoch for each of ``orders`` (n_epochs, n_rows), and append the losses to a list.

        After an interrupt, losses are only appended if all epochs were finished.
        """
        n_epochs, t, pieces = len(orders), self.optimizer.t, []
        try:
            self.train_pieces(orders, self.rates(n_epochs), pieces)
        finally:
            if self.optimizer.t == t + n_epochs * self.n_steps:
                losses.extend(mean_losses(pieces))

    def train_pieces(self, orders: Integers, rates: Any, pieces: list[tuple[int, Any]]) -> None:
        """Train on ``orders`` with the factors ``rates`` for all their steps, or None; append (rows, mean losses) of each call."""
        n_steps = -(-orders.shape[1] // self.batch_size)
        size = self._steps_per_call if len(orders) == 1 else n_steps
        for start in range(0, n_steps, size):
            part, means = orders[:, start * self.batch_size : (start + size) * self.batch_size], np.empty(len(orders))
            pieces.append((part.shape[1], means))
            self.train(part, means, rates if rates is None or n_steps <= size else rates[start : start + size])
            interrupts.check()


def mean_losses(pieces):
    """The mean loss of each epoch, from (rows, mean losses) of its pieces."""
    rows, means = zip(*pieces, strict=True)
    return means[0].tolist() if len(means) == 1 else (np.array(rows) / sum(rows) @ np.array(means)).tolist()


class NetworkEpochs(CompiledEpochs):
    """The epochs of a `Network`.

    Parameters
    ----------
    network : Network
        Its parameters are updated in place.
    data : TrainingSet
        From ``network.training_set``.
    n_rows : int
        The number of rows in an epoch.
    optimizer : optim.Optimizer
        Made for the network.
    rates : function of (n_epochs, n_steps), optional
        Returns the factors of the learning rate for the next n_epochs of n_steps each, in one array, or None.
    batch_size : int
        As in ``network.train_epochs``.
    **options
        Arguments of ``network.train_epochs`` that do not change from call to call.
    """

    def __init__(self, network, data, n_rows, optimizer, rates=None, *, batch_size, **options):
        flops = batch_size * flops_per_row(network, data) + FLOPS_PER_UPDATE * network.n_weights
        super().__init__(optimizer, n_rows, batch_size, flops)
        self._calls, self._rates = TrainingCalls(network, data, optimizer, batch_size=batch_size, **options), rates

    def rates(self, n_epochs):
        return None if self._rates is None else self._rates(n_epochs, self.n_steps)

    def train(self, orders, losses, rates):
        self._calls.run(orders, losses, rates)


def flops_per_row(network, data):
    """Floating-point operations for one row, forward and backward; of a sparse row, only stored features count."""
    n_features, n_inputs, n_hidden = data.x.size / data.n_samples, *network.sizes[:2]
    return 6 * (network.n_weights - (n_inputs - n_features) * n_hidden)


def forward(network, x, n_threads):
    """``network.forward`` in calls that are short enough for Ctrl-C."""
    n_rows = max(1, int(FLOPS_PER_CALL // (2 * network.n_weights)))
    if x.shape[0] <= n_rows:
        return network.forward(x, n_threads)
    return np.concatenate([network.forward(x[start : start + n_rows], n_threads) for start in range(0, x.shape[0], n_rows)])


def shuffled_orders(rows: Integers, random_state: np.random.RandomState | None) -> Callable[[int], Integers]:
    """A function that returns the orders of the next n epochs, (n, n_rows).

    Each order is a shuffle of the one before, as in scikit-learn; without a random state all are equal. They are valid rows of the
    data, because the compiled loop does not check them.
    """
    rows = checks.private(np.asarray(rows, np.intp))
    n_rows = int(rows.max(initial=-1)) + 1

    def orders(n):
        nonlocal rows
        made = np.empty((n, len(rows)), np.intp)
        if random_state is None:
            made[:] = rows
            return made
        active.raw.shuffle_orders(rows, random_state, made)
        made = _valid(made, random_state, n_rows)
        rows = made[-1]
        return made

    return orders


def permuted_orders(n_samples: int, generator: Any) -> Callable[[int], Integers]:
    """A function that returns the orders of the next n epochs, (n, n_samples): permutations, or without a generator 0, 1, 2, ..."""

    def orders(n):
        order = np.arange(n_samples)
        made = np.stack([order if generator is None else generator.permutation(order) for _ in range(n)])
        if made.shape != (n, n_samples):
            raise ValueError(f"a permutation of {n_samples} rows must have shape ({n_samples},); got {made.shape[1:]}")
        return _valid(made, generator, n_samples)

    return orders


def _valid(orders, source, n_rows):
    """The orders; if the source is not of NumPy's own classes, and may return or keep anything, a private copy that is checked."""
    if source is None or type(source) in (np.random.RandomState, np.random.Generator):
        return orders
    return checked_indices("the shuffled rows", orders, orders.shape, n_rows)

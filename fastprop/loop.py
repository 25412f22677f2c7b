"""The loop over epochs, written once: for the estimators and for `Module.fit`, for compiled epochs and those layer by layer.

`run_epochs` is the loop. A runner does the epochs, a rule decides when to stop, and an observer watches. One compiled
call trains for all epochs that are sure to come if there is no observer, or for a part of an epoch if that takes long.
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

# An epoch is cut into calls of about this many floating-point operations: few enough to answer Ctrl-C soon, enough that a call's
# own cost does not count. A fixed number, not a measured time, keeps the sums reproducible. docs/tuning.md, the length of a
# training call.
FLOPS_PER_CALL = 1e9
# The orders of at most this many visits to rows are made ahead, which bounds their memory.
VISITS_PER_CALL = 65536
# What an optimizer's step costs for each weight, about, beside the gradient.
FLOPS_PER_UPDATE = 10


class Runner(Protocol):
    """What trains for epochs."""

    epochs_per_call: int
    """How many epochs `run` best gets at a time, at least 1."""

    def run(self, orders: Any, losses: list[float]) -> None:
        """Train for an epoch over the rows in each of the orders, and append the epochs' losses, also before an exception."""


class Rule(Protocol):
    """What is done with the loss of an epoch, and whether to stop."""

    sure_epochs: float
    """How many epochs are sure to come: nothing that happens in them can change or stop the training."""

    def epoch_ends(self, loss: float, later: list[float]) -> bool:
        """Take note of the next epoch; whether to stop after it. The losses of ``later`` epochs are known already."""


class Observer(Protocol):
    """Who is called around each epoch, and sees everything as it is then."""

    def begin(self) -> None:
        """Do what is due before an epoch."""

    def end(self) -> bool:
        """Do what is due after an epoch; whether to stop after it."""


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
    """Train for epochs until there were enough or something stops it.

    Parameters
    ----------
    runner : Runner
        What trains.
    orders : function of n
        The rows of the next n epochs, as the runner takes them.
    rule : Rule
        Is told the loss of each epoch, and may stop the training.
    n_epochs : int
        The most epochs.
    observer : Observer, optional
        May stop the training, too.
    advance : function of (n, doing), optional
        Of a progress bar, as `progress.progress` makes it; called after each call of the runner.
    time_limit : float, optional
        After this many seconds no further epoch begins; the first one does.

    Returns
    -------
    {'finished', 'stopped', 'interrupted'}
        'finished' after n_epochs without a stop, 'interrupted' after Ctrl-C. Then, too, the rule was told every epoch that was
        finished.
    """
    losses: list[float] = []  # of trained epochs that the rule does not know yet
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
    """Base of the runners that train in compiled calls, each short enough for Ctrl-C; a subclass has ``train``.

    Parameters
    ----------
    optimizer : optim.Optimizer
        It counts the steps.
    n_rows : int
        The number of rows in an epoch.
    batch_size : int
        The number of rows in a step.
    flops_per_step : float
        Floating-point operations of a step.
    """

    def __init__(self, optimizer: Any, n_rows: int, batch_size: int, flops_per_step: float) -> None:
        self.optimizer, self.n_samples, self.batch_size = optimizer, n_rows, batch_size
        self.n_steps = -(-n_rows // batch_size)
        flops = max(1.0, flops_per_step)
        self.epochs_per_call = max(1, int(min(FLOPS_PER_CALL // (flops * max(1, self.n_steps)), VISITS_PER_CALL // max(1, n_rows))))
        self._steps_per_call = max(1, int(FLOPS_PER_CALL // flops))  # of a long epoch, which is alone in its run

    def train(self, orders: Integers, losses: Any, rates: Any) -> None:
        """One call of the training loop, with the factors of the learning rate in ``rates`` or None."""
        raise NotImplementedError

    def rates(self, n_epochs: int) -> Any:
        """The factors of the learning rate for all steps of the next epochs, or None."""
        return None

    def run(self, orders, losses):
        """Train for an epoch over each of ``orders`` (n_epochs, n_rows), and append the losses to a list, after an interrupt too if
        all was done."""
        n_epochs, t, pieces = len(orders), self.optimizer.t, []
        try:
            self.train_pieces(orders, self.rates(n_epochs), pieces)
        finally:
            if self.optimizer.t == t + n_epochs * self.n_steps:
                losses.extend(mean_losses(pieces))

    def train_pieces(self, orders: Integers, rates: Any, pieces: list[tuple[int, Any]]) -> None:
        """Train over ``orders`` with the factors ``rates`` of all their steps, or None; append (rows, mean losses) of each call."""
        n_steps = -(-orders.shape[1] // self.batch_size)
        size = self._steps_per_call if len(orders) == 1 else n_steps
        for start in range(0, n_steps, size):
            part, means = orders[:, start * self.batch_size : (start + size) * self.batch_size], np.empty(len(orders))
            pieces.append((part.shape[1], means))
            self.train(part, means, rates if rates is None or n_steps <= size else rates[start : start + size])
            interrupts.check()


def mean_losses(pieces):
    """The mean loss of each epoch, of (rows, mean losses) of its pieces."""
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
        Gives the factors of the learning rate for the next n_epochs of n_steps each, in one array, or None.
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
    """Floating-point operations for one row, forward and backward; only the stored features of a sparse row count."""
    n_features, n_inputs, n_hidden = data.x.size / data.n_samples, *network.sizes[:2]
    return 6 * (network.n_weights - (n_inputs - n_features) * n_hidden)


def forward(network, x, n_threads):
    """``network.forward`` in calls that are short enough for Ctrl-C."""
    n_rows = max(1, int(FLOPS_PER_CALL // (2 * network.n_weights)))
    if x.shape[0] <= n_rows:
        return network.forward(x, n_threads)
    return np.concatenate([network.forward(x[start : start + n_rows], n_threads) for start in range(0, x.shape[0], n_rows)])


def shuffled_orders(rows: Integers, random_state: np.random.RandomState | None) -> Callable[[int], Integers]:
    """The orders of the next n epochs, (n, n_rows): each shuffles the one before, as in scikit-learn, or is the same without a
    random state. The compiled loop does not check them, so all are rows of the data."""
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
    """The orders of the next epochs, (n, n_samples): for each a permutation, without a generator the rows' own order."""

    def orders(n):
        order = np.arange(n_samples)
        made = np.stack([order if generator is None else generator.permutation(order) for _ in range(n)])
        if made.shape != (n, n_samples):
            raise ValueError(f"a permutation of {n_samples} rows must have shape ({n_samples},); got {made.shape[1:]}")
        return _valid(made, generator, n_samples)

    return orders


def _valid(orders, source, n_rows):
    """The orders; of a source that is not NumPy's own class, which may give and keep anything, a private copy that is checked."""
    if source is None or type(source) in (np.random.RandomState, np.random.Generator):
        return orders
    return checked_indices("the shuffled rows", orders, orders.shape, n_rows)

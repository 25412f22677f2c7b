"""Training a `Network` by mini-batches: the optimizers' states, and the loop over epochs with its stopping rule.

Written once for every estimator and independent of scikit-learn; what is computed, and in which order the random stream is used,
is scikit-learn's, so that one seed gives one result. One compiled call trains for as many epochs as are sure to come when nobody
watches, or for a part of one where an epoch takes long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .annotations import Floats, Integers
from .kernels import active, layer_views
from .kernels.codes import N_STATE_SLOTS
from .network import Network, TrainingSet
from .warn import warn

# An epoch is cut into calls of about this many floating-point operations, so that Ctrl-C is answered within a quarter of a second
# at 4 GFLOP/s; at that size a call's own cost does not count. A fixed number, not a measured time, keeps the sums reproducible.
FLOPS_PER_CALL = 1e9
# The orders of so many visits to rows are made ahead: half a megabyte of indices.
VISITS_PER_CALL = 65536
# What an optimizer's step costs for each weight, about, beside the gradient.
FLOPS_PER_UPDATE = 10
# Below this learning rate the adaptive schedule stops instead of dividing further (scikit-learn's number).
SMALLEST_ADAPTIVE_RATE = 1e-6


class _Optimizer:
    """The memory of an optimizer: ``state`` (n_slots, n_parameters), and ``t``, the number of updates done."""

    name: Any = None
    # Whether the end of an epoch may change what the next one does, other than by the stopping rule.
    changes_every_epoch = False
    # Whether it computes ``learning_rate`` anew from ``learning_rate_init``, so that nobody else can set it.
    changes_the_rate = False

    def __init__(self, network: Network, learning_rate_init: float) -> None:
        self.learning_rate_init = float(learning_rate_init)
        self.learning_rate = self.learning_rate_init
        self.t = 0
        self.layers = network.layers
        self.state = np.zeros((N_STATE_SLOTS[self.name], len(network.params)), network.dtype)

    def __setattr__(self, name, value):
        if name == "learning_rate" and name in vars(self) and self.changes_the_rate:
            raise AttributeError(f"learning_rate of {self!r} follows from learning_rate_init: set that")
        super().__setattr__(name, value)

    def __repr__(self):
        hidden = ("layers", "state")
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items() if k not in hidden)})"

    def attach(self, network: Network) -> None:
        """Go on with a network whose parameters were replaced; its dtype may differ, its shapes may not."""
        if not np.array_equal(self.layers[:, :2], network.layers[:, :2]):
            raise ValueError(
                f"the optimizer was made for layers of shapes {self.layers[:, :2].tolist()}; "
                f"the network now has {network.layers[:, :2].tolist()}"
            )
        # A memory map, as joblib may load it, is read-only.
        self.state = np.require(self.state, network.dtype, ["C", "A", "W", "E"])

    def as_dict(self) -> dict[str, Any]:
        """Everything it remembers, as Python and NumPy objects, uncopied; `optimizer_from_dict` is the way back."""
        return {"name": self.name, **vars(self)}

    def advance(self, n_updates: int) -> None:
        """Count updates that were done."""
        self.t += n_updates

    def iteration_ends(self, n_samples_seen: int) -> None:
        """Adapt the learning rate after an epoch."""

    def trigger_stopping(self, message: str, verbose: bool | int) -> bool:
        """Answer to no improvement: True to stop, False to go on with another learning rate."""
        if verbose:
            print(message + " Stopping.")
        return True

    def _views(self, slot):
        """One slot as scikit-learn lists it: the array of every weight, then of every bias."""
        weights, biases = zip(*layer_views(self.layers, self.state[slot]), strict=True)
        return [*weights, *biases]


class SGD(_Optimizer):
    """Gradient descent with momentum and a schedule for the learning rate, as in scikit-learn's estimators.

    ``learning_rate`` is what the next update uses. Between calls of `train`, ``learning_rate_init`` can be set, which scales it,
    and so can ``learning_rate`` itself, unless the schedule is 'invscaling'.

    Parameters
    ----------
    network : Network
        Whose parameters it will change.
    learning_rate_init : float, default=0.1
        The learning rate at first.
    lr_schedule : {'constant', 'invscaling', 'adaptive'}, default='constant'
        'invscaling' divides ``learning_rate_init`` by ``(samples seen + 1) ** power_t``; 'adaptive' divides the rate by 5 where
        training would stop otherwise.
    momentum : float, default=0.9
        In [0, 1].
    nesterov : bool, default=True
        Whether to use Nesterov's momentum.
    power_t : float, default=0.5
        Exponent of the schedule 'invscaling'.
    """

    name = "sgd"

    def __setattr__(self, name, value):
        if name == "learning_rate_init" and name in vars(self):
            vars(self)["learning_rate"] = value * (self.learning_rate / self.learning_rate_init)
        super().__setattr__(name, value)

    def __init__(
        self,
        network: Network,
        learning_rate_init: float = 0.1,
        lr_schedule: Literal["constant", "invscaling", "adaptive"] = "constant",
        momentum: float = 0.9,
        nesterov: bool = True,
        power_t: float = 0.5,
    ) -> None:
        super().__init__(network, learning_rate_init)
        self.lr_schedule, self.momentum, self.nesterov, self.power_t = lr_schedule, momentum, nesterov, power_t

    @property
    def changes_every_epoch(self) -> bool:
        return self.lr_schedule == "invscaling"

    changes_the_rate = changes_every_epoch

    @property
    def hyper(self) -> NDArray[np.float64]:
        """What the kernels read: learning rate, momentum, nesterov."""
        return np.array([self.learning_rate, self.momentum, self.nesterov], dtype=np.float64)

    @property
    def velocities(self) -> list[Floats]:
        """The velocity of every weight array, then of every bias."""
        return self._views(0)

    def iteration_ends(self, n_samples_seen: int) -> None:
        if self.lr_schedule == "invscaling":
            vars(self)["learning_rate"] = self.learning_rate_init / (n_samples_seen + 1) ** self.power_t

    def trigger_stopping(self, message: str, verbose: bool | int) -> bool:
        if self.lr_schedule != "adaptive":
            return super().trigger_stopping(message, verbose)
        if self.learning_rate <= SMALLEST_ADAPTIVE_RATE:
            return super().trigger_stopping(message + " Learning rate too small.", verbose)
        self.learning_rate /= 5.0
        if verbose:
            print(message + f" Setting learning rate to {self.learning_rate:f}")
        return False


class Adam(_Optimizer):
    """Adam (Kingma and Ba, 2015), with epsilon outside the bias correction.

    Between calls of `train`, ``learning_rate_init`` can be set. ``learning_rate`` is what the last update used, with the bias
    corrections: scikit-learn has it as an attribute. It cannot be set.

    Parameters
    ----------
    network : Network
        Whose parameters it will change.
    learning_rate_init : float, default=0.001
        The learning rate.
    beta_1 : float, default=0.9
        Decay rate of the mean of the gradients, in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the mean of their squares, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the divisor above 0.
    """

    name = "adam"
    changes_the_rate = True

    def __init__(
        self,
        network: Network,
        learning_rate_init: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(network, learning_rate_init)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    @property
    def hyper(self) -> NDArray[np.float64]:
        """What the kernels read: learning rate, beta_1, beta_2, epsilon."""
        return np.array([self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon], dtype=np.float64)

    @property
    def ms(self) -> list[Floats]:
        """The mean gradient of every weight array, then of every bias."""
        return self._views(0)

    @property
    def vs(self) -> list[Floats]:
        """The mean squared gradient of every weight array, then of every bias."""
        return self._views(1)

    def advance(self, n_updates: int) -> None:
        super().advance(n_updates)
        vars(self)["learning_rate"] = self.learning_rate_init * math.sqrt(1 - self.beta_2**self.t) / (1 - self.beta_1**self.t)


def optimizer_from_dict(fields):
    """The optimizer that `as_dict` described; it uses the arrays of the description."""
    fields = dict(fields)
    optimizer = object.__new__({"adam": Adam, "sgd": SGD}[fields.pop("name")])
    vars(optimizer).update(fields)
    return optimizer


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
        """The same for a validation score, where more is better; whether it is the best so far."""
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


@dataclass(frozen=True)
class Options:
    """How to train: parameters as in scikit-learn's estimators; ``n_epochs`` is the most that one call of `train` does."""

    n_epochs: int
    batch_size: int
    alpha: float = 0.0001
    clip: float = 0.0
    shuffle: bool = True
    tol: float = 1e-4
    n_iter_no_change: float = 10
    n_threads: int = 1
    verbose: bool | int = False


def train(
    network: Network,
    data: TrainingSet,
    rows: Integers,
    optimizer: SGD | Adam,
    history: History,
    random_state: np.random.RandomState,
    options: Options,
    validation: Validation | None = None,
    observer: Any = None,
) -> bool:
    """Train for epochs until the stopping rule or ``options.n_epochs`` ends it.

    Everything that it changes is in network, optimizer, history and validation, which are valid after an interrupt too: Ctrl-C
    ends the training with a warning.

    Parameters
    ----------
    network : Network
        Its parameters are updated in place.
    data : TrainingSet
        From ``network.training_set``.
    rows : ndarray of int, shape (n_rows,)
        The rows to train on.
    optimizer : SGD or Adam
        Made for the network.
    history : History
        Of earlier calls that this one continues, or a new one.
    random_state : RandomState
        For the orders of the rows.
    options : Options
        How to train.
    validation : Validation, optional
        For early stopping; the best parameters are put back at the end.
    observer : object, optional
        Its ``begin()`` and ``end()`` are called around each epoch; where ``end()`` returns True, training stops.

    Returns
    -------
    bool
        False if ``options.n_epochs`` epochs were not enough.
    """
    stopped, losses = False, []  # of epochs that were trained and are not in the history yet
    try:
        while not stopped and history.n_epochs < options.n_epochs:
            if observer is not None:
                observer.begin()
            if not losses:
                watched = validation is not None or observer is not None
                n_epochs = 1 if watched else _sure_epochs(network, data, rows, optimizer, history, options)
                orders = _shuffled(rows, random_state, options, n_epochs)
                rows = orders[-1]
                run_epochs(network, data, orders, optimizer, options, losses)
            stopped = _end_epoch(network, losses.pop(0), len(rows), optimizer, history, options, validation)
            if observer is not None and observer.end():
                stopped = True
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
        for loss in losses:
            _end_epoch(network, loss, len(rows), optimizer, history, options, validation)
        stopped = True
    if validation is not None:
        network.params[:] = validation.best_params
    return stopped


def _sure_epochs(network, data, rows, optimizer, history, options):
    """How many epochs can be trained in one call, because nothing that happens in them can change or stop the training.

    The stopping rule needs more than ``n_iter_no_change`` epochs without improvement, so it cannot strike before the last of these.
    """
    if optimizer.changes_every_epoch:
        return 1
    n = min(options.n_epochs - history.n_epochs, options.n_iter_no_change - history.no_improvement_count + 1)
    return max(1, int(min(n, epochs_per_call(network, data, len(rows), options))))


def epochs_per_call(network, data, n_rows, options):
    """How many epochs over n_rows, at least 1, fit into one call that is short enough for Ctrl-C."""
    flops = _flops_per_step(network, data, options) * -(-n_rows // options.batch_size)
    return max(1, int(min(FLOPS_PER_CALL // flops, VISITS_PER_CALL // n_rows)))


def _shuffled(rows, random_state, options, n_epochs):
    """The orders of the next epochs, (n_epochs, n_rows). The permutations compose, as in scikit-learn."""
    rows = np.ascontiguousarray(rows, np.intp)  # as the raw kernel reads them
    orders = np.empty((n_epochs, len(rows)), np.intp)
    if options.shuffle:
        active.raw.shuffle_orders(rows, random_state, orders)
    else:
        orders[:] = rows
    return orders


def run_epochs(network, data, orders, optimizer, options, losses):
    """Train for an epoch over each of ``orders`` (n_epochs, n_rows), in compiled calls that are short enough for Ctrl-C, and append
    the epochs' losses to a list, after an interrupt too if all was done."""
    fixed = {"batch_size": options.batch_size, "alpha": options.alpha, "clip": options.clip, "n_threads": options.n_threads}
    (n_epochs, n), t = orders.shape, optimizer.t
    length = max(1, int(FLOPS_PER_CALL // _flops_per_step(network, data, options))) * options.batch_size
    parts = [orders[:, start : start + length] for start in range(0, n, length)]  # several only where n_epochs is 1
    means = np.empty((len(parts), n_epochs))
    try:
        for part, mean in zip(parts, means, strict=True):
            network.train_epochs(data, part, optimizer, mean, **fixed)
    finally:
        if optimizer.t == t + n_epochs * -(-n // options.batch_size):
            losses.extend((np.array([part.shape[1] / n for part in parts]) @ means).tolist())


def _end_epoch(network, loss, n_rows, optimizer, history, options, validation):
    """Enter an epoch into the history; whether to stop after it."""
    if not math.isfinite(loss) and all(map(math.isfinite, history.loss_curve[-1:])):
        warn(
            f"Overflow in training: the loss of epoch {history.n_epochs + 1} is {loss}. X or y may have values that are too large "
            "and need to be scaled, or learning_rate_init is too large.",
            RuntimeWarning,
        )
    history.end_epoch(loss, n_rows)
    if options.verbose:
        print(f"Iteration {history.n_epochs}, loss = {loss:.8f}")
    _judge(network, history, options, validation)
    optimizer.iteration_ends(history.n_samples_seen)
    if history.no_improvement_count <= options.n_iter_no_change:
        return False
    if optimizer.trigger_stopping(_no_improvement(options, validation), options.verbose):
        return True
    history.no_improvement_count = 0
    return False


def _judge(network, history, options, validation):
    if validation is None:
        history.judge_loss(options.tol)
        return
    outputs = _forward(network, validation.x, options.n_threads)
    score = float(validation.score(outputs)) if np.isfinite(outputs).all() else math.nan
    if options.verbose:
        print(f"Validation score: {score:f}")
    if history.judge_score(score, options.tol):
        validation.best_params[:] = network.params


def _forward(network, x, n_threads):
    n_rows = max(1, int(FLOPS_PER_CALL // (2 * network.n_weights)))
    if x.shape[0] <= n_rows:
        return network.forward(x, n_threads)
    return np.concatenate([network.forward(x[start : start + n_rows], n_threads) for start in range(0, x.shape[0], n_rows)])


def _no_improvement(options, validation):
    what = "Training loss" if validation is None else "Validation score"
    return f"{what} did not improve more than tol={options.tol:f} for {options.n_iter_no_change:d} consecutive epochs."


def _flops_per_step(network, data, options):
    return options.batch_size * flops_per_row(network, data) + FLOPS_PER_UPDATE * network.n_weights


def flops_per_row(network, data):
    """Floating-point operations for one row's way forward and backward; of a sparse row only the stored features count."""
    n_features, n_inputs, n_hidden = data.x.size / data.n_samples, *network.sizes[:2]
    return 6 * (network.n_weights - (n_inputs - n_features) * n_hidden)

"""The loop of `Module.fit`: epochs, compiled or layer by layer, with history, validation, callback and progress bar."""

import math
import numbers
import operator
import warnings
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import threadpool  # noqa: F401 - so that threadpoolctl knows of fastprop before the first fit
from ..loop import permuted_orders, run_epochs
from ..progress import progress as progress_bar
from ..threads import n_threads_of_steps
from .clipping import clip_grad_norm
from .errors import LayerError, described
from .evaluation import Metrics, dense_rows, evaluate, in_mode, inputs_of, of_validation_data, rows_of
from .init import generator
from .losses import has_targets
from .lowering import CompiledEpochs, NotPlain, sizes_of_batches
from .observation import undisturbed
from .watched import WatchedEpochs, first_infinite


class Problem(NamedTuple):
    """What is trained, on which data, and in which steps."""

    model: Any
    loss: Any
    optimizer: Any
    X: Any
    y: Any
    batch_size: int
    clip_norm: float
    validation_data: Any
    precision: Any = None


class LayeredEpochs:
    """Epochs layer by layer: for any model, loss and optimizer."""

    epochs_per_call = 1

    def __init__(self, problem):
        self.model, self._loss, self.optimizer = problem.model, problem.loss, problem.optimizer
        self._batch_size, self.clip_norm = problem.batch_size, problem.clip_norm
        self._X, self._y = self._checked(problem.X, problem.y, for_training=True)
        self._validation_data, self.validation_losses = problem.validation_data, []
        if self._validation_data is not None:
            with of_validation_data():
                self._validation_data = self._checked(*self._validation_data)

    def use_threads(self, n_threads):
        """Set how many threads `run` uses."""
        self._loss.n_threads = self.optimizer.n_threads = n_threads
        self.model.set_n_threads(n_threads)

    def _checked(self, X, y, for_training=False):
        """(X, y) as arrays, after a check of shapes and targets: a forward of the first row gives the outputs' shape and dtype."""
        dtypes = {parameter.dtype for parameter in self.model.parameters()}
        X, y = rows_of(X, dtypes.pop() if len(dtypes) == 1 else None), np.asarray(y)
        if y.ndim == 0 or len(y) != X.shape[0]:
            raise ValueError(f"X and y must have the same number of rows; got shapes {X.shape} and {y.shape}")
        if len(y):
            is_batch = for_training and 1 in sizes_of_batches(len(y), self._batch_size)
            with first_row_mode(self.model, is_batch):
                outputs = self.model.forward(*inputs_of(dense_rows(X, slice(0, 1))))
            if has_targets(self._loss) and not isinstance(outputs, tuple):
                self._loss.targets(y, (len(y), *outputs.shape[1:]), outputs.dtype)
            else:
                self._loss(outputs, y[:1])
        return X, y

    @property
    def n_samples(self):
        return self._X.shape[0]

    def batches(self, order):
        """The batches (rows, x, y) of an epoch that takes the rows in a given order."""
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            yield rows, dense_rows(self._X, rows), self._y[rows]

    def step(self, x, y):
        """Run forward, loss, backward and update for a batch; return the loss."""
        value = self._loss(self.model.forward(*inputs_of(x)), y)
        self.model.backward(self._loss.backward(), **({"need_dx": False} if self.model.takes_need_dx else {}))
        if self.clip_norm:
            clip_grad_norm(self.optimizer.parameters, self.clip_norm)
        self.optimizer.step()
        return value

    def run(self, orders, losses):
        """Train for one epoch for each order of the rows; append the mean losses to a list."""
        for order in orders:
            loss_sum = sum(len(y) * self.step(x, y) for _, x, y in self.batches(order))
            if self._validation_data is not None:
                self.validation_losses.append(evaluate(self.model, self._loss, *self._validation_data))
            losses.append(loss_sum / len(order))

    def record(self, flow, order):
        """Let a `GradientFlow` record the gradients of the first batch of an epoch."""
        _, x, y = next(self.batches(order))
        with undisturbed(self.model, self._loss):
            self._loss(self.model.forward(*inputs_of(x)), y)
            flow.backward(self._loss.backward())


class Rule:
    """What `Module.fit` does after each epoch: history, metrics, callback, and a stop if parameters are not finite."""

    def __init__(self, problem, epochs, validation_losses, metrics, callback):
        self._problem, self._epochs, self._validation_losses = problem, epochs, validation_losses
        self._metrics, self._callback = metrics, callback
        prefixes = [""] if problem.validation_data is None else ["", "val_"]
        self.history = {prefix + name: [] for prefix in prefixes for name in ["loss", *metrics.names]}
        self.sure_epochs = math.inf if callback is None and not metrics else 1
        self._has_warned = False

    def epoch_ends(self, loss, later):
        """Record an epoch; returns whether to stop, because the callback says so or parameters are not finite."""
        model, history, answer = self._problem.model, self.history, None
        divergence = None if later else self._epochs.divergence
        history["loss"].append(loss)
        if "val_loss" in history:
            history["val_loss"].append(self._validation_losses.pop(0))
        if self._metrics:
            self._metrics.record(history, None if divergence else model, self._problem)
        if self._callback is not None:
            with in_mode(model, False):
                answer = self._callback(len(history["loss"]) - 1, history)
        # Only True stops training: another object may just be the value of the callback's last expression.
        return self._has_diverged(loss, divergence) or (isinstance(answer, (bool, np.bool_)) and bool(answer))

    def _has_diverged(self, loss, divergence):
        """Whether to stop because a parameter is not finite, which no step can repair. Then the last finite ones are restored."""
        problem, epoch = self._problem, len(self.history["loss"]) - 1
        if divergence is not None and first_infinite(problem.model, problem.optimizer) is not None:
            divergence.before.restore()
            end = f"the end of epoch {epoch - 1}, with loss {self.history['loss'][-2]:.4g}" if epoch else "before this fit"
            self._warn(
                f"training stops in epoch {epoch}, counted from 0, with loss {loss:.4g}: {divergence.where}. The model has the "
                f"parameters from {end}. {divergence.advice}"
            )
            return True
        if not math.isfinite(loss) and not self._has_warned:
            self._has_warned = True
            self._warn(f"the loss of epoch {epoch}, counted from 0, is {loss}: training goes on, because the parameters are finite")
        return False

    def _warn(self, text):
        warnings.warn(text, RuntimeWarning, stacklevel=7)


def fit(
    problem,
    *,
    epochs,
    shuffle,
    random_state,
    metrics,
    flow,
    callback,
    progress,
    compiled,
    n_jobs,
):
    """`Module.fit`."""
    model, epochs, problem = problem.model, operator.index(epochs), _checked(problem, epochs)
    metrics = Metrics(metrics, problem.loss)
    if flow is not None and getattr(flow, "model", None) is not model:
        raise ValueError(f"flow must be a GradientFlow of this model; got {described(flow)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of (epoch, history); got {described(callback)}")
    try:
        runner = make_runner(problem, compiled)
    except LayerError as error:
        raise error.located_in(model) from None
    if not runner.n_samples:
        raise ValueError("X and y must have at least one row")
    n_weights = sum(parameter.size for parameter in model.parameters() if len(parameter.shape) > 1)
    runner.use_threads(n_threads_of_steps(n_jobs, min(problem.batch_size, runner.n_samples), n_weights))
    watched = WatchedEpochs(runner, partial(LayeredEpochs, problem._replace(validation_data=None)), flow)
    rule = Rule(problem, watched, runner.validation_losses, metrics, callback)
    orders = permuted_orders(runner.n_samples, generator(random_state) if shuffle else None)
    bar = progress_bar(epochs, "epochs") if progress else nullcontext()
    with in_mode(model, True), told(callback, model), bar as advance:
        ending = run_epochs(watched, orders, rule, epochs, advance=advance)
    if ending == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=3)
    return rule.history


@contextmanager
def told(callback, model):
    """Call the callback's hooks ``on_fit_begin`` and ``on_fit_end``, if it has them, before and after a block of code."""
    begin, end = (getattr(callback, name, lambda model: None) for name in ("on_fit_begin", "on_fit_end"))
    begin(model)
    try:
        yield
    finally:
        end(model)


def _checked(problem, epochs):
    """The problem, after the checks of its arguments that need no forward."""
    from .arguments import check_data, check_fit  # here, because it imports `Module`, whose base class needs this module

    batch_size, clip_norm, validation_data = operator.index(problem.batch_size), problem.clip_norm, problem.validation_data
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs must be at least 0 and batch_size at least 1; got {epochs} and {batch_size}")
    if clip_norm is not None and not (isinstance(clip_norm, numbers.Real) and clip_norm > 0):
        raise ValueError(f"clip_norm must be above 0, or None; got {clip_norm!r}")
    check_fit(*problem[:5])
    own, changed = ({id(parameter) for parameter in each} for each in (problem.model.parameters(), problem.optimizer.parameters))
    if not own & changed:
        raise ValueError("optimizer has none of the model's parameters; make it from model.parameters()")
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise TypeError(f"validation_data must be a pair (X, y); got {described(validation_data)}")
        with of_validation_data():
            check_data(problem.model, *validation_data)
        if not len(validation_data[1]):
            raise ValueError("validation_data must have at least one row")
    return problem._replace(batch_size=batch_size, clip_norm=clip_norm or 0.0)


@contextmanager
def first_row_mode(model, is_batch):
    """Evaluation mode; but if a batch has one row, batch norms are in training mode, to reject it, and keep their statistics."""
    norms = [module for module in model.modules() if is_batch and module.least_rows > 1]
    with in_mode(model, False):
        for norm in norms:
            norm.training = norm.recomputing = True
        try:
            yield
        finally:
            for norm in norms:
                norm.recomputing = False


def make_runner(problem, compiled):
    """What runs the epochs: compiled, unless ``compiled`` is False or, with None, the model cannot be compiled."""
    if compiled is False:
        return LayeredEpochs(problem)
    try:
        return CompiledEpochs(problem)
    except NotPlain as reason:
        if compiled:
            raise NotPlain(f"whole epochs of this model cannot be compiled: {reason}") from None
        return LayeredEpochs(problem)

"""The loop of `Module.fit`: epochs, compiled or layer by layer, with history, validation, callback and progress bar."""

import math
import operator
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np

from .. import threadpool  # noqa: F401 - so that threadpoolctl knows of fastprop before the first fit
from ..loop import permuted_orders, run_epochs
from ..optim import Optimizer
from ..progress import progress as progress_bar
from ..threads import n_threads_of_steps
from ..training_set import one_matrix, sparse_rows
from .errors import LayerError
from .init import generator
from .lowering import CompiledEpochs, NotPlain, sizes_of_batches

EVALUATION_ROWS = 1024  # rows at a time, which bounds the memory of an evaluation


class LayeredEpochs:
    """Epochs layer by layer: for any model, loss and optimizer."""

    def __init__(self, model, loss, optimizer, X, y, batch_size):
        dtypes = {parameter.dtype for parameter in model.parameters()}
        self._X, self._y = rows_of(X, dtypes.pop() if len(dtypes) == 1 else None), np.asarray(y)
        if self._y.ndim == 0 or len(self._y) != self.n_samples:
            raise ValueError(f"X and y must have the same number of rows; got shapes {self._X.shape} and {self._y.shape}")
        self._model, self._loss, self._optimizer, self._batch_size = model, loss, optimizer, batch_size
        self._check()

    def use_threads(self, n_threads):
        """How many threads `run` uses."""
        self._loss.n_threads = self._optimizer.n_threads = n_threads
        self._model.set_n_threads(n_threads)

    def _check(self):
        """Find wrong shapes and targets before the first update: the first row shows the shape and dtype of the outputs."""
        if self.n_samples:
            with first_row_mode(self._model, 1 in sizes_of_batches(self.n_samples, self._batch_size)):
                outputs = self._model.forward(dense_rows(self._X, slice(0, 1)))
            self._loss.targets(self._y, (self.n_samples, *outputs.shape[1:]), outputs.dtype)

    @property
    def n_samples(self):
        return self._X.shape[0]

    epochs_per_call = 1

    def run(self, orders, losses):
        """Train for an epoch over the rows in each of the orders; appends the mean losses to a list."""
        options = {"need_dx": False} if self._model.takes_need_dx else {}
        for order in orders:
            loss_sum = 0.0
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                loss_sum += len(rows) * self._loss(self._model.forward(dense_rows(self._X, rows)), self._y[rows])
                self._model.backward(self._loss.backward(), **options)
                self._optimizer.step()
            losses.append(loss_sum / len(order))


class Rule:
    """The rule of `Module.fit` for the loop: history, validation and callback, and the end where the parameters are NaN."""

    def __init__(self, model, loss, validation_data, callback):
        self._model, self._loss, self._validation_data, self._callback = model, loss, validation_data, callback
        self.history = {"loss": []} if validation_data is None else {"loss": [], "val_loss": []}
        self.sure_epochs = math.inf if validation_data is None and callback is None else 1
        self._has_warned = False

    def epoch_ends(self, loss, later):
        """Record an epoch; returns whether to stop, because the callback says so or the loss stays NaN."""
        self.history["loss"].append(loss)
        if self._validation_data is not None:
            self.history["val_loss"].append(evaluate(self._model, self._loss, *self._validation_data))
        if self._callback is not None:
            with in_mode(self._model, False):
                answer = self._callback(len(self.history["loss"]) - 1, self.history)
            # Any other object may be what the callback's last expression happens to be.
            if isinstance(answer, (bool, np.bool_)) and answer:
                return True
        return not math.isfinite(loss) and self._has_diverged([loss, *later])

    def _has_diverged(self, losses):
        """Whether to stop at the first of these losses, as it is NaN and a parameter is not finite: nothing brings that back.

        The others are of epochs that ran in the same call. A warning, once, says how training goes on.
        """
        last_finite = max((i for i, value in enumerate(losses) if math.isfinite(value)), default=-1)
        last = next((i for i in range(last_finite + 1, len(losses)) if math.isnan(losses[i])), None)
        named = self._model.named_parameters()
        name = next((name for name, parameter in named if not np.isfinite(parameter.data).all()), None)
        stops = last is not None and name is not None
        if not self._has_warned:
            self._has_warned, epoch = True, len(self.history["loss"]) - 1
            what = f"stops after epoch {epoch + last}, as {name} is not finite" if stops else "goes on as long as it is not NaN"
            warnings.warn(
                f"the loss of epoch {epoch}, counted from 0, is {losses[0]}: training {what}. The learning rate may be too "
                "large, or X or y have values that are too large or not finite",
                RuntimeWarning,
                stacklevel=6,
            )
        return stops and last == 0


def fit(
    model,
    X,
    y,
    loss,
    optimizer,
    *,
    epochs,
    batch_size,
    validation_data,
    shuffle,
    random_state,
    callback,
    progress,
    compiled,
    n_jobs,
):
    """`Module.fit`."""
    epochs, batch_size = operator.index(epochs), operator.index(batch_size)
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs must be at least 0 and batch_size at least 1; got {epochs} and {batch_size}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be one of fastprop.nn, such as nn.Adam(model.parameters()); got {optimizer!r}")
    if not {id(parameter) for parameter in model.parameters()} & {id(parameter) for parameter in optimizer.parameters}:
        raise ValueError("optimizer has none of the model's parameters; make it from model.parameters()")
    try:
        runner = make_runner(model, loss, optimizer, X, y, batch_size, compiled)
    except LayerError as error:
        raise error.located_in(model) from None
    if not runner.n_samples:
        raise ValueError("X and y must have at least one row")
    n_weights = sum(parameter.size for parameter in model.parameters() if len(parameter.shape) > 1)
    runner.use_threads(n_threads_of_steps(n_jobs, min(batch_size, runner.n_samples), n_weights))
    rule = Rule(model, loss, validation_data, callback)
    orders = permuted_orders(runner.n_samples, generator(random_state) if shuffle else None)
    bar = progress_bar(epochs, "epochs") if progress else nullcontext()
    with in_mode(model, True), bar as advance:
        ending = run_epochs(runner, orders, rule, epochs, advance=advance)
    if ending == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=3)
    return rule.history


def make_runner(model, loss, optimizer, X, y, batch_size, compiled):
    """What runs the epochs: compiled where that is possible, or must be, or must not."""
    arguments = model, loss, optimizer, X, y, batch_size
    if compiled is False:
        return LayeredEpochs(*arguments)
    try:
        return CompiledEpochs(*arguments)
    except NotPlain as reason:
        if compiled:
            raise NotPlain(f"whole epochs of this model cannot be compiled: {reason}") from None
        return LayeredEpochs(*arguments)


def evaluate(model, loss, X, y):
    """The mean loss in evaluation mode."""
    X, y, loss_sum = rows_of(X, None), np.asarray(y), 0.0
    with in_mode(model, False):
        for start in range(0, len(y), EVALUATION_ROWS):
            rows = slice(start, start + EVALUATION_ROWS)
            loss_sum += len(y[rows]) * loss(model.forward(dense_rows(X, rows)), y[rows])
    return loss_sum / len(y)


@contextmanager
def in_mode(model, training):
    """Training or evaluation mode for a block of code; afterwards every module has the mode that it had before."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def first_row_mode(model, is_batch):
    """Evaluation mode; but where one row is a batch, batch norms are as in training, to refuse it, and keep their statistics."""
    norms = [module for module in model.modules() if is_batch and module.least_rows > 1]
    with in_mode(model, False):
        for norm in norms:
            norm.training = norm.recomputing = True
        try:
            yield
        finally:
            for norm in norms:
                norm.recomputing = False


def rows_of(X, dtype):
    """X as a matrix whose rows can be taken, in a dtype where one is given."""
    if not hasattr(X, "tocsr"):
        return np.asarray(X, dtype)
    like = np.empty(0, dtype or (np.float32 if X.dtype == np.float32 else np.float64))
    return one_matrix(*sparse_rows("X", X, X.shape[-1], like)[1], X.shape[-1])


def dense_rows(X, rows):
    return X[rows].toarray() if hasattr(X, "tocsr") else X[rows]

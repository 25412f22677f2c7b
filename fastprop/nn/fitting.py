"""The loop of `Sequential.fit`: epochs, compiled or layer by layer, with history, validation, callback and progress bar."""

import math
import operator
import warnings
from contextlib import contextmanager, nullcontext
from itertools import islice

import numpy as np

from .. import threadpool  # noqa: F401 - so that threadpoolctl knows of fastprop before the first fit
from ..network import one_matrix, sparse_rows
from ..progress import progress as progress_bar
from .errors import LayerError
from .init import generator
from .lowering import CompiledEpochs, NotPlain

EVALUATION_ROWS = 1024  # so many at once, which bounds the memory of an evaluation


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
        """Find wrong shapes and targets before the first update: the first row says what the outputs are like."""
        if self.n_samples:
            with in_mode(self._model, False):
                outputs = self._model.forward(dense_rows(self._X, slice(0, 1)))
            self._loss.targets(self._y, (self.n_samples, *outputs.shape[1:]), outputs.dtype)

    @property
    def n_samples(self):
        return self._X.shape[0]

    epochs_per_call = 1

    def run(self, orders, losses):
        for order in orders:
            loss_sum = 0.0
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                loss_sum += len(rows) * self._loss(self._model.forward(dense_rows(self._X, rows)), self._y[rows])
                self._model.backward(self._loss.backward(), need_dx=False)
                self._optimizer.step()
            losses.append(loss_sum / len(order))

    def load(self):
        """The numbers are where the user sees them all the time."""

    store = load


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
    """`Sequential.fit`."""
    from ..threads import n_threads_of_steps  # here, because it imports joblib, which takes longer than all the rest

    epochs, batch_size = operator.index(epochs), operator.index(batch_size)
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs must be at least 0 and batch_size at least 1; got {epochs} and {batch_size}")
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
    history = {"loss": []} if validation_data is None else {"loss": [], "val_loss": []}
    orders = epoch_orders(runner.n_samples, epochs, generator(random_state) if shuffle else None)
    bar = progress_bar(epochs, "epochs") if progress else nullcontext(lambda n, doing: None)
    try:
        with in_mode(model, True), bar as advance:
            run_epochs(model, loss, runner, orders, history, validation_data, callback, advance)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=3)
    finally:
        runner.store()
    return history


def epoch_orders(n_samples, epochs, random_state):
    """The order of the rows for each epoch; without a random state always their own."""
    order = np.arange(n_samples)
    for _ in range(epochs):
        yield order if random_state is None else random_state.permutation(order)


def run_epochs(model, loss, runner, orders, history, validation_data, callback, advance):
    """An epoch for each of the orders, written down in the history, until the callback says stop or the loss is NaN.

    Several epochs run in one call where nobody looks in between.
    """
    watched = validation_data is not None or callback is not None
    at_a_time = 1 if watched else runner.epochs_per_call
    runner.load()
    while next_orders := list(islice(orders, at_a_time)):
        if watched and history["loss"]:
            runner.load()
        n_done = len(history["loss"])
        runner.run(next_orders, history["loss"])
        is_finite = all(map(math.isfinite, history["loss"][n_done:]))
        if watched or not is_finite:
            runner.store()
        if validation_data is not None:
            history["val_loss"].append(evaluate(model, loss, *validation_data))
        advance(len(next_orders), f"loss {history['loss'][-1]:.4g}")
        if callback is not None:
            with in_mode(model, False):
                answer = callback(len(history["loss"]) - 1, history)
            # Any other object may be what the callback's last expression happens to be.
            if isinstance(answer, (bool, np.bool_)) and answer:
                return
        if not is_finite:
            if has_diverged(model, history["loss"], n_done):
                return
            if not watched:
                runner.load()


def has_diverged(model, losses, n_done):
    """Whether to stop, as the loss is NaN and a parameter not finite; a warning if of all losses the first are not finite.

    Nothing brings such a parameter back, unless the callback did. Losses of further epochs, run in the same call, are removed.
    """
    new = range(n_done, len(losses))
    last_finite = max((i for i in new if math.isfinite(losses[i])), default=n_done - 1)
    last = next((i for i in new if i > last_finite and math.isnan(losses[i])), None)
    name = next((name for name, parameter in model.named_parameters() if not np.isfinite(parameter.data).all()), None)
    stops = last is not None and name is not None
    if all(map(math.isfinite, losses[:n_done])):
        epoch = next(i for i in new if not math.isfinite(losses[i]))
        what = f"stops after epoch {last}, as {name} is not finite" if stops else "goes on as long as it is not NaN"
        warnings.warn(
            f"the loss of epoch {epoch}, counted from 0, is {losses[epoch]}: training {what}. The learning rate may be too "
            "large, or X or y have values that are too large or not finite",
            RuntimeWarning,
            stacklevel=5,
        )
    if stops:
        del losses[last + 1 :]
    return stops


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


def rows_of(X, dtype):
    """X as a matrix whose rows can be taken, in a dtype where one is given."""
    if not hasattr(X, "tocsr"):
        return np.asarray(X, dtype)
    like = np.empty(0, dtype or (np.float32 if X.dtype == np.float32 else np.float64))
    return one_matrix(*sparse_rows("X", X, X.shape[-1], like)[1], X.shape[-1])


def dense_rows(X, rows):
    return X[rows].toarray() if hasattr(X, "tocsr") else X[rows]

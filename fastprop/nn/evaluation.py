"""A model in evaluation mode: its outputs for any number of rows, its loss, and the metrics of `Module.fit`."""

import math
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np

from ..training_set import is_sparse, one_matrix, sparse_rows
from .errors import LayerError, NotPlain, ShapeError, described

METRICS = "metrics must be 'accuracy' or a dict of functions of (outputs, y) by name"
EVALUATION_ROWS = 1024  # rows at a time, which bounds the memory of an evaluation


@contextmanager
def in_mode(model, training):
    """Set training or evaluation mode for a block of code; afterwards every module has its previous mode again."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def predict(model, inputs, batch_size=EVALUATION_ROWS):
    """`Module.predict`."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    inputs = [rows_of(X, None) for X in (inputs[0] if len(inputs) == 1 and isinstance(inputs[0], tuple) else inputs)]
    with in_mode(model, False):
        if any(X.ndim < 2 for X in inputs):
            return _each(np.array, model(*inputs))
        if len({X.shape[0] for X in inputs}) != 1:
            raise ValueError(f"all inputs must have the same number of rows; got shapes {[X.shape for X in inputs]}")
        n = inputs[0].shape[0]
        parts = []
        for start in range(0, max(1, n), batch_size):
            parts.append(model(*(dense_rows(X, slice(start, start + batch_size)) for X in inputs)))
            _each(partial(_check_rows, model, min(batch_size, n - start)), parts[-1])
    return tuple(map(np.concatenate, zip(*parts, strict=True))) if isinstance(parts[0], tuple) else np.concatenate(parts)


def _each(function, outputs):
    """Apply a function to an output, or to each output of a tuple."""
    return tuple(map(function, outputs)) if isinstance(outputs, tuple) else function(outputs)


def _check_rows(model, n, output):
    if np.shape(output)[:1] != (n,):
        message = f"each output must have one row for each row of X; got shape {np.shape(output)} for {n} rows"
        raise ShapeError(model, message)


def evaluate(model, loss, X, y):
    """The mean loss in evaluation mode."""
    X, y, loss_sum = rows_of(X, None), np.asarray(y), 0.0
    with in_mode(model, False):
        for start in range(0, len(y), EVALUATION_ROWS):
            rows = slice(start, start + EVALUATION_ROWS)
            loss_sum += len(y[rows]) * loss(model.forward(*inputs_of(dense_rows(X, rows))), y[rows])
    return loss_sum / len(y)


@contextmanager
def of_validation_data():
    """Add to the messages of errors in a block of code that they are about the validation data of a fit."""
    try:
        yield
    except NotPlain:
        raise
    except LayerError as error:
        raise type(error)(error.layer, f"validation_data: {error.message}", error.name) from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None


def inputs_of(X):
    """The arguments of a forward: the elements of a tuple, or X alone."""
    return X if isinstance(X, tuple) else (X,)


class Inputs(tuple):
    """The arrays for a model that takes several inputs, all with the same number of rows."""

    @property
    def shape(self):
        """The shape of the first array."""
        return self[0].shape

    @property
    def ndim(self):
        """The smallest number of dimensions of any of the arrays."""
        return min(each.ndim for each in self)


def rows_of(X, dtype):
    """X as an array or matrix with rows that can be indexed, in the dtype if one is given; `Inputs` for a tuple of several."""
    if isinstance(X, tuple):
        if len(X) < 2:
            if not X:
                raise ValueError("X must have an array for each input; got an empty tuple")
            return rows_of(*X, dtype)
        inputs = Inputs(rows_of(each, dtype) for each in X)
        if len({each.shape[:1] for each in inputs}) != 1 or not inputs[0].shape:
            raise ValueError(f"all inputs in X must have the same number of rows; got shapes {[each.shape for each in inputs]}")
        return inputs
    if not is_sparse(X):
        return as_array("X", X, dtype)
    like = np.empty(0, dtype or (np.float32 if X.dtype == np.float32 else np.float64))
    return one_matrix(*sparse_rows("X", X, X.shape[-1], like)[1], X.shape[-1])


def as_array(name, values, dtype=None):
    """X or y as an array."""
    try:
        return np.asarray(values, dtype)
    except ValueError as error:  # for example for a list of matrices with different numbers of columns
        several = ", or a tuple with an array for each input" if name == "X" else ""
        raise ValueError(f"{name} must be an array{several}; got {described(values)} ({error})") from None


def dense_rows(X, rows):
    """Some rows of X as dense arrays, which is what modules take."""
    if isinstance(X, tuple):
        return tuple(dense_rows(each, rows) for each in X)
    return X[rows].toarray() if is_sparse(X) else X[rows]


class Metrics:
    """The metrics of a fit by name: functions of (outputs, y), for the training data and for validation data."""

    def __init__(self, metrics, loss):
        if isinstance(metrics, str):
            metrics = [metrics]
        if callable(metrics):
            raise TypeError(f"{METRICS}; got {metrics!r}")
        if not isinstance(metrics, Mapping):
            metrics = {name: name for name in metrics or ()}
        self._functions = {name: _metric(name, function, loss) for name, function in metrics.items()}

    def __bool__(self):
        return bool(self._functions)

    @property
    def names(self):
        """Their names."""
        return list(self._functions)

    def record(self, history, model, problem):
        """Append their values for the data of a fit to its history; NaN if there is no model."""
        for prefix, data in (("", (problem.X, problem.y)), ("val_", problem.validation_data)):
            if data is None:
                continue
            outputs, y = None if model is None else predict(model, data[:1]), np.asarray(data[1])
            for name, function in self._functions.items():
                value = math.nan if model is None else function(outputs, y)
                try:
                    history[prefix + name].append(float(value))
                except (TypeError, ValueError):
                    raise TypeError(f"the metric '{name}' must return a number; got {value!r}") from None


def _metric(name, function, loss):
    if not isinstance(name, str):
        raise TypeError(f"{METRICS}; got {name!r}")
    if name == "loss" or name.startswith("val_"):
        raise ValueError(f"the name of a metric must not be 'loss' or begin with 'val_'; got {name!r}")
    if function == "accuracy":
        return _accuracy(loss)
    if not callable(function):
        raise TypeError(f"{METRICS}; got {function!r}")
    return function


def _accuracy(loss):
    """The metric 'accuracy', the proportion of correct classes, for the outputs that a loss takes."""
    kernel = getattr(loss, "kernel", None)  # a loss of the user's own may be any object
    link = None if kernel is None else kernel.link
    if link == "softmax":
        return lambda logits, y: np.mean(logits.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1)))
    if link == "sigmoid":
        return lambda logits, y: np.mean((logits > 0) == (y.reshape(logits.shape) > 0.5))
    raise ValueError(f"the metric 'accuracy' is for SoftmaxCrossEntropy and BinaryCrossEntropy; the loss is {loss!r}")

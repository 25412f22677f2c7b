"""Watching the layers of a `fastprop.nn` model at work, and repeating a forward exactly."""

from contextlib import contextmanager

import numpy as np

from .. import kernels
from ..nn.module import Module
from ..nn.observation import Call, observed, undisturbed

__all__ = ["Call", "another_batch", "observed", "pre_activation", "repeating", "undisturbed", "value_and_derivative"]


@contextmanager
def repeating(*parts):
    """Training mode in which every forward of models and losses draws the same random numbers and leaves running statistics alone.

    Afterwards everything is as before, see `undisturbed`.

    It yields a function to call after a backward, because a `Checkpoint` ends the repetition of its block there.
    """

    models = [part for part in parts if isinstance(part, Module)]

    def repeat():
        for model in models:
            for module in model.modules():
                module.recomputing = True

    with undisturbed(*parts):
        for model in models:
            model.train()
        repeat()
        yield repeat


def another_batch(*arrays):
    """Other values of the same shapes for inputs and targets: the rows in another order, or half of the values.

    They are values of the same kind, so that a forward that accepts one batch accepts the other.
    """
    if any(np.ndim(x) and not np.array_equal(x, np.roll(x, 1, axis=0)) for x in arrays):
        return [np.roll(x, 1, axis=0) if np.ndim(x) else x for x in arrays]
    return [np.asarray(x) / 2 if np.asarray(x).dtype.kind == "f" else x for x in arrays]


def value_and_derivative(layer, z):
    """(f(z), f'(z)) of a layer that works element by element."""
    with undisturbed(layer):
        a = layer.train().forward(z)
        return a, layer.backward(np.ones_like(a))


def pre_activation(layer, x):
    """``x @ weight + bias`` of a Linear layer for rows or one row, which its kernel does not store."""
    bias = np.zeros(layer.n_out, layer.dtype) if layer.bias is None else layer.bias.data
    rows = np.ascontiguousarray(np.atleast_2d(x), layer.dtype)
    return kernels.linear_forward(rows, layer.weight.data, bias).reshape(*np.shape(x)[:-1], layer.n_out)

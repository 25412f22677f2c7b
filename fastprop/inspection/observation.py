"""Watching the layers of a `fastprop.nn` model at work, and repeating a forward exactly."""

from contextlib import contextmanager

import numpy as np

from .. import kernels
from ..nn.observation import Call, observed, undisturbed

__all__ = ["Call", "observed", "pre_activation", "repeating", "undisturbed", "value_and_derivative"]


@contextmanager
def repeating(model, loss):
    """Training mode in which every forward draws the same random numbers and leaves running statistics alone; see `undisturbed`.

    Gives a function to call after a backward: a `Checkpoint` ends the repetition of its block there.
    """

    def repeat():
        for module in model.modules():
            module.recomputing = True

    with undisturbed(model, loss):
        model.train()
        repeat()
        yield repeat


def value_and_derivative(layer, z):
    """(f(z), f'(z)) of a layer that works element by element."""
    with undisturbed(layer):
        a = layer.train().forward(z)
        return a, layer.backward(np.ones_like(a))


def pre_activation(layer, x):
    """``x @ weight + bias`` of a Linear layer, which its kernel does not write."""
    bias = np.zeros(layer.n_out, layer.dtype) if layer.bias is None else layer.bias.data
    return kernels.linear_forward(np.ascontiguousarray(x, layer.dtype), layer.weight.data, bias)

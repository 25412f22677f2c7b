"""Watching the layers of a `fastprop.nn` model at work, and repeating a forward exactly."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np


class Call(NamedTuple):
    """One forward or backward of one module: its name in the model, and the arrays that went in and came out."""

    name: str
    module: object
    inputs: tuple
    output: object


@contextmanager
def observed(model, method):
    """Collect a `Call` for every call of ``forward``, or of ``backward``, inside the model, in the order in which they end.

    Containers call the methods of what they hold through the instance, so a method set on the instance sees all of it.
    """
    calls, watched = [], []

    def watch(name, module):
        call = getattr(module, method)

        def wrapper(*args, **options):
            output = call(*args, **options)
            calls.append(Call(name, module, tuple(a for a in args if isinstance(a, np.ndarray)), output))
            return output

        setattr(module, method, wrapper)
        watched.append(module)

    try:
        for name, module in model.named_modules():
            watch(name, module)
        yield calls
    finally:
        for module in watched:
            delattr(module, method)


@contextmanager
def mode(model, training):
    """Training or evaluation mode for a while; every module has its own mode again afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


@contextmanager
def repeating(model):
    """Training mode in which every forward draws the same random numbers and leaves running statistics alone.

    Gives a function to call after a backward: a `Checkpoint` ends the repetition of its block there.
    """

    def repeat(on=True):
        for module in model.modules():
            module.recomputing = on

    with mode(model, True):
        repeat()
        try:
            yield repeat
        finally:
            repeat(False)


def value_and_derivative(layer, z):
    """(f(z), f'(z)) of a layer that works element by element; what it kept for a backward of its own is lost."""
    with mode(layer, True):
        a = layer.forward(z)
        derivative = layer.backward(np.ones_like(a))
    layer.forget()
    return a, derivative

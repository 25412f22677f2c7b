"""Record the calls of the modules of a model, and restore a model afterwards."""

from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np


class Call(NamedTuple):
    """One forward or backward of one module: the module's name in the model, the arrays that went in, and the output."""

    name: str
    module: object
    inputs: tuple
    output: object


@contextmanager
def observed(model, method):
    """Collect a `Call` for every call of ``forward``, or of ``backward``, inside the model, in the order in which they end.

    Containers call the methods of their modules through the instance, so a method set on an instance sees all calls.
    """
    calls, watched = [], []

    def watch(name, module):
        call = getattr(module, method)

        def wrapper(*args, **options):
            output = call(*args, **options)
            calls.append(Call(name, module, tuple(a for a in args if isinstance(a, (np.ndarray, np.floating))), output))
            return output

        watched.append((module, vars(module).get(method)))
        setattr(module, method, wrapper)

    try:
        for name, module in model.named_modules():
            watch(name, module)
        yield calls
    finally:
        for module, before in watched:
            delattr(module, method)
            if before is not None:  # a method of the instance, such as that of an outer observation
                setattr(module, method, before)


@contextmanager
def undisturbed(*parts):
    """Restore a model and a loss after the block of code, except parameters and gradients.

    This restores modes, counters, random number generators, running statistics, and what was saved for a backward.
    """
    objects = [inner for part in parts for inner in (part.modules() if hasattr(part, "modules") else [part])]
    before = [(inner, dict(vars(inner)), list(_contents(inner))) for inner in objects]
    try:
        yield
    finally:
        for inner, attributes, contents in before:
            vars(inner).clear()
            vars(inner).update(attributes)
            for put_back in contents:
                put_back()


def _contents(part):
    """Functions that restore the contents of what may change in place: running statistics, generators, lists and dicts."""
    for name in getattr(part, "buffers", ()):
        array = getattr(part, name)
        yield partial(np.copyto, array, array.copy())
    for value in vars(part).values():
        if isinstance(value, np.random.Generator):
            yield partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            yield partial(value.set_state, value.get_state())
        elif isinstance(value, list):
            yield partial(value.__setitem__, slice(None), value.copy())
        elif isinstance(value, dict):
            yield partial(_refill, value, value.copy())


def _refill(dictionary, contents):
    dictionary.clear()
    dictionary.update(contents)

"""Limit the size of the arrays of a model that is made from a file, so that a damaged file cannot allocate unlimited memory."""

import math
from contextlib import contextmanager
from contextvars import ContextVar

_room = ContextVar("room", default=None)


class Room:
    """How many more elements the parameters and buffers of a model may have in total.

    Parameters
    ----------
    size : int
    """

    def __init__(self, size):
        self.size = size


@contextmanager
def allocating_in(room):
    """Within a block of code, make `sized` subtract from a `Room`; with None, nothing is counted."""
    token = _room.set(room)
    try:
        yield
    finally:
        _room.reset(token)


def sized(*shape):
    """Return the shape of an array for a parameter or buffer if there is room for it; call this before allocating it."""
    room = _room.get()
    if room is not None:
        room.size -= math.prod(shape)
        if room.size < 0:
            raise ValueError(f"there are fewer numbers than the layers need; one of them has an array of shape {shape}")
    return shape

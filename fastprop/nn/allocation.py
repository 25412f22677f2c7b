"""A limit on the arrays of a model while it is made from a file, so that a damaged file does not allocate without bound."""

import math
from contextlib import contextmanager
from contextvars import ContextVar

_room = ContextVar("room", default=None)


class Room:
    """How many more numbers the parameters and buffers of a model can have.

    Parameters
    ----------
    size : int
    """

    def __init__(self, size):
        self.size = size


@contextmanager
def allocating_in(room):
    """Let `sized` count down a `Room` in a block of code; None: do not count."""
    token = _room.set(room)
    try:
        yield
    finally:
        _room.reset(token)


def sized(*shape):
    """The shape of an array for a parameter or buffer, if there is room for it: ask before it is allocated."""
    room = _room.get()
    if room is not None:
        room.size -= math.prod(shape)
        if room.size < 0:
            raise ValueError(f"there are fewer numbers than the layers need, one of which has an array of shape {shape}")
    return shape

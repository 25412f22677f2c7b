"""Arrays that are adjacent in one allocation, as one flat array, so that one kernel call processes all of them."""

import numpy as np


def flat_run(arrays):
    """One flat view of several arrays, each of which `follows` the one before."""
    first, last = arrays[0], arrays[-1]
    if first is last:
        return first.reshape(-1)
    root = _root(first)
    start = _address(first) - _address(root)
    stop = _address(last) + last.nbytes - _address(root)
    return root.reshape(-1).view(np.uint8)[start:stop].view(first.dtype)


def follows(array, before):
    """Whether a C-contiguous array begins where another one ends, both of one dtype and parts of one allocation."""
    root = _root(array)
    return (
        array.dtype == before.dtype
        and root is _root(before)
        and _address(array) == _address(before) + before.nbytes
        and root.flags.carray
    )


def _root(array):
    """The array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array):
    return array.__array_interface__["data"][0]

"""Dropout with a mask that is computed, not stored, from the bits of ``random_bits``: the kernel, and the rows of a layer table."""

import numpy as np

from .. import random_bits
from .jit import jit, public, readonly

# As uint64: with a signed number Numba would compute in float64.
GAMMA, MIX_1, MIX_2 = np.uint64(random_bits.GAMMA), np.uint64(random_bits.MIX_1), np.uint64(random_bits.MIX_2)
SHIFT_1, SHIFT_2, SHIFT_3, UPPER_HALF = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
ONE = np.uint64(1)


@jit
def bits(key, counter):
    """Output number ``counter`` of the generator that starts at ``key``, all uint64."""
    z = key + (counter + ONE) * GAMMA
    z = (z ^ (z >> SHIFT_1)) * MIX_1
    z = (z ^ (z >> SHIFT_2)) * MIX_2
    return z ^ (z >> SHIFT_3)


@jit
def drop(values, key, first, threshold, scale, results):
    """results = scale values where kept, 0 elsewhere, for flat arrays of elements that are numbered from ``first`` on."""
    key, threshold = np.uint64(key), np.uint64(threshold)
    factor, zero = values.dtype.type(scale), values.dtype.type(0)
    for c in range(len(values)):
        kept = bits(key, np.uint64(first + c)) >> UPPER_HALF >= threshold
        results[c] = values[c] * factor if kept else zero


@public
def dropout(x, key, threshold, scale, y, n_threads):
    """y = scale x where element number c = i n_units + j is kept, 0 elsewhere; x, y (n, n_units), y may be x; one thread."""
    x = readonly(x)
    drop(x.reshape(x.size), key, 0, threshold, scale, y.reshape(y.size))


@jit
def drop_rows(layers, i, step, first_row, x):
    """Dropout of x (n, n_units), the rows from ``first_row`` on of the batch of update number ``step``; in number 0, none."""
    rate = layers[i].rate
    if step > 0 and rate > 0:
        threshold = min((np.int64(np.rint(rate * 2.0**53)) + 2**20) >> 21, 2**32 - 1)  # in units of 2^-32 instead of 2^-53
        key = bits(np.uint64(layers[i].seed), np.uint64(layers[i].stream + step))
        values = x.reshape(x.size)
        drop(values, key, first_row * x.shape[1], threshold, 1 / (1 - rate), values)


@jit
def unscale_rows(layers, i, step, x):
    """Undo the scaling of `drop_rows`."""
    rate = layers[i].rate
    if step > 0 and rate > 0:
        values, keep_rate = x.reshape(x.size), x.dtype.type(1 - rate)
        for c in range(len(values)):
            values[c] *= keep_rate

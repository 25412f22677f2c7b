"""Dropout with a mask that is computed, not stored, from the bits of ``random_bits``. ``n_threads`` is ignored."""

import numpy as np

from .. import random_bits
from .jit import jit, readonly

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


@jit
def dropout(x, key, threshold, scale, y, n_threads):
    """y = scale x where element number c = i n_units + j is kept, 0 elsewhere; x, y (n, n_units), y may be x."""
    x = readonly(x)
    drop(x.reshape(x.size), key, 0, threshold, scale, y.reshape(y.size))

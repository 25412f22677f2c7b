"""Dropout with a mask that is computed, not stored, from the bits of ``random_bits``. ``n_threads`` is ignored."""

import numpy as np

from .. import random_bits
from .jit import jit, readonly

# As uint64: with a signed number Numba would compute in float64.
GAMMA, MIX_1, MIX_2 = np.uint64(random_bits.GAMMA), np.uint64(random_bits.MIX_1), np.uint64(random_bits.MIX_2)
SHIFT_1, SHIFT_2, SHIFT_3, UPPER_HALF = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
ONE = np.uint64(1)


@jit
def upper_bits(key, counter):
    """Bits 32 to 63 of output number ``counter`` of the generator that starts at ``key``, both uint64."""
    z = key + (counter + ONE) * GAMMA
    z = (z ^ (z >> SHIFT_1)) * MIX_1
    z = (z ^ (z >> SHIFT_2)) * MIX_2
    return (z ^ (z >> SHIFT_3)) >> UPPER_HALF


@jit
def dropout(x, key, threshold, scale, y, n_threads):
    """y = scale x where element number c = i n_units + j is kept, 0 elsewhere; x, y (n, n_units), y may be x."""
    x = readonly(x)
    key, threshold = np.uint64(key), np.uint64(threshold)
    values, results = x.reshape(x.size), y.reshape(y.size)
    factor, zero = x.dtype.type(scale), x.dtype.type(0)
    for c in range(len(values)):
        results[c] = values[c] * factor if upper_bits(key, np.uint64(c)) >= threshold else zero

"""Random bits by position: every output of SplitMix64 can be computed alone, so that no mask is stored and any thread may compute
any part of it.

Output number `counter` of the generator that starts at `key` is ``mix(key + (counter + 1) * GAMMA)`` modulo 2^64 (Steele, Lea,
Flood, *Fast splittable pseudorandom number generators*, 2014; the constants of ``mix`` are variant 13 of D. Stafford, *Better bit
mixing*, 2011). Here one such generator, started at the user's seed, gives the keys of the streams. For each key, another such
generator gives the bits of the elements; the upper 32 of the 64 are used.

``cython_backend/dropout.h`` has the same formulas in C; the tests compare the bits.
"""

import numpy as np

GAMMA = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, made odd
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MASK_64 = 2**64 - 1


def random_bits(key, counter):
    """The 64 bits number ``counter``, an int or an array of uint64, of the generator that starts at the int ``key``."""
    z = (counter * GAMMA + (key + GAMMA & MASK_64)) & MASK_64
    z = (z ^ (z >> 30)) * MIX_1 & MASK_64
    z = (z ^ (z >> 27)) * MIX_2 & MASK_64
    return z ^ (z >> 31)


def stream_key(seed, stream):
    """The key of a stream. As uint64, because Numba would compile twice, for ints below and above 2^63."""
    return np.uint64(random_bits(seed, stream))


def rate_number(rate):
    """A rate in [0, 1) as a whole number of 2^-53, which leaves 1 - rate in float64 as it is."""
    return round(rate * 2**53)


def drop_threshold(rate):
    """The number t in [0, 2^32) such that a share ``rate`` of all 32-bit numbers is below t."""
    return min(rate_number(rate) + 2**20 >> 21, 2**32 - 1)

"""Dropout with masks by position."""

import numpy as np

from ..random_bits import random_bits


def dropout(x, key, threshold, scale, y, n_threads):
    """y = scale x where element number c = i n_units + j is kept: where bits 32 to 63 of random_bits(key, c) reach threshold."""
    bits = random_bits(int(key), np.arange(x.size, dtype=np.uint64).reshape(x.shape))
    y[...] = np.where(bits >> 32 >= threshold, x, 0) * scale

"""bfloat16 for NumPy, which lacks this type: the upper half of a float32, as bits in uint16."""

import numpy as np

BITS = np.dtype(np.uint16)
# How many numbers are rounded at a time, so that temporary arrays stay in the cache.
BLOCK = 1 << 16


def is_bfloat16(array):
    """Whether an array holds bfloat16 numbers: as uint16, or in the dtype of the package ml_dtypes."""
    char = array.dtype.char
    return char == BITS.char or (char not in "fd" and array.dtype.name == "bfloat16")  # getting a name is slow


def rounded_bits(x):
    """The bits of float32 numbers, in C order, rounded to nearest even; NaN stays NaN."""
    x = np.ascontiguousarray(x, np.float32)
    bits, flat = np.empty(x.shape, BITS), x.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        wide = block.view(np.uint32)
        rounded = wide + (0x7FFF + (wide >> 16 & 1))
        nan = np.isnan(block)
        if nan.any():
            rounded[nan] = wide[nan] | 0x400000
        bits.reshape(-1)[start : start + BLOCK] = rounded >> 16
    return bits


def widened(bits):
    """The numbers with these bits as float32, which is exact."""
    return (np.ascontiguousarray(bits).view(BITS).astype(np.uint32) << 16).view(np.float32)


def rounded(x):
    """float32 numbers rounded to bfloat16 precision, as float32."""
    return widened(rounded_bits(x))

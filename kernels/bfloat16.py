"""bfloat16 in NumPy, which does not have it: the upper half of a float32, as bits in uint16."""

import numpy as np

BITS = np.dtype(np.uint16)
# Numbers that are rounded at a time: what is made in between stays in a near cache.
BLOCK = 1 << 16


def is_bfloat16(array):
    """Whether an array has numbers of bfloat16: as uint16, or in the dtype of the package ml_dtypes."""
    char = array.dtype.char
    return char == BITS.char or (char not in "fd" and array.dtype.name == "bfloat16")  # names take long


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
    """The numbers with these bits, exactly, as float32."""
    return (np.ascontiguousarray(bits).view(BITS).astype(np.uint32) << 16).view(np.float32)


def rounded(x):
    """Numbers of float32 rounded to those that bfloat16 has."""
    return widened(rounded_bits(x))

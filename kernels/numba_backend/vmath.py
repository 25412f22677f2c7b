"""exp, sigmoid, tanh and log1p of a number in plain arithmetic, without calls or branches, so that LLVM vectorises loops over them.

exp(x) = 2^n exp(r) with n = round(x / log 2) and |r| <= log(2)/2 (Cody and Waite 1980); exp(r) - 1 by its Taylor series up to
the power whose remainder is below a tenth of a unit in the last place: r^14/14! < 1e-17, in float32 r^8/8! < 6e-9.
"""

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

# Fused multiply-adds are allowed here, and no other liberty: NaN goes through.
_OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}}
_inlined = register_jitable(**_OPTIONS)


def _reduced(x):
    """(q, n) with exp(x) = 2^n (1 + q), for x clamped to where exp is neither 0 nor inf."""


def _power_of_two(n, like):
    """2^n in the type of ``like``, for an n in the range of its exponents."""


def _reduced_float64(x):
    x = -750.0 if x < -750.0 else x
    x = 710.0 if x > 710.0 else x
    # Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits: AVX2 has no vector conversion to int64.
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10  # log 2 in two parts, from fdlibm
    q = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0
    q = q * r + 1.0 / 39916800.0
    q = q * r + 1.0 / 3628800.0
    q = q * r + 1.0 / 362880.0
    q = q * r + 1.0 / 40320.0
    q = q * r + 1.0 / 5040.0
    q = q * r + 1.0 / 720.0
    q = q * r + 1.0 / 120.0
    q = q * r + 1.0 / 24.0
    q = q * r + 1.0 / 6.0
    q = q * r + 0.5
    return q * r * r + r, np.float64(shifted).view(np.int64) - np.int64(0x4338000000000000)


def _reduced_float32(x):
    x = np.float32(-110) if x < np.float32(-110) else x
    x = np.float32(90) if x > np.float32(90) else x
    shifted = x * np.float32(1.4426950408889634) + np.float32(12582912)  # 1.5 * 2^23
    n = shifted - np.float32(12582912)
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)  # log 2 in two parts, from Cephes
    q = r * np.float32(1 / 5040) + np.float32(1 / 720)
    q = q * r + np.float32(1 / 120)
    q = q * r + np.float32(1 / 24)
    q = q * r + np.float32(1 / 6)
    q = q * r + np.float32(1 / 2)
    return q * r * r + r, np.float32(shifted).view(np.int32) - np.int32(0x4B400000)


@overload(_reduced, jit_options=_OPTIONS)
def _choose_reduced(x):
    return _reduced_float32 if x == types.float32 else _reduced_float64


@overload(_power_of_two, jit_options=_OPTIONS)
def _choose_power_of_two(n, like):
    if like == types.float32:
        return lambda n, like: np.int32((n + 127) << 23).view(np.float32)
    return lambda n, like: np.int64((n + 1023) << 52).view(np.float64)


@_inlined
def exp(x):
    """e^x, with the subnormal results, 0 and inf at the ends."""
    q, n = _reduced(x)
    half = n >> 1  # 2^n in two factors, since n goes beyond the exponents of one
    return (q + type(x)(1)) * _power_of_two(half, x) * _power_of_two(n - half, x)


@_inlined
def sigmoid(z):
    """1 / (1 + e^-z) as e / (1 + e) for z < 0, so that e = e^-|z| does not overflow and small results keep their digits."""
    one = type(z)(1)
    e = exp(-abs(z))
    return (one if z >= 0 else e) / (one + e)


@_inlined
def tanh(z):
    """-m / (2 + m) with m = expm1(-2 |z|), which is accurate at 0, and the sign of z."""
    one = type(z)(1)
    x = abs(z) * type(z)(-2)
    x = type(z)(-80) if x < type(z)(-80) else x  # there the result is 1 already, and 2^n normal in both dtypes
    q, n = _reduced(x)
    scale = _power_of_two(n, z)
    m = q * scale + (scale - one)
    result = m / (type(z)(2) + m)
    return -result if z > 0 else result


# log(1 + e) = 2 artanh(s) with s = e / (2 + e) <= 1/3, by its series in s^2: 1/3, 1/5, ... up to the power whose remainder is below
# a tenth of a unit in the last place.
_ARTANH = {types.float32: 1 / np.arange(3, 19, 2), types.float64: 1 / np.arange(3, 37, 2)}


def _artanh_series(square):
    """artanh(s) / s - 1 from s^2."""


@overload(_artanh_series, jit_options=_OPTIONS)
def _choose_artanh_series(square):
    terms = _ARTANH[square].astype(str(square))

    def series(square):
        total = terms[-1]
        for k in range(len(terms) - 2, -1, -1):
            total = total * square + terms[k]
        return total * square

    return series


@_inlined
def log1p_unit(e):
    """log(1 + e) for 0 <= e <= 1."""
    two = type(e)(2)
    s = e / (two + e)
    return two * (s + s * _artanh_series(s * s))

"""Functions of a number in plain arithmetic, without calls or branches, so that LLVM vectorises loops over them: exp, expm1, log1p,
sigmoid, tanh, the normal distribution.

exp(x) = 2^n exp(r) with n = round(x / log 2) and |r| <= log(2)/2 (Cody and Waite 1980); exp(r) - 1 by its Taylor series up to
the power whose remainder is below a tenth of a unit in the last place: r^14/14! < 1e-17, in float32 r^8/8! < 6e-9.
"""

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

# Fused multiply-adds are allowed here, and no other liberty: NaN goes through.
_OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}}
# A loop over a function that LLVM has not inlined, because it is long, is one over single numbers.
inlined = register_jitable(forceinline=True, **_OPTIONS)


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


@inlined
def exp(x):
    """e^x, with the subnormal results, 0 and inf at the ends."""
    q, n = _reduced(x)
    half = n >> 1  # 2^n in two factors, since n goes beyond the exponents of one
    return (q + type(x)(1)) * _power_of_two(half, x) * _power_of_two(n - half, x)


@inlined
def sigmoid(z):
    """1 / (1 + e^-z) as e / (1 + e) for z < 0, so that e = e^-|z| does not overflow and small results keep their digits."""
    one = type(z)(1)
    e = exp(-abs(z))
    return (one if z >= 0 else e) / (one + e)


@inlined
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


@inlined
def log1p_unit(e):
    """log(1 + e) for 0 <= e <= 1."""
    two = type(e)(2)
    s = e / (two + e)
    return two * (s + s * _artanh_series(s * s))


@inlined
def log1p_exp(z):
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    return (z if z > 0 else type(z)(0)) + log1p_unit(exp(-abs(z)))


@inlined
def exp_and_expm1(x):
    """(e^x, e^x - 1) for x <= 0, the second accurate at 0."""
    one = type(x)(1)
    q, n = _reduced(x)
    half = n >> 1
    scale = _power_of_two(half, x) * _power_of_two(n - half, x)
    return (q + one) * scale, q * scale + (scale - one)


# The standard normal distribution function Phi: (1 + x) Phi(-x) e^(x^2/2) for x >= 0 as a polynomial in (x - 4) / (x + 4), lowest
# power first, after Shepherd and Laframboise, *Chebyshev approximation of (1 + 2x) exp(x^2) erfc x* (1981); a Chebyshev fit for x
# up to where Phi(-x) is 0: 15 in float32, 40 in float64.
_NORMAL_TAIL = {
    types.float32: (
        0.4720532066675619, -0.0967034665987817, 0.013999614036561235, 0.028599984506217046, -0.03219752979886611,
        0.017939978966285828, -0.005003214457933421, -0.0003021742128707815, 0.0006915921599735817, -6.352731286623946e-05,
        -7.287426619851388e-05,
    ),
    types.float64: (
        0.47205320650984467, -0.0967034773265258, 0.013999634724425471, 0.02860036405355013, -0.03219783742808911,
        0.017936097479694716, -0.005002378590969768, -0.0002856230982578443, 0.0006948971036905743, -9.443025188896631e-05,
        -8.785317765383863e-05, 2.125004136304907e-05, 1.3626844160372444e-05, -3.432180680782058e-06, -2.6128422055944675e-06,
        4.0446216174943105e-07, 5.518983823631406e-07, 1.4725397049075406e-09, -1.1090904624729512e-07, -1.9890925448276797e-08,
        1.7600916016569622e-08, 6.22327988983561e-09, -1.5317087190038675e-09, -7.825642031297579e-10,
    ),
}  # fmt: skip
# Where Phi(-x) is 0, and what rounds x to whole multiples of a number when added and subtracted, so that the square is exact.
_NORMAL_END = {types.float32: np.float32(15), types.float64: 40.0}
_NORMAL_ROUNDING = {types.float32: np.float32(1.5 * 2**15), types.float64: 1.5 * 2.0**32}


def _normal_tail(s):
    """The polynomial of `_NORMAL_TAIL`."""


def _normal_constants(x):
    """(`_NORMAL_END`, `_NORMAL_ROUNDING`) in the type of x."""


@overload(_normal_tail, jit_options=_OPTIONS)
def _choose_normal_tail(s):
    terms = np.array(_NORMAL_TAIL[s], str(s))

    def polynomial(s):
        total = terms[-1]
        for k in range(len(terms) - 2, -1, -1):
            total = total * s + terms[k]
        return total

    return polynomial


@overload(_normal_constants, jit_options=_OPTIONS)
def _choose_normal_constants(x):
    constants = _NORMAL_END[x], _NORMAL_ROUNDING[x]
    return lambda x: constants


@inlined
def normal(z):
    """(Phi(z), e^(-z^2/2)): the square of z rounded is exact, and what is missing is a factor near 1."""
    one, four = type(z)(1), type(z)(4)
    end, rounding = _normal_constants(z)
    x = abs(z)
    x = end if x > end else x
    coarse = (x + rounding) - rounding
    u = (coarse - x) * (coarse + x) * type(z)(0.5)
    correction = one + u * (one + u * (type(z)(1 / 2) + u * (type(z)(1 / 6) + u * type(z)(1 / 24))))
    density = exp(coarse * coarse * type(z)(-0.5)) * correction
    tail = density * _normal_tail((x - four) / (x + four)) / (one + x)
    return (one - tail if z > 0 else tail), density

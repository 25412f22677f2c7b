/* exp, expm1, sigmoid, tanh, log, log1p and the tail of the normal distribution on registers. Included once for each real type.
 *
 * exp(x) = 2^n exp(r) with n = round(x / ln 2) and r = x - n ln 2, |r| <= ln 2 / 2, where ln 2 is split in two so that n ln2_hi is
 * exact (Cody and Waite, Software Manual for the Elementary Functions, 1980). exp(r) - 1 is its Taylor polynomial, whose first
 * dropped term is below a quarter of the last place, summed up in even and odd powers: two chains of half the length take less time
 * than one (docs/tuning.md, exponentials). Bounds over the whole range, tested: exp 1.5 ULP, sigmoid 3 ULP, tanh 4 ULP, log and
 * log1p 2 ULP; NaN stays NaN. Results below the smallest normal number may be flushed to zero.
 */

struct FN(exponent) {
    VEC shifted;       /* n + ROUND_MAGIC: the whole number n is in its lowest bits */
    VEC fraction;      /* exp(r) - 1 */
};

/* 2^n, a normal number. */
ALWAYS_INLINE VEC FN(power_of_two)(VEC shifted) { return (VEC)(((INT_VEC)shifted << MANTISSA_BITS) + (INT_VEC)FN(broadcast)(1)); }

/* exp(r) - 1 for |r| <= ln 2 / 2 or a little more. */
ALWAYS_INLINE VEC FN(exp_polynomial)(VEC r)
{
    static const double inverse_factorial[] = {1.0, 1.0, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320,
        1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
    const VEC square = r * r;
    VEC odd = FN(broadcast)((REAL)inverse_factorial[EXP_DEGREE]), even = FN(broadcast)((REAL)inverse_factorial[EXP_DEGREE - 1]);
    UNROLL for (int k = EXP_DEGREE - 2; k >= 3; k -= 2) {
        odd = odd * square + (REAL)inverse_factorial[k];
        even = even * square + (REAL)inverse_factorial[k - 1];
    }
    return (odd * r + even) * square + r;
}

/* n + ROUND_MAGIC for the whole number n next to x / ln 2, and what x is beyond n ln 2: adding 1.5 * 2^mantissa bits rounds. */
ALWAYS_INLINE VEC FN(round_exponent)(VEC x) { return x * (REAL)1.4426950408889634074 + ROUND_MAGIC; }
ALWAYS_INLINE VEC FN(exponent_rest)(VEC x, VEC shifted)
{
    const VEC n = shifted - ROUND_MAGIC;
    return (x - n * LN2_HI) - n * LN2_LO;
}

ALWAYS_INLINE struct FN(exponent) FN(reduce_exp)(VEC x)
{
    const VEC shifted = FN(round_exponent)(x);
    return (struct FN(exponent)){shifted, FN(exp_polynomial)(FN(exponent_rest)(x, shifted))};
}

ALWAYS_INLINE VEC FN(vexp)(VEC x)
{
    const struct FN(exponent) e = FN(reduce_exp)(FN(at_most)(FN(at_least)(x, EXP_LOWEST), EXP_HIGHEST));
    /* 2^n in two factors: n reaches beyond the exponents of normal numbers on both sides. */
    const VEC half = (e.shifted - ROUND_MAGIC) * (REAL)0.5 + ROUND_MAGIC, rest = e.shifted - (half - ROUND_MAGIC);
    return (e.fraction + 1) * FN(power_of_two)(half) * FN(power_of_two)(rest);
}

/* exp(x) for x <= 0: results below the smallest normal number are zero. */
ALWAYS_INLINE VEC FN(vexp_nonpositive)(VEC x)
{
    const struct FN(exponent) e = FN(reduce_exp)(FN(at_least)(x, EXP_NORMAL));
    return FN(keep)(~(x < EXP_NORMAL), (e.fraction + 1) * FN(power_of_two)(e.shifted));
}

/* exp(x) - 1 and exp(x) for x <= 0; for x > 0 those of 0. */
ALWAYS_INLINE VEC FN(vexpm1_nonpositive)(VEC x, VEC *exponential)
{
    const struct FN(exponent) e = FN(reduce_exp)(FN(at_least)(FN(at_most)(x, 0), EXP_NORMAL));
    const VEC power = FN(power_of_two)(e.shifted);
    *exponential = FN(keep)(~(x < EXP_NORMAL), (e.fraction + 1) * power);
    return e.fraction * power + (power - 1); /* no cancellation near 0, where power is 1 */
}

/* The normal distribution's probability beyond x >= 0, and its density at x. The ratio of the two is t times a polynomial in
 * 2 t - 1 with t = 1 / (1 + 0.3 x), fitted in 60 digits at Chebyshev nodes, its relative error a twelfth of the last place or less.
 * x^2 = head^2 + (x - head) (x + head), with an exact head^2: the relative error of exp is the absolute error of its argument. */
ALWAYS_INLINE VEC FN(normal_tail)(VEC x, VEC *density)
{
    static const double coefficients[] = {NORMAL_TAIL};
    enum { DEGREE = sizeof coefficients / sizeof coefficients[0] - 1 };
    const VEC bounded = FN(at_most)(x, NORMAL_HIGHEST), t = 1 / (1 + (REAL)0.3 * bounded), s = 2 * t - 1, square = s * s;
    const VEC head = (VEC)((INT_VEC)bounded & -((INTEGER)1 << (MANTISSA_BITS / 2 + 1)));
    const VEC exponent = (REAL)-0.5 * head * head, rest = (REAL)-0.5 * (bounded - head) * (bounded + head);
    const VEC shifted = FN(round_exponent)(exponent), r = FN(exponent_rest)(exponent, shifted) + rest;
    const VEC gauss = (1 + FN(exp_polynomial)(r)) * FN(power_of_two)(shifted);
    VEC even = FN(broadcast)((REAL)coefficients[DEGREE & ~1]), odd = FN(broadcast)((REAL)coefficients[(DEGREE - 1) | 1]);
    UNROLL for (int k = (DEGREE & ~1) - 2; k >= 0; k -= 2)
        even = even * square + (REAL)coefficients[k];
    UNROLL for (int k = ((DEGREE - 1) | 1) - 2; k >= 1; k -= 2)
        odd = odd * square + (REAL)coefficients[k];
    *density = FN(keep)(~(x > NORMAL_HIGHEST), gauss * (REAL)0.39894228040143267794);
    return FN(keep)(~(x > NORMAL_HIGHEST), gauss * t * (even + s * odd));
}

/* 1 / (1 + exp(-z)); results below the smallest normal number are zero. */
ALWAYS_INLINE VEC FN(vsigmoid)(VEC z)
{
    const struct FN(exponent) e = FN(reduce_exp)(FN(at_most)(FN(at_least)(-z, EXP_NORMAL), -EXP_NORMAL));
    return FN(keep)(~(z < EXP_NORMAL), 1 / ((e.fraction + 1) * FN(power_of_two)(e.shifted) + 1));
}

ALWAYS_INLINE VEC FN(vtanh)(VEC z)
{
    const struct FN(exponent) e = FN(reduce_exp)(FN(at_most)(FN(absolute)(z) * 2, TANH_SATURATED));
    const VEC power = FN(power_of_two)(e.shifted);
    VEC expm1 = e.fraction * power + (power - 1); /* no cancellation near 0, where power is 1 */
    return (VEC)((INT_VEC)(expm1 / (expm1 + 2)) | ((INT_VEC)z & INTEGER_MIN));
}

/* 2 artanh(s) for |s| <= 1/3, by its own series: log((1 + s) / (1 - s)). */
ALWAYS_INLINE VEC FN(twice_artanh)(VEC s)
{
    VEC square = s * s, series = FN(broadcast)((REAL)(1.0 / (2 * ARTANH_TERMS + 1)));
    UNROLL for (int k = ARTANH_TERMS - 1; k >= 1; k--)
        series = series * square + (REAL)(1.0 / (2 * k + 1));
    return 2 * (s + s * square * series);
}

/* log(1 + e) for 0 <= e <= 1. */
ALWAYS_INLINE VEC FN(vlog1p_unit)(VEC e) { return FN(twice_artanh)(e / (e + 2)); }

/* log(x) for normal x > 0: with x = m 2^n, 2/3 < m <= 4/3, it is log(m) + n ln 2. NaN stays. 0 and infinity count as the powers of 2
 * next to the normal numbers. */
ALWAYS_INLINE VEC FN(vlog)(VEC x)
{
    const INT_VEC magic = (INT_VEC)FN(broadcast)(ROUND_MAGIC);
    INT_VEC exponent = (INT_VEC)(((UNSIGNED_VEC)x) >> MANTISSA_BITS) - EXPONENT_BIAS;
    VEC m = (VEC)(((INT_VEC)x & (((INTEGER)1 << MANTISSA_BITS) - 1)) | (INT_VEC)FN(broadcast)(1)); /* in [1, 2) */
    INT_VEC above = m > (REAL)(4.0 / 3);
    m = FN(select)(above, m * (REAL)0.5, m);
    VEC n = (VEC)((exponent - above) + magic) - ROUND_MAGIC; /* above is -1 where true */
    VEC log = FN(twice_artanh)((m - 1) / (m + 1)) + n * LN2_LO + n * LN2_HI;
    return FN(select)(x == x, log, x);
}

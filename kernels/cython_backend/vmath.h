/* exp, sigmoid, tanh, log and log1p on registers. Included once for each real type.
 *
 * exp(x) = 2^n exp(r) with n = round(x / ln 2) and r = x - n ln 2, |r| <= ln 2 / 2, where ln 2 is split in two so that n ln2_hi
 * is exact (Cody and Waite, Software Manual for the Elementary Functions, 1980). exp(r) - 1 is its Taylor polynomial, whose
 * first dropped term is below a quarter of the last place. Bounds over the whole range, tested: exp 1.5 ULP, sigmoid 3 ULP,
 * tanh 4 ULP, log and log1p 2 ULP; NaN stays NaN. Results below the smallest normal number may be flushed to zero.
 */

struct FN(exponent) {
    VEC n;             /* round(x / ln 2) */
    VEC fraction;      /* exp(r) - 1 */
};

ALWAYS_INLINE VEC FN(power_of_two)(VEC n) /* n whole, within the exponents of normal numbers */
{
    INT_VEC bits = (INT_VEC)(n + ROUND_MAGIC) - (INT_VEC)FN(broadcast)(ROUND_MAGIC);
    return (VEC)((bits + EXPONENT_BIAS) << MANTISSA_BITS);
}

ALWAYS_INLINE struct FN(exponent) FN(reduce_exp)(VEC x)
{
    struct FN(exponent) e;
    e.n = (x * (REAL)1.4426950408889634074 + ROUND_MAGIC) - ROUND_MAGIC; /* adding 1.5 * 2^mantissa bits rounds to whole */
    VEC r = (x - e.n * LN2_HI) - e.n * LN2_LO;
    static const double inverse_factorial[] = {1.0, 1.0, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320,
        1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
    VEC p = FN(broadcast)((REAL)inverse_factorial[EXP_DEGREE]);
    UNROLL for (int k = EXP_DEGREE - 1; k >= 2; k--)
        p = p * r + (REAL)inverse_factorial[k];
    e.fraction = p * r * r + r;
    return e;
}

ALWAYS_INLINE VEC FN(vexp)(VEC x)
{
    x = FN(at_most)(FN(at_least)(x, EXP_LOWEST), EXP_HIGHEST);
    struct FN(exponent) e = FN(reduce_exp)(x);
    /* 2^n in two factors: n reaches beyond the exponents of normal numbers on both sides. */
    VEC half = (e.n * (REAL)0.5 + ROUND_MAGIC) - ROUND_MAGIC;
    return (e.fraction + 1) * FN(power_of_two)(half) * FN(power_of_two)(e.n - half);
}

ALWAYS_INLINE VEC FN(vsigmoid)(VEC z)
{
    VEC e = FN(vexp)(-FN(absolute)(z)); /* never overflows */
    return FN(select)(z < 0, e, FN(broadcast)(1)) / (e + 1);
}

ALWAYS_INLINE VEC FN(vtanh)(VEC z)
{
    struct FN(exponent) e = FN(reduce_exp)(FN(at_most)(FN(absolute)(z) * 2, TANH_SATURATED));
    VEC power = FN(power_of_two)(e.n);
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

/* log(x) for normal x > 0: with x = m 2^n, 2/3 < m <= 4/3, it is log(m) + n ln 2. NaN stays. */
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

/* What products multiply. Included once for each real type.
 *
 * Processors that multiply bfloat16 add up the products of a pair of numbers in one step. So a tile takes PAIR numbers at a time
 * along the inner dimension: as many of STORED as there are in the place of one REAL. A factor is PAIR numbers of a row of A;
 * FACTORS is a register of them, from PAIR rows of B, for LANES columns. In rows of A the numbers of a pair lie side by side
 * already, in B packing brings them there. Where STORED is REAL, a factor is a number.
 */

#define PAIR ((ptrdiff_t)(sizeof(REAL) / sizeof(STORED)))
#if STORED_IS_REAL
#define FACTOR REAL
#define FACTORS VEC
ALWAYS_INLINE REAL FN(factor)(const REAL *p, ptrdiff_t n) { (void)n; return *p; }
ALWAYS_INLINE VEC FN(add_products)(VEC sum, REAL factor, VEC factors) { return sum + factor * factors; }
ALWAYS_INLINE VEC FN(pair_up)(const REAL *p, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t left)
{
    (void)stride, (void)n;
    return FN(load_upto)(p, left);
}
ALWAYS_INLINE VEC FN(pair_up_stored)(const REAL *p, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t left)
{
    return FN(pair_up)(p, stride, n, left);
}
ALWAYS_INLINE VEC FN(row_of_factors)(const REAL *p, ptrdiff_t left) { return FN(load_upto)(p, left); }
#else
#define FACTOR UNSIGNED
#define FACTORS UNSIGNED_VEC

/* The n numbers at p, n <= PAIR, and zeros behind them. */
ALWAYS_INLINE UNSIGNED FN(factor)(const STORED *p, ptrdiff_t n)
{
    UNSIGNED bits = 0;
    memcpy(&bits, p, (size_t)n * sizeof(STORED));
    return bits;
}

ALWAYS_INLINE VEC FN(add_products)(VEC sum, UNSIGNED factor, UNSIGNED_VEC factors)
{
    const UNSIGNED_VEC all = factor - (UNSIGNED_VEC){};
#ifdef ADD_PAIRS
    return ADD_PAIRS(sum, all, factors);
#else
    sum += (VEC)(all << 16) * (VEC)(factors << 16);
    return sum + (VEC)(all & 0xffff0000) * (VEC)(factors & 0xffff0000);
#endif
}

ALWAYS_INLINE UNSIGNED_VEC FN(interleave)(FN(stored_vec) first, FN(stored_vec) second)
{
    return __builtin_convertvector(first, UNSIGNED_VEC) | __builtin_convertvector(second, UNSIGNED_VEC) << 16;
}

/* `left` columns of n rows, n <= PAIR, and zeros for what is missing: rounded, or stored already. */
ALWAYS_INLINE UNSIGNED_VEC FN(pair_up)(const REAL *p, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t left)
{
    return FN(interleave)(NARROW(FN(load_upto)(p, left)), n > 1 ? NARROW(FN(load_upto)(p + stride, left)) : (FN(stored_vec)){});
}
ALWAYS_INLINE UNSIGNED_VEC FN(pair_up_stored)(const STORED *p, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t left)
{
    return FN(interleave)(FN(get_bits)(p, left), n > 1 ? FN(get_bits)(p + stride, left) : (FN(stored_vec)){});
}

/* Up to LANES factors of one row, of `left` numbers, rounded. */
ALWAYS_INLINE UNSIGNED_VEC FN(row_of_factors)(const REAL *p, ptrdiff_t left)
{
    const FN(stored_vec) halves[PAIR] = {NARROW(FN(load_upto)(p, left)),
                                         left > LANES ? NARROW(FN(load_upto)(p + LANES, left - LANES)) : (FN(stored_vec)){}};
    UNSIGNED_VEC v;
    memcpy(&v, halves, sizeof v);
    return v;
}
#endif
ALWAYS_INLINE FACTORS FN(get_factors)(const STORED *packed) { return (FACTORS)FN(load)((const REAL *)packed); }
ALWAYS_INLINE void FN(put_factors)(STORED *packed, FACTORS v) { FN(store)((REAL *)packed, (VEC)v); }

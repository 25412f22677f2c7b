/* How the values that flow between layers are stored. Included once for each real type.
 *
 * Two types of numbers are kept in memory. REAL is what is computed with, and what parameters, their gradients, sums, statistics,
 * logits and targets are kept in. STORED is what everything is kept in that has a row for each sample and that a matrix product
 * reads: X, the values between layers, the gradients with respect to them, and the copies of weights that tiles read. In most
 * engines it is REAL. A header that describes another type, such as real_bf16.h, defines STORED, STORED_BITS, WIDEN and NARROW:
 * a register of REAL from half a register of bits, and back, rounded to nearest even.
 */

#ifdef STORED
#define STORED_IS_REAL 0
typedef STORED_BITS FN(stored_vec) __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL) * sizeof(STORED))));
typedef STORED_BITS FN(unaligned_stored_vec)
    __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL) * sizeof(STORED)), aligned(__alignof__(STORED)), may_alias));

/* The first lanes, as load_upto() and store_upto(). */
ALWAYS_INLINE FN(stored_vec) FN(get_bits)(const STORED *p, ptrdiff_t left)
{
    if (left >= LANES)
        return *(const FN(unaligned_stored_vec) *)p;
#if defined(STORED_MASK_LOAD) && !SANITIZED
    return (FN(stored_vec))STORED_MASK_LOAD(p, left);
#else
    FN(stored_vec) bits = {};
    memcpy(&bits, p, (size_t)left * sizeof(STORED));
    return bits;
#endif
}

ALWAYS_INLINE void FN(put_bits)(STORED *p, FN(stored_vec) bits, ptrdiff_t left)
{
    if (left >= LANES)
        *(FN(unaligned_stored_vec) *)p = bits;
    else
#if defined(STORED_MASK_STORE) && !SANITIZED
        STORED_MASK_STORE(p, left, bits);
#else
        memcpy(p, &bits, (size_t)left * sizeof(STORED));
#endif
}

ALWAYS_INLINE VEC FN(get)(const STORED *p) { return WIDEN(FN(get_bits)(p, LANES)); }
ALWAYS_INLINE void FN(put)(STORED *p, VEC v) { FN(put_bits)(p, NARROW(v), LANES); }
ALWAYS_INLINE VEC FN(get_upto)(const STORED *p, ptrdiff_t left) { return WIDEN(FN(get_bits)(p, left)); }
ALWAYS_INLINE void FN(put_upto)(STORED *p, VEC v, ptrdiff_t left) { FN(put_bits)(p, NARROW(v), left); }
ALWAYS_INLINE REAL FN(get_one)(const STORED *p) { return WIDEN((FN(stored_vec)){p->bits})[0]; }
ALWAYS_INLINE void FN(put_one)(STORED *p, REAL s) { p->bits = NARROW(FN(broadcast)(s))[0]; }
#else
#define STORED REAL
#define STORED_IS_REAL 1
ALWAYS_INLINE VEC FN(get)(const REAL *p) { return FN(load)(p); }
ALWAYS_INLINE void FN(put)(REAL *p, VEC v) { FN(store)(p, v); }
ALWAYS_INLINE VEC FN(get_upto)(const REAL *p, ptrdiff_t left) { return FN(load_upto)(p, left); }
ALWAYS_INLINE void FN(put_upto)(REAL *p, VEC v, ptrdiff_t left) { FN(store_upto)(p, v, left); }
ALWAYS_INLINE REAL FN(get_one)(const REAL *p) { return *p; }
ALWAYS_INLINE void FN(put_one)(REAL *p, REAL s) { *p = s; }
#endif

/* REAL numbers for who reads STORED, which must be the same type: most products may read weights where they are. */
ALWAYS_INLINE const STORED *FN(as_stored)(const REAL *p) { return (const STORED *)p; }

/* Products write REAL (logits, gradients of weights) or STORED: c + n numbers, and a register there. */
ALWAYS_INLINE void *FN(skip)(void *c, int real, ptrdiff_t n)
{
    return real || STORED_IS_REAL ? (void *)((REAL *)c + n) : (void *)((STORED *)c + n);
}
ALWAYS_INLINE void FN(write_upto)(void *c, int real, VEC v, ptrdiff_t left)
{
    if (real || STORED_IS_REAL)
        FN(store_upto)(c, v, left);
    else
        FN(put_upto)(c, v, left);
}
ALWAYS_INLINE void FN(write_one)(void *c, int real, REAL s)
{
    if (real || STORED_IS_REAL)
        *(REAL *)c = s;
    else
        FN(put_one)(c, s);
}

/* real = stored, n numbers. */
static void FN(widen_row)(const STORED *stored, ptrdiff_t n, REAL *real)
{
    for (ptrdiff_t j = 0; j < n; j += LANES)
        FN(store_upto)(real + j, FN(get_upto)(stored + j, n - j), n - j);
}
static void FN(narrow_row)(const REAL *real, ptrdiff_t n, STORED *stored)
{
    for (ptrdiff_t j = 0; j < n; j += LANES)
        FN(put_upto)(stored + j, FN(load_upto)(real + j, n - j), n - j);
}

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

ALWAYS_INLINE VEC FN(get)(const STORED *p) { return WIDEN(*(const FN(unaligned_stored_vec) *)p); }
ALWAYS_INLINE void FN(put)(STORED *p, VEC v) { *(FN(unaligned_stored_vec) *)p = NARROW(v); }

/* The first `count` lanes, as load_first() and store_first(). */
ALWAYS_INLINE VEC FN(get_upto)(const STORED *p, ptrdiff_t left)
{
    FN(stored_vec) bits = {};
    if (left >= LANES)
        return FN(get)(p);
    memcpy(&bits, p, (size_t)left * sizeof(STORED));
    return WIDEN(bits);
}

ALWAYS_INLINE void FN(put_upto)(STORED *p, VEC v, ptrdiff_t left)
{
    const FN(stored_vec) bits = NARROW(v);
    memcpy(p, &bits, (size_t)min_size(left, LANES) * sizeof(STORED));
}

ALWAYS_INLINE REAL FN(get_one)(const STORED *p) { return WIDEN((FN(stored_vec)){p->bits})[0]; }
ALWAYS_INLINE void FN(put_one)(STORED *p, REAL s) { p->bits = NARROW(FN(broadcast)(s))[0]; }
ALWAYS_INLINE VEC FN(rounded)(VEC v) { return WIDEN(NARROW(v)); }
#else
#define STORED REAL
#define STORED_IS_REAL 1
ALWAYS_INLINE VEC FN(get)(const REAL *p) { return FN(load)(p); }
ALWAYS_INLINE void FN(put)(REAL *p, VEC v) { FN(store)(p, v); }
ALWAYS_INLINE VEC FN(get_upto)(const REAL *p, ptrdiff_t left) { return FN(load_upto)(p, left); }
ALWAYS_INLINE void FN(put_upto)(REAL *p, VEC v, ptrdiff_t left) { FN(store_upto)(p, v, left); }
ALWAYS_INLINE REAL FN(get_one)(const REAL *p) { return *p; }
ALWAYS_INLINE void FN(put_one)(REAL *p, REAL s) { *p = s; }
ALWAYS_INLINE VEC FN(rounded)(VEC v) { return v; }
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

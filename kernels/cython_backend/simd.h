/* One register of REAL: loads, stores and masks. Included once for each real type. */

typedef REAL FN(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL FN(unaligned_vec) __attribute__((vector_size(VECTOR_BYTES), aligned(__alignof__(REAL)), may_alias));
typedef REAL FN(half_vec) __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef REAL FN(unaligned_half_vec) __attribute__((vector_size(VECTOR_BYTES / 2), aligned(__alignof__(REAL)), may_alias));
typedef INTEGER FN(int_vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef UNSIGNED FN(unsigned_vec) __attribute__((vector_size(VECTOR_BYTES)));

ALWAYS_INLINE VEC FN(load)(const REAL *p) { return *(const FN(unaligned_vec) *)p; }
ALWAYS_INLINE void FN(store)(REAL *p, VEC v) { *(FN(unaligned_vec) *)p = v; }
ALWAYS_INLINE VEC FN(broadcast)(REAL s) { return s - (VEC){}; } /* s - 0 is s, -0 and NaN included, and compiles to nothing */
ALWAYS_INLINE VEC FN(select)(INT_VEC mask, VEC yes, VEC no) { return (VEC)((mask & (INT_VEC)yes) | (~mask & (INT_VEC)no)); }
ALWAYS_INLINE VEC FN(keep)(INT_VEC mask, VEC v) { return (VEC)(mask & (INT_VEC)v); }

/* Comparisons with NaN are false, so the order of the operands decides which NaN stays: here that in v. */
ALWAYS_INLINE VEC FN(larger)(VEC u, VEC v)
{
#ifdef VECTOR_MAX
    return (VEC)VECTOR_MAX(u, v);
#else
    return FN(select)(v < u, u, v);
#endif
}

ALWAYS_INLINE VEC FN(smaller)(VEC u, VEC v)
{
#ifdef VECTOR_MIN
    return (VEC)VECTOR_MIN(u, v);
#else
    return FN(select)(v > u, u, v);
#endif
}

ALWAYS_INLINE VEC FN(at_least)(VEC v, REAL bound) { return FN(larger)(FN(broadcast)(bound), v); }
ALWAYS_INLINE VEC FN(at_most)(VEC v, REAL bound) { return FN(smaller)(FN(broadcast)(bound), v); }

ALWAYS_INLINE VEC FN(relu)(VEC v) { return FN(keep)(~(v < 0), v); }
ALWAYS_INLINE VEC FN(absolute)(VEC v) { return (VEC)((INT_VEC)v & INTEGER_MAX); }

ALWAYS_INLINE VEC FN(vsqrt)(VEC v)
{
#ifdef VECTOR_SQRT
    return (VEC)VECTOR_SQRT(v);
#else
    for (int i = 0; i < LANES; i++)
        v[i] = REAL_SQRT(v[i]);
    return v;
#endif
}

/* True in the lanes below count. */
ALWAYS_INLINE INT_VEC FN(first_lanes)(ptrdiff_t count)
{
    INT_VEC lane;
    UNROLL for (int i = 0; i < LANES; i++)
        lane[i] = i;
    return lane < (INTEGER)min_size(count, LANES);
}

/* The first `count` lanes, 0 < count <= LANES; nothing beyond them is touched in memory. */
ALWAYS_INLINE VEC FN(load_first)(const REAL *p, ptrdiff_t count)
{
#if defined(MASK_LOAD) && !SANITIZED
    return (VEC)MASK_LOAD(p, count);
#else
    VEC v = {};
    for (ptrdiff_t i = 0; i < count; i++)
        v[i] = p[i];
    return v;
#endif
}

/* Without AVX2's masked store, which is slow on some processors: docs/tuning.md, masked stores. */
ALWAYS_INLINE void FN(store_first)(REAL *p, VEC v, ptrdiff_t count)
{
#if defined(MASK_STORE) && !SANITIZED
    MASK_STORE(p, count, v);
#else
    const union { VEC whole; FN(half_vec) half[2]; } u = {v};
    const int upper = count >= LANES / 2;
    if (upper)
        *(FN(unaligned_half_vec) *)p = u.half[0];
    const FN(half_vec) rest = u.half[upper];
    UNROLL for (int i = 0; i < LANES / 2 - 1; i++)
        if (upper * LANES / 2 + i < count)
            p[upper * LANES / 2 + i] = rest[i];
#endif
}

/* Loads for a loop over n items in steps of LANES, where the last step may be partial. */
ALWAYS_INLINE VEC FN(load_upto)(const REAL *p, ptrdiff_t left) { return left >= LANES ? FN(load)(p) : FN(load_first)(p, left); }
ALWAYS_INLINE void FN(store_upto)(REAL *p, VEC v, ptrdiff_t left)
{
    if (left >= LANES)
        FN(store)(p, v);
    else
        FN(store_first)(p, v, left);
}

/* To memory past the caches; p lies on a register's boundary, and streams_done() is to follow before another thread reads it. */
ALWAYS_INLINE void FN(stream)(REAL *p, VEC v)
{
#if defined(VECTOR_STREAM) && !SANITIZED
    VECTOR_STREAM(p, v);
#else
    FN(store)(p, v);
#endif
}

ALWAYS_INLINE REAL FN(horizontal_max)(VEC v)
{
    UNROLL for (int width = LANES / 2; width > 0; width /= 2)
        UNROLL for (int i = 0; i < width; i++)
            v[i] = v[i] > v[i + width] ? v[i] : v[i + width];
    return v[0];
}

ALWAYS_INLINE REAL FN(horizontal_sum)(VEC v)
{
    UNROLL for (int width = LANES / 2; width > 0; width /= 2)
        UNROLL for (int i = 0; i < width; i++)
            v[i] += v[i + width];
    return v[0];
}

/* Transpose, within blocks of n numbers, n registers in place. Interleaving register i with register i + n / 2 is one perfect
 * shuffle of all numbers; log2(n) of them are a transposition (Stone, Parallel processing with the perfect shuffle, 1971). */
ALWAYS_INLINE void FN(transpose_blocks)(const int n, VEC *v)
{
    UNROLL for (int round = 1; round < n; round *= 2) {
        VEC shuffled[LANES];
        UNROLL for (int i = 0; i < n / 2; i++) {
            shuffled[2 * i] = __builtin_shufflevector(v[i], v[i + n / 2], INTERLEAVE_LOW);
            shuffled[2 * i + 1] = __builtin_shufflevector(v[i], v[i + n / 2], INTERLEAVE_HIGH);
        }
        UNROLL for (int i = 0; i < n; i++)
            v[i] = shuffled[i];
    }
}

/* Transpose LANES registers in place. Where interleaving whole registers takes two instructions, as with AVX2, their halves change
 * places first, and what remains happens within halves. */
ALWAYS_INLINE void FN(transpose)(VEC v[LANES])
{
#ifdef LOWER_HALVES
    UNROLL for (int i = 0; i < LANES / 2; i++) {
        const VEC upper = __builtin_shufflevector(v[i], v[i + LANES / 2], UPPER_HALVES);
        v[i] = __builtin_shufflevector(v[i], v[i + LANES / 2], LOWER_HALVES);
        v[i + LANES / 2] = upper;
    }
    FN(transpose_blocks)(LANES / 2, v);
    FN(transpose_blocks)(LANES / 2, v + LANES / 2);
#else
    FN(transpose_blocks)(LANES, v);
#endif
}

/* Dropout with a mask that is computed, not stored. Included once for each real type.
 *
 * Whether element number c of an array is kept is decided by bits 32 to 63 of output number c of the generator SplitMix64 that
 * starts at a key: mix(key + (c + 1) * GAMMA) modulo 2^64 (Steele, Lea, Flood, Fast splittable pseudorandom number generators,
 * 2014). Any thread can compute any part. ../random_bits.py has the same formulas in Python.
 */

#define SPLITMIX_GAMMA UINT64_C(0x9E3779B97F4A7C15)

typedef uint64_t FN(bits_vec) __attribute__((vector_size(VECTOR_BYTES)));

ALWAYS_INLINE FN(bits_vec) FN(mix)(FN(bits_vec) z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Output number `stream` of the generator that starts at the seed: the key of that stream. */
ALWAYS_INLINE uint64_t FN(stream_key)(uint64_t seed, uint64_t stream)
{
    return FN(mix)((FN(bits_vec)){} + (seed + (stream + 1) * SPLITMIX_GAMMA))[0];
}

/* True in the lanes whose elements are kept, where the first lane's element has the number `first`. */
ALWAYS_INLINE INT_VEC FN(kept_lanes)(uint64_t key, uint64_t first, uint32_t threshold)
{
    const uint64_t gamma = SPLITMIX_GAMMA, numbers_a_word = sizeof(uint64_t) / sizeof(REAL);
    FN(bits_vec) lanes;
    UNROLL for (unsigned i = 0; i < VECTOR_BYTES / sizeof(uint64_t); i++)
        lanes[i] = (numbers_a_word * i + 1) * gamma;
    lanes += key + first * gamma;
    FN(bits_vec) bits = FN(mix)(lanes);
    if (numbers_a_word == 1)
        bits >>= 32;
    else { /* two floats in a word: the bits of the even elements belong in the half that comes first in memory */
        const FN(bits_vec) odd = FN(mix)(lanes + gamma);
        const uint64_t upper = UINT64_C(0xFFFFFFFF00000000);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        bits = (bits & upper) | (odd >> 32);
#else
        bits = (bits >> 32) | (odd & upper);
#endif
    }
    return (INT_VEC)((UNSIGNED_VEC)bits >= (UNSIGNED)threshold);
}

/* y = scale x where kept, else 0, for n elements from element number `first` on; y may be x. */
static void FN(dropout_row)(const STORED *x, uint64_t key, uint64_t first, ptrdiff_t n, uint32_t threshold, REAL scale, STORED *y)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const INT_VEC kept = FN(kept_lanes)(key, first + (uint64_t)j, threshold);
        FN(put_upto)(y + j, FN(keep)(kept, FN(get_upto)(x + j, n - j) * scale), n - j);
    }
}

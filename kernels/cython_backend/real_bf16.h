/* The real type float with values between layers stored as bfloat16: the upper half of a float, rounded to nearest even. NaN stays
 * NaN. storage.h says what is stored so. AVX512-BF16 has instructions for rounding and for the sums of products of pairs; these
 * take subnormal numbers for zero, as the training loop does. */

#include "real_f32.h"
#undef HAS_INT8
#undef SUFFIX
#define SUFFIX bf16
#define STORED struct bf16
#define STORED_BITS uint16_t
#define WIDEN(half) ((VEC)(__builtin_convertvector(half, UNSIGNED_VEC) << 16))
#if defined(__AVX512BF16__) && VECTOR_BYTES == 64
#define NARROW(v) ((FN(stored_vec))_mm512_cvtneps_pbh((__m512)(v)))
#define ADD_PAIRS(sum, a, b) ((VEC)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b)))
#else
#define NARROW(v) \
    __extension__({ \
        const UNSIGNED_VEC bits_ = (UNSIGNED_VEC)(v), even_ = bits_ + 0x7fff + (bits_ >> 16 & 1), quiet_ = bits_ | 0x400000; \
        const UNSIGNED_VEC is_number_ = (UNSIGNED_VEC)((v) == (v)); \
        __builtin_convertvector(((is_number_ & even_) | (~is_number_ & quiet_)) >> 16, FN(stored_vec)); \
    })
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__) && VECTOR_BYTES == 64
#define STORED_MASK(count) ((__mmask16)((1u << (count)) - 1))
#define STORED_MASK_LOAD(p, count) _mm256_maskz_loadu_epi16(STORED_MASK(count), p)
#define STORED_MASK_STORE(p, count, v) _mm256_mask_storeu_epi16(p, STORED_MASK(count), (__m256i)(v))
#endif

struct bf16 { uint16_t bits; };

/* The real type float, with the definitions that per_real.h lists. */

#define REAL float
#define HAS_INT8 1
#define INTEGER int32_t
#define UNSIGNED uint32_t
#define INTEGER_MIN INT32_MIN
#define INTEGER_MAX INT32_MAX
#define SUFFIX f32
#define REAL_SQRT sqrtf
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUND_MAGIC 0x1.8p23f
#define LN2_HI 0x1.63p-1f
#define LN2_LO -2.1219444005469058e-4f
#define EXP_LOWEST -104.0f
#define EXP_NORMAL -87.33654f
#define EXP_HIGHEST 89.0f
#define EXP_DEGREE 7
#define TANH_SATURATED 20.0f
#define ARTANH_TERMS 8
#define NORMAL_HIGHEST 13.2f
#define NORMAL_TAIL \
    0.22197061316384997, 0.16457948901610137, 0.08654970259227555, 0.027760268793883772, 0.001816149629911103, \
    -0.0024231965907594794, -0.0005702767310343125, 0.0002803736906219966, 7.755839141570666e-05, -4.068367164296615e-05
#if VECTOR_BYTES == 64
#define INTERLEAVE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define INTERLEAVE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VECTOR_BYTES == 32
#define LOWER_HALVES 0, 1, 2, 3, 8, 9, 10, 11
#define UPPER_HALVES 4, 5, 6, 7, 12, 13, 14, 15
#define INTERLEAVE_LOW 0, 8, 1, 9, 4, 12, 5, 13
#define INTERLEAVE_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#else
#define INTERLEAVE_LOW 0, 4, 1, 5
#define INTERLEAVE_HIGH 2, 6, 3, 7
#endif
#if defined(__AVX512F__) && VECTOR_BYTES == 64
#define VECTOR_SQRT(v) _mm512_sqrt_ps((__m512)(v))
#define VECTOR_MIN(a, b) _mm512_min_ps((__m512)(a), (__m512)(b))
#define VECTOR_MAX(a, b) _mm512_max_ps((__m512)(a), (__m512)(b))
#define VECTOR_STREAM(p, v) _mm512_stream_ps(p, (__m512)(v))
#define MASK_LOAD(p, count) _mm512_maskz_loadu_ps((__mmask16)((1u << (count)) - 1), p)
#define MASK_STORE(p, count, v) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (count)) - 1), (__m512)(v))
#elif defined(__AVX2__) && VECTOR_BYTES == 32
#define VECTOR_SQRT(v) _mm256_sqrt_ps((__m256)(v))
#define VECTOR_MIN(a, b) _mm256_min_ps((__m256)(a), (__m256)(b))
#define VECTOR_MAX(a, b) _mm256_max_ps((__m256)(a), (__m256)(b))
#define VECTOR_STREAM(p, v) _mm256_stream_ps(p, (__m256)(v))
#define MASK_LOAD(p, count) _mm256_maskload_ps(p, (__m256i)FN(first_lanes)(count))
#elif defined(__SSE2__) && VECTOR_BYTES == 16
#define VECTOR_SQRT(v) _mm_sqrt_ps((__m128)(v))
#define VECTOR_MIN(a, b) _mm_min_ps((__m128)(a), (__m128)(b))
#define VECTOR_MAX(a, b) _mm_max_ps((__m128)(a), (__m128)(b))
#define VECTOR_STREAM(p, v) _mm_stream_ps(p, (__m128)(v))
#endif

/* The real type double, as per_real.h needs it described. */

#define REAL double
#define INTEGER int64_t
#define UNSIGNED uint64_t
#define INTEGER_MIN INT64_MIN
#define INTEGER_MAX INT64_MAX
#define SUFFIX f64
#define REAL_SQRT sqrt
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUND_MAGIC 0x1.8p52
#define LN2_HI 0x1.62e42feep-1
#define LN2_LO 1.90821492927058770002e-10
#define EXP_LOWEST -746.0
#define EXP_NORMAL -708.396418532264
#define EXP_HIGHEST 710.0
#define EXP_DEGREE 13
#define TANH_SATURATED 40.0
#define ARTANH_TERMS 17
#if VECTOR_BYTES == 64
#define INTERLEAVE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif VECTOR_BYTES == 32
#define LOWER_HALVES 0, 1, 4, 5
#define UPPER_HALVES 2, 3, 6, 7
#define INTERLEAVE_LOW 0, 4, 2, 6
#define INTERLEAVE_HIGH 1, 5, 3, 7
#else
#define INTERLEAVE_LOW 0, 2
#define INTERLEAVE_HIGH 1, 3
#endif
#if defined(__AVX512F__) && VECTOR_BYTES == 64
#define VECTOR_SQRT(v) _mm512_sqrt_pd((__m512d)(v))
#define VECTOR_MIN(a, b) _mm512_min_pd((__m512d)(a), (__m512d)(b))
#define VECTOR_MAX(a, b) _mm512_max_pd((__m512d)(a), (__m512d)(b))
#define VECTOR_STREAM(p, v) _mm512_stream_pd(p, (__m512d)(v))
#define MASK_LOAD(p, count) _mm512_maskz_loadu_pd((__mmask8)((1u << (count)) - 1), p)
#define MASK_STORE(p, count, v) _mm512_mask_storeu_pd(p, (__mmask8)((1u << (count)) - 1), (__m512d)(v))
#elif defined(__AVX2__) && VECTOR_BYTES == 32
#define VECTOR_SQRT(v) _mm256_sqrt_pd((__m256d)(v))
#define VECTOR_MIN(a, b) _mm256_min_pd((__m256d)(a), (__m256d)(b))
#define VECTOR_MAX(a, b) _mm256_max_pd((__m256d)(a), (__m256d)(b))
#define VECTOR_STREAM(p, v) _mm256_stream_pd(p, (__m256d)(v))
#define MASK_LOAD(p, count) _mm256_maskload_pd(p, (__m256i)FN(first_lanes)(count))
#elif defined(__SSE2__) && VECTOR_BYTES == 16
#define VECTOR_SQRT(v) _mm_sqrt_pd((__m128d)(v))
#define VECTOR_MIN(a, b) _mm_min_pd((__m128d)(a), (__m128d)(b))
#define VECTOR_MAX(a, b) _mm_max_pd((__m128d)(a), (__m128d)(b))
#define VECTOR_STREAM(p, v) _mm_stream_pd(p, (__m128d)(v))
#endif

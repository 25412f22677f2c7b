/* The real type double, with the definitions that per_real.h lists. */

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
#define NORMAL_HIGHEST 37.6
#define NORMAL_TAIL \
    0.22197061383443278, 0.16457948408616296, 0.08654963741846165, 0.027760365473703356, 0.0018171357955064104, \
    -0.0024238965473973744, -0.0005756425164072143, 0.0002836369069846896, 9.013992214713243e-05, -4.97462692303323e-05, \
    -1.1125588553534885e-05, 1.0730853236746246e-05, 2.4463211337442226e-07, -2.2482931746936066e-06, 5.182146336772404e-07, \
    3.504748433425674e-07, -2.3069969538315064e-07, -4.261258173618249e-09, 5.866890350393627e-08, -2.0867773210358603e-08, \
    -7.2389248938454036e-09, 7.465426673356694e-09, -7.097139529922449e-10, -1.0820352669790226e-09, 3.2760770850840275e-10
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

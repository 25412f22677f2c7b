/* The compiled kernels for one instruction set, both real types.
 *
 *   codes.h        numbers of activations, losses, optimizers
 *   platform.h     registers and tile of the instruction set
 *   memory.h       the working memory of a call
 *   threads.h      waiting: the clock, barriers
 *   pool.h         threads, and regions that they run
 *   crew.h         who works while the cores are crowded
 *   schedule.h     how the threads of a training call share its work
 *   simd.h         one register              \
 *   vmath.h        exp, sigmoid, tanh, log    |
 *   tile.h         the micro-kernel           |
 *   packing.h      copies in tiles' order     |
 *   shallow.h      products of little depth   |
 *   gemm.h         the three products         |  once for float,
 *   elementwise.h  activations and losses     |  once for double
 *   dropout.h      masks by position          |
 *   normalization.h layer and batch norm      |
 *   optimizer.h    SGD, Adam, their relatives |
 *   sparse.h       a first layer on CSR rows  |
 *   network.h      layers after layers        |
 *   batch.h        the gradient of a batch    |
 *   training.h     the training loop          |
 *   exports.h      the table for Cython       |
 *   hardware.h     loops for bench/ to time  /
 */
#pragma once

#include "codes.h"
#include "platform.h"
#include "memory.h"
#include "threads.h"
#include "pool.h"
#include "crew.h"
#include "schedule.h"

struct kernels {
    int (*linear_forward)(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                          int activation, void *a, int n_threads);
    int (*linear_backward)(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
                           ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias, int n_threads);
    void (*softmax_forward)(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads);
    void (*softmax_backward)(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads);
    int (*loss_forward)(int loss, const void *logits, const ptrdiff_t *labels, const void *targets, const void *weight,
                        ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum, int n_threads);
    void (*loss_backward)(int loss, const void *outputs, const ptrdiff_t *labels, const void *targets, const void *weight,
                          double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads);
    void (*activation_forward)(const void *z, ptrdiff_t n, int activation, void *a, int n_threads);
    void (*activation_backward)(const void *da, const void *a, ptrdiff_t n, int activation, void *dz, int n_threads);
    void (*dropout)(const void *x, ptrdiff_t n, uint64_t key, uint32_t threshold, double scale, void *y, int n_threads);
    int (*all_finite)(const void *x, ptrdiff_t n, int n_threads);
    void (*layer_norm_forward)(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
                               double epsilon, void *y, void *mean, void *rstd, int n_threads);
    void (*layer_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
                                ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta,
                                int n_threads);
    void (*batch_norm_forward)(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
                               double epsilon, void *y, void *mean, void *rstd, int n_threads);
    int (*batch_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
                               ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta,
                               int n_threads);
    void (*batch_norm_inference)(const void *x, const void *gamma, const void *beta, const void *running_mean,
                                 const void *running_var, ptrdiff_t rows, ptrdiff_t n_units, double epsilon, void *y,
                                 int n_threads);
    void (*momentum_update)(void *params, const void *grad, void *velocity, double lr, double momentum, int nesterov, double l2,
                            ptrdiff_t n, int n_threads);
    void (*rmsprop_update)(void *params, const void *grad, void *square_avg, double lr, double alpha, double epsilon, double l2,
                           ptrdiff_t n, int n_threads);
    void (*adamw_update)(void *params, const void *grad, void *m, void *v, double lr, double beta_1, double beta_2,
                         double epsilon, ptrdiff_t step, double weight_decay, double l2, ptrdiff_t n, int n_threads);
    void (*sgd_update)(void *params, const void *grad, void *velocity, double lr, double momentum, int nesterov, double l2,
                       ptrdiff_t n, int n_threads);
    void (*adam_update)(void *params, const void *grad, void *m, void *v, double lr, double beta_1, double beta_2,
                        double epsilon, ptrdiff_t step, double l2, ptrdiff_t n, int n_threads);
    /* How many numbers the weights of a network take in the order of tiles, and bringing them into it: panels of
     * network_forward. */
    ptrdiff_t (*n_packed)(const ptrdiff_t *layers, ptrdiff_t n_layers);
    void (*pack)(const ptrdiff_t *layers, ptrdiff_t n_layers, const void *params, void *panels);
    int (*network_forward)(const void *x, const void *indices, const void *indptr, int wide, ptrdiff_t rows,
                           const ptrdiff_t *layers, ptrdiff_t n_layers, const void *params, const void *panels, void *outputs,
                           int n_threads);
    int (*network_loss_gradient)(const void *x, const void *indices, const void *indptr, int wide, const ptrdiff_t *labels,
                                 const void *targets, const void *weight, ptrdiff_t rows, const ptrdiff_t *layers,
                                 ptrdiff_t n_layers, const void *params, int loss, double alpha, double clip,
                                 void *gradient, double *loss_mean, int n_threads);
    int (*train_epochs)(const void *x, const void *indices, const void *indptr, int wide, const ptrdiff_t *labels,
                        const void *targets, const void *weight, const ptrdiff_t *orders, ptrdiff_t n_epochs, ptrdiff_t n_visits,
                        const ptrdiff_t *layers, ptrdiff_t n_layers, int loss, int optimizer, const double *hyper, double alpha,
                        double clip, ptrdiff_t batch_size, ptrdiff_t *step, void *params, void *state, double *losses,
                        int n_threads);
};

/* The indices that interleave the lower, or the upper, halves of two registers of 2, 4, 8 or 16 numbers. AVX2 has instructions for
 * that within halves only, and for halves as a whole: see transpose() in simd.h. */
#define LOW_2 0, 2
#define HIGH_2 1, 3
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

#define VEC FN(vec)
#define INT_VEC FN(int_vec)
#define UNSIGNED_VEC FN(unsigned_vec)
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define PANEL (TILE_VECTORS * LANES)

/* ln 2 = LN2_HI + LN2_LO, LN2_HI with enough trailing zeros that its product with an exponent is exact. EXP_LOWEST and
 * EXP_HIGHEST lie just beyond where exp is 0 and infinity, EXP_NORMAL just above where it becomes subnormal; from TANH_SATURATED
 * = 2 |z| on, tanh rounds to 1. EXP_DEGREE, an odd number, and ARTANH_TERMS are the smallest whose first dropped term is below a
 * quarter of the last place. */
#define REAL float
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
#if VECTOR_BYTES == 64
#define INTERLEAVE_LOW LOW_16
#define INTERLEAVE_HIGH HIGH_16
#elif VECTOR_BYTES == 32
#define LOWER_HALVES 0, 1, 2, 3, 8, 9, 10, 11
#define UPPER_HALVES 4, 5, 6, 7, 12, 13, 14, 15
#define INTERLEAVE_LOW 0, 8, 1, 9, 4, 12, 5, 13
#define INTERLEAVE_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#else
#define INTERLEAVE_LOW LOW_4
#define INTERLEAVE_HIGH HIGH_4
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
#include "simd.h"
#include "vmath.h"
#include "tile.h"
#include "packing.h"
#include "shallow.h"
#include "gemm.h"
#include "elementwise.h"
#include "dropout.h"
#include "normalization.h"
#include "optimizer.h"
#include "sparse.h"
#include "network.h"
#include "batch.h"
#include "training.h"
#include "exports.h"
#include "hardware.h"
#undef REAL
#undef INTEGER
#undef UNSIGNED
#undef INTEGER_MIN
#undef INTEGER_MAX
#undef SUFFIX
#undef REAL_SQRT
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef ROUND_MAGIC
#undef LN2_HI
#undef LN2_LO
#undef EXP_LOWEST
#undef EXP_NORMAL
#undef EXP_HIGHEST
#undef EXP_DEGREE
#undef TANH_SATURATED
#undef ARTANH_TERMS
#undef INTERLEAVE_LOW
#undef INTERLEAVE_HIGH
#undef LOWER_HALVES
#undef UPPER_HALVES
#undef VECTOR_SQRT
#undef VECTOR_MIN
#undef VECTOR_MAX
#undef VECTOR_STREAM
#undef MASK_LOAD
#undef MASK_STORE

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
#define INTERLEAVE_LOW LOW_8
#define INTERLEAVE_HIGH HIGH_8
#elif VECTOR_BYTES == 32
#define LOWER_HALVES 0, 1, 4, 5
#define UPPER_HALVES 2, 3, 6, 7
#define INTERLEAVE_LOW 0, 4, 2, 6
#define INTERLEAVE_HIGH 1, 5, 3, 7
#else
#define INTERLEAVE_LOW LOW_2
#define INTERLEAVE_HIGH HIGH_2
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
#include "simd.h"
#include "vmath.h"
#include "tile.h"
#include "packing.h"
#include "shallow.h"
#include "gemm.h"
#include "elementwise.h"
#include "dropout.h"
#include "normalization.h"
#include "optimizer.h"
#include "sparse.h"
#include "network.h"
#include "batch.h"
#include "training.h"
#include "exports.h"
#include "hardware.h"

/* The compiled kernels for one instruction set, both real types.
 *
 *   codes.h        numbers of activations, losses, optimizers
 *   platform.h     registers and tile of the instruction set
 *   memory.h       the working memory of a call
 *   threads.h      waiting: the clock, barriers
 *   pool.h         threads, and regions that they run
 *   crew.h         who works while the cores are crowded
 *   schedule.h     how the threads of a training call share its work
 *   real_f32.h     float, and what it means for simd.h and vmath.h
 *   real_f64.h     double, likewise
 *   per_real.h     includes what follows, once for each of them:
 *     simd.h           one register
 *     vmath.h          exp, sigmoid, tanh, log
 *     tile.h           the micro-kernel
 *     packing.h        copies in tiles' order
 *     shallow.h        products of little depth
 *     gemm.h           the three products
 *     elementwise.h    activations and losses
 *     dropout.h        masks by position
 *     normalization.h  layer and batch norm
 *     optimizer.h      SGD, Adam, their relatives
 *     sparse.h         a first layer on CSR rows
 *     network.h        layers after layers
 *     prediction.h     the outputs of many rows
 *     batch.h          the gradient of a batch
 *     training.h       the training loop
 *     exports.h        the table for Cython
 *     hardware.h       loops for bench/ to time
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

#include "real_f32.h"
#include "per_real.h"

#include "real_f64.h"
#include "per_real.h"

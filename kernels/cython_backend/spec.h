/* Made by ../generate.py from ../spec.py. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum activation_code { IDENTITY = 0, RELU = 1, SIGMOID = 2, TANH = 3, LEAKY_RELU = 4, ELU = 5, SELU = 6, GELU = 7, SILU = 8,
                       MISH = 9, SOFTPLUS = 10 };
enum link_code { LINK_IDENTITY = 0, LINK_SIGMOID = 2, LINK_EXP = 101, LINK_SOFTMAX = 102 };
enum loss_code { SOFTMAX_CROSS_ENTROPY = 0, BINARY_CROSS_ENTROPY = 1, SQUARED_ERROR = 2, POISSON = 3, ABSOLUTE_ERROR = 4, HUBER = 5,
                 QUANTILE = 6, GAMMA = 7, TWEEDIE = 8 };
enum optimizer_code { SGD = 0, ADAM = 1, MOMENTUM = 2, RMSPROP = 3, ADAMW = 4 };
enum layer_kind { KIND_LINEAR = 0, KIND_ACTIVATION = 1, KIND_DROPOUT = 2, KIND_LAYER_NORM = 3, KIND_BATCH_NORM = 4, KIND_ADD = 5,
                  KIND_LINK = 6 };
enum encoding { ENCODING_PLAIN = 0, ENCODING_PIECEWISE_LINEAR = 1, ENCODING_ONE_HOT = 2 };
enum { N_ACTIVATIONS = 11, N_LOSSES = 9, N_OPTIMIZERS = 5, N_COMMON_HYPER = 3, INT8_FEWEST_IN = 32, INT8_FEWEST_OUT = 16,
       INT8_MOST_IN = 65536 };
static const int OPTIMIZER_SLOTS[N_OPTIMIZERS] = {1, 2, 1, 1, 2};
static const int OPTIMIZER_HYPER[N_OPTIMIZERS] = {2, 3, 2, 2, 3};
static const int LOSS_HYPER[N_LOSSES] = {0, 0, 0, 0, 0, 1, 1, 0, 1};
static const int LOSS_PER_OUTPUT[N_LOSSES] = {0, 0, 0, 0, 0, 0, 1, 0, 0};

/* X(CODE, name) for each activation whose derivative is taken from a, or from z, and for each link (as LINK_CODE),
 * loss and optimizer. */
#define ACTIVATIONS_FROM_A(X) X(IDENTITY, identity) X(RELU, relu) X(SIGMOID, sigmoid) X(TANH, tanh)
#define ACTIVATIONS_FROM_Z(X) X(LEAKY_RELU, leaky_relu) X(ELU, elu) X(SELU, selu) X(GELU, gelu) X(SILU, silu) X(MISH, mish) \
                              X(SOFTPLUS, softplus)
#define LINKS(X) X(IDENTITY, identity) X(SIGMOID, sigmoid) X(EXP, exp) X(SOFTMAX, softmax)
#define LOSSES(X) X(SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy) X(BINARY_CROSS_ENTROPY, binary_cross_entropy) \
                  X(SQUARED_ERROR, squared_error) X(POISSON, poisson) X(ABSOLUTE_ERROR, absolute_error) X(HUBER, huber) \
                  X(QUANTILE, quantile) X(GAMMA, gamma) X(TWEEDIE, tweedie)
#define OPTIMIZERS(X) X(SGD, sgd) X(ADAM, adam) X(MOMENTUM, momentum) X(RMSPROP, rmsprop) X(ADAMW, adamw)

struct layer {
    int64_t kind;
    int64_t n_in;
    int64_t n_out;
    int64_t offset;
    int64_t code;
    int64_t source;
    int64_t buffers;
    int64_t seed;
    int64_t stream;
    double rate;
    double epsilon;
    double momentum;
};

struct column {
    int64_t kind;
    int64_t offset;
    int64_t n;
};

struct rows {
    const void *x;
    int real;
    const void *indices;
    const void *indptr;
    int wide;
    const struct column *columns;
    ptrdiff_t n_columns;
    ptrdiff_t n;
    const ptrdiff_t *labels;
    const void *targets;
    const void *sample_weight;
};

struct job {
    struct rows data;
    const ptrdiff_t *orders;
    ptrdiff_t n_epochs;
    ptrdiff_t n_visits;
    const struct layer *layers;
    ptrdiff_t n_layers;
    void *params;
    void *buffers;
    int loss;
    const double *loss_hyper;
    double gradient_scale;
    double value_scale;
    double smoothing;
    double clip;
    double alpha;
    int optimizer;
    const double *hyper;
    const double *rates;
    int exempt;
    double clip_norm;
    void *state;
    ptrdiff_t *step;
    double ema_decay;
    void *average;
    ptrdiff_t batch_size;
    double *losses;
    struct rows validation;
    double *validation_losses;
    double *best;
    void *best_params;
    void *best_buffers;
};

struct kernels {
    int (*linear_forward)(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                          int activation, void *a, int n_threads);
    int (*linear_backward)(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
                           ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias, int n_threads);
    void (*softmax_forward)(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads);
    void (*softmax_backward)(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads);
    int (*loss_forward)(int loss, const double *loss_hyper, const void *logits, const ptrdiff_t *labels, const void *targets,
                        const void *sample_weight, ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum, int n_threads);
    void (*loss_backward)(int loss, const double *loss_hyper, const void *outputs, const ptrdiff_t *labels, const void *targets,
                          const void *sample_weight, double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads);
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
    int (*batch_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd, ptrdiff_t rows,
                               ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta, int n_threads);
    void (*batch_norm_inference)(const void *x, const void *gamma, const void *beta, const void *running_mean,
                                 const void *running_var, ptrdiff_t rows, ptrdiff_t n_units, double epsilon, void *y,
                                 int n_threads);
    void (*update)(int optimizer, void *params, const void *grad, void *slot_1, void *slot_2, const double *hyper, ptrdiff_t step,
                   ptrdiff_t n, int n_threads);
    ptrdiff_t (*packed_bytes)(const struct layer *layers, ptrdiff_t n_layers, int int8);
    void (*pack)(const struct layer *layers, ptrdiff_t n_layers, const void *params, const int8_t *codes, const float *scales,
                 void *panels);
    int (*network_forward)(const struct rows *x, const struct layer *layers, ptrdiff_t n_layers, const void *params,
                           const void *buffers, const void *panels, int int8, void *outputs, int n_threads);
    int (*network_loss_gradient)(const struct rows *data, const struct layer *layers, ptrdiff_t n_layers, const void *params,
                                 int loss, const double *loss_hyper, double alpha, double clip, void *gradient, double *loss_mean,
                                 int n_threads);
    int (*train_epochs)(const struct job *job, int n_threads);
    int (*batch_sums)(const struct job *job, ptrdiff_t first_row, void *sums, int n_threads);
    int (*apply_sums)(const struct job *job, const void *sums, int n_threads);
};

#define KERNEL_TABLE \
    KERNEL(linear_forward), KERNEL(linear_backward), KERNEL(softmax_forward), KERNEL(softmax_backward), KERNEL(loss_forward), \
    KERNEL(loss_backward), KERNEL(activation_forward), KERNEL(activation_backward), KERNEL(dropout), KERNEL(all_finite), \
    KERNEL(layer_norm_forward), KERNEL(layer_norm_backward), KERNEL(batch_norm_forward), KERNEL(batch_norm_backward), \
    KERNEL(batch_norm_inference), KERNEL(update), KERNEL(packed_bytes), KERNEL(pack), KERNEL(network_forward), \
    KERNEL(network_loss_gradient), KERNEL(train_epochs), KERNEL(batch_sums), KERNEL(apply_sums)

# Made by ../generate.py from ../spec.py.
#
# The kernels for a user's own Cython module: include this file, with this folder among the include paths of cythonize and among the
# include_dirs of the Extension. examples/kernels_cython.py builds such a module.
#
# The kernels are compiled into the user's module, with the user's flags: -O3 -march=native for instance, and -pthread if the C
# library has threads in a separate library. So there is no binary interface that could change, and no import at run time.
#
# Pointers are untyped: KERNELS_f32 takes float arrays, KERNELS_f64 double arrays, all C-contiguous, shapes as in ../reference.
# Only the numbers of activations, losses and optimizers are checked, which are those below: another one aborts the process. NULL
# means "not given". Functions that return int return 0, or -1 if memory could not be allocated; nothing was changed then. No Python
# object is touched: all run without the GIL.

from libc.stddef cimport ptrdiff_t

cdef extern from "engine.h":
    # The kernels that a user is likely to need. Others of the table in spec.h can be declared in the same way.
    cdef struct kernels:
        # a = f(x @ weight + bias)
        int (*linear_forward)(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                              int activation, void *a, int n_threads) noexcept nogil
        # dz = da * f'(z); dx = dz @ weight.T (or dx NULL), dweight (+)= x.T @ dz, dbias (+)= column sums of dz; a
        # is the output of IDENTITY, RELU, SIGMOID and TANH; for the other activations pass z = x @ weight + bias there
        int (*linear_backward)(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
                               ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias,
                               int n_threads) noexcept nogil
        # a = f(z) for n numbers; a may be z
        void (*activation_forward)(const void *z, ptrdiff_t n, int activation, void *a, int n_threads) noexcept nogil
        # dz = da * f'(z) for n numbers; a as for linear_backward; dz may be da
        void (*activation_backward)(const void *da, const void *a, ptrdiff_t n, int activation, void *dz,
                                    int n_threads) noexcept nogil
        void (*softmax_forward)(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads) noexcept nogil
        void (*softmax_backward)(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                                 int n_threads) noexcept nogil
        # outputs = link(logits), may be the logits or NULL; labels (rows,) or dense targets (rows, n_out), the other
        # NULL; loss_hyper has the parameters of the loss, NULL where there are none
        int (*loss_forward)(int loss, const double *loss_hyper, const void *logits, const ptrdiff_t *labels, const void *targets,
                            const void *sample_weight, ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum,
                            int n_threads) noexcept nogil
        # dlogits = scale * the gradient, outputs - targets for many losses; may be the outputs
        void (*loss_backward)(int loss, const double *loss_hyper, const void *outputs, const ptrdiff_t *labels, const void *targets,
                              const void *sample_weight, double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                              int n_threads) noexcept nogil
        # one step on n parameters in place; hyper is lr, l2, weight_decay, then the optimizer's own; slot_2 is NULL for an
        # optimizer with one slot; step counts from 1
        void (*update)(int optimizer, void *params, const void *grad, void *slot_1, void *slot_2, const double *hyper,
                       ptrdiff_t step, ptrdiff_t n, int n_threads) noexcept nogil

    const kernels KERNELS_f32
    const kernels KERNELS_f64

    # Call once when the module is imported, so that a forked child knows that it does not have its parent's threads.
    void threads_init() noexcept nogil

    int IDENTITY, RELU, SIGMOID, TANH, LEAKY_RELU, ELU, SELU, GELU, SILU, MISH, SOFTPLUS
    int SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, POISSON, ABSOLUTE_ERROR, HUBER, QUANTILE, GAMMA, TWEEDIE
    int SGD, ADAM, MOMENTUM, RMSPROP, ADAMW

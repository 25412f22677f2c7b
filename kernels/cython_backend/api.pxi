# The kernels for a user's own Cython module: include this file, with this folder among the include paths of cythonize and among the
# include_dirs of the Extension. examples/kernels_cython.py builds such a module.
#
# The kernels are compiled into the user's module, with the user's flags: -O3 -mavx2 -mfma for instance, and -pthread where the C
# library has threads apart. So there is no binary interface that could change, and no import at run time.
#
# Pointers are untyped: KERNELS_f32 takes float arrays, KERNELS_f64 double arrays, all C-contiguous, shapes as in ../reference.py.
# Nothing is checked. NULL means "not given". Functions that return int return 0, or -1 when there was no memory, and then changed
# nothing. Activations and losses are the numbers below, those of ../codes.py. No Python object is touched: all run without the GIL.

from libc.stddef cimport ptrdiff_t

cdef extern from "engine.h":
    # What a user needs of the table in engine.h; the others can be declared in the same way.
    cdef struct kernels:
        # a = f(x @ weight + bias)
        int (*linear_forward)(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in,
                              ptrdiff_t n_out, int activation, void *a, int n_threads) noexcept nogil
        # dz = da * f'(z); dx = dz @ weight.T (or dx NULL), dweight (+)= x.T @ dz, dbias (+)= sum of dz over the rows
        int (*linear_backward)(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
                               ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias,
                               int n_threads) noexcept nogil
        void (*softmax_forward)(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads) noexcept nogil
        void (*softmax_backward)(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                                 int n_threads) noexcept nogil
        # outputs = link(logits), may be the logits; labels (rows,) or dense targets (rows, n_out), the other NULL
        int (*loss_forward)(int loss, const void *logits, const ptrdiff_t *labels, const void *targets, const void *sample_weight,
                            ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum, int n_threads) noexcept nogil
        # dlogits = scale * (outputs - targets), may be the outputs
        void (*loss_backward)(int loss, const void *outputs, const ptrdiff_t *labels, const void *targets,
                              const void *sample_weight, double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                              int n_threads) noexcept nogil
        # n parameters in place, g = grad + l2 * params; step counts from 1
        void (*sgd_update)(void *params, const void *grad, void *velocity, double lr, double momentum, int nesterov, double l2,
                           ptrdiff_t n, int n_threads) noexcept nogil
        void (*adam_update)(void *params, const void *grad, void *m, void *v, double lr, double beta_1, double beta_2,
                            double epsilon, ptrdiff_t step, double l2, ptrdiff_t n, int n_threads) noexcept nogil

    const kernels KERNELS_f32
    const kernels KERNELS_f64

    # Call once when the module is imported, so that a forked child knows that its parent's threads are not there.
    void threads_init() noexcept nogil

    int IDENTITY, RELU, SIGMOID, TANH
    int SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, POISSON

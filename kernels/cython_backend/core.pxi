# The raw kernels of one instruction set: what `_baseline.pyx`, `_avx2.pyx` and `_avx512.pyx` include, each compiled with its own
# flags. Signatures are those of ../reference.py. Arrays are C-contiguous and of one real type, checked by the caller
# (../public.py); here they become pointers, and the GIL is released.

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from numpy.random cimport bitgen_t

cnp.import_array()

cdef extern from "engine.h":
    cdef struct kernels:
        int (*linear_forward)(const void *, const void *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t, int, void *,
                              int) noexcept nogil
        int (*linear_backward)(const void *, const void *, const void *, const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t, int, int,
                               void *, void *, void *, int) noexcept nogil
        void (*softmax_forward)(const void *, ptrdiff_t, ptrdiff_t, void *, int) noexcept nogil
        void (*softmax_backward)(const void *, const void *, ptrdiff_t, ptrdiff_t, void *, int) noexcept nogil
        int (*loss_forward)(int, const void *, const ptrdiff_t *, const void *, const void *, ptrdiff_t, ptrdiff_t, void *,
                            double *, int) noexcept nogil
        void (*loss_backward)(int, const void *, const ptrdiff_t *, const void *, const void *, double, ptrdiff_t, ptrdiff_t,
                              void *, int) noexcept nogil
        void (*activation_forward)(const void *, ptrdiff_t, int, void *, int) noexcept nogil
        void (*activation_backward)(const void *, const void *, ptrdiff_t, int, void *, int) noexcept nogil
        void (*dropout)(const void *, ptrdiff_t, uint64_t, uint32_t, double, void *, int) noexcept nogil
        int (*all_finite)(const void *, ptrdiff_t, int) noexcept nogil
        void (*layer_norm_forward)(const void *, const void *, const void *, ptrdiff_t, ptrdiff_t, double, void *, void *, void *,
                                   int) noexcept nogil
        void (*layer_norm_backward)(const void *, const void *, const void *, const void *, const void *, ptrdiff_t, ptrdiff_t,
                                    int, void *, void *, void *, int) noexcept nogil
        void (*batch_norm_forward)(const void *, const void *, const void *, ptrdiff_t, ptrdiff_t, double, void *, void *, void *,
                                   int) noexcept nogil
        int (*batch_norm_backward)(const void *, const void *, const void *, const void *, const void *, ptrdiff_t, ptrdiff_t,
                                   int, void *, void *, void *, int) noexcept nogil
        void (*batch_norm_inference)(const void *, const void *, const void *, const void *, const void *, ptrdiff_t, ptrdiff_t,
                                     double, void *, int) noexcept nogil
        void (*momentum_update)(void *, const void *, void *, double, double, int, double, ptrdiff_t, int) noexcept nogil
        void (*rmsprop_update)(void *, const void *, void *, double, double, double, double, ptrdiff_t, int) noexcept nogil
        void (*adamw_update)(void *, const void *, void *, void *, double, double, double, double, ptrdiff_t, double, double,
                             ptrdiff_t, int) noexcept nogil
        void (*sgd_update)(void *, const void *, void *, double, double, int, double, ptrdiff_t, int) noexcept nogil
        void (*adam_update)(void *, const void *, void *, void *, double, double, double, double, ptrdiff_t, double, ptrdiff_t,
                            int) noexcept nogil
        ptrdiff_t (*n_packed)(const ptrdiff_t *, ptrdiff_t) noexcept nogil
        void (*pack)(const ptrdiff_t *, ptrdiff_t, const void *, void *) noexcept nogil
        int (*network_forward)(const void *, const void *, const void *, int, ptrdiff_t, const ptrdiff_t *, ptrdiff_t,
                               const void *, const void *, void *, int) noexcept nogil
        int (*network_loss_gradient)(const void *, const void *, const void *, int, const ptrdiff_t *, const void *, const void *,
                                     ptrdiff_t, const ptrdiff_t *, ptrdiff_t, const void *, int, double, double, void *, double *,
                                     int) noexcept nogil
        int (*train_epochs)(const void *, const void *, const void *, int, const ptrdiff_t *, const void *, const void *,
                            const ptrdiff_t *, ptrdiff_t, ptrdiff_t, const ptrdiff_t *, ptrdiff_t, int, int, const double *, double,
                            double, ptrdiff_t, ptrdiff_t *, void *, void *, double *, int) noexcept nogil
    const kernels KERNELS_f32
    const kernels KERNELS_f64
    enum: CACHE_LINE, LAYER_COLUMNS, N_IN, N_OUT, OFFSET, SGD
    ptrdiff_t round_up(ptrdiff_t, ptrdiff_t) noexcept nogil
    void threads_init() noexcept nogil

cdef extern from "shuffle.h":
    void shuffle(bitgen_t *, ptrdiff_t *, ptrdiff_t) noexcept nogil

include "sizes.pxi"

threads_init()


cdef const kernels *kernels_for(cnp.ndarray array) except NULL:
    cdef int number = cnp.PyArray_TYPE(array)
    if number == cnp.NPY_FLOAT32:
        return &KERNELS_f32
    if number == cnp.NPY_FLOAT64:
        return &KERNELS_f64
    raise TypeError(f"expected float32 or float64, got {array.dtype}")


# The array's data, or NULL where it is empty, which means "not given".
cdef inline void *data(cnp.ndarray array) noexcept:
    return cnp.PyArray_DATA(array) if cnp.PyArray_SIZE(array) else NULL


# Whether the indices of a sparse X are int64 rather than int32.
cdef inline bint is_wide(cnp.ndarray indptr) noexcept:
    return cnp.PyArray_ITEMSIZE(indptr) == 8


# The rows of X: a matrix's, or those of the CSR arrays.
cdef inline ptrdiff_t n_rows(cnp.ndarray x, cnp.ndarray indptr) noexcept:
    return cnp.PyArray_SIZE(indptr) - 1 if cnp.PyArray_SIZE(indptr) else x.shape[0]


cdef int check_memory(int status) except -1:
    if status != 0:
        raise MemoryError("no memory for the work buffers; nothing was changed")
    return 0


def linear_forward(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, int activation, cnp.ndarray a, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_in = weight.shape[0], n_out = weight.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    cdef int status
    check_sizes("x", rows * n_in, item, x)
    check_sizes("weight", n_in * n_out, item, weight)
    check_sizes("bias", n_out, item, bias)
    check_sizes("a", rows * n_out, item, a)
    with nogil:
        status = k.linear_forward(cnp.PyArray_DATA(x), cnp.PyArray_DATA(weight), cnp.PyArray_DATA(bias), rows, n_in,
                                  n_out, activation, cnp.PyArray_DATA(a), n_threads)
    check_memory(status)


def linear_backward(cnp.ndarray da, cnp.ndarray x, cnp.ndarray weight, cnp.ndarray a, int activation, bint accumulate,
                    cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef void *dx_data = data(dx)
    cdef ptrdiff_t rows = x.shape[0], n_in = weight.shape[0], n_out = weight.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    cdef int status
    check_sizes("da, a", rows * n_out, item, da, a)
    check_sizes("x", rows * n_in, item, x)
    check_sizes("weight", n_in * n_out, item, weight)
    check_optional("dx", rows * n_in, item, dx)
    check_sizes("dweight", n_in * n_out, item, dweight)
    check_sizes("dbias", n_out, item, dbias)
    with nogil:
        status = k.linear_backward(cnp.PyArray_DATA(da), cnp.PyArray_DATA(x), cnp.PyArray_DATA(weight), cnp.PyArray_DATA(a),
                                   rows, n_in, n_out, activation, accumulate, dx_data,
                                   cnp.PyArray_DATA(dweight), cnp.PyArray_DATA(dbias), n_threads)
    check_memory(status)


def activation_forward(cnp.ndarray z, int activation, cnp.ndarray a, int n_threads):
    cdef const kernels *k = kernels_for(z)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(z)
    check_sizes("a", n, cnp.PyArray_ITEMSIZE(z), a)
    with nogil:
        k.activation_forward(cnp.PyArray_DATA(z), n, activation, cnp.PyArray_DATA(a), n_threads)


def activation_backward(cnp.ndarray da, cnp.ndarray a, int activation, cnp.ndarray dz, int n_threads):
    cdef const kernels *k = kernels_for(da)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(da)
    check_sizes("a, dz", n, cnp.PyArray_ITEMSIZE(da), a, dz)
    with nogil:
        k.activation_backward(cnp.PyArray_DATA(da), cnp.PyArray_DATA(a), n, activation, cnp.PyArray_DATA(dz), n_threads)


def dropout(cnp.ndarray x, uint64_t key, uint32_t threshold, double scale, cnp.ndarray y, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(x)
    check_sizes("y", n, cnp.PyArray_ITEMSIZE(x), y)
    with nogil:
        k.dropout(cnp.PyArray_DATA(x), n, key, threshold, scale, cnp.PyArray_DATA(y), n_threads)


def all_finite(cnp.ndarray x, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(x)
    cdef int finite
    with nogil:
        finite = k.all_finite(cnp.PyArray_DATA(x), n, n_threads)
    return finite != 0


def layer_norm_forward(cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, double epsilon, cnp.ndarray y, cnp.ndarray mean,
                       cnp.ndarray rstd, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_units = x.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    check_sizes("x, y", rows * n_units, item, x, y)
    check_sizes("gamma, beta", n_units, item, gamma, beta)
    check_sizes("mean, rstd", rows, item, mean, rstd)
    with nogil:
        k.layer_norm_forward(cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma), cnp.PyArray_DATA(beta), rows, n_units, epsilon,
                             cnp.PyArray_DATA(y), cnp.PyArray_DATA(mean), cnp.PyArray_DATA(rstd), n_threads)


def layer_norm_backward(cnp.ndarray dy, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray mean, cnp.ndarray rstd, bint accumulate,
                        cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_units = x.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    check_sizes("dy, x, dx", rows * n_units, item, dy, x, dx)
    check_sizes("gamma, dgamma, dbeta", n_units, item, gamma, dgamma, dbeta)
    check_sizes("mean, rstd", rows, item, mean, rstd)
    with nogil:
        k.layer_norm_backward(cnp.PyArray_DATA(dy), cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma), cnp.PyArray_DATA(mean),
                              cnp.PyArray_DATA(rstd), rows, n_units, accumulate, cnp.PyArray_DATA(dx),
                              cnp.PyArray_DATA(dgamma), cnp.PyArray_DATA(dbeta), n_threads)


def batch_norm_forward(cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, double epsilon, cnp.ndarray y, cnp.ndarray mean,
                       cnp.ndarray rstd, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_units = x.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    check_sizes("x, y", rows * n_units, item, x, y)
    check_sizes("gamma, beta, mean, rstd", n_units, item, gamma, beta, mean, rstd)
    with nogil:
        k.batch_norm_forward(cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma), cnp.PyArray_DATA(beta), rows, n_units, epsilon,
                             cnp.PyArray_DATA(y), cnp.PyArray_DATA(mean), cnp.PyArray_DATA(rstd), n_threads)


def batch_norm_backward(cnp.ndarray dy, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray mean, cnp.ndarray rstd, bint accumulate,
                        cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_units = x.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    cdef int status
    check_sizes("dy, x, dx", rows * n_units, item, dy, x, dx)
    check_sizes("gamma, mean, rstd, dgamma", n_units, item, gamma, mean, rstd, dgamma)
    check_sizes("dbeta", n_units, item, dbeta)
    with nogil:
        status = k.batch_norm_backward(cnp.PyArray_DATA(dy), cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma), cnp.PyArray_DATA(mean),
                                       cnp.PyArray_DATA(rstd), rows, n_units, accumulate, cnp.PyArray_DATA(dx),
                                       cnp.PyArray_DATA(dgamma), cnp.PyArray_DATA(dbeta), n_threads)
    check_memory(status)


def batch_norm_inference(cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray running_mean, cnp.ndarray running_var,
                         double epsilon, cnp.ndarray y, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_units = x.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    check_sizes("x, y", rows * n_units, item, x, y)
    check_sizes("gamma, beta, running_mean, running_var", n_units, item, gamma, beta, running_mean, running_var)
    with nogil:
        k.batch_norm_inference(cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma), cnp.PyArray_DATA(beta),
                               cnp.PyArray_DATA(running_mean), cnp.PyArray_DATA(running_var), rows, n_units, epsilon,
                               cnp.PyArray_DATA(y), n_threads)


def softmax_forward(cnp.ndarray logits, cnp.ndarray probs, int n_threads):
    cdef const kernels *k = kernels_for(logits)
    cdef ptrdiff_t rows = logits.shape[0], n_units = logits.shape[1], item = cnp.PyArray_ITEMSIZE(logits)
    check_sizes("logits, probs", rows * n_units, item, logits, probs)
    with nogil:
        k.softmax_forward(cnp.PyArray_DATA(logits), rows, n_units, cnp.PyArray_DATA(probs), n_threads)


def softmax_backward(cnp.ndarray dprobs, cnp.ndarray probs, cnp.ndarray dlogits, int n_threads):
    cdef const kernels *k = kernels_for(probs)
    cdef ptrdiff_t rows = probs.shape[0], n_units = probs.shape[1], item = cnp.PyArray_ITEMSIZE(probs)
    check_sizes("dprobs, probs, dlogits", rows * n_units, item, dprobs, probs, dlogits)
    with nogil:
        k.softmax_backward(cnp.PyArray_DATA(dprobs), cnp.PyArray_DATA(probs), rows, n_units,
                           cnp.PyArray_DATA(dlogits), n_threads)


def loss_forward(int loss, cnp.ndarray logits, cnp.ndarray labels, cnp.ndarray targets, cnp.ndarray sample_weight,
                 cnp.ndarray outputs, int n_threads):
    cdef const kernels *k = kernels_for(logits)
    cdef ptrdiff_t rows = logits.shape[0], n_out = logits.shape[1], item = cnp.PyArray_ITEMSIZE(logits)
    cdef const ptrdiff_t *labels_data = <const ptrdiff_t *>data(labels)
    cdef const void *targets_data = data(targets)
    cdef const void *weight_data = data(sample_weight)
    cdef void *outputs_data = data(outputs)
    cdef double loss_sum = 0
    cdef int status
    check_sizes("logits", rows * n_out, item, logits)
    check_targets(labels, targets, sample_weight, rows, n_out, item)
    check_optional("outputs", rows * n_out, item, outputs)
    with nogil:
        status = k.loss_forward(loss, cnp.PyArray_DATA(logits), labels_data, targets_data, weight_data, rows, n_out,
                                outputs_data, &loss_sum, n_threads)
    check_memory(status)
    return loss_sum


def loss_backward(int loss, cnp.ndarray outputs, cnp.ndarray labels, cnp.ndarray targets, cnp.ndarray sample_weight,
                  double scale, cnp.ndarray dlogits, int n_threads):
    cdef const kernels *k = kernels_for(outputs)
    cdef ptrdiff_t rows = outputs.shape[0], n_out = outputs.shape[1], item = cnp.PyArray_ITEMSIZE(outputs)
    cdef const ptrdiff_t *labels_data = <const ptrdiff_t *>data(labels)
    cdef const void *targets_data = data(targets)
    cdef const void *weight_data = data(sample_weight)
    check_sizes("outputs", rows * n_out, item, outputs)
    check_targets(labels, targets, sample_weight, rows, n_out, item)
    check_sizes("dlogits", rows * n_out, item, dlogits)
    with nogil:
        k.loss_backward(loss, cnp.PyArray_DATA(outputs), labels_data, targets_data, weight_data, scale, rows, n_out,
                        cnp.PyArray_DATA(dlogits), n_threads)


def sgd_update(cnp.ndarray params, cnp.ndarray grad, cnp.ndarray velocity, double lr, double momentum, bint nesterov, double l2,
               int n_threads):
    cdef const kernels *k = kernels_for(params)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(params)
    check_sizes("grad, velocity", n, cnp.PyArray_ITEMSIZE(params), grad, velocity)
    with nogil:
        k.sgd_update(cnp.PyArray_DATA(params), cnp.PyArray_DATA(grad), cnp.PyArray_DATA(velocity), lr, momentum, nesterov, l2,
                     n, n_threads)


def adam_update(cnp.ndarray params, cnp.ndarray grad, cnp.ndarray m, cnp.ndarray v, double lr, double beta_1, double beta_2,
                double epsilon, Py_ssize_t step, double l2, int n_threads):
    cdef const kernels *k = kernels_for(params)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(params)
    check_sizes("grad, m, v", n, cnp.PyArray_ITEMSIZE(params), grad, m, v)
    with nogil:
        k.adam_update(cnp.PyArray_DATA(params), cnp.PyArray_DATA(grad), cnp.PyArray_DATA(m), cnp.PyArray_DATA(v), lr, beta_1,
                      beta_2, epsilon, step, l2, n, n_threads)


def momentum_update(cnp.ndarray params, cnp.ndarray grad, cnp.ndarray velocity, double lr, double momentum, bint nesterov,
                    double l2, int n_threads):
    cdef const kernels *k = kernels_for(params)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(params)
    check_sizes("grad, velocity", n, cnp.PyArray_ITEMSIZE(params), grad, velocity)
    with nogil:
        k.momentum_update(cnp.PyArray_DATA(params), cnp.PyArray_DATA(grad), cnp.PyArray_DATA(velocity), lr, momentum, nesterov,
                          l2, n, n_threads)


def rmsprop_update(cnp.ndarray params, cnp.ndarray grad, cnp.ndarray square_avg, double lr, double alpha, double epsilon,
                   double l2, int n_threads):
    cdef const kernels *k = kernels_for(params)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(params)
    check_sizes("grad, square_avg", n, cnp.PyArray_ITEMSIZE(params), grad, square_avg)
    with nogil:
        k.rmsprop_update(cnp.PyArray_DATA(params), cnp.PyArray_DATA(grad), cnp.PyArray_DATA(square_avg), lr, alpha, epsilon, l2,
                         n, n_threads)


def adamw_update(cnp.ndarray params, cnp.ndarray grad, cnp.ndarray m, cnp.ndarray v, double lr, double beta_1, double beta_2,
                 double epsilon, Py_ssize_t step, double weight_decay, double l2, int n_threads):
    cdef const kernels *k = kernels_for(params)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(params)
    check_sizes("grad, m, v", n, cnp.PyArray_ITEMSIZE(params), grad, m, v)
    with nogil:
        k.adamw_update(cnp.PyArray_DATA(params), cnp.PyArray_DATA(grad), cnp.PyArray_DATA(m), cnp.PyArray_DATA(v), lr, beta_1,
                       beta_2, epsilon, step, weight_decay, l2, n, n_threads)


def network_forward(cnp.ndarray x, cnp.ndarray indices, cnp.ndarray indptr, cnp.ndarray layers, cnp.ndarray params,
                    cnp.ndarray outputs, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef const void *indptr_data = data(indptr)
    cdef int wide = is_wide(indptr), status
    cdef ptrdiff_t rows = n_rows(x, indptr)
    check_sizes("outputs", rows * check_network(x, indptr, rows, layers, params), cnp.PyArray_ITEMSIZE(x), outputs)
    with nogil:
        status = k.network_forward(cnp.PyArray_DATA(x), cnp.PyArray_DATA(indices), indptr_data, wide, rows,
                                   <const ptrdiff_t *>cnp.PyArray_DATA(layers), layers.shape[0], cnp.PyArray_DATA(params), NULL,
                                   cnp.PyArray_DATA(outputs), n_threads)
    check_memory(status)


cdef class BoundForward:
    """What `bind_forward` returns: network_forward with its arrays, and the weights in the order of tiles."""

    cdef const kernels *kernels
    cdef cnp.ndarray x, layers, params, outputs, memory
    cdef void *panels  # in memory, from the start of a cache line
    cdef ptrdiff_t rows, n_layers
    cdef int n_threads

    def __cinit__(self, cnp.ndarray x, cnp.ndarray layers, cnp.ndarray params, cnp.ndarray outputs, int n_threads):
        cdef cnp.npy_intp n_bytes
        self.kernels = kernels_for(x)
        self.x, self.layers, self.params, self.outputs, self.n_threads = x, layers, params, outputs, n_threads
        self.rows, self.n_layers = x.shape[0], layers.shape[0]
        n_bytes = self.kernels.n_packed(<const ptrdiff_t *>cnp.PyArray_DATA(layers), self.n_layers) * cnp.PyArray_ITEMSIZE(x)
        n_bytes += CACHE_LINE
        self.memory = cnp.PyArray_EMPTY(1, &n_bytes, cnp.NPY_UINT8, 0)
        self.panels = <void *>round_up(<ptrdiff_t>cnp.PyArray_DATA(self.memory), CACHE_LINE)
        self.kernels.pack(<const ptrdiff_t *>cnp.PyArray_DATA(layers), self.n_layers, cnp.PyArray_DATA(params), self.panels)

    def __call__(self):
        cdef const void *x = cnp.PyArray_DATA(self.x)
        cdef const ptrdiff_t *layers = <const ptrdiff_t *>cnp.PyArray_DATA(self.layers)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef void *outputs = cnp.PyArray_DATA(self.outputs)
        cdef int status
        with nogil:
            status = self.kernels.network_forward(x, NULL, NULL, 0, self.rows, layers, self.n_layers, params, self.panels, outputs,
                                                  self.n_threads)
        check_memory(status)


def bind_forward(cnp.ndarray x, cnp.ndarray layers, cnp.ndarray params, cnp.ndarray outputs, int n_threads):
    return BoundForward(x, layers, params, outputs, n_threads)


def network_loss_gradient(cnp.ndarray x, cnp.ndarray indices, cnp.ndarray indptr, cnp.ndarray labels, cnp.ndarray targets,
                          cnp.ndarray sample_weight, cnp.ndarray layers, cnp.ndarray params, int loss, double alpha,
                          double clip, cnp.ndarray gradient, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef const void *indptr_data = data(indptr)
    cdef int wide = is_wide(indptr)
    cdef ptrdiff_t rows = n_rows(x, indptr)
    cdef const ptrdiff_t *labels_data = <const ptrdiff_t *>data(labels)
    cdef const void *targets_data = data(targets)
    cdef const void *weight_data = data(sample_weight)
    cdef double loss_mean = 0
    cdef int status
    check_targets(labels, targets, sample_weight, rows, check_network(x, indptr, rows, layers, params), cnp.PyArray_ITEMSIZE(x))
    check_sizes("gradient", cnp.PyArray_SIZE(params), cnp.PyArray_ITEMSIZE(x), gradient)
    with nogil:
        status = k.network_loss_gradient(cnp.PyArray_DATA(x), cnp.PyArray_DATA(indices), indptr_data, wide, labels_data,
                                         targets_data, weight_data, rows, <const ptrdiff_t *>cnp.PyArray_DATA(layers),
                                         layers.shape[0], cnp.PyArray_DATA(params), loss, alpha, clip, cnp.PyArray_DATA(gradient),
                                         &loss_mean, n_threads)
    check_memory(status)
    return loss_mean


def train_epochs(cnp.ndarray x, cnp.ndarray indices, cnp.ndarray indptr, cnp.ndarray labels, cnp.ndarray targets,
                 cnp.ndarray sample_weight, cnp.ndarray orders, cnp.ndarray layers, int loss, int optimizer, cnp.ndarray hyper,
                 double alpha, double clip, Py_ssize_t batch_size, cnp.ndarray step, cnp.ndarray params, cnp.ndarray state,
                 cnp.ndarray losses, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef const void *indptr_data = data(indptr)
    cdef int wide = is_wide(indptr)
    cdef const ptrdiff_t *labels_data = <const ptrdiff_t *>data(labels)
    cdef const void *targets_data = data(targets)
    cdef const void *weight_data = data(sample_weight)
    cdef ptrdiff_t rows = n_rows(x, indptr), n_slots = 1 if optimizer == SGD else 2
    cdef int status
    check_targets(labels, targets, sample_weight, rows, check_network(x, indptr, rows, layers, params), cnp.PyArray_ITEMSIZE(x))
    check_sizes("state", n_slots * cnp.PyArray_SIZE(params), cnp.PyArray_ITEMSIZE(x), state)
    check_sizes("losses", orders.shape[0], sizeof(double), losses)
    with nogil:
        status = k.train_epochs(cnp.PyArray_DATA(x), cnp.PyArray_DATA(indices), indptr_data, wide, labels_data, targets_data,
                                weight_data, <const ptrdiff_t *>cnp.PyArray_DATA(orders), orders.shape[0], orders.shape[1],
                                <const ptrdiff_t *>cnp.PyArray_DATA(layers), layers.shape[0], loss, optimizer,
                                <const double *>cnp.PyArray_DATA(hyper), alpha, clip, batch_size,
                                <ptrdiff_t *>cnp.PyArray_DATA(step), cnp.PyArray_DATA(params), cnp.PyArray_DATA(state),
                                <double *>cnp.PyArray_DATA(losses), n_threads)
    check_memory(status)


def shuffle_orders(cnp.ndarray rows, random_state, cnp.ndarray orders):
    cdef ptrdiff_t n = orders.shape[1], n_epochs = orders.shape[0], epoch
    cdef size_t n_bytes = n * sizeof(ptrdiff_t)
    cdef const ptrdiff_t *previous = <const ptrdiff_t *>cnp.PyArray_DATA(rows)
    cdef ptrdiff_t *order = <ptrdiff_t *>cnp.PyArray_DATA(orders)
    cdef bitgen_t *bits
    check_sizes("rows", n, sizeof(ptrdiff_t), rows)
    from numpy.random import RandomState  # here, because importing it takes a while
    if type(random_state) is not RandomState or n > 0xFFFFFFFF:
        for row in orders:
            row[:] = rows
            random_state.shuffle(row)
            rows = row
        return
    generator = random_state._bit_generator
    bits = <bitgen_t *>PyCapsule_GetPointer(generator.capsule, "BitGenerator")
    with generator.lock, nogil:
        for epoch in range(n_epochs):
            memcpy(order, previous, n_bytes)
            shuffle(bits, order, n)
            previous = order
            order += n

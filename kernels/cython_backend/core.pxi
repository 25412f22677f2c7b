# The raw kernels of one instruction set: what `_baseline.pyx`, `_avx2.pyx` and the others include, each with its own flags.
# Signatures are those of ../reference/. Arrays are C-contiguous and of one real type, checked by the caller (../public.py); here
# they become pointers, and the GIL is released. Values of bfloat16 are in arrays of uint16, beside parameters of float32.

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from numpy.random cimport bitgen_t

cnp.import_array()

include "spec.pxi"

cdef extern from "engine.h":
    const kernels *FLOAT_KERNELS
    const kernels *DOUBLE_KERNELS
    const kernels *BFLOAT16_KERNELS
    const int OPTIMIZER_SLOTS[]
    const int OPTIMIZER_HYPER[]
    enum: CACHE_LINE, N_COMMON_HYPER, SOFTMAX_CROSS_ENTROPY
    ptrdiff_t round_up(ptrdiff_t, ptrdiff_t) noexcept nogil
    ptrdiff_t wrong_row(const layer *, ptrdiff_t, int) noexcept nogil
    ptrdiff_t wrong_column(const column *, ptrdiff_t, ptrdiff_t) noexcept nogil
    ptrdiff_t n_loss_hyper(int, ptrdiff_t) noexcept nogil
    ptrdiff_t n_parameters(const layer *, ptrdiff_t) noexcept nogil
    ptrdiff_t n_statistics(const layer *, ptrdiff_t) noexcept nogil
    ptrdiff_t n_codes(const layer *, ptrdiff_t) noexcept nogil
    ptrdiff_t n_scales(const layer *, ptrdiff_t) noexcept nogil
    int is_activation(long long) noexcept nogil
    int is_loss(long long) noexcept nogil
    int is_optimizer(long long) noexcept nogil
    void train_jobs_in_c "train_jobs"(const kernels *const *, const job *, ptrdiff_t, int *, int) noexcept nogil
    void threads_init() noexcept nogil
    const char *int8_instructions() noexcept nogil

cdef extern from "shuffle.h":
    void shuffle(bitgen_t *, ptrdiff_t *, ptrdiff_t) noexcept nogil

# What follows checks arguments and calls kernels. With -O3 it took GCC longer than all tiles: docs/tuning.md, the time to compile.
cdef extern from *:
    """
    #if defined(__GNUC__) && !defined(__clang__)
    #pragma GCC optimize("O1")
    #endif
    """

ctypedef job job_in_c  # for functions with an argument named job

include "sizes.pxi"

threads_init()

# The instructions for products of 8-bit integers, or None.
INT8 = int8_instructions().decode() if int8_instructions() != NULL else None

cdef cnp.npy_intp NO_ITEMS = 0
cdef cnp.ndarray NOTHING = cnp.PyArray_EMPTY(1, &NO_ITEMS, cnp.NPY_INT32, 0)


# The kernels for values of one of NumPy's types.
cdef const kernels *kernels_of_type(int number) except NULL:
    cdef const kernels *found = (FLOAT_KERNELS if number == cnp.NPY_FLOAT32 else DOUBLE_KERNELS if number == cnp.NPY_FLOAT64
                                 else BFLOAT16_KERNELS if number == cnp.NPY_UINT16 else NULL)
    if found == NULL:
        name = "bfloat16" if number == cnp.NPY_UINT16 else cnp.PyArray_DescrFromType(number)
        raise TypeError(f"this module has no kernels for {name}")
    return found


cdef const kernels *kernels_for(cnp.ndarray array) except NULL:
    return kernels_of_type(cnp.PyArray_TYPE(array))


cdef inline bint is_bfloat16(cnp.ndarray values) noexcept:
    return cnp.PyArray_TYPE(values) == cnp.NPY_UINT16


# The bytes of a parameter beside an array of values.
cdef inline ptrdiff_t real_size(cnp.ndarray values) noexcept:
    return sizeof(float) if is_bfloat16(values) else cnp.PyArray_ITEMSIZE(values)


# The array's data, or NULL where it is empty, which means "not given".
cdef inline void *data(cnp.ndarray array) noexcept:
    return cnp.PyArray_DATA(array) if cnp.PyArray_SIZE(array) else NULL


cdef int check_code(str name, bint known, code) except -1:
    if not known:
        raise ValueError(f"there is no {name} number {code}")
    return 0


cdef int check_memory(int status) except -1:
    if status != 0:
        raise MemoryError("no memory for the work buffers; nothing was changed")
    return 0


def linear_forward(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, int activation, cnp.ndarray a, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef ptrdiff_t rows = x.shape[0], n_in = weight.shape[0], n_out = weight.shape[1], item = cnp.PyArray_ITEMSIZE(x)
    cdef ptrdiff_t real = real_size(x)
    cdef int status
    check_code("activation", is_activation(activation), activation)
    check_sizes("x", rows * n_in, item, x)
    check_sizes("weight", n_in * n_out, real, weight)
    check_sizes("bias", n_out, real, bias)
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
    cdef ptrdiff_t real = real_size(x)
    cdef int status
    check_code("activation", is_activation(activation), activation)
    check_sizes("da, a", rows * n_out, item, da, a)
    check_sizes("x", rows * n_in, item, x)
    check_sizes("weight", n_in * n_out, real, weight)
    check_optional("dx", rows * n_in, item, dx)
    check_sizes("dweight", n_in * n_out, real, dweight)
    check_sizes("dbias", n_out, real, dbias)
    with nogil:
        status = k.linear_backward(cnp.PyArray_DATA(da), cnp.PyArray_DATA(x), cnp.PyArray_DATA(weight), cnp.PyArray_DATA(a),
                                   rows, n_in, n_out, activation, accumulate, dx_data,
                                   cnp.PyArray_DATA(dweight), cnp.PyArray_DATA(dbias), n_threads)
    check_memory(status)


def activation_forward(cnp.ndarray z, int activation, cnp.ndarray a, int n_threads):
    cdef const kernels *k = kernels_for(z)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(z)
    check_code("activation", is_activation(activation), activation)
    check_sizes("a", n, cnp.PyArray_ITEMSIZE(z), a)
    with nogil:
        k.activation_forward(cnp.PyArray_DATA(z), n, activation, cnp.PyArray_DATA(a), n_threads)


def activation_backward(cnp.ndarray da, cnp.ndarray a, int activation, cnp.ndarray dz, int n_threads):
    cdef const kernels *k = kernels_for(da)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(da)
    check_code("activation", is_activation(activation), activation)
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


def loss_forward(int loss, cnp.ndarray loss_hyper, cnp.ndarray logits, cnp.ndarray labels, cnp.ndarray targets,
                 cnp.ndarray sample_weight, cnp.ndarray outputs, int n_threads):
    cdef const kernels *k = kernels_for(logits)
    cdef ptrdiff_t rows = logits.shape[0], n_out = logits.shape[1], item = cnp.PyArray_ITEMSIZE(logits)
    cdef const double *hyper_data = <const double *>data(loss_hyper)
    cdef const ptrdiff_t *labels_data = <const ptrdiff_t *>data(labels)
    cdef const void *targets_data = data(targets)
    cdef const void *weight_data = data(sample_weight)
    cdef void *outputs_data = data(outputs)
    cdef double loss_sum = 0
    cdef int status
    check_loss(loss, loss_hyper, n_out)
    check_sizes("logits", rows * n_out, item, logits)
    check_targets(labels, targets, sample_weight, rows, n_out, item)
    check_given(loss, rows, labels, targets)
    check_optional("outputs", rows * n_out, item, outputs)
    with nogil:
        status = k.loss_forward(loss, hyper_data, cnp.PyArray_DATA(logits), labels_data, targets_data, weight_data, rows,
                                n_out, outputs_data, &loss_sum, n_threads)
    check_memory(status)
    return loss_sum


def loss_backward(int loss, cnp.ndarray loss_hyper, cnp.ndarray outputs, cnp.ndarray labels, cnp.ndarray targets,
                  cnp.ndarray sample_weight, double scale, cnp.ndarray dlogits, int n_threads):
    cdef const kernels *k = kernels_for(outputs)
    cdef ptrdiff_t rows = outputs.shape[0], n_out = outputs.shape[1], item = cnp.PyArray_ITEMSIZE(outputs)
    cdef const double *hyper_data = <const double *>data(loss_hyper)
    cdef const ptrdiff_t *labels_data = <const ptrdiff_t *>data(labels)
    cdef const void *targets_data = data(targets)
    cdef const void *weight_data = data(sample_weight)
    check_loss(loss, loss_hyper, n_out)
    check_sizes("outputs", rows * n_out, item, outputs)
    check_targets(labels, targets, sample_weight, rows, n_out, item)
    check_given(loss, rows, labels, targets)
    check_sizes("dlogits", rows * n_out, item, dlogits)
    with nogil:
        k.loss_backward(loss, hyper_data, cnp.PyArray_DATA(outputs), labels_data, targets_data, weight_data, scale, rows,
                        n_out, cnp.PyArray_DATA(dlogits), n_threads)


def update(int optimizer, cnp.ndarray params, cnp.ndarray grad, cnp.ndarray slot_1, cnp.ndarray slot_2, cnp.ndarray hyper,
           Py_ssize_t step, int n_threads):
    cdef const kernels *k = kernels_for(params)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(params), item = cnp.PyArray_ITEMSIZE(params)
    cdef void *second = data(slot_2)
    check_code("optimizer", is_optimizer(optimizer), optimizer)
    check_sizes("grad, slot_1", n, item, grad, slot_1)
    if OPTIMIZER_SLOTS[optimizer] > 1:
        check_sizes("slot_2", n, item, slot_2)
    check_hyper(optimizer, hyper)
    with nogil:
        k.update(optimizer, cnp.PyArray_DATA(params), cnp.PyArray_DATA(grad), cnp.PyArray_DATA(slot_1), second,
                 <const double *>cnp.PyArray_DATA(hyper), step, n, n_threads)


# Rows of data as the compiled kernels take them, for a network's layer table with parameters of a size. Arrays of targets that are
# not given are empty. With bfloat16, dense rows are of that.
cdef rows checked_rows(cnp.ndarray x, cnp.ndarray indices, cnp.ndarray indptr, cnp.ndarray labels, cnp.ndarray targets,
                       cnp.ndarray sample_weight, cnp.ndarray layers, ptrdiff_t real, bint bfloat16) except *:
    cdef const layer *first = <const layer *>cnp.PyArray_DATA(layers)
    cdef ptrdiff_t item = sizeof(unsigned short) if bfloat16 and not is_direct(indices, indptr) else real
    cdef rows r
    check_sizes("x", cnp.PyArray_SIZE(x), item, x)
    r.x, r.indices, r.indptr = cnp.PyArray_DATA(x), cnp.PyArray_DATA(indices), data(indptr)
    r.wide = cnp.PyArray_ITEMSIZE(indptr) == 8
    r.n = cnp.PyArray_SIZE(indptr) - 1 if r.indptr != NULL else x.shape[0]
    r.labels, r.targets, r.sample_weight = <const ptrdiff_t *>data(labels), data(targets), data(sample_weight)
    r.columns, r.n_columns, r.real = NULL, 0, False
    if r.indptr == NULL and cnp.PyArray_SIZE(indices):
        r.columns, r.n_columns = <const column *>cnp.PyArray_DATA(indices), indices.shape[0]
        check_columns(indices, first.n_in)
    if r.indptr == NULL:
        check_sizes("x", r.n * (first.n_in if r.columns == NULL else r.n_columns), item, x)
    check_targets(labels, targets, sample_weight, r.n, first[layers.shape[0] - 1].n_out, real)
    return r


def network_forward(cnp.ndarray x, cnp.ndarray indices, cnp.ndarray indptr, cnp.ndarray layers, cnp.ndarray params,
                    cnp.ndarray buffers, cnp.ndarray outputs, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef int status
    cdef ptrdiff_t n_out = check_network(layers, params, buffers, is_direct(indices, indptr))
    cdef rows r = checked_rows(x, indices, indptr, NOTHING, NOTHING, NOTHING, layers, real_size(x), is_bfloat16(x))
    check_sizes("outputs", r.n * n_out, real_size(x), outputs)
    with nogil:
        status = k.network_forward(&r, <const layer *>cnp.PyArray_DATA(layers), layers.shape[0], cnp.PyArray_DATA(params),
                                   cnp.PyArray_DATA(buffers), NULL, False, cnp.PyArray_DATA(outputs), n_threads)
    check_memory(status)


cdef class BoundForward:
    """What `bind_forward` returns: network_forward with its arrays, and the weights in the order of tiles."""

    cdef const kernels *kernels
    cdef cnp.ndarray x, layers, params, buffers, outputs, memory
    cdef void *panels  # in memory, from the start of a cache line
    cdef rows rows
    cdef int int8, n_threads

    def __cinit__(self, cnp.ndarray x, cnp.ndarray layers, cnp.ndarray params, cnp.ndarray buffers, bint bfloat16,
                  cnp.ndarray codes, cnp.ndarray scales, cnp.ndarray outputs, int n_threads):
        cdef cnp.npy_intp n_bytes
        cdef ptrdiff_t n_out = check_network(layers, params, buffers, False), n = layers.shape[0]
        cdef const layer *table = <const layer *>cnp.PyArray_DATA(layers)
        self.kernels = kernels_of_type(cnp.NPY_UINT16) if bfloat16 else kernels_for(x)
        self.x, self.layers, self.params, self.buffers, self.outputs = x, layers, params, buffers, outputs
        self.int8, self.n_threads = cnp.PyArray_SIZE(codes) > 0, n_threads
        self.rows = checked_rows(x, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, layers, real_size(x), is_bfloat16(x))
        self.rows.real = not is_bfloat16(x)
        if bfloat16 and not is_bfloat16(x) and cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT32:
            raise TypeError(f"rows for bfloat16 must be float32 or bits of it in uint16; got {x.dtype}")
        check_sizes("params", n_parameters(table, n), real_size(x), params)
        check_sizes("outputs", self.rows.n * n_out, real_size(x), outputs)
        if self.int8:
            if self.kernels != FLOAT_KERNELS:
                raise TypeError(f"codes go with rows of float32; got {x.dtype}")
            check_sizes("codes", n_codes(table, n), sizeof(int8_t), codes)
            check_sizes("scales", n_scales(table, n), sizeof(float), scales)
        n_bytes = self.kernels.packed_bytes(table, n, self.int8) + CACHE_LINE
        self.memory = cnp.PyArray_EMPTY(1, &n_bytes, cnp.NPY_UINT8, 0)
        self.panels = <void *>round_up(<ptrdiff_t>cnp.PyArray_DATA(self.memory), CACHE_LINE)
        self.kernels.pack(table, n, cnp.PyArray_DATA(params), <const int8_t *>data(codes), <const float *>data(scales), self.panels)

    def __call__(self):
        cdef const layer *table = <const layer *>cnp.PyArray_DATA(self.layers)
        cdef ptrdiff_t n_layers = self.layers.shape[0]
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef const void *buffers = cnp.PyArray_DATA(self.buffers)
        cdef void *outputs = cnp.PyArray_DATA(self.outputs)
        cdef int status
        with nogil:
            status = self.kernels.network_forward(&self.rows, table, n_layers, params, buffers, self.panels, self.int8, outputs,
                                                  self.n_threads)
        check_memory(status)


def bind_forward(cnp.ndarray x, cnp.ndarray layers, cnp.ndarray params, cnp.ndarray buffers, bint bfloat16, cnp.ndarray codes,
                 cnp.ndarray scales, cnp.ndarray outputs, int n_threads):
    return BoundForward(x, layers, params, buffers, bfloat16, codes, scales, outputs, n_threads)


def network_loss_gradient(cnp.ndarray x, cnp.ndarray indices, cnp.ndarray indptr, cnp.ndarray labels, cnp.ndarray targets,
                          cnp.ndarray sample_weight, cnp.ndarray layers, cnp.ndarray params, int loss,
                          cnp.ndarray loss_hyper, double alpha, double clip, cnp.ndarray gradient, int n_threads):
    cdef const kernels *k = kernels_for(x)
    cdef const double *hyper_data = <const double *>data(loss_hyper)
    cdef double loss_mean = 0
    cdef int status
    cdef rows r
    check_loss(loss, loss_hyper, check_network(layers, params, None, is_direct(indices, indptr)))
    r = checked_rows(x, indices, indptr, labels, targets, sample_weight, layers, real_size(x), is_bfloat16(x))
    check_given(loss, r.n, labels, targets)
    check_sizes("gradient", cnp.PyArray_SIZE(params), real_size(x), gradient)
    with nogil:
        status = k.network_loss_gradient(&r, <const layer *>cnp.PyArray_DATA(layers), layers.shape[0], cnp.PyArray_DATA(params),
                                         loss, hyper_data, alpha, clip, cnp.PyArray_DATA(gradient), &loss_mean, n_threads)
    check_memory(status)
    return loss_mean


# The kernels that a job asks for.
cdef const kernels *kernels_for_job(job) except NULL:
    if not job.bfloat16:
        return kernels_for(job.params)
    check_sizes("params", cnp.PyArray_SIZE(job.params), sizeof(float), job.params)
    return kernels_of_type(cnp.NPY_UINT16)


# A job for the compiled kernels. Its arrays must live as long as it does: `given` is a spec.Job. The order is one batch as a whole,
# which may be empty, or is cut into batches.
cdef int fill_job(given, job_in_c *j, bint one_batch=False) except -1:
    cdef cnp.ndarray layers = given.layers, params = given.params, buffers = given.buffers, orders = given.orders
    cdef cnp.ndarray hyper = given.hyper, rates = given.rates, state = given.state, step = given.step, losses = given.losses
    cdef cnp.ndarray validation_losses = given.validation_losses, best = given.best, average = given.average
    cdef cnp.ndarray best_params = given.best_params, best_buffers = given.best_buffers, loss_hyper = given.loss_hyper
    cdef ptrdiff_t item = cnp.PyArray_ITEMSIZE(params), n_params = cnp.PyArray_SIZE(params), n_epochs = orders.shape[0]
    cdef ptrdiff_t n_steps, n_out
    j.loss, j.optimizer, j.batch_size, j.exempt = given.loss, given.optimizer, given.batch_size, given.exempt
    j.gradient_scale, j.value_scale, j.smoothing = given.gradient_scale, given.value_scale, given.smoothing
    j.clip, j.alpha, j.clip_norm = given.clip, given.alpha, given.clip_norm
    check_code("optimizer", is_optimizer(j.optimizer), j.optimizer)
    n_out = check_network(layers, params, buffers, is_direct(given.indices, given.indptr)
                          or is_direct(given.validation_indices, given.validation_indptr))
    check_loss(j.loss, loss_hyper, n_out)
    j.data = checked_rows(given.x, given.indices, given.indptr, given.labels, given.targets, given.sample_weight, layers, item,
                          given.bfloat16)
    check_given(j.loss, j.data.n, given.labels, given.targets)
    j.orders, j.n_epochs, j.n_visits = <const ptrdiff_t *>cnp.PyArray_DATA(orders), n_epochs, orders.shape[1]
    j.layers, j.n_layers = <const layer *>cnp.PyArray_DATA(layers), layers.shape[0]
    j.params, j.buffers, j.state = cnp.PyArray_DATA(params), cnp.PyArray_DATA(buffers), cnp.PyArray_DATA(state)
    j.hyper, j.rates = <const double *>cnp.PyArray_DATA(hyper), <const double *>data(rates)
    j.loss_hyper = <const double *>data(loss_hyper)
    j.step, j.losses = <ptrdiff_t *>cnp.PyArray_DATA(step), <double *>cnp.PyArray_DATA(losses)
    j.ema_decay, j.average = given.ema_decay, data(average)
    if not one_batch and (j.batch_size < 1 or j.n_visits < 1):
        raise ValueError(f"batch_size and the number of visits must be at least 1; got {j.batch_size} and {j.n_visits}")
    n_steps = 1 if one_batch else n_epochs * ((j.n_visits - 1) // j.batch_size + 1)
    check_sizes("orders", n_epochs * j.n_visits, sizeof(ptrdiff_t), orders)
    check_sizes("state", OPTIMIZER_SLOTS[j.optimizer] * n_params, item, state)
    check_hyper(j.optimizer, hyper)
    check_optional("rates", n_steps, sizeof(double), rates)
    check_sizes("step", 1, sizeof(ptrdiff_t), step)
    check_optional("average", n_params, item, average)
    check_sizes("losses", n_epochs, sizeof(double), losses)
    j.validation_losses, j.best = <double *>data(validation_losses), <double *>cnp.PyArray_DATA(best)
    j.best_params, j.best_buffers = cnp.PyArray_DATA(best_params), data(best_buffers)
    if j.validation_losses != NULL:
        j.validation = checked_rows(given.validation_x, given.validation_indices, given.validation_indptr, given.validation_labels,
                                    given.validation_targets, given.validation_weight, layers, item, given.bfloat16)
        check_given(j.loss, j.validation.n, given.validation_labels, given.validation_targets)
        check_sizes("validation_losses", n_epochs, sizeof(double), validation_losses)
        check_sizes("best", 2, sizeof(double), best)
        check_sizes("best_params", n_params, item, best_params)
        check_sizes("best_buffers", cnp.PyArray_SIZE(buffers), item, best_buffers)
    return 0


def train_epochs(job, int n_threads):
    cdef const kernels *k = kernels_for_job(job)
    cdef job_in_c j
    cdef int status
    fill_job(job, &j)
    with nogil:
        status = k.train_epochs(&j, n_threads)
    check_memory(status)


# The size of the sums of a job's batch.
cdef int check_sums(job, cnp.ndarray sums) except -1:
    cdef cnp.ndarray params = job.params
    return check_sizes("sums", cnp.PyArray_SIZE(params) + 2, cnp.PyArray_ITEMSIZE(params), sums)


def batch_sums(job, ptrdiff_t first_row, cnp.ndarray sums, int n_threads):
    cdef const kernels *k = kernels_for_job(job)
    cdef job_in_c j
    cdef int status
    fill_job(job, &j, True)
    check_sums(job, sums)
    with nogil:
        status = k.batch_sums(&j, first_row, cnp.PyArray_DATA(sums), n_threads)
    check_memory(status)


def apply_sums(job, cnp.ndarray sums, int n_threads):
    cdef const kernels *k = kernels_for_job(job)
    cdef job_in_c j
    cdef int status
    fill_job(job, &j, True)
    check_sums(job, sums)
    with nogil:
        status = k.apply_sums(&j, cnp.PyArray_DATA(sums), n_threads)
    check_memory(status)


def train_jobs(jobs, int n_threads):
    jobs = list(jobs)
    cdef ptrdiff_t n = len(jobs), i
    cdef job_in_c *filled = <job_in_c *>calloc(max(n, 1), sizeof(job_in_c))
    cdef const kernels **tables = <const kernels **>calloc(max(n, 1), sizeof(void *))
    cdef int *statuses = <int *>calloc(max(n, 1), sizeof(int))
    try:
        if filled == NULL or tables == NULL or statuses == NULL:
            check_memory(-1)
        for i in range(n):
            tables[i] = kernels_for_job(jobs[i])
            fill_job(jobs[i], &filled[i])
        with nogil:
            train_jobs_in_c(tables, filled, n, statuses, n_threads)
        for i in range(n):
            check_memory(statuses[i])
    finally:
        free(filled)
        free(tables)
        free(statuses)


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

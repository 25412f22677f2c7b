# cython: language_level=3, boundscheck=False, wraparound=False
"""The training loop of kernels_python.py as a user's own Cython module; kernels_cython.py builds and runs it."""

include "api.pxi"  # of fastprop/kernels/cython_backend

import numpy as np

threads_init()


def train(const double[:, ::1] x, const ptrdiff_t[::1] labels, double[:, ::1] weight_1, double[::1] bias_1,
          double[:, ::1] weight_2, double[::1] bias_2, Py_ssize_t n_steps, double lr):
    """Full-batch gradient descent; changes the parameters and returns the mean loss of each step."""
    cdef Py_ssize_t n = x.shape[0], n_in = x.shape[1], n_hidden = weight_1.shape[1], n_classes = weight_2.shape[1], step
    cdef double[:, ::1] a = np.empty((n, n_hidden)), da = np.empty((n, n_hidden)), logits = np.empty((n, n_classes))
    cdef double[:, ::1] dweight_1 = np.empty((n_in, n_hidden)), dweight_2 = np.empty((n_hidden, n_classes))
    cdef double[::1] dbias_1 = np.empty(n_hidden), dbias_2 = np.empty(n_classes), losses = np.empty(n_steps)
    cdef double loss_sum = 0
    cdef int failed = 0
    with nogil:
        for step in range(n_steps):
            failed |= KERNELS_f64.linear_forward(&x[0, 0], &weight_1[0, 0], &bias_1[0], n, n_in, n_hidden, TANH, &a[0, 0], 1)
            failed |= KERNELS_f64.linear_forward(&a[0, 0], &weight_2[0, 0], &bias_2[0], n, n_hidden, n_classes, IDENTITY,
                                                 &logits[0, 0], 1)
            # The probabilities replace the logits, and the gradient replaces the probabilities.
            failed |= KERNELS_f64.loss_forward(SOFTMAX_CROSS_ENTROPY, NULL, &logits[0, 0], &labels[0], NULL, NULL, n, n_classes,
                                               &logits[0, 0], &loss_sum, 1)
            KERNELS_f64.loss_backward(SOFTMAX_CROSS_ENTROPY, NULL, &logits[0, 0], &labels[0], NULL, NULL, 1.0 / n, n, n_classes,
                                      &logits[0, 0], 1)
            failed |= KERNELS_f64.linear_backward(&logits[0, 0], &a[0, 0], &weight_2[0, 0], &logits[0, 0], n, n_hidden, n_classes,
                                                  IDENTITY, 0, &da[0, 0], &dweight_2[0, 0], &dbias_2[0], 1)
            failed |= KERNELS_f64.linear_backward(&da[0, 0], &x[0, 0], &weight_1[0, 0], &a[0, 0], n, n_in, n_hidden, TANH, 0, NULL,
                                                  &dweight_1[0, 0], &dbias_1[0], 1)
            if failed:
                break
            descend(&weight_1[0, 0], &dweight_1[0, 0], n_in * n_hidden, lr)
            descend(&bias_1[0], &dbias_1[0], n_hidden, lr)
            descend(&weight_2[0, 0], &dweight_2[0, 0], n_hidden * n_classes, lr)
            descend(&bias_2[0], &dbias_2[0], n_classes, lr)
            losses[step] = loss_sum / n
    if failed:
        raise MemoryError("no memory for the work buffers of a kernel")
    return np.asarray(losses)


cdef void descend(double *params, const double *gradient, Py_ssize_t n, double lr) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        params[i] -= lr * gradient[i]

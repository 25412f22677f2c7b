"""Linear layers: the kernels, in chunks of rows that stay in the L2 cache, and the rows of a layer table, dense or on sparse X."""

import numpy as np
from numba import carray, prange

from .activations import activate, chain, check_activation, copy, fused, relu
from .gemm import K_BLOCK, matmul_bias, matmul_weight_transposed, matmul_x_transposed
from .jit import Threaded, jit, readonly
from .tile import advance, pointer_to

# Rows at a time. The products over rows are summed in the same blocks, whoever cuts them.
CHUNK = K_BLOCK


@jit
def share(n, thread, n_threads):
    """(start, stop) of a thread's share of n items."""
    return thread * n // n_threads, (thread + 1) * n // n_threads


@Threaded
def linear_forward(x, weight, bias, activation, a, n_threads):
    """a = f(x @ weight + bias); x (n, n_in), weight (n_in, n_out), bias (n_out,), a (n, n_out). Threads share the rows."""
    check_activation(activation)
    x, weight, bias = readonly(x), readonly(weight), readonly(bias)
    for thread in prange(n_threads):
        first, last = share(len(x), thread, n_threads)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            matmul_bias(x[start:stop], weight, bias, fused(activation), a[start:stop])
            if not fused(activation):
                activate(activation, a[start:stop])


@Threaded
def linear_backward(da, x, weight, a, activation, accumulate, dx, dweight, dbias, n_threads):
    """dz = da f'(z); dx = dz @ weight.T, dweight (+)= x.T @ dz, dbias (+)= sum of dz over the rows.

    da, a or z (n, n_out); x, dx (n, n_in), dx (0, 0) if not wanted; weight, dweight (n_in, n_out); dbias (n_out,). Threads share
    the rows of dz and dx, then the rows of dweight, so that its bits do not depend on ``n_threads``.
    """
    check_activation(activation)
    da, x, weight, a = readonly(da), readonly(x), readonly(weight), readonly(a)
    n, n_in = x.shape
    dz = np.empty(da.shape, da.dtype)
    for thread in prange(n_threads):
        first, last = share(n, thread, n_threads)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            copy(a[start:stop], dz[start:stop])
            chain(activation, da[start:stop], dz[start:stop])
            if dx.size:
                matmul_weight_transposed(dz[start:stop], weight, dx[start:stop])
    for thread in prange(n_threads):
        first, last = share(n_in, thread, n_threads)
        matmul_x_transposed(x, dz, accumulate, first, last, dweight)
    bias_backward(dz, accumulate, dbias)


@jit
def bias_backward(dz, accumulate, dbias):
    """dbias (+)= the sum of dz over its rows."""
    if not accumulate:
        dbias[:] = 0
    for i in range(len(dz)):
        for j in range(len(dbias)):
            dbias[j] += dz[i, j]


@jit
def vector(block, start, n):
    """The view block[start : start + n] of an argument of the caller's: unlike it, it does not keep the memory alive."""
    return carray(advance(pointer_to(block), start), n)


@jit
def matrix(block, start, n_rows, n_columns):
    """`vector` as (n_rows, n_columns)."""
    return carray(advance(pointer_to(block), start), (n_rows, n_columns))


@jit
def forward_row(x, layers, i, params, with_relu, y):
    """y = x @ weight + bias, or its maximum with 0, for row i of a layer table."""
    n_in, n_out, offset = layers[i].n_in, layers[i].n_out, layers[i].offset
    bias = vector(params, offset + n_in * n_out, n_out)
    matmul_bias(x, matrix(params, offset, n_in, n_out), bias, with_relu, y)


@jit
def column_at(indices, at, n_in):
    """The column of an entry of sparse X; in [0, n_in) also where somebody has changed the indices since they were checked."""
    return min(max(np.intp(indices[at]), 0), n_in - 1)


@jit
def forward_sparse_row(x, indices, indptr, rows, layers, params, with_relu, y):
    """`forward_row` of the first row of a layer table, with X[rows] for sparse X: sums of rows of the weight."""
    n_in, n_out, offset = layers[0].n_in, layers[0].n_out, layers[0].offset
    weight = matrix(params, offset, n_in, n_out)
    for i in range(len(rows)):
        for j in range(n_out):
            y[i, j] = params[offset + n_in * n_out + j]
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            value, row = x[0, at], column_at(indices, at, n_in)
            for j in range(n_out):
                y[i, j] += value * weight[row, j]
    if with_relu:
        relu(y)


@jit
def backward_row(x, dy, layers, i, params, accumulate, gradient, needs_dx, dx):
    """Write to the gradient of the parameters of row i, or add to it; and dx, where it is needed."""
    n_in, n_out, offset = layers[i].n_in, layers[i].n_out, layers[i].offset
    bias_backward(dy, accumulate, vector(gradient, offset + n_in * n_out, n_out))
    matmul_x_transposed(x, dy, accumulate, 0, n_in, matrix(gradient, offset, n_in, n_out))
    if needs_dx:
        matmul_weight_transposed(dy, matrix(params, offset, n_in, n_out), dx)


@jit
def backward_sparse_row(x, indices, indptr, rows, dy, layers, gradient):
    """Add to the gradient of the first row's parameters, for sparse X."""
    n_in, n_out, offset = layers[0].n_in, layers[0].n_out, layers[0].offset
    dweight = matrix(gradient, offset, n_in, n_out)
    bias_backward(dy, True, vector(gradient, offset + n_in * n_out, n_out))
    for i in range(len(rows)):
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            value, row = x[0, at], column_at(indices, at, n_in)
            for j in range(n_out):
                dweight[row, j] += value * dy[i, j]

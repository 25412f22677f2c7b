"""linear_forward and linear_backward: products, bias and activation, in chunks of rows that stay in the L2 cache."""

import numpy as np
from numba import prange

from .activations import RELU, activate, chain, copy
from .gemm import K_BLOCK, matmul_bias, matmul_weight_transposed, matmul_x_transposed
from .jit import Threaded, jit, readonly

# Rows at a time. The products over rows are summed in the same blocks, whoever cuts them.
CHUNK = K_BLOCK


@jit
def forward_chunk(x, weight, bias, activation, a):
    """a = f(x @ weight + bias) for few rows."""
    matmul_bias(x, weight, bias, activation == RELU, a)
    activate(activation, a)


@jit
def share(n, thread, n_threads):
    """(start, stop) of a thread's share of n items."""
    return thread * n // n_threads, (thread + 1) * n // n_threads


@Threaded
def linear_forward(x, weight, bias, activation, a, n_threads):
    """a = f(x @ weight + bias); x (n, n_in), weight (n_in, n_out), bias (n_out,), a (n, n_out). Threads share the rows."""
    x, weight, bias = readonly(x), readonly(weight), readonly(bias)
    for thread in prange(n_threads):
        first, last = share(len(x), thread, n_threads)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            forward_chunk(x[start:stop], weight, bias, activation, a[start:stop])


@Threaded
def linear_backward(da, x, weight, a, activation, accumulate, dx, dweight, dbias, n_threads):
    """dz = da f'(z); dx = dz @ weight.T, dweight (+)= x.T @ dz, dbias (+)= sum of dz over the rows.

    da, a (n, n_out); x, dx (n, n_in), dx (0, 0) if not wanted; weight, dweight (n_in, n_out); dbias (n_out,). Threads share the
    rows of dz and dx, then the rows of dweight, so that its bits do not depend on ``n_threads``.
    """
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

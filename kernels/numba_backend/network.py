"""The outputs of a network in one call, and what of it training needs too: a layer's forward pass, the first one's on sparse rows.

Rows go through the layers in chunks, so that the activations of a chunk stay in the cache and the workspace small.
"""

from functools import partial

import numpy as np
from numba import prange

from ..checks import NO_INDICES
from .activations import RELU, activate, relu
from .jit import Threaded, jit, readonly
from .linear import CHUNK, forward_chunk, share


@jit
def matrix(block, start, n_rows, n_columns):
    """The view block[start:...] as (n_rows, n_columns)."""
    return block[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


@jit
def widest(layers):
    """The largest number of units of any layer but the inputs."""
    most = 0
    for layer in range(len(layers)):
        most = max(most, layers[layer, 1])
    return most


@jit
def layer_forward(x, layers, layer, activation, params, a):
    """a = f(x @ weight + bias) for one row of the layer table, with the activation given."""
    n_in, n_out, offset = layers[layer, 0], layers[layer, 1], layers[layer, 3]
    bias = params[offset + n_in * n_out : offset + (n_in + 1) * n_out]
    forward_chunk(x, matrix(params, offset, n_in, n_out), bias, activation, a)


@jit
def n_rows(x, indptr):
    """The number of rows of X, dense or sparse."""
    return len(indptr) - 1 if indptr.size else len(x)


@jit
def first_layer(x, indices, indptr, rows, layers, activation, params, a):
    """a = f(X[rows] @ weight + bias) of the first layer for sparse X: sums of rows of the weight."""
    n_in, n_out, offset = layers[0, 0], layers[0, 1], layers[0, 3]
    weight = matrix(params, offset, n_in, n_out)
    for i in range(len(rows)):
        for j in range(n_out):
            a[i, j] = params[offset + n_in * n_out + j]
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            value, row = x[0, at], indices[at]
            for j in range(n_out):
                a[i, j] += value * weight[row, j]
    if activation == RELU:
        relu(a)
    else:
        activate(activation, a)


@Threaded
def network_forward(x, indices, indptr, layers, params, outputs, n_threads):
    """outputs (n, n_out) of the network for x (n, n_in); the last row's activation is the link. Threads share the rows."""
    x, indices, indptr, layers, params = readonly(x), readonly(indices), readonly(indptr), readonly(layers), readonly(params)
    n, n_layers = n_rows(x, indptr), len(layers)
    every = np.arange(n)
    chunk = max(1, min(CHUNK, n))
    half = chunk * widest(layers)
    work = np.empty((n_threads, 2 * half), params.dtype)
    for thread in prange(n_threads):
        first, last = share(n, thread, n_threads)
        for start in range(first, last, chunk):
            rows = min(chunk, last - start)
            # Activations go to and fro between the halves; the last layer writes to the outputs.
            a = matrix(work[thread], 0, rows, layers[0, 1]) if n_layers > 1 else outputs[start : start + rows]
            if indptr.size:
                first_layer(x, indices, indptr, every[start : start + rows], layers, layers[0, 2], params, a)
            else:
                layer_forward(x[start : start + rows], layers, 0, layers[0, 2], params, a)
            if n_layers == 1:
                continue
            for layer in range(1, n_layers - 1):
                following = matrix(work[thread], layer % 2 * half, rows, layers[layer, 1])
                layer_forward(a, layers, layer, layers[layer, 2], params, following)
                a = following
            layer_forward(a, layers, n_layers - 1, layers[n_layers - 1, 2], params, outputs[start : start + rows])


def bind_forward(x, layers, params, outputs, n_threads):
    """`network_forward` of dense x as a function without arguments; ``layers`` and ``params`` are not to change any more."""
    return partial(network_forward, x, NO_INDICES, NO_INDICES, layers, params, outputs, n_threads)

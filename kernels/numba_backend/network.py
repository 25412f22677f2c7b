"""The outputs of a network in one call.

Rows go through the layers in chunks, so that the values of a chunk stay in the cache and the workspace small.
"""

from functools import partial

import numpy as np
from numba import prange

from ..checks import NO_INDICES
from .activations import activate, apply_link, copy
from .jit import ThreadedOnRows, jit, readonly
from .linear import CHUNK, forward_row, forward_sparse_row, matrix, share, vector
from .normalization import batch_norm_inference, layer_norm_forward
from .program import (
    ACTIVATION,
    ADD,
    BATCH_NORM,
    LAYER_NORM,
    LINEAR,
    OUTPUTS,
    X,
    add_rows,
    add_sparse_rows,
    check_program,
    fused_activation,
    inference_plan,
)


@jit
def n_rows(x, indptr):
    """The number of rows of X, dense or sparse."""
    return len(indptr) - 1 if indptr.size else len(x)


@jit
def norm_parameters(layers, i, params):
    """gamma, beta of a row of a layer table."""
    n, offset = layers[i].n_in, layers[i].offset
    return vector(params, offset, n), vector(params, offset + n, n)


@jit
def _value(places, i, n_columns, x_chunk, work, outputs):
    """Value number i of a chunk."""
    if places[i] == X:
        return x_chunk
    if places[i] == OUTPUTS:
        return readonly(outputs)
    return readonly(matrix(work, places[i] * len(outputs), len(outputs), n_columns))


@jit
def logits_of_chunk(x, indices, indptr, rows, layers, places, params, buffers, work, outputs):
    """outputs = the logits for X[rows], of consecutive ``rows``: the rows of the layer table without dropout."""
    sparse, n = indptr.size > 0, len(rows)
    chunk = x[:0] if sparse else x[rows[0] : rows[0] + n]
    for i in range(len(layers) - 1):
        n_in, n_out, kind = layers[i].n_in, layers[i].n_out, layers[i].kind
        below = _value(places, i, n_in, chunk, work, outputs)
        y = outputs if places[i + 1] == OUTPUTS else matrix(work, places[i + 1] * n, n, n_out)
        in_place = places[i + 1] == places[i]
        if kind == LINEAR:
            with_relu = fused_activation(layers, i + 1, places[min(i + 2, len(layers) - 1)] == places[i + 1])
            if i == 0 and sparse:
                forward_sparse_row(x, indices, indptr, rows, layers, params, with_relu, y)
            else:
                forward_row(below, layers, i, params, with_relu, y)
        elif kind == LAYER_NORM:
            gamma, beta = norm_parameters(layers, i, params)
            saved = np.empty((2, n), y.dtype)
            layer_norm_forward(below, gamma, beta, layers[i].epsilon, y, saved[0], saved[1], 1)
        elif kind == BATCH_NORM:
            (gamma, beta), at = norm_parameters(layers, i, params), layers[i].buffers
            mean, variance = vector(buffers, at, n_in), vector(buffers, at + n_in, n_in)
            batch_norm_inference(below, gamma, beta, mean, variance, layers[i].epsilon, y, 1)
        else:
            if not in_place:
                copy(below, y)
            if kind == ACTIVATION and not fused_activation(layers, i, in_place):
                activate(layers[i].code, y)
            elif kind == ADD and layers[i].source == 0 and sparse:
                add_sparse_rows(x, indices, indptr, rows, y)
            elif kind == ADD:
                add_rows(_value(places, layers[i].source, n_in, chunk, work, outputs), y)


@ThreadedOnRows
def network_forward(x, indices, indptr, layers, params, buffers, outputs, n_threads):
    """outputs (n, n_out) of the network for x (n, n_in), with running statistics and without dropout. Threads share the rows."""
    x, indices, indptr, layers = readonly(x), readonly(indices), readonly(indptr), readonly(layers)
    params, buffers = readonly(params), readonly(buffers)
    check_program(layers)
    n = n_rows(x, indptr)
    every = readonly(np.arange(n))
    places, n_columns = inference_plan(layers)
    chunk = max(1, min(CHUNK, n))
    work = np.empty((n_threads, chunk * n_columns), params.dtype)
    for thread in prange(n_threads):
        first, last = share(n, thread, n_threads)
        for start in range(first, last, chunk):
            stop = min(start + chunk, last)
            results = outputs[start:stop]
            logits_of_chunk(x, indices, indptr, every[start:stop], layers, places, params, buffers, work[thread], results)
            apply_link(layers[len(layers) - 1].code, results)


def bind_forward(x, layers, params, buffers, bfloat16, codes, scales, outputs, n_threads):
    """`network_forward` of dense x as a function without arguments; layers, params and buffers are not to change any more.

    NumPy multiplies bfloat16 and codes.
    """
    if bfloat16 or codes.size:
        from .. import reference  # here, as it imports SciPy

        return reference.bind_forward(x, layers, params, buffers, bfloat16, codes, scales, outputs, n_threads)
    return partial(network_forward, x, NO_INDICES, NO_INDICES, layers, params, buffers, outputs, n_threads)

"""The gradient of some rows of a batch, as a sum and without L2 term. They go through the layers a chunk at a time."""

import numpy as np

from ..codes import LAYER_COLUMNS
from .activations import IDENTITY, SIGMOID, TANH, chain
from .dropout import bits, drop
from .gemm import matmul_weight_transposed, matmul_x_transposed
from .jit import jit
from .linear import CHUNK, bias_backward
from .losses import loss_backward, loss_of_block
from .network import first_layer, layer_forward, matrix, widest

DROPOUT, SEED, STREAM = (LAYER_COLUMNS.index(name) for name in ("dropout", "seed", "stream"))


@jit
def workspace(layers, batch_size, indptr, targets, labels, params, n_threads):
    """What a batch needs, one row a thread: (numbers, labels of a chunk, gradients).

    A row of the numbers holds, for a chunk: sample weights, dense targets, the inputs unless they are sparse, every layer's
    activations, and the gradient with respect to one layer's activations.
    """
    chunk = min(CHUNK, batch_size)
    columns = 1 + targets.shape[1] + _n_gathered(layers, indptr) + widest(layers)
    for layer in range(len(layers)):
        columns += layers[layer, 1]
    numbers = np.empty((n_threads, chunk * columns), params.dtype)
    chosen = np.empty((n_threads, chunk if labels.size else 0), labels.dtype)
    return numbers, chosen, np.empty((n_threads, len(params)), params.dtype)


@jit
def _n_gathered(layers, indptr):
    """The number of columns of X that are copied into the workspace: none of sparse X."""
    return 0 if indptr.size else layers[0, 0]


@jit
def _gather(source, rows, target):
    """target[i] = source[rows[i]] for matrices."""
    for i in range(len(rows)):
        row = rows[i]
        for j in range(source.shape[1]):
            target[i, j] = source[row, j]


@jit
def _gather_vector(source, rows, target):
    """target[i] = source[rows[i]]; nothing for a source that is not given."""
    if source.size:
        for i in range(len(rows)):
            target[i] = source[rows[i]]


@jit
def _drop_rows(layers, layer, step, first_row, a):
    """Dropout of a hidden layer's activations, or of the gradient by them, in update number ``step``; in number 0, there is none.

    ``a`` (n, n_out) has the rows from ``first_row`` on of the batch.
    """
    if step > 0 and layers[layer, DROPOUT] > 0:
        threshold = min((layers[layer, DROPOUT] + 2**20) >> 21, 2**32 - 1)  # in units of 2^-32 instead of 2^-53
        key = bits(np.uint64(layers[layer, SEED]), np.uint64(layers[layer, STREAM] + step))
        values = a.reshape(a.size)
        drop(values, key, first_row * a.shape[1], threshold, 1 / _keep_rate(layers, layer), values)


@jit
def _unscale_rows(layers, layer, step, a):
    """Undo dropout's scaling where the derivative of the activation is to be had from its value; for others the sign will do."""
    if step > 0 and layers[layer, DROPOUT] > 0 and (layers[layer, 2] == SIGMOID or layers[layer, 2] == TANH):
        values, keep_rate = a.reshape(a.size), a.dtype.type(_keep_rate(layers, layer))
        for i in range(len(values)):
            values[i] *= keep_rate


@jit
def _keep_rate(layers, layer):
    """The share of a layer's activations that is kept."""
    return 1 - layers[layer, DROPOUT] / 2**53


@jit
def rows_gradient(
    x, indices, indptr, labels, targets, sample_weight, rows, step, first_row, layers, params, loss, clip, numbers, chosen, gradient
):
    """gradient = that of the weighted sum of the losses of the given rows; returns the sum. Without L2 term.

    The rows are those from ``first_row`` on of the batch of update number ``step``, which decide what is dropped.
    """
    sparse = indptr.size > 0
    if sparse or len(rows) == 0:
        gradient[:] = 0
    loss_sum = 0.0
    for start in range(0, len(rows), CHUNK):
        here = rows[start : start + CHUNK]
        n = len(here)
        # numbers = [sample weights (n,)] [targets (n, n_out)] [inputs (n, n_in)] [activations ...] [a gradient (n, n_units)]
        weights = numbers[: n if sample_weight.size else 0]
        y = matrix(numbers, n, n if targets.size else 0, targets.shape[1])
        position = n * (1 + targets.shape[1])
        _gather_vector(labels, here, chosen)
        _gather_vector(sample_weight, here, weights)
        if targets.size:
            _gather(targets, here, y)
        if indptr.size == 0:
            _gather(x, here, matrix(numbers, position, n, layers[0, 0]))
        position = _chunk_forward(x, indices, indptr, here, step, first_row + start, layers, params, numbers, position)
        z = matrix(numbers, position, n, layers[len(layers) - 1, 1])
        loss_sum += loss_of_block(loss, z, chosen[: n if labels.size else 0], y, weights, clip, z)
        loss_backward(loss, z, chosen[: n if labels.size else 0], y, weights, 1.0, z, 1)
        _chunk_backward(
            x, indices, indptr, here, step, first_row + start, layers, params, numbers, position, sparse or start > 0, gradient
        )
    return loss_sum


@jit
def _chunk_forward(x, indices, indptr, rows, step, first_row, layers, params, numbers, position):
    """Fill in the activations and the logits after the inputs at ``position``; returns where the logits are."""
    n = len(rows)
    for layer in range(len(layers)):
        n_in, n_out = layers[layer, 0] if layer else _n_gathered(layers, indptr), layers[layer, 1]
        activation = layers[layer, 2] if layer < len(layers) - 1 else IDENTITY
        below = matrix(numbers, position, n, n_in)
        position += n * n_in
        a = matrix(numbers, position, n, n_out)
        if layer == 0 and indptr.size:
            first_layer(x, indices, indptr, rows, layers, activation, params, a)
        else:
            layer_forward(below, layers, layer, activation, params, a)
        _drop_rows(layers, layer, step, first_row, a)
    return position


@jit
def _chunk_backward(x, indices, indptr, rows, step, first_row, layers, params, numbers, position, accumulate, gradient):
    """Write to the gradient, or add to it, what the chunk contributes; dlogits is at ``position``, after the layers' inputs."""
    n, last = len(rows), len(layers) - 1
    dz = matrix(numbers, position, n, layers[last, 1])
    end = position + n * layers[last, 1]
    for layer in range(last, -1, -1):
        n_in, n_out, offset = layers[layer, 0], layers[layer, 1], layers[layer, 3]
        dweight = matrix(gradient, offset, n_in, n_out)
        bias_backward(dz, accumulate, gradient[offset + n_in * n_out : offset + (n_in + 1) * n_out])
        if layer == 0 and indptr.size:
            _first_weight_gradient(x, indices, indptr, rows, dz, dweight)
            continue
        position -= n * n_in
        below = matrix(numbers, position, n, n_in)
        matmul_x_transposed(below, dz, accumulate, 0, n_in, dweight)
        if layer > 0:
            dx = matrix(numbers, end, n, n_in)
            matmul_weight_transposed(dz, matrix(params, offset, n_in, n_out), dx)
            _drop_rows(layers, layer - 1, step, first_row, dx)
            _unscale_rows(layers, layer - 1, step, below)
            chain(layers[layer - 1, 2], dx, below)  # which nobody needs any more
            dz = below


@jit
def _first_weight_gradient(x, indices, indptr, rows, dz, dweight):
    """dweight += X[rows].T @ dz for sparse X."""
    for i in range(len(rows)):
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            value, row = x[0, at], indices[at]
            for j in range(dz.shape[1]):
                dweight[row, j] += value * dz[i, j]

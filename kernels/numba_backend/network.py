"""Whole networks in one call: outputs, loss and gradient, a training epoch.

A batch is computed in chunks of rows, so that the activations of a chunk stay in the cache and the workspace small. Threads share
the rows of a batch; each sums a gradient of its own. Then they share the parameters: add those gradients up in the order of the
threads, and update. So the bits of a result depend on ``n_threads``, and on nothing else.
"""

from functools import partial

import numpy as np
from numba import njit, prange

from ..codes import LAYER_COLUMNS, OPTIMIZERS
from .activations import IDENTITY, RELU, SIGMOID, TANH, activate, chain, copy, relu
from .dropout import bits, drop
from .gemm import matmul_weight_transposed, matmul_x_transposed
from .jit import OPTIONS, Threaded, jit, readonly
from .linear import CHUNK, bias_backward, forward_chunk, share
from .losses import SQUARED_ERROR, loss_backward, loss_of_block
from .optimizers import adam_update, sgd_update
from .tile import VECTOR_BYTES, address_of, advance, pointer_to, stream_vector, streams_done

SGD = OPTIMIZERS["sgd"]
# Parameters whose gradient is finished and which are then updated before the next ones: few enough to stay in L2.
UPDATE_BLOCK = 4096
DROPOUT, SEED, STREAM = (LAYER_COLUMNS.index(name) for name in ("dropout", "seed", "stream"))


@jit
def _matrix(block, start, n_rows, n_columns):
    """The view block[start:...] as (n_rows, n_columns)."""
    return block[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


@jit
def _widest(layers):
    """The largest number of units of any layer but the inputs."""
    widest = 0
    for layer in range(len(layers)):
        widest = max(widest, layers[layer, 1])
    return widest


@jit
def _layer_forward(x, layers, layer, activation, params, a):
    """a = f(x @ weight + bias) for one row of the layer table, with the activation given."""
    n_in, n_out, offset = layers[layer, 0], layers[layer, 1], layers[layer, 3]
    bias = params[offset + n_in * n_out : offset + (n_in + 1) * n_out]
    forward_chunk(x, _matrix(params, offset, n_in, n_out), bias, activation, a)


@jit
def _n_rows(x, indptr):
    """The number of rows of X, dense or sparse."""
    return len(indptr) - 1 if indptr.size else len(x)


@jit
def _first_layer(x, indices, indptr, rows, layers, activation, params, a):
    """a = f(X[rows] @ weight + bias) of the first layer for sparse X: sums of rows of the weight."""
    n_in, n_out, offset = layers[0, 0], layers[0, 1], layers[0, 3]
    weight = _matrix(params, offset, n_in, n_out)
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


@jit
def _first_weight_gradient(x, indices, indptr, rows, dz, dweight):
    """dweight += X[rows].T @ dz for sparse X."""
    for i in range(len(rows)):
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            value, row = x[0, at], indices[at]
            for j in range(dz.shape[1]):
                dweight[row, j] += value * dz[i, j]


@Threaded
def network_forward(x, indices, indptr, layers, params, outputs, n_threads):
    """outputs (n, n_out) of the network for x (n, n_in); the last row's activation is the link. Threads share the rows."""
    x, indices, indptr, layers, params = readonly(x), readonly(indices), readonly(indptr), readonly(layers), readonly(params)
    n, n_layers = _n_rows(x, indptr), len(layers)
    every = np.arange(n)
    chunk = max(1, min(CHUNK, n))
    half = chunk * _widest(layers)
    work = np.empty((n_threads, 2 * half), params.dtype)
    for thread in prange(n_threads):
        first, last = share(n, thread, n_threads)
        for start in range(first, last, chunk):
            rows = min(chunk, last - start)
            # Activations go to and fro between the halves; the last layer writes to the outputs.
            a = _matrix(work[thread], 0, rows, layers[0, 1]) if n_layers > 1 else outputs[start : start + rows]
            if indptr.size:
                _first_layer(x, indices, indptr, every[start : start + rows], layers, layers[0, 2], params, a)
            else:
                _layer_forward(x[start : start + rows], layers, 0, layers[0, 2], params, a)
            if n_layers == 1:
                continue
            for layer in range(1, n_layers - 1):
                following = _matrix(work[thread], layer % 2 * half, rows, layers[layer, 1])
                _layer_forward(a, layers, layer, layers[layer, 2], params, following)
                a = following
            _layer_forward(a, layers, n_layers - 1, layers[n_layers - 1, 2], params, outputs[start : start + rows])


def bind_forward(x, layers, params, outputs, n_threads):
    """`network_forward` of dense x as a function without arguments; ``layers`` and ``params`` are not to change any more."""
    no_indices = np.empty(0, np.int32)
    return partial(network_forward, x, no_indices, no_indices, layers, params, outputs, n_threads)


@jit
def _workspace(layers, batch_size, indptr, targets, labels, params, n_threads):
    """What a batch needs, one row a thread: (numbers, labels of a chunk, gradients).

    A row of the numbers holds, for a chunk: sample weights, dense targets, the inputs unless they are sparse, every layer's
    activations, and the gradient with respect to one layer's activations.
    """
    chunk = min(CHUNK, batch_size)
    columns = 1 + targets.shape[1] + _n_gathered(layers, indptr) + _widest(layers)
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
def _rows_gradient(
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
        y = _matrix(numbers, n, n if targets.size else 0, targets.shape[1])
        position = n * (1 + targets.shape[1])
        _gather_vector(labels, here, chosen)
        _gather_vector(sample_weight, here, weights)
        if targets.size:
            _gather(targets, here, y)
        if indptr.size == 0:
            _gather(x, here, _matrix(numbers, position, n, layers[0, 0]))
        position = _chunk_forward(x, indices, indptr, here, step, first_row + start, layers, params, numbers, position)
        z = _matrix(numbers, position, n, layers[len(layers) - 1, 1])
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
        below = _matrix(numbers, position, n, n_in)
        position += n * n_in
        a = _matrix(numbers, position, n, n_out)
        if layer == 0 and indptr.size:
            _first_layer(x, indices, indptr, rows, layers, activation, params, a)
        else:
            _layer_forward(below, layers, layer, activation, params, a)
        _drop_rows(layers, layer, step, first_row, a)
    return position


@jit
def _chunk_backward(x, indices, indptr, rows, step, first_row, layers, params, numbers, position, accumulate, gradient):
    """Write to the gradient, or add to it, what the chunk contributes; dlogits is at ``position``, after the layers' inputs."""
    n, last = len(rows), len(layers) - 1
    dz = _matrix(numbers, position, n, layers[last, 1])
    end = position + n * layers[last, 1]
    for layer in range(last, -1, -1):
        n_in, n_out, offset = layers[layer, 0], layers[layer, 1], layers[layer, 3]
        dweight = _matrix(gradient, offset, n_in, n_out)
        bias_backward(dz, accumulate, gradient[offset + n_in * n_out : offset + (n_in + 1) * n_out])
        if layer == 0 and indptr.size:
            _first_weight_gradient(x, indices, indptr, rows, dz, dweight)
            continue
        position -= n * n_in
        below = _matrix(numbers, position, n, n_in)
        matmul_x_transposed(below, dz, accumulate, 0, n_in, dweight)
        if layer > 0:
            dx = _matrix(numbers, end, n, n_in)
            matmul_weight_transposed(dz, _matrix(params, offset, n_in, n_out), dx)
            _drop_rows(layers, layer - 1, step, first_row, dx)
            _unscale_rows(layers, layer - 1, step, below)
            chain(layers[layer - 1, 2], dx, below)  # which nobody needs any more
            dz = below


@jit
def _total_weight(sample_weight, rows):
    """The number of the rows or the sum of their weights."""
    if sample_weight.size == 0:
        return float(len(rows))
    total = 0.0
    for i in range(len(rows)):
        total += sample_weight[rows[i]]
    return total


@jit
def _finish_gradient(first, layers, params, alpha, total_weight, gradients, result):
    """result = (sum of gradients + alpha weights) / total_weight, for parameters from ``first`` on; returns |weights|^2 there."""
    last = first + len(result)
    copy(gradients[0, first:last], result)
    for thread in range(1, len(gradients)):
        for i in range(len(result)):
            result[i] += gradients[thread, first + i]
    scale, decay = result.dtype.type(1 / total_weight), result.dtype.type(alpha / total_weight)
    for i in range(len(result)):
        result[i] *= scale
    squares = 0.0
    if alpha != 0:
        for layer in range(len(layers)):
            start = layers[layer, 3]
            stop = min(last, start + layers[layer, 0] * layers[layer, 1])
            start = max(first, start)
            for i in range(start, stop):
                result[i - first] += decay * params[i]
            squares += _sum_of_squares(params[start : max(start, stop)])
    return squares


@njit(fastmath={"reassoc"}, **OPTIONS)  # partial sums, so that it vectorises; NaN and inf count as ever
def _sum_of_squares(values):
    total = 0.0
    for i in range(len(values)):  # over Numba's iterator it takes nine times as long
        total += np.float64(values[i]) * np.float64(values[i])
    return total


@jit
def _finish_and_update(first, last, optimizer, hyper, step, layers, current, alpha, total_weight, gradients, params, state, blocks):
    """`_finish_gradient` and the optimizer's step for parameters first:last; returns the sum of the squares of the weights there.

    Both happen in ``blocks`` (2, UPDATE_BLOCK), which no other thread has in its caches. What other threads do have is the
    parameters: these are stored past the caches, as a store to a line that another core reads too waits for that core.
    """
    squares = 0.0
    start = first
    while start < last:
        # The first block ends where a vector begins, and with it all others begin there.
        stop = min(last, start + UPDATE_BLOCK - _beyond_boundary(params, start))
        gradient, updated = blocks[0, : stop - start], blocks[1, : stop - start]
        squares += _finish_gradient(start, layers, current, alpha, total_weight, gradients, gradient)
        copy(current[start:stop], updated)
        if optimizer == SGD:
            sgd_update(updated, gradient, state[0, start:stop], hyper[0], hyper[1], hyper[2], 0.0, 1)
        else:
            m, v = state[0, start:stop], state[1, start:stop]
            adam_update(updated, gradient, m, v, hyper[0], hyper[1], hyper[2], hyper[3], step, 0.0, 1)
        if len(gradients) > 1:
            _stream(updated, params[start:stop])
        else:
            copy(updated, params[start:stop])
        start = stop
    streams_done()
    return squares


@jit
def _beyond_boundary(values, index):
    """By how many numbers values[index] lies beyond the beginning of a vector."""
    return address_of(advance(pointer_to(values), index)) % VECTOR_BYTES // values.itemsize


@jit
def _stream(source, target):
    """target = source past the caches; numbers before and after whole vectors as usual."""
    lanes = VECTOR_BYTES // target.itemsize
    head = min(len(target), -_beyond_boundary(target, 0) % lanes)
    n_vectors = (len(target) - head) // lanes
    copy(source[:head], target[:head])
    for k in range(n_vectors):
        at = head + k * lanes
        stream_vector(advance(pointer_to(source), at), advance(pointer_to(target), at))
    tail = head + n_vectors * lanes
    copy(source[tail:], target[tail:])


@jit
def _mean_loss(loss_sums, squares, layers, loss, alpha, total_weight):
    """The loss with its L2 term from the threads' sums, by scikit-learn's convention: see `reference.network_loss_gradient`."""
    n_terms = layers[len(layers) - 1, 1] if loss == SQUARED_ERROR else 1
    total = 0.0
    for thread in range(len(loss_sums)):
        total += loss_sums[thread] / n_terms + alpha / 2 * squares[thread]
    return total / total_weight


@Threaded
def network_loss_gradient(
    x, indices, indptr, labels, targets, sample_weight, layers, params, loss, alpha, clip, gradient, n_threads
):
    """Write the gradient (n_params,) of the mean loss with L2 term, and return the loss. Conventions: reference.py."""
    x, indices, indptr, labels = readonly(x), readonly(indices), readonly(indptr), readonly(labels)
    targets, sample_weight, layers, params = readonly(targets), readonly(sample_weight), readonly(layers), readonly(params)
    rows = readonly(np.arange(_n_rows(x, indptr)))
    total_weight = _total_weight(sample_weight, rows)
    if total_weight == 0:
        gradient[:] = 0
        return 0.0
    numbers, chosen, gradients = _workspace(layers, len(rows), indptr, targets, labels, params, n_threads)
    loss_sums, squares = np.empty(n_threads), np.empty(n_threads)
    for thread in prange(n_threads):
        first, last = share(len(rows), thread, n_threads)
        loss_sums[thread] = _rows_gradient(
            x, indices, indptr, labels, targets, sample_weight, rows[first:last], 0, first, layers, params, loss, clip,
            numbers[thread], chosen[thread], gradients[thread],
        )  # fmt: skip
    for thread in prange(n_threads):
        first, last = share(len(params), thread, n_threads)
        squares[thread] = _finish_gradient(first, layers, params, alpha, total_weight, gradients, gradient[first:last])
    return _mean_loss(loss_sums, squares, layers, loss, alpha, total_weight)


@Threaded
def train_epochs(
    x, indices, indptr, labels, targets, sample_weight, orders, layers, loss, optimizer, hyper, alpha, clip, batch_size, step,
    params, state, losses, n_threads,
):  # fmt: skip
    """Passes over the rows, in the order of each of ``orders`` (n_epochs, n_visits), in mini-batches, updating in place.

    ``step`` (1,) is the number of updates done so far, and counts on. Writes to ``losses`` (n_epochs,), float64, the means of the
    batches' losses, each weighted by its number of rows. A batch whose sample weights sum to zero changes nothing and counts as
    loss 0, but as a step. Only here the layers' dropout applies.
    """
    x, indices, indptr, labels = readonly(x), readonly(indices), readonly(indptr), readonly(labels)
    targets, sample_weight = readonly(targets), readonly(sample_weight)
    # current is params too, under the type with which network_loss_gradient calls the same functions.
    orders, layers, current = readonly(orders), readonly(layers), readonly(params)
    n_visits = orders.shape[1]
    numbers, chosen, gradients = _workspace(layers, min(batch_size, n_visits), indptr, targets, labels, current, n_threads)
    blocks = np.empty((n_threads, 2, UPDATE_BLOCK), params.dtype)
    loss_sums, squares = np.empty(n_threads), np.empty(n_threads)
    for epoch in range(len(orders)):
        epoch_loss = 0.0
        for start in range(0, n_visits, batch_size):
            rows = orders[epoch, start : start + batch_size]
            step[0] += 1
            total_weight = _total_weight(sample_weight, rows)
            if total_weight == 0:
                continue
            for thread in prange(n_threads):
                first, last = share(len(rows), thread, n_threads)
                loss_sums[thread] = _rows_gradient(
                    x, indices, indptr, labels, targets, sample_weight, rows[first:last], step[0], first, layers, current, loss,
                    clip, numbers[thread], chosen[thread], gradients[thread],
                )  # fmt: skip
            for thread in prange(n_threads):
                first, last = share(len(params), thread, n_threads)
                squares[thread] = _finish_and_update(
                    first, last, optimizer, hyper, step[0], layers, current, alpha, total_weight, gradients, params, state,
                    blocks[thread],
                )  # fmt: skip
            epoch_loss += _mean_loss(loss_sums, squares, layers, loss, alpha, total_weight) * len(rows)
        losses[epoch] = epoch_loss / n_visits

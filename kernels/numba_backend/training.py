"""Whole epochs of training in one call, and the loss and gradient of a whole data set.

Threads share the rows of a batch; each sums a gradient of its own. Then they share the parameters: add those gradients up in the
order of the threads, and update. So the bits of a result depend on ``n_threads``, and on nothing else.
"""

import numpy as np
from numba import njit, prange

from ..codes import OPTIMIZERS
from .activations import copy
from .batch import rows_gradient, workspace
from .jit import OPTIONS, Threaded, jit, readonly
from .linear import share
from .losses import SQUARED_ERROR
from .network import n_rows
from .optimizers import adam_update, sgd_update
from .tile import VECTOR_BYTES, address_of, advance, pointer_to, stream_vector, streams_done

SGD = OPTIMIZERS["sgd"]
# Parameters whose gradient is finished and which are then updated before the next ones: few enough to stay in L2.
UPDATE_BLOCK = 4096


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
    rows = readonly(np.arange(n_rows(x, indptr)))
    total_weight = _total_weight(sample_weight, rows)
    if total_weight == 0:
        gradient[:] = 0
        return 0.0
    numbers, chosen, gradients = workspace(layers, len(rows), indptr, targets, labels, params, n_threads)
    loss_sums, squares = np.empty(n_threads), np.empty(n_threads)
    for thread in prange(n_threads):
        first, last = share(len(rows), thread, n_threads)
        loss_sums[thread] = rows_gradient(
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
    numbers, chosen, gradients = workspace(layers, min(batch_size, n_visits), indptr, targets, labels, current, n_threads)
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
                loss_sums[thread] = rows_gradient(
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

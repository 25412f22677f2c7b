"""Whole epochs of training in one call, and the loss and gradient of a whole data set.

Threads share the rows of a batch; each sums a gradient of its own. Then they share the parameters: add those gradients up in the
order of the threads, and update. So the bits of a result depend on ``n_threads``, and on nothing else.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit, prange

from ..encoded import one_batch_without_encoding
from ..spec import Rows
from .activations import copy
from .batch import Objective, make_network, make_workspace, run_batch, update_buffers, use_buffers
from .jit import OPTIONS, Threaded, ThreadedOnRows, jit, public, readonly
from .linear import share
from .losses import check_loss, loss_terms
from .network import n_rows
from .optimizers import apply_update, average_gain, check_optimizer, move_average
from .program import LINEAR, check_program
from .tile import VECTOR_BYTES, address_of, advance, pointer_to, stream_vector, streams_done

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
            if layers[layer].kind != LINEAR:
                continue
            start = layers[layer].offset
            stop = min(last, start + layers[layer].n_in * layers[layer].n_out)
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
def _decaying_run(at, last, layers):
    """(end, whether they are weights) of the parameters from ``at`` on that are all weights of a linear row, or all are not."""
    end = last
    for layer in range(len(layers)):
        if layers[layer].kind == LINEAR:
            start = layers[layer].offset
            stop = start + layers[layer].n_in * layers[layer].n_out
            if start <= at < stop:
                return min(stop, last), True
            if at < start:
                end = min(end, start)
    return end, False


@jit
def _finish_and_update(first, last, job, hyper, lr, factor, layers, current, total_weight, gradients, blocks):
    """`_finish_gradient` and the optimizer's step for parameters first:last; returns the sum of the squares of the weights there.

    The moving average follows. With a ``factor`` of clipping, not negative, the gradient is finished already: gradients[0]. Both
    happen in ``blocks`` (2, UPDATE_BLOCK), which no other thread has in its caches. What other threads do have is the parameters:
    these are stored past the caches, as a store to a line that another core reads too waits for that core.
    """
    squares, shrink = 0.0, 1.0 - lr * hyper[2]
    start = first
    while start < last:
        # The first block ends where a vector begins, and with it all others begin there.
        stop = min(last, start + UPDATE_BLOCK - _beyond_boundary(job.params, start))
        gradient, updated = blocks[0, : stop - start], blocks[1, : stop - start]
        if factor < 0:
            squares += _finish_gradient(start, layers, current, job.alpha, total_weight, gradients, gradient)
        else:
            for i in range(len(gradient)):
                gradient[i] = gradients[0, start + i] * gradient.dtype.type(factor)
        copy(current[start:stop], updated)
        at, end, decays = start, stop, True
        while at < stop:
            if job.exempt and shrink != 1:
                end, decays = _decaying_run(at, stop, layers)
            params, grad = updated[at - start : end - start], readonly(gradient[at - start : end - start])
            slot_1, slot_2 = job.state[0, at:end], job.state[len(job.state) - 1, at:end]
            now = shrink if decays else 1.0
            apply_update(job.optimizer, params, grad, slot_1, slot_2, lr, hyper[1], now, hyper, job.step[0])
            at = end
        if job.average.size:
            move_average(job.average[start:stop], readonly(updated), average_gain(job.ema_decay, job.step[0]))
        if len(gradients) > 1:
            _stream(updated, job.params[start:stop])
        else:
            copy(updated, job.params[start:stop])
        start = stop
    streams_done()
    return squares


@jit
def _clip_factor(norm_squares, largest):
    """What the gradient is multiplied by so that its norm is at most ``largest``; 1 where the norm is not finite."""
    norm = np.sqrt(norm_squares.sum())
    return min(1.0, largest / (norm + 1e-6)) if np.isfinite(norm) else 1.0


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
def _mean_loss(loss_sums, squares, layers, objective, value_scale, alpha, total_weight):
    """The loss with its L2 term from the threads' sums, by scikit-learn's convention: see `reference.network_loss_gradient`."""
    n_terms = loss_terms(objective.loss, layers[len(layers) - 1].n_out)
    total = 0.0
    for thread in range(len(loss_sums)):
        total += value_scale * loss_sums[thread] / n_terms + alpha / 2 * squares[thread]
    return total / total_weight


@jit
def _readonly_rows(x, indices, indptr, labels, targets, sample_weight):
    return Rows(readonly(x), readonly(indices), readonly(indptr), readonly(labels), readonly(targets), readonly(sample_weight))


@Threaded
def _finish_gradients(layers, params, alpha, total_weight, gradients, result, squares, n_threads):
    """`_finish_gradient` of all parameters; squares (2, n_threads): the sums of those of weights, and of the gradient."""
    for index in prange(n_threads):
        thread = np.intp(index)
        first, last = share(len(params), thread, n_threads)
        squares[0, thread] = _finish_gradient(first, layers, params, alpha, total_weight, gradients, result[first:last])
        squares[1, thread] = _sum_of_squares(readonly(result[first:last]))


@Threaded
def _update_all(job, hyper, lr, factor, layers, current, total_weight, gradients, blocks, squares, n_threads):
    """`_finish_and_update` of all parameters; writes ``squares[0]`` unless it is there already."""
    for index in prange(n_threads):
        thread = np.intp(index)
        first, last = share(len(current), thread, n_threads)
        of_weights = _finish_and_update(
            first, last, job, hyper, lr, factor, layers, current, total_weight, gradients, blocks[thread]
        )  # fmt: skip
        if factor < 0:
            squares[0, thread] = of_weights


@Threaded
def _apply(job, hyper, lr, layers, current, total_weight, gradients, blocks, squares, n_threads):
    """The update by the sum of the gradients of a batch; the first of these may be overwritten."""
    factor = -1.0
    if job.clip_norm > 0:
        _finish_gradients(layers, current, job.alpha, total_weight, gradients, gradients[0], squares, n_threads)
        factor = _clip_factor(squares[1], job.clip_norm)
    _update_all(job, hyper, lr, factor, layers, current, total_weight, gradients, blocks, squares, n_threads)


@ThreadedOnRows
def network_loss_gradient(
    x, indices, indptr, labels, targets, sample_weight, layers, params, loss, loss_hyper, alpha, clip, gradient, n_threads
):
    """Write the gradient (n_params,) of the mean loss with L2 term, and return the loss. Conventions: `reference`."""
    data, layers, params = _readonly_rows(x, indices, indptr, labels, targets, sample_weight), readonly(layers), readonly(params)
    check_program(layers)
    loss_hyper = readonly(loss_hyper)
    check_loss(loss, loss_hyper, layers[len(layers) - 1].n_out)
    rows = readonly(np.arange(n_rows(data.x, data.indptr)))
    total_weight = _total_weight(data.sample_weight, rows)
    if total_weight == 0:
        gradient[:] = 0
        return 0.0
    objective, network = Objective(loss, loss_hyper, clip, 0.0, 1.0), make_network(layers, data, 0.0, params)
    work = make_workspace(network, len(rows), data.labels, len(params), n_threads)
    loss_sums, squares = np.empty(n_threads), np.empty((2, n_threads))
    run_batch(rows, np.intp(0), np.intp(0), data, objective, network, work, loss_sums, n_threads)
    _finish_gradients(layers, params, alpha, total_weight, work.gradients, gradient, squares, n_threads)
    return _mean_loss(loss_sums, squares[0], layers, objective, 1.0, alpha, total_weight)


@public
def check_job(job):
    """Raise an error where a number of the job is not known."""
    check_program(readonly(job.layers))
    check_loss(job.loss, readonly(job.loss_hyper), job.layers[len(job.layers) - 1].n_out)
    check_optimizer(job.optimizer)


@jit
def _keep_best(epoch, loss_sum, total_weight, params, job):
    """Write down the validation's loss of ``params`` after an epoch, and keep them if it is the smallest so far."""
    mean = loss_sum / loss_terms(job.loss, job.layers[len(job.layers) - 1].n_out) / total_weight if total_weight != 0 else 0.0
    job.validation_losses[epoch] = job.value_scale * mean
    if job.validation_losses[epoch] < job.best[0]:
        job.best[0], job.best[1] = job.validation_losses[epoch], job.step[0]
        copy(params, job.best_params)
        copy(job.buffers, job.best_buffers)


@ThreadedOnRows
def train_epochs(job, n_threads):
    """Passes over the rows in mini-batches, updating in place, as `reference.train_epochs` says it."""
    check_job(job)
    data = _readonly_rows(job.x, job.indices, job.indptr, job.labels, job.targets, job.sample_weight)
    validation = _readonly_rows(
        job.validation_x, job.validation_indices, job.validation_indptr, job.validation_labels, job.validation_targets,
        job.validation_weight,
    )  # fmt: skip
    # current is params too, under the type with which network_loss_gradient calls the same functions.
    orders, layers, current, hyper = readonly(job.orders), readonly(job.layers), readonly(job.params), readonly(job.hyper)
    loss_hyper = readonly(job.loss_hyper)
    validated = readonly(job.average) if job.average.size else current
    objective = Objective(job.loss, loss_hyper, job.clip, job.smoothing, job.gradient_scale)
    n_visits, first_step = orders.shape[1], job.step[0]
    network = make_network(layers, data, job.smoothing, current)
    work = make_workspace(network, min(job.batch_size, n_visits), data.labels, len(current), n_threads)
    blocks = np.empty((n_threads, 2, UPDATE_BLOCK), current.dtype)
    loss_sums, squares = np.empty(n_threads), np.empty((2, n_threads))
    held_out = readonly(np.arange(n_rows(validation.x, validation.indptr)))
    for epoch in range(len(orders)):
        epoch_loss = 0.0
        for start in range(0, n_visits, job.batch_size):
            rows = orders[epoch, start : start + job.batch_size]
            job.step[0] += 1
            total_weight = _total_weight(data.sample_weight, rows)
            if total_weight == 0:
                continue
            run_batch(rows, np.intp(0), job.step[0], data, objective, network, work, loss_sums, n_threads)
            update_buffers(len(rows), network, job.buffers)
            lr = hyper[0] * (job.rates[job.step[0] - first_step - 1] if job.rates.size else 1.0)
            _apply(job, hyper, lr, layers, current, total_weight, work.gradients, blocks, squares, n_threads)
            epoch_loss += _mean_loss(loss_sums, squares[0], layers, objective, job.value_scale, job.alpha, total_weight) * len(rows)
        job.losses[epoch] = epoch_loss / n_visits
        if job.validation_losses.size:
            hard = Objective(job.loss, loss_hyper, job.clip, 0.0, 1.0)
            trained = use_buffers(make_network(layers, validation, 0.0, validated), readonly(job.buffers))
            place = make_workspace(trained, max(1, len(held_out)), validation.labels, 0, n_threads)
            run_batch(held_out, np.intp(0), np.intp(0), validation, hard, trained, place, loss_sums, n_threads)
            _keep_best(epoch, loss_sums.sum(), _total_weight(validation.sample_weight, held_out), validated, job)


@Threaded
def _batch_sums(job, first_row, sums, n_threads):
    """`batch_sums` of a job without encoded rows."""
    check_job(job)
    data = _readonly_rows(job.x, job.indices, job.indptr, job.labels, job.targets, job.sample_weight)
    rows, layers, current, loss_hyper = (
        readonly(job.orders)[0],
        readonly(job.layers),
        readonly(job.params),
        readonly(job.loss_hyper),
    )
    objective = Objective(job.loss, loss_hyper, job.clip, job.smoothing, job.gradient_scale)
    network = make_network(layers, data, job.smoothing, current)
    work = make_workspace(network, max(1, len(rows)), data.labels, len(current), n_threads)
    loss_sums, n = np.empty(n_threads), len(current)
    run_batch(rows, np.intp(first_row), job.step[0] + 1, data, objective, network, work, loss_sums, n_threads)
    copy(work.gradients[0], sums[:n])
    for thread in range(1, n_threads):
        for i in range(n):
            sums[i] += work.gradients[thread, i]
    sums[n] = job.value_scale * loss_sums.sum() / loss_terms(job.loss, layers[len(layers) - 1].n_out)
    sums[n + 1] = _total_weight(data.sample_weight, rows)


@Threaded
def _apply_sums(job, sums, n_threads):
    """`apply_sums` of a job without encoded rows."""
    check_job(job)
    layers, current, hyper, n = readonly(job.layers), readonly(job.params), readonly(job.hyper), len(job.params)
    total_weight, squares = np.float64(sums[n + 1]), np.empty((2, n_threads))
    job.step[0] += 1
    job.losses[0] = 0
    if total_weight != 0:
        gradients, blocks = sums[:n].copy().reshape(1, n), np.empty((n_threads, 2, UPDATE_BLOCK), current.dtype)
        lr = hyper[0] * (job.rates[0] if job.rates.size else 1.0)
        _apply(job, hyper, lr, layers, current, total_weight, gradients, blocks, squares, n_threads)
        job.losses[0] = (sums[n] + job.alpha / 2 * squares[0].sum()) / total_weight


def batch_sums(job, first_row, sums, n_threads):
    """The first half of a step, sums over rows of its batch, as `reference.batch_sums` says it."""
    _batch_sums(one_batch_without_encoding(job), first_row, sums, n_threads)


def apply_sums(job, sums, n_threads):
    """The second half of a step, the update, as `reference.apply_sums` says it."""
    _apply_sums(one_batch_without_encoding(job), sums, n_threads)


def train_jobs(jobs, n_threads):
    """`train_epochs` of each of several jobs, which write to no common memory, with one thread each, on ``n_threads`` at a time."""
    for job in jobs:
        check_job(job)
    pool = ThreadPoolExecutor(n_threads)
    try:
        for done in [pool.submit(train_epochs, job, 1) for job in jobs]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)

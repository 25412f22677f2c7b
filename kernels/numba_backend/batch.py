"""The gradient of some rows of a batch, as a sum and without L2 term. They go through the layers a chunk at a time.

A batch norm needs all rows of the batch at once. So a pass has phases, between which all threads meet: phase p ends with the
moments of what batch norm number p takes; the phase after the last one of these goes on to the loss and back to the last batch
norm, and those that follow from one batch norm to the one before. Without batch norms there is one phase, and the memory of a
chunk serves the next one too.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from .activations import activate, activate_and_derive, chain, copy, derivative_from_z, multiply, scaled_derivative
from .dropout import drop_rows, unscale_rows
from .jit import Threaded, jit, readonly
from .linear import CHUNK, backward_row, backward_sparse_row, forward_row, forward_sparse_row, matrix, share, vector
from .losses import loss_backward, loss_of_block, n_classes
from .network import norm_parameters
from .normalization import (
    add_moments,
    batch_norm_dx,
    batch_norm_sums,
    layer_norm_backward,
    layer_norm_forward,
    merge_moments,
    normalize,
    running_rstd,
    statistics_from_moments,
)
from .program import (
    ACTIVATION,
    ADD,
    BATCH_NORM,
    DROPOUT,
    LAYER_NORM,
    LINEAR,
    add_rows,
    add_sparse_rows,
    branch_backward,
    fused_activation,
    last_use,
    rows_of_kind,
    training_plan,
)


class Network(NamedTuple):
    """What does not change with the batch; ``statistics`` (2, n_buffers) belongs to the batch: mean and rstd of each batch norm's
    columns, then the means of dy x_hat and dy."""

    layers: Any
    plan: Any
    n_columns: int
    norms: Any
    params: Any
    statistics: Any


class Objective(NamedTuple):
    """What is computed of the outputs of a row."""

    loss: int
    loss_hyper: Any
    clip: float
    smoothing: float
    gradient_scale: float


class Workspace(NamedTuple):
    """What a batch needs, one row a thread: for each row of a chunk, or of the batch, what the plan has columns for; the labels of
    a chunk; gradients; the moments of each batch norm's columns, (2, n_in) after each other."""

    numbers: Any
    labels: Any
    gradients: Any
    moments: Any


@jit
def make_network(layers, data, smoothing, params):
    """A `Network`. The plan begins with sample weight and targets."""
    n_targets = layers[len(layers) - 1].n_out if data.targets.size or smoothing > 0 else 0
    plan, n_columns = training_plan(layers, 1 + n_targets, 0 if data.indptr.size else layers[0].n_in)
    norms, n_buffers = rows_of_kind(layers, BATCH_NORM), 0
    for i in norms:
        n_buffers += 2 * layers[i].n_in
    return Network(layers, readonly(plan), n_columns, readonly(norms), params, np.zeros((2, n_buffers), params.dtype))


@jit
def make_workspace(network, batch_size, labels, n_gradient, n_threads):
    """A `Workspace` for batches of at most ``batch_size`` rows; with ``n_gradient`` 0, for their losses alone."""
    chunk = min(CHUNK, batch_size)
    n_rows = (batch_size + n_threads - 1) // n_threads if len(network.norms) else chunk
    return Workspace(
        np.empty((n_threads, n_rows * network.n_columns), network.params.dtype),
        np.empty((n_threads, chunk if labels.size else 0), labels.dtype),
        np.empty((n_threads, n_gradient), network.params.dtype),
        np.zeros((n_threads, network.statistics.shape[1])),
    )


@Threaded
def run_batch(rows, first_row, step, data, objective, network, work, loss_sums, n_threads):
    """All phases of the rows from ``first_row`` on of the batch of update number ``step``; 0 drops nothing. Threads share the rows.

    Writes the sum of the losses of each thread's rows, and their gradients to a workspace that has some.
    """
    loss_sums[:] = 0
    for phase in range(2 * len(network.norms) + 1):
        for index in prange(n_threads):
            thread = np.intp(index)  # which prange makes unsigned: everything would be compiled again
            first, last = share(len(rows), thread, n_threads)
            at = first_row + first
            loss_sums[thread] += _run_phase(phase, rows[first:last], at, step, data, objective, network, work, thread)
        _finish_phase(phase, len(rows), network, work)


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
def _gather_targets(data, rows, smoothing, share_of_all, y):
    """y = the dense targets of rows, (1 - smoothing) times them plus ``share_of_all``."""
    if data.targets.size:
        _gather(data.targets, rows, y)
    if smoothing > 0:
        keep, added = y.dtype.type(1 - smoothing), y.dtype.type(share_of_all)
        for i in range(len(rows)):
            for j in range(y.shape[1]):
                if data.labels.size:
                    y[i, j] = data.labels[rows[i]] == j
                y[i, j] = keep * y[i, j] + added


@jit
def _run_phase(phase, rows, first_row, step, data, objective, network, work, thread):
    """One phase of a thread's rows, those from ``first_row`` on of the batch: see `run_batch`.

    Writes to the thread's moments, or to its gradient: that of the weighted sum of the losses. Returns the sum of the losses in
    the phase that computes them.
    """
    numbers, gradient, norms = work.numbers[thread], work.gradients[thread], network.norms
    backward = gradient.size > 0
    layers, plan = network.layers, network.plan
    n_norms, last, sparse = len(norms), len(layers) - 1, data.indptr.size > 0
    if phase == n_norms and (sparse or len(rows) == 0):
        gradient[:] = 0
    loss_sum = 0.0
    back = phase - n_norms
    for start in range(0, len(rows), CHUNK):
        here = rows[start : start + CHUNK]
        n = len(here)
        block = numbers[start * network.n_columns if n_norms else 0 :]
        accumulate = sparse or start > 0
        if phase == 0 and not sparse:
            _gather(data.x, here, matrix(block, plan[0].value * n, n, layers[0].n_in))
        if phase <= n_norms:
            low, high = norms[phase - 1] if phase > 0 else 0, norms[phase] if phase < n_norms else last
            _forward(low, high, here, step, first_row + start, data, network, block)
        if phase < n_norms:
            _take_moments(norms[phase], n, start, network, block, work.moments[thread])
            continue
        if phase == n_norms:
            loss_sum += _loss_of_chunk(here, backward, data, objective, network, block, work.labels[thread])
        if not backward:
            continue
        high, low = last - 1 if back == 0 else norms[n_norms - back], norms[n_norms - 1 - back] + 1 if back < n_norms else 0
        _backward(high, low, here, step, first_row + start, accumulate, data, network, block, gradient)
        if back < n_norms:
            _sums_of_norm(low - 1, n, accumulate, network, block, gradient)
    return loss_sum


@jit
def _finish_phase(phase, n_rows, network, work):
    """Between two phases: what all threads' rows give together, in the order of the threads."""
    norms, layers, n_threads = network.norms, network.layers, len(work.gradients)
    n_norms = len(norms)
    if phase < n_norms:
        n, at, epsilon = layers[norms[phase]].n_in, layers[norms[phase]].buffers, layers[norms[phase]].epsilon
        moments, done = np.zeros((2, n)), 0
        for thread in range(n_threads):
            first, last = share(n_rows, thread, n_threads)
            merge_moments(done, moments, last - first, matrix(work.moments[thread], at, 2, n))
            done = last
        mean, rstd = _statistics_of(0, norms[phase], network)
        statistics_from_moments(moments, n_rows, epsilon, mean, rstd)
    elif phase < 2 * n_norms:
        i = norms[2 * n_norms - 1 - phase]
        n, at, offset = layers[i].n_in, layers[i].buffers, layers[i].offset
        for j in range(2 * n):
            total = 0.0
            for thread in range(n_threads):
                total += work.gradients[thread, offset + j]
            network.statistics[1, at + j] = total / n_rows


@jit
def use_buffers(network, buffers):
    """A network whose batch norms take the running statistics."""
    for i in network.norms:
        n, at = network.layers[i].n_in, network.layers[i].buffers
        mean, rstd = _statistics_of(0, i, network)
        copy(buffers[at : at + n], mean)
        running_rstd(buffers[at + n : at + 2 * n], network.layers[i].epsilon, rstd)
    return Network(network.layers, network.plan, network.n_columns, network.norms[:0], network.params, network.statistics)


@jit
def update_buffers(n_rows, network, buffers):
    """Move the running statistics towards those of the batch: the variance is that of a sample."""
    for i in network.norms:
        n, at, gain = network.layers[i].n_in, network.layers[i].buffers, network.layers[i].momentum
        for j in range(at, at + n):
            rstd = np.float64(network.statistics[0, j + n])
            variance = (1 / (rstd * rstd) - network.layers[i].epsilon) * n_rows / max(n_rows - 1, 1)
            buffers[j] = (1 - gain) * buffers[j] + gain * network.statistics[0, j]
            buffers[j + n] = (1 - gain) * buffers[j + n] + gain * variance


@jit
def _statistics_of(k, i, network):
    """The two vectors of batch norm i in statistics[k]."""
    n, at = network.layers[i].n_in, k * network.statistics.shape[1] + network.layers[i].buffers
    return vector(network.statistics, at, n), vector(network.statistics, at + n, n)


@jit
def _loss_of_chunk(rows, backward, data, objective, network, block, labels):
    """The weighted sum of the losses of rows; with ``backward`` writes the gradient with respect to the logits."""
    layers, plan, n = network.layers, network.plan, len(rows)
    last = len(layers) - 1
    n_out = layers[last].n_out
    # block = [sample weights (n,)] [targets (n, n_out)] [what the plan has]
    weights = vector(block, 0, n if data.sample_weight.size else 0)
    n_targets = plan[0].value - 1
    y = matrix(block, n, n if n_targets else 0, n_targets)
    chosen = labels[: 0 if n_targets else n]
    _gather_vector(data.sample_weight, rows, weights)
    if n_targets:
        _gather_targets(data, rows, objective.smoothing, objective.smoothing / n_classes(objective.loss, n_out), y)
    else:
        _gather_vector(data.labels, rows, chosen)
    z, dz = matrix(block, plan[last].value * n, n, n_out), matrix(block, plan[last].delta * n, n, n_out)
    loss_sum = loss_of_block(objective.loss, objective.loss_hyper, z, chosen, y, weights, objective.clip, dz)
    if backward:
        loss_backward(objective.loss, objective.loss_hyper, dz, chosen, y, weights, objective.gradient_scale, dz, 1)
    return loss_sum


@jit
def _forward(low, high, rows, step, first_row, data, network, block):
    """Rows low:high of the layer table."""
    layers, plan, params, n = network.layers, network.plan, network.params, len(rows)
    sparse = data.indptr.size > 0
    for i in range(low, high):
        kind, n_in = layers[i].kind, layers[i].n_in
        in_place = plan[i + 1].value == plan[i].value
        y = matrix(block, plan[i + 1].value * n, n, layers[i].n_out)
        below = matrix(block, plan[i].value * n, 0 if i == 0 and sparse else n, n_in)
        if kind == LINEAR:
            with_relu = fused_activation(layers, i + 1, plan[min(i + 2, len(layers) - 1)].value == plan[i + 1].value)
            if i == 0 and sparse:
                forward_sparse_row(data.x, data.indices, data.indptr, rows, layers, params, with_relu, y)
            else:
                forward_row(readonly(below), layers, i, params, with_relu, y)
        elif kind == LAYER_NORM:
            gamma, beta = norm_parameters(layers, i, params)
            saved = matrix(block, plan[i].saved * n, 2, n)
            layer_norm_forward(readonly(below), gamma, beta, layers[i].epsilon, y, saved[0], saved[1], 1)
        elif kind == BATCH_NORM:
            gamma, beta = norm_parameters(layers, i, params)
            mean, rstd = _statistics_of(0, i, network)
            normalize(readonly(below), gamma, beta, mean, rstd, y)
        elif kind == ACTIVATION and derivative_from_z(layers[i].code):
            saved = matrix(block, plan[i].saved * n, n, n_in)
            if plan[i].saved != plan[i].value:
                copy(readonly(below), saved)
            activate_and_derive(layers[i].code, saved, y)
        else:
            if not in_place:
                copy(readonly(below), y)
            if kind == ACTIVATION and not fused_activation(layers, i, in_place):
                activate(layers[i].code, y)
            elif kind == DROPOUT:
                drop_rows(layers, i, step, first_row, y)
            elif kind == ADD and layers[i].source == 0 and sparse:
                add_sparse_rows(data.x, data.indices, data.indptr, rows, y)
            elif kind == ADD:
                add_rows(readonly(matrix(block, plan[layers[i].source].value * n, n, n_in)), y)


@jit
def _backward(high, low, rows, step, first_row, accumulate, data, network, block, gradient):
    """Rows high to low of the layer table, as far as there are parameters below; the gradient is written, or added to."""
    layers, plan, params, n = network.layers, network.plan, network.params, len(rows)
    lowest = _first_with_parameters(layers)
    for i in range(high, max(low, lowest) - 1, -1):
        kind, n_in, n_out, offset = layers[i].kind, layers[i].n_in, layers[i].n_out, layers[i].offset
        sparse = i == 0 and data.indptr.size > 0
        x = matrix(block, plan[i].value * n, 0 if sparse else n, n_in)
        dx = matrix(block, plan[i].delta * n, n, n_in)  # of a first linear row, without use
        dy = matrix(block, plan[i + 1].delta * n, n, n_out)
        if kind == LINEAR and sparse:
            backward_sparse_row(data.x, data.indices, data.indptr, rows, readonly(dy), layers, gradient)
        elif kind == LINEAR:
            backward_row(readonly(x), readonly(dy), layers, i, params, accumulate, gradient, i > lowest, dx)
        elif kind == LAYER_NORM:
            gamma, saved = vector(params, offset, n_in), matrix(block, plan[i].saved * n, 2, n)
            dgamma, dbeta = norm_parameters(layers, i, gradient)
            layer_norm_backward(
                readonly(dy), readonly(x), gamma, readonly(saved[0]), readonly(saved[1]), accumulate, dx, dgamma, dbeta, 1
            )
        elif kind == BATCH_NORM:
            mean, rstd = _statistics_of(0, i, network)
            mean_product, mean_dy = _statistics_of(1, i, network)
            batch_norm_dx(readonly(dy), readonly(x), vector(params, offset, n_in), mean, rstd, mean_product, mean_dy, dx)
        elif kind == ACTIVATION and derivative_from_z(layers[i].code):
            multiply(readonly(dy).reshape(dy.size), dx.reshape(dx.size))
        elif kind == ACTIVATION:
            if scaled_derivative(layers[i].code):
                _undo_dropout_above(i, step, layers, plan, dx)
            chain(layers[i].code, readonly(dy), dx)  # over a, which nobody needs any more
        elif kind == DROPOUT:
            drop_rows(layers, i, step, first_row, dx)  # which is dy
        elif kind == ADD and layers[i].source > 0:
            source = layers[i].source
            branch_backward(readonly(dy), last_use(layers, source) == i, matrix(block, plan[source].branch * n, n, n_in))
        if i > lowest and plan[i].branch >= 0:
            add_rows(readonly(matrix(block, plan[i].branch * n, n, n_in)), dx)


@jit
def _first_with_parameters(layers):
    """The first row of the layer table that has parameters."""
    for i in range(len(layers)):
        if layers[i].kind == LINEAR or layers[i].kind == LAYER_NORM or layers[i].kind == BATCH_NORM:
            return i
    return len(layers)


@jit
def _undo_dropout_above(i, step, layers, plan, a):
    """Make a the values of activation i again, where dropout in its place has scaled those that it kept."""
    k = i + 1
    while layers[k].kind == DROPOUT and plan[k + 1].value == plan[k].value:
        unscale_rows(layers, k, step, a)
        k += 1


@jit
def _take_moments(i, n, n_before, network, block, moments):
    """The moments of the columns that batch norm i takes, of a chunk after ``n_before`` rows of the same thread."""
    n_in, at = network.layers[i].n_in, network.layers[i].buffers
    here = matrix(moments, at, 2, n_in)
    if n_before == 0:
        here[:] = 0
    add_moments(readonly(matrix(block, network.plan[i].value * n, n, n_in)), n_before, here)


@jit
def _sums_of_norm(i, n, accumulate, network, block, gradient):
    """The gradient with respect to the parameters of batch norm i, of a chunk."""
    n_in = network.layers[i].n_in
    dgamma, dbeta = norm_parameters(network.layers, i, gradient)
    if not accumulate:
        dgamma[:] = 0
        dbeta[:] = 0
    x, dy = matrix(block, network.plan[i].value * n, n, n_in), matrix(block, network.plan[i + 1].delta * n, n, n_in)
    mean, rstd = _statistics_of(0, i, network)
    batch_norm_sums(readonly(dy), readonly(x), mean, rstd, dgamma, dbeta)

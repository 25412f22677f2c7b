"""The training loop."""

import numpy as np

from ..bfloat16 import BITS
from ..layer_table import parameter_views
from ..spec import KINDS
from .losses import clipped_loss, dense_targets
from .network import Pass, loss_terms, mean_with_penalty, one_matrix, require_known, sums_of_rows, weight_of
from .updates import decayed_update


def train_epochs(job, n_threads):
    """Passes over the rows, in the order of each of ``orders`` (n_epochs, n_visits), in mini-batches, updating in place.

    Loss and gradient of a batch are those of `network_loss_gradient`, with these options: ``gradient_scale`` and ``value_scale``
    are factors of the loss without its L2 term; ``smoothing`` turns targets y of the cross-entropies into (1 - smoothing) y +
    smoothing / K, for training alone. Where ``clip_norm`` is not 0 and the gradient's norm is finite, the gradient is multiplied
    by min(1, clip_norm / (norm + 1e-6)). The update is `update` with ``hyper``, lr multiplied by ``rates[k]`` in step k of the
    call, if rates are given; with ``exempt`` weight decay is for the weights of linear rows alone.

    ``average`` (n_params,), if given, is the exponential moving average of the parameters with the decay d = ``ema_decay``, in [0,
    1). After update s, counted from 1 as ``step`` counts, it moves by (1 - d) / (1 - d^s) (params - average). So it is the sum of
    d^(s - i) params_i over the sum of d^(s - i), with i from 1 to s: without the bias that a start from 0 would have (Kingma and
    Ba, *Adam*, 2015, section 3). Update 1 makes it the parameters, whatever it was.

    ``step`` (1,) is the number of updates done so far, and counts on. Writes to ``losses`` (n_epochs,), float64, the means of the
    batches' losses, each weighted by its number of rows. The last batch of an epoch may be short. One whose sample weights sum to
    zero changes nothing and counts as loss 0 (but as a step). Dropout is that of the layer table. Batch norm takes the batch's
    statistics, not weighted, and moves the running ones.

    Where ``validation_losses`` (n_epochs,) is given: after each epoch the mean loss of the validation rows, weighted, as of
    `network_forward`, in units of ``value_scale``, with ``clip`` but without L2 term and smoothing. Where it is below ``best[0]``,
    it replaces it, the number of steps replaces ``best[1]``, and parameters and running statistics are copied to ``best_params``
    and ``best_buffers``. Where ``average`` is given, it takes the place of the parameters in this.

    With ``bfloat16`` the values between rows, the gradients with respect to them and the weights in products are rounded to it, in
    training and validation; everything else is float32. Dense X is then the bits of bfloat16, as uint16. Sparse and encoded X are
    float32, and so are the weights by which they are multiplied.
    """
    require_known(job.layers, job.loss, job.loss_hyper, job.optimizer)
    x, gradient = one_matrix(job.x, job.indices, job.indptr, job.layers), np.empty_like(job.params)
    decays, first_step = _decaying(job), int(job.step[0])
    for epoch, order in enumerate(job.orders):
        epoch_loss = 0.0
        for start in range(0, len(order), job.batch_size):
            rows = order[start : start + job.batch_size]
            batch, loss_sum, total_weight = _sums(job, x, rows, 0, gradient)
            if total_weight != 0:
                batch.update_statistics(len(rows))
            epoch_loss += len(rows) * _apply(job, gradient, loss_sum, total_weight, first_step, decays)
        job.losses[epoch] = epoch_loss / len(order)
        if job.validation_losses.size:
            _validate(job, epoch)


def batch_sums(job, first_row, sums, n_threads):
    """The first half of a step of `train_epochs`, of which other processes do a share each: sums over rows of the batch.

    Those are the rows ``orders[0]``, which may be none; ``orders`` is (1, n), and ``batch_size`` does not count. They are the rows
    from ``first_row`` on of the whole batch, and have the masks of dropout that they have there. Writes to ``sums``
    (n_params + 2,), of the dtype of the parameters: the gradient of the sum of the losses, not divided and without L2 term; this
    sum as it is reported, with ``value_scale``; the sum of the weights. Nothing of the job is written to. Not for batch norm, which
    would take the statistics of these rows alone.
    """
    require_known(job.layers, job.loss, job.loss_hyper, job.optimizer)
    x, rows = one_matrix(job.x, job.indices, job.indptr, job.layers), job.orders[0]
    sums[...] = 0
    if rows.size:
        sums[-2:] = _sums(job, x, rows, first_row, sums[:-2])[1:]


def apply_sums(job, sums, n_threads):
    """The second half of a step of `train_epochs`: the update by ``sums``, the total of what `batch_sums` wrote for all shares.

    Updates parameters, ``state``, ``average`` and ``step`` as after a batch that has this gradient and this weight, and writes its
    mean loss with L2 term to ``losses`` (1,). A batch without weight is only counted. Rows and orders are not read.
    """
    require_known(job.layers, job.loss, job.loss_hyper, job.optimizer)
    job.losses[0] = _apply(job, sums[:-2].copy(), float(sums[-2]), float(sums[-1]), int(job.step[0]), _decaying(job))


def _sums(job, x, rows, first_row, gradient):
    """Write the gradient of the loss sum of some rows; returns their `Pass`, the loss sum and the sum of the weights."""
    labels, targets, weight = (v[rows] if v.size else v for v in (job.labels, job.targets, job.sample_weight))
    y = dense_targets(labels, targets, np.empty((len(rows), job.layers[-1]["n_out"]), x.dtype))
    how = {"update": int(job.step[0]) + 1, "first_row": first_row, "bfloat16": job.bfloat16, "direct": job.x.dtype != BITS}
    batch = Pass(job.layers, job.params, job.buffers, training=True, **how)
    options = job.smoothing, job.gradient_scale, job.value_scale
    loss_sum = sums_of_rows(batch, x[rows], y, weight, job.loss, job.loss_hyper, job.clip, gradient, *options)
    return batch, loss_sum, weight_of(weight, len(rows))


def _apply(job, gradient, loss_sum, total_weight, first_step, decays):
    """The update by the sums of a batch, in a call that began at first_step; returns the mean loss. Changes the gradient."""
    job.step[0] += 1
    step = int(job.step[0])
    if total_weight == 0:
        return 0.0
    loss = mean_with_penalty(job.layers, job.params, gradient, loss_sum, total_weight, job.alpha)
    _clip_norm(gradient, job.clip_norm)
    hyper = job.hyper.copy()
    if job.rates.size:
        hyper[0] *= job.rates[step - first_step - 1]
    slots = job.state[0], job.state[1] if len(job.state) > 1 else job.state[:0]
    decayed_update(job.optimizer, job.params, gradient, *slots, hyper, step, decays)
    if job.average.size:
        _move_average(job.average, job.params, job.ema_decay, step)
    return loss


def train_jobs(jobs, n_threads):
    """`train_epochs` of each of several jobs, which write to no common memory, with one thread each, on ``n_threads`` at a time."""
    for job in jobs:
        require_known(job.layers, job.loss, job.loss_hyper, job.optimizer)
    for job in jobs:
        train_epochs(job, 1)


def _decaying(job):
    """What weight decay is for: everything, or the weights of linear rows."""
    if not job.exempt:
        return True
    decays = np.zeros(job.params.shape, bool)
    for layer, views in zip(job.layers, parameter_views(job.layers, decays), strict=True):
        if layer["kind"] == KINDS["linear"]:
            views[0][...] = True
    return decays


def _clip_norm(gradient, largest):
    norm = np.sqrt(np.square(gradient, dtype=np.float64).sum())
    if largest and np.isfinite(norm):
        gradient *= min(1.0, largest / (norm + 1e-6))


def _move_average(average, params, decay, step):
    gain = params.dtype.type((1 - decay) / (1 - decay**step))
    average[...] = params if gain == 1 else average + gain * (params - average)


def _validate(job, epoch):
    x = one_matrix(job.validation_x, job.validation_indices, job.validation_indptr, job.layers)
    params = job.average if job.average.size else job.params
    how = {"bfloat16": job.bfloat16, "direct": job.validation_x.dtype != BITS}
    logits = Pass(job.layers, params, job.buffers, training=False, **how).forward(x)
    y = dense_targets(job.validation_labels, job.validation_targets, logits)
    weight, nothing = job.validation_weight, np.empty((0, 0), logits.dtype)
    total = float(weight.sum(dtype=np.float64)) if weight.size else x.shape[0]
    value = clipped_loss(job.loss, job.loss_hyper, logits, y, weight, job.clip, nothing) / loss_terms(job.loss, job.layers)
    job.validation_losses[epoch] = job.value_scale * value / total if total else 0.0
    if job.validation_losses[epoch] < job.best[0]:
        job.best[:] = job.validation_losses[epoch], job.step[0]
        job.best_params[...] = params
        job.best_buffers[...] = job.buffers

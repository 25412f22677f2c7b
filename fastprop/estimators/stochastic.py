"""A fit in mini-batches: what is trained, on which rows, and what the estimator keeps."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..network import Network
from ..threads import n_threads_of_steps
from ..warn import warn
from .interop import fastprops_optimizer
from .schedules import Averages, Masks, fingerprint, follow, new_optimizer
from .stopping import StoppingRule


def train(estimator, source, history, incremental, observer):
    """Train an estimator for one epoch or until it stops, with a solver other than 'lbfgs', and return its network.

    ``source`` holds checked rows, such as `rows.InMemory`.
    """
    network = estimator._trainable_network()
    rows = source.begin(estimator, network)
    batch_size = _batch_size(estimator, rows.n_rows)
    n_rows = _rows_of_epoch(estimator, rows.n_rows, batch_size)
    n_threads = n_threads_of_steps(estimator.n_jobs, math.ceil(batch_size * rows.share), network.n_weights)
    optimizer = estimator._optimizer = _optimizer(estimator, network, incremental)
    history.expect(rows.held_out is not None, optimizer.varies)
    rows.resume(network, optimizer, history)
    with averaged(estimator, network, optimizer) as judged:
        validation = None if rows.held_out is None else _validation(estimator, network, judged, rows, history)
        if observer is not None:
            observer.watch(judged, history, validation, rows.left_by_split)
        verdict = {"tol": estimator.tol, "n_iter_no_change": estimator.n_iter_no_change, "n_threads": n_threads}
        says_more = source.given is not None or estimator.scoring is not None
        verdict |= {"verbose": estimator.verbose if rows.speaks else False, "says_more": says_more}
        rule = StoppingRule(optimizer, history, n_rows, validation, **verdict)
        runner, orders = rows.epochs(
            network.sharing(dropout=masks_of_dropout(estimator, optimizer)) if optimizer.masks else network,
            n_rows,
            optimizer.rule,
            lambda n_epochs, n_steps: optimizer.begin(history.n_samples_seen, n_rows, n_epochs, n_steps),
            estimator._random_state if estimator.shuffle else None,
            batch_size=batch_size,
            n_threads=n_threads,
            **_options(estimator, network, optimizer),
        )
        n_epochs = 1 if incremental else estimator.max_iter - history.n_epochs
        limits = {"observer": observer, "time_limit": estimator.max_time}
        try:
            ending = rows.run(runner, orders, rule, n_epochs, **limits)
        finally:
            estimator._store(history)
    if validation is not None and validation.decides:
        validation.restore(network)
        estimator._best_coefs, estimator._best_intercepts = estimator.coefs_, estimator.intercepts_
    _remember(optimizer, network)
    if not rows.speaks:
        return network
    if ending == "interrupted":
        warn("Training interrupted by user.")
    elif ending == "finished" and not incremental and not optimizer.has_planned_end:
        warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter:d}) reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
        )
    return network


def clip(network):
    """The distance from 0 and 1 to which scikit-learn clips probabilities before it takes the logarithm for ``loss_``."""
    return float(np.finfo(network.dtype).eps)


def _batch_size(estimator, n_samples):
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    if estimator.batch_size > n_samples:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    return min(int(estimator.batch_size), n_samples)


def check_rows(estimator, n_samples, given):
    """Raise an error if batch norm would get mini-batches of one row; ``given`` are the `Rows` to validate on, or None."""
    n_held_out = math.ceil(n_samples * estimator.validation_fraction) if estimator.early_stopping and given is None else 0
    if estimator.normalization == "batch" and 1 in (n_samples - n_held_out, estimator.batch_size):
        got = f"n_samples = {n_samples}, of which {n_held_out} are held out, batch_size={estimator.batch_size!r}"
        raise ValueError(f"normalization='batch' needs at least 2 rows in a mini-batch, as one row has no variance; got {got}")


def _rows_of_epoch(estimator, n_rows, batch_size):
    """The number of rows in an epoch: batch norm leaves out a last batch of a single row, which has no variance."""
    return n_rows - (estimator.normalization == "batch" and n_rows > 1 and n_rows % batch_size == 1)


def _optimizer(estimator, network, incremental):
    """The optimizer to continue with, or a new one that keeps the masks and averages of the old one."""
    old = vars(estimator).get("_optimizer")
    old = None if old is None else fastprops_optimizer(old)
    if incremental and old is not None:
        optimizer = old
        optimizer.attach(network)
    else:
        optimizer = new_optimizer(network, estimator.solver, estimator)
        if old is not None and (incremental or estimator.warm_start):
            masks = old.masks
            optimizer.masks = None if masks is None else Masks(masks.seeds, masks.n_updates + old.t)
            optimizer.averages = old.averages
    follow(optimizer, estimator)
    n_hidden = len(network.coefs) - 1
    if optimizer.masks is None and np.any(estimator.dropout):
        optimizer.masks = Masks(estimator._random_state.randint(2**31 - 1, size=n_hidden).tolist())
    return optimizer


def masks_of_dropout(estimator, optimizer):
    """The argument ``dropout`` of `Network.sharing`."""
    seeds, n_updates = optimizer.masks.seeds, optimizer.masks.n_updates
    rates = np.broadcast_to(estimator.dropout, len(seeds)).tolist()
    return [(rate, seed, n_updates) for rate, seed in zip(rates, seeds, strict=True)]


def _options(estimator, network, optimizer):
    """The options of `Network.train_epochs`."""
    options = {"alpha": estimator.alpha, "clip": clip(network), "clip_norm": estimator.clip_norm or 0.0}
    options |= {"smoothing": getattr(estimator, "label_smoothing", 0.0), "precision": estimator.precision}
    if estimator.weight_decay:
        options["exempt"] = True
    if estimator.ema_decay is not None:
        options |= {"ema_decay": estimator.ema_decay, "average": optimizer.averages.average}
    return options


def _validation(estimator, network, judged, rows, history):
    best = getattr(estimator, "_best_coefs", estimator.coefs_), getattr(estimator, "_best_intercepts", estimator.intercepts_)
    is_current = best[0] is estimator.coefs_ or network.norms
    best_params = network.params.copy() if is_current else Network.from_arrays(*best).params
    return rows.validation(estimator, judged, history, bool(estimator.early_stopping), best_params)


# The exponential average of the weights: training changes the raw ones, and the estimator shows the average.


@contextmanager
def averaged(estimator, network, optimizer):
    """A block in which a network has its raw parameters; after it, it has the average. Yields the network to evaluate."""
    if estimator.ema_decay is None:
        optimizer.averages = None
        yield network
        return
    kept = optimizer.averages
    if kept is not None and kept.shown == fingerprint(network) and kept.raw.dtype == network.dtype:
        network.params[:] = kept.raw
    else:
        kept = optimizer.averages = Averages(network.params.copy(), network.params.copy(), "")
    try:
        yield network.sharing(params=kept.average)
    finally:
        kept.raw[:] = network.params
        network.params[:] = kept.average
        _remember(optimizer, network)


def _remember(optimizer, network):
    """Record which parameters the estimator has after training."""
    if optimizer.averages is not None:
        optimizer.averages.shown = fingerprint(network)

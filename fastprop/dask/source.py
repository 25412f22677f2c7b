"""Rows in the partitions of a Dask cluster: what `BaseMLP._fit_to` trains on, and the rounds of this training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed, delayed
from distributed import Client, wait

from .. import loop
from ..estimators.checkpoints import Checkpoint, CheckpointFile, problem
from ..estimators.held_out import named
from ..estimators.parts import Known, check_validation, known
from ..estimators.rows import EpochRows
from ..estimators.stochastic import masks_of_dropout
from ..warn import warn
from . import partitions, rounds

# Partitions differ by more than chance if this fraction of their rows would have to be of other classes.
SKEW = 0.1
# Parameters that may differ when a fit continues from a checkpoint
OF_THE_PROCESS = {"client", "checkpoint", "round_timeout", "verbose", "n_jobs", "warm_start"}
KEPT = "The estimator has the weights of the last complete round; with warm_start=True, fit continues from them"


class InPartitions:
    """The checked partitions, with the attributes of `rows.CheckedRows`."""

    def __init__(
        self,
        client: Client,
        tasks: Sequence[tuple[int, Delayed]],
        counts: Sequence[int],
        everything: Known,
        checks: Any,
        file: CheckpointFile | None,
    ) -> None:
        self.client, self.tasks, self.counts, self.checks, self.file = client, tasks, counts, checks, file
        self.loaded = None if file is None else file.load()
        self.summary, _, self.example, self.given = everything
        self.n_features, self.dtype = self.summary.n_features, self.summary.dtype

    def begin(self, estimator, network):
        return RowsOfPartitions(self, estimator, network)


def in_partitions(estimator: Any, client: Client, tasks: Sequence[Delayed], given: dict[str, Any], reset: bool) -> InPartitions:
    """Tasks that return ``(X, y, sample_weight)`` as `InPartitions`; sets what `BaseMLP._checked_input` sets."""
    bare = delayed(estimator._bare(), traverse=False)
    looks = client.compute([delayed(partitions.seen)(task, place, bare, reset) for place, task in enumerate(tasks)])
    with _released(looks):
        found = [(place, seen) for place, seen in enumerate(client.gather(looks)) if seen is not None]
    if not found:
        raise ValueError("X has no rows")
    summary = found[0][1]
    for place, seen in found[1:]:
        with named(f"partition {place}"):
            summary = summary.joined(seen)
    everything = known(estimator, summary, reset, given)
    check_validation(estimator, everything, f"{type(estimator).__name__}.fit")
    if not estimator.shuffle_partitions and estimator._is_classifier:
        _warn_of_skew([seen.targets for _, seen in found], summary.targets)
    checks = partitions.Checks(estimator._bare(), summary, everything.class_weight)
    numbered, counts = [(place, tasks[place]) for place, _ in found], [seen.n_rows for _, seen in found]
    path = estimator.checkpoint
    file = None if path is None else CheckpointFile(path, problem(estimator, summary, counts, OF_THE_PROCESS))
    return InPartitions(client, numbered, counts, everything, checks, file)


def _warn_of_skew(parts, everything):
    """Warn if classes are spread over partitions less evenly than by chance."""
    shares, n_moved, by_chance = everything.counts / everything.counts.sum(), 0.0, 0.0
    for part in parts:
        own, n = np.zeros(len(shares)), part.counts.sum()
        own[np.searchsorted(everything.classes, part.classes)] = part.counts
        n_moved += np.abs(own - n * shares).sum() / 2
        by_chance += np.sqrt(2 / math.pi * n * shares * (1 - shares)).sum() / 2
    if n_moved > SKEW * everything.counts.sum() + 2 * by_chance:
        warn(
            f"The partitions have different classes: {n_moved / everything.counts.sum():.0%} of their rows would have to "
            "change places for equal shares. Averaging weights over such partitions works badly: set shuffle_partitions=True"
        )


@contextmanager
def _released(futures, only_after_errors=False):
    """A block after which the cluster may drop results, even if the traceback of an error keeps the futures."""
    done = False
    try:
        yield
        done = True
    finally:
        if not (done and only_after_errors):
            for future in futures:
                future.release()


class RowsOfPartitions(EpochRows):
    """The rows of `InPartitions` as `rows.EpochRows`, dealt at random to parts if wanted."""

    def __init__(self, checked: InPartitions, estimator: Any, network: Any) -> None:
        self._client, self._estimator, self.held_out = checked.client, estimator, checked.given
        self.n_rows = checked.summary.n_rows
        seed = deepcopy(estimator._random_state).randint(2**31 - 1)
        self._saved = Checkpoint(checked.file, checked.loaded, seed)
        checks = delayed(checked.checks, traverse=False)
        pieces = [
            delayed(partitions.checked)(task, place, n, checks)
            for (place, task), n in zip(checked.tasks, checked.counts, strict=True)
        ]
        self.sizes = list(checked.counts)
        if (n_parts := self._n_parts(len(pieces))) is not None:
            deal = delayed(partitions.dealt, nout=n_parts)
            dealt = [deal(rows, place, n_parts, self._saved.seed) for place, rows in enumerate(pieces)]
            self.sizes = np.sum([partitions.n_dealt(n, place, n_parts) for place, n in enumerate(self.sizes)], axis=0).tolist()
            pieces = [[rows[part] for rows in dealt] for part in range(n_parts)]
        else:
            pieces = [[rows] for rows in pieces]
        network = delayed(network, traverse=False)
        made = [delayed(partitions.ready)(network, each) for each, n in zip(pieces, self.sizes, strict=True) if n]
        self.sizes = [n for n in self.sizes if n]
        self.parts: list[Any] = self._client.compute(made)
        with _released(self.parts, only_after_errors=True):
            wait(self.parts)
            for part in self.parts:
                if part.status != "finished":
                    part.result()

    def _n_parts(self, n_partitions):
        """The number of parts that rows are dealt into, or None if they stay in their partitions."""
        wanted = self._estimator.shuffle_partitions
        if isinstance(wanted, (bool, np.bool_)):
            return n_partitions if wanted and n_partitions > 1 else None
        return min(int(wanted), self.n_rows) if max(int(wanted), n_partitions) > 1 else None

    def epochs(self, network, n_rows, optimizer, rates, random_state, **options):
        only, seed = None, None
        if random_state is not None and len(self.parts) == 1:
            only = loop.shuffled_orders(np.arange(self.n_rows), random_state)
        elif random_state is not None:
            seed = self._saved.seed
        if self._estimator.n_jobs is None:
            options["n_threads"] = 1  # a task runs in one thread of its worker
        runner = Rounds(self, self._estimator, network, n_rows, optimizer, rates, (only, seed), **options)
        return runner, lambda n_epochs: None

    def resume(self, network, optimizer, history):
        self._saved.attach(network, optimizer, history, self._estimator.verbose)

    def run(self, runner, orders, rule, n_epochs, **limits):
        runner.resume(self._saved.n_epochs, self._saved.resume(rule.validation).get("velocity"))
        with _released(self.parts):
            ending = loop.run_epochs(runner, orders, _SavingRule(self._saved, rule, runner), n_epochs, **limits)
        if ending != "interrupted":
            self._saved.finish()
        return ending


class _SavingRule:
    """A stopping rule that also saves checkpoints."""

    sure_epochs = 1

    def __init__(self, saved, rule, runner):
        self._saved, self._rule, self._runner = saved, rule, runner

    def epoch_ends(self, loss, later):
        stops, velocity = self._rule.epoch_ends(loss, later), self._runner.outer.velocity
        if not stops:
            self._saved.save(self._rule.validation, **({} if velocity is None else {"velocity": velocity}))
        return stops


class Rounds:
    """The runner for `loop.run_epochs`: an epoch is one round or several, each with a task for every part."""

    epochs_per_call = 1

    def __init__(self, rows, estimator, network, n_rows, optimizer, rates, orders, *, batch_size, average=None, **options):
        self.network, self.optimizer, self.average, self.epoch = network, optimizer, average, 0
        self._client, self._parts, self._timeout = rows._client, rows.parts, estimator.round_timeout
        self._rates, (self._only, self._seed), self._n_rows = rates, orders, rows.n_rows
        self._batch_size, self._n_steps = batch_size, -(-n_rows // batch_size)
        every = self._n_steps if estimator.sync_every == "epoch" else int(estimator.sync_every)
        self._n_rounds = -(-self._n_steps // every)
        self._options, self._spares = options, estimator.normalization == "batch"
        self._dropout = masks_of_dropout(estimator, estimator._optimizer) if estimator._optimizer.masks else None
        shares = [n / rows.n_rows for n in rows.sizes]
        self.outer = rounds.OuterStep(estimator.outer_momentum, shares, estimator.solver)
        if len(shares) > batch_size:
            warn(
                f"{len(shares)} partitions are more than the batch_size={batch_size} rows of a mini-batch: a step has more. "
                "shuffle_partitions=n deals the rows into n partitions; one for each thread of the cluster is enough"
            )
        batches = [rounds.batch_of(n, batch_size, rows.n_rows) for n in rows.sizes]
        if self._spares and min(batches) < 2:
            n = rows.sizes[int(np.argmin(batches))]
            raise ValueError(
                "normalization='batch' needs at least 2 rows of a mini-batch in each partition; with "
                f"batch_size={batch_size}, one of {n} of the {rows.n_rows} rows has {min(batches)}"
            )

    def run(self, orders, losses):
        """Train for an epoch, and append its loss."""
        results, rates = [], self._rates(1, self._n_steps)
        order = None if self._only is None else self._only(1)[0]
        for number in range(self._n_rounds):
            result = self._round(self._job(number, order, rates))
            self._use(result)
            results.append(result)
        n_rows = [result.n_rows for result in results]
        loss = results[0].loss if self._n_rounds == 1 else float(np.average([result.loss for result in results], weights=n_rows))
        self.epoch += 1
        losses.append(loss)

    def resume(self, n_epochs, velocity):
        """Continue as after ``n_epochs`` epochs."""
        self.epoch, self.outer.velocity = n_epochs, velocity
        if self._only is not None:
            for _ in range(n_epochs):
                self._only(1)

    def _job(self, number, order, rates):
        state = {name: value for name, value in self.optimizer.__getstate__().items() if name != "memory"}
        return rounds.Job(
            rule=type(self.optimizer),
            rule_state=state,
            options=self._options,
            has_average=self.average is not None,
            dropout=self._dropout,
            rates=rates,
            n_steps=self._n_steps,
            batch_size=self._batch_size,
            n_rows=self._n_rows,
            spares_single_rows=self._spares,
            seed=self._seed,
            order=order,
            epoch=self.epoch,
            number=number,
            n_rounds=self._n_rounds,
        )

    def _round(self, job):
        """The mean `Result` of a round; the tasks depend on the parts alone and on what is sent along."""
        average = () if self.average is None else (self.average,)
        block = np.concatenate([self.network.params, self.optimizer.memory.ravel(), *average, self.network.buffers])
        state = delayed((block, job), traverse=False)
        results = [delayed(rounds.run)(part, place, state) for place, part in enumerate(self._parts)]
        while len(results) > 1:
            size = rounds.RESULTS_PER_MEAN
            results = [delayed(rounds.mean)(results[start : start + size]) for start in range(0, len(results), size)]
        # Parameters are sent with each round on purpose: data that only workers have are lost with them.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            future = self._client.compute(results[0])
        what = f"round {job.number + 1} of {job.n_rounds} of epoch {self.epoch + 1}"
        try:
            return future.result(self._timeout)
        except Exception as error:
            if isinstance(error, TimeoutError) and future.status == "pending":
                raise TimeoutError(f"{what} took longer than round_timeout={self._timeout} seconds. {KEPT}") from error
            raise RuntimeError(f"{what} failed, {type(error).__name__}: {error}. {KEPT}") from error
        finally:
            if not future.done():
                future.cancel()
            future.release()

    def _use(self, result):
        network, rule = self.network, self.optimizer
        params, memory, average, buffers = rounds.block_views(result.block, network, self.average is not None)
        self.outer.make(network.params, params)
        rule.memory[:], network.buffers[:] = memory, buffers
        if average is not None:
            self.average[:] = average
        rule.t += result.n_steps

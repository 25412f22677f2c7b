"""Rows that the ranks of a `collective.Group` share: what `BaseMLP._fit` trains on in a block of `fastprop.collective`.

All ranks take the same steps. In each step they sum the gradient over their own rows, exchange the sums and make the same update.
"""

from __future__ import annotations

import math
import time
from copy import deepcopy
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import interrupts, loop
from ..collective.agreement import agreed, gathered, of_rank_0, total
from ..collective.context import Group, ends_together, on_all_ranks
from ..training_calls import TrainingCalls
from .checkpoints import Checkpoint, CheckpointFile, described, problem
from .held_out import Rows, Validation, scorer_of, split_rows
from .parts import Summary, checked_part, has_rows, known, summary_of
from .rows import EpochRows, InMemory
from .validation import check_some_weight

# Parameters that may differ from rank to rank
OWN_PARAMETERS = {"n_jobs", "random_state", "verbose"}
SECONDS_BETWEEN_SAVES = 1.0


class InShares:
    """The checked rows of this rank, ``own``, with the attributes of `rows.CheckedRows`."""

    def __init__(self, group: Group, own: InMemory, example: NDArray[Any], file: CheckpointFile | None, loaded: Any) -> None:
        self._group, self._own, self.example, self._file, self._loaded = group, own, example, file, loaded
        self.n_features, self.dtype, self.given = own.n_features, own.dtype, own.given

    def begin(self, estimator, network):
        """Give all ranks the parameters of rank 0, and its random numbers except those for the order of the rows."""
        group, own = self._group, self._own
        group.broadcast_(network.params)
        estimator._random_state, *_ = gathered(group, estimator._random_state if group.rank == 0 else None)
        seed = deepcopy(estimator._random_state).randint(2**31 - 1)
        saved = Checkpoint(self._file, self._loaded, seed, SECONDS_BETWEEN_SAVES)
        data, rows, held_out = network.training_set(*own[:3]), np.arange(len(own.y)), own.given
        if estimator.early_stopping and held_out is None:
            rows, held_out = self._split(estimator.validation_fraction, np.random.RandomState([saved.seed, group.rank]))
        return RowsOfShare(group, estimator, saved, data, rows, held_out)

    def _split(self, fraction, random_state):
        """(the rows to train on, the `Rows` held out); a small share holds out none."""
        n, own = len(self._own.y), self._own
        rows, others = np.arange(n), np.empty(0, np.intp)
        if math.ceil(n * fraction) > 1:
            rows, others = split_rows(n, fraction, random_state, None)
        (n_held_out,) = total(self._group, len(others))
        if not n_held_out:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        return rows, Rows(own.X[others], own.y[others], None if own.sample_weight is None else own.sample_weight[others])


def in_shares(estimator, block, X, y, sample_weight, given, reset):
    """The arguments of ``fit`` on each rank as `InShares`; sets what `BaseMLP._checked_input` sets. All ranks raise, or none."""
    group, path = block
    given = given if has_rows(given.get("X_val", ()), given.get("y_val", ())) else {}
    looks = gathered(group, agreed(group, partial(_looked, estimator, X, y, sample_weight, bool(given), reset)))
    own, example = agreed(group, partial(_checked, estimator, X, y, sample_weight, given, reset, looks))
    file, counts = None, [0 if part is None else part.n_rows for part, _, _ in looks]
    if path is not None and group.rank == 0:
        file = CheckpointFile(path, problem(estimator, _joined(looks), counts, OWN_PARAMETERS))
    loaded = None if path is None else gathered(group, agreed(group, lambda: file and file.load()))[0]
    return InShares(group, own, example, file, loaded)


def _looked(estimator, X, y, sample_weight, has_validation, reset):
    """(`Summary`, or None without rows; what must be the same on all ranks; whether there are validation rows)."""
    if estimator.normalization == "batch":
        raise ValueError("normalization='batch' needs all rows of a mini-batch in one process; 'layer' does not")
    part = summary_of(estimator, X, y, sample_weight, reset) if has_rows(X, y) else None
    same = described(estimator, OWN_PARAMETERS)
    if not reset:
        shapes = [(weight.shape, weight.dtype.name) for weight in estimator.coefs_]
        same["the model that training goes on with"] = f"{shapes} after {estimator.t_} rows"
    return part, same, has_validation


def _joined(looks):
    parts = [part for part, _, _ in looks if part is not None]
    if not parts:
        raise ValueError("no rank has rows to train on")
    return reduce(Summary.joined, parts)


def _checked(estimator, X, y, sample_weight, given, reset, looks):
    """(`InMemory` of this rank's rows, a row of y), as all ranks together have them."""
    for rank, (_, same, _) in enumerate(looks):
        for name in looks[0][1] | same:
            first, here = looks[0][1].get(name), same.get(name)
            if first != here:
                raise ValueError(f"all ranks need the same parameters; {name} is {first} on rank 0, {here} on rank {rank}")
    everything = known(estimator, _joined(looks), reset, given, of_a_part=True)
    summary, class_weight, example, rows = everything
    nothing = InMemory(np.zeros((0, summary.n_features), summary.dtype), example[:0], None, None)
    if rows is None and any(has_validation for _, _, has_validation in looks):
        rows = Rows(*nothing[:3])
    own = checked_part(estimator, (X, y, sample_weight), summary, class_weight) if has_rows(X, y) else nothing
    return own._replace(given=rows), example


class RowsOfShare(EpochRows):
    """The rows of this rank. ``n_rows`` counts the rows of all ranks."""

    def __init__(self, group, estimator, saved, data, rows, held_out):
        self._group, self._estimator, self._saved, self._data, self._rows = group, estimator, saved, data, rows
        self.held_out, self.left_by_split = held_out, None if len(rows) == data.n_samples else rows
        sizes = np.zeros(group.size)
        sizes[group.rank] = len(rows)
        group.allreduce_(sizes)
        self._sizes = sizes.astype(np.intp)
        self.n_rows, self.speaks = int(self._sizes.sum()), group.rank == 0
        self.share = len(rows) / self.n_rows

    def epochs(self, network, n_rows, optimizer, rates, random_state, **options):
        runner = ShareEpochs(self._group, self._sizes, network, self._data, optimizer, rates, **options)
        return runner, partial(self._orders, random_state is not None)

    def _orders(self, shuffles, n_epochs):
        """The order of the next epoch, which depends only on the seed and the numbers of rank and epoch."""
        numbers = [self._saved.seed, self._group.rank, self._saved.n_epochs]
        return loop.shuffled_orders(self._rows, np.random.RandomState(numbers) if shuffles else None)(1)

    def resume(self, network, optimizer, history):
        self._saved.attach(network, optimizer, history, self.speaks and self._estimator.verbose)

    def validation(self, estimator, judged, history, decides, best_params):
        rows = self.held_out
        data, score = judged.training_set(*rows), scorer_of(estimator, rows, judged, history)
        return SharedValidation(self._group, estimator, rows, judged, data, score, decides, best_params)

    def run(self, runner, orders, rule, n_epochs, *, observer, time_limit):
        # A decision of one rank, by its clock or a callback, must hold for all.
        group = self._group
        (n_observers,) = total(group, observer is not None)
        observer = _AgreedObserver(group, observer) if n_observers else None
        self._saved.resume(rule.validation)
        with ends_together(group):
            ending = loop.run_epochs(runner, orders, _AgreedRule(group, rule, time_limit, self._saved), n_epochs, observer=observer)
            if ending == "interrupted" and group.size > 1:
                raise KeyboardInterrupt
        if ending != "interrupted":
            self._saved.finish()
        return ending


class ShareEpochs:
    """Epochs in which each batch has rows of every rank, in proportion to their numbers of rows."""

    epochs_per_call = 1

    def __init__(self, group, sizes, network, data, optimizer, rates, *, batch_size, average=None, **options):
        self._group, self._sizes, self._network, self._optimizer, self._rates = group, sizes, network, optimizer, rates
        self._n_steps, self._average = -(-int(sizes.sum()) // batch_size), average
        self._calls = TrainingCalls(network, data, optimizer, batch_size=batch_size, average=average, **options)

    def run(self, orders, losses):
        """Train for an epoch, and append its loss."""
        n_steps, group, params = self._n_steps, self._group, self._network.params
        rates, sums, loss_sum = self._rates(1, n_steps), np.empty(len(params) + 2, params.dtype), 0.0
        late = np.arange(group.size) * n_steps // group.size  # so that not all ranks add a remaining row in the same step
        for step in range(n_steps):
            begins, ends = (self._sizes * step + late) // n_steps, (self._sizes * (step + 1) + late) // n_steps
            first_row, own = int((ends - begins)[: group.rank].sum()), slice(begins[group.rank], ends[group.rank])
            self._calls.sums(orders[0, own], first_row, sums)
            group.allreduce_(sums)
            loss_sum += int((ends - begins).sum()) * self._calls.apply(sums, 1.0 if rates is None else rates[step])
            interrupts.check()
        # Processors of different kinds may round differently, and all ranks must continue with the same parameters.
        for block in (params, self._optimizer.memory, self._average):
            if block is not None:
                group.broadcast_(block)
        losses.extend(of_rank_0(group, loss_sum / int(self._sizes.sum())))


class SharedValidation(Validation):
    """Validation rows that the ranks share: the loss and the estimator's own score are those of all rows. Other scores are averaged
    over the ranks, weighted by their rows."""

    def __init__(self, group: Group, estimator: Any, rows: Rows, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._group, self._estimator, self._rows = group, estimator, rows
        (weight,) = total(group, self._total)
        check_some_weight(weight)
        # Squares of differences from it do not cancel.
        self._center = 0.0
        if not estimator._is_classifier:
            own = np.ones(len(rows.y)) if rows.sample_weight is None else rows.sample_weight
            self._center = np.array(total(group, *(own @ rows.y.astype(np.float64)))) / weight

    def judge(self, n_threads):
        loss, outputs = self._evaluate(n_threads)
        diverged = not np.isfinite(outputs).all()
        loss_sum, weight, n_diverged = total(self._group, loss * self._total, self._total, diverged)
        if n_diverged:
            return loss_sum / weight, math.nan
        moments = self._moments(loss, outputs)
        self._group.allreduce_(moments)
        scoring = self._estimator.scoring
        score = self._estimator._score_of_moments(moments) if scoring is None else float(moments[0] / moments[1])
        if self.decides and math.isnan(score):
            what = "early stopping needs a score of the validation rows, and scoring gives nan for those of a rank"
            raise on_all_ranks(ValueError(what))
        return loss_sum / weight, score

    def _moments(self, loss, outputs):
        """The moments whose sum over the ranks gives the score."""
        if self._estimator.scoring is None:
            return self._estimator._score_moments(self._rows.y, outputs, self._rows.sample_weight, self._center)
        return np.array([self._total * self._score(loss, outputs) if len(outputs) else 0.0, self._total])


class _AgreedRule:
    """A rule that stops when rank 0 stops; only rank 0 looks at its clock."""

    sure_epochs = 1

    def __init__(self, group, rule, time_limit, saved):
        self._group, self._rule, self._saved = group, rule, saved
        self._end = math.inf if time_limit is None else time.monotonic() + time_limit

    def epoch_ends(self, loss, later):
        stopped = self._rule.epoch_ends(loss, later) or time.monotonic() >= self._end
        (stopped,) = of_rank_0(self._group, stopped)
        if not stopped:
            self._saved.save(self._rule.validation)
        return bool(stopped)


class _AgreedObserver:
    """An observer that stops all ranks when one stops."""

    def __init__(self, group, observer):
        self._group, self._observer = group, observer

    def begin(self):
        if self._observer is not None:
            self._observer.begin()

    def end(self):
        (n_stopping,) = total(self._group, self._observer is not None and bool(self._observer.end()))
        return n_stopping > 0

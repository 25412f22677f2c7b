"""Rows that come in chunks, which are read again for each epoch: what `BaseMLP._fit_chunks` trains on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import loop
from .held_out import named
from .parts import Known, check_validation, checked_part, has_rows, known, summary_of, triple
from .rows import EpochRows, InMemory, joined


class Source:
    """The chunks that a user gives: ``(X, y)`` or ``(X, y, sample_weight)`` each.

    Parameters
    ----------
    given : sequence, iterable, or callable without arguments that returns an iterator
        The source of the chunks, which can be read several times.
    """

    def __init__(self, given: Any) -> None:
        one_pass = not callable(given) and hasattr(given, "__next__")
        if one_pass or not (callable(given) or hasattr(given, "__iter__") or hasattr(given, "__getitem__")):
            raise TypeError(
                "source must be read again for each epoch: a sequence of chunks, an iterable that is not its own iterator, or a "
                f"callable that returns an iterator; got {type(given).__name__}"
            )
        self._given = given
        self.has_places = not isinstance(given, Mapping) and all(hasattr(given, name) for name in ("__len__", "__getitem__"))

    def __len__(self) -> int:
        return len(self._given)

    def read(self, places: Any = None) -> Iterator[tuple[int, tuple[Any, Any, Any]]]:
        """Yield (place, chunk) for each chunk with rows; for a sequence in the order of ``places``, if given."""
        if self.has_places:  # also if only its length says that there are no more
            chunks = ((place, self._given[place]) for place in (range(len(self)) if places is None else places.tolist()))
        else:
            chunks = enumerate(self._given() if callable(self._given) else self._given)
        for place, chunk in chunks:
            chunk = triple(chunk, f"chunk {place} of source")
            if has_rows(*chunk[:2]):
                yield place, chunk


class InChunks:
    """The checked chunks of a source, with the attributes of `rows.CheckedRows`."""

    def __init__(self, source: Source, everything: Known) -> None:
        self._source, self._known = source, everything
        self.summary, _, self.example, self.given = everything
        self.n_features, self.dtype = self.summary.n_features, self.summary.dtype

    def begin(self, estimator, network):
        return RowsOfChunks(self, estimator)

    def read(self, estimator: Any, random_state: Any) -> Iterator[InMemory]:
        """Yield the checked chunks; for a sequence, in a new order that the random state draws, if there is one."""
        draws = random_state is not None and self._source.has_places and len(self._source) > 1
        for place, chunk in self._source.read(random_state.permutation(len(self._source)) if draws else None):
            with named(f"chunk {place} of source"):
                rows = checked_part(estimator, chunk, *self._known[:2])
            yield rows


def in_chunks(estimator, source, classes, given, reset):
    """A user's source as `InChunks`, after reading it once; sets what `BaseMLP._checked_input` sets."""
    source, summary = Source(source), None
    for place, chunk in source.read():
        with named(f"chunk {place} of source"):
            part = summary_of(estimator, *chunk, reset=reset)
            summary = part if summary is None else summary.joined(part)
    if summary is None:
        raise ValueError("source has no rows")
    everything = known(estimator, summary, reset, given, classes)
    check_validation(estimator, everything, "fit_chunks")
    return InChunks(source, everything)


class RowsOfChunks(EpochRows):
    """All rows of `InChunks`, as `rows.EpochRows`."""

    def __init__(self, chunks: InChunks, estimator: Any) -> None:
        self._chunks, self._estimator, self.n_rows, self.held_out = chunks, estimator, chunks.summary.n_rows, chunks.given

    def epochs(self, network, n_rows, optimizer, rates, random_state, **options):
        read = partial(self._chunks.read, self._estimator, random_state)
        return ChunkEpochs(read, network, n_rows, self.n_rows, optimizer, rates, random_state, **options), lambda n_epochs: None


class ChunkEpochs:
    """Epochs over chunks: the batches within a chunk are trained in compiled calls, a batch that spans chunks by itself."""

    epochs_per_call = 1

    def __init__(self, read, network, n_rows, n_all, optimizer, rates, random_state, *, batch_size, **options):
        self._read, self._network, self._n_rows, self._n_all, self._optimizer = read, network, n_rows, n_all, optimizer
        self._rates, self._batch_size, self._options = rates, batch_size, options
        self._random_state, self._only_order = random_state, None

    def run(self, orders, losses):
        """Train for an epoch, and append its loss, also after an interrupt if the epoch was complete."""
        n_steps, pieces = -(-self._n_rows // self._batch_size), []
        end, rates = self._optimizer.t + n_steps, self._rates(1, n_steps)
        try:
            for rows, order in self._batches():
                data = self._network.training_set(*rows[:3])
                options = {"batch_size": self._batch_size, **self._options}
                stretch = loop.NetworkEpochs(self._network, data, len(order), self._optimizer, **options)
                here = None if rates is None else rates[n_steps - end + self._optimizer.t :][: stretch.n_steps]
                stretch.train_pieces(order[None], here, pieces)
        finally:
            if self._optimizer.t == end:
                losses.extend(loop.mean_losses(pieces))

    def _batches(self):
        """Yield (rows, order) such that all orders, one after the other, are the batches of an epoch."""
        kept, n_kept, n_left, n_seen = [], 0, self._n_rows, 0
        for rows in self._read():
            n_seen += len(rows.y)
            self._check_number(n_seen, n_seen <= self._n_all)
            order = self._order(len(rows.y))[:n_left]
            n_left -= len(order)
            if kept:
                first, order = np.split(order, [self._batch_size - n_kept])
                kept, n_kept = [*kept, rows.taken(first)], n_kept + len(first)
                if n_kept == self._batch_size or not n_left:
                    yield joined(kept), np.arange(n_kept)
                    kept, n_kept = [], 0
            end = len(order) if not n_left else len(order) - len(order) % self._batch_size
            if end:
                yield rows, order[:end]
            if end < len(order):
                kept, n_kept = [rows.taken(order[end:])], len(order) - end
        self._check_number(n_seen, n_seen == self._n_all)

    def _order(self, n):
        """The order of a chunk's rows; for a single chunk, the next of `loop.shuffled_orders`, as in `fit`."""
        if n != self._n_all:
            return loop.shuffled_orders(np.arange(n), self._random_state)(1)[0]
        if self._only_order is None:
            self._only_order = loop.shuffled_orders(np.arange(n), self._random_state)
        return self._only_order(1)[0]

    def _check_number(self, n_seen, is_right):
        if not is_right:
            raise ValueError(f"source must have the {self._n_all} rows that it had when it was first read; it has {n_seen} now")

"""Users' data as one Dask task for each partition, and the passes over partitions before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.delayed import Delayed, delayed
from distributed import Future
from numpy.typing import NDArray

from ..estimators.held_out import named
from ..estimators.parts import Summary, checked_part, has_rows, summary_of, triple
from ..estimators.rows import InMemory, joined
from ..network import Network
from ..training_set import TrainingSet, aligned


def is_lazy(given: Any) -> bool:
    """Whether it is a Dask collection, or a sequence of parts that are computed later."""
    return hasattr(given, "__dask_graph__") or (isinstance(given, (list, tuple)) and len(given) > 0 and all(map(_is_part, given)))


def _is_part(given):
    return isinstance(given, (Delayed, Future))


def blocks(given: Any, name: str) -> list[Any]:
    """The parts of a Dask array, frame or series along the rows, or of a sequence of parts."""
    if isinstance(given, da.Array):
        if not given.ndim:
            raise ValueError(f"{name} must have rows; got an array without dimensions")
        return given.rechunk(dict.fromkeys(range(1, given.ndim), -1)).to_delayed().ravel().tolist()
    if hasattr(given, "to_delayed") and hasattr(given, "npartitions"):
        return list(given.to_delayed())
    if is_lazy(given) and not hasattr(given, "__dask_graph__"):
        return list(given)
    raise TypeError(f"{name} must be a Dask array, dataframe or series, or a list of delayed parts; got {type(given).__name__}")


def partitions(X: Any, y: Any, sample_weight: Any) -> list[Delayed]:
    """A task for each partition that returns ``(X, y, sample_weight)``, from the arguments of ``fit``."""
    if isinstance(X, (list, tuple)):
        if y is not None or sample_weight is not None:
            raise TypeError(
                "y and sample_weight must not be given where X is a list: its delayed parts are (X, y) or (X, y, weight)"
            )
        return [delayed(triple)(part, f"partition {place}") for place, part in enumerate(blocks(X, "X"))]
    columns = [blocks(X, "X")]
    for name, given in {"y": y, "sample_weight": sample_weight}.items():
        if given is None and name == "y":
            raise TypeError("y must be given, a Dask array or series, unless X is a list of delayed (X, y)")
        columns.append([None] * len(columns[0]) if given is None else _beside(X, given, name, len(columns[0])))
    return [delayed(tuple)(list(parts)) for parts in zip(*columns, strict=True)]


def _beside(X, given, name, n_blocks):
    """The blocks of y or of weights, divided as those of X."""
    if isinstance(given, da.Array) and isinstance(X, da.Array) and not np.isnan([*X.chunks[0], *given.chunks[0]]).any():
        if X.shape[0] != given.shape[0]:
            raise ValueError(f"{name} must have the {X.shape[0]} rows of X; got {given.shape[0]}")
        given = given.rechunk({0: X.chunks[0]})
    found = blocks(given, name)
    if len(found) != n_blocks:
        raise ValueError(f"{name} must have the {n_blocks} partitions of X; got {len(found)}")
    return found


# Tasks. An estimator in them has no data, only parameters and the attributes that checking data sets.


def seen(part: Any, place: int, estimator: Any, reset: bool) -> Any:
    """The `Summary` of a partition, or None if it has no rows."""
    if not has_rows(*part[:2]):
        return None
    with named(f"partition {place}"):
        return summary_of(estimator, *part, reset=reset)


def _n_rows(part):
    X = part[0]
    return X.shape[0] if hasattr(X, "shape") else len(X)


class Checks(NamedTuple):
    """What the check of every partition needs."""

    estimator: Any
    summary: Summary
    class_weight: Any


def checked(part: Any, place: int, n_rows: int, checks: Checks) -> InMemory:
    """A partition in the form that a network takes."""
    if _n_rows(part) != n_rows:
        raise ValueError(
            f"partition {place} must have the {n_rows} rows that it had when it was first computed; got {_n_rows(part)}"
        )
    with named(f"partition {place}"):
        return checked_part(checks.estimator, part, checks.summary, checks.class_weight)


def dealt(rows: InMemory, place: int, n_parts: int, seed: int) -> list[InMemory]:
    """The rows, dealt at random into ``n_parts`` parts; `n_dealt` gives their numbers of rows."""
    order = np.random.default_rng((seed, place)).permutation(len(rows.y))
    ends = np.cumsum(n_dealt(len(rows.y), place, n_parts))
    return [rows.taken(order[end - n : end]) for n, end in zip(n_dealt(len(rows.y), place, n_parts), ends, strict=True)]


def n_dealt(n_rows: int, place: int, n_parts: int) -> NDArray[np.intp]:
    """How many rows of a partition each part gets: equal numbers, with the remainder from a different part on at each place."""
    counts = np.full(n_parts, n_rows // n_parts)
    counts[: n_rows % n_parts] += 1
    return np.roll(counts, place)


class Part(NamedTuple):
    """A partition that is ready for training, and a network to train; its parameters are replaced."""

    network: Network
    data: TrainingSet


def ready(network: Network, pieces: Sequence[InMemory]) -> Part:
    """The pieces, one after the other, as a `Part`."""
    rows = joined([piece for piece in pieces if len(piece.y)])
    return Part(network, network.training_set(rows.X, rows.y, rows.sample_weight))


def in_place(data: TrainingSet) -> TrainingSet:
    """The data with aligned arrays: arrays that came over a network may not be aligned."""
    return data._replace(**{name: aligned(array, array.dtype) for name, array in data.arrays._asdict().items()})

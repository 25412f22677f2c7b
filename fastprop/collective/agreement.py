"""What ranks exchange besides gradients: small objects, errors, and decisions."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .context import Group, RankError, on_all_ranks

T = TypeVar("T")


def gathered(group: Group, value: Any) -> list[Any]:
    """The object of each rank, in their order."""
    pickled = pickle.dumps(value)
    own = np.frombuffer(pickled + b"\0" * (-len(pickled) % 4), np.uint32)  # sent as float64, which every engine can sum
    lengths = np.zeros(group.size)
    lengths[group.rank] = len(own)
    group.allreduce_(lengths)
    ends = np.cumsum(lengths).astype(np.intp)
    data = np.zeros(ends[-1])
    data[ends[group.rank] - len(own) : ends[group.rank]] = own
    group.allreduce_(data)
    return [pickle.loads(part.astype(np.uint32).tobytes()) for part in np.split(data, ends[:-1])]


def agreed(group: Group, function: Callable[[], T]) -> T:
    """The function's result on this rank; if it fails on one rank, all raise."""
    value, error = None, None
    try:
        value = function()
    except Exception as raised:
        error = raised
    said = gathered(group, None if error is None else f"{type(error).__name__}: {error}")
    failed = [rank for rank, text in enumerate(said) if text is not None]
    if failed:
        if error is None:
            error = RankError(f"rank {failed[0]} failed: {said[failed[0]]}")
        raise on_all_ranks(error)
    return value  # type: ignore[return-value]


def of_rank_0(group: Group, *numbers: float) -> list[float]:
    """The numbers of rank 0."""
    array = np.array(numbers, np.float64)
    group.broadcast_(array)
    return array.tolist()


def total(group: Group, *numbers: float) -> list[float]:
    """The sum of each number over all ranks."""
    array = np.array(numbers, np.float64)
    group.allreduce_(array)
    return array.tolist()

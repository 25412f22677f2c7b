"""The group of processes that fits belong to."""

from __future__ import annotations

import sys
import traceback
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray


@runtime_checkable
class Group(Protocol):
    """What fastprop needs of an engine for several processes, its ranks.

    All ranks make the same calls in the same order, with arrays of the same shape and dtype.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        How many there are.
    """

    rank: int
    size: int

    @abstractmethod
    def allreduce_(self, array: NDArray[Any]) -> None:
        """Replace an array by the sum over all ranks, the same bits on each.

        Parameters
        ----------
        array : ndarray of float32 or float64, C-contiguous
            Overwritten.
        """

    @abstractmethod
    def broadcast_(self, array: NDArray[Any]) -> None:
        """Replace an array by that of rank 0.

        Parameters
        ----------
        array : ndarray of float32 or float64, C-contiguous
            Overwritten.
        """

    @abstractmethod
    def abort(self, reason: str) -> None:
        """Let the other ranks end, as this one cannot go on. It may end the process or return.

        Parameters
        ----------
        reason : str
            What to say of it.
        """


_here: ContextVar[Group | None] = ContextVar("fastprop.collective", default=None)


def active() -> Group | None:
    """The group of the block that this code runs in, if it has several ranks."""
    group = _here.get()
    return group if group is not None and group.size > 1 else None


def refuse(what: str) -> None:
    """Fail in a block of a group, where each rank would do ``what`` by itself."""
    if active() is not None:
        raise ValueError(f"{what} does not train together with other ranks: only fit of MLPClassifier and MLPRegressor does")


class RankError(RuntimeError):
    """An error on another rank, which all ranks agreed on."""


@contextmanager
def use(group: Group) -> Iterator[Group]:
    """A block in which `MLPClassifier.fit` and `MLPRegressor.fit` train together with the other ranks of a group.

    Parameters
    ----------
    group : Group
        For the engines of `mpi` and `torch` these make it.

    Yields
    ------
    Group
        The same.

    Raises
    ------
    TypeError
        If the group does not have the five names of `Group`.
    """
    if not isinstance(group, Group):
        raise TypeError(f"group must have rank, size, allreduce_, broadcast_ and abort; got {type(group).__name__}")
    token = _here.set(group)
    try:
        with ends_together(group):
            yield group
    finally:
        _here.reset(token)


@contextmanager
def ends_together(group: Group) -> Iterator[None]:
    """A block of code whose errors end the other ranks, which would wait for this one, unless they have the error too."""
    try:
        yield
    except BaseException as error:
        if not getattr(error, "_on_all_ranks", False):
            error._on_all_ranks = True  # type: ignore[attr-defined]
            reason = "".join(traceback.format_exception(error))
            print(f"rank {group.rank} of {group.size} ends all:\n{reason}", file=sys.stderr, flush=True)
            group.abort(str(error) or type(error).__name__)
        raise

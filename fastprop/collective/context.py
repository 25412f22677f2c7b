"""The group of processes that fits belong to."""

from __future__ import annotations

import os
import sys
import traceback
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, runtime_checkable

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

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import MLPClassifier, collective
    >>> class Alone(collective.Group):
    ...     rank, size = 0, 1
    ...     def allreduce_(self, array):
    ...         pass  # the sum over one rank
    ...     def broadcast_(self, array):
    ...         pass
    ...     def abort(self, reason):
    ...         pass
    >>> with collective.use(Alone()):
    ...     model = MLPClassifier(tol=0.1, random_state=0).fit(np.eye(4), [0, 1, 0, 1])
    >>> model.classes_
    array([0, 1])
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


class Block(NamedTuple):
    """A block of code whose fits belong to a group, and the path of their checkpoint or None."""

    group: Group
    checkpoint: str | os.PathLike[str] | None


_here: ContextVar[Block | None] = ContextVar("fastprop.collective", default=None)


def active() -> Block | None:
    """The block that this code runs in, if its group has several ranks or there is a checkpoint."""
    block = _here.get()
    return block if block is not None and (block.group.size > 1 or block.checkpoint is not None) else None


def refuse(what: str) -> None:
    """Fail in a block of a group, where each rank would do ``what`` by itself."""
    if active() is not None:
        raise ValueError(f"{what} does not train together with other ranks: only fit of MLPClassifier and MLPRegressor does")


class RankError(ValueError):
    """What ranks raise where another one refuses its data or parameters; it raises its own error.

    Examples
    --------
    >>> from fastprop import MLPClassifier, collective
    >>> with collective.mpi():  # doctest: +SKIP
    ...     try:
    ...         model = MLPClassifier().fit(X, y)
    ...     except collective.RankError:
    ...         print("another rank has an error of its own")
    """


def on_all_ranks(error: BaseException) -> BaseException:
    """The error, marked as one that every rank has, so that none ends the others."""
    error._on_all_ranks = True  # type: ignore[attr-defined]
    return error


@contextmanager
def use(group: Group, checkpoint: str | os.PathLike[str] | None = None) -> Iterator[Group]:
    """A block in which `MLPClassifier.fit` and `MLPRegressor.fit` train together with the other ranks of a group.

    Parameters
    ----------
    group : Group
        For the engines of `mpi` and `torch` these make it.
    checkpoint : str or path, optional
        A file that rank 0 replaces after epochs, at most once a second. If it is there when a fit begins, from one that was
        killed, the fit goes on from it to the same result; after a fit without an error it is removed. It must belong to a fit with
        the same parameters and numbers of rows, else that is an error.

    Yields
    ------
    Group
        The same.

    Raises
    ------
    TypeError
        If the group does not have the five names of `Group`.

    Examples
    --------
    >>> from fastprop import MLPClassifier, collective
    >>> with collective.use(group, checkpoint="fit.npz"):  # doctest: +SKIP
    ...     model = MLPClassifier(random_state=0).fit(X, y)  # the rows of this rank
    """
    if not isinstance(group, Group):
        raise TypeError(f"group must have rank, size, allreduce_, broadcast_ and abort; got {type(group).__name__}")
    token = _here.set(Block(group, checkpoint))
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
        leaves = isinstance(error, SystemExit) and not error.code
        if not leaves and not getattr(error, "_on_all_ranks", False):
            on_all_ranks(error)
            reason = "".join(traceback.format_exception(error))
            print(f"rank {group.rank} of {group.size} ends all:\n{reason}", file=sys.stderr, flush=True)
            group.abort(str(error) or type(error).__name__)
        raise

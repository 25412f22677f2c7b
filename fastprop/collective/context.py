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
    """The operations that fastprop needs from an engine for several processes, its ranks.

    All ranks make the same calls in the same order, with arrays of the same shape and dtype.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.

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
        """Replace an array by its sum over all ranks, with the same bits on each.

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
        """End the other ranks, as this one cannot continue. It may end the process or return.

        Parameters
        ----------
        reason : str
            The reason to report.
        """


class Block(NamedTuple):
    """A block of code with fits that belong to a group, and the path of their checkpoint or None."""

    group: Group
    checkpoint: str | os.PathLike[str] | None


_here: ContextVar[Block | None] = ContextVar("fastprop.collective", default=None)


def active() -> Block | None:
    """The block that this code runs in, if its group has several ranks or there is a checkpoint."""
    block = _here.get()
    return block if block is not None and (block.group.size > 1 or block.checkpoint is not None) else None


def refuse(what: str) -> None:
    """Raise an error in a block of a group, where each rank would do ``what`` by itself."""
    if active() is not None:
        raise ValueError(f"{what} does not train together with other ranks: only fit of MLPClassifier and MLPRegressor does")


class RankError(ValueError):
    """The error of a rank when another rank refuses its data or parameters. That rank raises the original error.

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
    """The error, marked as raised on every rank, so that no rank ends the others."""
    error._on_all_ranks = True  # type: ignore[attr-defined]
    return error


@contextmanager
def use(group: Group, checkpoint: str | os.PathLike[str] | None = None) -> Iterator[Group]:
    """A block in which `MLPClassifier.fit` and `MLPRegressor.fit` train together with the other ranks of a group.

    Parameters
    ----------
    group : Group
        The processes that train together. `mpi` and `torch` make it for their engines.
    checkpoint : str or path, optional
        A file that rank 0 replaces after epochs, at most once a second. If it exists when a fit begins, because an earlier fit was
        killed, training continues from it to the same result. It is removed after a fit without an error. A checkpoint of a fit
        with other parameters or numbers of rows is an error.

    Yields
    ------
    Group
        The given group.

    Raises
    ------
    TypeError
        If the group does not have the five attributes of `Group`.

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
    """A block of code; its errors end the other ranks, which would wait for this one, unless all ranks have the error."""
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

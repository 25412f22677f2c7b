"""The groups of MPI, by mpi4py, and of torch.distributed. Each is imported only when it is used."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from typing import Any

from .context import Group, use


class _MPI:
    def __init__(self, communicator):
        from mpi4py import MPI

        self._communicator, self._in_place = communicator, MPI.IN_PLACE
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()

    def allreduce_(self, array):
        self._communicator.Allreduce(self._in_place, array)

    def broadcast_(self, array):
        self._communicator.Bcast(array)

    def abort(self, reason):
        self._communicator.Abort(1)


class _Torch:
    def __init__(self, group):
        from torch import distributed, from_numpy

        self._distributed, self._tensor, self._group = distributed, from_numpy, group
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        self._root = 0 if group is None else distributed.get_global_rank(group, 0)

    def allreduce_(self, array):
        self._distributed.all_reduce(self._tensor(array), group=self._group)

    def broadcast_(self, array):
        self._distributed.broadcast(self._tensor(array), self._root, group=self._group)

    def abort(self, reason):
        # The other ranks then lose their connections and raise an error.
        with suppress(RuntimeError, ValueError):
            self._distributed.destroy_process_group(self._group)


def mpi(communicator: Any = None, checkpoint: str | os.PathLike[str] | None = None) -> AbstractContextManager[Group]:
    """A block in which fits train together over MPI, by mpi4py.

    Start the script with ``mpiexec -n 4 python -m mpi4py script.py``; then an error on one rank ends all.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm, optional
        By default ``MPI.COMM_WORLD``.
    checkpoint : str or path, optional
        As in `use`.

    Returns
    -------
    context manager
        It yields the `Group`.

    Raises
    ------
    ModuleNotFoundError
        If mpi4py is not installed: ``pip install "fastprop-mlp[mpi]"``.

    Examples
    --------
    >>> from fastprop import MLPClassifier, collective
    >>> with collective.mpi():  # doctest: +SKIP
    ...     model = MLPClassifier(random_state=0).fit(X, y)  # the rows of this rank
    """
    if communicator is None:
        from mpi4py import MPI

        communicator = MPI.COMM_WORLD
    return use(_MPI(communicator), checkpoint)


def torch(group: Any = None, checkpoint: str | os.PathLike[str] | None = None) -> AbstractContextManager[Group]:
    """A block in which fits train together over torch.distributed, after a call of ``init_process_group("gloo")``.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        A group for tensors on CPUs; by default the group of all processes.
    checkpoint : str or path, optional
        As in `use`.

    Returns
    -------
    context manager
        It yields the `Group`.

    Raises
    ------
    ValueError
        If there is no process group.

    Examples
    --------
    >>> from fastprop import MLPClassifier, collective
    >>> from torch import distributed  # doctest: +SKIP
    >>> distributed.init_process_group("gloo")  # doctest: +SKIP
    >>> with collective.torch():  # doctest: +SKIP
    ...     model = MLPClassifier(random_state=0).fit(X, y)  # the rows of this rank
    """
    return use(_Torch(group), checkpoint)

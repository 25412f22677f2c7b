"""Ranks that are threads: a `Group` in one process, for all that does not need real ones."""

import contextvars
import threading

import numpy as np
import pytest

from fastprop import collective

# After which a rank that waits for another one fails
SECONDS = 30


class ThreadGroup:
    """The ranks of one process add up in the order of their numbers."""

    def __init__(self, rank, size, shared):
        self.rank, self.size, self._shared = rank, size, shared

    def allreduce_(self, array):
        arrays = self._exchanged(array)
        total = arrays[0].copy()
        for other in arrays[1:]:
            total += other
        self._shared["barrier"].wait(SECONDS)
        array[...] = total

    def broadcast_(self, array):
        first = self._exchanged(array)[0].copy()
        self._shared["barrier"].wait(SECONDS)
        array[...] = first

    def abort(self, reason):
        self._shared["aborted"].append(reason)
        self._shared["barrier"].abort()

    def _exchanged(self, array):
        assert array.dtype in (np.float32, np.float64)
        assert array.flags.c_contiguous
        self._shared["arrays"][self.rank] = array
        self._shared["barrier"].wait(SECONDS)
        arrays = [self._shared["arrays"][rank] for rank in range(self.size)]
        assert len({(a.shape, a.dtype) for a in arrays}) == 1
        return arrays


class Ranks:
    """Runs a function of the group on each rank; results and errors are those of each rank."""

    def __init__(self, size):
        self.size, self.aborted = size, []

    def run(self, function):
        shared = {"barrier": threading.Barrier(self.size), "arrays": {}, "aborted": self.aborted}
        self.results, self.errors = [None] * self.size, [None] * self.size

        def one(rank):
            try:
                with collective.use(ThreadGroup(rank, self.size, shared)) as group:
                    self.results[rank] = function(group)
            except BaseException as error:
                self.errors[rank] = error

        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(one, rank), daemon=True) for rank in range(self.size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        return self

    def fitted(self, function):
        """The results, where no rank failed."""
        self.run(function)
        for error in self.errors:
            if error is not None:
                raise error
        return self.results


@pytest.fixture(params=[2, 3])
def ranks(request):
    return Ranks(request.param)


@pytest.fixture
def two_ranks():
    return Ranks(2)


@pytest.fixture
def eight_ranks():
    return Ranks(8)

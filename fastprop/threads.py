"""How many threads a computation gets: decided once, from what was asked for, what the work justifies, and what there is."""

import functools
import math
import operator
import os
import time

import joblib

# Below this many floating-point operations for each thread, waking the threads and waiting for them costs more than it saves:
# a fork-join takes some microseconds, in which one core does some 10^5 operations.
FLOPS_PER_THREAD = 1e6

# The same for one call by itself, for which threads have to be woken: 16 rows through 784-128-10, 3.3 MFLOP, took 195 us on one
# thread after a pause and 179 us on two that slept, and 54 and 38 us in one call after the other; with 12 rows the two that slept
# took longer.
FLOPS_TO_WAKE_A_THREAD = 1.6e6

# To read the weights takes as long as the arithmetic of so many rows: one row of 256-1024-1024-10 took 139 us, each of 100 39 us.
ROWS_OF_A_PASS = 3

# Fewer than twice so many rows are not shared, but the columns of the layers. From there on every thread reads all weights,
# whatever its share of the rows: for 8 rows of 256-1024-1024-10 two threads took 0.59 of one thread's time, for 4 rows 0.75.
ROWS_TO_WAKE_A_THREAD = 4


def effective_n_threads(n_jobs=None, flops=math.inf):
    """The number of threads for steps of work that are synchronised with each other.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as the work justifies, at most `available_cores`. n > 0: exactly n. -1: all cores; -2: all but one, ...
    flops : float
        The floating-point operations of one step, such as one mini-batch.

    Returns
    -------
    int
        At least 1, and the same for the same arguments as long as the process's limits are the same.

    Raises
    ------
    ValueError
        If n_jobs is 0.
    """
    if n_jobs is None:
        justified = flops / FLOPS_PER_THREAD
        return 1 if justified < 2 else int(min(justified, available_cores()))
    n_jobs = operator.index(n_jobs)
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning; pass None, -1 or the number of threads")
    return n_jobs if n_jobs > 0 else max(1, available_cores() + 1 + n_jobs)


def n_threads_of_call(n_jobs, n_rows, flops_per_row):
    """The number of threads for one call on so many rows, such as a prediction; ``n_jobs`` as in `effective_n_threads`."""
    shares = (n_rows + ROWS_OF_A_PASS) * flops_per_row / FLOPS_TO_WAKE_A_THREAD
    if n_rows >= 2 * ROWS_TO_WAKE_A_THREAD:
        shares = min(shares, n_rows / ROWS_TO_WAKE_A_THREAD)
    return effective_n_threads(n_jobs, shares * FLOPS_PER_THREAD)


def available_cores():
    """The cores that this process may use: affinity, cgroup, LOKY_MAX_CPU_COUNT (as joblib counts) and OMP_NUM_THREADS."""
    affinity = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cores = _count_cores(joblib.cpu_count, affinity, os.environ.get("LOKY_MAX_CPU_COUNT"), int(time.monotonic()))
    # OpenMP's list form, such as "4,2", gives the outermost level first.
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) > 0 else cores


@functools.lru_cache(maxsize=1)
def _count_cores(count, affinity, limit, second):
    """``count()``, once a second unless the affinity or the limit changes: it reads the cgroup's files, which takes 0.1 ms."""
    return count()

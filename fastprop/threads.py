"""How many threads a computation gets: from what was asked for, what the work justifies, and the cores that there are."""

import functools
import math
import operator
import os
import time

from .cores import counter
from .threadpool import thread_limit

# With fewer floating-point operations for each thread, waking the threads and waiting for them costs more than it saves:
# docs/tuning.md, waking threads.
FLOPS_PER_THREAD = 1e6

# The minimum of operations and rows for each thread in steps of training, in which threads do not sleep, as steps follow each
# other. With few rows a thread gains less. These and the numbers below were measured: docs/tuning.md, from which work on threads
# pay.
FLOPS_OF_A_STEP, ROWS_OF_A_STEP = 0.4e6, 75

# Operations for each weight and row, forward and backward.
FLOPS_PER_WEIGHT = 6

# The minimum of operations for each thread in a single call, such as a gradient of lbfgs, for which threads may have to be woken.
FLOPS_OF_A_CALL = 1.6e6

# The minimum of operations for each thread in a prediction: within SOON seconds after another one the threads are awake; after a
# longer pause they have to be woken.
SOON = 0.5e-3
FLOPS_OF_AN_AWAKE_THREAD = 0.75e6
FLOPS_TO_WAKE_A_THREAD = 11e6

# Reading the weights takes as long as the arithmetic of this many rows.
ROWS_OF_A_PASS = 3

# With fewer rows than twice this number the threads share the columns of the layers. With more they share the rows, and each thread
# reads all weights.
ROWS_TO_WAKE_A_THREAD = 4


def effective_n_threads(n_jobs=None, flops=math.inf):
    """The number of threads for steps of work that are synchronised with each other.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as the work justifies, at most `available_cores`. n > 0: n, however many cores there are. -1: all cores; -2:
        all but one, and so on. A limit of threadpoolctl is an upper bound in every case.
    flops : float
        The floating-point operations of one step, such as one mini-batch.

    Returns
    -------
    int
        At least 1. It depends only on the arguments and on the limits of the process.

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
    return min(n_jobs, thread_limit()) if n_jobs > 0 else max(1, available_cores() + 1 + n_jobs)


def n_threads_of_steps(n_jobs, n_rows, n_weights):
    """The number of threads for steps of training of any estimator or model; ``n_jobs`` as in `effective_n_threads`.

    Each step takes n_rows rows forward and backward through n_weights weights, without the biases.
    """
    flops = FLOPS_PER_WEIGHT * n_rows * n_weights
    justified = max(flops / FLOPS_PER_THREAD, min(flops / FLOPS_OF_A_STEP, n_rows / ROWS_OF_A_STEP))
    return effective_n_threads(n_jobs, justified * FLOPS_PER_THREAD)


def n_threads_of_call(n_jobs, n_rows, flops_per_row):
    """The number of threads for one call on n_rows rows; ``n_jobs`` as in `effective_n_threads`."""
    return effective_n_threads(n_jobs, _justified(n_rows, flops_per_row, FLOPS_OF_A_CALL) * FLOPS_PER_THREAD)


def n_threads_of_prediction(n_jobs, n_rows, flops_per_row):
    """The number of threads for a prediction, which depends on the time of the last one; results do not depend on it."""
    global _last_prediction
    now = time.perf_counter()
    soon, _last_prediction = now - _last_prediction < SOON, now
    if not soon:
        _cores_in_second.cache_clear()
    if n_jobs is not None:
        return effective_n_threads(n_jobs)
    justified = _justified(n_rows, flops_per_row, FLOPS_OF_AN_AWAKE_THREAD if soon else FLOPS_TO_WAKE_A_THREAD)
    return 1 if justified < 2 else int(min(justified, _cores_in_second(int(now)), thread_limit()))


_last_prediction = -math.inf


@functools.lru_cache(maxsize=1)
def _cores_in_second(second):
    """`_cores`, kept for a second: counting takes as long as a small prediction."""
    return _cores()


def _justified(n_rows, flops_per_row, flops_per_thread):
    """How many threads this work justifies."""
    threads = (n_rows + ROWS_OF_A_PASS) * flops_per_row / flops_per_thread
    return min(threads, n_rows / ROWS_TO_WAKE_A_THREAD) if n_rows >= 2 * ROWS_TO_WAKE_A_THREAD else threads


def available_cores():
    """The cores that a computation may use here: `_cores`, but at most threadpoolctl's limit."""
    return min(_cores(), thread_limit())


def _cores():
    """The cores that this process may use, as `cores` counts them, but at most OMP_NUM_THREADS."""
    affinity = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cores = _count_cores(counter(), affinity, os.environ.get("LOKY_MAX_CPU_COUNT"), int(time.monotonic()))
    # OpenMP's list form, such as "4,2", gives the outermost level first.
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) > 0 else cores


@functools.lru_cache(maxsize=1)
def _count_cores(count, affinity, limit, second):
    """``count()``, at most once a second unless the affinity or the limit changes, because it reads the cgroup's files."""
    return count()

"""Contests: what is computed in a process with a fixed number of threads, in which contenders take turns.

A process of its own for each number of threads, because OpenBLAS, XLA and OpenMP read theirs when they are loaded.
"""

import atexit
import contextlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from .rounds import repeated, take_turns

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# XLA takes one thread per core that it may use; these keep its products on one where there is one.
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


@dataclass(frozen=True)
class Effort:
    """How long a contest goes on: seconds of a sample, seconds of all rounds, numbers of rounds."""

    sample: float = 0.1
    budget: float = 6.0
    min_rounds: int = 3
    max_rounds: int = 7


QUICK = Effort(sample=0.02, budget=1.0, min_rounds=3, max_rounds=3)


@dataclass
class Outcome:
    """Seconds by contender and round, what was wrong and what else is known by contender, and by round the state of the machine."""

    samples: dict = field(default_factory=dict)
    wrong: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    ping_pong: list = field(default_factory=list)
    peak: list = field(default_factory=list)

    def log_machine(self, limits, dtype, n_threads):
        """Add the ping-pong latency and the multiply-add peak of this moment."""
        if limits is None:
            return
        self.ping_pong.append(limits.ping_pong() if n_threads > 1 else None)
        self.peak.append(limits.sample_peak(dtype, n_threads))


class Arena:
    """Runs functions in a process with so many threads; only one process lives at a time, so that none disturbs another."""

    def __init__(self):
        self._executor = self._n_threads = None
        atexit.register(self.close)

    def run(self, n_threads, function, *arguments):
        """``function(*arguments)`` of a module that can be imported, in the process with n_threads."""
        if n_threads != self._n_threads:
            self.close()
            context = multiprocessing.get_context("spawn")
            self._executor, self._n_threads = ProcessPoolExecutor(1, mp_context=context), n_threads
        with _environment(n_threads):  # the process starts when it gets its first work
            future = self._executor.submit(function, *arguments)
        return future.result()

    def close(self):
        if self._executor is not None:
            self._executor.shutdown()
        self._executor = self._n_threads = None


@contextlib.contextmanager
def _environment(n_threads):
    """Environment and cores that a process started now inherits."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(n_threads))
    if n_threads == 1:
        wanted["XLA_FLAGS"] = XLA_ONE_THREAD
    before = {name: os.environ.get(name) for name in wanted}
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    os.environ.update(wanted)
    if cores:
        os.sched_setaffinity(0, sorted(cores)[-n_threads:])
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def take_turns_checked(contenders, effort):
    """The `Outcome` of short functions of this process, name -> (check, function): what fails its check is not timed."""
    outcome, turns = Outcome(), {}
    for name, (check, function) in contenders.items():
        try:
            check()
        except AssertionError as error:
            outcome.wrong[name] = str(error)
        else:
            turns[name] = repeated(function, effort.sample)
    outcome.samples = take_turns(turns, effort.budget, effort.min_rounds, effort.max_rounds) if turns else {}
    return outcome

"""Timing contenders in turn, and handing such samples to pytest-benchmark, which itself times one callable after the other.

In turn, because a processor's clock, its neighbours on the same host, and the distance of its cores change within seconds: what is
timed in the same round met the same conditions, and a ratio within a round cancels them.
"""

import contextlib
import threading
import time
from pathlib import Path

# A case with quartiles further apart than this, relative to the median, says that it was noisy.
NOISY = 0.10
# Threads of a pool wait for more work by spinning, NumPy's BLAS for 0.1 s: so many seconds at most they are waited for.
PATIENCE = 0.5


def take_turns(contenders, budget, min_rounds, max_rounds, before_round=None):
    """Call every contender once a round, until ``budget`` seconds are used up, from ``min_rounds`` to ``max_rounds`` rounds.

    Parameters
    ----------
    contenders : dict of str -> callable
        Each returns the seconds that it took.
    budget : float
    min_rounds, max_rounds : int
    before_round : callable, optional
        Called before each round.

    Returns
    -------
    dict of str -> list of float
        The seconds of each round.
    """
    names, samples = list(contenders), {name: [] for name in contenders}
    start = time.perf_counter()
    for n in range(max_rounds):
        if n >= min_rounds and time.perf_counter() - start > budget:
            break
        settle()
        if before_round is not None:
            before_round()
        # Another one begins each round, so that nobody always runs after the same neighbour.
        turn = n % len(names)
        for name in names[turn:] + names[:turn]:
            settle()
            samples[name].append(contenders[name]())
    return samples


def settle():
    """Wait until no other thread of this process is busy: whoever comes next has the cores to itself. On Linux only."""
    start = time.perf_counter()
    while any(state == "R" for state in _states_of_other_threads()) and time.perf_counter() - start < PATIENCE:
        time.sleep(0.001)


def _states_of_other_threads():
    """As in proc(5): R runs or could run, S sleeps."""
    for task in Path("/proc/self/task").glob("[0-9]*"):
        if int(task.name) != threading.get_native_id():
            with contextlib.suppress(OSError):  # it ended meanwhile
                yield (task / "stat").read_text().rpartition(")")[2].split()[0]


def seconds_of(function, *arguments):
    """How long one call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def repeated(function, target):
    """A callable that returns the seconds of one call of a short function, from as many calls as take ``target`` seconds.

    How many that are, the faster of two attempts tells, while no other thread is busy: the first calls of all take longer, those
    before which threads slept, and those beside threads of others that spin. (One row of 256-1024-1024-10 with two threads was so
    taken for 4 ms, and its samples were of 4 calls after a pause instead of 300.)
    """
    n = 1
    settle()
    while (seconds := min(_seconds_of_many(function, n) for _ in range(2))) < target / 4:
        n *= 4
    n = max(1, round(n * target / seconds))
    return lambda: _seconds_of_many(function, n) / n


def after_a_pause(function, pause):
    """A callable that sleeps for ``pause`` seconds, in which threads fall asleep, and returns the seconds of a call."""

    def call():
        time.sleep(pause)
        return seconds_of(function)

    return call


def _seconds_of_many(function, n):
    start = time.perf_counter()
    for _ in range(n):
        function()
    return time.perf_counter() - start


def ratios(numerators, denominators):
    """Of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def spread(median, iqr):
    """The distance of the quartiles relative to the median."""
    return iqr / median if median else 0.0


class Replay:
    """A clock that shows only what it is told: pytest-benchmark reads samples from it that were taken before.

    ``pytest.mark.benchmark(timer=replay.clock)``, then ``replay.hand_over(benchmark, samples)``.
    """

    def __init__(self):
        self._now = 0.0

    def clock(self):
        return self._now

    def hand_over(self, benchmark, samples):
        left = iter(samples)
        benchmark.pedantic(self._advance, setup=lambda: ((next(left),), {}), rounds=len(samples))

    def _advance(self, seconds):
        self._now += seconds

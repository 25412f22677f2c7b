"""What this processor can do at most, measured with loops of our own: the limit beside every figure.

`Limits.seconds` is the roofline (Williams, Waterman and Patterson, *Roofline: an insightful visual performance model*, 2009): work
takes at least as long as its multiply-adds at the peak, and at least as long as its bytes at the bandwidth of the cache or memory
that holds them.
"""

import functools
import statistics
import time

import numpy as np

from fastprop import kernels

# A sample is long enough that starting the threads does not count, and short enough that a few fit into a pause.
SAMPLE_SECONDS = 0.01
N_SAMPLES = 5
# Sizes in bytes at which reading is timed: within a core's L1 and L2 cache, in a shared cache, in memory.
READ_SIZES = (16 << 10, 256 << 10, 4 << 20, 256 << 20)
ROUND_TRIPS = 2000


class Limits:
    """The limits of this processor; each is measured when it is first asked for.

    Raises
    ------
    ImportError
        Where no compiled module of fastprop can run.
    """

    def __init__(self):
        self._raw = kernels.load("cython").raw

    @functools.cache  # noqa: B019 (there is one object a process)
    def peak(self, dtype, n_threads):
        """Floating-point operations a second: multiply-adds on registers alone, each counted as two."""
        return self.sample_peak(dtype, n_threads, N_SAMPLES)

    def sample_peak(self, dtype, n_threads, n_samples=1):
        """The same, measured anew: next to a timing it shows the clock of the moment."""
        # x -> 0.5 x + 0.5 stays near 1: no overflow, no subnormal numbers.
        numbers = np.array([0.5, 0.5], dtype)
        return self._rate(lambda repeats: self._raw.measure_peak(numbers, repeats, n_threads), n_samples, first=10_000)

    @functools.cache  # noqa: B019
    def bandwidth(self, n_bytes, n_threads):
        """Bytes a second, read from arrays of this many bytes, the next larger one of `READ_SIZES`."""
        size = next((size for size in READ_SIZES if n_bytes <= size), READ_SIZES[-1])
        if size != n_bytes:
            return self.bandwidth(size, n_threads)
        values = np.ones(size // 4, np.float32)
        return self._rate(lambda repeats: self._raw.measure_bandwidth(values, repeats, n_threads), N_SAMPLES)

    def ping_pong(self):
        """Seconds that a cache line takes from one thread to another and back, or None where there is no second thread."""
        start = time.perf_counter()
        done = self._raw.measure_ping_pong(ROUND_TRIPS)
        return (time.perf_counter() - start) / done if done else None

    def seconds(self, dtype, n_threads, flops, n_bytes):
        """The least time that so many floating-point operations and so many bytes read or written can take."""
        by_reading = n_bytes / self.bandwidth(n_bytes, n_threads) if n_bytes else 0.0
        return max(flops / self.peak(dtype, n_threads), by_reading)

    def describe(self, thread_counts):
        """Everything, as a dict for a JSON file: GFLOP/s and GB/s by number of threads."""
        return {
            str(n): {
                "gflops": {dtype: self.peak(dtype, n) / 1e9 for dtype in ("float32", "float64")},
                "gigabytes": {str(size): self.bandwidth(size, n) / 1e9 for size in READ_SIZES},
            }
            for n in thread_counts
        }

    def _rate(self, run, n_samples, first=1):
        """Work done by ``run(repeats)`` a second: the median of samples of about `SAMPLE_SECONDS`."""
        repeats = first
        while (seconds := self._time(run, repeats)[0]) < SAMPLE_SECONDS / 4:
            repeats *= 4
        repeats = max(1, round(repeats * SAMPLE_SECONDS / seconds))
        return statistics.median(done / seconds for seconds, done in (self._time(run, repeats) for _ in range(n_samples)))

    @staticmethod
    def _time(run, repeats):
        start = time.perf_counter()
        done, _ = run(repeats)
        return time.perf_counter() - start, done


def limits_or_none():
    """The limits, or None where they cannot be measured."""
    try:
        return Limits()
    except ImportError:
        return None

"""Fits with ``n_jobs=None`` beside busy processes, in units of ``n_jobs=1``: ``python bench/busy.py``, some two minutes.

The busy processes run where the system puts them, or are kept on processors: all on the first, or spread over all. With their
place fixed, quartiles are close together; without, a fit on one thread takes its time alone or twice as long, by chance.
"""

import os
import subprocess
import sys
import time
import warnings

import numpy as np

from fastprop import MLPClassifier

# name -> (rows, features, hidden layers, classes, epochs)
PROBLEMS = {
    "600 x 4, 100": (600, 4, (100,), 3, 200),
    "digits": (1797, 64, (100,), 10, 60),
    "tabular-deep": (5000, 50, (128, 64), 5, 15),
    "mnist": (3000, 784, (128,), 10, 8),
}
ROUNDS = 15


def main():
    warnings.simplefilter("ignore")
    processors = sorted(os.sched_getaffinity(0))
    places = {"free": [], "on one processor": processors[:1], "spread": processors}
    print("n_jobs=None in units of n_jobs=1: median (quartiles)")
    for n_busy in (0, 1, 2):
        for place, allowed in places.items() if n_busy == 2 else [("free", [])]:
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n_busy)]
            try:
                for i, process in enumerate(busy):
                    if allowed:
                        os.sched_setaffinity(process.pid, {allowed[i % len(allowed)]})
                time.sleep(0.5)
                for name, problem in PROBLEMS.items():
                    low, median, high = np.quantile(ratios(*problem), [0.25, 0.5, 0.75])
                    print(f"{n_busy} busy, {place}, {name}: {median:.2f} ({low:.2f} to {high:.2f})", flush=True)
            finally:
                for process in busy:
                    process.kill()
                    process.wait()


def ratios(n_samples, n_features, hidden, n_classes, epochs):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n_samples, n_features)).astype(np.float32), rng.integers(0, n_classes, n_samples)

    def fit(n_jobs):
        model = MLPClassifier(hidden, max_iter=epochs, n_iter_no_change=np.inf, random_state=0, n_jobs=n_jobs)
        began = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - began

    fit(1), fit(None)
    found = []
    for i in range(ROUNDS):
        times = {n_jobs: fit(n_jobs) for n_jobs in ((1, None) if i % 2 else (None, 1))}
        found.append(times[None] / times[1])
    return found


if __name__ == "__main__":
    main()

"""Cells of the table once more with nothing of the suite: a plain clock around ``fit``.

    python bench/verify.py                  # seconds an epoch, and how many times as long scikit-learn takes
    python bench/verify.py table.json       # and how far the table of that run is from it

Threads are the defaults of both libraries; OMP_NUM_THREADS=1 in the environment makes it one.
"""

import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier as ScikitLearn

from fastprop import MLPClassifier
from fastprop.threads import available_cores

# name -> (rows, features, classes, hidden, batch, epochs of a sample)
CELLS = {"digits": (1797, 64, 10, (100,), 200, 40), "tabular-deep": (20_000, 50, 5, (128, 64), 200, 4)}
ESTIMATORS = {"fastprop": MLPClassifier, "scikit-learn": ScikitLearn}
N_ROUNDS = 7
PAUSE = 0.3  # seconds, in which the threads of the fit before stop waiting for work by spinning


def main(arguments):
    table = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))["benchmarks"] if arguments else []
    n_threads = int(os.environ.get("OMP_NUM_THREADS") or available_cores())
    for name, cell in CELLS.items():
        seconds = measure(*cell)
        ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
        print(f"{name} float32 {n_threads}T: scikit-learn takes {ratio:.2f} times as long")
        for contender, samples in seconds.items():
            median = statistics.median(samples)
            print(f"    {contender}: {median * 1e3:.3f} ms an epoch" + difference(table, name, n_threads, contender, median))


def measure(rows, features, classes, hidden, batch, epochs):
    """Seconds of an epoch by estimator, in rounds."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((rows, features)).astype(np.float32), rng.integers(classes, size=rows)

    def fit(estimator, max_iter):
        model = estimator(hidden, batch_size=batch, max_iter=max_iter, tol=0, n_iter_no_change=10**9, random_state=0)
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start

    seconds = {name: [] for name in ESTIMATORS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        for estimator in ESTIMATORS.values():
            fit(estimator, 2)
        for _ in range(N_ROUNDS):
            for name, estimator in ESTIMATORS.items():
                time.sleep(PAUSE)
                seconds[name].append((fit(estimator, 1 + epochs) - fit(estimator, 1)) / epochs)
    return seconds


def difference(table, name, n_threads, contender, median):
    """How far the table's median is from this one, where the run has the cell."""
    wanted = {"family": "fit", "configuration": name, "dtype": "float32", "n_threads": n_threads, "contender": contender}
    for row in table:
        if wanted.items() <= row["extra_info"].items():
            return f"; the table has {row['stats']['median'] / median - 1:+.0%}"
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])

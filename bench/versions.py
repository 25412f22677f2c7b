"""Whole fits of another version of fastprop in units of this one's: ``python bench/versions.py PYTHON [ROUNDS [NAME ...]]``.

PYTHON is the interpreter of an environment with the other version. Each version runs in a process of its own. They take turns, with
ROUNDS fits each (7), for each configuration, dtype and number of threads. Printed are the medians' ratio, above 1 if this version
is faster, the medians, and the difference of the last losses, which is 0 if both have the same bits. Two runs of one version
differ by a few per cent: give a cell that looks slow 30 rounds.
"""

import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

# Epochs of a fit, which then takes a tenth of a second, or less for the small ones
EPOCHS = {"iris-like": 200, "digits": 60, "tabular-small": 30, "tabular-deep": 8, "mnist": 3, "mnist-deep": 1, "wide": 1}


def answer():
    """Fit as the lines of stdin say, in whatever version this interpreter has; print the seconds and the loss of each."""
    sys.path.insert(0, str(Path(__file__).parent))
    from workloads import CONFIGURATIONS, random_data

    from fastprop import MLPClassifier

    warnings.simplefilter("ignore")
    known = {}
    for line in sys.stdin:
        name, dtype, n_jobs = json.loads(line)
        configuration = CONFIGURATIONS[name]
        if (name, dtype) not in known:
            known = {(name, dtype): random_data(configuration, dtype)}
        options = {"batch_size": configuration.batch_size, "max_iter": EPOCHS[name], "n_iter_no_change": 10**6}
        model = MLPClassifier(configuration.hidden, random_state=0, n_jobs=n_jobs, **options)
        began = time.perf_counter()
        model.fit(*known[name, dtype])
        print(json.dumps((time.perf_counter() - began, model.loss_)), flush=True)


class Version:
    """A process that fits with one version."""

    def __init__(self, python):
        self._process = subprocess.Popen([python, __file__, "--answer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def fit(self, *problem):
        """(seconds, loss)"""
        self._process.stdin.write(json.dumps(problem) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main(python, rounds=7, *names):
    with Version(python) as other, Version(sys.executable) as this:
        compare(other, this, int(rounds), names or EPOCHS)


def compare(other, this, rounds, names):
    """Print the ratios."""
    for name in names:
        for dtype in ("float32", "float64"):
            for n_threads in (1, 2):
                problem = name, dtype, n_threads
                losses = [version.fit(*problem)[1] for version in (other, this)]
                times = {other: [], this: []}
                for i in range(rounds):
                    for version in (other, this)[:: 1 if i % 2 else -1]:
                        times[version].append(version.fit(*problem)[0])
                before, now = (statistics.median(times[version]) for version in (other, this))
                print(
                    f"{name:14}{dtype} {n_threads}T  {before / now:.3f}   {before * 1e3:9.3f} {now * 1e3:9.3f} ms   "
                    f"difference of the loss {losses[0] - losses[1]:.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:] == ["--answer"]:
        answer()
    elif len(sys.argv) < 2:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])

"""Exported files beside predict: ``python bench/export.py speed`` takes ten seconds, ``python bench/export.py accuracy`` a minute.

    speed      size and time of a prediction, for a network 64-100-10
    accuracy   how many more test rows int8 gets right than the estimator: the digits, eight splits, two networks

One row at a time, on one thread, in float32. Results are compared with predict before times; all take turns, and the figures are
medians. Bytes of machine code and constants are those that ``size`` counts. Needs cc and binutils.
"""

import ctypes
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, export
from fastprop.config import processor_name

ROUNDS, SECONDS = 15, 0.02
# With -O2 older compilers do not use vectors; -Os is what small devices are built with.
FLAGS = ["-Os", "-O2", "-O3"]
# Largest difference of a probability
TOLERANCE = {"float32": 1e-5, "int8": 0.2}
LOOP = """
void repeat(const float *x, int rows, long times, int *labels)
{
    for (long i = 0; i < times; i++)
        labels[i % rows] = model_predict(x + i % rows * 64);
}
"""


def speed():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    model = fitted(MLPClassifier(max_iter=50, random_state=0, n_jobs=1), X, y)
    calls = {"predict": lambda n: [model.predict(X[i % 100 :][:1]) for i in range(n)], "predictor": bound(model, X)}
    with tempfile.TemporaryDirectory() as folder:
        calls["to_numpy"] = of_numpy(model, X, Path(folder))
        for dtype in TOLERANCE:
            for flag in FLAGS:
                calls[f"to_c, {dtype}, {flag}"] = of_c(model, X, Path(folder), dtype, flag)
        print(f"{processor_name()}; {version('cc')}")
        for name, microseconds in times(calls).items():
            print(f"{name:26}{microseconds:10.2f} µs a prediction")


def accuracy():
    X, y = load_digits(return_X_y=True)
    for front in ([], [StandardScaler()]):
        differences = {False: [], True: []}
        for seed in range(8):
            train, test, y_train, y_test = train_test_split(X.astype(np.float32), y, test_size=0.5, random_state=seed)
            for hidden in ((100,), (64, 32)):
                model = fitted(make_pipeline(*front, MLPClassifier(hidden, max_iter=60, random_state=seed)), train, y_train)
                for has_rows, found in differences.items():
                    right = decisions(export.to_c(model, dtype="int8", X=train if has_rows else None), test) == y_test
                    found.append(100 * (right.mean() - model.score(test, y_test)))
        for has_rows, found in differences.items():
            ranges = "of the training rows" if has_rows else "of each row"
            print(
                f"{'standardized' if front else 'as they are'}, ranges {ranges}: mean {np.mean(found):+.2f} points, "
                f"from {min(found):+.2f} to {max(found):+.2f}"
            )


def fitted(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def decisions(text, X):
    """What model_predict says of rows."""
    with tempfile.TemporaryDirectory() as folder:
        module, labels = compiled(text, Path(folder) / "model.so", "-O2"), np.empty(len(X), np.int32)
    module.repeat(ctypes.c_void_p(X.ctypes.data), len(X), ctypes.c_long(len(X)), ctypes.c_void_p(labels.ctypes.data))
    return labels


def compiled(text, library, flag):
    """The file with a loop over rows as a module."""
    source = library.with_suffix(".c")
    source.write_text(text + LOOP)
    subprocess.run(["cc", "-std=c99", flag, "-fPIC", "-shared", "-o", library, source, "-lm"], check=True)
    return ctypes.CDLL(str(library))


def bound(model, X):
    x, out = np.empty((1, 64), np.float32), np.empty((1, 10), np.float32)
    predict = model.predictor(x, out)

    def call(n):
        for i in range(n):
            x[0] = X[i % 100]
            predict()
            out.argmax()

    return call


def of_numpy(model, X, folder):
    text = export.to_numpy(model, path=folder / "exported.py")
    made = runpy.run_path(str(folder / "exported.py"))
    assert np.abs(made["predict_proba"](X) - model.predict_proba(X)).max() < TOLERANCE["float32"]
    print(f"to_numpy: {len(text) / 1000:.0f} kB")
    return lambda n: [made["predict"](X[i % 100 :][:1]) for i in range(n)]


def of_c(model, X, folder, dtype, flag):
    """The loop in C, once its results are checked; prints sizes."""
    text = export.to_c(model, dtype=dtype)
    source = folder / "model.c"
    source.write_text(text)
    subprocess.run(["cc", "-std=c99", flag, "-c", "-o", folder / "model.o", source], check=True)
    sizes = subprocess.run(["size", folder / "model.o"], capture_output=True, text=True, check=True).stdout.split()
    print(f"to_c, {dtype}, {flag}: {len(text) / 1000:.0f} kB of C, {int(sizes[6]) / 1000:.1f} kB of machine code and constants")
    module, out = compiled(text, folder / f"{dtype}{flag}.so", flag), np.empty((len(X), 10), np.float32)
    for x, place in zip(X, out, strict=True):
        module.model_predict_proba(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(place.ctypes.data))
    error = np.abs(out - model.predict_proba(X)).max()
    assert error < TOLERANCE[dtype], f"a probability is off by {error:.2g}"
    labels = np.empty(100, np.int32)

    def call(n):
        module.repeat(ctypes.c_void_p(X.ctypes.data), 100, ctypes.c_long(n), ctypes.c_void_p(labels.ctypes.data))

    call(100)
    agree = (labels == model.predict(X[:100])).mean()
    assert agree == 1 if dtype == "float32" else agree >= 0.99
    return call


def times(calls):
    """Microseconds of one prediction by each, the median of rounds."""
    numbers, samples = dict.fromkeys(calls, 100), {name: [] for name in calls}
    for name, call in calls.items():
        while seconds(call, numbers[name]) < SECONDS:
            numbers[name] *= 2
    for _ in range(ROUNDS):
        for name, call in calls.items():
            samples[name].append(seconds(call, numbers[name]) / numbers[name] * 1e6)
    return {name: statistics.median(each) for name, each in samples.items()}


def seconds(call, n):
    began = time.perf_counter()
    call(n)
    return time.perf_counter() - began


def version(compiler):
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


PARTS = {"speed": speed, "accuracy": accuracy}

if __name__ == "__main__":
    if not set(sys.argv[1:]) <= set(PARTS):
        sys.exit(__doc__)
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()

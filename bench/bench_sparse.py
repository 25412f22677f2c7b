"""MLPClassifier on sparse word counts, against scikit-learn's: 20 epochs of fit, and predict. One thread each.

700 documents of 10,000 words at 2 % density, 20 classes: 1 M weights, so that most of the time is the optimizer's update. With
``python bench/bench_sparse.py`` a table of the peak memory of both, each in a process of its own.
"""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import fastprop

N_DOCUMENTS, N_WORDS, DENSITY, N_CLASSES = 700, 10_000, 0.02, 20
EPOCHS = 20
# Relative to the largest weight, after so many epochs: Adam scales up the rounding errors of gradients that are nearly zero.
TOLERANCE = {"float32": 1e-3, "float64": 1e-10}
CLASSES = {"fastprop": fastprop.MLPClassifier, f"scikit-learn {sklearn.__version__}": neural_network.MLPClassifier}

pytestmark = pytest.mark.benchmark(max_time=2.0, min_rounds=3, warmup=False, disable_gc=True)


def word_counts(dtype):
    """(X, y): every class has some words that its documents have more often; how often words come falls as 1 / rank."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, N_CLASSES, N_DOCUMENTS)
    frequency = 1 / np.arange(10, N_WORDS + 10)
    topics = rng.permuted(np.tile(frequency, (N_CLASSES, 1)), axis=1) + frequency
    topics /= topics.sum(axis=1, keepdims=True)
    words = np.stack([rng.choice(N_WORDS, int(DENSITY * N_WORDS), replace=False, p=topics[c]) for c in y])
    starts = np.arange(0, words.size + 1, words.shape[1])
    X = sp.csr_matrix((1 + rng.poisson(0.5, words.size), np.sort(words).ravel(), starts), shape=(N_DOCUMENTS, N_WORDS))
    return X.astype(dtype), y


@pytest.fixture(params=["float64", "float32"])
def documents(request):
    return word_counts(request.param)


@pytest.fixture(params=CLASSES)
def name(request):
    with threadpool_limits(1, user_api="blas"):
        yield request.param


def fit(name, X, y):
    options = {"n_jobs": 1} if name == "fastprop" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return CLASSES[name](tol=0.01, max_iter=EPOCHS, random_state=0, **options).fit(X, y)


def bench_fit(benchmark, name, documents):
    ours, theirs = (fit(each, *documents) for each in (name, list(CLASSES)[1]))
    for weight, truth in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(weight, truth, rtol=0, atol=TOLERANCE[documents[0].dtype.name] * np.abs(truth).max())
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=TOLERANCE[documents[0].dtype.name])
    benchmark.group = f"fit {EPOCHS} epochs of word counts, {documents[0].dtype}"
    benchmark.name = name
    benchmark(fit, name, *documents)
    if benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["milliseconds_per_epoch"] = benchmark.stats.stats.median / EPOCHS * 1e3


def bench_predict(benchmark, name, documents):
    X, y = documents
    estimator = fit(name, X, y)
    np.testing.assert_array_equal(estimator.predict(X), fit(list(CLASSES)[1], X, y).predict(X))
    benchmark.group = f"predict {N_DOCUMENTS} documents, {X.dtype}"
    benchmark.name = name
    benchmark(estimator.predict, X)


# Peak memory


def peak_resident():
    """The largest resident set of this process in MB. Not ru_maxrss on Linux: a child inherits its parent's there."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def report_memory(name, dtype):
    """In a fresh process: the peak before the fit, with data and imports, and after it."""
    X, y = word_counts(dtype)
    fit(name, X[:40, :50], y[:40])  # whatever is set up once
    before = peak_resident()
    fit(name, X, y)
    print(f"{dtype}  {name:20}  {before:7.1f}  {peak_resident():7.1f}  {peak_resident() - before:7.1f}")


def main():
    if len(sys.argv) == 3:
        report_memory(*sys.argv[1:])
        return
    print(f"peak memory in MB of fit, {N_DOCUMENTS} x {N_WORDS}, {N_CLASSES} classes")
    print(f"{'':7}  {'':20}  {'before':>7}  {'after':>7}  {'by fit':>7}", flush=True)
    for dtype in TOLERANCE:
        for name in CLASSES:
            subprocess.run([sys.executable, __file__, name, dtype], check=True)


if __name__ == "__main__":
    main()

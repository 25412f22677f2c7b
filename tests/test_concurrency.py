"""Several Python threads at once, several thread counts, and other libraries' threads in the same process.

A fork after a fit, and fewer threads than were asked for, are in tests/kernels/test_processes.py.
"""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import make_classification

from fastprop import MLPClassifier, Network, kernels

# How far the weights after 88 updates by Adam may be apart between thread counts, relative to the largest: each thread adds up the
# gradient of rows of its own, so the sums are rounded differently. Some hundred units in the last place; a few are usual.
THREAD_COUNT_BOUND = {"float32": 1e-5, "float64": 2e-14}


@pytest.fixture(scope="module")
def problem():
    """problem(dtype): 300 rows of 20 features in 3 classes."""
    X, y = make_classification(300, 20, n_informative=10, n_classes=3, random_state=0)
    return lambda dtype="float64": (X.astype(dtype), y)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def fitted(X, y, n_jobs, seed=0, **parameters):
    """A classifier after 22 epochs: by such a tol none is better than the first."""
    parameters = {"hidden_layer_sizes": (30, 20), "batch_size": 90, "tol": 1e9, "n_iter_no_change": 20} | parameters
    return MLPClassifier(n_jobs=n_jobs, random_state=seed, **parameters).fit(X, y)


def weights(classifier):
    return np.concatenate([array.ravel() for array in classifier.coefs_ + classifier.intercepts_])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_eight_fits_at_once(problem, n_jobs):
    X, y = problem()
    alone = [weights(fitted(X, y, n_jobs, seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: weights(fitted(X, y, n_jobs, seed)), range(8)))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_thousand_predictions_during_fits(problem, n_jobs):
    """Of one estimator, each of other rows, while others are fitted."""
    X, y = problem()
    classifier = fitted(X, y, n_jobs)
    parts = [slice(i % 290, i % 290 + 1 + i % 10) for i in range(1000)]
    alone = [classifier.predict_proba(X[part]) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        fits = [pool.submit(fitted, X, y, n_jobs, seed) for seed in range(2)]
        together = list(pool.map(lambda part: classifier.predict_proba(X[part]), parts))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(weights(fits[0].result()), weights(classifier))


@pytest.fixture
def counted():
    """counted(function): how far another thread counts while a function runs, where it is let run.

    No thread is made to release the GIL during the test, so the other one runs only while the function lets go of it.
    """
    count, stop = [0], threading.Event()

    def work():
        while not stop.is_set():
            count[0] += 1
            time.sleep(0)  # lets go of the GIL, which nobody else makes it do

    def counted(function):
        before = count[0]
        function()
        return count[0] - before

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=work)
    thread.start()
    sys.setswitchinterval(1000)
    yield counted
    stop.set()
    sys.setswitchinterval(interval)
    thread.join()


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this Python has no GIL")
@pytest.mark.skipif(kernels.active.backend == "reference", reason="NumPy takes the GIL between any two steps")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_other_python_threads_run_during_a_fit(counted, monkeypatch, n_jobs):
    train_epochs, progress = Network._train_epochs, []

    def watched(*arguments):
        progress.append(counted(lambda: train_epochs(*arguments)))

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5000, 50)), rng.integers(0, 5, 5000)
    fitted(X, y, n_jobs)  # compiles, where the back end does so when it is first called
    assert counted(lambda: sum(range(3_000_000))) == 0
    monkeypatch.setattr(Network, "_train_epochs", watched)
    fitted(X, y, n_jobs, hidden_layer_sizes=(200,), batch_size=200)
    assert sum(progress) > 0


@pytest.mark.pairwise
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_the_same_bits_in_every_run(problem, dtype, solver, n_jobs):
    first, *others = (weights(fitted(*problem(dtype), n_jobs, solver=solver, max_iter=1000)) for _ in range(4))
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.pairwise
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("n_jobs", [2, 3, 4])
def test_bound_between_thread_counts(problem, dtype, n_jobs, activation):
    one, several = (weights(fitted(*problem(dtype), n, activation=activation)) for n in (1, n_jobs))
    assert np.abs(several - one).max() <= THREAD_COUNT_BOUND[dtype] * np.abs(one).max()


OTHER_POOLS = """
from importlib import util
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from fastprop import MLPClassifier

rng = np.random.default_rng(0)
X, y = rng.normal(size=(600, 20)), rng.integers(0, 3, 600)

def fit():
    classifier = MLPClassifier((40,), n_jobs=2, tol=1e9, random_state=0).fit(X, y)
    return np.concatenate([array.ravel() for array in classifier.coefs_])

def other_libraries():
    HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    square = rng.normal(size=(500, 500))
    square @ square
    if util.find_spec("torch"):
        import torch
        matrix = torch.from_numpy(square).requires_grad_()
        (matrix @ matrix).tanh().sum().backward()

{first}()
start = fit()
for _ in range(3):
    other_libraries()
    np.testing.assert_array_equal(fit(), start)
"""


@pytest.mark.full
@pytest.mark.parametrize("first", ["fit", "other_libraries"])
def test_after_other_libraries_threads(first):
    """scikit-learn's OpenMP, NumPy's BLAS and, where it is installed, PyTorch use their threads before and between fits."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", OTHER_POOLS.format(first=first)], check=True, timeout=120, env=environment)

"""How much memory a fit takes beside its data and parameters. Each measurement has its own process, as a peak cannot be reset."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastprop import MLPClassifier, MLPRegressor, Network, kernels

MIB = 2**20
# What grows with neither: 256 rows on their way through the layers, and packed panels and strips, a quarter of a megabyte, for each
# of two threads; half a megabyte for orders of epochs that are made ahead; what Python and scikit-learn load late.
WORKSPACE = 4 * MIB

MEASURE = """
import re, warnings
from pathlib import Path
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from fastprop import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore", ConvergenceWarning)

def resident(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def data(n, n_features):
    X, rng = np.empty((n, n_features), "{dtype}"), np.random.default_rng(0)
    for start in range(0, n, 100):  # without temporaries that would be a peak already
        X[start : start + 100] = rng.random((min(100, n - start), n_features))
    return X, rng.integers(0, 10, n)

model = {estimator}(hidden_layer_sizes={hidden}, max_iter=2, batch_size=200, n_jobs=2, random_state=0)
model.fit(*data(500, 20))  # imports, threads
X, y = data({n}, {n_features})
before = resident("VmRSS")
model.fit(X, y)
print(resident("VmHWM") - before, X.nbytes, sum(a.nbytes for a in model.coefs_ + model.intercepts_))
"""

pytestmark = pytest.mark.skipif(kernels.active.backend != "cython", reason="the other back ends make temporary arrays")


def measured(**what):
    """(what a fit adds to the resident memory at its peak, the size of X, the size of the parameters), in bytes."""
    code = MEASURE.format(**what)
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    print("MiB added, data, parameters:", *(round(int(n) / MIB, 1) for n in output.split()))
    return map(int, output.split())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("dtype", "estimator"),
    [
        ("float32", "MLPClassifier"),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (("float32", "MLPRegressor"), ("float64", "MLPClassifier"), ("float64", "MLPRegressor"))
        ),
    ],
)
@pytest.mark.parametrize(
    "size",
    [{"n": 60_000, "n_features": 200, "hidden": (10,)}, {"n": 200, "n_features": 500, "hidden": (1500, 1000)}],
    ids=["much data", "many parameters"],
)
def test_peak(size, dtype, estimator):
    """At most 1.1 times the data, once of which is there before the fit, and 6 times the parameters; Adam has the largest state."""
    added, data, parameters = measured(dtype=dtype, estimator=estimator, **size)
    assert added <= 0.1 * data + 6 * parameters + WORKSPACE


@pytest.fixture
def training_sets(monkeypatch):
    """The training sets that are made during the test."""
    made, training_set = [], Network.training_set

    def kept(*arguments):
        made.append(training_set(*arguments))
        return made[-1]

    monkeypatch.setattr(Network, "training_set", kept)
    return made


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_x_is_not_copied(training_sets, dtype, solver, estimator):
    X = np.random.default_rng(0).random((60, 5)).astype(dtype)
    estimator(hidden_layer_sizes=(4,), solver=solver, alpha=10, tol=1e9, random_state=0).fit(X, np.arange(60) % 3)
    assert [data.x.dtype for data in training_sets] == [dtype]
    assert training_sets[0].x.shape == X.shape
    assert training_sets[0].x.ctypes.data == X.ctypes.data

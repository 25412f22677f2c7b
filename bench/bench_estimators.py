"""MLPClassifier on the digits data, against scikit-learn's: 20 epochs of fit, and predict. BLAS and fastprop on one thread each."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import fastprop

EPOCHS = 20
# Relative to the largest weight, after 20 epochs.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
CLASSES = {"fastprop": fastprop.MLPClassifier, f"scikit-learn {sklearn.__version__}": neural_network.MLPClassifier}

pytestmark = pytest.mark.benchmark(max_time=1.0, min_rounds=5, warmup=False, disable_gc=True)


@pytest.fixture(params=["float64", "float32"])
def digits(request):
    X, y = load_digits(return_X_y=True)
    return X.astype(request.param), y


@pytest.fixture(params=CLASSES)
def name(request):
    with threadpool_limits(1, user_api="blas"):
        yield request.param


def fit(name, X, y, solver="adam"):
    estimator = CLASSES[name](max_iter=EPOCHS, random_state=0, solver=solver, **({"n_jobs": 1} if name == "fastprop" else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X / 16, y)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def bench_fit(benchmark, name, digits, solver):
    weights, expected = (fit(each, *digits, solver).coefs_ for each in (name, list(CLASSES)[1]))
    for weight, truth in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, truth, rtol=0, atol=TOLERANCE[digits[0].dtype.name] * np.abs(truth).max())
    benchmark.group = f"fit {EPOCHS} epochs of digits, {solver}, {digits[0].dtype}"
    benchmark.name = name
    benchmark(fit, name, *digits, solver)
    if benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["milliseconds_per_epoch"] = benchmark.stats.stats.median / EPOCHS * 1e3


@pytest.mark.parametrize("n_rows", [1, 1797])
def bench_predict(benchmark, name, digits, n_rows):
    X, y = digits
    estimator = fit(name, X, y)
    np.testing.assert_array_equal(estimator.predict(X / 16), fit(list(CLASSES)[1], X, y).predict(X / 16))
    benchmark.group = f"predict {n_rows} rows of digits, {X.dtype}"
    benchmark.name = name
    benchmark(estimator.predict, X[:n_rows] / 16)

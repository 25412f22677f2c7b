"""nn: what a call of a layer costs in Python, and Sequential.fit, compiled and layer by layer, against MLPClassifier.fit."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastprop import MLPClassifier, Network, nn

EPOCHS, BATCH_SIZE = 20, 200
TOLERANCE = 1e-10  # of the weights after 20 epochs, relative to the largest

# On arrays of 2 x 3 numbers the arithmetic is next to nothing.
LAYERS = {
    "Linear": lambda: nn.Linear(3, 3, activation="relu", random_state=0),
    "ReLU": nn.ReLU,
    "Softmax": nn.Softmax,
    "Dropout": lambda: nn.Dropout(0.5, random_state=0),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "BatchNorm1d": lambda: nn.BatchNorm1d(3),
    "Residual(Identity)": lambda: nn.Residual(nn.Identity()),
    "Highway, two Linear": lambda: nn.Highway(3, random_state=0),
    "DenseConcat of one Identity": lambda: nn.DenseConcat([nn.Identity()]),
}


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("name", LAYERS)
def bench_call(benchmark, name, direction):
    layer, x = LAYERS[name](), np.random.default_rng(0).standard_normal((2, 3))
    out = layer.forward(x)
    benchmark.group, benchmark.name = f"one {direction} of a layer, arrays of 2 x 3", name
    benchmark(layer.forward if direction == "forward" else layer.backward, x if direction == "forward" else out)


def fit_estimator(X, y):
    options = {"alpha": 0, "batch_size": BATCH_SIZE, "max_iter": EPOCHS, "shuffle": False, "tol": 0, "n_jobs": 1, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MLPClassifier(**options).fit(X, y).coefs_


def fit_sequential(X, y, compiled):
    network, model = Network([64, 100, 10], dtype=X.dtype), nn.mlp([64, 100, 10], init="zeros", dtype=X.dtype)
    network.initialize(np.random.RandomState(0))
    for layer, weight, bias in zip(model, network.coefs, network.intercepts, strict=True):
        layer.weight.data, layer.bias.data = weight, bias
    optimizer = nn.Adam(model.parameters())
    options = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "shuffle": False, "n_jobs": 1}
    model.fit(X, y, nn.SoftmaxCrossEntropy(), optimizer, compiled=compiled, **options)
    return [layer.weight.data for layer in model]


FITS = {
    "MLPClassifier": fit_estimator,
    "Sequential, compiled": lambda X, y: fit_sequential(X, y, True),
    "Sequential, layer by layer": lambda X, y: fit_sequential(X, y, False),
}


@pytest.mark.benchmark(max_time=1.0, min_rounds=5, disable_gc=True)
@pytest.mark.parametrize("name", FITS)
def bench_fit(benchmark, name):
    X, y = load_digits(return_X_y=True)
    X = X / 16
    for weight, expected in zip(FITS[name](X, y), fit_estimator(X, y), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    benchmark.group, benchmark.name = f"fit {EPOCHS} epochs of digits, 64-100-10, adam, batches of {BATCH_SIZE}, float64", name
    benchmark(FITS[name], X, y)

"""An epoch: the compiled loop of `kernels.train_epoch` against the same loop over NumPy kernels, at the seven configurations."""

import functools

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench.workloads import ALPHA, CONFIGURATIONS, initial_layers, random_data
from fastprop import kernels

BACKENDS = kernels.available()
# Of the parameters after an epoch, relative to the largest: up to 100 updates, each of which carries the errors of all before.
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}
# Configurations with more operations are timed on the active back end and the reference alone.
LARGE = 1e10

pytestmark = pytest.mark.benchmark(max_time=0.1, min_rounds=3, warmup=False, disable_gc=True)


def is_quick(configuration, dtype, backend, **_):
    return configuration in ("iris-like", "digits") and dtype == "float32" and backend in (BACKENDS[0], BACKENDS[-1])


def problem(configuration, dtype):
    """Arguments of `train_epoch` at the start."""
    random_state = np.random.RandomState(0)
    link = "softmax" if configuration.n_classes > 2 else "sigmoid"
    layers = kernels.layer_table(configuration.sizes, "relu", link)
    params = np.concatenate([array.ravel() for layer in initial_layers(configuration, random_state) for array in layer])
    X, y = random_data(configuration, dtype)
    return {
        "x": X,
        "targets": y,
        "order": random_state.permutation(configuration.n_samples),
        "layers": layers,
        "params": params.astype(dtype),
        "state": np.zeros((2, len(params)), dtype),
        "loss": "softmax_cross_entropy" if configuration.n_classes > 2 else "binary_cross_entropy",
        "batch_size": configuration.batch_size,
        "alpha": ALPHA,
        # scikit-learn's 1e-8 makes of the rounding errors of gradients that are nearly zero full steps.
        "hyper": {"epsilon": 1e-3},
    }


@functools.lru_cache(maxsize=2)
def truth(name):
    """(loss, params) after an epoch of the reference in float64."""
    given = problem(CONFIGURATIONS[name], "float64")
    return kernels.load("reference").train_epoch(**given), given["params"]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda pair: "-".join(filter(None, pair)))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def bench_epoch(benchmark, finish, configuration, dtype, backend, n_threads):
    shape = CONFIGURATIONS[configuration]
    if shape.flops > LARGE and backend not in (BACKENDS[0], BACKENDS[-1]):
        pytest.skip("too long for what it tells: only on the active back end and the reference")
    with threadpool_limits(n_threads, user_api="blas"):
        loaded, given = kernels.load(*backend), problem(shape, dtype) | {"n_threads": n_threads}
        loss, (expected_loss, expected) = loaded.train_epoch(**given), truth(configuration)
        assert abs(loss - expected_loss) <= TOLERANCE[dtype] * expected_loss
        np.testing.assert_allclose(given["params"], expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())
        benchmark.group = f"train_epoch {configuration} {dtype} {n_threads}T"
        benchmark.name = " ".join(filter(None, backend))
        benchmark(lambda: loaded.train_epoch(**given))
    finish("epoch", benchmark.name, dtype, n_threads, shape.flops, configuration=configuration)

"""Does the cost of an epoch grow as its work does, and where does it bend? One dimension is varied at a time.

`extra_info` has picoseconds for each floating-point operation of the matrix products: a cost that grows as the work is flat.
"""

import dataclasses

import numpy as np
import pytest

from bench.workloads import Configuration, random_data
from fastprop import Network, kernels
from fastprop.optim import Adam, StepSGD

# Of the loss of an epoch, relative.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


@dataclasses.dataclass(frozen=True)
class Problem:
    """Around this point one field at a time is varied."""

    rows: int = 4000
    features: int = 64
    width: int = 128
    depth: int = 1
    batch: int = 200
    classes: int = 10
    activation: str = "relu"
    optimizer: str = "adam"

    @property
    def configuration(self):
        hidden = (self.width,) * self.depth
        return Configuration("scaling", self.rows, self.features, self.classes, hidden, min(self.batch, self.rows))


DIMENSIONS = {
    "rows": [100, 300, 1000, 3000, 10_000, 30_000],
    "features": [1, 3, 10, 30, 64, 100, 300, 1000, 3000],
    "width": [1, 4, 10, 32, 64, 99, 100, 101, 128, 192, 256, 257, 512, 1024],
    "depth": [1, 2, 3, 5, 8, 12],
    "batch": [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 4000],
    "classes": [2, 3, 10, 16, 17, 30, 100, 300, 1000],
    "activation": ["identity", "relu", "sigmoid", "tanh"],
    "optimizer": ["adam", "sgd"],
}
POINTS = [(dimension, value) for dimension, values in DIMENSIONS.items() for value in values]
QUICK = {("width", 64), ("width", 101), ("width", 256), ("batch", 10), ("batch", 100)}

pytestmark = pytest.mark.benchmark(max_time=0.1, min_rounds=5, warmup=False, disable_gc=True)


def is_quick(dimension, value, dtype, **_):
    return dtype == "float32" and (dimension, value) in QUICK


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("dimension", "value"), POINTS, ids=[f"{dimension}-{value}" for dimension, value in POINTS])
def bench_scaling(benchmark, finish, dimension, value, dtype, n_threads):
    problem = dataclasses.replace(Problem(), **{dimension: value})
    configuration = problem.configuration
    X, y = random_data(configuration, dtype)
    binary = configuration.sizes[-1] == 1
    loss = "binary_cross_entropy" if binary else "softmax_cross_entropy"
    network = Network(configuration.sizes, problem.activation, loss, np.dtype(dtype))
    network.initialize(np.random.RandomState(0))
    optimizer = Adam(network) if problem.optimizer == "adam" else StepSGD(network, 0.001)
    data, order = network.training_set(X, y), np.random.default_rng(0).permutation(len(X))
    options = {"batch_size": configuration.batch_size, "n_threads": n_threads}
    expected = _reference_loss(network, X, y, order, problem, loss)
    assert abs(network.train_epoch(data, order, optimizer, **options) - expected) <= TOLERANCE[dtype] * expected
    benchmark.group = f"epoch by {dimension}, {dtype}, {n_threads}T"
    benchmark.name = f"{dimension} {value}"
    benchmark(network.train_epoch, data, order, optimizer, **options)
    facts = {"dimension": dimension, "value": value}
    finish("scaling", "fastprop", dtype, n_threads, configuration.flops, **facts)
    if benchmark.stats is not None:
        benchmark.extra_info["picoseconds_per_flop"] = benchmark.stats["median"] / configuration.flops * 1e12


def _reference_loss(network, X, y, order, problem, loss):
    """The same epoch by the reference in float64, from the network's parameters."""
    params = network.params.astype(np.float64)
    state = np.zeros(((2 if problem.optimizer == "adam" else 1), len(params)))
    link = "sigmoid" if loss == "binary_cross_entropy" else "softmax"
    layers = kernels.layer_table(network.sizes, network.activation, link)
    arrays = X.astype(np.float64), y, order, layers, params, state, loss, problem.optimizer
    return kernels.load("reference").train_epoch(*arrays, batch_size=problem.configuration.batch_size)

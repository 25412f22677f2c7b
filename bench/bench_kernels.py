"""Every kernel of every back end against the same function in NumPy, on one thread; each result is checked before it is timed.

A table is one kernel at one shape (batch, n_in, n_out) and dtype; the row "reference" is NumPy.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastprop import kernels

SHAPES = [(200, 20, 100), (200, 100, 10), (200, 784, 128), (512, 1024, 1024)]
BACKENDS = kernels.available()
# Relative to the largest number of a result, against float64: a loss is a sum of up to 524288 terms, in whatever order.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}

pytestmark = pytest.mark.benchmark(max_time=0.05, min_rounds=3, warmup=False, disable_gc=True)


@pytest.fixture(params=BACKENDS, ids=lambda pair: "-".join(filter(None, pair)))
def backend(request):
    with threadpool_limits(1, user_api="blas"):
        yield kernels.load(*request.param)


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


def linear_forward(rng, n, n_in, n_out):
    x, weight, bias = rng.standard_normal((n, n_in)), rng.standard_normal((n_in, n_out)), rng.standard_normal(n_out)
    return {"x": x, "weight": weight, "bias": bias, "activation": "relu", "out": np.zeros((n, n_out))}


def linear_backward(rng, n, n_in, n_out):
    x, weight, da = rng.standard_normal((n, n_in)), rng.standard_normal((n_in, n_out)), rng.standard_normal((n, n_out))
    outputs = {"dx": np.zeros((n, n_in)), "dweight": np.zeros((n_in, n_out)), "dbias": np.zeros(n_out)}
    return {"da": da, "x": x, "weight": weight, "a": np.maximum(rng.standard_normal((n, n_out)), 0), "activation": "relu"} | outputs


def softmax_forward(rng, n, n_in, n_out):
    return {"logits": rng.standard_normal((n, n_out)), "out": np.zeros((n, n_out))}


def softmax_backward(rng, n, n_in, n_out):
    probs = rng.dirichlet(np.ones(n_out), n)
    return {"dprobs": rng.standard_normal((n, n_out)), "probs": probs, "out": np.zeros((n, n_out))}


def softmax_cross_entropy_forward(rng, n, n_in, n_out):
    logits = rng.standard_normal((n, n_out))
    return {"logits": logits, "targets": rng.integers(n_out, size=n), "out": np.zeros((n, n_out))}


def softmax_cross_entropy_backward(rng, n, n_in, n_out):
    probs = rng.dirichlet(np.ones(n_out), n)
    return {"probs": probs, "targets": rng.integers(n_out, size=n), "scale": 1 / n, "out": np.zeros((n, n_out))}


def binary_cross_entropy_forward(rng, n, n_in, n_out):
    targets = rng.integers(2, size=(n, n_out)).astype(np.float64)
    return {"logits": rng.standard_normal((n, n_out)), "targets": targets, "out": np.zeros((n, n_out))}


def binary_cross_entropy_backward(rng, n, n_in, n_out):
    targets = rng.integers(2, size=(n, n_out)).astype(np.float64)
    return {"probs": rng.random((n, n_out)), "targets": targets, "scale": 1 / n, "out": np.zeros((n, n_out))}


def squared_error_forward(rng, n, n_in, n_out):
    return {"predictions": rng.standard_normal((n, n_out)), "targets": rng.standard_normal((n, n_out))}


def squared_error_backward(rng, n, n_in, n_out):
    return squared_error_forward(rng, n, n_in, n_out) | {"scale": 1 / n, "out": np.zeros((n, n_out))}


def poisson_forward(rng, n, n_in, n_out):
    targets = rng.poisson(1.0, (n, n_out)).astype(np.float64)
    return {"log_rates": rng.standard_normal((n, n_out)), "targets": targets, "out": np.zeros((n, n_out))}


def poisson_backward(rng, n, n_in, n_out):
    targets = rng.poisson(1.0, (n, n_out)).astype(np.float64)
    return {"rates": rng.random((n, n_out)), "targets": targets, "scale": 1 / n, "out": np.zeros((n, n_out))}


def sgd_update(rng, n, n_in, n_out):
    params, grad, velocity = rng.standard_normal((3, (n_in + 1) * n_out))
    return {"params": params, "grad": grad, "velocity": velocity, "lr": 1e-3, "l2": 1e-4}


def adam_update(rng, n, n_in, n_out):
    params, grad, m = rng.standard_normal((3, (n_in + 1) * n_out))
    return {"params": params, "grad": grad, "m": m, "v": rng.random(params.shape), "lr": 1e-3, "step": 3, "l2": 1e-4}


def network(rng, n, n_in, n_out):
    """A network with one hidden layer of n_out and 10 classes."""
    layers = kernels.layer_table([n_in, n_out, 10], "relu", "softmax")
    params = rng.standard_normal(kernels.n_parameters(layers)) / np.sqrt(n_in)
    return {"x": rng.standard_normal((n, n_in)), "layers": layers, "params": params}


def network_forward(rng, n, n_in, n_out):
    return network(rng, n, n_in, n_out) | {"out": np.zeros((n, 10))}


def network_loss_gradient(rng, n, n_in, n_out):
    given = network(rng, n, n_in, n_out)
    given |= {"targets": rng.integers(10, size=n), "loss": "softmax_cross_entropy", "alpha": 1e-4}
    return given | {"out": np.zeros_like(given["params"])}


def train_epoch(rng, n, n_in, n_out):
    """Four mini-batches, the last one short; the shapes of the digits data among them."""
    n_samples = 3 * n + n // 2
    given = network(rng, n_samples, n_in, n_out)
    given |= {"targets": rng.integers(10, size=n_samples), "order": rng.permutation(n_samples), "batch_size": n}
    return given | {"loss": "softmax_cross_entropy", "state": np.zeros((2, given["params"].size)), "hyper": {"epsilon": 1e-2}}


CASES = [
    linear_forward,
    linear_backward,
    softmax_forward,
    softmax_backward,
    softmax_cross_entropy_forward,
    softmax_cross_entropy_backward,
    binary_cross_entropy_forward,
    binary_cross_entropy_backward,
    squared_error_forward,
    squared_error_backward,
    poisson_forward,
    poisson_backward,
    sgd_update,
    adam_update,
    network_forward,
    network_loss_gradient,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def bench_kernel(benchmark, case, shape, dtype, backend):
    _measure(benchmark, case, shape, dtype, backend)


@pytest.mark.parametrize("shape", [(200, 64, 100), (200, 784, 128)], ids=str)
def bench_train_epoch(benchmark, shape, dtype, backend):
    _measure(benchmark, train_epoch, shape, dtype, backend)


def _measure(benchmark, case, shape, dtype, backend):
    arguments = case(np.random.default_rng(0), *shape)
    _check(case.__name__, arguments, dtype, backend)
    benchmark.group = f"{case.__name__} {shape} {dtype}"
    benchmark.name = " ".join(filter(None, (backend.backend, backend.isa)))
    function, arguments = getattr(backend, case.__name__), _cast(arguments, dtype)
    benchmark(lambda: function(**arguments))


def _check(name, arguments, dtype, backend):
    """The kernel's results in this dtype are those of the reference in float64. Compiles what is compiled at a first call."""
    arguments = _cast(arguments, dtype)
    results = []
    for run, given in ((backend, arguments), (kernels.load("reference"), _cast(arguments, "float64"))):
        returned = getattr(run, name)(**given)
        returned = returned if isinstance(returned, tuple) else (returned,)
        updated = [given[key] for key in ("params", "velocity", "m", "v", "state") if key in given]
        results.append([np.asarray(value, np.float64) for value in (*returned, *updated) if value is not None])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())


def _cast(arguments, dtype):
    """Fresh copies, with what is floating point in this dtype."""
    fresh = {}
    for name, value in arguments.items():
        is_real = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        fresh[name] = value.astype(dtype) if is_real else value
    return fresh

"""A call of each public kernel at a shape (n, n_in, n_out), how much work it is, and a check of its results.

Kernels of losses, activations, dropout and norms see (n, n_out), updates all (n_in + 1) * n_out parameters, networks have one
hidden layer of n_out and 10 classes.
"""

import functools

import numpy as np

from bench.agreement import assert_agrees
from fastprop import kernels

# Relative to the largest number of a result, against float64: a loss is a sum of up to 4 million terms, in whatever order.
TOLERANCE = {"float32": 5e-5, "float64": 1e-11}
UPDATED = ("params", "velocity", "square_avg", "m", "v")


def linear_forward(rng, n, n_in, n_out):
    x, weight, bias = rng.standard_normal((n, n_in)), rng.standard_normal((n_in, n_out)), rng.standard_normal(n_out)
    return {"x": x, "weight": weight, "bias": bias, "activation": "relu", "out": np.zeros((n, n_out))}


def linear_backward(rng, n, n_in, n_out):
    x, weight, da = rng.standard_normal((n, n_in)), rng.standard_normal((n_in, n_out)), rng.standard_normal((n, n_out))
    outputs = {"dx": np.zeros((n, n_in)), "dweight": np.zeros((n_in, n_out)), "dbias": np.zeros(n_out)}
    return {"da": da, "x": x, "weight": weight, "a": np.maximum(rng.standard_normal((n, n_out)), 0), "activation": "relu"} | outputs


def activation_forward(rng, n, n_in, n_out):
    """With the activation that takes longest."""
    return {"z": rng.standard_normal((n, n_out)), "activation": "tanh", "out": np.zeros((n, n_out))}


def activation_backward(rng, n, n_in, n_out):
    da, a = rng.standard_normal((n, n_out)), rng.uniform(-1, 1, (n, n_out))
    return {"da": da, "a": a, "activation": "tanh", "out": np.zeros((n, n_out))}


def dropout_forward(rng, n, n_in, n_out):
    return {"x": rng.standard_normal((n, n_out)), "rate": 0.25, "seed": 3, "stream": 5, "out": np.zeros((n, n_out))}


def dropout_backward(rng, n, n_in, n_out):
    return {"dy": rng.standard_normal((n, n_out)), "rate": 0.25, "seed": 3, "stream": 5, "out": np.zeros((n, n_out))}


def layer_norm_forward(rng, n, n_in, n_out):
    return _norm_forward(rng, n, n_out, n_statistics=n)


def layer_norm_backward(rng, n, n_in, n_out):
    return _norm_backward(rng, n, n_out, n_statistics=n)


def batch_norm_forward(rng, n, n_in, n_out):
    return _norm_forward(rng, n, n_out, n_statistics=n_out)


def batch_norm_backward(rng, n, n_in, n_out):
    return _norm_backward(rng, n, n_out, n_statistics=n_out)


def batch_norm_inference(rng, n, n_in, n_out):
    gamma, beta, running_mean = rng.standard_normal((3, n_out))
    columns = {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": rng.uniform(0.5, 2, n_out)}
    return {"x": rng.standard_normal((n, n_out)), **columns, "out": np.zeros((n, n_out))}


def _norm_forward(rng, n, n_units, n_statistics):
    gamma, beta = rng.standard_normal((2, n_units))
    outputs = {"y": np.zeros((n, n_units)), "mean": np.zeros(n_statistics), "rstd": np.zeros(n_statistics)}
    return {"x": rng.standard_normal((n, n_units)), "gamma": gamma, "beta": beta} | outputs


def _norm_backward(rng, n, n_units, n_statistics):
    """With statistics that are not quite those of x: of a single row those would make dx all zeros, and nothing to compare."""
    dy, x = rng.standard_normal((2, n, n_units))
    statistics = {"mean": 0.1 * rng.standard_normal(n_statistics), "rstd": rng.uniform(0.7, 1.4, n_statistics)}
    outputs = {"dx": np.zeros((n, n_units)), "dgamma": np.zeros(n_units), "dbeta": np.zeros(n_units)}
    return {"dy": dy, "x": x, "gamma": rng.standard_normal(n_units)} | statistics | outputs


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


def absolute_error_forward(rng, n, n_in, n_out):
    return squared_error_forward(rng, n, n_in, n_out)


def absolute_error_backward(rng, n, n_in, n_out):
    return squared_error_backward(rng, n, n_in, n_out)


def huber_forward(rng, n, n_in, n_out):
    return squared_error_forward(rng, n, n_in, n_out)


def huber_backward(rng, n, n_in, n_out):
    return squared_error_backward(rng, n, n_in, n_out)


def quantile_forward(rng, n, n_in, n_out):
    return squared_error_forward(rng, n, n_in, n_out)


def quantile_backward(rng, n, n_in, n_out):
    return squared_error_backward(rng, n, n_in, n_out)


def gamma_forward(rng, n, n_in, n_out):
    targets = rng.gamma(2.0, 1.0, (n, n_out))
    return {"log_means": rng.standard_normal((n, n_out)), "targets": targets, "out": np.zeros((n, n_out))}


def gamma_backward(rng, n, n_in, n_out):
    targets = rng.gamma(2.0, 1.0, (n, n_out))
    return {"means": 0.1 + rng.random((n, n_out)), "targets": targets, "scale": 1 / n, "out": np.zeros((n, n_out))}


def tweedie_forward(rng, n, n_in, n_out):
    return gamma_forward(rng, n, n_in, n_out)


def tweedie_backward(rng, n, n_in, n_out):
    return gamma_backward(rng, n, n_in, n_out)


def sgd_update(rng, n, n_in, n_out):
    params, grad, velocity = rng.standard_normal((3, (n_in + 1) * n_out))
    return {"params": params, "grad": grad, "velocity": velocity, "lr": 1e-3, "l2": 1e-4}


def momentum_update(rng, n, n_in, n_out):
    return sgd_update(rng, n, n_in, n_out)


def rmsprop_update(rng, n, n_in, n_out):
    params, grad = rng.standard_normal((2, (n_in + 1) * n_out))
    return {"params": params, "grad": grad, "square_avg": rng.random(params.shape), "lr": 1e-3, "l2": 1e-4}


def adam_update(rng, n, n_in, n_out):
    params, grad, m = rng.standard_normal((3, (n_in + 1) * n_out))
    return {"params": params, "grad": grad, "m": m, "v": rng.random(params.shape), "lr": 1e-3, "step": 3, "l2": 1e-4}


def adamw_update(rng, n, n_in, n_out):
    return adam_update(rng, n, n_in, n_out) | {"weight_decay": 0.01}


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


CASES = [
    linear_forward,
    linear_backward,
    activation_forward,
    activation_backward,
    dropout_forward,
    dropout_backward,
    layer_norm_forward,
    layer_norm_backward,
    batch_norm_forward,
    batch_norm_backward,
    batch_norm_inference,
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
    absolute_error_forward,
    absolute_error_backward,
    huber_forward,
    huber_backward,
    quantile_forward,
    quantile_backward,
    gamma_forward,
    gamma_backward,
    tweedie_forward,
    tweedie_backward,
    sgd_update,
    momentum_update,
    rmsprop_update,
    adam_update,
    adamw_update,
    network_forward,
    network_loss_gradient,
]


def n_flops(name, n, n_in, n_out):
    """The floating-point operations of the matrix products of a call; 0 for kernels without."""
    hidden, output = 2 * n * n_in * n_out, 2 * n * n_out * 10
    return {
        "linear_forward": hidden,
        "linear_backward": 2 * hidden,
        "network_forward": hidden + output,
        "network_loss_gradient": 2 * hidden + 3 * output,
    }.get(name, 0)


def n_bytes(arguments):
    """Read and written at least: inputs and outputs once, what is updated twice."""
    sizes = {name: array.nbytes for name, array in arguments.items() if isinstance(array, np.ndarray)}
    return sum(size * (2 if name in UPDATED else 1) for name, size in sizes.items())


def cast(arguments, dtype):
    """Fresh copies, with what is floating point in this dtype."""
    fresh = {}
    for name, value in arguments.items():
        is_real = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        fresh[name] = value.astype(dtype) if is_real else value
    return fresh


def results(backend, name, arguments):
    """All that a call computes, in float64: what it returns and what it updates."""
    returned = getattr(backend, name)(**arguments)
    returned = returned if isinstance(returned, tuple) else (returned,)
    updated = [arguments[key] for key in UPDATED if key in arguments and name != "network_forward"]
    return [np.asarray(value, np.float64) for value in (*returned, *updated) if value is not None]


@functools.lru_cache(maxsize=2)
def arguments_and_truth(case, shape):
    """A call in float64 and what the reference computes for it. Cached: every back end and dtype asks for the same."""
    arguments = case(np.random.default_rng(0), *shape)
    return arguments, results(kernels.load("reference"), case.__name__, cast(arguments, "float64"))


def check(case, shape, dtype, backend, n_threads):
    """The kernel's results in this dtype are those of the reference in float64. Compiles what is compiled at a first call."""
    arguments, truth = arguments_and_truth(case, shape)
    actual = results(backend, case.__name__, cast(arguments, dtype) | {"n_threads": n_threads})
    for value, expected in zip(actual, truth, strict=True):
        assert_agrees(value, expected, TOLERANCE[dtype], kinks=case.__name__ == "network_loss_gradient")

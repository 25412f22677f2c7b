"""nn: what a call of a layer costs in Python, and an epoch of `Sequential.fit`, compiled and layer by layer, against the estimator.

A call should take less than `tables.CALL_AIM` for each module that it goes through, an epoch of a plain stack at most 1.1 of the
estimator's.
"""

from functools import partial

import numpy as np
import pytest

from bench.conftest import REPLAY
from bench.contenders import NN
from bench.contest import Effort, take_turns_checked
from bench.training import time_epochs
from bench.workloads import CONFIGURATIONS
from fastprop import nn
from fastprop.inspection import numerical_gradient

SHAPE = (4, 3)  # so small that the arithmetic is next to nothing
# In float64, relative to the largest number of a result; of gradients against central differences.
TOLERANCE, GRADIENT_TOLERANCE = 1e-12, 1e-7
EFFORT = Effort(sample=0.003, budget=1.0, min_rounds=5, max_rounds=25)
QUICK_CONFIGURATIONS = ("digits", "tabular-small")

pytestmark = pytest.mark.benchmark(timer=REPLAY.clock)


def is_quick(dtype="float64", configuration=None, **_):
    return configuration is None or (configuration in QUICK_CONFIGURATIONS and dtype == "float32")


def normalized(x, axis):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


def affine(layer, x):
    return x @ layer.weight.data + layer.bias.data


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def highway(layer, x):
    gate = sigmoid(affine(layer.gate, x))
    return gate * np.maximum(affine(layer.transform, x), 0) + (1 - gate) * x


# name -> (the layer, and what NumPy computes for it from the layer, x, and what the layer gave, which tells what was dropped).
LAYERS = {
    "Linear": (lambda: nn.Linear(3, 3, activation="relu", random_state=0), lambda layer, x, _: np.maximum(affine(layer, x), 0)),
    "Identity": (nn.Identity, lambda layer, x, _: x),
    "ReLU": (nn.ReLU, lambda layer, x, _: np.maximum(x, 0)),
    "Sigmoid": (nn.Sigmoid, lambda layer, x, _: sigmoid(x)),
    "Tanh": (nn.Tanh, lambda layer, x, _: np.tanh(x)),
    "Softmax": (nn.Softmax, lambda layer, x, _: softmax(x)),
    "Dropout": (lambda: nn.Dropout(0.5, random_state=0), lambda layer, x, out: np.where(out == 0, 0, 2 * x)),
    "LayerNorm": (lambda: nn.LayerNorm(3), lambda layer, x, _: normalized(x, 1)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), lambda layer, x, _: normalized(x, 0)),
    "Residual(Identity)": (lambda: nn.Residual(nn.Identity()), lambda layer, x, _: 2 * x),
    "Highway": (lambda: nn.Highway(3, random_state=0), lambda layer, x, _: highway(layer, x)),
    "DenseConcat([Identity])": (lambda: nn.DenseConcat([nn.Identity()]), lambda layer, x, _: np.hstack([x, x])),
    "Checkpoint(Identity)": (lambda: nn.Checkpoint(nn.Identity()), lambda layer, x, _: x),
}
# Beside them a call of NumPy on the same array, for the comparison of two runs.
REFERENCE = "reference"


@pytest.mark.parametrize("contender", [*(f"fastprop {name}" for name in LAYERS), REFERENCE])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def bench_layer_call(contest, direction, contender):
    def hold(names, effort):
        return take_turns_checked({name: prepared_call(name, direction) for name in names}, effort)

    facts = {"configuration": direction, "effort": EFFORT, "dtype": "float64", "n_threads": 1}
    if contender != REFERENCE:
        facts["n_modules"] = len(LAYERS[layer_of(contender)][0]().modules())
    contest(hold, contender, f"one {direction} of a layer, arrays of {SHAPE[0]} x {SHAPE[1]}", "layer call", **facts)


def layer_of(contender):
    return contender.removeprefix("fastprop ")


def prepared_call(name, direction):
    """(check, function) of a layer's forward or backward."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE)
    if name == REFERENCE:
        return (lambda: None), partial(np.maximum, x, 0)
    make, formula = LAYERS[layer_of(name)]
    layer = make()
    out = layer.forward(x)
    dout = rng.standard_normal(out.shape)
    function = partial(layer.forward, x) if direction == "forward" else partial(layer.backward, dout)
    return (lambda: check_layer(make(), formula, x, dout)), function


def check_layer(layer, formula, x, dout):
    """Forward is the formula, backward its gradient by central differences."""
    out = layer.forward(x)
    expected = formula(layer, x, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    gradient = numerical_gradient(lambda x: np.sum(dout * formula(layer, x, out)), x)
    np.testing.assert_allclose(layer.backward(dout), gradient, rtol=0, atol=GRADIENT_TOLERANCE * np.abs(gradient).max())


@pytest.mark.parametrize("contender", NN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("configuration", ["digits", "tabular-small", "tabular-deep", "mnist"])
def bench_sequential(contest, arena, n_threads, configuration, dtype, contender):
    facts = {"configuration": configuration, "flops": CONFIGURATIONS[configuration].flops, "dtype": dtype, "n_threads": n_threads}
    hold = partial(arena.run, n_threads, time_epochs, configuration, dtype, n_threads)
    contest(hold, contender, f"fit {configuration}, an epoch, {dtype}, {n_threads}T, nn", "nn", **facts)

"""Networks of all kinds of layers against the public kernels called layer by layer, and running statistics against NumPy."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.layer_table import parameter_views

N_IN, N_OUT = 6, 4
EPSILON = 0.1


def by_layers(oracle, given, rows, update):
    """(loss, gradient, statistics of each batch norm) of a batch, from the public kernels; no dropout where update is None."""
    layers, params = given["layers"], given["params"]
    block, names = np.zeros_like(params), {code: name for name, code in spec.KINDS.items()}
    activations = {code: name for name, code in spec.ACTIVATION_CODES.items()}
    values, norms, statistics = [given["x"][rows]], {}, []
    table = list(zip(layers[:-1], parameter_views(layers, params), parameter_views(layers, block), strict=False))

    def masks(row):
        return float(row["rate"]), int(row["seed"]) % 2**64, (int(row["stream"]) + update) % 2**64

    for i, (row, own, _) in enumerate(table):
        kind, x = names[int(row["kind"])], values[-1]
        if kind == "linear":
            values.append(oracle.linear_forward(x, *own))
        elif kind == "activation":
            values.append(oracle.activation_forward(x, activations[int(row["code"])]))
        elif kind == "dropout":
            values.append(x if update is None else oracle.dropout_forward(x, *masks(row)))
        elif kind == "add":
            values.append(x + values[row["source"]])
        else:
            y, *norms[i] = getattr(oracle, f"{kind}_forward")(x, *own, float(row["epsilon"]))
            values.append(y)
            if kind == "batch_norm":
                statistics.append((x.mean(axis=0), x.var(axis=0, ddof=len(x) > 1)))
    loss, outputs = given["loss"], values[-1]
    result = getattr(oracle, f"{loss}_forward")(outputs, given["targets"][rows])
    loss_sum, outputs = (result, outputs) if spec.LOSSES[loss].link == "identity" else result
    loss_sum /= N_OUT if loss == "squared_error" else 1
    deltas = [np.zeros_like(value) for value in values]
    deltas[-1] = getattr(oracle, f"{loss}_backward")(outputs, given["targets"][rows], scale=1 / len(rows))
    for i, (row, own, gradients) in reversed(list(enumerate(table))):
        kind, dy = names[int(row["kind"])], deltas[i + 1]
        if kind == "linear":
            dx = oracle.linear_backward(dy, values[i], own[0], values[i + 1], dweight=gradients[0], dbias=gradients[1])[0]
        elif kind == "activation":
            name = activations[int(row["code"])]
            seen = values[i] if spec.ACTIVATIONS[name].derivative == "z" else values[i + 1]
            dx = oracle.activation_backward(dy, seen, name)
        elif kind == "dropout":
            dx = dy if update is None else oracle.dropout_backward(dy, *masks(row))
        elif kind == "add":
            dx = dy
            deltas[row["source"]] = deltas[row["source"]] + dy
        else:
            backward = getattr(oracle, f"{kind}_backward")
            dx = backward(dy, values[i], own[0], *norms[i], dgamma=gradients[0], dbeta=gradients[1])[0]
        deltas[i] = deltas[i] + dx
    return loss_sum / len(rows), block, statistics


def test_the_gradient_is_that_of_layers_one_by_one(backend, oracle, problem, gradient, in_float64, assert_close, dtype):
    given = problem(23)
    loss, expected, _ = by_layers(oracle, in_float64(given), np.arange(23), None)
    got = gradient(backend, given, n_threads=2)
    assert_close(got[0], loss, dtype, "network")
    assert_close(got[1], expected, dtype, "network")


def test_an_epoch_is_that_of_layers_one_by_one(backend, oracle, problem, epochs, rng, in_float64, assert_close, dtype):
    """With masks by the number of the update, and running statistics by every batch."""
    given, order = problem(23), rng.permutation(23)
    exact, total = in_float64(given), 0.0
    velocity = np.zeros_like(exact["params"])
    momenta = exact["layers"]["momentum"][exact["layers"]["kind"] == spec.KINDS["batch_norm"]]
    running = exact["buffers"].copy()
    for update, first in enumerate(range(0, 23, 6), start=3 + 1):
        rows = order[first : first + 6]
        loss, block, statistics = by_layers(oracle, exact, rows, update)
        total += loss * len(rows)
        oracle.momentum_update(exact["params"], block, velocity, 0.02, 0.5)
        new = np.concatenate([np.concatenate(pair) for pair in statistics]) if statistics else running
        weight = np.concatenate([np.full(2 * len(mean), m) for m, (mean, _) in zip(momenta, statistics, strict=True)] or [running])
        running = (1 - weight) * running + weight * new
    got = epochs(backend, given, [order], batch_size=6)
    for actual, value in zip(got, (np.array([total / 23]), exact["params"], velocity[None], running), strict=True):
        assert_close(actual, value, dtype, "epoch")


# Running statistics


@pytest.mark.parametrize("sparse", [False, True])
def test_running_statistics(backend, rng, assert_close, dtype, sparse):
    """Of batches of 5, 5, 1 and, without weight, 5 rows, while the parameters stay."""
    layers = (
        kernels.LayerProgram(N_IN)
        .linear(7)
        .batch_norm(EPSILON, 0.3)
        .activation("relu")
        .linear(3)
        .batch_norm(1e-5, 1.0)
        .link("identity")
    )
    params = rng.standard_normal(kernels.n_parameters(layers)).astype(dtype)
    x, targets = rng.standard_normal((16, N_IN)).astype(dtype), rng.standard_normal((16, 3)).astype(dtype)
    weight, order = rng.random(16).astype(dtype), np.arange(16)
    weight[:5] = 0
    (w, b), (gamma, beta), (w2, b2), _ = kernels.layer_views(layers, params.astype(np.float64))
    mean, variance, last = np.zeros(7), np.ones(7), []
    for first, stop in ((5, 10), (10, 15), (15, 16)):
        z = x[first:stop].astype(np.float64) @ w + b
        ddof = 1 if len(z) > 1 else 0
        mean, variance = 0.7 * mean + 0.3 * z.mean(axis=0), 0.7 * variance + 0.3 * z.var(axis=0, ddof=ddof)
        a = np.maximum((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + EPSILON) * gamma + beta, 0) @ w2 + b2
        last = np.concatenate([a.mean(axis=0), a.var(axis=0, ddof=ddof)])
    for n_threads in (1, 2, 3):
        buffers, trained, state = (
            np.concatenate([np.zeros(7), np.ones(7), np.full(6, 5.0)]).astype(dtype),
            params.copy(),
            params[None] * 0,
        )
        rows = sp.csr_array(x) if sparse else x
        given = {"loss": "squared_error", "optimizer": "momentum", "hyper": {"lr": 0.0}, "batch_size": 5, "sample_weight": weight}
        # The rows without weight come in two orders: before the others, and between them.
        for part in (order[:5], order[5:]):
            backend.train_epoch(rows, targets, part, layers, trained, state, **given, n_threads=n_threads, buffers=buffers)
        np.testing.assert_array_equal(trained, params)
        assert_close(buffers[:7], mean, dtype, "network")
        assert_close(buffers[7:14], variance, dtype, "network")
        assert_close(buffers[14:], last, dtype, "network")


def test_statistics_of_a_nan_reach_the_running_ones_and_no_others(backend, rng, dtype):
    layers = kernels.LayerProgram(N_IN).batch_norm().linear(2).link("identity")
    params, buffers = np.ones(kernels.n_parameters(layers), dtype), np.ones(kernels.n_buffers(layers), dtype)
    x = rng.standard_normal((8, N_IN)).astype(dtype)
    x[3, 2] = np.nan
    with np.errstate(all="ignore"):
        backend.train_epoch(
            x,
            x[:, :2] * 0,
            np.arange(8),
            layers,
            params,
            np.zeros((1, len(params)), dtype),
            "squared_error",
            "sgd",
            buffers=buffers,
        )
    np.testing.assert_array_equal(np.isnan(buffers), np.arange(2 * N_IN) % N_IN == 2)

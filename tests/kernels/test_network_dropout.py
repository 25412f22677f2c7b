"""Dropout inside the training loop of every back end, against the public kernels called layer by layer in float64."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastprop import kernels
from fastprop.kernels import spec

SIZES = [10, 33, 9, 17, 4]
# (rate, seed, stream) of each hidden layer: one without, one at the ends of the ranges.
DROPOUT = [(0.3, 5, 7), (0.0, 0, 0), (0.625, 2**63 - 1, -2)]
STEP = 3  # updates before the epoch
OWN_HYPER = {"sgd": {"lr": 0.1, "momentum": 0.5, "nesterov": True}, "adam": {"lr": 0.01, "epsilon": 0.01}}


@pytest.fixture
def problem(rng, draw, dtype):
    """problem(n, activation) -> the arguments that the network kernels share, as a dict."""

    def make(n, activation):
        layers = kernels.layer_table(SIZES, activation, "softmax", DROPOUT)
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
        x = draw(n, SIZES[0]) * (rng.random((n, SIZES[0])) < 0.5)
        return {"x": x, "targets": rng.integers(0, 4, n), "layers": layers, "params": params}

    return make


def fresh_state(optimizer, params):
    return np.full((spec.OPTIMIZERS[optimizer].n_slots, len(params)), 0.01, params.dtype)


def epoch(backend, given, order, optimizer, **options):
    """(mean loss, parameters, state) after one epoch of the training loop."""
    params = given["params"].copy()
    state = fresh_state(optimizer, params)
    options = {"loss": "softmax_cross_entropy", "optimizer": optimizer, "hyper": OWN_HYPER[optimizer], "step": STEP} | options
    return backend.train_epoch(**given | {"params": params}, state=state, order=order, **options), params, state


def batch_by_hand(oracle, x, targets, layers, params, activation, update):
    """The summed loss of a batch and the gradient of its mean, with the masks of this update."""
    gradient = np.empty_like(params)
    views, gradients = kernels.layer_views(layers, params), kernels.layer_views(layers, gradient)
    masks = [(rate, seed, stream + update) for rate, seed, stream in DROPOUT]
    inputs, seen = [x], []
    for view, mask in zip(views[:-1], masks, strict=True):
        z, a = (oracle.linear_forward(inputs[-1], *view, name) for name in ("identity", activation))
        seen.append(z if spec.ACTIVATIONS[activation].derivative == "z" else a)
        inputs.append(oracle.dropout_forward(a, *mask))
    logits = oracle.linear_forward(inputs[-1], *views[-1])
    loss_sum, probs = oracle.softmax_cross_entropy_forward(logits, targets)
    delta = oracle.softmax_cross_entropy_backward(probs, targets, scale=1 / len(x))
    for i, (dweight, dbias) in reversed(list(enumerate(gradients))):
        a, name = (logits, "identity") if i == len(masks) else (seen[i], activation)
        delta, _, _ = oracle.linear_backward(delta, inputs[i], views[i][0], a, name, dweight=dweight, dbias=dbias)
        if i:
            delta = oracle.dropout_backward(delta, *masks[i - 1])
    return loss_sum, gradient


def epoch_by_hand(oracle, given, order, optimizer, activation, batch_size):
    """What `epoch` returns, in float64, without the training loop."""
    x, params = given["x"].astype(np.float64), given["params"].astype(np.float64)
    state, loss_sum = fresh_state(optimizer, params), 0.0
    for update, start in enumerate(range(0, len(order), batch_size), start=STEP + 1):
        rows = order[start : start + batch_size]
        batch = x[rows], given["targets"][rows], given["layers"], params
        batch_loss, gradient = batch_by_hand(oracle, *batch, activation, update)
        loss_sum += batch_loss
        counted = {"step": update} if optimizer == "adam" else {}
        getattr(oracle, f"{optimizer}_update")(params, gradient, *state, **OWN_HYPER[optimizer], **counted)
    return loss_sum / len(order), params, state


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("n", "batch_size"), [(52, 7), (630, 605)])
def test_epoch_is_its_layers_one_by_one(backend, oracle, problem, rng, assert_close, dtype, activation, n, batch_size, optimizer):
    """For any number of threads, dense and sparse, with a short last batch and with more rows than a back end takes at once."""
    given, order = problem(n, activation), rng.permutation(n)
    expected = epoch_by_hand(oracle, given, order, optimizer, activation, batch_size)
    for n_threads in (1, 2, 3):
        for x in (given["x"], csr_array(given["x"])):
            got = epoch(backend, given | {"x": x}, order, optimizer, batch_size=batch_size, n_threads=n_threads)
            for actual, exact in zip(got, expected, strict=True):
                assert_close(actual, exact, dtype, "epoch")


def test_only_training_drops(backend, problem):
    given = problem(40, "tanh")
    plain = given | {"layers": kernels.layer_table(SIZES, "tanh", "softmax")}
    results = []
    for each in (given, plain):
        loss, gradient = backend.network_loss_gradient(**each, loss="softmax_cross_entropy")
        outputs = backend.network_forward(each["x"], each["layers"], each["params"])
        results.append([loss, gradient, outputs, epoch(backend, each, np.arange(40), "sgd")[0]])
    for actual, expected in zip(*(result[:3] for result in results), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert results[0][3] != results[1][3]


def test_rate_0_is_no_dropout(backend, problem):
    given = problem(40, "sigmoid")
    runs = []
    for dropout in (None, [(0.0, seed, stream) for _, seed, stream in DROPOUT]):
        layers = kernels.layer_table(SIZES, "sigmoid", "softmax", dropout)
        runs.append(epoch(backend, given | {"layers": layers}, np.arange(40), "adam", batch_size=9))
    for actual, expected in zip(*runs, strict=True):
        np.testing.assert_array_equal(actual, expected)

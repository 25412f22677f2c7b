"""A run that was broken off, pickled and taken up again has the bits of one that went on."""

import copy
import pickle

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

FEATURES = {
    "dropout": {"dropout": (0.3, 0.5)},
    "average": {"ema_decay": 0.9},
    "average of sgd": {"ema_decay": 0.9, "solver": "sgd"},
    "cosine": {"learning_rate": "cosine"},
    "one_cycle": {"learning_rate": "one_cycle", "solver": "sgd"},
    "warmup": {"warmup": 0.6, "learning_rate": "coslog4"},
    "adamw": {"solver": "adamw", "weight_decay": 0.3},
    "rmsprop": {"solver": "rmsprop", "weight_decay": 0.3, "clip_norm": 0.5},
    "batch norm": {"normalization": "batch", "solver": "adamw", "weight_decay": 0.2},
    "layer norm": {"normalization": "layer", "solver": "rmsprop"},
}
TOGETHER = {
    "dropout": 0.3,
    "ema_decay": 0.9,
    "learning_rate": "one_cycle",
    "warmup": 0.2,
    "solver": "adamw",
    "weight_decay": 0.2,
    "clip_norm": 0.5,
    "normalization": "batch",
    "activation": ("gelu", "silu"),
}
FEATURES |= {"all together": TOGETHER, "all with rmsprop": TOGETHER | {"solver": "rmsprop", "normalization": "layer"}}
WAYS = {"a pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)), "a deep copy": copy.deepcopy}
N_EPOCHS, HALF = 8, 3


@pytest.fixture(params=FEATURES)
def parameters(request):
    return FEATURES[request.param] | {"max_iter": N_EPOCHS}


@pytest.fixture(params=["multiclass", "two outputs"])
def target(request):
    return request.param


def trained(estimator, X, y, n_epochs):
    classes = {} if y.dtype.kind == "f" else {"classes": np.unique(y)}
    for _ in range(n_epochs):
        estimator.partial_fit(X, y, **classes)
    return estimator


def state(estimator):
    """All that training goes on with, as arrays by name."""
    optimizer, network = estimator._optimizer, estimator._network
    found = {"params": network.params, "buffers": network.buffers, "memory": optimizer.rule.memory, "t": optimizer.t}
    if optimizer.averages is not None:
        found |= {"raw": optimizer.averages.raw, "average": optimizer.averages.average}
    if optimizer.masks is not None:
        found |= {"seeds": optimizer.masks.seeds, "n_updates": optimizer.masks.n_updates}
    curves = {name: getattr(estimator, name) for name in ("loss_curve_", "learning_rate_curve_") if hasattr(estimator, name)}
    return found | curves


def assert_same_bits(ours, expected):
    ours, expected = state(ours), state(expected)
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)


@pytest.mark.pairwise
@pytest.mark.parametrize("is_stream", [False, True], ids=["an integer", "a stream"])
@pytest.mark.parametrize("way", WAYS)
def test_partial_fit_after(problem, make, target, parameters, way, is_stream):
    X, y = problem(target)
    runs = [make(target, **parameters) for _ in range(2)]
    for run in runs:
        run.set_params(random_state=np.random.RandomState(5) if is_stream else 5)
    unbroken = trained(runs[0], X, y, N_EPOCHS)
    broken = trained(WAYS[way](trained(runs[1], X, y, HALF)), X, y, N_EPOCHS - HALF)
    assert_same_bits(broken, unbroken)


def test_partial_fit_is_fit_in_parts(problem, make, target, parameters):
    """Without shuffling: else each call of partial_fit begins with the rows in their order."""
    X, y = problem(target)
    whole = make(target, shuffle=False, **parameters).fit(X, y)
    parts = trained(make(target, shuffle=False, **parameters), X, y, N_EPOCHS)
    assert_same_bits(parts, whole)


@pytest.mark.pairwise
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_after_fit(problem, make, target, parameters, way, method):
    """Warm starts and calls of partial_fit, one after the other."""
    X, y = problem(target)
    unbroken = make(target, warm_start=True, **parameters | {"max_iter": 3}).fit(X, y)
    broken = WAYS[way](unbroken)
    for _ in range(2):
        getattr(unbroken, method)(X, y)
        getattr(broken, method)(X, y)
        assert_same_bits(broken, unbroken)
        broken = WAYS[way](broken)
    np.testing.assert_array_equal(broken.predict(X), unbroken.predict(X))

"""``precision="bfloat16"``: what it changes, and what it does not."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits

from fastprop import MLPClassifier, MLPRegressor, Network, TabularClassifier, TabularRegressor, nn, optim
from fastprop.precision import trains_in_bfloat16
from fastprop.training_calls import TrainingCalls

pytestmark = pytest.mark.usefixtures("no_convergence_warning")
ALLOWED = {"precision": "bfloat16", "hidden_layer_sizes": 32, "batch_size": 100, "max_iter": 10, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def params(model):
    return np.concatenate([block.ravel() for block in model.coefs_ + model.intercepts_])


def close_but_not_equal(actual, expected):
    difference = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert 1e-6 < difference < 0.1, difference


@pytest.mark.parametrize(
    "options", [{}, {"activation": "tanh"}, {"normalization": "batch", "dropout": 0.1, "solver": "adamw"}], ids=str
)
def test_accuracy_and_losses_are_those_of_float32(digits, options):
    X, y = digits
    scores, losses = [], []
    for seed in range(3):
        for precision in (None, "bfloat16"):
            given = ALLOWED | {"max_iter": 20, "random_state": seed, "precision": precision} | options
            model = MLPClassifier(**given).fit(X[:1200], y[:1200])
            scores.append(model.score(X[1200:], y[1200:]))
            losses.append(model.loss_curve_)
    assert abs(np.mean(scores[::2]) - np.mean(scores[1::2])) < 0.01
    np.testing.assert_allclose(losses[1::2], losses[::2], rtol=0.02)
    assert losses[1::2] != losses[::2]


def test_small_networks_train_in_float32(digits):
    X, y = digits
    for small in ({"hidden_layer_sizes": 5}, {"batch_size": 20}):
        models = [
            MLPClassifier(**ALLOWED | small | {"precision": precision}).fit(X[:200], y[:200]) for precision in (None, "bfloat16")
        ]
        np.testing.assert_array_equal(*map(params, models))


@pytest.mark.parametrize(
    ("sizes", "batch_size", "pays"),
    [
        ([64, 32, 10], 100, True),
        ([64, 32, 10], 31, False),
        ([64, 22, 4], 100, False),
        ([6, 1000, 3], 100, False),
        ([64, 24], 32, True),
    ],
)
def test_where_it_pays(sizes, batch_size, pays):
    network = Network(sizes, dtype=np.float32)
    data = network.training_set(np.zeros((2, sizes[0])), np.zeros(2, int)).arrays
    assert trains_in_bfloat16("bfloat16", network.layers, data, network.dtype, batch_size) is pays
    assert trains_in_bfloat16(None, network.layers, data, network.dtype, batch_size) is False


def test_weights_are_float32_whatever_X_is(digits):
    X, y = digits
    models = [MLPClassifier(**ALLOWED).fit(given, y) for given in (X, X.astype(np.float64))]
    assert {block.dtype for model in models for block in model.coefs_} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(*map(params, models))


def test_predictions_are_those_of_float32(digits):
    X, y = digits
    model = MLPClassifier(**ALLOWED).fit(X, y)
    network = Network.from_arrays(model.coefs_, model.intercepts_)
    np.testing.assert_array_equal(model.predict_proba(X), network.forward(X))


def test_it_is_a_parameter_like_others(digits):
    X, y = digits
    model = MLPClassifier(**ALLOWED).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert clone(model).precision == copy.precision == "bfloat16"
    np.testing.assert_array_equal(params(clone(model).fit(X, y)), params(model))
    for one in (model, copy):
        one.set_params(warm_start=True, max_iter=12).fit(X, y)
    np.testing.assert_array_equal(params(copy), params(model))


def test_partial_fit_early_stopping_and_sparse_rows(digits):
    X, y = digits
    for options in ({"early_stopping": True}, {"hidden_layer_sizes": (32, 48)}):
        for rows in (X, sp.csr_array(X)):
            exact, model = (MLPClassifier(**ALLOWED | options | {"precision": p}).fit(rows, y) for p in (None, "bfloat16"))
            if rows is X or "early_stopping" not in options:
                close_but_not_equal(params(model), params(exact))
            else:  # nothing but the first layer pays
                np.testing.assert_array_equal(params(model), params(exact))
    models = [MLPClassifier(**ALLOWED | {"precision": precision}) for precision in (None, "bfloat16")]
    for model in models:
        for _ in range(3):
            model.partial_fit(X, y, classes=np.arange(10))
    close_but_not_equal(params(models[1]), params(models[0]))


def test_regressors(digits):
    X, y = digits
    exact, model = (MLPRegressor(**ALLOWED | {"precision": p}).fit(X, y / 5) for p in (None, "bfloat16"))
    close_but_not_equal(params(model), params(exact))


@pytest.mark.parametrize("make", [TabularClassifier, TabularRegressor])
def test_tabular(digits, make):
    X, y = digits
    options = {"hidden_layer_sizes": (48, 48), "max_iter": 3, "n_members": 2, "batch_size": 64, "random_state": 0}
    exact, model = (make(**options, precision=p).fit(X[:600, 20:30], y[:600]) for p in (None, "bfloat16"))
    for one, other in zip(model.members_, exact.members_, strict=True):
        close_but_not_equal(one.params, other.params)


@pytest.mark.parametrize("compiled", [True, False])
def test_models_of_layers(digits, compiled):
    X, y = digits
    found = []
    for precision in (None, "bfloat16"):
        rng = np.random.default_rng(0)
        layers = (nn.Linear(n_in, n_out, random_state=rng, dtype=np.float32) for n_in, n_out in ((64, 32), (32, 10)))
        model = nn.Sequential(next(layers), nn.GELU(), next(layers))
        history = model.fit(
            X, y, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters()), 3, 100, validation_data=(X[:50], y[:50]),
            random_state=0, precision=precision, compiled=compiled,
        )  # fmt: skip
        found.append(history["loss"] + history["val_loss"])
    np.testing.assert_allclose(found[1], found[0], rtol=0.02)
    assert (found[1] != found[0]) == compiled


def test_bad_input(digits):
    X, y = digits
    for make in (MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor):
        for wrong in ("float16", np.float32, True):
            with pytest.raises(ValueError, match=f"The 'precision' parameter of {make.__name__} must be a str among"):
                make(precision=wrong).fit(X, y)
    with pytest.raises(ValueError, match="precision='bfloat16' needs mini-batches: solver must be one of"):
        MLPClassifier(solver="lbfgs", precision="bfloat16").fit(X, y)
    double = Network([64, 32, 10])
    data = double.training_set(X, y)
    for network, precision, message in [
        (double, "bfloat16", "precision='bfloat16' is only for float32 networks; got float64"),
        (double, "half", "precision must be one of [None, 'bfloat16']; got 'half'"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            TrainingCalls(network, data, optim.Adam(network), batch_size=100, precision=precision)

"""Activations and losses of the user's own: checked when they are made, compiled or in Python, in models and estimators."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits

from fastprop import MLPClassifier, MLPRegressor, nn
from fastprop.nn.functions import mapped


def relu(z):
    return np.maximum(z, 0)


def relu_derivative(z):
    return (z > 0) * 1.0


def square(p, y):
    return (p - y) ** 2


def square_derivative(p, y):
    return 2 * (p - y)


@pytest.fixture(params=["compiled", "in Python"])
def swish(request):
    """z sigmoid(z), and its derivative."""
    value = lambda z: z / (1 + np.exp(-z))  # noqa: E731
    derivative = lambda z: (1 + np.exp(-z) + z * np.exp(-z)) / (1 + np.exp(-z)) ** 2  # noqa: E731
    if request.param == "compiled":
        njit = pytest.importorskip("numba", reason="numba is not installed").njit
        value, derivative = njit(value), njit(derivative)
    activation = nn.Activation(value, derivative, name="swish")
    assert repr(activation) == f"Activation('swish', {request.param})"
    return activation


def test_in_a_model(swish, assert_gradients, batch):
    model = nn.mlp([4, 5, 5, 3], activation=swish, random_state=0)
    assert_gradients(model, nn.SoftmaxCrossEntropy(), *batch)
    z = batch[0]
    np.testing.assert_allclose(swish(z), z / (1 + np.exp(-z)), rtol=1e-14)
    assert swish(z.astype(np.float32)).dtype == np.float32
    assert swish.backward(z.astype(np.float32)).dtype == np.float32


def test_in_fit(swish, batch):
    x, y = batch
    model = nn.mlp([4, 8, 3], activation=swish, random_state=0)
    optimizer = nn.Adam(model.parameters(), lr=0.05)
    history = model.fit(x, y, nn.SoftmaxCrossEntropy(), optimizer, epochs=100, batch_size=6, random_state=0)
    assert history["loss"][-1] < 0.1 < history["loss"][0]


def test_a_compiled_function_may_be_one_of_numbers_alone():
    njit = pytest.importorskip("numba", reason="numba is not installed").njit
    leaky = nn.Activation(njit(lambda z: z if z > 0 else 0.1 * z), njit(lambda z: 1.0 if z > 0 else 0.1), name="leaky")
    np.testing.assert_allclose(leaky(np.array([[-2.0, 3.0]])), [[-0.2, 3.0]])


@pytest.mark.parametrize(
    ("value", "derivative", "message"),
    [
        (np.sin, np.sin, r"'sin' is wrong: at 5\.4808 it is -0\.719016, finite differences of the value give 0\.694994"),
        (np.sin, lambda z: np.cos(z) * (1 + 1e-5), "the derivative of 'sin' is wrong"),
        (np.log, lambda z: 1 / z, r"the value of 'log' must be finite; at -5\.9 it is nan"),
        (np.sin, lambda z: z * np.inf, r"the derivative of 'sin' must be finite; at -5\.9 it is -inf"),
        (np.sum, np.cos, r"'sum' must return an array shaped like its argument, \(\d+,\); got \(\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log:RuntimeWarning")
def test_a_wrong_derivative_is_found_when_it_is_made(value, derivative, message):
    with pytest.raises(ValueError, match=message):
        nn.Activation(value, derivative)


def test_points_for_functions_that_are_not_defined_everywhere():
    nn.Activation(np.log, lambda z: 1 / z, points=[0.5, 1.0, 3.0])


@pytest.mark.parametrize("compiled", [True, False])
def test_a_loss_of_ones_own(compiled, rng):
    value, derivative = square, square_derivative
    if compiled:
        njit = pytest.importorskip("numba", reason="numba is not installed").njit
        value, derivative = njit(value), njit(derivative)
    ours, theirs = nn.ElementwiseLoss(value, derivative), nn.MSELoss()
    z, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    assert ours(z, y) == pytest.approx(theirs(z, y), rel=1e-14)
    np.testing.assert_allclose(ours.backward(), theirs.backward(), rtol=1e-13)
    models = [nn.mlp([2, 4, 2], random_state=0) for _ in range(2)]
    for model, loss in zip(models, (ours, theirs), strict=True):
        model.fit(z, y, loss, nn.SGD(model.parameters(), lr=0.1), epochs=5, random_state=0)
    np.testing.assert_allclose(models[0][0].weight.data, models[1][0].weight.data, rtol=1e-11)
    with pytest.raises(ValueError, match=r"the derivative of 'square, for target 0\.05' is wrong"):
        nn.ElementwiseLoss(value, lambda p, y: p - y)


DIGITS = load_digits(return_X_y=True)
X, Y = DIGITS[0][:300] / 16, DIGITS[1][:300]


def pair(estimator, **options):
    """An estimator with relu, and one with the same function as the user's own."""
    ours = estimator(hidden_layer_sizes=(12, 8), random_state=0, **options)
    return clone(ours).set_params(activation=nn.Activation(relu, relu_derivative)), ours


def assert_same(own, known, X):
    for ours, theirs in zip(own.coefs_ + own.intercepts_, known.coefs_ + known.intercepts_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    assert own.loss_ == pytest.approx(known.loss_, rel=1e-9)
    predict = "predict_proba" if hasattr(own, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(own, predict)(X), getattr(known, predict)(X), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    "options",
    [
        {"max_iter": 8},
        {"max_iter": 8, "solver": "sgd", "learning_rate_init": 0.1},
        {"max_iter": 8, "early_stopping": True},
        {"max_iter": 8, "solver": "lbfgs"},
        {"max_iter": 8, "alpha": 0.5, "batch_size": 17},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_in_a_classifier(options, form):
    own, known = pair(MLPClassifier, **options)
    known.fit(X, Y)
    own.fit(csr_array(X) if form == "sparse" else X, Y)
    assert_same(own, known, X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_in_a_regressor(loss):
    own, known = pair(MLPRegressor, max_iter=8, loss=loss)
    Z = np.stack([Y, Y % 3], axis=1)
    assert_same(own.fit(X, Z), known.fit(X, Z), X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_with_several_labels_and_sample_weights():
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    labels = np.stack([Y > 4, Y % 2 == 0], axis=1).astype(int)
    own, known = pair(MLPClassifier, max_iter=8, batch_size=10)
    assert_same(own.fit(X, labels, weight), known.fit(X, labels, weight), X)


def test_training_goes_on_after_a_pickle():
    own, known = pair(MLPClassifier)
    for estimator in (own, known):
        estimator.partial_fit(X, Y, classes=np.arange(10))
    loaded = pickle.loads(pickle.dumps(own))
    assert loaded.activation.name == "relu"
    assert_same(loaded.partial_fit(X, Y), known.partial_fit(X, Y), X)


def test_an_estimator_of_float32():
    own, _ = pair(MLPClassifier, max_iter=3)
    own.partial_fit(X.astype(np.float32), Y, classes=np.arange(10))
    assert own.coefs_[0].dtype == np.float32


def test_what_an_estimator_with_it_cannot_do():
    own, _ = pair(MLPClassifier)
    own.partial_fit(X, Y, classes=np.arange(10))
    with pytest.raises(TypeError, match=r"cannot have an activation of your own; got activation=Activation\('relu'"):
        own.to_sklearn()
    with pytest.raises(ValueError, match="The 'activation' parameter of MLPClassifier must be"):
        MLPClassifier(activation=math.tanh).fit(X, Y)


@pytest.mark.full
def test_an_estimator_without_it_does_not_load_nn():
    fit = "MLPClassifier(max_iter=999, tol=1).fit([[0.0], [1.0]], [0, 1]).predict([[1.0]])"
    code = f"import sys; from fastprop import MLPClassifier; {fit}; assert 'fastprop.nn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_at_a_kink_any_derivative_between_both_sides_is_right():
    def relu(z):
        return np.maximum(z, 0)

    for at_zero in (0.0, 0.3, 1.0):
        nn.Activation(relu, lambda z, at_zero=at_zero: np.where(z == 0, at_zero, z > 0), points=[-1, 0, 1e-5, 1])
        nn.ElementwiseLoss(
            lambda p, y: np.abs(p - y), lambda p, y, at_zero=at_zero: np.where(p == y, at_zero, np.sign(p - y)), points=[0.05, 0.95]
        )
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"wrong: at 0 it is {wrong}, .* give 0 from the left and 1 from the right"):
            nn.Activation(relu, lambda z, wrong=wrong: np.where(z == 0, wrong, z > 0), points=[-1, 0, 1])


def test_points_of_any_shape_and_memory_order():
    njit = pytest.importorskip("numba", reason="numba is not installed").njit
    points = np.arange(6.0).reshape(2, 3).T
    square = njit(lambda z: z * z)
    nn.Activation(square, njit(lambda z: 2 * z), points=points)
    np.testing.assert_array_equal(mapped(square, points), points**2)
    with pytest.raises(ValueError, match="at 5 it is 15, finite differences of the value give 10"):
        nn.Activation(square, njit(lambda z: 3 * z), points=points)

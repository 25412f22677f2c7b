"""Jacobians, Hessians and Jacobian-vector products by differences, against analytic ones."""

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import hessian, jacobian, jvp, numerical_gradient, softmax_jacobian


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def through_backward(model, out, x):
    """The Jacobian of the last forward of a model, from one backward for each output."""
    rows = [model.backward(one.reshape(out.shape)) for one in np.eye(out.size)]
    return np.reshape(rows, out.shape + x.shape)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_shapes_are_those_of_the_output_and_of_x(rng):
    x = rng.normal(size=(2, 3))
    A = rng.normal(size=(4, 5, 2, 3))
    np.testing.assert_allclose(jacobian(lambda x: np.tensordot(A, x), x), A, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(jvp(lambda x: np.tensordot(A, x), x, x), np.tensordot(A, x), rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(jacobian(lambda x: (x**3).sum(), x), numerical_gradient(lambda x: (x**3).sum(), x))
    assert jacobian(np.exp, 0.0) == pytest.approx(1, rel=1e-9)
    assert jacobian(lambda x: np.ones((4, 5)) * x.sum(), np.zeros((0, 3))).shape == (4, 5, 0, 3)
    assert jacobian(lambda x: [], x).shape == (0, 2, 3)
    assert hessian(lambda x: 0.0, np.zeros((0, 3))).shape == (0, 3, 0, 3)


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x[::-1], lambda x: x.T, lambda x: x[0]], ids=["x", "reversed", "x.T", "x[0]"])
def test_a_function_may_return_its_argument_or_a_view_of_it(f, rng):
    x = rng.normal(size=(3, 3))
    expected = np.reshape([f(one.reshape(3, 3)) for one in np.eye(9)], (9, -1)).T.reshape(f(x).shape + x.shape)
    np.testing.assert_allclose(jacobian(f, x), expected, atol=1e-9)
    np.testing.assert_allclose(jvp(f, x, x), f(x), rtol=1e-9)


def test_softmax_jacobian(rng):
    z = rng.normal(size=(3, 5))
    p = softmax(z)
    J = softmax_jacobian(z)
    for row in range(3):
        np.testing.assert_allclose(J[row], np.diag(p[row]) - np.outer(p[row], p[row]), rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(J[row], jacobian(softmax, z[row]), atol=1e-10)
        np.testing.assert_array_equal(softmax_jacobian(list(z[row])), J[row])
    whole = jacobian(nn.Softmax(), z)  # the rows do not depend on each other
    assert whole.shape == (3, 5, 3, 5)
    np.testing.assert_allclose(whole, np.einsum("nij,nm->nimj", J, np.eye(3)), atol=1e-10)
    np.testing.assert_allclose(softmax_jacobian([1e4, 0.0]), 0, atol=1e-300)
    assert softmax_jacobian(z.astype(np.float32)).dtype == np.float32
    assert softmax_jacobian([[1, 2]]).dtype == np.float64
    for bad, shape in ((1.0, r"\(\)"), (np.ones((2, 0)), r"\(2, 0\)"), (np.ones((1, 2, 3)), r"\(1, 2, 3\)")):
        with pytest.raises(ValueError, match=rf"logits must have shape .*; got {shape}"):
            softmax_jacobian(bad)


MODELS = {
    "Sequential": nn.Sequential(
        nn.Linear(3, 4, activation="tanh", random_state=0),
        nn.Residual(nn.Linear(4, 4, activation="gelu", random_state=1)),
        nn.LayerNorm(4),
    ),
    "BatchNorm1d": nn.Sequential(nn.Linear(3, 2, random_state=0), nn.BatchNorm1d(2)),
    "Highway": nn.Highway(3, random_state=2),
}
_x = nn.Input()
MODELS["Graph"] = nn.Graph(_x, nn.Tanh()(_x) * nn.Linear(3, 3, random_state=3)(_x) + _x)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_modules(model, rng):
    x, v = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    J = through_backward(model, model(x), x)
    np.testing.assert_allclose(jacobian(model, x), J, atol=1e-9)
    np.testing.assert_allclose(jvp(model, x, v), np.tensordot(J, v), atol=1e-9)


def test_a_module_draws_the_same_numbers_each_time_and_stays_as_it_was(rng):
    model = nn.Sequential(nn.Dropout(0.5, random_state=0), nn.BatchNorm1d(2))
    x = rng.normal(size=(5, 2))
    expected, saved, mean = through_backward(model, model(x), x), model[1]._saved, model[1].running_mean.copy()
    np.testing.assert_allclose(jacobian(model, x), expected, atol=1e-8)
    np.testing.assert_allclose(jvp(model, x, x), np.tensordot(expected, x), atol=1e-8)
    assert (expected == 0).all(axis=(0, 1)).any()  # what was dropped
    assert model[1]._saved is saved
    assert (model[0].n_forwards, model[0].recomputing, model.training) == (1, False, True)
    np.testing.assert_array_equal(model[1].running_mean, mean)
    model.eval()
    scale = 1 / np.sqrt(model[1].running_var + model[1].eps)
    np.testing.assert_allclose(jacobian(model, x), np.einsum("nm,ij->nimj", np.eye(5), np.diag(scale)), atol=1e-9)


def test_hessian(rng):
    A = rng.normal(size=(6, 6))
    x = rng.normal(size=(2, 3))
    H = hessian(lambda x: x.ravel() @ A @ x.ravel() / 2 + np.sin(x).sum(), x)
    expected = (A + A.T) / 2 - np.diag(np.sin(x.ravel()))
    np.testing.assert_allclose(H, expected.reshape(2, 3, 2, 3), atol=1e-7)
    steep = hessian(lambda x: np.exp(1.1 * x[0] + 2.3 * x[1] + x[0] * x[2]), [0.1, 0.2, 0.3], h=0.3)
    np.testing.assert_array_equal(steep, steep.T)


def test_hessian_of_the_mean_squared_error_of_a_linear_layer(rng):
    X, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 1))
    layer, loss = nn.Linear(3, 1, random_state=0), nn.MSELoss()

    def value(weight):
        layer.weight.data = weight
        return loss(layer(X), y)

    H = hessian(value, layer.weight.data)
    assert H.shape == (3, 1, 3, 1)
    np.testing.assert_allclose(H[:, 0, :, 0], 2 * X.T @ X / 7, rtol=1e-6, atol=1e-7)


def test_hessian_of_a_graph():
    x, y = nn.Input(), nn.Input()
    graph = nn.Graph([x, y], x * x * y)
    np.testing.assert_allclose(hessian(lambda v: graph(*v), [2.0, 3.0]), [[6, 4], [4, 0]], atol=1e-6)


def test_a_long_or_short_direction_is_as_exact():
    x = np.array([0.3, -0.7])
    for length in (1e-6, 1.0, 1e6):
        v = length * np.array([1.0, 2.0])
        np.testing.assert_allclose(jvp(np.sin, x, v), np.cos(x) * v, rtol=1e-8)
    np.testing.assert_array_equal(jvp(np.sin, x, [0, 0]), [0, 0])


def test_kinks():
    """The mean of both sides, and a second difference that depends on the step."""
    relu = nn.ReLU()
    np.testing.assert_allclose(jacobian(relu, [[0.0, 1.0, -1.0]])[0, :, 0], np.diag([0.5, 1, 0]), atol=1e-9)
    np.testing.assert_allclose(jvp(relu, [[0.0, 1.0, -1.0]], [[2.0, 2.0, 2.0]]), [[1, 2, 0]], atol=1e-9)
    for h in (1e-3, 1e-4):
        assert hessian(abs, 0.0, h=h) == pytest.approx(1 / h)
    assert hessian(abs, 0.5) == pytest.approx(0, abs=1e-6)


def test_the_step():
    for function in (jacobian, lambda f, x, h: jvp(f, x, x, h), lambda f, x, h: hessian(lambda x: f(x).sum(), x, h)):
        exact = function(lambda x: x**2, [3.0, 1.0], 0.5)  # central differences are exact for a parabola
        np.testing.assert_allclose(function(lambda x: x**2, [3.0, 1.0], 1e-4), exact, atol=1e-6)
        for h in (0, -1e-5, np.nan):
            with pytest.raises(ValueError, match="h must be above 0; got"):
                function(lambda x: x**2, [3.0, 1.0], h)
    # f(x) = x^3: (f(1 + h) - f(1 - h)) / (2 h) = 3 + h^2
    assert jacobian(lambda x: x**3, 1.0, h=0.5) == 3.25


def test_errors(rng):
    x = rng.normal(size=(2, 3))
    with pytest.raises(ValueError, match=r"v must have the shape of x, \(2, 3\); got \(3,\)"):
        jvp(np.sin, x, np.ones(3))
    with pytest.raises(TypeError, match="f must compute in float64 for central differences; f\\(x\\) is float32"):
        jacobian(nn.Linear(3, 2, dtype=np.float32), x)
    with pytest.raises(TypeError, match=r"x must be an array of real numbers; got dtype complex128"):
        jacobian(np.sin, [1j])
    with pytest.raises(TypeError, match=r"v must be an array of real numbers; got dtype complex128"):
        jvp(np.sin, [1.0], [1j])
    with pytest.raises(TypeError, match=r"f\(x\) must be an array of real numbers; got dtype complex128"):
        jacobian(lambda x: 1j * x, [1.0])
    with pytest.raises(ValueError, match=r"f must return a number; got an array of shape \(2, 3\)"):
        hessian(np.sin, x)
    with pytest.raises(ValueError, match=r"layer '0', Linear\(4, 2\): x must have shape \(n, 4\); got \(2, 3\)"):
        jacobian(nn.Sequential(nn.Linear(4, 2)), x)
    frozen = x.copy()
    frozen.setflags(write=False)
    before = frozen.copy()
    jacobian(np.sin, frozen), jvp(np.sin, frozen, frozen), hessian(lambda x: x.sum(), frozen)
    np.testing.assert_array_equal(frozen, before)

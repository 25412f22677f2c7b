"""Systems 1 to 10: the mathematics of one layer, one loss, one network, and the check of its gradients."""

import numpy as np
import pytest

from fastprop import kernels, nn
from fastprop.inspection import ActivationDisplay, check_gradients, numerical_gradient, trace_forward


def test_s01_numerical_gradient(figure, rng):
    x = rng.normal(size=(3, 4))
    gradient = numerical_gradient(lambda v: (np.sin(v) ** 2).sum(), x, h=1e-5)
    error = np.abs(gradient - np.sin(2 * x)).max()
    figure("largest error of the central differences", f"{error:.1e}")
    assert error < 1e-9
    for array in (np.asfortranarray(x), x.T, x[::2, ::-3], x.astype(">f8"), np.broadcast_to(x[0], (2, 4))):
        before = array.copy()
        gradient = numerical_gradient(lambda v: (np.sin(v) ** 2).sum(), array)
        np.testing.assert_allclose(gradient, np.sin(2 * array), atol=1e-9)
        np.testing.assert_array_equal(array, before)


def test_s02_matrix_multiply(rng):
    x, w, dz = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    zero = np.zeros(3)
    z = kernels.linear_forward(x, w, zero)
    dx, dw, _ = kernels.linear_backward(dz, x, w, z)
    np.testing.assert_allclose(z, x @ w, rtol=1e-13)
    np.testing.assert_allclose(dx, dz @ w.T, rtol=1e-12)
    np.testing.assert_allclose(dw, x.T @ dz, rtol=1e-12)
    by_differences = numerical_gradient(lambda v: (kernels.linear_forward(x, v, zero) * dz).sum(), w)
    np.testing.assert_allclose(dw, by_differences, rtol=1e-8)


def test_s03_activations(figure):
    z = np.array([[-1e300, -745.0, -1.0, 0.0, 1.0, 745.0, 1e300]])
    sigmoid, tanh = [0, 0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1, 1], np.tanh(z[0])
    expected = {
        "identity": (z[0], np.ones(7)),
        "relu": (np.maximum(z[0], 0), [0, 0, 0, 0, 1, 1, 1]),  # the derivative at 0 is 0
        "sigmoid": (sigmoid, np.multiply(sigmoid, 1 - np.array(sigmoid))),
        "tanh": (tanh, 1 - tanh**2),
    }
    for name, (value, derivative) in expected.items():
        a = kernels.activation_forward(z, name)
        np.testing.assert_allclose(a[0], value, rtol=1e-14, atol=1e-300, err_msg=name)
        np.testing.assert_allclose(kernels.activation_backward(np.ones_like(z), a, name)[0], derivative, rtol=1e-12, atol=1e-15)
    grid = np.linspace(-10, 10, 2001)[None]
    slope = kernels.activation_backward(np.ones_like(grid), kernels.activation_forward(grid, "sigmoid"), "sigmoid")
    figure("largest derivative of sigmoid", slope.max())
    assert slope.max() == 0.25
    assert grid[0, slope.argmax()] == pytest.approx(0, abs=1e-12)
    matplotlib = pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    matplotlib.use("Agg")
    display = ActivationDisplay.from_activation("sigmoid")
    np.testing.assert_allclose(display.lines_[1].get_ydata().max(), 0.25)


def test_s04_softmax_and_cross_entropy(figure):
    logits, labels = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), np.array([2, 0])
    loss = nn.SoftmaxCrossEntropy()
    value = loss(logits, labels)
    figure("worked case, loss in nats", f"{value:.10f}")
    assert value == pytest.approx(np.log(1 + np.exp(-1) + np.exp(-2)), rel=1e-14)
    p, y = loss.outputs, np.eye(3)[labels]
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(loss.backward(), (p - y) / 2, rtol=1e-14)
    np.testing.assert_allclose(loss.backward(), numerical_gradient(lambda z: loss(z, labels), logits), rtol=1e-7)
    assert loss(logits, y) == pytest.approx(value, rel=1e-15)  # one-hot
    soft = np.full((2, 3), 1 / 3)
    assert loss(logits, soft) == pytest.approx(value + 1, rel=1e-14)  # the mean of the logits instead of the largest
    assert loss(logits + 1e4, labels) == pytest.approx(value, rel=1e-9)  # the maximum of the row is subtracted


def test_s05_softmax_backward(rng):
    z, dp = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    softmax = nn.Softmax()
    p = softmax(z)
    dz = softmax.backward(dp)
    for row in range(4):
        jacobian = np.diag(p[row]) - np.outer(p[row], p[row])
        np.testing.assert_allclose(dz[row], jacobian @ dp[row], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dz, numerical_gradient(lambda v: (softmax(v) * dp).sum(), z), rtol=1e-6, atol=1e-10)


def test_s06_mean_squared_error_and_a_single_neuron(figure, rng):
    prediction, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    loss = nn.MSELoss()
    assert loss(prediction, y) == pytest.approx(((prediction - y) ** 2).mean(), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), 2 * (prediction - y) / 6, rtol=1e-14)

    neuron, x = nn.Linear(3, 1, activation="sigmoid"), np.array([[1.0, 2.0, 3.0]])
    neuron.weight.data, neuron.bias.data = [[0.5], [-0.5], [0.2]], [0.1]
    value = loss(neuron(x), [0.8])
    neuron.backward(loss.backward())
    figure("loss of the neuron", f"{value:.10f}")
    figure("its gradient by w and b", f"{neuron.weight.grad[:, 0].round(6)}, {neuron.bias.grad[0]:.6f}")

    def by_hand(w_and_b):
        return (1 / (1 + np.exp(-(x[0] @ w_and_b[:3] + w_and_b[3]))) - 0.8) ** 2

    point = [0.5, -0.5, 0.2, 0.1]
    assert value == pytest.approx(by_hand(np.array(point)), rel=1e-14)
    gradient = np.append(neuron.weight.grad[:, 0], neuron.bias.grad)
    np.testing.assert_allclose(gradient, numerical_gradient(by_hand, point), rtol=1e-8)


def test_s07_linear_layer(figure, rng):
    layer = nn.Linear(400, 300, random_state=0)
    spread = layer.weight.data.var() * 400
    figure("variance of He's weights, times n_in", f"{spread:.4f}")
    assert spread == pytest.approx(2, rel=0.02)
    assert abs(layer.weight.data.mean()) < 4 * np.sqrt(2 / 400 / layer.weight.size)
    assert not layer.bias.data.any()
    x, dz = rng.normal(size=(7, 400)), rng.normal(size=(7, 300))
    layer(x)
    dx = layer.backward(dz)  # the input was kept by the forward
    np.testing.assert_allclose(dx, dz @ layer.weight.data.T, rtol=1e-10)
    np.testing.assert_allclose(layer.weight.grad, x.T @ dz, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(layer.bias.grad, dz.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_s08_two_layer_networks(activation, figure, rng):
    for sizes in ([4, 8, 3], [784, 128, 10]):
        model, loss = nn.mlp(sizes, activation, random_state=0), nn.SoftmaxCrossEntropy()
        x, y = rng.normal(size=(6, sizes[0])), rng.integers(0, sizes[-1], 6)
        loss(model(x), y)
        model.backward(loss.backward())
        triples = [(name, p.data, p.grad) for name, p in model.named_parameters()]
        assert [name for name, _, _ in triples] == ["0.weight", "0.bias", "1.weight", "1.bias"]
        assert all(p.shape == g.shape and g.any() for _, p, g in triples)
        check = check_gradients(model, loss, x, y, n_elements=40)
        worst = max(row.relative_error for row in check.rows)
        figure(f"{'-'.join(map(str, sizes))}, {activation}: largest relative error", f"{worst:.1e}")
        assert check.verdict == "correct"


def test_s09_deep_networks_and_xor(figure, rng):
    for sizes in ([10, 20, 20, 20, 20, 5], [784, 128, 64, 10]):
        model, a = nn.mlp(sizes, random_state=0), rng.normal(size=(2, sizes[0]))
        trace = trace_forward(model, a)  # z and a of each layer, without a loss
        assert len(trace.layers) == len(sizes)  # and the model itself
        for i, layer in enumerate(model):
            z = a @ layer.weight.data + layer.bias.data
            a = np.maximum(z, 0) if i < len(model) - 1 else z  # the last layer has no activation
            np.testing.assert_allclose(trace[i].z, z, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(trace[i].a, a, rtol=1e-10, atol=1e-12)
            assert trace[i].z.shape == trace[i].a.shape == (2, sizes[i + 1])
        figure(f"{'-'.join(map(str, sizes))}: layers with z and a", len(sizes) - 1)

    X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    solved = []
    for seed in range(20):
        model = nn.mlp([2, 4, 2], random_state=seed)
        optimizer = nn.SGD(model.parameters(), lr=0.5)
        model.fit(X, y, nn.SoftmaxCrossEntropy(), optimizer, epochs=5000, batch_size=4, compiled=True)
        solved.append(bool((model(X).argmax(axis=1) == y).all()))
    figure("XOR, 2-4-2, ReLU, lr 0.5, 5000 steps: seeds of 20 that reach 100 %", sum(solved))
    assert sum(solved) >= 10


def test_s10_gradient_check_of_a_whole_model(figure, rng):
    layers = nn.Linear(4, 8, random_state=0), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2, random_state=0), nn.Linear(8, 3)
    model = nn.Sequential(*layers)
    X, y, loss = rng.normal(size=(9, 4)), rng.integers(0, 3, 9), nn.SoftmaxCrossEntropy()
    check = check_gradients(model, loss, X, y)
    # The gradient by a bias in front of a batch normalisation is zero: there is nothing to be relative to.
    errors = {row.name: row.relative_error for row in check.rows if row.name != "0.bias"}
    figure("largest relative error of a parameter", f"{max(errors.values()):.1e}")
    assert check.verdict == "correct"
    assert max(errors.values()) < 1e-7
    assert max(row.max_difference for row in check.rows) < 1e-9

    class Wrong(nn.Tanh):
        factor = 1.0

        def backward(self, dout, accumulate=False):
            return self.factor * super().backward(dout, accumulate)

    for factor, verdict in ((1 + 1e-6, "correct"), (1 + 2e-4, "look again"), (1.01, "bug")):
        wrong = Wrong()
        wrong.factor = factor
        assert check_gradients(nn.Sequential(model[0], wrong, model[4]), loss, X, y).verdict == verdict
    with pytest.raises(AssertionError, match=r"0\.weight .* bug"):
        check_gradients(nn.Sequential(model[0], wrong, model[4]), loss, X, y, raise_on="bug")

    class Hinge:
        """A loss of the user's own, which derives from nothing."""

        def __call__(self, outputs, y):
            self.margin, self.y = 1 - outputs * y, y
            return np.maximum(self.margin, 0).mean()

        def backward(self):
            return np.where(self.margin > 0, -self.y, 0) / self.y.size

    class Product(nn.Module):
        """A module of two inputs with a parameter."""

        def __init__(self):
            self.scale = nn.Parameter(np.array([1.0, -2.0]))

        def forward(self, a, b):
            self.inputs = a, b
            return self.scale.data * a * b

        def backward(self, dout, accumulate=False):
            a, b = self.inputs
            self.scale.grad = (dout * a * b).sum(axis=0)
            return self.scale.data * dout * b, self.scale.data * dout * a

    a, b = nn.Input(), nn.Input()
    graph = nn.Graph([a, b], Product()(nn.Linear(4, 2, random_state=0)(a), nn.Linear(3, 2, random_state=1)(b)))
    several = np.asfortranarray(X), rng.normal(size=(18, 3))[::2]
    check = check_gradients(graph, Hinge(), several, np.where(rng.normal(size=(9, 2)) > 0, 1.0, -1.0))
    assert check.verdict == "correct"
    assert [row.name for row in check.rows][-3:] == ["2.scale", "X[0]", "X[1]"]

    # A row of zeros and zero biases are at the kinks of relu: it is named, and is no bug.
    check = check_gradients(nn.mlp([4, 3, 3], random_state=0), loss, X * (np.arange(9) > 0)[:, None], y)
    assert check.verdict == "kink"
    assert [str(kink) for kink in check.kinks] == ["layer '0', Linear: units 0, 1, 2 in row 0"]

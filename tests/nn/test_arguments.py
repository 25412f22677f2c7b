"""Arguments in another form than they must have: what can be understood is, and for all else the error says what to write."""

import copy
import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastprop import nn
from fastprop.inspection import GradientFlow, check_gradients, gradient_flow, trace_step

X, Y = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 1, 2, 0, 1, 2])


def model():
    return nn.mlp([4, 5, 3], random_state=0)


def fit(X=X, y=Y, loss=None, optimizer=None, model=None, **options):
    model = nn.mlp([4, 5, 3], random_state=0) if model is None else model
    loss = nn.SoftmaxCrossEntropy() if loss is None else loss
    before = model.state_dict()
    optimizer = nn.SGD(model.parameters(), lr=0.1) if optimizer is None else optimizer
    try:
        return model.fit(X, y, loss, optimizer, epochs=1, **options)
    except Exception:
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        raise


class NoBackward(nn.Module):
    def forward(self, x):
        return x


class OneArgument(NoBackward):
    def backward(self, dout):
        return dout


def with_last(layer):
    return nn.Sequential(nn.Linear(4, 3, random_state=0), layer)


SGD = nn.SGD(model().parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(loss=nn.MSELoss), r"loss must be a loss, .*; got the class MSELoss, .*: write nn\.MSELoss\(\)$"),
        (lambda: fit(loss="mse"), r"loss must be a loss, such as nn\.MSELoss\(\); got the string 'mse'$"),
        (lambda: fit(loss="cross_entropy"), r"loss must be a loss, such as nn\.SoftmaxCrossEntropy\(\); got the string"),
        (lambda: fit(loss=np.square), r"loss must be .*; got function square: write nn\.ElementwiseLoss\(square, derivative\)"),
        (lambda: fit(loss=nn.Softmax()), r"loss must be a loss, such as nn\.MSELoss\(\); got Softmax\(\)"),
        (lambda: fit(optimizer=nn.Adam), r"optimizer must be .*; got the class Adam, .*: write nn\.Adam\(model\.parameters\(\)\)$"),
        (lambda: fit(optimizer="sgd"), r"optimizer must be .*, such as nn\.SGD\(model\.parameters\(\)\); got the string 'sgd'$"),
        (lambda: fit(loss=SGD, optimizer=nn.MSELoss()), r"loss and optimizer are swapped; write fit\(X, y, loss, optimizer\)"),
        (lambda: fit(nn.MSELoss(), SGD, X, Y), r"the order of the arguments is fit\(X, y, .*\); got MSELoss\(\) as X and SGD\("),
        (lambda: fit(Y, X), r"X and y are swapped, or X has no columns; got shapes \(6,\) and \(6, 4\)"),
        (lambda: fit(X[:, 0]), r"X must have shape \(n, n_in\), a row per sample; got \(6,\); .*X\.reshape\(-1, 1\)"),
        (lambda: fit(clip_norm="a"), r"clip_norm must be above 0, or None; got 'a'"),
        (lambda: fit(callback="print"), r"callback must be a function of \(epoch, history\); got the string 'print'"),
        (lambda: fit(validation_data=(X, Y, Y)), r"validation_data must be a pair \(X, y\); got a tuple of length 3"),
        (lambda: fit(flow=GradientFlow(model())), r"flow must be a GradientFlow of this model; got GradientFlow$"),
        (lambda: fit(None), r"X must be an array with a row for each sample; got None"),
        (lambda: fit([X, X[:, :2]]), r"X must be an array, or a tuple with an array for each input; got a list of length 2"),
        (lambda: fit(y=(X, X[:, :2])), r"y must be an array; got a tuple of length 2"),
        (lambda: fit(()), r"X must have an array for each input; got an empty tuple"),
        (lambda: fit(y=csr_array(X)), r"y must be an array with a row for each sample; got csr_array"),
        (lambda: nn.MSELoss()((X, Y), X), r"MSELoss\(\): outputs must be one array; got 2, .* a model with several outputs"),
        (lambda: fit(model=with_last(NoBackward())), r"layer '1', NoBackward: has no backward; define backward\(self, dout, acc"),
        (lambda: fit(model=with_last(OneArgument())), r"layer '1', OneArgument: backward must be .*; got backward\(dout\)"),
        (
            lambda: with_last(NoBackward()).backward(X),
            r"NoBackward has no backward; define backward\(self, dout, accumulate=False\)",
        ),
        (lambda: nn.Module()(X), r"Module has no forward; define forward\(self, x\)"),
        (lambda: nn.MSELoss()(model(), Y), r"MSELoss\(\): outputs must be what the model returns.*; write loss\(model\(X\), y\)"),
        (lambda: nn.SoftmaxCrossEntropy()(Y, model()(X)), r"outputs and y are swapped: write loss\(outputs, y\); got \(6,\) and"),
        (lambda: model()(nn.ReLU), r"x must be an array of real numbers; got the class ReLU, .*: write nn\.ReLU\(\)"),
        (lambda: model()(model()), r"x must be an array of real numbers; got Sequential"),
        (lambda: check_gradients(nn.MSELoss(), model(), X, Y), r"model and loss are swapped; write the model first"),
        (
            lambda: check_gradients(X, model(), nn.MSELoss(), Y),
            r"the order .* is model, loss, X, y; got an array of shape \(6, 4\)",
        ),
        (
            lambda: check_gradients(nn.Linear, nn.MSELoss(), X, Y),
            r"model must be .*; got the class Linear, .*: write nn\.Linear\(\.\.\.",
        ),
        (lambda: check_gradients(model(), nn.MSELoss, X, Y), r"loss must be .*; got the class MSELoss"),
        (lambda: check_gradients(with_last(NoBackward()), nn.MSELoss(), X, Y), r"layer '1', NoBackward: has no backward"),
        (lambda: trace_step(model(), "mse", X, Y), r"loss must be a loss, such as nn\.MSELoss\(\); got the string 'mse'"),
        (lambda: gradient_flow(nn.MSELoss(), model(), X, Y), r"model and loss are swapped"),
        (lambda: nn.mlp([4, 3, 2], np.tanh), r"activation must be one of .*; got function tanh: write nn\.Tanh\(\)"),
        (lambda: nn.mlp([4, 3, 2], math.exp), r"activation must be .*; got function exp: write nn\.Activation\(exp, derivative\)"),
        (lambda: nn.mlp([4, 3, 2], "ReLU"), r"activation must be one of .*; got 'ReLU'; write 'relu'$"),
        (lambda: nn.mlp([4, 3, 2], "logistic"), r"activation must be one of .*; got 'logistic'; write 'sigmoid'$"),
        (lambda: nn.mlp([4, 3, 2], nn.Activation), r"activation must be .*; got the class Activation, .*: write nn\.Activation\("),
        (
            lambda: nn.Linear(4, 3, activation=nn.Softmax()),
            r"activation must be .*: write nn\.Sequential\(nn\.Linear\(.*got Softmax",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU), r"layer 1 must be a Module; got the class ReLU, .*: write nn\.ReLU\(\)"),
        (lambda: nn.Sequential(nn.Linear(4, 3), np.tanh), r"layer 1 must be a Module; got function tanh: write nn\.Tanh\(\)"),
        (lambda: nn.Sequential("relu"), r"layer 0 must be a Module; got the string 'relu'"),
        (
            lambda: nn.Activation(lambda z: z if z > 0 else 0 * z, np.sign),
            r"'<lambda>' is called with whole arrays; write np\.where\(condition, a, b\) for `a if condition else b`",
        ),
        (lambda: nn.Activation(lambda z: math.exp(z), np.exp), r"is called with whole arrays; write .* np\.exp for math\.exp"),
        (
            lambda: nn.ElementwiseLoss(lambda p, y: p - y if p > y else y - p, np.sign),
            r"'<lambda>' is called with whole arrays; write np\.where",
        ),
    ],
)
def test_errors_say_what_to_write(call, message):
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=message):
        call()


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU])
def test_layers_in_the_place_of_an_activations_name(activation):
    plain = nn.mlp([4, 5, 3], "relu", random_state=0)
    assert repr(nn.mlp([4, 5, 3], activation, random_state=0)) == repr(plain)
    assert nn.Linear(4, 5, activation=activation).activation == "relu"


def test_a_layer_of_ones_own_as_activation_is_copied_for_each_place():
    class Scale(nn.Module):
        def __init__(self):
            self.factor = nn.Parameter(np.ones(1))

    net = nn.mlp([4, 5, 5, 3], scale := Scale())
    assert [type(layer).__name__ for layer in net] == ["Linear", "Scale", "Linear", "Scale", "Linear"]
    assert scale not in list(net)


def test_arrays_assigned_to_a_parameter_are_copied_into_it():
    layer = nn.Linear(4, 3, random_state=0)
    parameter, values = layer.weight, np.ones((4, 3))
    layer.weight, layer.bias = values, [1, 2, 3]
    values[...] = 7
    assert layer.weight is parameter
    np.testing.assert_array_equal(layer(np.ones(4)), [5, 6, 7])
    optimizer = nn.SGD([parameter], lr=1.0)
    layer.weight.grad = np.ones((4, 3))
    optimizer.step()
    assert not layer.weight.data.any()
    layer.weight -= 0.5 * layer.weight.grad
    np.testing.assert_array_equal(parameter.data, np.full((4, 3), -0.5))
    with pytest.raises(ValueError, match=r"Linear\.weight: data of this parameter must have shape \(4, 3\); got \(3, 4\)"):
        layer.weight = values.T
    with pytest.raises(TypeError, match=r"Linear\.weight: data must be an array of real numbers; got dtype"):
        layer.weight = "he_normal"
    np.testing.assert_array_equal(parameter.data, np.full((4, 3), -0.5))


def test_parameters_are_arrays_for_numpy():
    layer = nn.Linear(4, 3, random_state=0)
    assert np.asarray(layer.weight) is layer.weight.data
    assert np.array(layer.weight) is not layer.weight.data
    assert np.asarray(layer.weight, np.float32).dtype == np.float32
    np.testing.assert_allclose(X @ layer.weight + layer.bias, layer(X), rtol=1e-13)


def test_gradients_of_another_shape_say_what_was_forgotten():
    layer = nn.Linear(4, 3)
    with pytest.raises(ValueError, match=r"grad .* shape \(4, 3\); got \(3, 4\), the shape of the transposed gradient"):
        layer.weight.grad = np.ones((3, 4))
    with pytest.raises(
        ValueError, match=r"grad .* shape \(3,\); got \(6, 3\), .* the batch sum is missing, sum\(axis=0\) over the 6"
    ):
        layer.bias.grad = np.ones((6, 3))


LAYERS = {
    "linear": lambda: nn.Linear(4, 4, activation="silu", random_state=0),
    "activation": nn.Tanh,
    "softmax": nn.Softmax,
    "own": lambda: nn.Activation(np.sin, np.cos),
    "dropout": lambda: nn.Dropout(0.5, random_state=0),
    "norm": lambda: nn.LayerNorm(4),
    "residual": lambda: nn.Residual(nn.Linear(4, 4, random_state=1)),
    "highway": lambda: nn.Highway(4, random_state=0),
    "dense": lambda: nn.DenseConcat([nn.Linear(4, 2, random_state=0)]),
    "checkpoint": lambda: nn.Checkpoint(nn.Linear(4, 4, random_state=1)),
    "sequential": lambda: nn.mlp([4, 3, 2], random_state=0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_one_row_is_a_batch_of_one(name):
    one, many = LAYERS[name](), LAYERS[name]()
    x = X[0]
    a, rows = one(x), many(x[None])
    assert a.ndim == 1
    np.testing.assert_array_equal(a, rows[0])
    dx = one.backward(np.arange(len(a)) - 1.0)
    np.testing.assert_array_equal(dx, many.backward(np.arange(len(a))[None] - 1.0)[0])
    assert dx.shape == x.shape
    for p, q in zip(one.parameters(), many.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
    assert one.eval()(x.tolist()).shape == a.shape


def test_batch_norm_of_one_row_in_evaluation():
    norm = nn.BatchNorm1d(4)
    assert norm.eval()(X[0]).shape == (4,)


@pytest.mark.parametrize(
    ("loss", "y", "rows"),
    [
        (nn.SoftmaxCrossEntropy(), 2, [2]),
        (nn.SoftmaxCrossEntropy(), [2], [2]),
        (nn.SoftmaxCrossEntropy(), [0, 0, 1], [2]),
        (nn.BinaryCrossEntropy(), [1, 0, 1], [[1, 0, 1]]),
        (nn.MSELoss(), [1.0, 2.0, 3.0], [[1.0, 2.0, 3.0]]),
        (nn.ElementwiseLoss(lambda p, y: (p - y) ** 2, lambda p, y: 2 * (p - y)), [1.0, 2.0, 3.0], [[1.0, 2.0, 3.0]]),
    ],
)
def test_losses_of_one_row(loss, y, rows):
    outputs = X[0, :3]
    value = loss(outputs, y)
    one, probabilities = loss.backward(), loss.outputs
    assert (one.shape, probabilities.shape) == ((3,), (3,))
    other = copy.copy(loss)
    assert other(outputs[None], rows) == value
    np.testing.assert_array_equal(other.backward()[0], one)
    assert other.backward().shape == (1, 3)


def test_the_texts_single_neuron_in_plain_arrays():
    neuron, loss = nn.Linear(3, 1, activation="sigmoid"), nn.MSELoss()
    neuron.weight, neuron.bias = [[0.5], [-0.5], [0.2]], [0.1]
    value = loss(neuron([1.0, 2.0, 3.0]), 0.8)
    assert value == pytest.approx((1 / (1 + np.exp(-0.2)) - 0.8) ** 2)
    assert neuron.backward(loss.backward()).shape == (3,)
    with pytest.raises(nn.ShapeError, match=r"x must have shape \(n, 3\); got \(2,\)"):
        neuron([1.0, 2.0])


class SquaredError:
    """A loss that derives from nothing."""

    def __call__(self, outputs, y):
        self.error = outputs - y
        return (self.error**2).mean()

    def backward(self):
        return 2 * self.error / self.error.size


class Margin(nn.Loss):
    """A loss of labels, with its own call and backward alone."""

    def __call__(self, outputs, y):
        self.rows, self.y = np.arange(len(y)), y
        self.wrong = outputs - outputs[self.rows, y][:, None] + 1 > 0
        return float(np.where(self.wrong, outputs - outputs[self.rows, y][:, None] + 1, 0).sum() / len(y))

    def backward(self):
        gradient = self.wrong.astype(float)
        gradient[self.rows, self.y] -= self.wrong.sum(axis=1)
        return gradient / len(self.rows)


@pytest.mark.parametrize(("loss", "y"), [(SquaredError(), np.eye(3)[Y]), (Margin(), Y)])
def test_losses_of_ones_own_need_call_and_backward_alone(loss, y):
    net = model()
    assert check_gradients(net, loss, X, y).verdict == "correct"
    history = net.fit(X, y, loss, nn.SGD(net.parameters(), lr=0.05), epochs=20, random_state=0)
    assert history["loss"][-1] < history["loss"][0]


def test_one_number_for_each_sample_goes_into_a_graph():
    """Also in a tuple, and into a module of the user's own; a model of rows refuses it."""
    x, y = X[:, 0], 3 * X[:, 0] + 1

    def line():
        slope, offset = nn.Parameter(np.array(0.0)).named("slope"), nn.Parameter(np.array(0.0)).named("offset")
        return nn.Graph(nn.Input("x") * slope + offset)

    for model, given in ((line(), x), (line(), (x,)), (nn.Sequential(line()), x)):
        optimizer = nn.SGD(model.parameters(), lr=0.3)
        history = model.fit(given, y, nn.MSELoss(), optimizer, 100, validation_data=(given, y))
        assert history["val_loss"][-1] < 1e-3
        np.testing.assert_allclose(model.predict(given), y, atol=0.1)

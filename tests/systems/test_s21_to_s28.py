"""Systems 21 to 28: practice. PyTorch's numbers, training, memory, functions and graphs of your own, views, and clear errors."""

import io
import tracemalloc

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastprop import LossCurveDisplay, MLPClassifier, nn
from fastprop.inspection import (
    FirstLayerWeightsDisplay,
    InformationDisplay,
    TrainingAnimation,
    check_gradients,
    cross_entropy,
    entropy,
    kl_divergence,
    numerical_gradient,
    trace_step,
)


@pytest.fixture
def drawing():
    matplotlib = pytest.importorskip("matplotlib", reason="the plots need matplotlib")
    matplotlib.use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    yield plt
    plt.close("all")


def _gradients(model):
    return {name: p.grad.copy() for name, p in model.named_parameters()}


def test_s21_comparison_with_pytorch(figure, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, y = rng.normal(size=(32, 784)), rng.integers(0, 10, 32)
    model, loss = nn.mlp([784, 128, 64, 10], "relu", random_state=0), nn.SoftmaxCrossEntropy()
    linears = [torch.nn.Linear(layer.n_in, layer.n_out, dtype=torch.float64) for layer in model]
    for layer, linear in zip(model, linears, strict=True):
        linear.weight.data, linear.bias.data = torch.tensor(layer.weight.data.T), torch.tensor(layer.bias.data)
    theirs = torch.nn.Sequential(linears[0], torch.nn.ReLU(), linears[1], torch.nn.ReLU(), linears[2])
    x_torch = torch.tensor(x, requires_grad=True)
    outputs = theirs(x_torch)
    torch.nn.functional.cross_entropy(outputs, torch.tensor(y)).backward()

    logits = model(x)
    loss(logits, y)
    dx = model.backward(loss.backward())
    pairs = [(logits, outputs.detach()), (dx, x_torch.grad)]
    for layer, linear in zip(model, linears, strict=True):
        pairs += [(layer.weight.grad, linear.weight.grad.T), (layer.bias.grad, linear.bias.grad)]
    difference = max(np.abs(ours - their.numpy()).max() for ours, their in pairs)
    figure("784-128-64-10, largest difference of outputs and gradients", f"{difference:.1e}")
    assert difference < 1e-8


def test_s22_training_loop(figure, rng):
    X, y = rng.normal(size=(96, 5)), rng.integers(0, 3, 96)
    X[np.arange(96), y] += 2
    model, loss = nn.mlp([5, 16, 3], random_state=0), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(model.parameters(), lr=0.1)

    # The gradient of a batch, added up over three micro-batches.
    loss(model(X), y)
    model.backward(loss.backward())
    whole = _gradients(model)
    optimizer.zero_grad()
    for rows in np.split(np.arange(96), 3):
        loss(model(X[rows]), y[rows])
        model.backward(loss.backward() / 3, accumulate=True)
    difference = max(np.abs(gradient - whole[name]).max() for name, gradient in _gradients(model).items())
    figure("micro-batches against the batch, largest difference", f"{difference:.1e}")
    assert difference < 1e-15

    # One step of gradient descent with a fixed rate, from overwritten gradients.
    loss(model(X), y)
    model.backward(loss.backward())
    expected = model[0].weight.data - 0.1 * whole["0.weight"]
    optimizer.step()
    np.testing.assert_allclose(model[0].weight.data, expected, rtol=1e-13)

    losses = []
    for _ in range(30):
        order = rng.permutation(96)
        for rows in np.split(order, 6):
            losses.append(loss(model(X[rows]), y[rows]))
            model.backward(loss.backward())
            optimizer.step()
    figure("mini-batches of 16, 30 epochs: loss of the first and the last", f"{losses[0]:.3f}, {losses[-1]:.3f}")
    assert np.mean(losses[-6:]) < 0.5 * np.mean(losses[:6])

    # The same loop in one call, with a bound on the gradient's norm.
    models = [nn.mlp([5, 16, 3], random_state=0) for _ in range(2)]
    optimizers = [nn.SGD(model.parameters(), lr=0.1) for model in models]
    options = {"epochs": 3, "batch_size": 16, "shuffle": False, "clip_norm": 0.5, "compiled": True}
    models[0].fit(X, y, loss, optimizers[0], **options)
    norms = []
    for _ in range(3):
        for rows in np.split(np.arange(96), 6):
            loss(models[1](X[rows]), y[rows])
            models[1].backward(loss.backward())
            norms.append(nn.clip_grad_norm(models[1].parameters(), 0.5))
            optimizers[1].step()
    assert max(norms) > 0.5
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-11)


def test_s23_inference_without_caches(figure):
    x = np.ones((256, 400))
    model = nn.mlp([400] * 21, random_state=0)

    def memory():
        """What a forward leaves behind beside its output, and its peak, in arrays of the size of a layer's output."""
        model.forget()
        tracemalloc.start()
        output = model(x)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return (kept - output.nbytes) / x.nbytes, peak / x.nbytes

    training, (kept, peak) = memory(), (model.eval() and memory())
    figure("arrays kept by 20 layers, and peak: training", [round(n, 2) for n in training])
    figure("the same in evaluation", [round(kept, 2), round(peak, 2)])
    assert training[0] > 18
    assert kept < 0.1
    assert peak < 5  # two, and in the NumPy back end some more for a moment


def test_s24_user_defined_function(figure, rng):
    numba = pytest.importorskip("numba", reason="the function is compiled with Numba")

    @numba.njit
    def softplus(z):
        return max(z, 0.0) + np.log1p(np.exp(-abs(z)))

    @numba.njit
    def slope(z):
        return 1 / (1 + np.exp(-z))

    with pytest.raises(ValueError, match=r"the derivative of 'softplus' is wrong: at .* finite differences of the value"):
        nn.Activation(softplus, softplus)
    activation = nn.Activation(softplus, slope)
    assert repr(activation) == "Activation('softplus', compiled)"
    x = rng.normal(size=(4, 3))
    np.testing.assert_allclose(activation(x), np.logaddexp(x, 0), rtol=1e-12)
    X, y = load_digits(return_X_y=True)
    model = nn.mlp([64, 32, 10], activation, random_state=0)
    assert check_gradients(model, nn.SoftmaxCrossEntropy(), X[:4] / 16, y[:4], n_elements=30).verdict == "correct"
    history = model.fit(X / 16, y, nn.SoftmaxCrossEntropy(), nn.Adam(model.parameters(), lr=0.01), epochs=5, random_state=0)
    estimator = MLPClassifier((32,), activation=activation, learning_rate_init=0.01, tol=0.01, random_state=0).fit(X / 16, y)
    figure("digits, 5 epochs in nn: loss", round(history["loss"][-1], 3))
    figure("digits, MLPClassifier(activation=...): accuracy", round(estimator.score(X / 16, y), 3))
    assert history["loss"][-1] < 0.3
    assert estimator.score(X / 16, y) > 0.95


def test_s25_computational_graph(figure, rng):
    x, y, z = nn.Input(), nn.Input(), nn.Input()
    graph = nn.Graph([x, y, z], (x + y) * z)
    value = float(graph(2.0, 3.0, 4.0))
    gradients = [float(gradient) for gradient in graph.backward(1.0)]
    figure("(x + y) z at (2, 3, 4)", f"{value:g}, gradients {gradients}")
    assert value == 20
    assert gradients == [4, 4, 5]

    x = nn.Input()
    square = nn.Graph(x, x * x)  # used twice: the gradients 3 and 3 are added
    assert float(square(3.0)) == 9
    assert float(square.backward(1.0)) == 6
    x = nn.Input()
    hidden = nn.Linear(3, 4, activation="tanh", random_state=0)(x)
    branches = nn.Graph(x, nn.Linear(4, 2, random_state=1)(hidden) + nn.Linear(4, 2, random_state=2)(hidden))
    data, targets = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    assert check_gradients(branches, nn.MSELoss(), data, targets).verdict == "correct"


def test_s26_information_view(figure, drawing, rng):
    p = rng.dirichlet(np.ones(4), size=50)
    loss = nn.SoftmaxCrossEntropy()
    mean = loss(rng.normal(size=(50, 4)), p)
    q = loss.outputs
    gap = np.abs(cross_entropy(p, q) - entropy(p) - kl_divergence(p, q)).max()
    figure("largest |H(p, q) - H(p) - KL(p || q)| of 50 rows", f"{gap:.1e}")
    assert gap < 1e-13
    assert mean == pytest.approx(cross_entropy(p, q).mean(), rel=1e-13)

    display = InformationDisplay(p=np.linspace(0.01, 1, 100), z=np.linspace(-4, 4, 81)).plot()
    value, size, uncertainty, sigmoid, slope, sigmoid_entropy = (line.get_ydata() for line in display.lines_)
    probability = display.lines_[0].get_xdata()
    np.testing.assert_allclose(value, -np.log(probability))
    np.testing.assert_allclose(size, 1 - probability)
    assert probability[uncertainty.argmax()] == pytest.approx(0.5)
    assert slope.argmax() == sigmoid_entropy.argmax() == 40  # at z = 0
    assert (sigmoid[40], slope[40], sigmoid_entropy[40]) == (0.5, 0.25, pytest.approx(1))  # bit


def test_s27_learning_shown(figure, drawing, tmp_path):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    model, accuracies = nn.mlp([64, 16, 10], random_state=0), []
    weights = {"epoch 0": model[0].weight.data.copy()}

    def watch(epoch, history):
        accuracies.append((model(X_test).argmax(axis=1) == y_test).mean())
        if epoch + 1 in (5, 10):
            weights[f"epoch {epoch + 1}"] = model[0].weight.data.copy()

    optimizer = nn.Adam(model.parameters(), lr=0.01)
    validation = {"validation_data": (X_test, y_test), "callback": watch}
    history = model.fit(X_train, y_train, nn.SoftmaxCrossEntropy(), optimizer, epochs=10, random_state=0, **validation)
    figure("digits, 64-16-10, 10 epochs: loss, accuracy on new digits", f"{history['loss'][-1]:.3f}, {accuracies[-1]:.3f}")
    assert accuracies[-1] > 0.93

    # The same run with fit's own metrics, and its weights as a moving picture.
    again, path = nn.mlp([64, 16, 10], random_state=0), tmp_path / "weights.gif"
    optimizer, moving = nn.Adam(again.parameters(), lr=0.01), TrainingAnimation(path, "weights", every=5)
    options = {"validation_data": (X_test, y_test), "metrics": "accuracy", "callback": moving}
    recorded = again.fit(X_train, y_train, nn.SoftmaxCrossEntropy(), optimizer, epochs=10, random_state=0, **options)
    assert recorded["val_accuracy"] == accuracies
    assert recorded["accuracy"][-1] == (again.predict(X_train).argmax(axis=1) == y_train).mean()
    assert [epochs for epochs, _ in moving.frames] == [0, 5, 10]
    assert path.stat().st_size > 10_000

    curves = LossCurveDisplay.from_history(history, unit="nats", validation_scores=accuracies, score_name="accuracy")
    shown = [line.get_ydata() for line in curves.lines_]
    for line, values in zip(shown, (history["loss"], history["val_loss"], accuracies), strict=True):
        np.testing.assert_array_equal(line, values)
    assert len({line.get_color() for line in curves.lines_}) == 1
    assert [line.get_linestyle() for line in curves.lines_] == ["-", "--", "--"]

    displays = FirstLayerWeightsDisplay.compare(weights)
    images = [display.image_.get_array() for display in displays]
    assert [display.ax_.get_title() for display in displays] == ["epoch 0", "epoch 5", "epoch 10"]
    assert images[0].shape == (4 * 9 - 1, 4 * 9 - 1)
    assert np.abs(images[2] - images[1]).max() > 0.1 < np.abs(images[1] - images[0]).max()
    assert len({display.image_.get_clim() for display in displays}) == 1  # one scale, and one colour bar
    assert len(displays[0].figure_.axes) == 4


def test_s28_common_bugs(rng):
    model, loss = nn.mlp([4, 8, 3], random_state=0), nn.SoftmaxCrossEntropy()
    x, y = rng.normal(size=(5, 4)), np.array([0, 1, 2, 0, 1])
    layer = r"layer '0', Linear\(4, 8, activation='relu'\): "
    with pytest.raises(RuntimeError, match=r"layer '1', Linear\(8, 3\): backward needs a forward in training mode before it"):
        model.backward(np.ones((5, 3)))
    with pytest.raises(RuntimeError, match=r"SoftmaxCrossEntropy\(\): backward needs a call of the loss before it"):
        loss.backward()
    with pytest.raises(ValueError, match=layer + r"x must have shape \(n, 4\); got \(5, 3\)"):
        model(x[:, :3])
    with pytest.raises(ValueError, match=layer + r"x must have shape \(n, 4\); got \(3,\)"):
        model(x[0, :3])
    logits = model(x)
    with pytest.raises(ValueError, match=r"y must be in \[0, 2\]; got 3 at position 1"):
        loss(logits, [0, 3, 2, 0, 1])
    with pytest.raises(ValueError, match=r"y must be 5 integer labels, or targets of shape \(5, 3\); got shape \(4,\)"):
        loss(logits, y[:4])
    with pytest.raises(ValueError, match=r"y must be 5 integer labels, or .*; got shape \(5,\), dtype float64"):
        loss(logits, y.astype(float))
    loss(logits, y)
    with pytest.raises(ValueError, match=r"Linear\(8, 3\): dout must have shape \(5, 3\); got \(5, 2\)"):
        model.backward(loss.backward()[:, :2])
    with pytest.raises(ValueError, match=r"layer '1', Linear\(7, 3\): x must have shape \(n, 7\); got \(5, 8\)"):
        nn.Sequential(nn.Linear(4, 8), nn.Linear(7, 3))(x)
    with pytest.raises(ValueError, match=r"f must return a number; got an array of shape \(5, 3\)"):
        numerical_gradient(model, x)
    optimizer = nn.SGD(model.parameters(), lr=0.1)
    for arguments, message in (
        ((x, y, nn.MSELoss, optimizer), r"loss must be .*; got the class MSELoss, .*: write nn\.MSELoss\(\)"),
        ((x, y, "cross_entropy", optimizer), r"loss must be a loss, such as nn\.SoftmaxCrossEntropy\(\); got the string"),
        ((x, y, loss, nn.SGD), r"optimizer must be .*; got the class SGD, .*: write nn\.SGD\(model\.parameters\(\)\)"),
        ((x, y, optimizer, loss), r"loss and optimizer are swapped; write fit\(X, y, loss, optimizer\)"),
    ):
        with pytest.raises(TypeError, match=message):
            model.fit(*arguments)
    with pytest.raises(ValueError, match=r"outputs and y are swapped: write loss\(outputs, y\)"):
        loss(y, logits)
    with pytest.raises(TypeError, match=r"got function tanh: write nn\.Tanh\(\)"):
        nn.mlp([4, 8, 3], np.tanh)
    with pytest.raises(ValueError, match=r"is called with whole arrays; write np\.where\(condition, a, b\)"):
        nn.Activation(lambda z: z if z > 0 else 0 * z, np.sign)
    # What can be understood is.
    assert repr(nn.mlp([4, 8, 3], nn.ReLU())) == repr(nn.mlp([4, 8, 3], "relu"))
    np.testing.assert_array_equal(model(x[0]), model(x[:1])[0])  # one sample, without an axis of rows
    weight = model[0].weight
    model[0].weight = np.ones((4, 8))
    assert model[0].weight is weight
    np.testing.assert_array_equal(np.asarray(weight), np.ones((4, 8)))
    trace_step(model, loss, x, y, file=io.StringIO())  # the model still works


def test_every_row_has_its_test():
    """S1 to S36, each in one of the files of this folder."""
    from pathlib import Path

    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [text.count(f"\ndef test_s{row:02}_") for row in range(1, 37)] == [1] * 36

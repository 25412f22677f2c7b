"""Branches and sums: `Graph`, its arithmetic, names and shared parts, and the blocks that are made of the same rule."""

import copy
import functools
import io
import pickle
import warnings

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import check_gradients, numerical_gradient, trace_step
from fastprop.nn import functional as F


def test_a_value_used_twice_gets_the_sum_of_its_gradients():
    x, y, z = nn.Input(), nn.Input(), nn.Input()
    graph = nn.Graph([x, y, z], (x + y) * z)
    assert graph(2.0, 3.0, 4.0) == 20
    assert graph.backward(1.0) == (4, 4, 5)
    x = nn.Input()
    square_and_more = nn.Graph(x, x * x + x + x)  # derivative 2 x + 2
    assert square_and_more(5.0) == 35
    assert square_and_more.backward(1.0) == 12


def test_an_input_that_is_not_used_has_the_gradient_zero(rng):
    x, y = nn.Input(), nn.Input()
    graph = nn.Graph([x, y], nn.Tanh()(x))
    graph(np.ones((2, 3)), np.ones((4, 5)))
    dx, dy = graph.backward(np.ones((2, 3)))
    assert dx.all()
    np.testing.assert_array_equal(dy, np.zeros((4, 5)))


# Arithmetic. A program is a list of steps (name of an operation, positions of its operands): what it makes of leaves can be
# computed by NumPy, by PyTorch and by a graph. ``f`` has the functions of each.

SHAPES = [(), (), (3,), (2, 3), (2, 1), (3, 2)]
OPERATIONS = {
    "+": lambda f, a, b: a + b,
    "-": lambda f, a, b: a - b,
    "*": lambda f, a, b: a * b,
    "/": lambda f, a, b: a / (b * b + 0.5),
    "**": lambda f, a, b: (a * a + 0.3) ** b,
    "@": lambda f, a, b: a @ b,
    "** 3": lambda f, a: a**3,
    "** -1": lambda f, a: (1 + a**2) ** -1.0,
    "2 **": lambda f, a: 2**a,
    "reflected": lambda f, a: 1 / (2 - f.tanh(a)) + (0.5 + a) * 3,
    "negative": lambda f, a: -a,
    "exp": lambda f, a: f.exp(a),
    "log": lambda f, a: f.log(a * a + 0.1),
    "relu": lambda f, a: f.relu(a),
    "tanh": lambda f, a: f.tanh(a),
    "sigmoid": lambda f, a: f.sigmoid(a),
    "sum": lambda f, a: a.sum(),
    "mean": lambda f, a: a.mean(),
    "sum 0": lambda f, a: a.sum(axis=0),
    "mean -1": lambda f, a: a.mean(axis=-1, keepdims=True),
    "T": lambda f, a: a.T,
    "reshape": lambda f, a: a.reshape(-1),
    "item": lambda f, a: a[..., 1:],
    "row": lambda f, a: a[0],
}
MATRICES_ONLY = ("T", "row", "sum 0")  # PyTorch deprecates .T of others


class ByNumPy:
    exp, log, tanh = np.exp, np.log, np.tanh

    @staticmethod
    def relu(x):
        return np.maximum(x, 0)

    @staticmethod
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))


def run(program, leaves, f):
    values = list(leaves)
    for name, operands in program:
        values.append(OPERATIONS[name](f, *(values[i] for i in operands)))
    return values


def random_program(rng):
    """(program, leaves): some steps that NumPy can do, and whose values stay moderate and away from the kink of relu."""
    leaves = [rng.normal(size=SHAPES[i]) for i in rng.integers(0, len(SHAPES), 3)]
    values, program = list(leaves), []
    while len(program) < 7:
        name = str(rng.choice(list(OPERATIONS)))
        operands = rng.integers(0, len(values), OPERATIONS[name].__code__.co_argcount - 1).tolist()
        if name in MATRICES_ONLY and np.ndim(values[operands[0]]) != 2:
            continue
        try:
            value = OPERATIONS[name](ByNumPy, *(np.asarray(values[i]) for i in operands))
        except (ValueError, IndexError):
            continue
        at_kink = name == "relu" and np.abs(values[operands[0]]).min() < 1e-3
        if np.size(value) and np.abs(value).max() < 20 and not at_kink:
            values.append(value)
            program.append((name, operands))
    return program, leaves


def as_graph(program, leaves):
    """The graph of a program with all its values as outputs, the first leaf a parameter; the parameter; and the values."""
    parameter = nn.Parameter(leaves[0])
    inputs = [nn.Input() for _ in leaves[1:]]
    values = run(program, [parameter.named("p"), *inputs], F)
    return nn.Graph(inputs, values), parameter, values


def assert_close(ours, theirs, tolerance, program):
    """Each pair of arrays, up to a difference that is relative to the largest number of the second, or to 1."""
    for a, b in zip(ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b), program
        assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max()), program


def weighted_sum(program, leaves, i, weights, x):
    """The sum of all values of a program, each element times its weight, with x in the place of leaf i."""
    values = run(program, [*leaves[:i], x, *leaves[i + 1 :]], ByNumPy)
    return sum(float(np.vdot(w, value)) for w, value in zip(weights, values, strict=True))


def test_random_graphs_have_the_values_of_numpy_and_the_gradients_of_differences():
    rng = np.random.default_rng(0)
    for _ in range(100):
        program, leaves = random_program(rng)
        graph, parameter, _ = as_graph(program, leaves)
        outputs, expected = graph(*leaves[1:]), run(program, leaves, ByNumPy)
        assert_close(outputs, expected, 1e-12, program)
        weights = [rng.normal(size=np.shape(value)) for value in expected]
        dinputs = graph.backward(weights)
        for i, gradient in enumerate([parameter.grad, *dinputs]):
            total = functools.partial(weighted_sum, program, leaves, i, weights)
            assert_close([gradient], [numerical_gradient(total, leaves[i])], 1e-6, program)


def test_random_graphs_have_the_gradients_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(1)
    for _ in range(200):
        program, leaves = random_program(rng)
        graph, parameter, values = as_graph(program, leaves)
        outputs = graph(*leaves[1:])
        weights = [rng.normal(size=np.shape(output)) for output in outputs]
        graph.backward(weights)
        tensors = run(program, [torch.tensor(leaf, requires_grad=True) for leaf in leaves], torch)
        for tensor in tensors:
            tensor.retain_grad()
        torch.autograd.backward(tensors, [torch.tensor(w) for w in weights])
        assert_close(outputs, [tensor.detach().numpy() for tensor in tensors], 1e-12, program)
        assert_close(map(graph.grad, values), [tensor.grad.numpy() for tensor in tensors], 1e-10, program)
        np.testing.assert_array_equal(parameter.grad, graph.grad(parameter))


def test_the_exercises():
    x = nn.Input("x")
    graph = nn.Graph((x + 2) ** 2)
    assert (graph(3), graph.backward()) == (25, 10)

    x, y, z = map(nn.Input, "xyz")
    q = (x + y).named("q")
    graph = nn.Graph(q * z)
    assert graph(x=2, y=3, z=4) == graph(2, y=3, z=4) == graph((2, 3, 4)) == 20
    assert graph.backward() == (4, 4, 5)
    assert (graph.value("q"), graph.grad("q"), graph.grad(q), graph.grad(x)) == (5, 4, 4, 4)
    assert (graph.value("1"), graph.grad("1")) == (20, 1)  # without a name, by its number

    x, w1, b1, w2, b2, y = map(nn.Input, ["x", "w1", "b1", "w2", "b2", "y"])
    hidden = F.relu(w1 * x + b1).named("hidden")
    graph = nn.Graph((y - F.relu(w2 * hidden + b2)) ** 2)
    assert graph(x=1, w1=0.5, b1=0.1, w2=2, b2=0.3, y=1) == pytest.approx(0.25)
    # The prediction 1.5 is 0.5 too large: dL / d prediction = 1, through both units.
    assert graph.backward() == pytest.approx((1.0, 2.0, 2.0, 0.6, 1.0, -1.0))
    assert graph.grad("hidden") == pytest.approx(2.0)
    assert graph(x=1, w1=0.5, b1=0.1, w2=-2, b2=0.3, y=1) == 1
    assert graph.backward() == (0, 0, 0, 0, 0, 2)  # the second unit is dead

    x = nn.Input()
    graph = nn.Graph(F.tanh(x))
    for point in (-2.0, 0.0, 0.3):
        graph(point)
        assert graph.backward() == pytest.approx(1 - np.tanh(point) ** 2, rel=1e-14)


def test_powers_where_a_factor_is_zero():
    x, y = nn.Input(), nn.Input()
    graph = nn.Graph([x, y], x**y)
    assert (graph(0.0, 2.0), graph.backward()) == (0, (0, 0))
    assert (graph(0.0, 0.0), graph.backward()) == (1, (0, 0))
    for exponent, slope in ((0, 0), (1, 1), (2, 0)):
        graph = nn.Graph(x, x**exponent)
        graph(0.0)
        assert graph.backward() == slope
    graph = nn.Graph(x, (x ** [1, 2, 3]).sum())
    graph(-2.0)
    assert graph.backward() == 1 - 4 + 12


def test_integers_do_not_overflow_and_float32_stays():
    x = nn.Input()
    graph = nn.Graph(x, x**3 * x)
    assert graph(10**6) == 1e24
    assert graph(np.array([10**9, 2])).dtype == np.float64
    halves = nn.Graph(x, 0.5 * (x - 1) ** 2 / np.float64(3) + np.ones(2, np.float32))
    assert halves(np.ones(2, np.float32)).dtype == np.float32
    assert halves.backward(np.ones(2, np.float32)).dtype == np.float32


def test_arrays_and_lists_are_constants_on_both_sides(rng):
    x = nn.Input()
    matrix = rng.normal(size=(3, 2))
    for graph, expected in (
        (nn.Graph(x, matrix @ x), lambda v: matrix @ v),
        (nn.Graph(x, [1.0, 2.0] - x), lambda v: [1.0, 2.0] - v),
        (nn.Graph(x, np.float64(2.0) / x), lambda v: 2 / v),
        (nn.Graph(x, nn.Add()(np.ones(2), x, 1)), lambda v: v + 2),
    ):
        point = rng.normal(size=2)
        np.testing.assert_allclose(graph(point), expected(point), rtol=1e-15)
    matrix[:] = 0  # the graph has a copy
    assert nn.Graph(x, matrix @ x)(point).any() == 0
    with pytest.raises(TypeError, match="a constant in a graph must be an array of real numbers; got dtype str"):
        x + "1"
    with pytest.raises(TypeError, match="not iterable"):
        list(x)


def test_functions_of_arrays():
    z = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(F.sigmoid(z), 1 / (1 + np.exp(-z)), rtol=1e-15)
    assert F.relu(-2.0) == 0
    assert F.concat(np.ones((2, 1)), np.ones((2, 3))).shape == (2, 4)
    assert "``a = max(x, 0)``" in F.relu.__doc__
    assert isinstance(F.exp(nn.Parameter([1.0]).named("w")), nn.Value)
    assert set(nn.activations.ACTIVATION_LAYERS) <= set(vars(F))


# Shared parts and several outputs


def test_a_module_used_twice(rng):
    """Weights, masks and activations of both places; as two layers with the same weights have them."""
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    for make in (lambda: nn.Linear(3, 3, activation="tanh", random_state=0), lambda: nn.Highway(3, random_state=0)):
        layer, apart = make(), [make(), make()]
        i = nn.Input()
        graph, twins = nn.Graph(i, layer(layer(i))), nn.Graph(i, apart[1](apart[0](i)))
        assert len(graph.parameters()) == len(layer.parameters())
        np.testing.assert_array_equal(graph(x), twins(x))
        np.testing.assert_allclose(graph.backward(y), twins.backward(y), rtol=1e-13)
        for tied, first, second in zip(layer.parameters(), *(each.parameters() for each in apart), strict=True):
            np.testing.assert_allclose(tied.grad, first.grad + second.grad, rtol=1e-12)
        graph.backward(y, accumulate=True)
        np.testing.assert_allclose(tied.grad, 2 * (first.grad + second.grad), rtol=1e-12)
        assert check_gradients(graph, nn.MSELoss(), x, y).verdict == "correct"
    dropout = nn.Dropout(0.5, random_state=0)
    graph = nn.Graph(i, dropout(i) + dropout(i))
    np.testing.assert_array_equal(graph(np.ones((9, 3))), graph.backward(np.ones((9, 3))))


def test_a_parameter_used_twice(rng):
    """In the expression, and in a layer too: the penalty of a weight."""
    x, layer = nn.Input("x"), nn.Linear(3, 2, random_state=0)
    w = nn.Parameter(rng.normal(size=(2, 2)))
    scale = nn.Parameter(0.5)
    out = (layer(x) @ w + layer.bias).named("out")
    penalty = (layer.weight.named("v") ** 2).sum() + (w.named("w") ** 2).sum()
    graph = nn.Graph(((out**2).mean() + scale * penalty).named("loss"))
    assert [name for name, _ in graph.named_parameters()] == ["w", "parameter_2", "0.weight", "0.bias"]
    data = rng.normal(size=(4, 3))

    def value():
        return float(graph(data))

    value()
    graph.backward()
    for parameter in (w, scale):
        np.testing.assert_array_equal(parameter.grad, graph.grad(parameter))
    np.testing.assert_array_equal(graph.grad(layer.weight), 2 * 0.5 * layer.weight.data)  # what comes through the penalty alone
    for parameter in graph.parameters():
        gradient, start = parameter.grad.copy(), parameter.data.copy()

        def moved(array, parameter=parameter, start=start):
            parameter.data = array
            found = value()
            parameter.data = start
            return found

        np.testing.assert_allclose(gradient, numerical_gradient(moved, start), rtol=1e-6, atol=1e-9)
    first = value()
    optimizer = nn.SGD(graph.parameters(), lr=0.1)
    for _ in range(20):
        value()
        graph.backward()
        optimizer.step()
    assert value() < 0.5 * first


def test_several_outputs(rng):
    x = nn.Input("x")
    a, layer = F.tanh(x), nn.Linear(3, 2, random_state=0)
    graph = nn.Graph(x, [a, layer(a), x])
    data = rng.normal(size=(4, 3))
    outputs = graph(data)
    assert [output.shape for output in outputs] == [(4, 3), (4, 2), (4, 3)]
    da, dz = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    expected = (da + dz @ layer.weight.data.T) * (1 - np.tanh(data) ** 2)
    np.testing.assert_allclose(graph.backward([da, dz, None]), expected, rtol=1e-12)
    np.testing.assert_allclose(graph.backward([da, dz, da]), expected + da, rtol=1e-12)
    assert layer.weight.grad.any()
    graph.backward([da, None, None])
    assert not layer.weight.grad.any()  # not those of the last backward
    with pytest.raises(nn.ShapeError, match="dout must have a gradient for each of 3 outputs; got 2"):
        graph.backward([da, dz])


# Names, text, files


def test_the_text_has_the_edges():
    x, y = nn.Input("x"), nn.Input()
    layer = nn.Linear(2, 3, activation="relu", random_state=0)
    h = layer(x).named("h")
    w = nn.Parameter(np.ones((3, 1))).named("w")
    graph = nn.Graph([x, y], (-((h @ w) ** 2)).mean(axis=0, keepdims=True) + y[0, 1:].reshape(1, -1) * np.ones((2, 2)))
    assert repr(graph).splitlines() == [
        "Graph(x, x_1) -> #8  # 12 parameters",
        "  w: parameter (3, 1)",
        "  h = Linear(2, 3, activation='relu')(x)",
        "  #1 = h @ w",
        "  #2 = #1 ** 2",
        "  #3 = -#2",
        "  #4 = mean(#3, axis=0, keepdims=True)",
        "  #5 = x_1[0, 1:]",
        "  #6 = #5.reshape(1, -1)",
        "  #7 = #6 * array(2, 2)",
        "  #8 = #4 + #7",
    ]
    assert str(graph) == repr(graph)
    assert repr(nn.Graph(y, graph(y, y))).splitlines()[-1] == "  )(x, x)"
    assert [node.operands for node in graph.nodes][:5] == [[], [], [], [], [0]]
    assert [name for name, _ in graph.named_modules()][:3] == ["", "h", "1"]
    assert [name for name, _ in graph.named_parameters()] == ["w", "h.weight", "h.bias"]
    assert graph.w.shape == (3, 1)


def test_names_that_are_wrong():
    x, y = nn.Input("x"), nn.Input("x")
    with pytest.raises(ValueError, match=r"the names of the values must be unique; got \['x', 'x', '0'\]"):
        nn.Graph(x + y)
    for name in ("", "a.b", "7", 3):
        with pytest.raises(ValueError, match="must be a string without dots that is not a number; got"):
            nn.Graph((x + 1).named(name))
    with pytest.raises(ValueError, match="a parameter in a graph cannot have the name 'steps', which is an attribute of Graph"):
        nn.Graph(x + nn.Parameter(1.0).named("steps"))
    graph = nn.Graph((x + 1).named("q"))
    with pytest.raises(KeyError, match="no value of this graph has the name 'z'; there are"):
        graph.grad("z")
    with pytest.raises(KeyError, match="is not part of this graph"):
        graph.value(y)
    with pytest.raises(TypeError, match="this graph takes the inputs x; got z"):
        graph(z=3)
    with pytest.raises(TypeError, match="this graph takes the inputs x; got x"):
        graph(3, x=3)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_files_and_copies(suffix, tmp_path, rng):
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    x, y = nn.Input("x"), nn.Input("y")
    layer, w = nn.Linear(3, 3, random_state=0), nn.Parameter(rng.normal(size=(3, 2)).astype(np.float32))
    hidden = layer(layer(x)).named("hidden")
    out = (hidden @ w.named("w")) ** 2 * np.array([1, 2], np.float32) + F.relu(y)[:, None, :2].mean(axis=(1,)).reshape(-1, 2) / 3
    graph = nn.Graph([x, y], [out, (layer.weight.named("v") ** [2, 3, 4]).sum(), hidden])
    inputs = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    expected = graph(*inputs)
    douts = [np.ones_like(value) for value in expected]
    gradients = graph.backward(douts)
    graph.save(tmp_path / f"graph.{suffix}")
    for other in (nn.load(tmp_path / f"graph.{suffix}"), copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert repr(other) == repr(graph)
        assert [p.dtype for p in other.parameters()] == [p.dtype for p in graph.parameters()]
        for ours, theirs in zip(other(*inputs), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(other.backward(douts), gradients, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(other.parameters(), graph.parameters(), strict=True):
            assert ours is not theirs
            np.testing.assert_array_equal(ours.grad, theirs.grad)
        np.testing.assert_array_equal(other.grad("hidden"), graph.grad("hidden"))


@pytest.mark.parametrize("source", [-1, 1, 0.0])
def test_from_arguments_checks_the_numbers_of_the_values(source):
    with pytest.raises(ValueError, match="step 0 can only take the values 0 to 0"):
        nn.Graph.from_arguments(1, [nn.ReLU()], [[source]])


def test_from_arguments_takes_what_earlier_versions_stored():
    graph = nn.Graph.from_arguments(2, [nn.Add(), nn.Tanh()], [[0, 1], [2]])
    assert graph(1.0, 2.0) == np.tanh(3.0)
    with pytest.raises(ValueError, match="outputs must be numbers below 3; got"):
        nn.Graph.from_arguments(1, [nn.Tanh(), nn.Tanh()], [[0], [1]], outputs=[3])
    with pytest.raises(ValueError, match="calls must be numbers below 1; got"):
        nn.Graph.from_arguments(1, [nn.Tanh()], [[0], [1]], calls=[0, 1])


# With the rest of the package


def test_with_trace_step_and_check_gradients(rng, capsys):
    x = nn.Input("x")
    h = nn.Linear(3, 4, activation="tanh", random_state=0)(x).named("h")
    w = nn.Parameter(rng.normal(size=(4, 2)))
    model = nn.Graph((h @ w.named("w") + h[:, :2] / 2).named("z"))
    X, y, loss = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), nn.MSELoss()
    check = check_gradients(model, loss, X, y)
    assert check.verdict == "correct"
    assert check["w"].shape == (4, 2)
    trace = trace_step(model, loss, X, y)
    np.testing.assert_array_equal(trace["forward", "z", "a"], model(X))
    np.testing.assert_array_equal(trace["backward", "", "dw"], w.grad)
    assert trace["forward", "3", "x_1"] == 2  # a constant is an operand like others
    assert "h Linear(3, 4, activation='tanh')" in capsys.readouterr().out
    model(X)
    loss(model(X), y)
    model.backward(loss.backward())
    np.testing.assert_array_equal(trace["backward", "h", "da"], model.grad("h"))


def test_trace_step_with_several_inputs(rng):
    x, y = nn.Input("x"), nn.Input("y")
    model = nn.Graph([x, y], (nn.Linear(3, 2, activation="tanh", random_state=0)(x).named("h") * y).named("out"))
    X, Y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    trace = trace_step(model, nn.MSELoss(), (X, Y), np.zeros((4, 2)), file=io.StringIO())
    np.testing.assert_allclose(trace["h"].dz, trace["out"].da * Y * (1 - trace["h"].a ** 2), rtol=1e-12)
    np.testing.assert_array_equal(trace["out"].dx_1, trace["out"].da * trace["h"].a)


def test_at_a_kink():
    """A square is no reason to call a kink a bug."""
    x = nn.Input("x")
    model = nn.Graph((F.relu(x @ np.eye(2)) - 1) ** 2)
    assert check_gradients(model, nn.MSELoss(), np.zeros((1, 2)), np.zeros((1, 2))).verdict == "kink"


def test_fit_with_several_inputs(rng):
    x, y = nn.Input("x"), nn.Input("y")
    w = nn.Parameter(rng.normal(size=(2, 1)))
    model = nn.Graph([x, y], nn.Linear(3, 1, random_state=0)(x) + F.tanh(y) @ w.named("w"))
    X, Y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    target = X @ [[1.0], [-1.0], [0.5]] + np.tanh(Y) @ [[2.0], [-2.0]]
    data = {"validation_data": ((X[:7], Y[:7]), target[:7])}
    history = model.fit((X, Y), target, nn.MSELoss(), nn.Adam(model.parameters(), lr=0.1), epochs=60, random_state=0, **data)
    assert history["loss"][-1] < 1e-3 * history["loss"][0]
    assert history["val_loss"][-1] < 1e-2
    np.testing.assert_allclose(w.data, [[2.0], [-2.0]], atol=0.1)
    for wrong, message in (((X, Y[:5]), "same number of rows; got shapes"), ((X,), "this graph has 2 inputs; got 1")):
        with pytest.raises(ValueError, match=message):
            model.fit(wrong, target, nn.MSELoss(), nn.SGD(model.parameters()))
    with pytest.raises(ValueError, match="X has 2 inputs"):
        model.fit((X, Y), target, nn.MSELoss(), nn.SGD(model.parameters()), compiled=True)


# Errors


def test_wrong_graphs():
    x, y = nn.Input(), nn.Input()
    with pytest.raises(ValueError, match="depends on an Input that is not among the inputs"):
        nn.Graph(x, x + y)
    with pytest.raises(TypeError, match=r"the output of a graph must be made from nn\.Input"):
        nn.Graph(x, [np.ones(3)])
    with pytest.raises(TypeError, match=r"such as nn\.Input\('x'\) \+ 1; got 3\.0"):
        nn.Graph(3.0)
    with pytest.raises(ValueError, match="a graph needs at least one output; got none"):
        nn.Graph([])
    layer = nn.Tanh()
    with pytest.raises(ValueError, match="is in the model twice"):
        nn.Graph(x, layer(nn.Sequential(layer)(x)))
    graph = nn.Graph([x, y], x + y)
    with pytest.raises(nn.ShapeError, match="this graph has 2 inputs; got 1"):
        graph(np.ones(3))
    message = r"^layer '0', Add\(\): the operands must broadcast to one shape; got shape \(3,\), \(2,\)$"
    with pytest.raises(nn.ShapeError, match=message):
        graph(np.ones(3), np.ones(2))
    with pytest.raises(
        nn.ShapeError, match=r"^layer '0', Add\(\): an operand must be an array of real numbers; got dtype complex128"
    ):
        graph(1j, 2)


def test_wrong_shapes_name_the_value():
    x, y = nn.Input("x"), nn.Input("y")
    product = r"^layer 'q', MatMul\(\): the operands of @ must have shapes .* and \(\.\.\., k, m\); got shape \(2, 3\), \(2,\)"
    for value, message in (
        (x @ y, product),
        (x.reshape(4), r"^layer 'q', Reshape\(\(4,\)\): cannot reshape array of size 6 into shape \(4,\); got shape \(2, 3\)"),
        (x.sum(axis=2), r"^layer 'q', Sum\(axis=2\): axis 2 is out of bounds"),
        (x[5], r"^layer 'q', Item\(\[5\]\): index 5 is out of bounds"),
    ):
        graph = nn.Graph([x, y], value.named("q"))
        with pytest.raises(nn.ShapeError, match=message):
            graph(np.ones((2, 3)), np.ones(2))
    with pytest.raises(TypeError, match="must consist of integers, slices, "):
        x[[0, 1]]


def test_calls_in_the_wrong_order():
    x = nn.Input("x")
    graph = nn.Graph((x * 2).named("q"))
    with pytest.raises(nn.NoForwardError, match="backward needs a forward in training mode before it"):
        graph.backward()
    with pytest.raises(nn.NoForwardError, match="there is no value of 'q' before a forward in training mode"):
        graph.value("q")
    graph([1.0, 2.0])
    with pytest.raises(nn.NoForwardError, match="there is no grad of 'q' before a backward"):
        graph.grad("q")
    with pytest.raises(nn.ShapeError, match=r"without dout, an output must be one number; 'q' has shape \(2,\)"):
        graph.backward()
    with pytest.raises(nn.ShapeError, match=r"^layer 'q', Multiply\(\): dout must have shape \(2,\); got \(3,\)"):
        graph.backward(np.ones(3))
    graph.eval()([1.0, 2.0])
    with pytest.raises(nn.NoForwardError):
        graph.value("q")


def test_what_becomes_nan_or_infinite_is_named():
    x, y = nn.Input("x"), nn.Input("y")
    for value, point, message in (
        (x.log().named("l"), (-1.0, 1.0), r"invalid value encountered in l = log\(x\)"),
        (x / y, (1.0, 0.0), "divide by zero encountered in #0 = x / y"),
        (x**y, (1e200, 2.0), r"overflow encountered in #0 = x \*\* y"),
        ((x * 1e3).exp() - y, (1.0, 1.0), r"overflow encountered in #1 = exp\(#0\)"),
    ):
        graph = nn.Graph([x, y], value)
        with pytest.warns(RuntimeWarning, match=message) as caught:
            out = graph(*point)
        assert not np.isfinite(out)
        assert caught[0].filename == __file__
    graph = nn.Graph(x**-0.5)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        graph(0.0)  # whoever wants no warnings of NumPy's gets none of these
    with pytest.warns(RuntimeWarning, match=r"divide by zero encountered in the backward of #0 = x \*\* -0\.5"):
        graph.backward()


# Blocks


def test_blocks_are_graphs(rng, batch):
    """Residual, Highway and DenseConcat give what the same expression gives as a graph."""
    x = nn.Input()
    linear = [nn.Linear(4, 4, activation="tanh", random_state=i) for i in range(2)]
    residual = nn.Graph(x, linear[0](x) + x)
    dense = nn.Graph(x, nn.Concat()(x, linear[1](x)))
    blocks = (
        (residual, nn.Residual(nn.Linear(4, 4, activation="tanh", random_state=0))),
        (dense, nn.DenseConcat([nn.Linear(4, 4, activation="tanh", random_state=1)])),
    )
    for graph, block in blocks:
        out = graph(batch[0])
        np.testing.assert_allclose(block(batch[0]), out, rtol=1e-14)
        dout = rng.normal(size=out.shape)
        np.testing.assert_allclose(block.backward(dout), graph.backward(dout), rtol=1e-13)
        for ours, theirs in zip(block.parameters(), graph.parameters(), strict=True):
            np.testing.assert_array_equal(ours.grad, theirs.grad)


def test_highway_is_its_formula(batch):
    x = batch[0]
    layer = nn.Highway(4, activation="relu", gate_bias=-2.0, random_state=0)
    assert (layer.gate.bias.data == -2).all()
    t, f = layer.gate(x), layer.transform(x)
    np.testing.assert_allclose(layer(x), t * f + (1 - t) * x, rtol=1e-14)


def test_wrong_blocks():
    x = np.ones((2, 4))
    with pytest.raises(nn.ShapeError, match=r"the block's output must have the shape of its input, \(2, 4\); got \(2, 3\)"):
        nn.Residual(nn.Linear(4, 3))(x)
    with pytest.raises(nn.ShapeError, match=r"layer '1', Linear\(4, 2\): x must have shape \(n, 4\); got \(2, 6\)"):
        nn.DenseConcat([nn.Linear(4, 2), nn.Linear(4, 2)])(x)
    with pytest.raises(nn.ShapeError, match=r"^Highway: x must have shape \(n, 3\); got \(2, 4\)"):
        nn.Highway(3)(x)
    with pytest.raises(nn.ShapeError, match=r"all inputs must have shape \(n, any\) with the same n"):
        nn.Concat()(x, x[:1])

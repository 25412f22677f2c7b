"""The step tracer: every array of one forward and backward of every kind of layer, by name, by number, and as text."""

import io
import re

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, MLPRegressor, nn
from fastprop.inspection import trace_forward, trace_step

X, Y = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([0, 1])


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 3, activation="sigmoid", random_state=0), nn.Linear(3, 2, random_state=1))


def test_the_numbers(model, capsys):
    loss = nn.SoftmaxCrossEntropy()
    trace = trace_step(model, loss, X, Y)
    w_1, w_2 = model[0].weight.data, model[1].weight.data
    z = X @ w_1
    a = 1 / (1 + np.exp(-z))
    e = np.exp(a @ w_2)
    dlogits = (e / e.sum(axis=1, keepdims=True) - np.eye(2)[Y]) / 2
    da = dlogits @ w_2.T
    expected = {
        ("forward", "0", "x"): X,
        ("forward", "0", "weight"): w_1,
        ("forward", "0", "z"): z,
        ("forward", "0", "a"): a,
        ("forward", "1", "x"): a,
        ("forward", "1", "z"): a @ w_2,
        ("forward", "1", "a"): a @ w_2,
        ("loss", "", "loss"): trace.loss,
        ("loss", "", "dloss"): dlogits,
        ("backward", "1", "da"): dlogits,
        ("backward", "1", "dz"): dlogits,
        ("backward", "1", "dweight"): a.T @ dlogits,
        ("backward", "1", "dbias"): dlogits.sum(axis=0),
        ("backward", "1", "dx"): da,
        ("backward", "0", "da"): da,
        ("backward", "0", "dz"): da * a * (1 - a),
        ("backward", "0", "dweight"): X.T @ (da * a * (1 - a)),
        ("backward", "0", "dx"): (da * a * (1 - a)) @ w_1.T,
    }
    for key, value in expected.items():
        np.testing.assert_allclose(trace[key], value, rtol=1e-13, atol=1e-15, err_msg=str(key))
    assert [entry.stage for entry in trace.entries] == ["forward"] * 10 + ["loss"] * 2 + ["backward"] * 10
    assert capsys.readouterr().out == f"{trace}\n"
    assert repr(trace) == f"<StepTrace: 22 arrays, loss {trace.loss:.6g}>"
    with pytest.raises(KeyError, match="nothing was traced as"):
        trace["forward", "2", "x"]
    for (_, layer, name), value in expected.items():
        if layer:
            np.testing.assert_allclose(trace[layer][name], value, rtol=1e-13, atol=1e-15)


def test_the_text(model):
    file = io.StringIO()
    trace_step(model, nn.SoftmaxCrossEntropy(), X, Y, precision=2, file=file)
    lines = file.getvalue().splitlines()
    assert [line for line in lines if not line.startswith("    ")] == [
        "forward",
        "  0 Linear(2, 3, activation='sigmoid')",
        "  1 Linear(3, 2)",
        "loss",
        "  SoftmaxCrossEntropy",
        "backward",
        "  1 Linear(3, 2)",
        "  0 Linear(2, 3, activation='sigmoid')",
    ]
    assert lines[2] == "    x        (2, 2)     [[ 1.  2.]"
    assert lines[3] == "                         [ 3. -1.]]"
    for line in (
        "    dweight  (2, 3)     [[",
        "    dbias    (3,)       [",
        "    z        (2, 3)     [[",
        "    dz       (2, 3)     [[",
    ):
        assert any(found.startswith(line) for found in lines)
    # The last layer has no activation.
    assert "    a        (2, 2)     = z" in lines
    assert "    dz       (2, 2)     = da" in lines


def test_blocks_show_what_is_inside_and_what_comes_out():
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Linear(2, 2, random_state=0), nn.Tanh())), nn.Linear(2, 2, random_state=1))
    trace = trace_step(model, nn.MSELoss(), X, X, file=io.StringIO())
    forward = [entry.layer for entry in trace.entries if entry.stage == "forward" and entry.name == "a"]
    backward = [entry.layer for entry in trace.entries if entry.stage == "backward" and entry.name == "dx"]
    assert forward == ["0.block.0", "0.block.1", "0", "1"]
    assert backward == ["1", "0.block.1", "0.block.0", "0"]
    np.testing.assert_allclose(trace["forward", "0", "a"], trace["forward", "0.block.1", "a"] + X)


def test_a_graph_with_two_inputs_at_a_sum():
    x = nn.Input()
    model = nn.Graph(x, nn.Linear(2, 2, random_state=0)(x) + x)
    trace = trace_step(model, nn.MSELoss(), X, X, file=io.StringIO())
    np.testing.assert_array_equal(trace["forward", "1", "x_1"], X)
    np.testing.assert_array_equal(trace["backward", "1", "dx_0"], trace["loss", "", "dloss"])


@pytest.mark.parametrize(
    ("model", "titles"),
    [
        (nn.Linear(2, 2, random_state=0), ["Linear(2, 2)"]),
        (nn.Residual(nn.Linear(2, 2, random_state=0)), ["block Linear(2, 2)", "Residual"]),
        (
            nn.Highway(2, random_state=0),
            ["transform Linear(2, 2, activation='relu')", "gate Linear(2, 2, activation='sigmoid')", "Highway"],
        ),
    ],
    ids=["Linear", "Residual", "Highway"],
)
def test_a_model_that_is_no_sequential_has_its_own_name(model, titles):
    """Its name in itself is empty, as is that of the loss."""
    trace = trace_step(model, nn.MSELoss(), X, X, file=io.StringIO())
    head = [line.strip() for line in str(trace).splitlines() if not line.startswith("   ")]
    assert head == ["forward", *titles, "loss", "MSELoss", "backward", *titles]
    np.testing.assert_array_equal(trace["forward", "", "a"], model(X))
    assert trace["loss", "", "loss"] == trace.loss


def test_a_forgotten_gradient_is_no_array():
    class Forgetful(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter([1.0, 2.0])

        def forward(self, x):
            return x * self.scale.data

        def backward(self, dout, accumulate=False):
            return dout * self.scale.data

    trace = trace_step(Forgetful(), nn.MSELoss(), X, X, file=io.StringIO())
    assert [entry.name for entry in trace.entries if entry.stage == "backward"] == ["da", "dz", "dx"]
    assert "  Forgetful(" in str(trace)


NORM, GATE = nn.LayerNorm(3), nn.Highway(3, random_state=1)
DEEP = nn.Sequential(
    nn.Linear(2, 3, random_state=0),
    nn.Tanh(),
    nn.Sequential(nn.Linear(3, 3, activation="gelu", random_state=1), nn.BatchNorm1d(3)),
    nn.Residual(nn.Sequential(NORM, nn.Linear(3, 3, bias=False, activation="sigmoid", random_state=2), nn.Dropout(0.5, 3))),
    nn.Checkpoint(nn.Sequential(nn.Linear(3, 3, activation="relu", random_state=4), nn.Activation(np.sin, np.cos))),
    GATE,
    nn.Identity(),
    nn.Linear(3, 2, activation="softplus", random_state=5),
    nn.Softmax(),
)


def test_every_layer_has_all_arrays():
    trace = trace_step(DEEP, nn.MSELoss(), X, X, file=io.StringIO())
    names = "0 1 2.0 2.1 2 3.block.0 3.block.1 3.block.2 3.block 3 4.block.0 4.block.1 4.block 4 5.transform 5.gate 5 6 7 8"
    assert list(trace.layers) == [*names.split(), ""]
    parameters = {}
    for name, parameter in DEEP.named_parameters():
        parameters.setdefault(name.rpartition(".")[0], []).append(name.rpartition(".")[2])
        np.testing.assert_array_equal(trace[name.rpartition(".")[0]][f"d{name.rpartition('.')[2]}"], parameter.grad)
    for name, layer in trace.layers.items():
        own = parameters.get(name, [])
        assert {*layer} == {"x", "z", "a", "da", "dz", "dx", *own, *(f"d{key}" for key in own)}
        assert layer.dz.shape == layer.da.shape == layer.a.shape == layer.z.shape
        assert layer.dx.shape == layer.x.shape
    modules = dict(DEEP.named_modules())
    for name, layer in trace.layers.items():
        if isinstance(modules[name], nn.Linear):
            np.testing.assert_allclose(layer.x.T @ layer.dz, layer.dweight, rtol=1e-12, atol=1e-14, err_msg=name)
            np.testing.assert_allclose(layer.dz @ layer.weight.T, layer.dx, rtol=1e-12, atol=1e-14, err_msg=name)
            np.testing.assert_allclose(layer.x @ layer.weight + layer.get("bias", 0), layer.z, rtol=1e-12, atol=1e-14)
    for name in ("0", "2.1", "3.block.0", "3.block.2", "3", "5", "6", "2", "4", ""):  # no activation
        np.testing.assert_array_equal(trace[name].z, trace[name].a)
        np.testing.assert_array_equal(trace[name].dz, trace[name].da)
    for name in ("1", "4.block.1", "6", "8"):  # nothing but an activation
        np.testing.assert_array_equal(trace[name].z, trace[name].x)
        np.testing.assert_array_equal(trace[name].dz, trace[name].dx)
    # What comes out of a layer goes into the next one, forward and backward.
    for before, after in ((i, i + 1) for i in range(8)):
        np.testing.assert_array_equal(trace[before].a, trace[after].x)
        np.testing.assert_array_equal(trace[before].da, trace[after].dx)
    np.testing.assert_array_equal(trace[3].dx, trace["3.block.0"].dx + trace[3].da)  # the two ways of a residual block
    np.testing.assert_array_equal(trace[-1].da, trace["loss", "", "dloss"])


def test_look_up():
    trace = trace_step(DEEP, nn.MSELoss(), X, X, file=io.StringIO())
    assert trace[0] is trace["0"] is trace.layers["0"] is trace[-9]
    assert trace[-1] is trace["8"]
    assert trace[1].dz is trace["backward", "1", "dz"]
    for key in (9, -10, "block", "3.block.5"):
        with pytest.raises(KeyError, match=rf"no layer {key!r} was traced; there are \['0', '1', '2\.0'"):
            trace[key]
    with pytest.raises(
        AttributeError, match=r"there is no array 'dbias' of this layer; there are \['x', 'z', 'a', 'da', 'dz', 'dx'\]"
    ):
        trace[1].dbias  # noqa: B018
    # Numbers and names are those of the model: of its parameters, and of its repr.
    for name, _ in DEEP.named_parameters():
        assert name.rpartition(".")[0] in trace.layers
    assert all(f"\n  ({i}): {type(layer).__name__}" in repr(DEEP) for i, layer in enumerate(DEEP))


def test_forward_only(capsys):
    model = nn.Sequential(nn.Linear(2, 3, random_state=0), nn.Dropout(0.5, 0), nn.BatchNorm1d(3), nn.Linear(3, 1, random_state=1))
    trace = trace_forward(model, X.tolist())
    assert capsys.readouterr().out == ""
    assert repr(trace) == "<StepTrace: 18 arrays, forward only>"
    assert trace.loss is None
    assert {*trace[0]} == {"x", "weight", "bias", "z", "a"}
    assert str(trace).startswith("forward\n  0 Linear(2, 3)\n    x ")
    assert "backward" not in str(trace)
    np.testing.assert_array_equal(trace[0].z, X @ model[0].weight.data)
    assert (trace[1].a == 0).any()
    np.testing.assert_array_equal(trace[-1].a, model(X))  # the masks are those of the next forward
    np.testing.assert_array_equal(trace_forward(model.eval(), X)[1].a, trace[0].a)  # no dropout in evaluation


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("activation", ["logistic", "tanh", nn.Activation(np.sin, np.cos)], ids=str)
def test_a_classifier(n_classes, activation):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.arange(30) % n_classes
    classifier = MLPClassifier(hidden_layer_sizes=(5, 6), activation=activation, random_state=0)
    classifier.partial_fit(X, y, classes=np.unique(y))
    trace = trace_forward(classifier, X)
    linear = [name for name, layer in trace.layers.items() if "weight" in layer]
    assert linear == (["0", "1", "2"] if isinstance(activation, str) else ["0", "2", "4"])
    for name, weight, bias in zip(linear, classifier.coefs_, classifier.intercepts_, strict=True):
        np.testing.assert_array_equal(trace[name].weight, weight)
        np.testing.assert_array_equal(trace[name].bias, bias)
    np.testing.assert_allclose(trace["0"].z, X @ classifier.coefs_[0] + classifier.intercepts_[0], rtol=1e-12)
    expected = classifier.predict_proba(X)
    np.testing.assert_allclose(trace[-1].a, expected if n_classes == 3 else expected[:, 1:], rtol=1e-12)


def test_a_regressor_and_what_is_not_fitted():
    X, y = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32), np.arange(20, dtype=np.float32)
    regressor = MLPRegressor(hidden_layer_sizes=5, random_state=0)
    with pytest.raises(NotFittedError):
        trace_forward(regressor, X)
    trace = trace_forward(regressor.partial_fit(X, y), X)
    assert trace[1].a.dtype == np.float32
    np.testing.assert_allclose(trace[-1].a[:, 0], regressor.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "normalization", "kinds"),
    [
        (["silu", "logistic"], None, "Linear Linear Linear Activation"),
        (["elu", nn.Activation(np.sin, np.cos)], None, "Linear Linear Activation Linear Activation"),
        ("gelu", "batch", "Linear BatchNorm1d GELU Linear BatchNorm1d GELU Linear Activation"),
        (
            ["logistic", nn.Activation(np.sin, np.cos)],
            "batch",
            "Linear BatchNorm1d Sigmoid Linear BatchNorm1d Activation Linear Activation",
        ),
        (["silu", "relu"], "layer", "Linear LayerNorm SiLU Linear LayerNorm ReLU Linear Activation"),
    ],
    ids=str,
)
def test_an_estimator_with_norms_dropout_and_an_activation_for_each_layer(activation, normalization, kinds):
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.random.default_rng(1).gamma(2, size=40)
    parameters = {"activation": activation, "normalization": normalization, "dropout": 0.2, "loss": "gamma"}
    regressor = MLPRegressor(hidden_layer_sizes=(5, 6), **parameters, random_state=0)
    for _ in range(3):
        regressor.partial_fit(X, y)
    trace, kinds = trace_forward(regressor, X), kinds.split()
    assert re.findall(r"^  \d (\w+)", str(trace), re.MULTILINE) == kinds
    np.testing.assert_allclose(trace[-1].a[:, 0], regressor.predict(X), rtol=1e-12)
    linears = [i for i, kind in enumerate(kinds) if kind == "Linear"]
    for layer, next_linear in enumerate(linears[1:]):
        np.testing.assert_allclose(trace[next_linear].x, regressor.transform(X, layer), rtol=1e-12)
        if normalization:
            np.testing.assert_array_equal(trace[linears[layer] + 1].weight, regressor.norm_weights_[layer])


def test_scikit_learns_estimators_and_what_is_none():
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20.0)
    theirs = MLPRegressor(hidden_layer_sizes=5, random_state=0).partial_fit(X, y).to_sklearn()
    np.testing.assert_allclose(trace_forward(theirs, X)[-1].a[:, 0], theirs.predict(X), rtol=1e-12)
    with pytest.raises(TypeError, match="model must be a Module, an MLPClassifier or an MLPRegressor; got"):
        trace_forward(StandardScaler().fit(X), X)


def test_several_inputs():
    a, b = nn.Input(), nn.Input()
    model = nn.Graph([a, b], nn.Linear(2, 2, random_state=0)(a) * b)
    trace = trace_step(model, nn.MSELoss(), (X, X + 1), X, file=io.StringIO())
    np.testing.assert_array_equal(trace[1].x_1, X + 1)
    np.testing.assert_array_equal(trace[1].dx_0, trace[0].da)
    np.testing.assert_array_equal(trace[0].da, trace[1].dz * (X + 1))
    np.testing.assert_array_equal(trace_forward(model, (X, X + 1))[1].z, trace[1].a)


def test_names_that_are_long():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale_of_columns = nn.Parameter([2.0, 3.0])

        def forward(self, x):
            return x * self.scale_of_columns.data

        def backward(self, dout, accumulate=False):
            self.scale_of_columns.grad = dout.sum(axis=0)
            return dout * self.scale_of_columns.data

    lines = str(trace_forward(Scaled(), X)).splitlines()
    assert lines[2] == "    x                (2, 2)     [[ 1.  2.]"
    assert lines[4] == "    scale_of_columns (2,)       [2. 3.]"
    trace = trace_step(Scaled(), nn.MSELoss(), X, X, file=io.StringIO())
    np.testing.assert_array_equal(trace[""].dscale_of_columns, trace[""].dz.sum(axis=0))


def test_a_layer_that_is_called_again():
    """Calls are numbered in the order of the forward; the last one is the first to go back."""

    class Twice(nn.Module):
        def __init__(self):
            self.layer = nn.Tanh()

        def forward(self, x):
            once = self.layer.forward(x)
            self._first = self.layer._saved
            return self.layer.forward(once)

        def backward(self, dout, accumulate=False):
            dout = self.layer.backward(dout)
            self.layer._saved = self._first
            return self.layer.backward(dout)

    trace = trace_step(Twice(), nn.MSELoss(), X, X, file=io.StringIO())
    first, second = trace["layer"], trace["layer, call 2"]
    np.testing.assert_array_equal(first.a, second.x)
    np.testing.assert_array_equal(first.da, second.dx)
    np.testing.assert_allclose(first.dz, first.da * (1 - first.a**2), rtol=1e-13)
    np.testing.assert_allclose(second.dz, second.da * (1 - second.a**2), rtol=1e-13)
    assert "\n  layer, call 2 Tanh()\n" in str(trace)


def test_the_model_stays_as_it_was(model):
    model.eval()
    state = model.state_dict()
    trace_step(model, nn.SoftmaxCrossEntropy(), X, Y, file=io.StringIO())
    trace_forward(model, X)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert not model.training
    assert not any({"forward", "backward"} & set(vars(module)) for module in model.modules())


def test_one_row_is_traced_as_a_batch_of_one(model):
    one = trace_step(model, nn.MSELoss(), X[0], [0.0, 1.0], file=io.StringIO())
    many = trace_step(model, nn.MSELoss(), X[:1], [[0.0, 1.0]], file=io.StringIO())
    for name in ("0", "1"):
        for array in ("x", "z", "a", "da", "dz", "dx"):
            np.testing.assert_array_equal(one[name][array], many[name][array][0])

"""The step tracer: every array of one forward and backward, by name, and as text."""

import io

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import trace_step

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
        ("forward", "1", "a"): a @ w_2,
        ("loss", "", "loss"): trace.loss,
        ("loss", "", "dloss"): dlogits,
        ("backward", "1", "da"): dlogits,
        ("backward", "1", "dweight"): a.T @ dlogits,
        ("backward", "1", "dbias"): dlogits.sum(axis=0),
        ("backward", "1", "dx"): da,
        ("backward", "0", "dweight"): X.T @ (da * a * (1 - a)),
        ("backward", "0", "dx"): (da * a * (1 - a)) @ w_1.T,
    }
    for key, value in expected.items():
        np.testing.assert_allclose(trace[key], value, rtol=1e-13, atol=1e-15, err_msg=str(key))
    assert [entry.stage for entry in trace.entries] == ["forward"] * 9 + ["loss"] * 2 + ["backward"] * 8
    assert capsys.readouterr().out == f"{trace}\n"
    assert repr(trace) == f"<StepTrace: 19 arrays, loss {trace.loss:.6g}>"
    with pytest.raises(KeyError, match="nothing was traced as"):
        trace["forward", "2", "x"]


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
    for line in ("    dweight  (2, 3)", "    dbias    (3,)", "    z        (2, 3)"):
        assert any(found.startswith(line) for found in lines)


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
    assert [entry.name for entry in trace.entries if entry.stage == "backward"] == ["da", "dx"]
    assert "  Forgetful(" in str(trace)


def test_the_model_stays_as_it_was(model):
    model.eval()
    state = model.state_dict()
    trace_step(model, nn.SoftmaxCrossEntropy(), X, Y, file=io.StringIO())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert not model.training
    assert not any({"forward", "backward"} & set(vars(module)) for module in model.modules())

"""Gradients against central differences: right ones pass, wrong ones are found by name, and nothing of the model changes."""

import io

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import (
    ActivationDisplay,
    GradientFlow,
    Kink,
    activation_statistics,
    check_gradients,
    gradient_flow,
    numerical_gradient,
    trace_step,
)
from fastprop.inspection.differences import compare_gradients, differences


class Scaled(nn.Module):
    """``scale * x`` with a backward that is off by a factor."""

    def __init__(self, n, wrong_by):
        self.scale, self.wrong_by = nn.Parameter(np.ones(n)), wrong_by

    def forward(self, x):
        self._saved = x
        return self.scale.data * x

    def backward(self, dout, accumulate=False):
        self.scale.grad = self.wrong_by * (dout * self._saved).sum(axis=0)
        return dout * self.scale.data


def _problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)), rng.integers(0, 3, 6)


def _model(*middle, **options):
    return nn.Sequential(nn.Linear(4, 5, activation="tanh", random_state=0), *middle, nn.Linear(5, 3, random_state=1), **options)


def test_numerical_gradient_of_known_functions():
    x = np.random.default_rng(0).normal(size=(2, 3))
    before = x.copy()
    np.testing.assert_allclose(numerical_gradient(lambda v: (v**3).sum(), x), 3 * x**2, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(x, before)
    assert numerical_gradient(lambda v: v * v, 3.0) == pytest.approx(6, rel=1e-9)
    assert numerical_gradient(lambda v: 1.0, np.empty((0, 2))).shape == (0, 2)


def test_numerical_gradient_of_arrays_of_any_layout():
    x = np.random.default_rng(0).normal(size=(4, 6))
    frozen = x.copy()
    frozen.setflags(write=False)
    for array in (x.T, x[::2, ::-3], frozen, x.astype(">f8"), np.broadcast_to(x[0], (3, 6)), np.float32(x), np.array([[1, 2]])):
        np.testing.assert_allclose(numerical_gradient(lambda v: (v**3).sum(), array), 3.0 * array**2, rtol=1e-6, atol=1e-9)
    for wrong in (["1.0", "2.0"], [1j], [None, 1.0]):
        with pytest.raises(TypeError, match="x must be an array of real numbers; got dtype"):
            numerical_gradient(np.sum, wrong)


def test_differences_in_place_of_an_array_that_is_not_contiguous():
    x = np.random.default_rng(0).normal(size=(6, 4)).T[::2]
    before = x.copy()
    found = differences(lambda: (x**2).sum(), x, np.arange(x.size), 1e-5).numerical
    np.testing.assert_allclose(found, 2 * before.ravel(), rtol=1e-8)
    np.testing.assert_array_equal(x, before)


def test_the_error_falls_with_the_square_of_the_step():
    errors = [abs(numerical_gradient(np.exp, 1.0, h=h) - np.e) for h in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.01)


def test_numerical_gradient_errors():
    with pytest.raises(ValueError, match=r"f must return a number; got an array of shape \(2,\)"):
        numerical_gradient(lambda x: x, [1.0, 2.0])
    for h in (0, -1e-5, float("nan")):
        with pytest.raises(ValueError, match="h must be above 0"):
            numerical_gradient(np.sum, [1.0], h=h)


@pytest.mark.parametrize(("factor", "verdict"), [(1 + 1e-6, "correct"), (1 + 1e-4, "look again"), (1.01, "bug")])
def test_thresholds(factor, verdict):
    g = np.array([3.0, -4.0])
    row = compare_gradients("p", g, factor * g)
    assert row.verdict == verdict
    assert row.relative_error == pytest.approx((factor - 1) / (factor + 1), rel=1e-6)
    assert row.max_difference == pytest.approx(4 * (factor - 1), rel=1e-6)
    assert row.norm == 5


def test_zero_gradients_are_correct_and_nan_is_a_bug():
    zero = np.zeros(3)
    assert compare_gradients("p", zero, zero).verdict == "correct"
    assert compare_gradients("p", zero, np.array([0, np.nan, 0])).verdict == "bug"
    assert compare_gradients("p", np.array([np.inf, 0, 0]), zero).verdict == "bug"


def test_differences_below_the_rounding_of_the_loss_are_correct():
    """A bias in front of a batch normalisation changes nothing: its gradient is zero, the differences are not quite."""
    X, y = _problem()
    check = check_gradients(nn.Sequential(nn.Linear(4, 3, random_state=0), nn.BatchNorm1d(3)), nn.SoftmaxCrossEntropy(), X, y)
    assert check["0.bias"].verdict == "correct"
    assert check["0.bias"].max_difference < 10 * 2.3e-16 * 3 / 1e-5
    tiny = np.full(3, 1e-10)
    assert [compare_gradients("p", tiny, 3 * tiny, resolution).verdict for resolution in (2.1e-10, 1.9e-10)] == ["correct", "bug"]


@pytest.mark.parametrize(
    "model",
    [
        _model(),
        _model(nn.Dropout(0.5, random_state=3)),
        _model(nn.BatchNorm1d(5), nn.Sigmoid()),
        _model(nn.Residual(nn.Sequential(nn.Linear(5, 5, random_state=2), nn.Dropout(0.3, random_state=1))), nn.LayerNorm(5)),
        _model(nn.Highway(5, random_state=4), nn.Dropout(0.4, random_state=0), checkpoint_every=2),
        nn.Sequential(nn.DenseConcat([nn.Linear(4, 2, random_state=0), nn.Linear(6, 1, random_state=1)]), nn.Linear(7, 3)),
    ],
    ids=["plain", "dropout", "batch norm", "residual, layer norm", "highway, checkpoints", "dense"],
)
def test_right_models_pass_and_stay_as_they_were(model):
    X, y = _problem()
    X_before, state = X.copy(), model.state_dict()
    counters = [m.n_forwards for m in model.modules() if isinstance(m, nn.Dropout)]
    model.eval()
    check = check_gradients(model, nn.SoftmaxCrossEntropy(), X, y, raise_on="look again")
    assert [row.name for row in check.rows] == [*dict(model.named_parameters()), "X"]
    assert max(row.relative_error for row in check.rows) < 1e-7
    np.testing.assert_array_equal(X, X_before)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert [m.n_forwards for m in model.modules() if isinstance(m, nn.Dropout)] == counters
    assert not any(module.training or module.recomputing for module in model.modules())


def test_a_bug_is_found_where_it_is():
    X, y = _problem()
    model, loss = _model(Scaled(5, wrong_by=1.1)), nn.SoftmaxCrossEntropy()
    check = check_gradients(model, loss, X, y)
    assert {row.name: row.verdict for row in check.rows if row.verdict != "correct"} == {"1.scale": "bug"}
    assert check["1.scale"].relative_error == pytest.approx(0.1 / 2.1, rel=1e-3)
    assert check["1.scale"].shape == (5,)
    assert check.verdict == "bug"
    with pytest.raises(KeyError, match=r"no checked gradient of 'scale'; there are"):
        check["scale"]
    for severity in ("bug", "look again"):
        with pytest.raises(AssertionError, match=r"1\.scale +\(5,\).* bug\n"):
            check_gradients(model, loss, X, y, raise_on=severity)


def test_a_forgotten_gradient_is_a_bug():
    class Forgetful(Scaled):
        def backward(self, dout, accumulate=False):
            return dout * self.scale.data

    X, y = _problem()
    model, loss = _model(Forgetful(5, wrong_by=1)), nn.SoftmaxCrossEntropy()
    check = check_gradients(model, loss, X, y)
    model[1].scale.grad = np.array([check["1.scale"].max_difference] * 5)  # of a backward long ago
    again = check_gradients(model, loss, X, y)
    for found in (check, again):
        assert found["1.scale"].norm == 0
        assert {row.name for row in found.rows if row.verdict == "bug"} == {"1.scale"}


def test_look_again_raises_only_on_request():
    X, y = _problem()
    model, loss = _model(Scaled(5, wrong_by=1 + 1e-4)), nn.SoftmaxCrossEntropy()
    assert check_gradients(model, loss, X, y, raise_on="bug").verdict == "look again"
    with pytest.raises(AssertionError, match="look again"):
        check_gradients(model, loss, X, y, raise_on="look again")


def test_the_table():
    X, y = _problem()
    lines = repr(check_gradients(_model(), nn.SoftmaxCrossEntropy(), X, y)).splitlines()
    assert lines[0].split() == ["parameter", "shape", "|gradient|", "relative", "error", "max", "difference", "verdict"]
    assert [line.split()[0] for line in lines[1:]] == ["0.weight", "0.bias", "1.weight", "1.bias", "X", "together:"]
    assert lines[-1] == "together: correct"


def test_some_elements_of_a_large_model():
    X, y = _problem()
    calls = []

    class Counted(nn.SoftmaxCrossEntropy):
        def __call__(self, outputs, y):
            calls.append(1)
            return super().__call__(outputs, y)

    model = nn.Sequential(nn.Linear(4, 300, activation="relu", random_state=0), nn.Linear(300, 3, random_state=1))
    check = check_gradients(model, Counted(), X, y, n_elements=5)
    assert check.verdict == "correct"
    assert len(calls) == 2 + 2 * (5 + 5 + 5 + 3 + 5)
    assert check["0.weight"].shape == (4, 300)


def test_data_in_fortran_order():
    X, y = _problem()
    assert check_gradients(_model(), nn.SoftmaxCrossEntropy(), np.asfortranarray(X), y).verdict == "correct"


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1][::-1]])
def test_data_and_parameters_in_any_memory_order(layout):
    X, _ = _problem()
    targets = np.random.default_rng(1).normal(size=(6, 3))
    model = nn.Sequential(nn.Linear(4, 3, random_state=0))
    model[0].weight = layout(model[0].weight.data.copy())
    plain = check_gradients(model, nn.MSELoss(), X, targets)
    assert plain.verdict == "correct"
    assert repr(check_gradients(model, nn.MSELoss(), layout(X), layout(targets))) == repr(plain)


class Bilinear(nn.Module):
    """``sum over columns of (a @ weight) * b``, of two inputs, whose backward returns in Fortran order."""

    def __init__(self, factor=1.0):
        self.weight, self.factor = nn.Parameter(np.random.default_rng(5).normal(size=(3, 2))), factor

    def forward(self, a, b):
        self._saved = a, b
        return ((a @ self.weight.data) * b).sum(axis=1, keepdims=True)

    def backward(self, dout, accumulate=False):
        a, b = self._saved
        self.weight.grad = a.T @ (dout * b)
        return np.asfortranarray(dout * (b @ self.weight.data.T)), np.asfortranarray(self.factor * dout * (a @ self.weight.data))


def test_models_with_several_inputs():
    rng = np.random.default_rng(0)
    a, b, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(5, 1))
    check = check_gradients(Bilinear(), nn.MSELoss(), (a, b), y)
    assert [row.name for row in check.rows] == ["weight", "X[0]", "X[1]"]
    assert [row.shape for row in check.rows] == [(3, 2), (5, 3), (5, 2)]
    assert check.verdict == "correct"
    wrong = check_gradients(Bilinear(-1.0), nn.MSELoss(), (a, b), y)
    assert [row.verdict for row in wrong.rows] == ["correct", "correct", "bug"]
    assert [(mistake.name, mistake.gradients) for mistake in wrong.mistakes] == [("wrong sign", ("x_1",))]

    x, z = nn.Input(), nn.Input()
    graph = nn.Graph([x, z], nn.Linear(3, 4, activation="tanh", random_state=0)(x) * nn.Linear(2, 4, random_state=1)(z))
    assert check_gradients(graph, nn.MSELoss(), (a, b), np.zeros((5, 4))).verdict == "correct"
    x, z = nn.Input(), nn.Input()
    joint = nn.Graph([x, z], Bilinear(2.0)(x, z))
    (mistake,) = check_gradients(joint, nn.MSELoss(), (a, b), y).mistakes
    assert (mistake.name, mistake.layer, mistake.gradients) == ("constant factor", "0", ("x_1",))
    model = Bilinear()
    model.backward = lambda dout: np.zeros((5, 3))
    with pytest.raises(ValueError, match=r"gradient with respect to X\[0\] and X\[1\], of shape \(5, 3\), \(5, 2\); got \(5, 3\)"):
        check_gradients(model, nn.MSELoss(), (a, b), y)


XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 1, 1, 0]


def test_zero_biases_and_a_row_of_zeros_are_at_the_kinks_of_relu():
    """For all units at once, so that the derivative of the loss by X may even exist, and be another one."""
    for seed in range(20):
        model = nn.mlp([2, 4, 2], random_state=seed)
        check = check_gradients(model, nn.SoftmaxCrossEntropy(), *XOR, raise_on="look again")
        assert [row.verdict for row in check.rows] == ["correct", "kink", "correct", "correct", "kink"]
        assert check.verdict == "kink"
        assert repr(check).endswith("together: kink")
    for seed in range(3):
        hidden = nn.Linear(4, 5, bias=False, activation="relu", random_state=seed)
        block = nn.Residual(nn.Sequential(nn.Linear(4, 4, random_state=9), nn.ReLU(), nn.Dropout(0.3, random_state=1)))
        layers = nn.mlp([2, 4], random_state=seed)[0], nn.ReLU(), block, hidden, nn.Linear(5, 2, random_state=8)
        for model in (nn.Sequential(*layers), nn.Sequential(*layers, checkpoint_every=2)):
            before = model.state_dict()
            check = check_gradients(model, nn.SoftmaxCrossEntropy(), *XOR)
            assert check.verdict == "kink"
            for name, array in model.state_dict().items():
                np.testing.assert_array_equal(array, before[name], err_msg=name)
            assert not any("forward" in vars(module) for module in model.modules())
            # A second run does not find what the nudges of the first left, and neither does the user.
            assert repr(check_gradients(model, nn.SoftmaxCrossEntropy(), *XOR)) == repr(check)
            np.testing.assert_allclose(np.linalg.norm(model[0].bias.grad), check["0.bias"].norm)


def test_kinks_are_named():
    """Which layer, and which of its units, for which row."""
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    layers = nn.Linear(2, 3, random_state=0), nn.ReLU(), nn.Linear(3, 2, activation="leaky_relu", random_state=1), nn.Linear(2, 2)
    model = nn.Sequential(*layers)
    model[0].bias.data = [0.0, 0.5, 0.0]
    model[2].bias.data = [0.1, 0.3]
    check = check_gradients(model, nn.SoftmaxCrossEntropy(), X, [0, 1, 1])
    assert check.verdict == "kink"
    assert check.kinks == [Kink("1", "ReLU", ((0, 0), (0, 2)))]
    assert "kink: layer '1', ReLU: units 0, 2 in row 0\n" in repr(check)
    fused = nn.mlp([2, 4, 2], random_state=0)
    (kink,) = check_gradients(fused, nn.SoftmaxCrossEntropy(), X, [0, 1, 1]).kinks
    assert (kink.layer, kink.part, kink.positions) == ("0", "Linear", tuple((0, unit) for unit in range(4)))
    loss = nn.ElementwiseLoss(lambda p, y: np.abs(p - y), lambda p, y: np.sign(p - y) - (p == y), name="absolute")
    model = nn.Sequential(nn.Linear(1, 1, random_state=0))
    check = check_gradients(model, loss, [[0.0], [1.0]], [0.0, 5.0])
    assert check.kinks == [Kink("", "ElementwiseLoss", ((0, 0),))]
    graph = nn.Graph(nn.functional.relu(nn.Input().sum()).reshape(1, 1))
    check = check_gradients(graph, nn.MSELoss(), [1.0, -1.0, 0.0], [[1.0]])
    assert "kink: layer '1', ReLU\n" in repr(check)  # its output is one number
    many = Kink("", "ReLU", tuple((row, 1) for row in range(9)))
    assert str(many) == f"ReLU: {'; '.join(f'unit 1 in row {row}' for row in range(5))}; and in 4 more rows"


class Rectifier(nn.Module):
    """relu with another derivative at 0, and a factor in all of them."""

    def __init__(self, at_zero, factor=1.0):
        self.at_zero, self.factor = at_zero, factor

    def forward(self, x):
        self._saved = x
        return np.maximum(x, 0)

    def backward(self, dout, accumulate=False):
        return self.factor * dout * np.where(self._saved == 0, self.at_zero, self._saved > 0)


@pytest.mark.parametrize(
    ("at_zero", "factor", "verdict"),
    [
        (0, 1, "kink"),
        (1, 1, "kink"),
        (0.25, 1, "kink"),
        (7, 1, "bug"),
        (-1, 1, "bug"),
        (np.nan, 1, "bug"),
        (0, 0.5, "bug"),
        (0, 1.1, "bug"),
    ],
)
def test_a_bug_at_a_kink_is_a_bug(at_zero, factor, verdict):
    layers = nn.Linear(2, 4, random_state=0), Rectifier(at_zero, factor), nn.Linear(4, 2, random_state=1)
    check = check_gradients(nn.Sequential(*layers), nn.SoftmaxCrossEntropy(), *XOR)
    assert [check["0.bias"].verdict, check["X"].verdict] == [verdict] * 2
    assert check["2.weight"].verdict == "correct"


@pytest.mark.parametrize(("at_zero", "verdict"), [(-1, "kink"), (0, "correct"), (0.5, "kink"), (1, "kink"), (2, "bug")])
def test_a_kink_of_the_loss(at_zero, verdict):
    loss = nn.ElementwiseLoss(lambda p, y: np.abs(p - y), lambda p, y: np.where(p == y, at_zero, np.sign(p - y)), name="absolute")
    check = check_gradients(nn.Sequential(nn.Linear(1, 1, random_state=0)), loss, [[0.0], [1.0]], [0.0, 5.0])
    assert check["0.bias"].verdict == verdict


def test_a_forgotten_gradient_at_a_kink_is_a_bug():
    """Although zero is the derivative from the left."""

    class Forgetful(Scaled):
        def forward(self, x):
            return x + self.scale.data

        def backward(self, dout, accumulate=False):
            return dout

    model = nn.Sequential(Forgetful(1, wrong_by=1), nn.ReLU())
    check = check_gradients(model, nn.MSELoss(), [[-1.0]], [[1.0]])
    assert [row.verdict for row in check.rows] == ["bug", "kink"]


def test_a_small_step_beside_a_kink():
    """A pre-activation nearer to the kink than h."""
    model = nn.Sequential(nn.Linear(1, 1, random_state=0), nn.ReLU())
    model[0].bias.data = [3e-6]
    check = check_gradients(model, nn.MSELoss(), [[0.0]], [[1.0]])
    assert check["0.bias"].verdict == "kink"
    assert check_gradients(model, nn.MSELoss(), [[0.0]], [[1.0]], h=1e-6).verdict == "correct"


def test_a_gradient_near_an_optimum_has_no_kink():
    """Curvature alone makes the one-sided differences differ."""
    model = nn.Sequential(nn.Linear(1, 1, random_state=0), Scaled(1, wrong_by=1.5))
    model[0].weight.data = [[1.0]]
    check = check_gradients(model, nn.MSELoss(), [[1.0], [2.0]], [[1.0 + 1e-6], [2.0]])
    assert check["1.scale"].verdict == "bug"


def test_a_bug_in_tiny_gradients_is_no_kink():
    """Below the rounding of the smaller steps that look for kinks, but not below that of the check's own."""
    model = nn.Sequential(Scaled(1, wrong_by=1.5), nn.Linear(1, 1, random_state=0))
    model[1].weight.data = [[1e-8]]
    assert check_gradients(model, nn.MSELoss(), [[1.0]], [[1.0]])["0.scale"].verdict == "bug"


def test_nothing_but_the_gradients_changes():
    """Not what a forward kept, so that a backward may still follow, nor counters, generators and running statistics."""

    class Noise(nn.Module):
        def __init__(self):
            self.rng, self.random_state, self.n_calls = np.random.default_rng(0), np.random.RandomState(0), 0

        def forward(self, x):
            self.n_calls += 1
            self.rng.normal(), self.random_state.normal()
            return x

        def backward(self, dout, accumulate=False):
            return dout

    X, y = _problem()
    model, loss = _model(nn.BatchNorm1d(5), nn.Dropout(0.5, random_state=0), nn.Tanh(), Noise()), nn.SoftmaxCrossEntropy()
    loss(model(X), y)
    model[2].eval()
    expected = model.backward(loss.backward())

    def state():
        numbers = model[4].rng.bit_generator.state, model[4].random_state.get_state()[2:], model[4].n_calls, model[2].n_forwards
        return *numbers, [m.training for m in model.modules()], model[1].running_mean.tolist(), model[1].running_var.tolist()

    before = state()
    for inspect in (
        lambda: check_gradients(model, loss, X[:3], y[:3]),
        lambda: trace_step(model, loss, X[:3], y[:3], file=io.StringIO()),
        lambda: activation_statistics(model, X[:3]),
        lambda: gradient_flow(model, loss, X[:3], y[:3]),
        lambda: GradientFlow(model, "outputs").backward(loss.backward()),
        lambda: ActivationDisplay.from_activation(model[3]),
    ):
        inspect()
        assert state() == before
        np.testing.assert_array_equal(model.backward(loss.backward()), expected)


def test_errors():
    X, y = _problem()
    frozen = _model()
    frozen[1].bias.data.setflags(write=False)
    with pytest.raises(ValueError, match=r"parameter '1\.bias' must be writeable for central differences; got a read-only array"):
        check_gradients(frozen, nn.SoftmaxCrossEntropy(), X, y)
    with pytest.raises(TypeError, match="X must be an array of real numbers; got dtype"):
        check_gradients(_model(), nn.SoftmaxCrossEntropy(), X.astype(str), y)
    with pytest.raises(ValueError, match="h must be above 0; got 0"):
        check_gradients(_model(), nn.SoftmaxCrossEntropy(), X, y, h=0)
    backward = _model()
    backward.backward = lambda dout: None
    with pytest.raises(ValueError, match=r"backward must return the gradient with respect to X, of shape \(6, 4\); got None"):
        check_gradients(backward, nn.SoftmaxCrossEntropy(), X, y)
    model = nn.Sequential(nn.Linear(4, 3, dtype=np.float32, random_state=0))
    with pytest.raises(TypeError, match=r"parameter '0\.weight' must be float64 for central differences; got float32"):
        check_gradients(model, nn.SoftmaxCrossEntropy(), X, y)
    with pytest.raises(ValueError, match="raise_on must be None, 'bug' or 'look again'; got 'always'"):
        check_gradients(_model(), nn.SoftmaxCrossEntropy(), X, y, raise_on="always")

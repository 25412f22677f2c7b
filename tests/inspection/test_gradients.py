"""Gradients against central differences: right ones pass, wrong ones are found by name, and nothing of the model changes."""

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import check_gradients, numerical_gradient
from fastprop.inspection.gradients import compare_gradients


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
    with pytest.raises(KeyError, match=r"no gradient of 'scale' was checked"):
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
    assert len(calls) == 1 + 2 * (5 + 5 + 5 + 3 + 5)
    assert check["0.weight"].shape == (4, 300)


def test_errors():
    X, y = _problem()
    model = nn.Sequential(nn.Linear(4, 3, dtype=np.float32, random_state=0))
    with pytest.raises(TypeError, match=r"parameter '0\.weight' must be float64 for central differences; got float32"):
        check_gradients(model, nn.SoftmaxCrossEntropy(), X, y)
    with pytest.raises(ValueError, match="raise_on must be None, 'bug' or 'look again'; got 'always'"):
        check_gradients(_model(), nn.SoftmaxCrossEntropy(), X, y, raise_on="always")

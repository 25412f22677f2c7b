"""Losses: values, gradients by the formula, targets in all forms, and what is refused."""

import numpy as np
import pytest

from fastprop import nn

F64 = {"rtol": 1e-12, "atol": 1e-15}


def test_softmax_cross_entropy_of_labels_one_hot_and_soft_targets(rng):
    logits, labels = rng.normal(size=(5, 3)), np.array([2, 0, 1, 1, 0])
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    onehot = np.eye(3)[labels]
    expected = -np.log(probs[np.arange(5), labels]).mean()
    for y in (labels, labels.astype(np.uint8), onehot, onehot.astype(int), labels.tolist()):
        loss = nn.SoftmaxCrossEntropy()
        assert loss(logits, y) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(loss.backward(), (probs - onehot) / 5, **F64)
        np.testing.assert_allclose(loss.outputs, probs, **F64)
    soft = rng.dirichlet(np.ones(3), 5)
    assert loss(logits, soft) == pytest.approx(-(soft * np.log(probs)).sum(axis=1).mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (probs - soft) / 5, **F64)


def test_binary_cross_entropy(rng):
    z, y = rng.normal(size=(4, 2)), rng.integers(0, 2, (4, 2))
    p = 1 / (1 + np.exp(-z))
    loss = nn.BinaryCrossEntropy()
    assert loss(z, y) == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (p - y) / 8, **F64)
    assert loss(z[:, :1], y[:, 0].astype(bool)) == loss(z[:, :1], y[:, :1])


def test_mean_squared_error(rng):
    z, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    loss = nn.MSELoss()
    assert loss(z, y) == pytest.approx(((z - y) ** 2).mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), 2 * (z - y) / 8, **F64)


def test_poisson(rng):
    z, y = rng.normal(size=(4, 2)), np.array([[0, 1], [2, 3], [0, 2], [1, 5]])
    loss = nn.PoissonLoss()
    terms = np.where(y > 0, y * np.log(np.maximum(y, 1)), 0) - y * z - y + np.exp(z)
    assert loss(z, y) == pytest.approx(terms.mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (np.exp(z) - y) / 8, **F64)
    assert loss(np.log(y[:, 1:]), y[:, 1]) == pytest.approx(0, abs=1e-12)


def test_absolute_error(rng):
    z, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    z[1, 1] = y[1, 1]
    loss = nn.L1Loss()
    assert loss(z, y) == pytest.approx(np.abs(z - y).mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), np.sign(z - y) / 8, **F64)


def test_huber(rng):
    z, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    loss, d = nn.HuberLoss(0.7), np.abs(z - y)
    assert loss(z, y) == pytest.approx(np.where(d <= 0.7, d**2 / 2, 0.7 * (d - 0.35)).mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), np.clip(z - y, -0.7, 0.7) / 8, **F64)
    loss.delta = 100
    assert loss(z, y) == pytest.approx(nn.MSELoss()(z, y) / 2, rel=1e-12)


def test_quantile(rng):
    """One level for all outputs, or one for each; its minimum is at the quantile."""
    z, y, levels = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([0.1, 0.5, 0.9])
    for given, q in ((0.3, 0.3), (levels, levels), (levels.tolist(), levels), (np.float32(0.25), 0.25)):
        loss = nn.QuantileLoss(given)
        assert loss(z, y) == pytest.approx(np.maximum(q * (y - z), (q - 1) * (y - z)).mean(), rel=1e-12)
        np.testing.assert_allclose(loss.backward(), ((z > y) - q) / 12, **F64)
    y = rng.normal(size=101)
    values = [nn.QuantileLoss(0.2)(np.full((101, 1), each), y) for each in np.sort(y)]
    assert np.sort(y)[np.argmin(values)] == np.quantile(y, 0.2)
    with pytest.raises(ValueError, match="quantile must be one number, or one for each of 1 outputs; got 3"):
        nn.QuantileLoss(levels)(np.zeros((101, 1)), y)


def test_gamma_and_tweedie(rng):
    z, y = rng.normal(size=(4, 2)), rng.gamma(2.0, 1.0, (4, 2))
    m = np.exp(z)
    loss = nn.GammaLoss()
    assert loss(z, y) == pytest.approx((np.log(m / y) + y / m - 1).mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (1 - y / m) / 8, **F64)
    np.testing.assert_allclose(loss.outputs, m, **F64)
    assert loss(np.log(y), y) == pytest.approx(0, abs=1e-12)
    y[0], p, loss = 0, 1.7, nn.TweedieLoss(1.7)
    terms = m ** (2 - p) / (2 - p) - y * m ** (1 - p) / (1 - p) + y ** (2 - p) / ((1 - p) * (2 - p))
    assert loss(z, y) == pytest.approx(terms.mean(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (m ** (2 - p) - y * m ** (1 - p)) / 8, rtol=1e-11)
    assert loss(np.log(y[1:]), y[1:]) == pytest.approx(0, abs=1e-12)


def test_parameters_of_losses():
    assert repr(nn.L1Loss()) == "L1Loss()"
    assert repr(nn.HuberLoss(2)) == "HuberLoss(delta=2.0)"
    assert repr(nn.QuantileLoss([0.1, 0.9])) == "QuantileLoss(quantile=(0.1, 0.9))"
    assert repr(nn.TweedieLoss()) == "TweedieLoss(power=1.5)"
    for make, message in (
        (lambda: nn.HuberLoss(0), r"delta must be in \(0, inf\); got 0"),
        (lambda: nn.HuberLoss("1"), "delta must be a real number; got '1'"),
        (lambda: nn.QuantileLoss(1), r"quantile must be in \(0, 1\); got 1"),
        (lambda: nn.QuantileLoss([0.5, 0.0]), r"quantile must be in \(0, 1\); got 0.0"),
        (lambda: nn.TweedieLoss(2), r"power must be in \(1, 2\); got 2"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            make()


EVERY = [nn.SoftmaxCrossEntropy(), nn.BinaryCrossEntropy(), nn.MSELoss(), nn.PoissonLoss(), nn.L1Loss(), nn.HuberLoss()]
EVERY += [nn.QuantileLoss((0.2, 0.8)), nn.GammaLoss(), nn.TweedieLoss()]


@pytest.mark.parametrize("loss", EVERY)
def test_float32_stays_float32(loss):
    loss(np.ones((3, 2), np.float32), np.ones((3, 2)))
    assert loss.backward().dtype == np.float32


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (nn.SoftmaxCrossEntropy(), [0, 3], r"SoftmaxCrossEntropy\(\): y must be in \[0, 2\]; got 3 at position 1"),
        (nn.SoftmaxCrossEntropy(), [-1, 0], r"y must be in \[0, 2\]; got -1 at position 0"),
        (nn.SoftmaxCrossEntropy(), [0, 1, 2], r"y must be 2 integer labels, or targets of shape \(2, 3\); got shape \(3,\)"),
        (nn.SoftmaxCrossEntropy(), [0.0, 1.0], r"y must be 2 integer labels.*dtype float64"),
        (nn.SoftmaxCrossEntropy(), np.ones((2, 2)), r"y must have the shape of the outputs, \(2, 3\); got \(2, 2\)"),
        (nn.BinaryCrossEntropy(), [[0, 1, 2], [0, 1, 1]], r"y must be in \[0, 1\]; got 2.0 at position \(0, 2\)"),
        (nn.BinaryCrossEntropy(), [0, 1], r"y must have the shape of the outputs, \(2, 3\); got \(2,\)"),
        (nn.PoissonLoss(), -np.ones((2, 3)), r"y must be in \[0, inf\]; got -1.0 at position \(0, 0\)"),
        (nn.TweedieLoss(), -np.ones((2, 3)), r"y must be in \[0, inf\]; got -1.0 at position \(0, 0\)"),
        (nn.GammaLoss(), [[1, 2, 0], [1, 1, 1]], r"y must be in \(0, inf\]; got 0.0 at position \(0, 2\)"),
        (nn.MSELoss(), np.ones((3, 2)), r"MSELoss\(\): y must have the shape of the outputs, \(2, 3\); got \(3, 2\)"),
    ],
)
def test_targets_that_do_not_fit(loss, y, message):
    with pytest.raises(nn.ShapeError, match=message):
        loss(np.zeros((2, 3)), y)


def test_no_rows_have_no_mean():
    with pytest.raises(nn.ShapeError, match=r"outputs must have at least one row and column; got shape \(0, 3\)"):
        nn.MSELoss()(np.ones((0, 3)), np.ones((0, 3)))


def test_backward_needs_a_value():
    with pytest.raises(nn.NoForwardError, match=r"MSELoss\(\): backward needs a call of the loss before it"):
        nn.MSELoss().backward()

"""Entropy, cross-entropy and KL divergence: known values, the identity that ties them, and clear errors."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastprop import nn
from fastprop.inspection import cross_entropy, entropy, kl_divergence

POSITIVE = st.floats(1e-6, 1.0)


def _normalised(values):
    return values / values.sum(axis=-1, keepdims=True)


def test_known_values():
    np.testing.assert_allclose(entropy([[0.5, 0.5], [1.0, 0.0]]), [np.log(2), 0])
    assert entropy(np.full(8, 1 / 8)) == pytest.approx(np.log(8))
    # 1/2 log(1/2 / 1/4) + 1/4 log(1/4 / 1/4) + 1/4 log(1/4 / 1/2) = log(2) / 4
    assert kl_divergence([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]) == pytest.approx(np.log(2) / 4)
    assert cross_entropy([0.0, 1.0], [0.25, 0.75]) == pytest.approx(-np.log(0.75))


def test_zeros():
    assert cross_entropy([1.0, 0.0], [0.0, 1.0]) == np.inf
    assert kl_divergence([1.0, 0.0], [0.0, 1.0]) == np.inf
    assert cross_entropy([1.0, 0.0], [1.0, 0.0]) == kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first draw may import for seconds
@given(arrays(np.float64, (2, 4, 3), elements=POSITIVE))
def test_cross_entropy_is_entropy_and_divergence(values):
    p, q = _normalised(values)
    np.testing.assert_allclose(cross_entropy(p, q), entropy(p) + kl_divergence(p, q), rtol=1e-12, atol=1e-12)
    assert (kl_divergence(p, q) >= -1e-15).all()
    assert (entropy(p) <= np.log(3) + 1e-15).all()


def test_the_mean_cross_entropy_is_the_loss():
    rng = np.random.default_rng(0)
    logits, p = rng.normal(size=(7, 4)), _normalised(rng.uniform(size=(7, 4)))
    loss = nn.SoftmaxCrossEntropy()
    assert loss(logits, p) == pytest.approx(cross_entropy(p, loss.outputs).mean(), rel=1e-13)


def test_float32_probabilities_are_distributions():
    logits = np.random.default_rng(0).normal(size=(5, 3000)).astype(np.float32)
    loss = nn.SoftmaxCrossEntropy()
    loss(logits, np.zeros(5, int))
    assert entropy(loss.outputs).dtype == np.float64


@pytest.mark.parametrize("wrong", [[0.5, 0.6], [-0.5, 1.5], [np.nan, 1.0]])
def test_no_distribution(wrong):
    for call in (lambda p: entropy(p), lambda p: kl_divergence([[0.5, 0.5]] * 2, p)):
        with pytest.raises(ValueError, match="must hold distributions, not negative and with sum 1; got row 1 with minimum"):
            call([[0.5, 0.5], wrong])


def test_shapes():
    with pytest.raises(ValueError, match=r"q must have the shape of p, \(2,\); got \(3,\)"):
        cross_entropy([0.5, 0.5], [0.5, 0.25, 0.25])
    with pytest.raises(ValueError, match=r"p must have shape \(n, n_classes\) or \(n_classes,\); got \(\)"):
        entropy(1.0)

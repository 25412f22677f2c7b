"""Initializers: bounds, variances, and scikit-learn's numbers."""

import math

import numpy as np
import pytest

from fastprop import Network, nn

N_IN, N_OUT = 300, 200


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("he_normal", 2 / N_IN),
        ("he_uniform", 2 / N_IN),
        ("lecun_normal", 1 / N_IN),
        ("lecun_uniform", 1 / N_IN),
        ("xavier_normal", 2 / (N_IN + N_OUT)),
        ("xavier_uniform", 2 / (N_IN + N_OUT)),
        ("scikit_learn", 2 / (N_IN + N_OUT)),
        ("zeros", 0),
    ],
)
def test_variances(name, variance):
    layer = nn.Linear(N_IN, N_OUT, init=name, random_state=0)
    weight = layer.weight.data
    # 60,000 draws: the variance is known to 1 / sqrt(30000) = 0.6 %.
    assert weight.var() == pytest.approx(variance, rel=0.03)
    assert abs(weight.mean()) <= 5 * math.sqrt(variance / weight.size)
    if "uniform" in name or name == "scikit_learn":
        assert np.abs(weight).max() <= math.sqrt(3 * variance)
    assert layer.bias.data.any() == (name == "scikit_learn")


def test_a_number_repeats_and_a_generator_goes_on():
    first, second = (nn.Linear(3, 4, random_state=5).weight.data for _ in range(2))
    np.testing.assert_array_equal(first, second)
    generator = np.random.default_rng(5)
    first, second = (nn.Linear(3, 4, random_state=generator).weight.data for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_scikit_learns_numbers(activation):
    sizes = [4, 5, 6]
    network = Network(sizes, activation)
    network.initialize(np.random.RandomState(3))
    model = nn.mlp(sizes, activation, init="scikit_learn", random_state=np.random.RandomState(3))
    hidden = 1 if activation == "sigmoid" else 2  # the last layer of a model does not know the activation of the hidden ones
    for layer, weight, bias in list(zip(model, network.coefs, network.intercepts, strict=True))[:hidden]:
        np.testing.assert_array_equal(layer.weight.data, weight)
        np.testing.assert_array_equal(layer.bias.data, bias)


def test_an_initializer_of_ones_own_and_again_later():
    layer = nn.Linear(2, 3, init=lambda layer, random_state: layer.weight.data.fill(0.5))
    assert (layer.weight.data == 0.5).all()
    nn.init.zeros(layer)
    assert not layer.weight.data.any()

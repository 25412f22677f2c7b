"""The activations as layers: a class for each in the specification, with the right derivative."""

import copy
import pickle

import numpy as np
import pytest

from fastprop import kernels, nn
from fastprop.kernels.spec import ACTIVATIONS
from fastprop.nn.activations import ACTIVATION_LAYERS

# Away from the kinks at 0, and from where softplus becomes the identity.
X = np.concatenate([np.linspace(-30, -0.01, 200), np.linspace(0.01, 19.9, 200), np.linspace(20.1, 40, 20)]).reshape(20, 21)


def test_every_activation_of_the_specification_is_a_public_layer():
    assert set(ACTIVATION_LAYERS) == set(ACTIVATIONS)
    for cls in ACTIVATION_LAYERS.values():
        assert getattr(nn, cls.__name__) is cls
        assert cls.__name__ in nn.__all__


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_the_kernels(name):
    layer = ACTIVATION_LAYERS[name]()
    np.testing.assert_array_equal(layer(X), kernels.activation_forward(X, name))
    fused = nn.Linear(21, 21, activation=name, init="zeros")
    fused.weight.data = np.eye(21)
    np.testing.assert_allclose(fused(X), layer(X), rtol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives(name):
    """Fourth-order central differences: truncation h^4, rounding 1e-16 |a| / h."""
    layer, h = ACTIVATION_LAYERS[name](), 1e-3
    a, b, c, d = (layer(X + k * h) for k in (-2, -1, 1, 2))
    expected = (a - 8 * b + 8 * c - d) / (12 * h)
    dout = np.full_like(X, 0.5)
    layer(X)
    np.testing.assert_allclose(layer.backward(dout), 0.5 * expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("cls", ACTIVATION_LAYERS.values())
def test_copies(cls):
    for copied in (copy.deepcopy(cls()), pickle.loads(pickle.dumps(cls()))):
        assert type(copied) is cls
        np.testing.assert_array_equal(copied(X), cls()(X))


def test_a_class_derived_from_one_has_its_function():
    class Renamed(nn.GELU):
        pass

    np.testing.assert_array_equal(Renamed()(X), nn.GELU()(X))
    assert ACTIVATION_LAYERS["gelu"] is nn.GELU

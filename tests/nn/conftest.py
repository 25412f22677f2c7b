"""What the tests of nn share: data, and gradients by finite differences.

A gradient is right if the relative error |a - n| / (|a| + |n|) over each parameter, and over the input, is below `TOLERANCE`.
"""

import numpy as np
import pytest

from fastprop import nn

TOLERANCE = 1e-7
# Fourth-order central differences: the truncation error is of the order of STEP^4, the rounding error of 1e-16 / STEP.
STEP = 1e-5
STENCIL = ((1, -2), (-8, -1), (8, 1), (-1, 2))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def batch(rng):
    """x (6, 4) and class numbers y (6,) of 3 classes."""
    return rng.normal(size=(6, 4)), np.array([0, 1, 2, 2, 1, 0])


def value_of(model, loss, x, y):
    """The loss of a forward in which dropout draws the same numbers every time."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.n_forwards = 0
    return loss(model(x), y)


def differences(function, array, step):
    """The derivative of a function without arguments by every element of an array, which it reads."""
    gradient, flat = np.empty_like(array), array.reshape(-1)
    for i, value in enumerate(flat.copy()):
        total = 0.0
        for coefficient, k in STENCIL:
            flat[i] = value + k * step
            total += coefficient * function()
        flat[i] = value
        gradient.reshape(-1)[i] = total / (12 * step)
    return gradient


def relative_error(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b) + 1e-300)


@pytest.fixture(scope="session")
def gradient_errors():
    """gradient_errors(model, loss, x, y): a dict name of a parameter, or 'x' -> relative error, of what can be judged.

    Finite differences with another step say how far they can be trusted: elements for which the two disagree, as at a kink of
    relu, are left out, and so are arrays of which fewer than half of the elements remain. A gradient that is zero but for rounding,
    as that of a bias in front of a batch norm, has no relative error: it must be as small as what the differences can resolve.
    """

    def errors(model, loss, x, y):
        def function():
            return value_of(model, loss, x, y)

        floor = 100 * np.finfo(np.float64).eps * max(1.0, abs(function())) / STEP
        gradients = {"x": model.backward(loss.backward())}
        arrays = {"x": x}
        for name, parameter in model.named_parameters():
            gradients[name], arrays[name] = parameter.grad.copy(), parameter.data
        found = {}
        for name, array in arrays.items():
            numerical, other = (differences(function, array, step) for step in (STEP, 3 * STEP))
            trusted = np.abs(numerical - other) <= 0.1 * TOLERANCE * (np.linalg.norm(numerical) + np.linalg.norm(other))
            if trusted.mean() < 0.5 and max(np.linalg.norm(numerical), np.linalg.norm(gradients[name])) >= floor:
                continue
            analytic, numerical = gradients[name][trusted], numerical[trusted]
            is_zero = np.linalg.norm(numerical) < floor and np.linalg.norm(analytic) < floor
            found[name] = 0.0 if is_zero else relative_error(analytic, numerical)
        return found

    return errors


@pytest.fixture(scope="session")
def assert_gradients(gradient_errors):
    """assert_gradients(model, loss, x, y): all gradients can be judged, and are right."""

    def check(model, loss, x, y):
        errors = gradient_errors(model, loss, x, y)
        assert set(errors) == {"x", *(name for name, _ in model.named_parameters())}
        assert max(errors.values()) < TOLERANCE, errors

    return check


class Counting(nn.Module):
    """A block that counts its forwards."""

    def __init__(self, block):
        self.block, self.n_forwards = block, 0

    def forward(self, x):
        self.n_forwards += 1
        return self.block.forward(x)

    def backward(self, dout, accumulate=False):
        return self.block.backward(dout, accumulate)


@pytest.fixture
def counting():
    return Counting

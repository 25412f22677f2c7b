"""Targets on their way to the networks and back, up to the largest numbers."""

import warnings

import numpy as np
import pytest

from fastprop.tabular.targets import FARTHEST, Scale, near_one

MAX, SMALLEST = np.finfo(np.float64).max, 5e-324
rng = np.random.default_rng(0)
TARGETS = {
    "normal": rng.normal(size=50),
    "far from zero": 1e9 + rng.normal(size=50),
    "largest": rng.choice([-MAX, MAX], 50),
    "smallest": SMALLEST * rng.integers(-5, 5, 50),
    "constant": np.full(50, 0.1),
    "zeros": np.zeros(50),
    "one outlier": np.append(rng.normal(size=49), 1e300),
}


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_there_and_back(name, positive):
    y = np.abs(TARGETS[name])[:, None] if positive else TARGETS[name][:, None]
    scale = Scale.of(y, None, positive)
    targets = scale.network_targets(y)
    assert np.isfinite(targets).all()
    mean, std = scale.mean_and_std([targets, targets], np.array([0.25, 0.75]))
    np.testing.assert_allclose(mean, y, rtol=1e-9, atol=1e-15 * np.abs(y).max() + SMALLEST)
    assert (std <= 1e-9 * np.abs(y).max() + SMALLEST).all()
    varies = name not in ("constant", "zeros")
    if not positive:
        np.testing.assert_allclose([targets.mean(), targets.std()], [0, varies], atol=1e-6)
    elif y.any():
        np.testing.assert_allclose(targets.mean(), 1)


@pytest.mark.parametrize("name", TARGETS)
def test_outputs_of_any_size(name):
    """Each network's predictions are within the range of training data before they are averaged."""
    y = TARGETS[name][:, None]
    scale = Scale.of(y, None, False)
    far = np.full((3, 1), 3e38)
    for outputs, expected in (([far, far], y.max()), ([-far], y.min())):
        mean, std = scale.mean_and_std(outputs, np.ones(len(outputs)))
        np.testing.assert_array_equal(mean, np.full((3, 1), expected))
        np.testing.assert_array_equal(std, np.zeros((3, 1)))
    mean, std = scale.mean_and_std([far, -far], np.array([0.75, 0.25]))
    np.testing.assert_allclose(mean, 0.75 * y.max() + 0.25 * y.min(), rtol=1e-12, atol=SMALLEST)
    np.testing.assert_allclose(std, np.sqrt(3) / 4 * y.max() - np.sqrt(3) / 4 * y.min(), rtol=1e-7, atol=2 * SMALLEST)


def test_targets_far_from_those_of_training():
    scale = Scale.of(np.array([[1e-300], [2e-300]]), None, False)
    np.testing.assert_array_equal(scale.network_targets(np.array([[1.0], [-MAX]])), [[FARTHEST], [-FARTHEST]])


def test_weights():
    y = np.array([[1.0], [2.0], [4.0], [1e9]])
    scale, plain = (Scale.of(*given, False) for given in ((y, np.array([1, 1, 1, 0.0])), (y[:3], None)))
    for name in vars(plain):
        np.testing.assert_array_equal(getattr(scale, name), getattr(plain, name))
    for factor in (1e-300, 1e300, -1):
        np.testing.assert_allclose(Scale.of(y, factor * np.array([1, 1, 1, 0.0]), False).location, plain.location)
    assert np.isfinite(Scale.of(y, np.array([1, -1, 1, -1.0]), False).location)


def test_near_one():
    for factor in (1, 1e-300, 1e300, SMALLEST, -1):
        found = near_one(factor * np.array([0, 1.0, 0.5]))
        assert 0.5 <= np.abs(found).max() < 1
    weights = rng.uniform(size=10)
    np.testing.assert_array_equal(near_one(weights) / weights, np.full(10, near_one(weights)[0] / weights[0]))
    assert near_one(weights.astype(np.float32)).dtype == np.float32

"""Dropout of the estimators: which units training drops, seen at the weights that a step leaves as they are.

In a step of plain gradient descent on one row, the weights behind a dropped unit get no update, and those behind any other unit do.
"""

import math

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

RATES, SIZES = (0.25, 0.6), (150, 100)
ONE_ROW = {
    "hidden_layer_sizes": SIZES,
    "dropout": RATES,
    "activation": "softplus",  # nowhere 0
    "solver": "sgd",
    "momentum": 0.0,
    "alpha": 0.0,
    "learning_rate_init": 1e-3,
    "batch_size": 1,
}
ROW, TARGET = np.array([[0.5, -1.0, 2.0]]), np.array([3.0])


def dropped(before, after):
    """For each hidden layer, which units an update has left alone; of those before the last layer by all that remain there."""
    kept = np.flatnonzero((before[2] != after[2]).any(axis=1))
    assert len(kept)  # else nothing behind the first layer is updated either
    return [(before[1][:, kept] == after[1][:, kept]).all(axis=1), (before[2] == after[2]).all(axis=1)]


@pytest.fixture
def masks(make):
    """masks(n, estimator) -> which units each of n steps drops, one after the other: a pair of arrays (n, n_units)."""

    def masks(n, estimator=None):
        estimator, found = make("one output", **ONE_ROW) if estimator is None else estimator, []
        if not hasattr(estimator, "coefs_"):  # the first step is not seen
            estimator.partial_fit(ROW, TARGET)
        for _ in range(n):
            before = [coef.copy() for coef in estimator.coefs_]
            estimator.partial_fit(ROW, TARGET)
            found.append(dropped(before, estimator.coefs_))
        return [np.array(each) for each in zip(*found, strict=True)]

    return masks


@pytest.fixture
def expected(make, masks_of):
    """The masks of all back ends, of steps 2 to 21: what the reference kernel drops with the seeds of an estimator."""
    estimator = make("one output", **ONE_ROW).partial_fit(ROW, TARGET)
    seeds = estimator._optimizer.masks.seeds
    each = [[mask[0] == 0 for mask in masks_of(RATES, seeds, update, 1, SIZES)] for update in range(2, 22)]
    return [np.array(layer) for layer in zip(*each, strict=True)]


def test_masks_are_equal_on_all_back_ends(back_end, masks, expected):
    for found, reference in zip(masks(20), expected, strict=True):
        np.testing.assert_array_equal(found, reference)


def test_the_rates(masks):
    """Within 4 standard deviations, of all units together and of the units at each place; and no two masks are the same."""
    for found, rate in zip(masks(200), RATES, strict=True):
        sigma = math.sqrt(rate * (1 - rate) / found.size)
        assert abs(found.mean() - rate) < 4 * sigma
        assert np.abs(found.mean(axis=0) - rate).max() < 5 * math.sqrt(rate * (1 - rate) / len(found))
        assert len(np.unique(found, axis=0)) == len(found)


def test_layers_and_seeds_have_masks_of_their_own(make, masks):
    first, second = masks(5, make("one output", **ONE_ROW | {"hidden_layer_sizes": (100, 100), "dropout": 0.5}))
    assert (first != second).mean() > 0.4
    others, _ = masks(5, make("one output", **ONE_ROW | {"hidden_layer_sizes": (100, 100), "dropout": 0.5, "random_state": 4}))
    assert (first != others).mean() > 0.4


def test_kept_units_are_scaled_up(make):
    """Where the output is 0, a step takes the weights behind a unit in proportion to what the unit gave."""
    estimator = make("one output", **ONE_ROW | {"hidden_layer_sizes": (400,), "dropout": 0.4}).partial_fit(ROW, TARGET)
    estimator.coefs_[1][:], estimator.intercepts_[1][:] = 0, 0
    hidden = estimator.transform(ROW)[0]  # without dropout
    change = estimator.partial_fit(ROW, TARGET).coefs_[1].ravel()
    is_kept = change != 0
    assert 0.5 < is_kept.mean() < 0.7
    np.testing.assert_allclose(change[is_kept], 1e-3 * TARGET * hidden[is_kept] / 0.6, rtol=1e-12)


@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_training_is_equal_on_all_back_ends_and_threads(back_end, problem, make, learnt, assert_learnt, target):
    X, y = problem(target)
    options = {"dropout": RATES, "batch_size": 20, "activation": "silu", "normalization": "layer"}
    fitted = [make(target, n_jobs=n_jobs, **options).fit(X, y) for n_jobs in (1, 3)]
    assert_learnt(fitted[1], learnt(fitted[0]))
    if back_end != "reference":
        return
    without = make(target, **options | {"dropout": 0.0}).fit(X, y)
    assert np.abs(without.coefs_[0] - fitted[0].coefs_[0]).max() > 1e-2


def test_a_warm_start_goes_on_with_other_masks(make, masks, expected):
    """Its first step is the next one of an unbroken run."""
    estimator = make("one output", **ONE_ROW | {"warm_start": True, "max_iter": 1}).fit(ROW, TARGET)
    for step in range(5):
        before = [coef.copy() for coef in estimator.coefs_]
        estimator.fit(ROW, TARGET)
        for found, reference in zip(dropped(before, estimator.coefs_), expected, strict=True):
            np.testing.assert_array_equal(found, reference[step])
    for found, reference in zip(masks(5, estimator), expected, strict=True):  # and partial_fit after that
        np.testing.assert_array_equal(found, reference[5:10])


def test_fit_anew_has_the_first_masks_again(make):
    estimator = make("one output", **ONE_ROW | {"max_iter": 4})
    first = [coef.copy() for coef in estimator.fit(ROW, TARGET).coefs_]
    for one, other in zip(estimator.fit(ROW, TARGET).coefs_, first, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dropout_that_comes_later_and_goes(make, masks):
    """Masks count the updates of the optimizer, also those without dropout."""
    estimator = make("one output", **ONE_ROW | {"dropout": 0.0}).partial_fit(ROW, TARGET)
    assert not any(each.any() for each in masks(1, estimator))
    assert all(each.any() for each in masks(1, estimator.set_params(dropout=0.5)))
    assert not any(each.any() for each in masks(1, estimator.set_params(dropout=0.0)))

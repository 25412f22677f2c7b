"""Which rows the members hold out."""

import numpy as np
import pytest

from fastprop.tabular.folds import held_out_rows


def drawn(n_rows=60, fraction=0.2, n_members=5, classes=None, rotates=True, seed=0):
    return held_out_rows(n_rows, fraction, n_members, classes, rotates, np.random.RandomState(seed))


@pytest.mark.parametrize("n_rows", [2, 3, 10, 61])
@pytest.mark.parametrize("fraction", [1e-9, 0.2, 0.5])
def test_share(n_rows, fraction):
    for rows in drawn(n_rows, fraction, 7):
        assert len(rows) == max(1, np.ceil(n_rows * fraction))
        assert (np.diff(rows) > 0).all()
        assert set(rows) <= set(range(n_rows))


def test_every_row_is_held_out_once_in_a_round():
    np.testing.assert_array_equal(np.sort(np.concatenate(drawn())), np.arange(60))
    first, *others = drawn(rotates=False)
    for rows in others:
        np.testing.assert_array_equal(rows, first)
    assert (drawn(seed=1)[0] != first).any()


@pytest.mark.parametrize("rotates", [True, False])
def test_each_class_in_proportion(rotates):
    classes = np.repeat([0, 1, 2], [30, 20, 10])
    for seed in range(5):
        for rows in drawn(classes=np.random.RandomState(seed).permutation(classes), rotates=rotates, seed=seed):
            assert len(rows) == 12
    for rows in drawn(classes=classes, rotates=rotates):
        np.testing.assert_allclose(np.bincount(classes[rows]), [6, 4, 2], atol=1)


@pytest.mark.parametrize(("n_rows", "fraction", "n_held_out"), [(1, 0.2, 1), (3, 0.9, 3)])
def test_too_few_rows(n_rows, fraction, n_held_out):
    words = rf"n_samples = {n_rows} with validation_fraction={fraction} leaves {n_held_out} rows to validate on and 0 to train on"
    with pytest.raises(ValueError, match=words):
        drawn(n_rows, fraction)

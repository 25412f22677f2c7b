"""The arithmetic of a round, without a cluster."""

import numpy as np
import pytest

pytest.importorskip("distributed", reason="dask and distributed are not installed")
from fastprop.dask.partitions import dealt, n_dealt
from fastprop.dask.rounds import OuterStep, Result, batch_of, mean, momentum_for
from fastprop.estimators.rows import InMemory


def results(weights, seed=0):
    generator = np.random.default_rng(seed)
    return [Result(generator.normal(size=5), float(w), float(w) / 7, int(w), 3 + i) for i, w in enumerate(weights)]


def test_the_mean_is_by_weight_of_blocks_and_by_rows_of_losses():
    given = results([3, 0, 1, 6])
    found, weights = mean(given), [each.weight for each in given]
    np.testing.assert_allclose(found.block, np.average([each.block for each in given], axis=0, weights=weights), rtol=1e-14)
    assert found.loss == pytest.approx(np.average([each.loss for each in given], weights=weights), rel=1e-14)
    assert (found.weight, found.n_rows, found.n_steps) == (10, 10, 6)


def test_the_mean_of_means_is_that_of_all():
    given = results([3, 0, 1, 6, 2])
    np.testing.assert_allclose(mean([mean(given[:2]), mean(given[2:])]).block, mean(given).block, rtol=1e-14)


@pytest.mark.parametrize("weights", [[3], [3, 0], [0, 3], [0, 3, 0], [0, 0]])
def test_what_counts_alone_keeps_its_bits(weights):
    given = results(weights)
    copies = [each.block.copy() for each in given]
    np.testing.assert_array_equal(mean(given).block, given[int(np.argmax(weights))].block)
    for each, before in zip(given, copies, strict=True):
        np.testing.assert_array_equal(each.block, before)  # other tasks may read them


def test_the_outer_step():
    params, mean_1, mean_2 = np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([5.0, 5.0])
    plain = OuterStep(0, [0.5, 0.5], "adam")
    plain.make(params, mean_1)
    np.testing.assert_array_equal(params, mean_1)
    params, step = np.array([1.0, 2.0]), OuterStep(0.5, [0.5, 0.5], "adam")
    step.make(params, mean_1)  # moves by (1, 2), the velocity
    np.testing.assert_allclose(params, [2.5, 5.0])
    step.make(params, mean_2)  # moves by (2.5, 0), the velocity is (3, 1)
    np.testing.assert_allclose(params, [2.5 + 2.5 + 1.5, 5.0 + 0.5])


def test_momentum_for():
    assert momentum_for([0.25] * 4, "adam") == 0.5
    assert momentum_for([0.25] * 4, "sgd") == 0
    assert momentum_for([1.0], "adamw") == 0
    assert momentum_for([0.99, 0.01], "adam") < 0.011  # as nearly one partition
    assert momentum_for([1 / 9] * 9, "rmsprop") == pytest.approx(2 / 3)


def test_a_batch_is_shared_by_rows():
    assert [batch_of(n, 200, 1000) for n in (500, 400, 99, 1)] == [100, 80, 20, 1]
    assert batch_of(1000, 200, 1000) == 200


@pytest.mark.parametrize("counts", [[10, 10, 10], [7, 1, 23, 2], [1, 1]])
def test_rows_are_dealt_once_and_evenly(counts):
    n_parts, X = 3, np.arange(sum(counts))[:, None]
    parts = np.split(X, np.cumsum(counts)[:-1])
    found = [dealt(InMemory(part, part[:, 0], None, None), place, n_parts, 5) for place, part in enumerate(parts)]
    for place, (pieces, n) in enumerate(zip(found, counts, strict=True)):
        assert [len(piece.y) for piece in pieces] == n_dealt(n, place, n_parts).tolist()
    sizes = sum(n_dealt(n, place, n_parts) for place, n in enumerate(counts))
    assert sizes.max() - sizes.min() <= len(counts)
    assert sorted(np.concatenate([piece.y for pieces in found for piece in pieces])) == list(range(sum(counts)))
    again = dealt(InMemory(parts[0], parts[0][:, 0], None, None), 0, n_parts, 5)
    assert all((one.y == other.y).all() for one, other in zip(found[0], again, strict=True))

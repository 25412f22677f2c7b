"""Dropout: the generator against published numbers, the same bits in every back end, and what a good mask must look like."""

import numpy as np
import pytest

from fastprop.kernels import random_bits

# Seeds and streams that differ in one bit, in the upper half only, or are the largest.
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0), (0, 2**32), (2**64 - 1, 2**64 - 1), (42, 7)]
N = 2**19


def mask(seed, stream, rate=0.5, shape=(1, N)):
    """What is kept, from the reference."""
    from fastprop import kernels

    return kernels.load("reference").dropout_forward(np.ones(shape), rate, seed, stream) > 0


def correlation(a, b):
    """The correlation coefficient of two masks, in standard deviations of that of independent ones."""
    return np.corrcoef(a.ravel(), b.ravel())[0, 1] * np.sqrt(a.size)


def test_the_generator_is_splitmix64():
    """The first numbers from the seed 1234567, as published with the reference implementations of SplitMix64."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [random_bits.random_bits(1234567, i) for i in range(5)] == published
    np.testing.assert_array_equal(random_bits.random_bits(1234567, np.arange(5, dtype=np.uint64)), np.array(published, np.uint64))


def test_element_by_element(oracle):
    """The definition in Python integers: element c is dropped where the upper 32 of its bits are below the threshold."""
    x = np.arange(1.0, 36.0).reshape(5, 7)
    y = oracle.dropout_forward(x, 0.3, 5, 9)
    key = random_bits.random_bits(5, 9)
    for c in range(35):
        kept = random_bits.random_bits(key, c) >> 32 >= round(0.3 * 2**32)
        assert y.flat[c] == (x.flat[c] * (1 / (1 - 0.3)) if kept else 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1 - 1e-12])
@pytest.mark.parametrize("name", ["dropout_forward", "dropout_backward"])
def test_same_bits_in_every_back_end(backend, oracle, draw, dtype, sizes, name, rate):
    for size in sizes:
        for shape, n_threads in (((size, 5), 1), ((3, size), 2), ((70, size), 3)):
            for seed, stream in PAIRS[::3]:
                x, out = draw(*shape), np.full(shape, np.nan, dtype)
                expected = getattr(oracle, name)(x, rate, seed, stream)
                assert getattr(backend, name)(x, rate, seed, stream, out, n_threads) is out
                np.testing.assert_array_equal(out, expected)
                assert getattr(backend, name)(x, rate, seed, stream, x, n_threads) is x
                np.testing.assert_array_equal(x, expected)
                assert out.dtype == expected.dtype == dtype


def test_the_mask_depends_on_the_position_alone(backend, draw, dtype):
    ones = np.ones((12, 35), dtype)
    y = backend.dropout_forward(ones, 0.4, 3, 1)
    np.testing.assert_array_equal(backend.dropout_forward(ones.reshape(20, 21), 0.4, 3, 1).ravel(), y.ravel())
    np.testing.assert_array_equal(backend.dropout_forward(ones[:5], 0.4, 3, 1), y[:5])
    np.testing.assert_array_equal(backend.dropout_backward(ones, 0.4, 3, 1), y)
    assert (backend.dropout_forward(ones, 0.4, 3, 2) != y).any()
    assert (backend.dropout_forward(ones, 0.4, 4, 1) != y).any()


def test_what_is_dropped_is_0_and_the_rest_is_scaled(backend, draw, dtype):
    x = draw(50, 40)
    kept = backend.dropout_forward(np.ones_like(x), 0.25, 1) > 0
    x[0], x[1] = np.nan, np.inf
    y = backend.dropout_forward(x, 0.25, 1)
    np.testing.assert_array_equal(y[~kept], 0)
    np.testing.assert_array_equal(y[kept], x[kept] * dtype.type(1 / 0.75))
    np.testing.assert_array_equal(backend.dropout_forward(x, 0.0, 1), x)


def test_kept_numbers_of_a_smaller_rate_hold_those_of_a_larger():
    assert not (mask(1, 2, 0.6) & ~mask(1, 2, 0.3)).any()


@pytest.mark.parametrize(("seed", "stream"), PAIRS, ids=str)
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_the_share_that_is_kept(seed, stream, rate):
    """Within five standard deviations, over all, and over every row and column of a matrix."""
    kept = mask(seed, stream, rate, (512, 1024))
    deviation = np.sqrt(rate * (1 - rate))
    for axis, n in ((None, N), (0, 512), (1, 1024)):
        assert np.abs(kept.mean(axis=axis) - (1 - rate)).max() < 5 * deviation / np.sqrt(n)


@pytest.mark.parametrize(("seed", "stream"), PAIRS, ids=str)
def test_elements_at_any_distance_are_uncorrelated(seed, stream):
    kept = mask(seed, stream).ravel()
    for distance in (1, 2, 3, 7, 8, 16, 64, 100, 1000, 1024, 2**16):
        assert abs(correlation(kept[distance:], kept[:-distance])) < 5


def test_streams_and_seeds_are_uncorrelated():
    masks = [mask(*pair) for pair in PAIRS]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs(correlation(one, other)) < 5
    assert correlation(masks[0], masks[0]) > 100  # the twin


def test_successive_streams_are_uncorrelated_at_each_element():
    """One element over many streams, as a network sees it step after step."""
    kept = np.stack([mask(11, stream, shape=(1, 64)).ravel() for stream in range(4096)])
    assert np.abs(kept.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4096)
    for distance in (1, 2, 8, 256):
        assert abs(correlation(kept[distance:], kept[:-distance])) < 5


@pytest.mark.parametrize(("seed", "stream"), PAIRS, ids=str)
def test_all_patterns_of_eight_neighbours_are_equally_frequent(seed, stream):
    """Pearson's chi-squared with 255 degrees of freedom: mean 255, variance 510."""
    patterns = np.packbits(mask(seed, stream).ravel())
    counts = np.bincount(patterns, minlength=256)
    expected = len(patterns) / 256
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 5 * np.sqrt(510)


def test_the_mean_is_kept(backend, dtype):
    y = backend.dropout_forward(np.ones((512, 512), dtype), 0.3, 1)
    assert abs(float(y.mean(dtype=np.float64)) - 1) < 5 * np.sqrt(0.3 / 0.7) / 512

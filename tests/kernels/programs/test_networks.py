"""Networks of all kinds of layers: gradients by central differences, and every back end against the reference in float64."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop.kernels import spec
from fastprop.kernels.int8 import NO_CODES, NO_SCALES
from fastprop.kernels.layer_table import parameter_views

N_OUT = 4


def test_the_cases_have_every_kind_before_every_other(tables):
    kinds = set(spec.KINDS.values()) - {spec.KINDS["link"]}
    assert {int(table[0]["kind"]) for table in tables} == kinds
    assert {int(table[-2]["kind"]) for table in tables} >= {spec.KINDS[kind] for kind in ("linear", "activation", "layer_norm")}
    followed = {pair for table in tables for pair in pairwise(table["kind"][:-1].tolist())}
    assert len(followed) >= 0.9 * len(kinds) ** 2, sorted(followed)


# Gradients


@pytest.mark.parametrize("dtype", [np.dtype(np.float64)], ids=str)
def test_gradient_by_central_differences(oracle, problem, gradient, rng):
    """Of the reference, which the next test compares every back end with."""
    given = problem(7, smooth=True)
    weight, alpha, h = rng.random(7) + 0.1, 0.3, 1e-3
    views = [
        views[0]
        for views, row in zip(parameter_views(given["layers"], given["params"]), given["layers"], strict=True)
        if row["kind"] == spec.KINDS["linear"]
    ]

    def value(alpha=0.0):
        return gradient(oracle, given, alpha=alpha, sample_weight=weight)[0]

    def objective():
        # scikit-learn divides the value of squared error by n_out, and its gradient not.
        factor = N_OUT if given["loss"] == "squared_error" else 1
        return factor * value() + alpha / 2 * sum((view**2).sum() for view in views) / weight.sum()

    analytic, params = gradient(oracle, given, alpha=alpha, sample_weight=weight)[1], given["params"]
    some = rng.permutation(len(params))[:80]
    numeric = analytic.copy()
    for i in some:
        at, differences = params[i], []
        for steps in (-2, -1, 1, 2):
            params[i] = at + steps * h
            differences.append(objective())
        params[i], numeric[i] = at, np.dot([1, -8, 8, -1], differences) / (12 * h)
    assert np.abs(analytic - numeric).max() <= 1e-7 * np.abs(numeric[some]).max()
    np.testing.assert_allclose(value(alpha) - value(), alpha / 2 * sum((view**2).sum() for view in views) / weight.sum(), rtol=1e-9)


def test_outputs_loss_and_gradient(backend, oracle, problem, gradient, forward, rng, in_float64, assert_close, dtype):
    for n in (1, 2, 37, 300):
        given = problem(n)
        kept = {key: value.tobytes() for key, value in given.items() if isinstance(value, np.ndarray)}
        outputs = forward(oracle, in_float64(given))
        for n_threads, weight in ((1, None), (2, rng.random(n).astype(dtype)), (3, None)):
            assert_close(forward(backend, given, n_threads=n_threads), outputs, dtype, "network")
            expected = gradient(oracle, in_float64(given), alpha=0.1, **in_float64({"sample_weight": weight}))
            got = gradient(backend, given, alpha=0.1, sample_weight=weight, n_threads=n_threads)
            assert_close(got[0], expected[0], dtype, "network")
            assert_close(got[1], expected[1], dtype, "network", magnitude=max(np.abs(expected[1]).max(), 0.1))
        assert all(given[key].tobytes() == value for key, value in kept.items())


def test_training(backend, oracle, problem, epochs, rng, in_float64, assert_close, dtype):
    """With a short last batch, with batches of one row, and with sample weights, of which those of a batch sum to zero."""
    given = problem(41)
    optimizer = list(spec.OPTIMIZERS)[len(given["params"]) % len(spec.OPTIMIZERS)]
    weight, orders = rng.random(41).astype(dtype), [rng.permutation(41) for _ in range(2)]
    weight[orders[0][10:20]] = 0
    for n_threads, options in enumerate(({}, {"batch_size": 1}, {"sample_weight": weight, "alpha": 0.1}), start=1):
        expected = epochs(oracle, in_float64(given), orders, optimizer, **in_float64(options))
        got = epochs(backend, given, orders, optimizer, **options, n_threads=n_threads)
        for actual, exact in zip(got, expected, strict=True):
            assert_close(actual, exact, dtype, "epoch")
        assert not np.array_equal(got[1], given["params"])


def test_sparse_rows(backend, oracle, problem, epochs, gradient, forward, rng, in_float64, assert_close, dtype):
    """Where the program takes them."""
    given, orders = problem(41), [rng.permutation(41) for _ in range(2)]
    rows = given["layers"]
    if rows[0]["kind"] != spec.KINDS["linear"] or any(row["kind"] == spec.KINDS["add"] and not row["source"] for row in rows):
        with pytest.raises(ValueError, match="a sparse x needs"):
            forward(backend, given | {"x": sp.csr_array(given["x"])})
        return
    given["x"] = sp.csr_array(given["x"] * (rng.random(given["x"].shape) < 0.3))
    for n_threads in (1, 2, 3):
        exact = in_float64(given)
        assert_close(forward(backend, given, n_threads=n_threads), forward(oracle, exact), dtype, "network")
        got, expected = gradient(backend, given, n_threads=n_threads), gradient(oracle, exact)
        got, expected = (*got, *epochs(backend, given, orders, n_threads=n_threads)), (*expected, *epochs(oracle, exact, orders))
        for actual, value in zip(got, expected, strict=True):
            assert_close(actual, value, dtype, "epoch", magnitude=max(np.abs(value).max(), 0.1) if np.size(value) else 0.0)


# Bits


def test_same_bits_at_every_run(backend, problem, gradient, epochs, rng):
    given, orders = problem(300), [rng.permutation(300) for _ in range(2)]
    for n_threads in (1, 2, 3):
        runs = [
            (
                *epochs(backend, given, orders, "adam", batch_size=130, n_threads=n_threads),
                *gradient(backend, given, n_threads=n_threads),
            )
            for _ in range(3)
        ]
        for run in runs[1:]:
            assert [np.asarray(v).tobytes() for v in run] == [np.asarray(v).tobytes() for v in runs[0]]


def test_outputs_do_not_depend_on_the_threads(backend, problem, forward, dtype):
    """Nor on whether the call is bound to its arrays, which it reads anew each time."""
    given = problem(300)
    for n in (1, 5, 300):
        part, outputs = given | {"x": given["x"][:n].copy()}, np.full((n, N_OUT), np.nan, dtype)
        alone = forward(backend, part)
        for n_threads in (1, 2, 3):
            np.testing.assert_array_equal(forward(backend, part, n_threads=n_threads), alone)
            network = part["layers"], part["params"], part["buffers"]
            bound = backend.raw.bind_forward(part["x"], *network, False, NO_CODES, NO_SCALES, outputs, n_threads)
            bound()
            np.testing.assert_array_equal(outputs, alone)
        part["x"] += 1
        bound()
        np.testing.assert_array_equal(outputs, forward(backend, part))
        part["x"] -= 1

"""Optimizer steps of every back end against the reference in float64."""

import numpy as np
import pytest


@pytest.mark.parametrize(("l2", "n_threads"), [(0.0, 1), (0.1, 3)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_update(backend, oracle, draw, assert_close, dtype, sizes, nesterov, l2, n_threads):
    for size in sizes:
        params, grad, velocity = draw(size), draw(size), draw(size)
        exact = params.astype(np.float64), velocity.astype(np.float64)
        bound, kept = np.abs(params) + np.abs(velocity) + np.abs(grad), grad.copy()
        assert backend.sgd_update(params, grad, velocity, 0.05, 0.8, nesterov, l2, n_threads) is None
        oracle.sgd_update(exact[0], grad.astype(np.float64), exact[1], 0.05, 0.8, nesterov, l2)
        np.testing.assert_array_equal(grad, kept)
        assert_close(params, exact[0], dtype, magnitude=bound)
        assert_close(velocity, exact[1], dtype, magnitude=bound)


@pytest.mark.parametrize(("step", "l2", "n_threads"), [(1, 0.0, 1), (7, 0.1, 2), (100_000, 0.0, 3)])
def test_adam_update(backend, oracle, draw, assert_close, dtype, sizes, step, l2, n_threads):
    options = {"lr": 0.05, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "step": step, "l2": l2}
    rate = options["lr"] * np.sqrt(1 - 0.99**step) / (1 - 0.8**step)
    for size in sizes:
        params, grad, m, v = draw(size), draw(size), draw(size), np.square(draw(size))
        exact, kept = [array.astype(np.float64) for array in (params, m, v)], grad.copy()
        m_bound = np.abs(m) + np.abs(grad) + l2 * np.abs(exact[0])
        assert backend.adam_update(params, grad, m, v, **options, n_threads=n_threads) is None
        oracle.adam_update(exact[0], grad.astype(np.float64), *exact[1:], **options)
        np.testing.assert_array_equal(grad, kept)
        assert_close(m, exact[1], dtype, magnitude=m_bound)
        assert_close(v, exact[2], dtype, magnitude=exact[2])
        assert_close(params, exact[0], dtype, magnitude=np.abs(exact[0]) + rate * m_bound / (np.sqrt(exact[2]) + 1e-3))


@pytest.mark.parametrize("shape", [(), (3, 4), (2, 3, 4), (0, 3)])
def test_any_shape_is_updated(backend, draw, shape):
    arrays = [draw(*shape) for _ in range(4)]
    arrays[3] **= 2
    flat = [array.reshape(-1).copy() for array in arrays]
    for update, n_arrays in ((backend.sgd_update, 3), (backend.adam_update, 4)):
        update(*arrays[:n_arrays], lr=0.1)
        update(*flat[:n_arrays], lr=0.1)
    for array, expected in zip(arrays, flat, strict=True):
        np.testing.assert_array_equal(array.reshape(-1), expected)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("lr", -0.1, r"lr must be in \[0, inf\)"),
        ("lr", np.nan, "lr must be in"),
        ("lr", np.inf, "lr must be in"),
        ("lr", "fast", "lr must be a real number; got 'fast'"),
        ("lr", np.ones(2), "lr must be a real number"),
        ("l2", -1.0, "l2 must be in"),
        ("momentum", 1.1, r"momentum must be in \[0, 1\]; got 1.1"),
        ("nesterov", 1, "nesterov must be True or False; got 1"),
        ("beta_1", 1.0, r"beta_1 must be in \[0, 1\); got 1.0"),
        ("beta_2", -0.1, "beta_2 must be in"),
        ("epsilon", 0.0, "epsilon must be in"),
        ("step", 0, "step must be at least 1; got 0"),
        ("step", 1.5, "step must be an integer; got 1.5"),
    ],
)
def test_bad_scalars(backend, draw, option, value, message):
    sgd = option in ("momentum", "nesterov")
    arrays = [draw(4) for _ in range(3 if sgd else 4)]
    kept = [array.copy() for array in arrays]
    update = backend.sgd_update if sgd else backend.adam_update
    with pytest.raises((TypeError, ValueError), match=message):
        update(*arrays, **{"lr": 0.1, option: value})
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)

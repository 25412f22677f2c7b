"""Optimizer steps of every back end against the reference in float64."""

import inspect

import numpy as np
import pytest

from fastprop import kernels


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


@pytest.mark.parametrize(("l2", "n_threads"), [(0.0, 1), (0.1, 3)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_update(backend, oracle, draw, assert_close, dtype, sizes, nesterov, l2, n_threads):
    for size in sizes:
        params, grad, velocity = draw(size), draw(size), draw(size)
        exact = params.astype(np.float64), velocity.astype(np.float64)
        bound, kept = np.abs(params) + np.abs(velocity) + np.abs(grad), grad.copy()
        assert backend.momentum_update(params, grad, velocity, 0.05, 0.8, nesterov, l2, n_threads) is None
        oracle.momentum_update(exact[0], grad.astype(np.float64), exact[1], 0.05, 0.8, nesterov, l2)
        np.testing.assert_array_equal(grad, kept)
        assert_close(params, exact[0], dtype, magnitude=bound)
        assert_close(velocity, exact[1], dtype, magnitude=bound)


@pytest.mark.parametrize(("l2", "n_threads"), [(0.0, 1), (0.1, 3)])
def test_rmsprop_update(backend, oracle, draw, assert_close, dtype, sizes, l2, n_threads):
    options = {"lr": 0.05, "alpha": 0.9, "epsilon": 1e-3, "l2": l2}
    for size in sizes:
        params, grad, square_avg = draw(size), draw(size), np.square(draw(size))
        exact, kept = [array.astype(np.float64) for array in (params, square_avg)], grad.copy()
        g_bound = np.abs(grad) + l2 * np.abs(exact[0])
        before = exact[1].copy()
        assert backend.rmsprop_update(params, grad, square_avg, **options, n_threads=n_threads) is None
        oracle.rmsprop_update(exact[0], grad.astype(np.float64), exact[1], **options)
        np.testing.assert_array_equal(grad, kept)
        assert_close(square_avg, exact[1], dtype, magnitude=before + g_bound**2)
        assert_close(params, exact[0], dtype, magnitude=np.abs(exact[0]) + 0.05 * g_bound / (np.sqrt(exact[1]) + 1e-3))


@pytest.mark.parametrize(("step", "l2", "n_threads"), [(1, 0.0, 1), (7, 0.1, 2), (100_000, 0.0, 3)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adamw_update(backend, oracle, draw, assert_close, dtype, sizes, weight_decay, step, l2, n_threads):
    options = {"lr": 0.05, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "step": step, "weight_decay": weight_decay, "l2": l2}
    rate = options["lr"] / (1 - 0.8**step)
    for size in sizes:
        params, grad, m, v = draw(size), draw(size), draw(size), np.square(draw(size))
        exact, kept = [array.astype(np.float64) for array in (params, m, v)], grad.copy()
        m_bound = np.abs(m) + np.abs(grad) + l2 * np.abs(exact[0])
        assert backend.adamw_update(params, grad, m, v, **options, n_threads=n_threads) is None
        oracle.adamw_update(exact[0], grad.astype(np.float64), *exact[1:], **options)
        np.testing.assert_array_equal(grad, kept)
        assert_close(m, exact[1], dtype, magnitude=m_bound)
        assert_close(v, exact[2], dtype, magnitude=exact[2])
        divisor = np.sqrt(exact[2] / (1 - 0.99**step)) + 1e-3
        assert_close(params, exact[0], dtype, magnitude=np.abs(exact[0]) + rate * m_bound / divisor)


def test_first_steps_by_hand(backend, draw, dtype, assert_close):
    """From zero memory the averages are multiples of g and g^2, and their bias correction undoes that exactly."""
    for name, n_slots, options, step in (
        ("adamw_update", 2, {"weight_decay": 0.0}, lambda p, g: 0.1 * g / (np.abs(g) + 1e-2)),
        ("adamw_update", 2, {"weight_decay": 0.5}, lambda p, g: 0.05 * p + 0.1 * g / (np.abs(g) + 1e-2)),
        ("rmsprop_update", 1, {"alpha": 0.75}, lambda p, g: 0.1 * g / (np.abs(g) / 2 + 1e-2)),
    ):
        params, grad = draw(31), draw(31)
        p, g = params.astype(np.float64), grad.astype(np.float64)
        getattr(backend, name)(params, grad, *np.zeros((n_slots, 31), dtype), lr=0.1, epsilon=1e-2, **options)
        assert_close(params, p - step(p, g), dtype, "network")


def test_momentum_of_gradients_follows_lr_at_once_and_that_of_steps_does_not(backend, draw, dtype, assert_close):
    """The two forms agree while lr is constant, and differ by what the old steps had of the old lr when it changes."""
    params, grads = draw(31), draw(4, 31)
    other = params.copy()
    velocity, steps = np.zeros((2, 31), dtype)
    for grad, lr in zip(grads, (0.1, 0.1, 0.1, 0.01), strict=True):
        before = steps.astype(np.float64)
        backend.momentum_update(params, grad, velocity, lr, 0.9, l2=0.0)
        backend.sgd_update(other, grad, steps, lr, 0.9, nesterov=False)
        if lr == 0.1:
            assert_close(params, other, dtype, "network")
    expected = other.astype(np.float64) - 0.9 * before + 0.9 * before / 10
    assert_close(params, expected, dtype, "network")


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
def test_any_shape_is_updated(draw, shape):
    """The back ends are given flat arrays."""
    backend = kernels.active
    arrays = [draw(*shape) for _ in range(4)]
    arrays[3] **= 2
    flat = [array.reshape(-1).copy() for array in arrays]
    slots = {"sgd": [2], "momentum": [2], "rmsprop": [3], "adam": [2, 3], "adamw": [2, 3]}  # the last is not negative
    for name, memory in slots.items():
        for given in (arrays, flat):
            getattr(backend, f"{name}_update")(*given[:2], *(given[i] for i in memory), lr=0.1)
    for array, expected in zip(arrays, flat, strict=True):
        np.testing.assert_array_equal(array.reshape(-1), expected)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("lr", -0.1, r"lr must be in \[0, inf\)"),
        ("weight_decay", -0.1, r"weight_decay must be in \[0, inf\)"),
        ("alpha", 1.0, r"alpha must be in \[0, 1\); got 1.0"),
        ("alpha", None, "alpha must be a real number; got None"),
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
def test_bad_scalars(option, value, message):
    """By every update that has the option. The checks come before any back end, and whatever the dtype is."""
    backend = kernels.active
    updates = {"sgd_update": 1, "momentum_update": 1, "rmsprop_update": 1, "adam_update": 2, "adamw_update": 2}
    having = {name: n for name, n in updates.items() if option in inspect.signature(getattr(backend, name)).parameters}
    assert having
    for name, n_slots in having.items():
        arrays = [np.arange(4.0) for _ in range(2 + n_slots)]
        kept = [array.copy() for array in arrays]
        with pytest.raises((TypeError, ValueError), match=message):
            getattr(backend, name)(*arrays, **{"lr": 0.1, option: value})
        for array, before in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(array, before)


# PyTorch as a second oracle


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.parametrize(
    ("name", "options", "torch_name", "torch_options"),
    [
        ("momentum_update", {"momentum": 0.8}, "SGD", {"momentum": 0.8}),
        ("momentum_update", {"momentum": 0.8, "nesterov": True, "l2": 0.1}, "SGD", {"momentum": 0.8, "nesterov": True}),
        ("rmsprop_update", {"alpha": 0.9, "l2": 0.1}, "RMSprop", {"alpha": 0.9}),
        ("adamw_update", {"weight_decay": 0.0, "l2": 0.1}, "Adam", {}),
        ("adamw_update", {"weight_decay": 0.1}, "AdamW", {}),
    ],
)
def test_updates_against_torch(backend, torch, draw, name, options, torch_name, torch_options):
    """Five steps, of which the last two have another lr."""
    params = draw(31).astype(np.float64)
    tensor = torch.tensor(params, requires_grad=True)
    decay = options.get("l2", 0.0) + options.get("weight_decay", 0.0)
    optimizer = getattr(torch.optim, torch_name)([tensor], lr=0.1, weight_decay=decay, **torch_options)
    state = np.zeros((2 if name == "adamw_update" else 1, 31))
    for step, lr in enumerate((0.1, 0.1, 0.1, 0.01, 0.01), 1):
        grad = draw(31).astype(np.float64)
        counted = {"step": step} if name == "adamw_update" else {}
        getattr(backend, name)(params, grad, *state, lr=lr, **options, **counted)
        optimizer.param_groups[0]["lr"] = lr
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        np.testing.assert_allclose(params, tensor.detach().numpy(), rtol=1e-10, atol=1e-12)

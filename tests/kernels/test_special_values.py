"""Elementwise functions over their whole range in units of the last place, and how NaN and infinity go through the kernels."""

from itertools import product

import numpy as np
import pytest

from fastprop.kernels.spec import LOSSES


def arguments(dtype):
    """Dense around 0 and over where the functions change, then to the ends of the range, with every special value."""
    info = np.finfo(dtype)
    powers = 2.0 ** np.arange(np.log2(info.tiny) - info.nmant, 12)
    ends = [0.0, info.smallest_subnormal, info.tiny, info.eps, 1e4, info.max, np.inf]
    positive = np.concatenate([np.linspace(0, 120, 4001), np.linspace(0, 2, 2001), powers, np.linspace(700, 750, 501), ends])
    return np.concatenate([positive, -positive, [np.nan]]).astype(dtype)


def exact(function, z):
    z = z.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return {"sigmoid": lambda: 1 / (1 + np.exp(-z)), "exp": lambda: np.exp(z)}[function]()


@pytest.fixture(autouse=True)
def quiet_reference():
    """The reference is NumPy, which also warns of overflow and NaN; the values are what is tested here."""
    with np.errstate(all="ignore"):
        yield


def test_links_in_ulp(backend, dtype, assert_ulp):
    z = arguments(dtype)
    targets = np.zeros((len(z), 1), dtype)
    assert_ulp(backend.poisson_forward(z[:, None].copy(), targets)[1][:, 0], exact("exp", z), "exp")
    assert_ulp(backend.binary_cross_entropy_forward(z[:, None].copy(), targets)[1][:, 0], exact("sigmoid", z), "sigmoid")


def test_softmax_in_ulp(backend, rng, dtype, assert_ulp):
    """Logits on a grid, so that subtracting the maximum is exact and the error is that of exp, sum and quotient alone."""
    logits = np.round(rng.uniform(-60, 60, (300, 19)) * 64).astype(dtype) / 64
    logits[7, 3], logits[8, 4] = -np.inf, -1e30
    z = logits.astype(np.longdouble)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    assert_ulp(backend.softmax_forward(logits), e / e.sum(axis=1, keepdims=True), "softmax")
    assert_ulp(backend.softmax_cross_entropy_forward(logits, np.zeros(300, int))[1], e / e.sum(axis=1, keepdims=True), "softmax")


def test_all_finite_finds_what_is_not(backend, dtype):
    """At every place of arrays with partial registers and of such that threads share; the largest numbers are finite."""
    all_finite, largest = backend.raw.all_finite, np.finfo(dtype).max
    for n, n_threads in product([0, 1, 2, 7, 16, 33, 500], [1, 2, 3]):
        x = np.resize([largest, -largest, 0, np.finfo(dtype).smallest_subnormal], n).astype(dtype)
        assert all_finite(x, n_threads) is True
        for i in range(n):
            kept, x[i] = x[i], [np.nan, np.inf, -np.inf][i % 3]
            assert all_finite(x, n_threads) is False, (n, i)
            x[i] = kept


def test_nan_stays_nan_in_every_activation(backend, draw, activation):
    for n_out in (1, 5, 16, 42):
        x, weight, bias = draw(9, 10), draw(10, n_out), draw(n_out)
        clean = backend.linear_forward(x, weight, bias, activation)
        x[4, 7] = np.nan
        a = backend.linear_forward(x, weight, bias, activation)
        assert np.isnan(a[4]).all()
        np.testing.assert_array_equal(np.delete(a, 4, axis=0), np.delete(clean, 4, axis=0))
        x[4, 7], bias[0] = 1, np.nan
        a = backend.linear_forward(x, weight, bias, activation)
        np.testing.assert_array_equal(np.isnan(a), np.arange(n_out) == np.zeros((9, 1)))


def test_nan_and_infinity_times_zero_are_nan_in_products(backend, draw):
    weight = np.zeros_like(draw(10, 6))
    for bad in (np.nan, np.inf, -np.inf):
        x = draw(5, 10)
        x[2, 3] = bad
        a = backend.linear_forward(x, weight, np.zeros_like(draw(6)))
        np.testing.assert_array_equal(np.isnan(a), np.repeat(np.arange(5)[:, None] == 2, 6, axis=1))


def test_nan_in_the_gradient_reaches_all_that_depends_on_it(backend, draw, activation):
    da, x, weight, a = draw(9, 17), draw(9, 10), draw(10, 17), np.abs(draw(9, 17)) + 1
    da[4, 11] = np.nan
    dx, dweight, dbias = backend.linear_backward(da, x, weight, a, activation)
    np.testing.assert_array_equal(np.isnan(dx), np.repeat(np.arange(9)[:, None] == 4, 10, axis=1))
    np.testing.assert_array_equal(np.isnan(dweight), np.repeat(np.arange(17)[None] == 11, 10, axis=0))
    np.testing.assert_array_equal(np.isnan(dbias), np.arange(17) == 11)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_relu_masks_what_did_not_pass(backend, draw, bad):
    """Where the activation is 0 its gradient is 0, whatever comes from above: 0 times infinity must not arise."""
    da, x, weight, a = draw(9, 17), draw(9, 10), draw(10, 17), np.abs(draw(9, 17)) + 1
    da[4, 11], a[4, 11] = bad, 0
    for gradient in backend.linear_backward(da, x, weight, a, "relu"):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_softmax_rows_with_nan_or_infinity_are_nan(backend, draw, bad):
    for n_classes, column in [(n, column) for n in (1, 2, 8, 17, 42) for column in range(n)]:
        logits = draw(5, n_classes)
        logits[2, column] = bad
        expected = np.repeat(np.arange(5)[:, None] == 2, n_classes, axis=1)
        np.testing.assert_array_equal(np.isnan(backend.softmax_forward(logits)), expected)
        loss_sum, probs = backend.softmax_cross_entropy_forward(logits, np.zeros(5, int))
        np.testing.assert_array_equal(np.isnan(probs), expected)
        assert np.isnan(loss_sum)


def test_a_row_of_minus_infinity_is_nan_and_single_ones_are_impossible_classes(backend, draw):
    logits = draw(3, 9)
    logits[1], logits[2, 4] = -np.inf, -np.inf
    probs = backend.softmax_forward(logits)
    assert np.isnan(probs[1]).all()
    assert np.isfinite(probs[[0, 2]]).all()
    assert probs[2, 4] == 0


def test_nan_in_losses(backend, draw):
    for name, loss in LOSSES.items():
        for position in range(2):
            arrays = [draw(6, 5), np.abs(draw(6, 5))]
            arrays[position][3, 2] = np.nan
            loss_sum = getattr(backend, f"{name}_forward")(*arrays)
            assert np.isnan(loss_sum if loss.link == "identity" else loss_sum[0])
            if loss.link == "softmax":
                continue
            arrays[0] = np.abs(arrays[0])  # as outputs of any link
            gradient = getattr(backend, f"{name}_backward")(*arrays)
            expected = np.zeros((6, 5), bool)
            expected[3, 2] = True
            np.testing.assert_array_equal(np.isnan(gradient), expected)


def test_infinity_in_robust_losses(backend, draw):
    """A prediction or a target that is infinite has an infinite loss and the largest gradient."""
    for name, largest in (("absolute_error", 1), ("huber", 1), ("quantile", 0.5)):
        for sign in (-1, 1):
            predictions, targets = draw(6, 5), draw(6, 5)
            predictions[3, 2] = sign * np.inf
            assert getattr(backend, f"{name}_forward")(predictions, targets) == np.inf
            gradient = getattr(backend, f"{name}_backward")(predictions, targets)
            assert gradient[3, 2] == sign * largest
            assert np.isfinite(gradient).all()


def test_nan_in_updates_stays_where_it_is(backend, draw):
    expected = np.arange(19) == 7
    one, two = ("sgd_update", "momentum_update", "rmsprop_update"), ("adam_update", "adamw_update")
    for update, n_slots in [(getattr(backend, name), 1) for name in one] + [(getattr(backend, name), 2) for name in two]:
        params, grad, state = draw(19), draw(19), [np.abs(draw(19)) for _ in range(n_slots)]
        grad[7] = np.nan
        update(params, grad, *state, lr=0.1)
        for array in (params, *state):
            np.testing.assert_array_equal(np.isnan(array), expected)


def test_nan_and_relu_s_mask_in_the_activations_alone(backend, draw, activation):
    z, da = draw(9, 17), draw(9, 17)
    z[4, 11] = np.nan
    np.testing.assert_array_equal(np.isnan(backend.activation_forward(z, activation)), np.isnan(z))
    a = np.abs(draw(9, 17)) + 1
    da[4, 11], a[4, 11] = np.nan, 0
    expected = np.isnan(da) & (activation != "relu")
    np.testing.assert_array_equal(np.isnan(backend.activation_backward(da, a, activation)), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_nan_and_infinity_in_norms_spread_over_what_is_normalised(backend, draw, norm, bad):
    x, dy, gamma, beta = draw(9, 17), draw(9, 17), draw(17), draw(17)
    forward, backward = getattr(backend, f"{norm}_norm_forward"), getattr(backend, f"{norm}_norm_backward")
    _, *statistics = forward(x, gamma, beta)
    x[4, 11] = dy[4, 11] = bad
    together = np.zeros((9, 17), bool)
    together[(4,) if norm == "layer" else (slice(None), 11)] = True
    np.testing.assert_array_equal(np.isnan(forward(x, gamma, beta)[0]), together)
    x[4, 11] = 1
    dx, dgamma, dbeta = backward(dy, x, gamma, *statistics)
    np.testing.assert_array_equal(np.isfinite(dx), ~together)
    for gradient in (dgamma, dbeta):
        np.testing.assert_array_equal(np.isfinite(gradient), np.arange(17) != 11)


@pytest.mark.other_types
def test_nan_in_a_network_gives_nan_and_not_a_wrong_number(backend, draw, activation):
    from fastprop import kernels

    layers = kernels.layer_table([5, 8, 3], activation, "softmax")
    x, params = draw(6, 5), draw(kernels.n_parameters(layers))
    x[3, 1] = np.nan
    np.testing.assert_array_equal(
        np.isnan(backend.network_forward(x, layers, params)), np.repeat(np.arange(6)[:, None] == 3, 3, axis=1)
    )
    loss_mean, gradient = backend.network_loss_gradient(x, np.arange(6) % 3, layers, params, "softmax_cross_entropy")
    assert np.isnan(loss_mean)
    assert np.isnan(kernels.layer_views(layers, gradient)[-1][1]).all()

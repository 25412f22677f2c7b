"""Layer norm and batch norm of every back end against the reference in float64."""

import numpy as np
import pytest

EPSILON = 1e-2


@pytest.fixture(params=["layer", "batch"])
def norm(request):
    return request.param


def axis(norm):
    return 1 if norm == "layer" else 0


def cases(norm, sizes):
    """(n, n_units, n_threads) with one of the first two at each size, the other beyond a block of rows; no mean is of nothing."""
    shapes = [(size, 9) for size in sizes] + [(6, size) for size in sizes] + [(300, 141)]
    return [(*shape, 1 + i % 3) for i, shape in enumerate(shapes) if shape[axis(norm)]]


def absolute_x_hat(norm, x, mean, rstd):
    """(|x| + |mean|) rstd, which bounds the rounding errors of x_hat."""
    return (np.abs(x) + np.abs(np.expand_dims(mean, axis(norm)))) * np.expand_dims(rstd, axis(norm))


def test_forward(backend, oracle, draw, wide, assert_close, dtype, sizes, norm):
    for n, n_units, n_threads in cases(norm, sizes):
        arrays = x, gamma, beta = draw(n, n_units) + 1, draw(n_units), draw(n_units)
        expected = getattr(oracle, f"{norm}_norm_forward")(*wide(*arrays), EPSILON)
        outputs = [np.full(array.shape, np.nan, dtype) for array in expected]
        got = getattr(backend, f"{norm}_norm_forward")(*arrays, EPSILON, *outputs, n_threads)
        assert all(array is out for array, out in zip(got, outputs, strict=True))
        mean = np.abs(x).mean(axis=axis(norm), dtype=np.float64)
        # The errors of the centred numbers, relative to the standard deviation.
        centring = 1 + mean * expected[2]
        y = absolute_x_hat(norm, x, mean, expected[2]) * np.expand_dims(centring, axis(norm)) * np.abs(gamma) + np.abs(beta)
        for actual, exact, magnitude in zip(got, expected, (y, mean, expected[2] * centring), strict=True):
            assert_close(actual, exact, dtype, magnitude=magnitude)


@pytest.mark.parametrize("accumulate", [False, True])
def test_backward(backend, oracle, draw, wide, assert_close, dtype, sizes, norm, accumulate):
    for n, n_units, n_threads in cases(norm, sizes):
        dy, x, gamma = draw(n, n_units), draw(n, n_units) + 1, draw(n_units)
        mean, rstd = getattr(oracle, f"{norm}_norm_forward")(*wide(x, gamma, gamma), EPSILON)[1:]
        arrays = dy, x, gamma, mean.astype(dtype), rstd.astype(dtype)
        expected = getattr(oracle, f"{norm}_norm_backward")(*wide(*arrays))
        start = draw(n_units), draw(n_units)
        outputs = [np.full_like(x, np.nan), *(s.copy() if accumulate else np.full_like(s, np.nan) for s in start)]
        got = getattr(backend, f"{norm}_norm_backward")(*arrays, accumulate, *outputs, n_threads)
        assert all(array is out for array, out in zip(got, outputs, strict=True))
        x_hat, g = absolute_x_hat(norm, x, mean, rstd), np.abs(dy * gamma)
        means = [np.mean(v, axis=axis(norm), keepdims=True) for v in (g, g * x_hat)]
        bounds = np.expand_dims(rstd, axis(norm)) * (g + means[0] + x_hat * means[1]), np.abs(dy) * x_hat, np.abs(dy)
        assert_close(got[0], expected[0], dtype, magnitude=bounds[0])
        for actual, exact, bound, s in zip(got[1:], expected[1:], bounds[1:], start, strict=True):
            magnitude = bound.sum(axis=0, dtype=np.float64) + np.abs(s)
            assert_close(actual, exact + accumulate * wide(s), dtype, magnitude=magnitude)


def test_batch_norm_inference(backend, oracle, draw, wide, assert_close, dtype, sizes):
    for n, n_units, n_threads in [(size, 9, 1) for size in sizes] + [(6, size, 2) for size in sizes] + [(300, 141, 3)]:
        arrays = x, gamma, beta, mean, var = tuple(draw(*shape) for shape in ((n, n_units), *4 * [(n_units,)]))
        var **= 2
        expected, out = oracle.batch_norm_inference(*wide(*arrays), EPSILON), np.full_like(x, np.nan)
        assert backend.batch_norm_inference(*arrays, EPSILON, out, n_threads) is out
        magnitude = (np.abs(x) + np.abs(mean)) / np.sqrt(var + EPSILON) * np.abs(gamma) + np.abs(beta)
        assert_close(out, expected, dtype, magnitude=magnitude)
        assert backend.batch_norm_inference(*arrays, EPSILON, x, n_threads) is x
        np.testing.assert_array_equal(x, out)


def test_inference_with_the_statistics_of_the_batch_is_the_forward(backend, draw, dtype, assert_close):
    x, gamma, beta = draw(40, 9), draw(9), draw(9)
    y, mean, rstd = backend.batch_norm_forward(x, gamma, beta, EPSILON)
    again = backend.batch_norm_inference(x, gamma, beta, mean, (1 / rstd**2 - dtype.type(EPSILON)).astype(dtype), EPSILON)
    assert_close(again, y, dtype)


def test_a_layer_norm_of_rows_is_a_batch_norm_of_columns(backend, draw, dtype, assert_close):
    """With gamma 1 and beta 0 the two are the same map of the transposed array, computed by other code."""
    x = draw(150, 70)
    one, zero = np.ones(150, dtype), np.zeros(150, dtype)
    by_row = backend.layer_norm_forward(x, one[:70], zero[:70])
    by_column = backend.batch_norm_forward(np.ascontiguousarray(x.T), one, zero)
    assert_close(by_column[0].T, by_row[0], dtype)
    for a, b in zip(by_row[1:], by_column[1:], strict=True):
        assert_close(a, b, dtype)


def test_the_result_does_not_depend_on_the_number_of_threads(backend, draw, norm):
    x, dy, gamma = draw(261, 77), draw(261, 77), draw(77)
    forward, backward = getattr(backend, f"{norm}_norm_forward"), getattr(backend, f"{norm}_norm_backward")
    results = []
    for n_threads in (1, 2, 3, 7):
        y, mean, rstd = forward(x, gamma, gamma, n_threads=n_threads)
        results.append((y, mean, rstd, *backward(dy, x, gamma, mean, rstd, n_threads=n_threads)))
    for result in results[1:]:
        for actual, exact in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(actual, exact)


def test_statistics_of_a_long_batch_far_from_zero(backend, draw, dtype, assert_close):
    x = draw(2**17, 2) + dtype.type(100)
    one = np.ones(2, dtype)
    _, mean, rstd = backend.batch_norm_forward(x, one, one)
    exact = x.mean(axis=0, dtype=np.longdouble)
    assert_close(mean, exact, dtype)
    assert_close(rstd, 1 / np.sqrt(np.square(x - exact).mean(axis=0) + 1e-5), dtype)
    with pytest.raises(AssertionError, match="times the tolerance"):  # the twin: row after row in the dtype itself
        assert_close(np.cumsum(x, axis=0)[-1] / dtype.type(len(x)), exact, dtype)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


def test_against_torch(backend, torch, rng, norm):
    arrays = [rng.standard_normal(shape) for shape in ((12, 7), (7,), (7,), (12, 7))]
    x, gamma, beta = (torch.tensor(array, requires_grad=True) for array in arrays[:3])
    functional = torch.nn.functional
    if norm == "layer":
        y = functional.layer_norm(x, (7,), gamma, beta, EPSILON)
    else:
        y = functional.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
    y.backward(torch.tensor(arrays[3]))
    got, mean, rstd = getattr(backend, f"{norm}_norm_forward")(*arrays[:3], EPSILON)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-10, atol=1e-12)
    gradients = getattr(backend, f"{norm}_norm_backward")(arrays[3], *arrays[:2], mean, rstd)
    for actual, tensor in zip(gradients, (x, gamma, beta), strict=True):
        np.testing.assert_allclose(actual, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)

"""Activations and their derivatives against exact values (longdouble) over the whole range of numbers, and at its ends."""

import numpy as np
import pytest

# PyTorch's constants, in as many digits as it has
SELU_SCALE, SELU_ALPHA = np.longdouble("1.0507009873554804934193349852946"), np.longdouble("1.6732632423543772848170429916717")
SLOPE, THRESHOLD = np.longdouble("0.01"), 20
PI = np.longdouble("3.14159265358979323846264338327950288")
# z times what vanishes towards minus infinity, where that is infinity times 0
PRODUCTS = "silu", "gelu", "mish"


def erfc(x):
    """The complementary error function in longdouble, relative to itself (Abramowitz and Stegun, 7.1.6 and 7.1.14)."""
    term = total = x
    for n in range(1, 200):
        term = term * 2 * x * x / (2 * n + 1)
        total = total + term
    near = 1 - 2 / np.sqrt(PI) * np.exp(-x * x) * total
    size, fraction = np.maximum(np.abs(x), 2), 0
    for n in range(200, 0, -1):
        fraction = n / np.longdouble(2) / (size + fraction)
    far = np.exp(-size * size) / np.sqrt(PI) / (size + fraction)
    return np.where(np.abs(x) < 2, near, np.where(x > 0, far, 2 - far))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def tanh_of_softplus(z):
    """tanh(log(1 + u)) = ((1 + u)^2 - 1) / ((1 + u)^2 + 1) with u = exp(z)."""
    u = np.exp(np.minimum(z, 1000))
    return u * (u + 2) / (u * (u + 2) + 2)


def expm1_below(z):
    return np.expm1(np.minimum(z, 0))


def density(z):
    return np.exp(-z * z / 2) / np.sqrt(2 * PI)


def cdf(z):
    return erfc(-z / np.sqrt(np.longdouble(2))) / 2


EXACT = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "leaky_relu": lambda z: np.where(z > 0, z, SLOPE * z),
    "elu": lambda z: np.where(z > 0, z, expm1_below(z)),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * expm1_below(z)),
    "gelu": lambda z: z * cdf(z),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * tanh_of_softplus(z),
    "softplus": lambda z: np.where(z > THRESHOLD, z, np.log1p(np.exp(np.minimum(z, THRESHOLD)))),
}


def bounded(z):
    """|z| where a derivative still bends: a factor of what is 0 beyond."""
    return np.minimum(np.abs(z), np.where(z > 0, 40, 1000))


# name -> (the derivative by z, what its error is relative to)
EXACT_DERIVATIVE = {
    "identity": lambda z: (1 + 0 * z, 1 + 0 * z),
    "relu": lambda z: (z > 0, 1 + 0 * z),
    "sigmoid": lambda z: (sigmoid(z) * sigmoid(-z), sigmoid(z)),
    "tanh": lambda z: (1 / np.cosh(z) ** 2, 1 + 0 * z),
    "leaky_relu": lambda z: (np.where(z > 0, 1, SLOPE),) * 2,
    "elu": lambda z: (np.exp(np.minimum(z, 0)),) * 2,
    "selu": lambda z: (SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0))),) * 2,
    "gelu": lambda z: (cdf(z) + z * density(z), (1 + bounded(z) ** 2) * (cdf(z) + bounded(z) * density(z))),
    "silu": lambda z: (sigmoid(z) * (1 + z * sigmoid(-z)), sigmoid(z) * (1 + bounded(z))),
    "mish": lambda z: (
        tanh_of_softplus(z) + z * sigmoid(z) * (1 - tanh_of_softplus(z) ** 2),
        tanh_of_softplus(z) + bounded(z) * sigmoid(z),
    ),
    "softplus": lambda z: (np.where(z > THRESHOLD, 1, sigmoid(z)),) * 2,
}


def factor(activation, z):
    """With what a number near 0 is multiplied, at most, in an activation and in its derivative."""
    return np.where((z < 0) & (activation in PRODUCTS), 1 + np.minimum(np.abs(z), 1000), 2 if activation == "selu" else 1)


def points(dtype):
    """Dense around 0 and over where the functions change, then to the ends of the range, with every special value."""
    info = np.finfo(dtype)
    powers = 2.0 ** np.arange(np.log2(info.tiny) - info.nmant, 12)
    ends = [0.0, info.smallest_subnormal, info.tiny, info.eps, 1e4, 1e30, info.max / 4]
    positive = np.concatenate([np.linspace(0, 120, 4001), np.linspace(0, 2, 2001), powers, np.linspace(700, 750, 501), ends])
    positive = np.concatenate([positive, [np.nextafter(THRESHOLD, 0), THRESHOLD, np.nextafter(THRESHOLD, 30)]])
    return np.concatenate([positive, -positive]).astype(dtype)


@pytest.fixture(autouse=True)
def quiet():
    """The reference and the formulas here are NumPy, which also warns of overflow and NaN; the values are what is tested."""
    with np.errstate(all="ignore"):
        yield


def test_there_is_an_exact_formula_of_each(activation):
    assert activation in EXACT
    assert activation in EXACT_DERIVATIVE


def test_exact_error_function():
    """The oracle itself: values of mpmath, rounded to 20 digits."""
    known = {
        -3.0: "1.9999779095030014146",
        -0.5: "1.5204998778130465377",
        0.25: "0.72367360983176306701",
        1.9375: "0.0061431936047868000069",
        2.0: "0.0046777349810472658379",
        6.5: "3.8421483271206474699e-20",
        20.0: "5.3958656116079009289e-176",
    }
    for x, value in known.items():
        exact, got = np.longdouble(value), erfc(np.longdouble(x))
        assert abs(got - exact) <= 2.0**-55 * exact


def test_forward_in_ulp(backend, dtype, assert_ulp, activation):
    z = points(dtype)
    a = backend.activation_forward(z[:, None].copy(), activation)
    exact = EXACT[activation](z.astype(np.longdouble))
    magnified = exact * (1 + np.minimum(z.astype(np.longdouble), 0) ** 2) if activation == "gelu" else None
    assert_ulp(a[:, 0], exact, activation, magnified, factor(activation, z))


def test_behind_a_product_it_is_the_same(backend, dtype, activation):
    """In a column, which is a tile of one output, and in a row."""
    z = points(dtype)
    a = backend.activation_forward(z[:, None].copy(), activation)
    one, zero = np.ones((1, 1), dtype), np.zeros(len(z), dtype)
    np.testing.assert_array_equal(backend.linear_forward(z[:, None].copy(), one, zero[:1], activation), a)
    np.testing.assert_array_equal(backend.linear_forward(one, z[None].copy(), zero, activation)[0], a[:, 0])


def test_ends_of_the_range(backend, dtype, activation):
    """NaN stays; infinity has the limit, or NaN where the formula is infinity times 0; f(0) is exact."""
    z = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0] * 9], dtype)
    a, exact = backend.activation_forward(z, activation)[0], EXACT[activation](z[0].astype(np.longdouble)).astype(dtype)
    assert np.isnan(a[::5]).all()
    for i in (1, 2):
        undefined = activation in PRODUCTS and z[0, i] < 0
        for value in a[i::5]:
            right = np.isnan(value) or value == 0 if undefined else value in (exact[i], np.nextafter(exact[i], 0))
            assert right, (z[0, i], a[i::5])
    if activation not in ("sigmoid", "softplus"):
        assert not a[3::5].any()
        assert not a[4::5].any()
    large = np.array([[np.finfo(dtype).max / 2, -np.finfo(dtype).max / 2] * 9], dtype)
    assert np.isfinite(backend.activation_forward(large, activation)).all()


def test_derivative_against_the_exact_formula(backend, dtype, assert_ulp, remembered, activation):
    z = points(dtype)
    exact, size = EXACT_DERIVATIVE[activation](z.astype(np.longdouble))
    a = EXACT[activation](z.astype(np.longdouble)).astype(dtype)
    seen = remembered(activation, z, a)[:, None].copy()
    dz = backend.activation_backward(np.ones_like(seen), seen, activation)
    assert_ulp(dz[:, 0], np.asarray(exact, np.longdouble), "derivative", np.asarray(size, np.longdouble), factor(activation, z))
    # The same inside the product: with weight 1 and bias 0, dbias is the sum over one row.
    row, n = seen.T.copy(), min(len(z), 600)
    for start in range(0, len(z), n):
        part = row[:, start : start + n].copy()
        weight, da = np.ones((1, part.shape[1]), dtype), np.ones_like(part)
        dbias = backend.linear_backward(da, np.ones((1, 1), dtype), weight, part, activation)[2]
        np.testing.assert_array_equal(dbias, dz[start : start + n, 0])


def test_derivative_of_the_largest_numbers(backend, dtype, remembered, activation):
    z = np.array([[1e30, -1e30] * 9], dtype)
    dz = backend.activation_backward(
        np.ones_like(z), remembered(activation, z, backend.activation_forward(z, activation)), activation
    )
    exact = EXACT_DERIVATIVE[activation](np.array([1e30, -1e30], np.longdouble))[0]
    np.testing.assert_allclose(dz[0].reshape(9, 2), np.tile(exact.astype(dtype), (9, 1)), rtol=1e-6)


def test_derivative_is_that_of_the_forward(backend, activation):
    """By fourth-order central differences in float64, away from the kinks."""
    z = np.concatenate([np.linspace(-9, -0.03, 700), np.linspace(0.03, 9, 700)])[:, None]
    h = 1e-3
    shifted = [backend.activation_forward(z + step * h, activation) for step in (-2, -1, 1, 2)]
    numeric = (shifted[0] - 8 * shifted[1] + 8 * shifted[2] - shifted[3]) / (12 * h)
    exact = EXACT_DERIVATIVE[activation](z.astype(np.longdouble))[0]
    np.testing.assert_allclose(numeric, np.asarray(exact, np.float64), rtol=0, atol=1e-10)

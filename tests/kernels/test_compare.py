"""The twin of every tolerance check of these tests: what is off by ten times the tolerance must fail."""

import numpy as np
import pytest

KINDS = ["kernel", "network", "epoch"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (1,), (7, 3)])
def test_one_element_off_by_ten_tolerances_fails(assert_close, tolerances, draw, dtype, kind, shape):
    expected = np.array(draw(*shape), np.float64) + 5
    step = 10 * tolerances[0][kind][dtype.name] * np.abs(expected).max()
    assert_close(expected, expected, dtype, kind)
    for where in np.ndindex(shape):
        for sign in (1, -1):
            off = np.array(expected)
            off[where] += sign * step
            with pytest.raises(AssertionError):
                assert_close(off, expected, dtype, kind)


def test_one_element_off_by_ten_ulp_bounds_fails(assert_ulp, tolerances, dtype):
    actual = np.linspace(0.1, 0.9, 9).astype(dtype)
    exact = actual.astype(np.longdouble)
    for name, bound in tolerances[1].items():
        assert_ulp(actual, exact, name)
        for i in range(len(actual)):
            off = actual.copy()
            off[i] += 10 * max(bound, 0.1) * np.spacing(off[i])
            with pytest.raises(AssertionError):
                assert_ulp(off, exact, name)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0])
def test_nan_infinity_and_zero_fail(assert_close, assert_ulp, dtype, wrong):
    expected = np.ones(5)
    off = expected.copy()
    off[2] = wrong
    with pytest.raises(AssertionError):
        assert_close(off, expected, dtype, "epoch")
    with pytest.raises(AssertionError):
        assert_ulp(off.astype(dtype), expected.astype(np.longdouble), "exp")


def test_shape_and_vacuous_tolerance_fail(assert_close):
    with pytest.raises(AssertionError):
        assert_close(np.ones((1, 3)), np.ones(3), "float64")
    with pytest.raises(AssertionError):
        assert_close(np.ones(3), np.ones(3), "float32", magnitude=1e6)

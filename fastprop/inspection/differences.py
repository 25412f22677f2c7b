"""Central differences, and what makes a gradient differ from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nn.parameter import real_numbers

Verdict: TypeAlias = Literal["bug", "look again", "kink", "correct"]

# Relative error below which a gradient is correct, and from which on it is wrong. In between, look again: a loss that is much
# larger than its gradient can cause such errors.
CORRECT, WRONG = 1e-5, 1e-3
# Keeps the relative error of two gradients that are zero from being 0 / 0.
TINY = 1e-8
# The differences cannot resolve less than this many rounding errors of the loss, divided by h. The gradient of a bias in front of a
# batch normalisation is zero; its difference quotients are such errors, and as large as TINY.
ROUNDINGS = 10


def numerical_gradient(f: Callable[[NDArray[np.float64]], Any], x: ArrayLike, h: float = 1e-5) -> NDArray[np.float64]:
    """Gradient of a scalar function by central differences: ``(f(x + h e_i) - f(x - h e_i)) / (2 h)`` for every element i.

    The error is of order h^2 times the third derivative, plus rounding of order ``1e-16 |f| / h``.

    Parameters
    ----------
    f : callable
        Takes a float64 array of the shape of x and returns a number. It must not keep the array: the same array is changed and
        passed again.
    x : array-like of any shape and memory order, of real numbers
        Where to differentiate. Never changed: f gets a copy.
    h : float, default=1e-5
        The step, above 0.

    Returns
    -------
    ndarray of float64, shape of x
        The derivative with respect to each element.

    Raises
    ------
    ValueError
        If h is not above 0, or if f does not return a scalar.
    TypeError
        If x does not hold real numbers.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x**2).sum(), [1.0, 2.0]).round(6)
    array([2., 4.])
    """
    point = float64_copy("x", x)
    return differences(lambda: _scalar(f(point)), point, np.arange(point.size), h).numerical.reshape(point.shape)


def float64_copy(name, array):
    """A copy of real numbers as a writeable C-contiguous float64 array."""
    return np.array(real_numbers(name, array), dtype=np.float64, order="C")


class Differences(NamedTuple):
    """Derivatives of a function with respect to n elements: central differences (n,), and left and right differences (2, n).

    If the values of the function are arrays, their axes come last.
    """

    numerical: np.ndarray
    sides: np.ndarray


def differences(evaluate, array, positions, h, value=np.nan):
    """The derivatives of ``evaluate()`` with respect to elements of an array of any memory order, at ``positions`` of its ``flat``.

    The array is changed and restored. The one-sided differences need the ``value`` of the function.
    """
    if not h > 0:
        raise ValueError(f"h must be above 0; got {h!r}")
    flat, around = array.flat, ([], [])
    for i in positions:
        before = flat[i]
        try:
            for values, step in zip(around, (-h, h), strict=True):
                flat[i] = before + step
                values.append(evaluate())
        finally:
            flat[i] = before
    left, right = map(np.array, around)
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite loss gives NaN, which is reported
        return Differences((right - left) / (2 * h), np.stack([value - left, right - value]) / h)


def _scalar(value):
    if np.ndim(value):
        raise ValueError(f"f must return a number; got an array of shape {np.shape(value)}")
    return float(value)


class ParameterCheck(NamedTuple):
    """One row of the table of `check_gradients`.

    Parameters
    ----------
    name : str
        The parameter's name in the model.
    shape : tuple of int
        Its shape.
    norm : float
        The Euclidean norm ``|a|`` of the analytic gradient.
    relative_error : float
        ``|a - n| / (|a| + |n| + 1e-8)`` with the Euclidean norms of the analytic and the numerical gradient.
    max_difference : float
        The largest ``|a_i - n_i|``.
    verdict : {'correct', 'look again', 'bug'}
        See `check_gradients`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import check_gradients
    >>> rng = np.random.default_rng(0)
    >>> model = nn.mlp([3, 5, 2], "tanh", random_state=0)
    >>> check = check_gradients(model, nn.SoftmaxCrossEntropy(), rng.normal(size=(6, 3)), rng.integers(0, 2, 6))
    >>> row = check.rows[0]
    >>> row.name, row.shape, row.verdict
    ('0.weight', (3, 5), 'correct')
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    relative_error: float
    max_difference: float
    verdict: Verdict


def compare_gradients(name, analytic, numerical, resolution=0.0):
    """The row of the table for two gradients of the same shape; differences up to the resolution are ignored."""
    norm, scale = float(np.linalg.norm(analytic)), scale_of(analytic, numerical)
    with np.errstate(invalid="ignore"):  # infinite gradients give NaN, which is reported
        difference = np.abs(analytic - numerical)
        error = float(np.linalg.norm(difference) / scale)
    largest = float(difference.max(initial=0.0))
    # A NaN fails all comparisons, so that the verdict is bug.
    verdict = "correct" if error < CORRECT or largest <= resolution < np.inf else "look again" if error < WRONG else "bug"
    return ParameterCheck(name, analytic.shape, norm, error, largest, verdict)


def scale_of(analytic, numerical):
    """The number by which a difference of two gradients is divided to make it relative."""
    return np.linalg.norm(analytic) + np.linalg.norm(numerical) + TINY

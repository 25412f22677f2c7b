"""Activations and losses of your own: a value and a derivative, checked against each other when they are made.

A function that was compiled with ``numba.njit`` takes and returns numbers; it runs in a compiled loop over the elements. Any other
function takes and returns whole arrays. That suits NumPy expressions but is slower: each operation is a pass over the array.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np

from ..annotations import ArrayLike, Floats
from .arrays import any_matrix, like, one_row_too
from .losses import Loss, dense
from .module import Module

# Where a derivative is checked: between -6 and 6, away from the multiples of 1/4, where piecewise functions often have kinks.
POINTS = np.arange(-5.9, 6, 0.2371)
# Truncation errors are of order STEP^4 = 1e-16, or STEP^2 = 1e-8 for one side; rounding errors of order 1e-16 / STEP = 1e-12.
STEP = 1e-4
# What the errors say of functions that are written for one number, and what to write for arrays.
OF_NUMBERS = {
    "truth value of an array": "write np.where(condition, a, b) for `a if condition else b`, and np.maximum for max",
    "converted to Python scalar": "write functions of NumPy, such as np.exp for math.exp",
}
TOLERANCE = 1e-7  # relative to the larger of 1, the value and the derivative


class Activation(Module):
    """An activation of your own, ``a = value(z)`` for every element, as a layer.

    Parameters
    ----------
    value : callable
        The function of z. Compiled with ``numba.njit``, it takes and returns one number; otherwise it takes and returns arrays (see
        `nn.functions`).
    derivative : callable
        Its derivative, in the same form.
    name : str, optional
        By default the name of the function ``value``.
    points : array-like of float, optional
        Where the derivative is compared with finite differences of the value; by default 51 points between -6 and 6. Give others
        for a function that is not defined everywhere.

    Raises
    ------
    ValueError
        If the derivative is not that of the value, or either is not finite; the message says where and by how much. At a kink, the
        derivative may be that from the left, that from the right, or any number between them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> softplus = nn.Activation(lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z)), name="softplus")
    >>> softplus
    Activation('softplus', in Python)
    >>> nn.Activation(np.sin, np.sin)
    Traceback (most recent call last):
    ValueError: the derivative of 'sin' is wrong: at 5.4808 it is -0.719016, finite differences of the value give 0.694994
    """

    def __init__(
        self, value: Callable[..., Any], derivative: Callable[..., Any], name: str | None = None, *, points: ArrayLike = POINTS
    ) -> None:
        self.value, self.derivative = value, derivative
        self.name = getattr(value, "__name__", "activation") if name is None else name
        check_derivative(self.name, functools.partial(mapped, value), functools.partial(mapped, derivative), points)

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        x = any_matrix(self, "x", x)
        self._saved = x if self.training else None
        return mapped(self.value, x)

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        x = self._saved
        if x is None:
            raise self.no_forward()
        return like(self, "dout", dout, x.shape, x.dtype) * mapped(self.derivative, x)

    def arguments(self) -> dict[str, Any]:
        return {}

    def stored_name(self) -> str:
        return f"Activation:{self.name}"

    def copied(self) -> Self:
        """Return another layer with the same functions: each place in a model needs its own.

        Returns
        -------
        Activation
            The new layer.
        """
        other = copy.copy(self)
        other.forget()
        return other

    def __repr__(self) -> str:
        return f"Activation({self.name!r}, {'compiled' if is_compiled(self.value) else 'in Python'})"


class ElementwiseLoss(Loss):
    """A loss of your own: the mean over all elements of ``value(prediction, target)``.

    Parameters
    ----------
    value : callable
        The function of prediction and target. As in `Activation`, an njit function of numbers or a function of arrays.
    derivative : callable
        Its derivative with respect to the prediction, in the same form.
    name : str, optional
        By default the name of the function ``value``.
    points : array-like of float, optional
        Predictions at which the derivative is checked; by default 51 points between -6 and 6.
    targets : array-like of float, optional
        Targets for which it is checked; by default 0.05 and 0.95.

    Raises
    ------
    ValueError
        If the derivative is not that of the value, or either is not finite; the message says where and by how much.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> loss = nn.ElementwiseLoss(lambda p, y: np.log(np.cosh(p - y)), lambda p, y: np.tanh(p - y), name="log-cosh")
    >>> round(loss(np.array([[1.0], [3.0]]), [1.0, 1.0]), 4)
    0.6625
    """

    def __init__(
        self,
        value: Callable[..., Any],
        derivative: Callable[..., Any],
        name: str | None = None,
        *,
        points: ArrayLike = POINTS,
        targets: Iterable[float] = (0.05, 0.95),
    ) -> None:
        self.value, self.derivative = value, derivative
        self.name = getattr(value, "__name__", "loss") if name is None else name
        for y in targets:
            by_prediction = [lambda p, f=f, y=y: mapped(f, p, np.full_like(p, y)) for f in (value, derivative)]
            check_derivative(f"{self.name}, for target {y}", *by_prediction, points)

    def __call__(self, outputs: ArrayLike, y: ArrayLike) -> float:
        z, y = self.rows(outputs, y)
        self._saved = z, dense(self, y, z.shape, z.dtype)
        return float(mapped(self.value, *self._saved).mean(dtype=np.float64))

    def backward(self) -> Floats:
        size = self.outputs.size
        return self._as_given(mapped(self.derivative, *self._saved) / size)

    def __repr__(self) -> str:
        return f"ElementwiseLoss({self.name!r}, {'compiled' if is_compiled(self.value) else 'in Python'})"


def is_compiled(function):
    """Whether it is a function compiled by ``numba.njit``."""
    return hasattr(function, "py_func") and hasattr(function, "signatures")


def mapped(function, *arrays):
    """Apply a function to the elements of one or two arrays of one shape and dtype; the result is C-contiguous."""
    first = arrays[0]
    if is_compiled(function):
        out = np.empty(first.shape, first.dtype)  # not empty_like: in another memory order the flat array would be a copy
        _loop(function, len(arrays))(*(array.reshape(-1) for array in arrays), out.reshape(-1))
        return out
    name = getattr(function, "__name__", function)
    try:
        out = np.asarray(function(*arrays))
    except (TypeError, ValueError) as error:
        for text, hint in OF_NUMBERS.items():
            if text in str(error):
                raise type(error)(
                    f"{name!r} is called with whole arrays; {hint}, or compile it with numba.njit ({error})"
                ) from error
        raise
    if out.shape != first.shape:
        raise ValueError(f"{name!r} must return an array shaped like its argument, {first.shape}; got {out.shape}")
    return np.require(out, first.dtype, ["C"])


@functools.cache
def _loop(function, n_arguments):
    """The compiled loop that calls a compiled function of one or two numbers."""
    import numba  # here, because it is only needed for such functions

    if n_arguments == 1:

        @numba.njit
        def loop(x, out):
            for i in range(x.size):
                out[i] = function(x[i])
    else:

        @numba.njit
        def loop(x, y, out):
            for i in range(x.size):
                out[i] = function(x[i], y[i])

    return loop


def check_derivative(name, value, derivative, points):
    """Raise an error unless a function of arrays is the derivative of another one at all points.

    At a kink, the derivatives from both sides and all numbers between them are accepted.
    """
    z = np.ravel(np.asarray(points, np.float64))
    given, values = derivative(z), value(z)
    for what, array in (("value", values), ("derivative", given)):
        if not np.isfinite(array).all():
            where = int(np.isfinite(array).argmin())
            raise ValueError(f"the {what} of {name!r} must be finite; at {z[where]:g} it is {array[where]:g}")
    # With f(z - 2h), f(z - h), f(z + h) and f(z + 2h): f'(z) up to O(h^4), from the left and from the right up to O(h^2).
    a, b, c, d = (value(z + k * STEP) for k in (-2, -1, 1, 2))
    numerical = (a - 8 * b + 8 * c - d) / (12 * STEP)
    sides = np.stack([a - 4 * b + 3 * values, 4 * c - d - 3 * values]) / (2 * STEP)
    tolerance = TOLERANCE * np.maximum(1, np.maximum(np.abs(values), np.abs(given)))
    outside = np.maximum(sides.min(axis=0) - given, given - sides.max(axis=0))
    excess = np.minimum(np.abs(given - numerical), outside) - tolerance
    if not (excess <= 0).all():
        where = int(np.nan_to_num(excess, nan=np.inf).argmax())
        found, (left, right) = f"{numerical[where]:g}", sides[:, where]
        if abs(right - left) > 1e3 * tolerance[where]:
            found = f"{left:g} from the left and {right:g} from the right"
        raise ValueError(
            f"the derivative of {name!r} is wrong: at {z[where]:g} it is {given[where]:g}, "
            f"finite differences of the value give {found}"
        )

"""Jacobians, Hessians and Jacobian-vector products of small functions by central differences, and the softmax's by its formula.

A difference quotient has an error of order h^2 from the function's curvature and one of order eps / h from rounding, where eps is
2.2e-16; for second derivatives, the latter is eps / h^2. The default steps, 1e-5 and 1e-4, are near the minimum of the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import kernels
from ..nn.module import Module
from ..nn.parameter import real_numbers
from .differences import differences, float64_copy, numerical_gradient
from .observation import undisturbed


def jacobian(f: Callable[..., Any], x: ArrayLike, h: float = 1e-5) -> NDArray[np.float64]:
    """Jacobian of a function by central differences: ``(f(x + h e_j) - f(x - h e_j)) / (2 h)`` for every element j of x.

    At a kink, such as that of ReLU at 0, it is the mean of the derivatives from both sides.

    Parameters
    ----------
    f : callable, Module or Graph
        Takes a float64 array of the shape of x and returns a number or an array of any shape. It must not keep the array: the same
        array is changed and passed again. A module is called in its present mode, with the same random numbers each time, and is
        afterwards as before; its parameters must be float64.
    x : array-like of real numbers, of any shape
        Where to differentiate. Never changed: f gets a copy.
    h : float, default=1e-5
        The step, above 0. The error is of order ``h^2`` times the third derivative, plus ``1e-16 |f| / h``: a good step is about
        1e-5 times the scale on which f changes. Each element of x costs two calls of f.

    Returns
    -------
    ndarray of float64, shape f(x).shape + x.shape
        ``J[i, j]`` is the derivative of output i with respect to element j, where i and j stand for as many indices as there are
        axes. For a module and a matrix x of shape (n, n_in), the shape is (n, n_out, n, n_in).

    Raises
    ------
    ValueError
        If h is not above 0.
    TypeError
        If x or f(x) does not hold real numbers, or if f computes in float32.

    Examples
    --------
    >>> from fastprop.inspection import jacobian
    >>> jacobian(lambda x: [x[0] * x[1], x[0] ** 2], [2.0, 3.0]).round(6)
    array([[3., 2.],
           [4., 0.]])
    """
    point = float64_copy("x", x)
    with _repeating(f) as value:
        shape = value(point).shape
        derivatives = differences(lambda: value(point), point, np.arange(point.size), h).numerical
    return np.moveaxis(derivatives.reshape(point.size, *shape), 0, -1).reshape(shape + point.shape)


def jvp(f: Callable[..., Any], x: ArrayLike, v: ArrayLike, h: float = 1e-5) -> Any:
    """Jacobian-vector product, the forward mode: the derivative of ``f(x + t v)`` with respect to t at 0, with two calls of f.

    It is ``(f(x + t v) - f(x - t v)) / (2 t)`` with ``t = h / max |v|``, so that no element of x moves by more than h. At a kink it
    is the mean of the derivatives from both sides.

    Parameters
    ----------
    f : callable, Module or Graph
        As in `jacobian`.
    x : array-like of real numbers, of any shape
        Where to differentiate. Never changed.
    v : array-like of real numbers, shape of x
        The direction, of any length.
    h : float, default=1e-5
        The step, above 0, as in `jacobian`.

    Returns
    -------
    ndarray of float64, shape of f(x), or a scalar
        ``J v``, where J is the `jacobian` and the product sums over all axes of x.

    Raises
    ------
    ValueError
        If h is not above 0, or v does not have the shape of x.
    TypeError
        If x, v or f(x) does not hold real numbers, or if f computes in float32.

    Examples
    --------
    >>> from fastprop.inspection import jvp
    >>> round(float(jvp(lambda x: x[0] * x[1], [2.0, 3.0], [1.0, 10.0])), 6)
    23.0
    """
    point, direction, t = float64_copy("x", x), float64_copy("v", v), np.zeros(1)
    if direction.shape != point.shape:
        raise ValueError(f"v must have the shape of x, {point.shape}; got {direction.shape}")
    length = np.abs(direction).max(initial=0.0) or 1.0
    direction /= length
    with _repeating(f) as value:
        return length * differences(lambda: value(point + t * direction), t, [0], h).numerical[0]


def hessian(f: Callable[..., Any], x: ArrayLike, h: float = 1e-4) -> NDArray[np.float64]:
    """Hessian, the second derivatives of a scalar function: central differences of `numerical_gradient`, with the same step.

    At a kink there is no second derivative, and the quotient grows as 1 / h: for ``abs(x)`` at 0 it is 1 / h.

    Parameters
    ----------
    f : callable, Module or Graph
        As in `jacobian`, but it must return a number.
    x : array-like of real numbers, of any shape
        Where to differentiate. Never changed. With n elements it costs about ``4 n^2`` calls of f.
    h : float, default=1e-4
        The step, above 0. The error is of order ``h^2`` times the fourth derivative, plus ``1e-16 |f| / h^2``: a good step is about
        1e-4 times the scale on which f changes.

    Returns
    -------
    ndarray of float64, shape x.shape + x.shape
        Symmetric: ``H[i, j] = H[j, i]``, where i and j stand for as many indices as x has axes.

    Raises
    ------
    ValueError
        If h is not above 0, or if f does not return a scalar.
    TypeError
        If x or f(x) does not hold real numbers, or if f computes in float32.

    Examples
    --------
    >>> from fastprop.inspection import hessian
    >>> hessian(lambda x: x[0] ** 2 * x[1], [2.0, 3.0]).round(6)
    array([[6., 4.],
           [4., 0.]])
    """
    point = float64_copy("x", x)
    with _repeating(f) as value:
        second = jacobian(lambda x: numerical_gradient(value, x, h), point, h).reshape(point.size, point.size)
    return ((second + second.T) / 2).reshape(point.shape * 2)


def softmax_jacobian(logits: ArrayLike) -> NDArray[Any]:
    """Jacobian of the softmax of every row with respect to its logits: ``diag(p) - p p^T``, with ``p = softmax(logits)``.

    Parameters
    ----------
    logits : array-like, shape (n_classes,) or (n, n_classes)
        Rows of real numbers.

    Returns
    -------
    ndarray, shape (n_classes, n_classes) or (n, n_classes, n_classes)
        For every row a symmetric matrix, whose rows sum to 0; float32 for float32 logits, else float64.

    Raises
    ------
    ValueError
        If logits has no class, or more than two axes.
    TypeError
        If logits does not hold real numbers.

    Examples
    --------
    >>> from fastprop.inspection import softmax_jacobian
    >>> softmax_jacobian([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    z = real_numbers("logits", logits)
    z = z if z.dtype == np.float32 else z.astype(np.float64)
    if z.ndim not in (1, 2) or not z.shape[-1]:
        raise ValueError(f"logits must have shape (n_classes,) or (n, n_classes), with at least one class; got {z.shape}")
    p = kernels.softmax_forward(np.ascontiguousarray(np.atleast_2d(z))).reshape(z.shape)
    # diag(p)_ij - p_i p_j = p_i (1_ij - p_j)
    return p[..., :, None] * (np.eye(z.shape[-1], dtype=z.dtype) - p[..., None, :])


@contextmanager
def _repeating(f):
    """f as a function that returns a new float64 array; a module draws the same random numbers each time, and is unchanged."""

    def value(x):
        array = real_numbers("f(x)", f(x))
        if array.dtype in (np.float16, np.float32):
            raise TypeError(f"f must compute in float64 for central differences; f(x) is {array.dtype.name}")
        return np.array(array, dtype=np.float64)

    modules = f.modules() if isinstance(f, Module) else []
    with undisturbed(*modules[:1]):
        for module in modules:
            module.recomputing = True
        yield value

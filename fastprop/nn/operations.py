"""The operations of a `Graph` on arrays of any shape, scalars included, as modules. `Value` has the operators for them.

Operands broadcast as in NumPy; the gradient of an operand that was repeated is summed over the repetitions. The results are float32
if all operands are float32, else float64, so integers never overflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np

from ..annotations import ArrayLike, Floats
from .arrays import any_floats, like
from .errors import ShapeError
from .module import Module
from .values import constant, constant_text


class _Operation(Module):
    """A function of one or more arrays; a subclass has `_value`, and `_gradients` with respect to the operands.

    Attributes
    ----------
    symbol : str
        The text for it in a formula and in a drawing.
    """

    symbol = ""

    def forward(self, *inputs: ArrayLike) -> Floats:
        arrays = any_floats(self, inputs)
        try:
            out = np.asarray(self._value(*arrays))
        except (ValueError, IndexError) as error:
            raise ShapeError(self, f"{self._expected(error)}; got shape {', '.join(str(x.shape) for x in arrays)}") from None
        self._saved = (arrays, out) if self.training else None
        return out

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Any:
        if self._saved is None:
            raise self.no_forward()
        arrays, out = self._saved
        dout = like(self, "dout", dout, out.shape, out.dtype)
        gradients = self._gradients(dout, out, *arrays)
        dinputs = tuple(_summed(gradient, x.shape) for gradient, x in zip(gradients, arrays, strict=True))
        return dinputs[0] if len(dinputs) == 1 else dinputs

    def _expected(self, error):
        return str(error)

    def formula(self, *operands: str) -> str:
        """Return the formula of the operation, for operands that are given as text."""
        return f"{self.symbol}({', '.join(operands)})"


def _summed(gradient, shape):
    """The gradient with respect to an array of this shape, which broadcasting has repeated to the shape of ``gradient``."""
    gradient = np.asarray(gradient)
    if gradient.shape == shape:
        return gradient
    n_new = gradient.ndim - len(shape)
    repeated = [n_new + i for i, n in enumerate(shape) if n != gradient.shape[n_new + i]]
    return gradient.sum(axis=(*range(n_new), *repeated), keepdims=True).reshape(shape)


class _Broadcasting(_Operation):
    """An elementwise operation on operands that broadcast."""

    def _expected(self, error):
        return "the operands must broadcast to one shape"

    def formula(self, *operands):
        return f" {self.symbol} ".join(operands)


class Add(_Broadcasting):
    """The sum of its inputs; every input receives the gradient of the output.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> add = nn.Add()
    >>> add(np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]]))
    array([[11., 22.]])
    >>> add.backward(np.ones((1, 2)))
    (array([[1., 1.]]), array([[1., 1.]]))
    """

    symbol = "+"

    def _value(self, *xs):
        return sum(xs[1:], start=xs[0])

    def _gradients(self, dout, out, *xs):
        return [dout] * len(xs)


class Subtract(_Broadcasting):
    """``x - y``; the gradients are ``dout`` and ``-dout``."""

    symbol = "-"

    def _value(self, x, y):
        return x - y

    def _gradients(self, dout, out, x, y):
        return dout, -dout


class Multiply(_Broadcasting):
    """``x * y``, element by element; the gradients are ``dout * y`` and ``dout * x``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> multiply = nn.Multiply()
    >>> multiply(np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]]))
    array([[10., 40.]])
    >>> multiply.backward(np.ones((1, 2)))
    (array([[10., 20.]]), array([[1., 2.]]))
    """

    symbol = "*"

    def forward(self, x: ArrayLike, y: ArrayLike) -> Floats:
        return super().forward(x, y)

    def _value(self, x, y):
        return x * y

    def _gradients(self, dout, out, x, y):
        return dout * y, dout * x


class Divide(_Broadcasting):
    """``x / y``; the gradients are ``dout / y`` and ``-dout * x / y^2``."""

    symbol = "/"

    def _value(self, x, y):
        return x / y

    def _gradients(self, dout, out, x, y):
        return dout / y, -dout * out / y


class Power(_Broadcasting):
    """``x ** y``; the gradients are ``dout * y * x^(y - 1)``, 0 for y = 0, and ``dout * x^y * log(x)``, 0 for x = 0 and y >= 0.

    Parameters
    ----------
    exponent : float or array-like, optional
        A constant y; the only input is then x.
    """

    def __init__(self, exponent: ArrayLike | None = None) -> None:
        self.exponent = exponent if exponent is None else constant(exponent)

    @property
    def symbol(self):
        return "**" if self.exponent is None else f"** {constant_text(self.exponent)}"

    def arguments(self):
        return {"exponent": np.asarray(self.exponent).tolist()}

    def formula(self, *operands):
        return f"{operands[0]} {self.symbol}" if len(operands) == 1 else super().formula(*operands)

    def _value(self, x, y=None):
        return x ** (self.exponent.astype(x.dtype) if y is None else y)

    def _gradients(self, dout, out, x, y=None):
        exponent = self.exponent.astype(x.dtype) if y is None else y
        # Where y is 0, x takes the place of x^-1, so that the product is 0 at x = 0, too. As in PyTorch, dy is 0 there.
        dx = dout * exponent * x ** np.where(exponent == 0, 1, exponent - 1).astype(x.dtype)
        if y is None:
            return (dx,)
        return dx, dout * out * np.log(np.where((x == 0) & (y >= 0), 1, x))


class MatMul(_Operation):
    """``x @ y``, the matrix product; the gradients are ``dout @ y.T`` and ``x.T @ dout``."""

    symbol = "@"

    def _expected(self, error):
        return "the operands of @ must have shapes (..., n, k) and (..., k, m)"

    def formula(self, *operands):
        return " @ ".join(operands)

    def _value(self, x, y):
        return x @ y

    def _gradients(self, dout, out, x, y):
        # A vector is a row on the left, a column on the right.
        rows, columns = (x if x.ndim > 1 else x[None]), (y if y.ndim > 1 else y[:, None])
        dout = dout[..., None] if y.ndim == 1 else dout
        dout = dout[..., None, :] if x.ndim == 1 else dout
        dx, dy = dout @ np.swapaxes(columns, -1, -2), np.swapaxes(rows, -1, -2) @ dout
        return _summed(dx, rows.shape).reshape(x.shape), _summed(dy, columns.shape).reshape(y.shape)


class Negative(_Operation):
    """``-x``; the gradient is ``-dout``."""

    symbol = "-"

    def formula(self, *operands):
        return f"-{operands[0]}"

    def _value(self, x):
        return -x

    def _gradients(self, dout, out, x):
        return (-dout,)


class Exp(_Operation):
    """``exp(x)``; the gradient is ``dout * exp(x)``.

    Examples
    --------
    >>> from fastprop.nn import operations
    >>> operations.Exp()([0.0, 1.0]).round(4)
    array([1.    , 2.7183])
    """

    symbol = "exp"

    def _value(self, x):
        return np.exp(x)

    def _gradients(self, dout, out, x):
        return (dout * out,)


class Log(_Operation):
    """``log(x)``, the natural logarithm; the gradient is ``dout / x``.

    Examples
    --------
    >>> from fastprop.nn import operations
    >>> operations.Log()([1.0, 2.0]).round(4)
    array([0.    , 0.6931])
    """

    symbol = "log"

    def _value(self, x):
        return np.log(x)

    def _gradients(self, dout, out, x):
        return (dout / x,)


class Sum(_Operation):
    """The sum over some axes; every element receives the gradient of its sum.

    Parameters
    ----------
    axis : int, tuple of int, or None
        The axes; None for all.
    keepdims : bool
        Whether to keep these axes, with length 1.
    """

    symbol = "sum"

    def __init__(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> None:
        self.axis = tuple(axis) if isinstance(axis, list) else axis  # files store a tuple as a list
        self.keepdims = keepdims

    def formula(self, *operands):
        return f"{self.symbol}({', '.join([*operands, self._summary()]).removesuffix(', ')})"

    def _value(self, x):
        return x.sum(axis=self.axis, keepdims=self.keepdims)

    def _gradients(self, dout, out, x):
        if self.axis is not None and not self.keepdims:
            dout = np.expand_dims(dout, self.axis)
        return (np.broadcast_to(dout, x.shape),)


class Mean(Sum):
    """The mean over some axes; each of n elements receives 1 / n of the gradient of their mean.

    Parameters
    ----------
    axis : int, tuple of int, or None
        The axes; None for all.
    keepdims : bool
        Whether to keep these axes, with length 1.
    """

    symbol = "mean"

    def _value(self, x):
        return x.mean(axis=self.axis, keepdims=self.keepdims)

    def _gradients(self, dout, out, x):
        return super()._gradients(dout * (out.size / x.size), out, x)


class Reshape(_Operation):
    """The elements in another shape; the gradient gets the shape of the input.

    Parameters
    ----------
    shape : sequence of int
        The new shape; one length may be -1.
    """

    symbol = "reshape"

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape[0]) if len(shape) == 1 and np.ndim(shape[0]) else tuple(shape)

    def formula(self, *operands):
        return f"{operands[0]}.reshape{self.shape}"

    def _value(self, x):
        return x.reshape(self.shape)

    def _gradients(self, dout, out, x):
        return (dout.reshape(x.shape),)


class Transpose(_Operation):
    """All axes in reverse order."""

    symbol = "T"

    def formula(self, *operands):
        return f"{operands[0]}.T"

    def _value(self, x):
        return x.T

    def _gradients(self, dout, out, x):
        return (dout.T,)


class Item(_Operation):
    """``x[index]``; elements that are not selected have the gradient 0.

    Parameters
    ----------
    index : sequence of int, slice, Ellipsis and None
        Slices and Ellipsis may be strings, such as '1:' and '...', which is how files store them.
    """

    def __init__(self, index: Sequence[Any]) -> None:
        self.index = tuple(_from_text(i) if isinstance(i, str) else i for i in index)
        for i in self.index:
            if isinstance(i, bool) or not isinstance(i, int | np.integer | slice | EllipsisType | None):
                raise TypeError(f"an index of a value in a graph must consist of integers, slices, ... and None; got {i!r}")

    def arguments(self):
        return {"index": [_text(i) if isinstance(i, slice | EllipsisType) else i if i is None else int(i) for i in self.index]}

    @property
    def symbol(self):
        return f"[{', '.join(map(_text, self.index))}]"

    def formula(self, *operands):
        return operands[0] + self.symbol

    def _value(self, x):
        return x[self.index]

    def _gradients(self, dout, out, x):
        dx = np.zeros_like(x)
        dx[self.index] = dout
        return (dx,)


def _text(part):
    """A part of an index as text."""
    if not isinstance(part, slice):
        return "..." if part is ... else str(part)
    ends = ["" if i is None else str(i) for i in (part.start, part.stop)]
    return ":".join(ends if part.step is None else [*ends, str(part.step)])


def _from_text(text):
    """The slice or Ellipsis that a text stands for."""
    return ... if text == "..." else slice(*(int(i) if i else None for i in text.split(":")))


class Concat(Module):
    """The inputs (n, n_i) concatenated to (n, sum of n_i); every input receives its columns of the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> nn.Concat()(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    array([[1., 2., 3.]])
    """

    symbol = "concat"

    def forward(self, *inputs: ArrayLike) -> Floats:
        inputs = [np.asarray(x) for x in inputs]
        if any(x.ndim != 2 for x in inputs) or len({len(x) for x in inputs}) > 1:
            raise ShapeError(self, f"all inputs must have shape (n, any) with the same n; got {[x.shape for x in inputs]}")
        out = np.concatenate(inputs, axis=1)
        self._saved = (np.cumsum([x.shape[1] for x in inputs])[:-1], out.shape, out.dtype) if self.training else None
        return out

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> tuple[Floats, ...]:
        if self._saved is None:
            raise self.no_forward()
        cuts, shape, dtype = self._saved
        return tuple(np.split(like(self, "dout", dout, shape, dtype), cuts, axis=1))

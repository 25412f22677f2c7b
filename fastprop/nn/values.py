"""Values, which a `Graph` computes later, and the arithmetic that makes new ones from the modules in `operations`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from ..annotations import ArrayLike, Floats
from .parameter import Parameter, real_numbers

if TYPE_CHECKING:
    from .module import Module

Operand: TypeAlias = "Value | Parameter | ArrayLike"

_numbers = itertools.count()  # of the inputs, in the order in which they are made


class Value:
    """A value that a `Graph` computes later. Arithmetic with values, parameters, numbers and arrays gives new values.

    Shapes follow NumPy: operands broadcast, and ``@`` is the matrix product of vectors, matrices and stacks of matrices. Numbers
    and arrays are constants.

    Parameters
    ----------
    module : Module, optional
        The module that computes it; none for inputs, constants and parameters.
    inputs : sequence of Value, Parameter, number or array-like
        The inputs of the module.
    name : str, optional
        See `named`.

    Examples
    --------
    >>> from fastprop import nn
    >>> x, w = nn.Input("x"), nn.Input("w")
    >>> q = w * x + 1.0
    >>> isinstance(q, nn.Value)
    True
    >>> float(nn.Graph([x, w], q)(2.0, 3.0))
    7.0
    """

    __array_ufunc__ = None  # array + value calls the value's __radd__
    __iter__ = None  # with __getitem__ alone, iterating would never end

    def __init__(self, module: Module | None = None, inputs: Sequence[Operand] = (), name: str | None = None) -> None:
        self.module, self.inputs, self.name = module, [_as_value(x) for x in inputs], name

    def named(self, name: str) -> Self:
        """Name the value in the graphs that are made afterwards.

        Parameters
        ----------
        name : str
            A string that is not a number and has no dot. Values without a name are numbered.

        Returns
        -------
        Value
            This one.
        """
        self.name = name
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.module!r}, name={self.name!r})"

    def __add__(self, other: Operand) -> Value:
        return _computed("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return _computed("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return _computed("Subtract", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return _computed("Subtract", other, self)

    def __mul__(self, other: Operand) -> Value:
        return _computed("Multiply", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return _computed("Multiply", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return _computed("Divide", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return _computed("Divide", other, self)

    def __pow__(self, other: Operand) -> Value:
        is_constant = not isinstance(other, Value | Parameter)
        return _computed("Power", self, exponent=other) if is_constant else _computed("Power", self, other)

    def __rpow__(self, other: Operand) -> Value:
        return _computed("Power", other, self)

    def __matmul__(self, other: Operand) -> Value:
        return _computed("MatMul", self, other)

    def __rmatmul__(self, other: Operand) -> Value:
        return _computed("MatMul", other, self)

    def __neg__(self) -> Value:
        return _computed("Negative", self)

    def __getitem__(self, index: Any) -> Value:
        return _computed("Item", self, index=index if isinstance(index, tuple) else (index,))

    def exp(self) -> Value:
        """Apply the exponential function to every element.

        Returns
        -------
        Value
            ``exp(x)``, of the shape of x.
        """
        return _computed("Exp", self)

    def log(self) -> Value:
        """Take the natural logarithm of every element.

        Returns
        -------
        Value
            ``log(x)``, of the shape of x; NaN where x is negative.
        """
        return _computed("Log", self)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        """Sum over some axes, as NumPy does.

        Parameters
        ----------
        axis : int, tuple of int, or None
            The axes; None for all.
        keepdims : bool
            Whether to keep these axes, with length 1.

        Returns
        -------
        Value
            The sums. Every element receives the gradient of its sum.
        """
        return _computed("Sum", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        """Average over some axes, as NumPy does.

        Parameters
        ----------
        axis : int, tuple of int, or None
            The axes; None for all.
        keepdims : bool
            Whether to keep these axes, with length 1.

        Returns
        -------
        Value
            The means. Each of n elements receives 1 / n of the gradient of their mean.
        """
        return _computed("Mean", self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: int) -> Value:
        """Reshape, as NumPy does; the order of the elements stays.

        Parameters
        ----------
        *shape : int
            The lengths of the axes; one may be -1.

        Returns
        -------
        Value
            The elements in this shape.
        """
        return _computed("Reshape", self, shape=shape)

    @property
    def T(self) -> Value:
        """The transpose: all axes in reverse order."""
        return _computed("Transpose", self)


class Input(Value):
    """An input of a `Graph`.

    Parameters
    ----------
    name : str, optional
        Its name, for calls of the graph and to look up its value and gradient.

    Examples
    --------
    >>> from fastprop import nn
    >>> x, y = nn.Input("x"), nn.Input("y")
    >>> graph = nn.Graph(x * y + x)
    >>> float(graph(x=3.0, y=2.0))
    9.0
    >>> [float(gradient) for gradient in graph.backward()]
    [3.0, 3.0]
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.number = next(_numbers)


class Constant(Value):
    """A number or an array in an expression."""

    def __init__(self, value: ArrayLike) -> None:
        super().__init__()
        self.value = constant(value)


class Weight(Value):
    """A parameter in an expression; several values may stand for the same parameter."""

    def __init__(self, parameter: Parameter, name: str | None = None) -> None:
        super().__init__(name=name)
        self.parameter = parameter


def constant(values: ArrayLike) -> Floats:
    """A copy of real numbers, in float32 if they are float32, else in float64."""
    array = real_numbers("a constant in a graph", values)
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64)


def constant_text(value: Floats) -> str:
    """A constant in a formula."""
    if value.ndim == 0:
        return f"{value:g}"
    return np.array2string(value, precision=3, separator=", ") if value.size <= 4 and value.ndim == 1 else f"array{value.shape}"


def values_of(what: str, given: Any) -> list[Value]:
    """A list of the values that were given: several, or a single one."""
    given = list(given) if np.iterable(given) else [given]
    for each in given:
        if not isinstance(each, Value):
            raise TypeError(f"{what} must be made from nn.Input, such as nn.Input('x') + 1; got {each!r}")
    return given


def in_order(outputs: list[Value], inputs: list[Value]) -> list[Value]:
    """The values that the outputs depend on, each after those it depends on, without the inputs and what only they depend on."""
    order, done, stack = [], {*inputs}, list(reversed(outputs))
    while stack:
        value = stack[-1]
        missing = [] if value in done else [source for source in value.inputs if source not in done]
        stack.extend(reversed(missing))
        if not missing:
            stack.pop()
            if value not in done:
                done.add(value)
                order.append(value)
    return order


def _as_value(x):
    return x if isinstance(x, Value) else Weight(x) if isinstance(x, Parameter) else Constant(x)


def _computed(operation, *inputs, **arguments):
    """The value of a new operation. Operations are modules, which import this file."""
    from . import operations

    return Value(getattr(operations, operation)(**arguments), inputs)

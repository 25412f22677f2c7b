"""Functions of values in a `Graph`, and of arrays: activations, `softmax`, `exp`, `log` and `concat`.

>>> from fastprop import nn
>>> from fastprop.nn import functional as F
>>> w, x = nn.Input("w"), nn.Input("x")
>>> nn.Graph(F.sigmoid(w * x))
Graph(w, x) -> #1  # 0 parameters
  #0 = w * x
  #1 = sigmoid(#0)
>>> float(F.relu(-2.0))
0.0
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, overload

from ..annotations import ArrayLike, Floats
from . import activations, operations
from .values import Operand, Value

if TYPE_CHECKING:
    from .module import Module


class _Function(Protocol):
    """A function of one value or array."""

    @overload
    def __call__(self, x: Value) -> Value: ...
    @overload
    def __call__(self, x: ArrayLike) -> Floats: ...


def _function(name: str, module: type[Module]) -> _Function:
    """A function that makes a module and calls it. Its docstring is made from that of the module."""
    text, _, example = (module.__doc__ or "").partition("Examples\n    --------\n")
    example = re.sub(r"^( +>>> from) .*", r"\1 fastprop.nn import functional as F", example, flags=re.MULTILINE)
    example = re.sub(rf"\w+\.{module.__name__}\(\)", f"F.{name}", example)

    def function(x: Operand) -> Value | Floats:
        return module()(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{text.strip()}

    Parameters
    ----------
    x : Value or array-like
        Of any shape; for softmax (n, n_classes).

    Returns
    -------
    Value or ndarray
        For a `Value` another value of the `Graph`, for an array the result.

    Examples
    --------
{example.rstrip()}
    """
    return function


identity = _function("identity", activations.Identity)
relu = _function("relu", activations.ReLU)
leaky_relu = _function("leaky_relu", activations.LeakyReLU)
elu = _function("elu", activations.ELU)
selu = _function("selu", activations.SELU)
gelu = _function("gelu", activations.GELU)
silu = _function("silu", activations.SiLU)
mish = _function("mish", activations.Mish)
softplus = _function("softplus", activations.Softplus)
sigmoid = _function("sigmoid", activations.Sigmoid)
tanh = _function("tanh", activations.Tanh)
softmax = _function("softmax", activations.Softmax)
exp = _function("exp", operations.Exp)
log = _function("log", operations.Log)


@overload
def concat(x: Value, /, *more: Operand) -> Value: ...
@overload
def concat(x: ArrayLike, /, *more: ArrayLike) -> Floats: ...
def concat(*xs: Operand) -> Value | Floats:
    """Concatenate matrices with the same number of rows side by side.

    Parameters
    ----------
    *xs : Value or array-like, shape (n, any)
        The matrices.

    Returns
    -------
    Value or ndarray, shape (n, sum of their columns)
        A value of a `Graph` if one of the matrices is a `Value`, else the result.

    Examples
    --------
    >>> from fastprop.nn import functional as F
    >>> F.concat([[1.0, 2.0]], [[3.0]])
    array([[1., 2., 3.]])
    """
    return operations.Concat()(*xs)

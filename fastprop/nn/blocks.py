"""Blocks with branches: Residual, Highway, DenseConcat. Where a value takes several paths, their gradients are added."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate as running_sums
from typing import TYPE_CHECKING

import numpy as np

from ..annotations import ActivationName, ArrayLike, FloatDType, Floats, RandomSource
from .arrays import any_matrix, like, matrix, one_row_too
from .errors import ShapeError
from .init import generator
from .linear import Linear
from .module import Module, checked_modules

if TYPE_CHECKING:
    from .program import Program


class Residual(Module):
    """``y = block(x) + x``; the term dy of the gradient ``dx = block.backward(dy) + dy`` does not vanish with depth.

    Parameters
    ----------
    block : Module
        Its output must have the shape of its input.

    References
    ----------
    He, Zhang, Ren, Sun, *Deep residual learning for image recognition* (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> block = nn.Residual(nn.Linear(3, 3, init="zeros"))
    >>> block([[1.0, 2.0, 3.0]])
    array([[1., 2., 3.]])
    """

    def __init__(self, block: Module) -> None:
        (self.block,) = checked_modules([block])

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        x = any_matrix(self, "x", x)
        y = self.block.forward(x)
        self._check_shapes(x.shape, y.shape)
        return y + x

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        return self.block.backward(dout, accumulate) + dout

    def lower(self, program: Program) -> None:
        source, shape = program.value, program.shape
        program.module(self.block)
        self._check_shapes(shape, program.shape)
        program.add(source)

    def _check_shapes(self, x_shape, y_shape):
        if y_shape != x_shape:
            raise ShapeError(self, f"the block's output must have the shape of its input, {x_shape}; got {y_shape}")


class Highway(Module):
    """``y = t * f + (1 - t) * x`` with ``f = activation(x @ W_f + b_f)`` and the gate ``t = sigmoid(x @ W_t + b_t)``.

    Parameters
    ----------
    n : int
        The number of columns of x and y.
    activation : str
        The activation of f: a name that `Linear` takes.
    gate_bias : float
        The initial value of b_t; with one below zero the layer starts near the identity.
    random_state : int, Generator, RandomState or None
        For the initial weights.
    dtype : {float64, float32}
        The dtype of the parameters; inputs are converted to it.

    References
    ----------
    Srivastava, Greff, Schmidhuber, *Highway networks* (2015).

    Examples
    --------
    >>> from fastprop import nn
    >>> block = nn.Highway(3, random_state=0)
    >>> block([[1.0, 2.0, 3.0]]).shape
    (1, 3)
    """

    def __init__(
        self,
        n: int,
        activation: ActivationName = "relu",
        gate_bias: float = -1.0,
        *,
        random_state: RandomSource = None,
        dtype: FloatDType = np.float64,
    ) -> None:
        random_state = generator(random_state)
        self.transform = Linear(n, n, activation=activation, random_state=random_state, dtype=dtype)
        self.gate = Linear(n, n, activation="sigmoid", init="xavier_normal", random_state=random_state, dtype=dtype)
        self.gate.bias.data[...] = gate_bias
        self.n, self.activation, self.gate_bias, self.dtype = self.gate.n_in, activation, gate_bias, self.gate.dtype

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        x = matrix(self, "x", x, self.n, self.dtype)
        f, t = self.transform.forward(x), self.gate.forward(x)
        self._saved = (x, f, t) if self.training else None
        return t * f + (1 - t) * x

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        if self._saved is None:
            raise self.no_forward()
        x, f, t = self._saved
        dout = like(self, "dout", dout, x.shape, x.dtype)
        # y = t * f + (1 - t) * x: x reaches y directly, through f and through t
        dx = dout * (1 - t)
        dx += self.transform.backward(dout * t, accumulate)
        dx += self.gate.backward(dout * (f - x), accumulate)
        return dx


class DenseConcat(Module):
    """Each block takes the input and the outputs of all blocks before it, concatenated; the output is all of these.

    Parameters
    ----------
    blocks : list of Module
        Block i takes as many columns as the input and the outputs of blocks 0 to i - 1 have together.

    References
    ----------
    Huang, Liu, van der Maaten, Weinberger, *Densely connected convolutional networks* (2017).

    Examples
    --------
    >>> from fastprop import nn
    >>> block = nn.DenseConcat([nn.Linear(3, 4, random_state=0), nn.Linear(7, 2, random_state=1)])
    >>> block([[1.0, 2.0, 3.0]]).shape  # 3 + 4 + 2
    (1, 9)
    """

    def __init__(self, blocks: Iterable[Module]) -> None:
        self.blocks = checked_modules(blocks)

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        values = [any_matrix(self, "x", x)]
        for block in self.blocks:
            values.append(block.forward(np.concatenate(values, axis=1)))
        self._saved = list(running_sums(value.shape[1] for value in values[:-1])) if self.training else None
        return np.concatenate(values, axis=1)

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        if self._saved is None:
            raise self.no_forward()
        dout = any_matrix(self, "dout", dout)
        # From the last block to the first, so that the gradient of a block's output is complete when its backward runs.
        for block, start in zip(reversed(self.blocks), reversed(self._saved), strict=True):
            dout = dout[:, :start] + block.backward(dout[:, start:], accumulate)
        return dout

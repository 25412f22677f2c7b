"""Sequential, mlp, and Checkpoint, which saves memory."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from ..annotations import ActivationName, ArrayLike, FloatDType, Floats, RandomSource
from .arguments import as_layer
from .errors import LayerError
from .functions import Activation
from .init import generator
from .linear import Linear
from .module import Module, checked_modules
from .parameter import one_block

if TYPE_CHECKING:
    from .init import Initializer
    from .program import Program


class Sequential(Module):
    """Layers in a row: each takes the output of the one before.

    Parameters
    ----------
    *layers : Module
        From the first to the last. No layer may appear twice.
    checkpoint_every : int or None
        Keep only the input of each group of this many layers and recompute the rest in the backward pass; see `Checkpoint`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> model = nn.Sequential(nn.Linear(4, 8, activation="relu", random_state=0), nn.Linear(8, 3, random_state=1))
    >>> model
    Sequential(  # 67 parameters
      (0): Linear(4, 8, activation='relu')  # 40 parameters: weight (4, 8), bias (8,)
      (1): Linear(8, 3)  # 27 parameters: weight (8, 3), bias (3,)
    )
    >>> model(np.zeros((5, 4))).shape
    (5, 3)
    """

    takes_need_dx = True

    def __init__(self, *layers: Module, checkpoint_every: int | None = None) -> None:
        self.layers: list[Module] = checked_modules(layers)
        self.checkpoint_every = checkpoint_every
        one_block(self.parameters())
        self._stages = self.layers
        if checkpoint_every is not None:
            if operator.index(checkpoint_every) < 1:
                raise ValueError(f"checkpoint_every must be at least 1; got {checkpoint_every}")
            starts = range(0, len(layers), checkpoint_every)
            self._stages = [Checkpoint(Sequential(*layers[start : start + checkpoint_every])) for start in starts]

    def arguments(self) -> dict[str, Any]:
        return {"layers": self.layers, "checkpoint_every": self.checkpoint_every}

    @classmethod
    def from_arguments(cls, layers: Iterable[Module], checkpoint_every: int | None) -> Self:
        return cls(*layers, checkpoint_every=checkpoint_every)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...  # Any: mostly a Linear, used for its weight
    def __getitem__(self, index: Any) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def modules(self) -> list[Module]:
        hidden = [stage for stage in self._stages if stage not in self.layers]
        return super().modules() + [module for stage in hidden for module in (stage, stage.block)]

    def forward(self, x: ArrayLike, *more: ArrayLike) -> Floats:
        """Run the forward of every layer, from the first to the last.

        Parameters
        ----------
        x : array-like, shape (n, n_in)
            The rows.
        *more : array-like
            Further inputs, if the first layer takes several, as a `Graph` may.

        Returns
        -------
        ndarray, shape (n, n_out)
            The output of the last layer.
        """
        try:
            for stage in self._stages:
                x, more = stage.forward(x, *more), ()
        except LayerError as error:
            raise error.located_in(self) from None
        return x

    def backward(self, dout: ArrayLike, accumulate: bool = False, need_dx: bool = True) -> Floats | Any:
        """Run the backward of every layer, from the last to the first.

        Parameters
        ----------
        dout : ndarray
            Gradient of the loss with respect to the output, of the same shape.
        accumulate : bool
            Add to the gradients of the parameters instead of overwriting them.
        need_dx : bool
            If False, the gradient with respect to the input is not computed.

        Returns
        -------
        ndarray or None
            The gradient with respect to the input; None unless ``need_dx``.
        """
        try:
            for stage in self._stages[:0:-1]:
                dout = stage.backward(dout, accumulate)
            for stage in self._stages[:1]:
                options = {"need_dx": False} if stage.takes_need_dx and not need_dx else {}
                dout = stage.backward(dout, accumulate, **options)
        except LayerError as error:
            raise error.located_in(self) from None
        return dout if need_dx else None

    def lower(self, program: Program) -> None:
        if self.checkpoint_every is not None:
            raise program.not_plain(self, "has checkpoint_every")
        for layer in self.layers:
            program.module(layer)


def mlp(
    sizes: Sequence[int],
    activation: ActivationName | Module | type[Module] = "relu",
    *,
    init: Initializer = "he_normal",
    random_state: RandomSource = None,
    dtype: FloatDType = np.float64,
) -> Sequential:
    """A `Sequential` of Linear layers, with the activation after each except the last.

    Parameters
    ----------
    sizes : sequence of int
        At least two numbers of units, from the inputs to the outputs.
    activation : str or Module
        The activation of all hidden layers: a name that `Linear` takes, a layer such as ``nn.ReLU()``, or an `Activation` of your
        own, which is copied for each hidden layer.
    init : str or callable
        As in `Linear`.
    random_state : int, Generator, RandomState or None
        As in `Linear`; an integer seeds one generator for all layers. ``np.random.seed`` does not affect what None draws.
    dtype : {float64, float32}
        The dtype of all parameters.

    Returns
    -------
    Sequential
        The Linear layers. An activation that `Linear` does not take is a separate layer after each hidden one.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.mlp([784, 128, 10], random_state=0).n_parameters
    101770
    """
    shapes, random_state = list(pairwise(sizes)), generator(random_state)
    if not shapes:
        raise ValueError(f"sizes must hold at least two numbers; got {list(sizes)}")
    options = {"init": init, "random_state": random_state, "dtype": dtype}
    own = as_layer(activation)
    layers = []
    for shape in shapes[:-1]:
        layers.append(Linear(*shape, activation="identity" if own else activation, **options))
        if own:
            layers.append(own.copied() if isinstance(own, Activation) else copy.deepcopy(own))
    return Sequential(*layers, Linear(*shapes[-1], **options))


class Checkpoint(Module):
    """A block that does not keep its intermediate values, but recomputes them in the backward pass.

    The forward pass keeps only the input. The backward pass runs the block's forward again, with the same random numbers, and then
    its backward. L equal layers in blocks of sqrt(L) keep about 2 sqrt(L) outputs instead of L, at the cost of one more forward.

    Parameters
    ----------
    block : Module
        Any module, such as a `Sequential`.

    References
    ----------
    Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost* (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> block = nn.Checkpoint(nn.mlp([4, 8, 4], random_state=0))
    >>> y = block(np.ones((2, 4)))
    >>> block.backward(np.ones_like(y)).shape  # computes the forward again
    (2, 4)
    """

    def __init__(self, block: Module) -> None:
        (self.block,) = checked_modules([block])

    def forward(self, x: ArrayLike) -> Floats:
        out = self.block.forward(x)
        self.block.forget()
        self._saved = x if self.training else None
        return out

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        if self._saved is None:
            raise self.no_forward()
        modules = self.block.modules()
        for module in modules:
            module.recomputing = True
        try:
            self.block.forward(self._saved)
        finally:
            for module in modules:
                module.recomputing = False
        dx = self.block.backward(dout, accumulate)
        self.block.forget()
        return dx

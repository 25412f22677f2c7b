"""Activations as layers: a class for each activation in `kernels.spec`, and softmax. Constants are PyTorch's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..annotations import ActivationName, ArrayLike, Floats
from ..kernels.spec import ACTIVATIONS
from .arrays import any_matrix, any_shape, like, one_row_too, raw
from .errors import ShapeError
from .module import Module

if TYPE_CHECKING:
    from .program import Program

# Name in the specification -> class of the layer
ACTIVATION_LAYERS: dict[str, type[_Elementwise]] = {}


class _Elementwise(Module):
    """``a = f(x)`` for x of any shape, where f is an activation of the specification, by its name there."""

    _name: ActivationName

    @property
    def symbol(self) -> str:
        """The text for it in a printed or drawn `Graph`."""
        return self._name

    def __init_subclass__(cls, name: ActivationName | None = None) -> None:
        super().__init_subclass__()
        if name is not None:  # a subclass of one of these has the same f
            cls._name = name
            ACTIVATION_LAYERS[name] = cls

    def forward(self, x: ArrayLike) -> Floats:
        (x, shape), activation = any_shape(self, "x", x), ACTIVATIONS[self._name]
        a = np.empty_like(x)
        raw.activation_forward(x, activation.code, a, self.n_threads)
        self._saved = (a if activation.derivative == "a" else x, shape) if self.training else None
        return a.reshape(shape)

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        if self._saved is None:
            raise self.no_forward()
        saved, shape = self._saved
        dx = np.empty_like(saved)
        dout = like(self, "dout", dout, shape, saved.dtype).reshape(saved.shape)
        raw.activation_backward(dout, saved, ACTIVATIONS[self._name].code, dx, self.n_threads)
        return dx.reshape(shape)

    def lower(self, program: Program) -> None:
        program.activation(self._name)


class Identity(_Elementwise, name="identity"):
    """``a = x``.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.Identity()([-1.0, 0.0, 2.0])
    array([-1.,  0.,  2.])
    """


class ReLU(_Elementwise, name="relu"):
    """``a = max(x, 0)``; the derivative at 0 is 0.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.ReLU()([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """


class LeakyReLU(_Elementwise, name="leaky_relu"):
    """``a = x`` for x > 0, else ``0.01 x``; the derivative at 0 is 0.01.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.LeakyReLU()([-1.0, 0.0, 2.0])
    array([-0.01,  0.  ,  2.  ])
    """


class ELU(_Elementwise, name="elu"):
    """``a = x`` for x > 0, else ``exp(x) - 1`` (Clevert, Unterthiner, Hochreiter, 2016).

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.ELU()([-1.0, 0.0, 2.0]).round(4)
    array([-0.6321,  0.    ,  2.    ])
    """


class SELU(_Elementwise, name="selu"):
    """``a = scale x`` for x > 0, else ``scale alpha (exp(x) - 1)``; scale = 1.0507 and alpha = 1.6733 to four places.

    It keeps means near 0 and variances near 1 from layer to layer (Klambauer et al., *Self-normalizing neural networks*, 2017).

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.SELU()([-1.0, 0.0, 2.0]).round(4)
    array([-1.1113,  0.    ,  2.1014])
    """


class GELU(_Elementwise, name="gelu"):
    """``a = x Phi(x)``, exactly, with the standard normal distribution function Phi (Hendrycks and Gimpel, 2016).

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.GELU()([-1.0, 0.0, 2.0]).round(4)
    array([-0.1587,  0.    ,  1.9545])
    """


class SiLU(_Elementwise, name="silu"):
    """``a = x / (1 + exp(-x))`` (Elfwing, Uchibe, Doya, 2018).

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.SiLU()([-1.0, 0.0, 2.0]).round(4)
    array([-0.2689,  0.    ,  1.7616])
    """


class Mish(_Elementwise, name="mish"):
    """``a = x tanh(log(1 + exp(x)))`` (Misra, 2020).

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.Mish()([-1.0, 0.0, 2.0]).round(4)
    array([-0.3034,  0.    ,  1.944 ])
    """


class Softplus(_Elementwise, name="softplus"):
    """``a = log(1 + exp(x))``, computed as x for x > 20.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.Softplus()([-1.0, 0.0, 2.0]).round(4)
    array([0.3133, 0.6931, 2.1269])
    """


class Sigmoid(_Elementwise, name="sigmoid"):
    """``a = 1 / (1 + exp(-x))``, with the derivative a (1 - a), which is at most 1/4.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.Sigmoid()([-1.0, 0.0, 2.0]).round(4)
    array([0.2689, 0.5   , 0.8808])
    """


class Tanh(_Elementwise, name="tanh"):
    """``a = tanh(x)``, with the derivative 1 - a^2.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.Tanh()([-1.0, 0.0, 2.0]).round(4)
    array([-0.7616,  0.    ,  0.964 ])
    """


class Softmax(Module):
    """``probs = exp(x) / sum over the row of exp(x)``; backward ``dx = probs * (dprobs - sum over the row of dprobs * probs)``.

    Do not put it before `SoftmaxCrossEntropy`, which takes logits.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> nn.Softmax()(np.log([[1.0, 3.0]])).round(4)
    array([[0.25, 0.75]])
    """

    symbol = "softmax"

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        x = any_matrix(self, "x", x)
        if x.shape[1] == 0:
            raise ShapeError(self, f"x must have at least one class; got shape {x.shape}")
        probs = np.empty_like(x)
        raw.softmax_forward(x, probs, self.n_threads)
        self._saved = probs if self.training else None
        return probs

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        probs = self._saved
        if probs is None:
            raise self.no_forward()
        dx = np.empty_like(probs)
        raw.softmax_backward(like(self, "dout", dout, probs.shape, probs.dtype), probs, dx, self.n_threads)
        return dx

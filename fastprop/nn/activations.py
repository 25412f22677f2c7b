"""The activations as layers of their own, and softmax."""

from __future__ import annotations

import numpy as np

from ..annotations import ArrayLike, Floats
from ..kernels.codes import ACTIVATIONS
from .errors import ShapeError
from .module import Module, any_matrix, like, raw


class _Elementwise(Module):
    """``a = f(x)``, x (n, n_units); the backward needs only a."""

    _code = None

    def forward(self, x: ArrayLike) -> Floats:
        x = any_matrix(self, "x", x)
        a = np.empty_like(x)
        raw.activation_forward(x, self._code, a, self.n_threads)
        self._saved = a if self.training else None
        return a

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        a = self._saved
        if a is None:
            raise self.no_forward()
        dx = np.empty_like(a)
        raw.activation_backward(like(self, "dout", dout, a.shape, a.dtype), a, self._code, dx, self.n_threads)
        return dx


class Identity(_Elementwise):
    """``a = x``."""

    _code = ACTIVATIONS["identity"]


class ReLU(_Elementwise):
    """``a = max(x, 0)``; the derivative at 0 is 0."""

    _code = ACTIVATIONS["relu"]


class Sigmoid(_Elementwise):
    """``a = 1 / (1 + exp(-x))``, with the derivative a (1 - a), which is at most 1/4."""

    _code = ACTIVATIONS["sigmoid"]


class Tanh(_Elementwise):
    """``a = tanh(x)``, with the derivative 1 - a^2."""

    _code = ACTIVATIONS["tanh"]


class Softmax(Module):
    """``probs = exp(x) / sum over the row of exp(x)``; backward ``dx = probs * (dprobs - sum over the row of dprobs * probs)``.

    Before a cross-entropy it is not needed: `SoftmaxCrossEntropy` takes logits.
    """

    def forward(self, x: ArrayLike) -> Floats:
        x = any_matrix(self, "x", x)
        if x.shape[1] == 0:
            raise ShapeError(self, f"x must have at least one class; got shape {x.shape}")
        probs = np.empty_like(x)
        raw.softmax_forward(x, probs, self.n_threads)
        self._saved = probs if self.training else None
        return probs

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        probs = self._saved
        if probs is None:
            raise self.no_forward()
        dx = np.empty_like(probs)
        raw.softmax_backward(like(self, "dout", dout, probs.shape, probs.dtype), probs, dx, self.n_threads)
        return dx

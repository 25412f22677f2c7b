"""Gradient clipping, between backward and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .parameter import Parameter


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Multiply all gradients by ``min(1, max_norm / (norm + 1e-6))``, as PyTorch does; their direction does not change.

    Parameters
    ----------
    parameters : iterable of Parameter
        Such as ``model.parameters()``; parameters without a gradient are skipped.
    max_norm : float
        The largest norm allowed, above 0.

    Returns
    -------
    float
        The norm before clipping: the square root of the sum of the squares of all gradients. If it is not finite, the gradients
        are not changed.

    References
    ----------
    Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks* (2013), algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = np.array([3.0, 4.0])
    >>> float(nn.clip_grad_norm([weight], 1.0))  # the norm before
    5.0
    >>> weight.grad.round(4)
    array([0.6, 0.8])
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0; got {max_norm!r}")
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = math.hypot(*(float(np.linalg.norm(gradient)) for gradient in gradients))
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        for gradient in gradients:
            gradient *= factor
    return norm


def clip_grad_value(parameters: Iterable[Parameter], value: float) -> None:
    """Clip every element of every gradient to [-value, value], which changes the gradients' direction.

    Parameters
    ----------
    parameters : iterable of Parameter
        Such as ``model.parameters()``; parameters without a gradient are skipped.
    value : float
        The largest absolute value allowed, above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = np.array([3.0, -0.5])
    >>> nn.clip_grad_value([weight], 1.0)
    >>> weight.grad
    array([ 1. , -0.5])
    """
    if not value > 0:
        raise ValueError(f"value must be above 0; got {value!r}")
    for parameter in parameters:
        if parameter.grad is not None:
            np.clip(parameter.grad, -value, value, out=parameter.grad)

"""Initializers: each draws new parameters for a `Linear` layer.

``nn.Linear(4, 8, init="xavier_uniform")`` initializes a new layer; ``nn.init.xavier_uniform(layer, random_state)`` initializes a
layer again. In the formulas, ``n_in`` and ``n_out`` are those of the layer. Biases are zero, except with `scikit_learn`. Weights
that are too small or too large make gradients vanish or explode with depth. He's variance preserves their size through relu,
Xavier's through tanh. LeCun's preserves the size of the values in the forward pass; selu needs it.

References
----------
Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural networks* (2010), equations 12 and 16.
He, Zhang, Ren, Sun, *Delving deep into rectifiers* (2015), equation 10.
LeCun, Bottou, Orr, Müller, *Efficient BackProp* (1998), equation 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..annotations import RandomSource

if TYPE_CHECKING:
    from .linear import Linear

Initializer: TypeAlias = (
    Literal[
        "he_normal",
        "he_uniform",
        "lecun_normal",
        "lecun_uniform",
        "xavier_normal",
        "xavier_uniform",
        "zeros",
        "scikit_learn",
    ]
    | Callable[[Any, Any], object]
)


def generator(random_state):
    """The Generator or RandomState that was given, or a new Generator from a seed or None."""
    return random_state if hasattr(random_state, "uniform") else np.random.default_rng(random_state)


def he_normal(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights from N(0, 2 / n_in).

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(200, 100, init=nn.init.he_normal, random_state=0)
    >>> round(float(layer.weight.data.std()), 2)  # sqrt(2 / 200)
    0.1
    """
    _normal(layer, math.sqrt(2 / layer.n_in), random_state)


def he_uniform(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights uniformly from [-b, b] with b = sqrt(6 / n_in), which has the variance of `he_normal`.

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(6, 100, init=nn.init.he_uniform, random_state=0)
    >>> round(float(abs(layer.weight.data).max()), 1)  # within sqrt(6 / 6)
    1.0
    """
    _uniform(layer, math.sqrt(6 / layer.n_in), random_state)


def lecun_normal(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights from N(0, 1 / n_in).

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(100, 100, init=nn.init.lecun_normal, random_state=0)
    >>> round(float(layer.weight.data.std()), 2)  # sqrt(1 / 100)
    0.1
    """
    _normal(layer, math.sqrt(1 / layer.n_in), random_state)


def lecun_uniform(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights uniformly from [-b, b] with b = sqrt(3 / n_in), which has the variance of `lecun_normal`.

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(12, 100, init=nn.init.lecun_uniform, random_state=0)
    >>> round(float(abs(layer.weight.data).max()), 1)  # within sqrt(3 / 12)
    0.5
    """
    _uniform(layer, math.sqrt(3 / layer.n_in), random_state)


def xavier_normal(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights from N(0, 2 / (n_in + n_out)).

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(150, 50, init=nn.init.xavier_normal, random_state=0)
    >>> round(float(layer.weight.data.std()), 2)  # sqrt(2 / (150 + 50))
    0.1
    """
    _normal(layer, math.sqrt(2 / (layer.n_in + layer.n_out)), random_state)


def xavier_uniform(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights uniformly from [-b, b] with b = sqrt(6 / (n_in + n_out)), which has the variance of `xavier_normal`.

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(14, 10, init=nn.init.xavier_uniform, random_state=0)
    >>> round(float(abs(layer.weight.data).max()), 1)  # within sqrt(6 / (14 + 10))
    0.5
    """
    _uniform(layer, math.sqrt(6 / (layer.n_in + layer.n_out)), random_state)


def zeros(layer: Linear, random_state: RandomSource = None) -> None:
    """Set all weights to zero.

    Such a layer passes no gradient to the layers before it. It is meant for a last layer, or to show why other layers need random
    weights.

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        Not used.

    Examples
    --------
    >>> from fastprop import nn
    >>> bool(nn.Linear(14, 10, init="zeros").weight.data.any())
    False
    """
    _fill(layer, 0.0)


def scikit_learn(layer: Linear, random_state: RandomSource = None) -> None:
    """Draw weights, then biases, as `fastprop.MLPClassifier` does.

    Both are uniform in [-b, b] with b = sqrt(6 / (n_in + n_out)), or sqrt(2 / (n_in + n_out)) for sigmoid. One RandomState for all
    layers, from the first to the last, gives the estimator's numbers. Note that in scikit-learn the activation of the hidden layers
    decides the bound of the last layer, too.

    Parameters
    ----------
    layer : Linear
        Its parameters are overwritten.
    random_state : int, Generator, RandomState or None
        A seed, or the generator to draw from.

    Examples
    --------
    >>> from fastprop import nn
    >>> layer = nn.Linear(14, 10, activation="relu", init="scikit_learn", random_state=0)
    >>> round(float(abs(layer.weight.data).max()), 1), bool(layer.bias.data.any())
    (0.5, True)
    """
    bound = math.sqrt((2 if layer.activation == "sigmoid" else 6) / (layer.n_in + layer.n_out))
    draw = generator(random_state)
    layer.weight.data = draw.uniform(-bound, bound, layer.weight.shape)
    if layer.bias is not None:
        layer.bias.data = draw.uniform(-bound, bound, layer.bias.shape)


def _normal(layer, scale, random_state):
    _fill(layer, scale * generator(random_state).standard_normal(layer.weight.shape))


def _uniform(layer, bound, random_state):
    _fill(layer, generator(random_state).uniform(-bound, bound, layer.weight.shape))


def _fill(layer, weight):
    layer.weight.data[...] = weight
    if layer.bias is not None:
        layer.bias.data[...] = 0


_FUNCTIONS = he_normal, he_uniform, lecun_normal, lecun_uniform, xavier_normal, xavier_uniform, zeros, scikit_learn
INITIALIZERS = {function.__name__: function for function in _FUNCTIONS}

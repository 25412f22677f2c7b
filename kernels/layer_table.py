"""The layer table: the shape of a network as one small intp array that every back end reads (columns: `codes.LAYER_COLUMNS`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from .annotations import ActivationName, Floats, Layers, LinkName
from .checks import integer
from .codes import ACTIVATIONS, LAYER_COLUMNS, LINKS
from .random_bits import rate_number


def layer_table(
    sizes: Sequence[int],
    activation: ActivationName = "relu",
    link: LinkName = "identity",
    dropout: Sequence[tuple[float, int, int]] | None = None,
) -> Layers:
    """Describe a plain stack of Linear layers for `network_forward`, `network_loss_gradient` and `train_epoch`.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of units from the inputs to the outputs, at least two, each at least 1.
    activation : {'identity', 'relu', 'sigmoid', 'tanh'}
        The activation of every hidden layer.
    link : {'identity', 'sigmoid', 'softmax', 'exp'}
        What turns the last layer's logits into outputs.
    dropout : sequence of (rate, seed, stream), optional
        For each hidden layer what `train_epoch` does to its activations: update number s, as Adam counts them from 1, applies
        ``dropout_forward(a, rate, seed, stream + s)`` to those of its batch. Rate 0 is no dropout. The other kernels do without.

    Returns
    -------
    ndarray of intp, shape (n_layers, 7)
        Rows (n_in, n_out, activation code, offset into the flat block, rate in units of 2^-53, seed, stream).
    """
    sizes = [integer("sizes", size) for size in sizes]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must hold at least two numbers, each at least 1; got {sizes}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {list(ACTIVATIONS)}; got {activation!r}")
    if link not in LINKS:
        raise ValueError(f"link must be one of {list(LINKS)}; got {link!r}")
    offsets = list(accumulate(((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)), initial=0))  # in integers that cannot wrap
    if offsets[-1] > sys.maxsize:
        raise ValueError(f"sizes must make at most {sys.maxsize} parameters; {sizes} make {offsets[-1]}")
    layers = np.zeros((len(sizes) - 1, len(LAYER_COLUMNS)), np.intp)
    layers[:, 0], layers[:, 1], layers[:, 2], layers[:, 3] = sizes[:-1], sizes[1:], ACTIVATIONS[activation], offsets[:-1]
    layers[-1, 2] = LINKS[link]
    return layers if dropout is None else with_dropout(layers, dropout)


def with_dropout(layers, dropout):
    """A copy of a layer table with other dropout, given as in `layer_table`."""
    if len(dropout) != len(layers) - 1 or not all(0 <= rate < 1 for rate, _, _ in dropout):
        expected = f"(rate, seed, stream), the rate in [0, 1), for each of {len(layers) - 1} hidden layers"
        raise ValueError(f"dropout must have {expected}; got {dropout}")
    layers = layers.copy()
    for row, (rate, seed, stream) in zip(layers, dropout, strict=False):  # the last layer has none
        row[4:] = rate_number(rate), seed, stream
    return layers


def n_parameters(layers: Layers) -> int:
    """Length of the flat block that a layer table describes.

    Parameters
    ----------
    layers : ndarray of intp, shape (n_layers, 7)
        From `layer_table`.

    Returns
    -------
    int
        The number of weights and biases.
    """
    return sum((n_in + 1) * n_out for n_in, n_out in layers[:, :2].tolist())


def layer_views(layers: Layers, block: Floats) -> list[tuple[Floats, Floats]]:
    """Return the views of each layer's weight and bias in a flat block of parameters, gradients or moments.

    Parameters
    ----------
    layers : ndarray of intp, shape (n_layers, 7)
        From `layer_table`.
    block : ndarray, shape (n_parameters(layers),)
        Not copied: what is written into a view is written into the block.

    Returns
    -------
    list of (ndarray, ndarray)
        The views of shape (n_in, n_out) and (n_out,), first layer first.
    """
    views = []
    for n_in, n_out, _, offset in layers[:, :4].tolist():
        end = offset + n_in * n_out
        views.append((block[offset:end].reshape(n_in, n_out), block[end : end + n_out]))
    return views

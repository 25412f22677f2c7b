"""The layer table: the shape of a network as one small intp array that every back end reads (columns: `codes.LAYER_COLUMNS`)."""

import sys
from itertools import pairwise

import numpy as np

from .checks import integer
from .codes import ACTIVATIONS, LAYER_COLUMNS, LINKS
from .random_bits import rate_number


def layer_table(sizes, activation="relu", link="identity", dropout=None):
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
    if sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)) > sys.maxsize:
        raise ValueError(f"sizes must describe a network that memory can hold; got {sizes}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {list(ACTIVATIONS)}; got {activation!r}")
    if link not in LINKS:
        raise ValueError(f"link must be one of {list(LINKS)}; got {link!r}")
    n_in, n_out = np.array(sizes[:-1], dtype=np.intp), np.array(sizes[1:], dtype=np.intp)
    codes = np.full(len(n_in), ACTIVATIONS[activation], dtype=np.intp)
    codes[-1] = LINKS[link]
    ends = np.cumsum((n_in + 1) * n_out)
    layers = np.zeros((len(n_in), len(LAYER_COLUMNS)), np.intp)
    layers[:, :4] = np.stack([n_in, n_out, codes, ends - (n_in + 1) * n_out], axis=1)
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


def n_parameters(layers):
    """The length of the flat block that a layer table describes."""
    return int(((layers[:, 0] + 1) * layers[:, 1]).sum())


def layer_views(layers, block):
    """The (weight, bias) views of each layer into one flat block of parameters, gradients or moments, first layer first."""
    views = []
    for n_in, n_out, _, offset in layers[:, :4]:
        end = offset + n_in * n_out
        views.append((block[offset:end].reshape(n_in, n_out), block[end : end + n_out]))
    return views

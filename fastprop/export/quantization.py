"""Weights as 8-bit integers, and the ranges of the values that they are multiplied by.

Symmetric: a number is an integer from -127 to 127 times a scale, and zero is 0. Weights have a scale for each output (Jacob et al.,
*Quantization and training of neural networks for efficient integer-arithmetic-only inference*, 2018; Krishnamoorthi, *Quantizing
deep convolutional networks for efficient inference*, 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotations import Floats, TableLike
from ..network import Network
from ..preprocessing.frames import read_table
from .steps import network_of, parts_of

LARGEST = 127
# The most inputs of a layer for which the sum of products fits into 32 bits
MOST_INPUTS = (2**31 - 1) // LARGEST**2


def quantized(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A layer's weight (n_in, n_out) as integers, and the scale of each output (n_out,)."""
    if len(weight) > MOST_INPUTS:
        most = f"at most {MOST_INPUTS} inputs, so that sums fit into 32 bits"
        raise NotImplementedError(f"dtype='int8' is for layers of {most}; got {len(weight)}")
    scale = np.abs(weight).max(axis=0) / LARGEST
    return np.rint(weight / np.where(scale > 0, scale, 1)).astype(np.int8), scale


def input_limits(estimator: Any, X: TableLike) -> list[list[float]]:
    """For each layer of each member, the input that 127 stands for: the largest magnitude over the rows of X."""
    front, last = parts_of(estimator)
    if hasattr(last, "members_"):
        views = last._encode(read_table(X, last, reset=False))
        return [_limits_of_layers(network, last._view(views, i)) for i, network in enumerate(last.members_)]
    for step in front:
        X = step.transform(X)
    return [_limits_of_layers(*last._with_rows(network_of(last), X))]


def _limits_of_layers(network: Network, rows):
    n_hidden = len(network.sizes) - 2
    inputs = rows.toarray() if hasattr(rows, "toarray") else rows
    return [_largest(inputs), *(_largest(network.up_to_hidden(i).forward(rows)) for i in range(n_hidden))]


def _largest(x):
    return float(np.abs(x).max(initial=0))

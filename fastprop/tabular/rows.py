"""Rows of a table in the form that the networks take, and their weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..annotations import ArrayLike, Floats
from ..kernels import EncodedRows
from ..kernels.encoded import columns_of
from . import recipe


class Rows(NamedTuple):
    """Rows as each encoder encodes them, with targets as the user gave them, and weights or None."""

    x: list[EncodedRows]
    y: NDArray[Any]
    sample_weight: Floats | None


def rows_with_weight(rows: Rows) -> NDArray[np.intp]:
    """The indices of the rows that count: a row with weight 0 is neither trained on nor held out."""
    return np.arange(len(rows.y)) if rows.sample_weight is None else np.flatnonzero(rows.sample_weight)


def some_dimensions(y):
    """y; an error if it is a single number or None."""
    if y is None or np.isscalar(y) or getattr(y, "ndim", 1) == 0:
        raise ValueError("y should be a 1d array, got an array of shape () instead.")
    return y


def weights_of_members(losses: ArrayLike) -> Floats:
    """The weight of each member in the mean of outputs: those with a low validation loss count more."""
    losses = np.nan_to_num(np.asarray(losses, np.float64), nan=np.inf, posinf=np.inf)
    lowest = losses.min()
    weights = (lowest / losses) ** recipe.POWER if 0 < lowest < np.inf else np.ones(len(losses))
    return weights / weights.sum()


def with_a_column(rows):
    """The rows; if they have no columns, with a column of zeros, as a network has at least one input."""
    return rows if rows.shape[1] else EncodedRows(np.zeros((len(rows), 1), rows.dtype), columns_of(["plain"], [1]))

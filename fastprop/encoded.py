"""Rows of a table in the compact form that networks learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .annotations import Floats
from .kernels.spec import COLUMN, ENCODINGS


class EncodedRows:
    """A wide matrix of features, most of which follow from few numbers of each row; see `kernels.spec.ENCODINGS`.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (n, n_columns)
        The numbers, C-contiguous.
    columns : ndarray of `COLUMN`, shape (n_columns,)
        How each stands for features; `columns_of` makes it.
    """

    def __init__(self, x: Floats, columns: NDArray[Any]) -> None:
        self.x, self.columns = x, columns

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and of wide features."""
        return len(self.x), int(self.columns["n"].sum())

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the numbers."""
        return self.x.dtype

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice | NDArray[Any]) -> EncodedRows:
        """The rows of a slice, of an array of indices or of a mask."""
        return EncodedRows(np.ascontiguousarray(self.x[rows]), self.columns)

    def toarray(self) -> Floats:
        """The wide matrix."""
        wide = np.empty(self.shape, dtype=self.dtype)
        for (kind, offset, n), x in zip(self.columns.tolist(), self.x.T, strict=True):
            wide[:, offset : offset + n] = WIDE[kind](x[:, None], np.arange(n, dtype=self.dtype))
        return wide


# kind of a column -> its features, from x (n, 1) and the numbers k (n_features,) of the features
WIDE = {
    ENCODINGS["plain"]: lambda x, k: x,
    ENCODINGS["piecewise_linear"]: lambda x, k: np.clip(x - k, 0, 1) - x.dtype.type(0.5),
    ENCODINGS["one_hot"]: lambda x, k: x == k,
}


def columns_of(kinds: list[str], n: list[int]) -> NDArray[Any]:
    """The array that describes columns of these kinds with so many features each, one after the other."""
    columns = np.zeros(len(kinds), dtype=COLUMN)
    columns["kind"], columns["n"] = [ENCODINGS[kind] for kind in kinds], n
    columns["offset"] = np.cumsum(columns["n"]) - columns["n"]
    return columns

"""Encoded rows: a matrix whose numbers each stand for a few columns of a much wider one. See `spec.ENCODINGS`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .annotations import FloatDType, Floats
from .spec import COLUMN, ENCODINGS

_PLAIN, _PIECEWISE_LINEAR, _ONE_HOT = ENCODINGS["plain"], ENCODINGS["piecewise_linear"], ENCODINGS["one_hot"]


class EncodedRows:
    """Rows of a wide matrix, kept as a few numbers each. Networks take them where they take a matrix, and never make them dense.

    With k counted from 0, a column of n values of the wide matrix is kept as one number x:

    * plain (n = 1): x itself;
    * piecewise_linear: the number of a bin plus the share of the way through it; value k is ``clip(x - k, 0, 1) - 1/2``;
    * one_hot: the number of a category; value k is 1 where ``x == k`` and 0 elsewhere. Any other number is no category.

    Parameters
    ----------
    x : ndarray, shape (n, n_columns), float32 or float64
        The numbers. Used itself if it is C-contiguous.
    columns : array-like of `spec.COLUMN`, shape (n_columns,)
        Of each: the number of its encoding in `spec.ENCODINGS`, where its values begin in the wide matrix, how many there are. They
        have no gaps between them.

    Attributes
    ----------
    x : ndarray, shape (n, n_columns)
        The numbers.
    columns : ndarray of `spec.COLUMN`, shape (n_columns,)
        The encodings; read-only.
    shape : tuple of int
        (n, n_in) of the wide matrix.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import kernels
    >>> columns = [(1, 0, 3), (2, 3, 2)]  # three bins, two categories
    >>> kernels.EncodedRows(np.array([[1.25, 0.0], [3.0, 1.0]]), columns).toarray()
    array([[ 0.5 , -0.25, -0.5 ,  1.  ,  0.  ],
           [ 0.5 ,  0.5 ,  0.5 ,  0.  ,  1.  ]])
    """

    def __init__(self, x: Floats, columns: ArrayLike | NDArray[np.void]) -> None:
        columns, x = np.array(columns, COLUMN), np.ascontiguousarray(x)
        if columns.ndim != 1:
            raise ValueError(f"columns must be a vector; got shape {columns.shape}")
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(f"x must be float32 or float64; got {x.dtype}")
        if x.ndim != 2 or x.shape[1] != len(columns):
            raise ValueError(f"x must have shape (n, {len(columns)}), a number for each column; got {x.shape}")
        kind, offset, n = (columns[name] for name in COLUMN.names or ())
        known = np.isin(kind, list(ENCODINGS.values())) & (n >= 1) & ((kind != _PLAIN) | (n == 1))
        wrong = ~known | (offset != np.cumsum(n) - n)
        if wrong.any():
            at = int(wrong.argmax())
            raise ValueError(f"columns must be encodings of values without gaps between them; column {at} is {columns[at]}")
        columns.setflags(write=False)
        self.x, self.columns, self.shape = x, columns, (len(x), int(n.sum()))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the numbers."""
        return self.x.dtype

    @property
    def ndim(self) -> int:
        """2, as of a matrix."""
        return 2

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> EncodedRows:
        """Some of the rows, by a slice, numbers or a mask."""
        return EncodedRows(self.x[rows], self.columns)

    def __repr__(self) -> str:
        return f"<EncodedRows: {self.shape[0]} x {self.shape[1]} in {len(self.columns)} columns of {self.dtype.name}>"

    def astype(self, dtype: FloatDType) -> EncodedRows:
        """The same rows in another dtype.

        Parameters
        ----------
        dtype : {float32, float64}
            The dtype of the numbers.

        Returns
        -------
        EncodedRows
            These rows themselves if they have the dtype.
        """
        return self if self.dtype == dtype else EncodedRows(self.x.astype(dtype), self.columns)

    def toarray(self) -> Floats:
        """Make the wide matrix.

        Returns
        -------
        ndarray, shape (n, n_in)
            A new array of the same dtype.
        """
        return expanded(self.x, self.columns)


def columns_of(kinds: list[str], n: list[int]) -> NDArray[np.void]:
    """The table of columns with these encodings and so many values each, one after the other."""
    columns = np.zeros(len(kinds), COLUMN)
    columns["kind"], columns["n"] = [ENCODINGS[kind] for kind in kinds], n
    columns["offset"] = np.cumsum(columns["n"]) - columns["n"]
    return columns


def expanded(x, columns):
    """The wide matrix of the numbers ``x`` (n, n_columns) of encoded rows."""
    n_in = int(columns["n"].sum())
    wide = np.empty((len(x), n_in), x.dtype)
    for (kind, offset, n), number in zip(columns.tolist(), x.T[:, :, None], strict=True):
        values, places = wide[:, offset : offset + n], np.arange(n, dtype=x.dtype)
        if kind == _PIECEWISE_LINEAR:
            values[...] = np.clip(number - places, 0, 1) - x.dtype.type(0.5)
        elif kind == _ONE_HOT:
            values[...] = number == places
        else:
            values[...] = number
    return wide


def is_encoded(indices, indptr):
    """Whether rows in the form of the raw kernels are encoded."""
    return not indptr.size and indices.size > 0


def without_encoding(job):
    """A `spec.Job` with dense rows in place of encoded ones, for a back end that has no code for these."""
    for prefix in ("", "validation_"):
        x, indices, indptr = (getattr(job, prefix + name) for name in ("x", "indices", "indptr"))
        if is_encoded(indices, indptr):
            job = job._replace(**{prefix + "x": expanded(x, indices), prefix + "indices": indptr})
    return job


def one_batch_without_encoding(job):
    """`without_encoding` of a job whose order is one batch: no more rows than that are made dense, as there is a call for each."""
    if is_encoded(job.indices, job.indptr):
        values = {name: getattr(job, name) for name in ("x", "labels", "targets", "sample_weight")}
        chosen = {name: value[job.orders[0]] if value.size else value for name, value in values.items()}
        order = np.arange(job.orders.shape[1], dtype=np.intp)[None]
        for integers in (order, chosen["labels"]):
            integers.setflags(write=False)
        job = job._replace(orders=order, **chosen)
    return without_encoding(job)

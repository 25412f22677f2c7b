"""Parameter: an array and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..annotations import ArrayLike, Floats
from ..network import FLOAT_DTYPES


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it.

    Parameters
    ----------
    data : array-like of float32 or float64
        Used itself, not copied, where it is a writeable C-contiguous array.

    Attributes
    ----------
    data : ndarray
        What is assigned is copied into this array, so that whoever holds it sees the new values.
    grad : ndarray or None
        Shaped like data; None before the first backward. Every backward overwrites it, or adds to it with ``accumulate=True``.

    Examples
    --------
    >>> from fastprop import nn
    >>> p = nn.Parameter([1.0, 2.0])
    >>> p.data = [3.0, 4.0]
    >>> p.data
    array([3., 4.])
    """

    __slots__ = ("_data", "_grad")

    def __init__(self, data: ArrayLike) -> None:
        data = np.asarray(data)
        if data.dtype not in FLOAT_DTYPES:
            raise TypeError(f"a parameter must be float32 or float64; got {data.dtype.name}")
        self._data = np.require(data, None, ["C", "A", "W", "E"])
        self._grad = None

    @property
    def data(self) -> Floats:
        """The array. What is assigned is copied into it."""
        return self._data

    @data.setter
    def data(self, values: ArrayLike) -> None:
        if values is not self._data:
            self._data[...] = self._like("data", values)

    @property
    def grad(self) -> Floats | Any:
        """The gradient of the loss with respect to the array; None before the first backward."""
        return self._grad

    @grad.setter
    def grad(self, values: ArrayLike | None) -> None:
        self._grad = None if values is None else np.require(self._like("grad", values), self.dtype, ["C", "A", "W", "E"])

    def grad_buffer(self) -> Floats:
        """Return the array for a backward to write the gradient into, or to add it to.

        Returns
        -------
        ndarray
            `grad`, zeros where there was none.
        """
        if self._grad is None:
            self._grad = np.zeros_like(self._data)
        return self._grad

    def _like(self, name, values):
        values = np.asarray(values)
        if values.shape != self.shape:
            raise ValueError(f"{name} of this parameter must have shape {self.shape}; got {values.shape}")
        return values

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._data.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array, float32 or float64."""
        return self._data.dtype

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.dtype.name})"

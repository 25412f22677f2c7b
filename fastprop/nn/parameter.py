"""Parameter: an array and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..annotations import ArrayLike, Floats
from ..network import FLOAT_DTYPES


def real_numbers(name, values):
    """The values as an array; NumPy itself would turn text into numbers and drop imaginary parts."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers; got dtype {values.dtype.name}")
    return values


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it.

    Parameters
    ----------
    data : array-like of float32 or float64
        Used itself, not copied, where it is a writeable C-contiguous array in native byte order.

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
        dtype = data.dtype.newbyteorder("=")
        if dtype not in FLOAT_DTYPES:
            raise TypeError(f"a parameter must be float32 or float64; got {dtype.name}")
        self._data, self._grad = writeable(data, dtype), None

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
        self._grad = None if values is None else writeable(self._like("grad", values), self.dtype)

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
        values = real_numbers(name, values)
        if values.shape != self.shape:
            raise ValueError(f"{name} of this parameter must have shape {self.shape}; got {values.shape}")
        return values

    def __setstate__(self, state):
        _, slots = state  # the form that Python gives to slots
        self._data, self._grad = (None if array is None else writeable(array) for array in (slots["_data"], slots["_grad"]))

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


def writeable(array, dtype=None):
    """The array as kernels write to it: itself where possible. A memory map, as joblib may load it, is read-only."""
    return np.require(array, dtype, ["C", "A", "W", "E"])

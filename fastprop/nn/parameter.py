"""Parameter: an array and its gradient."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..annotations import ArrayLike, Floats
from ..network import FLOAT_DTYPES, aligned_zeros
from ..optim.adjacency import flat_run, follows

if TYPE_CHECKING:
    from .values import Value


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
        Not copied if it is a writeable C-contiguous array in native byte order.

    Attributes
    ----------
    data : ndarray
        Assigned values are copied into this array, so that other references to it see them. The parameters of a model are
        consecutive parts of one array. If they are not, they are moved into one; ``data`` is then another array with the same
        values. That happens only when a `Sequential` is made and before `Module.fit` compiles epochs, for example for a copy of
        a model, or if its layers became part of another model.
    grad : ndarray or None
        Of the shape of data; None before the first backward. Every backward overwrites it, or adds to it with
        ``accumulate=True``.

    Examples
    --------
    >>> from fastprop import nn
    >>> p = nn.Parameter([1.0, 2.0])
    >>> p.data = [3.0, 4.0]
    >>> p.data
    array([3., 4.])
    """

    __slots__ = ("_data", "_grad", "_room")

    def __init__(self, data: ArrayLike) -> None:
        data = np.asarray(data)
        dtype = data.dtype.newbyteorder("=")
        if dtype not in FLOAT_DTYPES:
            raise TypeError(f"a parameter must be float32 or float64; got {dtype.name}")
        # Layers compare dtypes by identity, so it must be NumPy's own object.
        self._data, self._grad, self._room = writeable(data, np.dtype(dtype.type)), None, None

    @property
    def data(self) -> Floats:
        """The array. Assigned values are copied into it."""
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
            `grad`; zeros if there was none.
        """
        if self._grad is None:
            self._grad = np.zeros_like(self._data) if self._room is None else self._room()
            self._room = None  # not used twice: a user may have kept the array
        return self._grad

    def named(self, name: str) -> Value:
        """Return a value that stands for the parameter in the expressions of a `Graph`.

        It is not needed in an operation with a value: ``x @ weight`` is a value if x is one.

        Parameters
        ----------
        name : str
            Its name in the graph. If no module of the graph has the parameter, the graph gets an attribute of this name.

        Returns
        -------
        Value
            It has operators, like an `Input`.
        """
        from .values import Weight

        return Weight(self, name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        """Return the array itself for ``np.asarray``, or a copy in another dtype, as NumPy does for its arrays."""
        return np.array(self._data, dtype=dtype, copy=copy) if copy else np.asarray(self._data, dtype=dtype)

    def _like(self, name, values):
        values = real_numbers(name, values)
        if values.shape != self.shape:
            hint = ""
            if name == "grad" and len(self.shape) == 2 and values.shape == self.shape[::-1]:
                hint = ", the shape of the transposed gradient"
            elif name == "grad" and values.ndim == len(self.shape) + 1 and values.shape[1:] == self.shape:
                hint = f", a gradient for each row: the batch sum is missing, sum(axis=0) over the {len(values)} rows"
            raise ValueError(f"{name} of this parameter must have shape {self.shape}; got {values.shape}{hint}")
        return values

    def __getstate__(self):
        return None, {"_data": self._data, "_grad": self._grad}  # the form that Python gives to slots

    def __setstate__(self, state):
        _, slots = state
        self._room = None
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


def one_block(parameters):
    """The flat array of which the parameters' arrays are consecutive parts; if there is none, they are moved into a new one.

    If dtypes differ, or arrays share elements as tied weights do, nothing is moved and None is returned.
    """
    arrays = [parameter.data for parameter in parameters]
    if len({array.dtype for array in arrays}) != 1:
        return None
    if all(follows(array, before) for before, array in pairwise(arrays)):
        return flat_run(arrays)
    spans = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays)
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        return None
    n, dtype, start = sum(array.size for array in arrays), arrays[0].dtype, 0
    block, gradients = aligned_zeros(n, dtype), cache(lambda: aligned_zeros(n, dtype))
    for parameter, array in zip(parameters, arrays, strict=True):
        part = slice(start, start + array.size)
        view = block[part].reshape(array.shape)
        view[...] = array
        parameter._data, start = view, part.stop
        # Gradients, too, are parts of one array, made when the first is needed, so that an optimizer's step is one kernel call.
        parameter._room = lambda part=part, shape=array.shape: gradients()[part].reshape(shape)
    return block


def writeable(array, dtype=None):
    """An array that kernels can write to: itself if possible. A memory map, which joblib may load, is read-only and is copied."""
    return np.require(array, dtype, ["C", "A", "W", "E"])

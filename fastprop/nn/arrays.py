"""Convert the inputs of layers to arrays as the raw kernels read them. Layers check arrays only here."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from .. import kernels
from ..network import FLOAT_DTYPES
from .errors import ShapeError, described

raw = kernels.active.raw  # chosen once, when fastprop.kernels is imported

Method = TypeVar("Method", bound=Callable[..., Any])


def one_row_too(method: Method) -> Method:
    """Let a forward or backward of rows (n, n_in) also take a single row (n_in,), for which it returns a single row."""

    @wraps(method)
    def of_any(self, *args, **options):
        x = args[0] if args else None
        if (type(x) is np.ndarray and x.ndim == 2) or np.ndim(x) != 1:
            return method(self, *args, **options)
        try:
            rows = method(self, np.asarray(x)[None], *args[1:], **options)
        except ShapeError:
            return method(self, *args, **options)  # an error with the shape as it was given
        return None if rows is None else rows[0]

    return of_any


def matrix(layer, name, array, n_columns, dtype):
    """The array as the kernels read it, (n, n_columns) in a dtype; copied only if necessary."""
    if type(array) is np.ndarray and array.dtype is dtype and array.shape[1:] == (n_columns,) and array.flags.carray:
        return array
    array = _floats(layer, name, array, dtype)
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ShapeError(layer, f"{name} must have shape (n, {n_columns}); got {array.shape}")
    return array


def like(layer, name, array, shape, dtype):
    """The array as the kernels read it, with a given shape and dtype; copied only if necessary."""
    if type(array) is np.ndarray and array.dtype is dtype and array.shape == shape and array.flags.carray:
        return array
    array = _floats(layer, name, array, dtype)
    if array.shape != shape:
        raise ShapeError(layer, f"{name} must have shape {shape}; got {array.shape}")
    return array


def any_shape(layer, name, array):
    """`any_matrix` for an array of any shape, and that shape; an array that is not a matrix becomes one row."""
    if type(array) is np.ndarray and array.ndim == 2:
        return any_matrix(layer, name, array), array.shape
    (array,) = any_floats(layer, [array])
    return (array if array.ndim == 2 else array.reshape(1, -1)), array.shape


def any_matrix(layer, name, array):
    """The array as the kernels read it, with any number of columns: float32 stays float32, other dtypes become float64."""
    if type(array) is np.ndarray and array.ndim == 2 and array.dtype in FLOAT_DTYPES and array.flags.carray:
        return array
    array = _floats(layer, name, array, np.float32 if getattr(array, "dtype", None) == np.float32 else np.float64)
    if array.ndim != 2:
        raise ShapeError(layer, f"{name} must have shape (n, n_units); got {array.shape}")
    return array


def any_floats(layer, arrays):
    """Arrays of any shape in one dtype: float32 if all are, else float64. As in PyTorch, scalars beside arrays do not count."""
    arrays = [np.asarray(array) for array in arrays]
    dtypes = {array.dtype for array in arrays if array.ndim} or {array.dtype for array in arrays}
    dtype = np.float32 if dtypes == {np.dtype(np.float32)} else np.float64
    return [_floats(layer, "an operand", array, dtype) for array in arrays]


def _floats(layer, name, array, dtype):
    given, array = array, np.asarray(array)
    if array.dtype.kind not in "fiub":
        is_array = isinstance(given, (np.ndarray, np.generic, list, tuple))
        got = f"dtype {array.dtype.name}" if is_array else described(given)
        raise ShapeError(layer, f"{name} must be an array of real numbers; got {got}")
    return np.require(array, dtype, ["C", "A", "E"])

"""Inputs of layers, converted to what the raw kernels read. Layers check arrays only here."""

import numpy as np

from .. import kernels
from ..network import FLOAT_DTYPES
from .errors import ShapeError

raw = kernels.active.raw  # chosen once, when fastprop.kernels is imported


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
    """`any_matrix` of an array of any shape, whose elements are one row if it is no matrix; and its shape."""
    if type(array) is np.ndarray and array.ndim == 2:
        return any_matrix(layer, name, array), array.shape
    (array,) = any_floats(layer, [array])
    return (array if array.ndim == 2 else array.reshape(1, -1)), array.shape


def any_matrix(layer, name, array):
    """The array as the kernels read it, (n, any): float32 stays, all other numbers become float64."""
    if type(array) is np.ndarray and array.ndim == 2 and array.dtype in FLOAT_DTYPES and array.flags.carray:
        return array
    array = _floats(layer, name, array, np.float32 if getattr(array, "dtype", None) == np.float32 else np.float64)
    if array.ndim != 2:
        raise ShapeError(layer, f"{name} must have shape (n, n_units); got {array.shape}")
    return array


def any_floats(layer, arrays):
    """Arrays of any shape in one dtype: float32 if all are, else float64. As in PyTorch, numbers do not count beside arrays."""
    arrays = [np.asarray(array) for array in arrays]
    dtypes = {array.dtype for array in arrays if array.ndim} or {array.dtype for array in arrays}
    dtype = np.float32 if dtypes == {np.dtype(np.float32)} else np.float64
    return [_floats(layer, "an operand", array, dtype) for array in arrays]


def _floats(layer, name, array, dtype):
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise ShapeError(layer, f"{name} must be an array of real numbers; got dtype {array.dtype.name}")
    return np.require(array, dtype, ["C", "A", "E"])

"""`linear_forward` and `linear_backward` of `public_layers` for arrays of bfloat16, with checks of their own."""

import numpy as np

from . import checks
from .bfloat16 import BITS, is_bfloat16, widened

FLOAT32 = np.empty(0, np.float32)


def linear_forward(kernels, x, weight, bias, code, out, n_threads):
    """See `public_layers.LayerKernels.linear_forward`; x is bfloat16."""
    n, n_in = _values("x", x).shape
    raw_weight = _parameters("weight", weight, (n_in, None))
    n_out = raw_weight.shape[1]
    raw_bias = _parameters("bias", bias, (n_out,))
    a = checks.output("out", out, (n, n_out), x, {"x": x, "weight": weight, "bias": bias})
    kernels.bfloat16.linear_forward(_raw("x", x), raw_weight, raw_bias, code, a.view(BITS), checks.threads(n_threads))
    return a


def linear_backward(kernels, da, x, weight, a, code, accumulate, need_dx, dx, dweight, dbias, n_threads):
    """See `public_layers.LayerKernels.linear_backward`; da is bfloat16."""
    n, n_out = _values("da", da).shape
    n_in = _values("x", x, (n, None)).shape[1]
    _values("a", a, (n, n_out))
    raw_weight = _parameters("weight", weight, (n_in, n_out))
    inputs = {"da": da, "x": x, "weight": weight, "a": a}
    raw_dx = checks.output("dx", dx, (n, n_in) if need_dx else (0, 0), da, inputs)
    dweight = checks.output("dweight", dweight, (n_in, n_out), FLOAT32, inputs | {"dx": dx})
    dbias = checks.output("dbias", dbias, (n_out,), FLOAT32, inputs | {"dx": dx, "dweight": dweight})
    arrays = _raw("da", da), _raw("x", x), raw_weight, _raw("a", a)
    kernels.bfloat16.linear_backward(*arrays, code, accumulate, raw_dx.view(BITS), dweight, dbias, n_threads)
    return raw_dx if need_dx else None, dweight, dbias


def _values(name, array, shape=(None, None)):
    """Check that it is a matrix of bfloat16 with a shape, where None stands for any number."""
    if not isinstance(array, np.ndarray) or not is_bfloat16(array):
        raise TypeError(f"{name} must be bfloat16 too, an array of ml_dtypes or the bits as uint16; got {_described(array)}")
    _check_shape(name, array, shape)
    return array


def _parameters(name, array, shape):
    """Parameters of a call with bfloat16 values, as float32 in C order; bfloat16 numbers are exact in float32."""
    if not isinstance(array, np.ndarray) or not (array.dtype == np.float32 or is_bfloat16(array)):
        raise TypeError(f"{name} must be float32 or bfloat16 in a call with bfloat16 values; got {_described(array)}")
    _check_shape(name, array, shape)
    return widened(array) if is_bfloat16(array) else checks.c_order(name, array)


def _check_shape(name, array, shape):
    if array.ndim != len(shape) or any(want not in (None, has) for want, has in zip(shape, array.shape, strict=True)):
        wanted = tuple("any" if want is None else want for want in shape)
        raise ValueError(f"{name} must have shape ({', '.join(map(str, wanted))}{',' * (len(shape) == 1)}); got {array.shape}")


def _described(array):
    return array.dtype.name if isinstance(array, np.ndarray) else type(array).__name__


def _raw(name, array):
    return checks.c_order(name, array.view(BITS))

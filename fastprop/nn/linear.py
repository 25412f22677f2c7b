"""Linear: the affine layer with a fused activation."""

import numpy as np

from ..kernels.checks import integer
from ..kernels.codes import ACTIVATIONS
from ..network import FLOAT_DTYPES
from .init import INITIALIZERS
from .module import Module, like, matrix, raw
from .parameter import Parameter

IDENTITY = ACTIVATIONS["identity"]


class Linear(Module):
    """Affine map and activation: ``a = f(x @ weight + bias)``, in one kernel.

    Backward, with ``dz = da * f'(z)``: ``dx = dz @ weight.T``, ``dweight = x.T @ dz``, ``dbias = sum of dz over the rows``.

    Parameters
    ----------
    n_in, n_out : int
    bias : bool
        Whether there is one.
    activation : {'identity', 'relu', 'sigmoid', 'tanh'}
        An `Activation` of your own is a layer by itself, after this one.
    init : str or callable
        A name in `nn.init`, or ``f(layer, random_state)``. The default is He's: weights N(0, 2 / n_in), biases 0.
    random_state : int, Generator, RandomState or None
        For init. Give several layers one Generator, or different numbers: the same number draws the same weights.
    dtype : {float64, float32}

    Attributes
    ----------
    weight, bias : Parameter, shapes (n_in, n_out) and (n_out,)
        PyTorch's weight is the transpose of this one. Without a bias it is None.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> layer = nn.Linear(4, 3, activation="relu", random_state=0)
    >>> layer(np.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(self, n_in, n_out, bias=True, *, activation="identity", init="he_normal", random_state=None, dtype=np.float64):
        self.n_in, self.n_out = integer("n_in", n_in), integer("n_out", n_out)
        if min(self.n_in, self.n_out) < 1:
            raise ValueError(f"n_in and n_out must be at least 1; got {n_in} and {n_out}")
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {list(ACTIVATIONS)}, any other is a layer of its own after this one; got {activation!r}"
            )
        if np.dtype(dtype) not in FLOAT_DTYPES:
            raise TypeError(f"dtype must be float32 or float64; got {np.dtype(dtype).name}")
        if not callable(init) and init not in INITIALIZERS:
            raise ValueError(f"init must be one of {list(INITIALIZERS)} or a function; got {init!r}")
        self.activation, self.dtype, self.has_bias = activation, np.dtype(dtype), bool(bias)
        self.weight = Parameter(np.zeros((self.n_in, self.n_out), dtype))
        self.bias = Parameter(np.zeros(self.n_out, dtype)) if bias else None
        self._code = ACTIVATIONS[activation]
        self._zeros = None if bias else np.zeros(self.n_out, dtype)
        (init if callable(init) else INITIALIZERS[init])(self, random_state)

    def arguments(self):
        return super().arguments() | {"bias": self.has_bias}

    def forward(self, x):
        weight = like(self, "weight", self.weight.data, (self.n_in, self.n_out), self.dtype)
        bias = self._zeros if self.bias is None else like(self, "bias", self.bias.data, (self.n_out,), self.dtype)
        x = matrix(self, "x", x, self.n_in, self.dtype)
        a = np.empty((x.shape[0], self.n_out), self.dtype)
        raw.linear_forward(x, weight, bias, self._code, a, self.n_threads)
        self._saved = (x, weight, a) if self.training else None
        return a

    def backward(self, dout, accumulate=False, need_dx=True):
        """As in `Module`; ``need_dx=False`` saves a matrix product where nothing is below the layer, and returns None."""
        if self._saved is None:
            raise self.no_forward()
        x, weight, a = self._saved
        dout = like(self, "dout", dout, a.shape, a.dtype)
        dx = np.empty(x.shape if need_dx else (0, 0), a.dtype)
        dbias = np.empty_like(self._zeros) if self.bias is None else self.bias.grad_buffer()
        arrays = dx, self.weight.grad_buffer(), dbias
        raw.linear_backward(dout, x, weight, a, self._code, accumulate, *arrays, self.n_threads)
        return dx if need_dx else None

"""Linear: the affine layer with a fused activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..annotations import ActivationName, ArrayLike, FloatDType, Floats, RandomSource
from ..kernels.checks import integer
from ..kernels.spec import ACTIVATION_CODES, ACTIVATIONS
from ..network import FLOAT_DTYPES
from .allocation import sized
from .arguments import activation_name
from .arrays import like, matrix, one_row_too, raw
from .init import INITIALIZERS, Initializer
from .module import Module
from .parameter import Parameter

if TYPE_CHECKING:
    from .program import Program

IDENTITY = ACTIVATION_CODES["identity"]


class Linear(Module):
    """Affine map and activation: ``a = f(x @ weight + bias)``, in one kernel.

    Backward, with ``dz = da * f'(z)``: ``dx = dz @ weight.T``, ``dweight = x.T @ dz``, ``dbias = sum of dz over the rows``.

    Parameters
    ----------
    n_in : int
        Number of columns of x.
    n_out : int
        Number of units.
    bias : bool
        Whether the layer has a bias.
    activation : str or Module
        A name that `kernels.activation_forward` takes, or an activation layer such as ``nn.ReLU()``. An `Activation` of your own
        must be a separate layer after this one.
    init : str or callable
        A name in `nn.init`, or ``f(layer, random_state)``. The default is He's: weights N(0, 2 / n_in), biases 0.
    random_state : int, Generator, RandomState or None
        For init. Give several layers one Generator, or different integers: the same integer draws the same weights. None is
        different in every run, and ``np.random.seed`` does not affect it.
    dtype : {float64, float32}
        The dtype of the parameters; inputs are converted to it.

    Attributes
    ----------
    weight : Parameter, shape (n_in, n_out)
        The transpose of PyTorch's weight.
    bias : Parameter, shape (n_out,), or None
        None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> layer = nn.Linear(4, 3, activation="relu", random_state=0)
    >>> layer(np.ones((2, 4))).shape
    (2, 3)
    """

    takes_need_dx = True

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bias: bool = True,
        *,
        activation: ActivationName | Module | type[Module] = "identity",
        init: Initializer = "he_normal",
        random_state: RandomSource = None,
        dtype: FloatDType = np.float64,
    ) -> None:
        self.n_in, self.n_out = integer("n_in", n_in), integer("n_out", n_out)
        if min(self.n_in, self.n_out) < 1:
            raise ValueError(f"n_in and n_out must be at least 1; got {n_in} and {n_out}")
        activation = activation_name(activation)
        if np.dtype(dtype) not in FLOAT_DTYPES:
            raise TypeError(f"dtype must be float32 or float64; got {np.dtype(dtype).name}")
        if not callable(init) and init not in INITIALIZERS:
            raise ValueError(f"init must be one of {list(INITIALIZERS)} or a function; got {init!r}")
        self.activation, self.dtype, self.has_bias = activation, np.dtype(dtype), bool(bias)
        self.weight = Parameter(np.zeros(sized(self.n_in, self.n_out), dtype))
        self.bias = Parameter(np.zeros(sized(self.n_out), dtype)) if bias else None
        self._code = ACTIVATION_CODES[activation]
        self._zeros = None if bias else np.zeros(self.n_out, dtype)
        (init if callable(init) else INITIALIZERS[init])(self, random_state)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"bias": self.has_bias}

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        weight = like(self, "weight", self.weight.data, (self.n_in, self.n_out), self.dtype)
        bias = self._zeros if self.bias is None else like(self, "bias", self.bias.data, (self.n_out,), self.dtype)
        x = matrix(self, "x", x, self.n_in, self.dtype)
        a = np.empty((x.shape[0], self.n_out), self.dtype)
        if not self.training or ACTIVATIONS[self.activation].derivative == "a":
            raw.linear_forward(x, weight, bias, self._code, a, self.n_threads)
            self._saved = (x, weight, a) if self.training else None
            return a
        z = np.empty_like(a)
        raw.linear_forward(x, weight, bias, IDENTITY, z, self.n_threads)
        raw.activation_forward(z, self._code, a, self.n_threads)
        self._saved = x, weight, z
        return a

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False, need_dx: bool = True) -> Floats | Any:
        """Run the backward of the last forward.

        Parameters
        ----------
        dout : ndarray, shape (n, n_out)
            Gradient of the loss with respect to the output.
        accumulate : bool
            Add to the gradients of the parameters instead of overwriting them.
        need_dx : bool
            False saves a matrix product, for a first layer.

        Returns
        -------
        ndarray, shape (n, n_in), or None
            The gradient with respect to the input; None unless ``need_dx``.
        """
        if self._saved is None:
            raise self.no_forward()
        x, weight, a = self._saved
        dout = like(self, "dout", dout, a.shape, a.dtype)
        dx = np.empty(x.shape if need_dx else (0, 0), a.dtype)
        dbias = np.empty_like(self._zeros) if self.bias is None else self.bias.grad_buffer()
        arrays = dx, self.weight.grad_buffer(), dbias
        raw.linear_backward(dout, x, weight, a, self._code, accumulate, *arrays, self.n_threads)
        return dx if need_dx else None

    def lower(self, program: Program) -> None:
        if self.bias is None:
            raise program.not_plain(self, "has no bias")
        program.takes(self, self.n_in)
        program.linear(self.n_out).with_parameters(self.weight, self.bias).activation(self.activation)

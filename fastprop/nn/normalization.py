"""BatchNorm1d and LayerNorm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..annotations import ArrayLike, FloatDType, Floats
from ..kernels.checks import integer
from .allocation import sized
from .arrays import like, matrix, one_row_too, raw
from .errors import ShapeError
from .module import Module
from .parameter import Parameter

if TYPE_CHECKING:
    from .program import Program


class _Norm(Module):
    """``y = (x - mean) / sqrt(variance + eps) * weight + bias``; a subclass says over which axis, and with which kernels."""

    _backward_kernel = None

    def __init__(self, n_units, eps, dtype):
        n_units = integer("the number of units", n_units)
        if n_units < 1 or not eps > 0:
            raise ValueError(f"the number of units must be at least 1 and eps above 0; got {n_units} and {eps}")
        self.eps, self.dtype, self._n_units = float(eps), np.dtype(dtype), n_units
        self.weight, self.bias = Parameter(np.ones(sized(n_units), dtype)), Parameter(np.zeros(sized(n_units), dtype))

    def _own(self, name, array):
        """One of the layer's arrays as the kernels read it, checked because a user may have replaced it."""
        return like(self, name, array, (self._n_units,), self.dtype)

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        if self._saved is None:
            raise self.no_forward()
        x, weight, mean, rstd = self._saved
        dout, dx = like(self, "dout", dout, x.shape, x.dtype), np.empty_like(x)
        arrays = dx, self.weight.grad_buffer(), self.bias.grad_buffer()
        self._backward_kernel(dout, x, weight, mean, rstd, accumulate, *arrays, self.n_threads)
        return dx


class LayerNorm(_Norm):
    """Normalise every row: ``y = (x - mean) / sqrt(variance + eps) * weight + bias``, with mean and variance of the row.

    Parameters
    ----------
    normalized_shape : int
        The number of columns of x.
    eps : float
        Added to the variance; above 0, in units of x squared.
    dtype : {float64, float32}
        The dtype of the parameters; inputs are converted to it.

    References
    ----------
    Ba, Kiros, Hinton, *Layer normalization* (2016).

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.LayerNorm(2)([[1.0, 3.0], [10.0, 30.0]]).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    _backward_kernel = staticmethod(raw.layer_norm_backward)

    def __init__(self, normalized_shape: int, eps: float = 1e-5, *, dtype: FloatDType = np.float64) -> None:
        super().__init__(normalized_shape, eps, dtype)
        self.normalized_shape = self._n_units

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        x = matrix(self, "x", x, self._n_units, self.dtype)
        weight, bias = self._own("weight", self.weight.data), self._own("bias", self.bias.data)
        y, mean, rstd = np.empty_like(x), np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
        raw.layer_norm_forward(x, weight, bias, self.eps, y, mean, rstd, self.n_threads)
        self._saved = (x, weight, mean, rstd) if self.training else None
        return y

    def lower(self, program: Program) -> None:
        program.takes(self, self._n_units)
        program.layer_norm(self.eps).with_parameters(self.weight, self.bias)


class BatchNorm1d(_Norm):
    """Normalise every column over the batch: ``y = (x - mean) / sqrt(variance + eps) * weight + bias``.

    Training uses the mean and the biased variance of the batch and updates the running statistics; evaluation uses the running
    statistics.

    Parameters
    ----------
    num_features : int
        The number of columns of x.
    eps : float
        Added to the variance; above 0, in units of x squared.
    momentum : float
        The weight of a new batch in the running statistics: ``running = (1 - momentum) running + momentum batch``.
    dtype : {float64, float32}
        The dtype of the parameters; inputs are converted to it.

    Attributes
    ----------
    weight : Parameter, shape (num_features,)
        The scale of every column, 1 at first.
    bias : Parameter, shape (num_features,)
        The shift of every column, 0 at first.
    running_mean : ndarray, shape (num_features,)
        The running mean of every column, 0 at first.
    running_var : ndarray, shape (num_features,)
        The running variance of every column, 1 at first. As in PyTorch, it is a running mean of the unbiased variances, which are
        n / (n - 1) times the biased ones.

    References
    ----------
    Ioffe and Szegedy, *Batch normalization* (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> norm = nn.BatchNorm1d(1)
    >>> norm([[1.0], [3.0]]).round(3)
    array([[-1.],
           [ 1.]])
    >>> norm.eval()([[0.0]]).round(3)  # with the running statistics
    array([[-0.191]])
    """

    least_rows = 2
    buffers = ("running_mean", "running_var")
    _backward_kernel = staticmethod(raw.batch_norm_backward)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, dtype: FloatDType = np.float64) -> None:
        super().__init__(num_features, eps, dtype)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1]; got {momentum!r}")
        self.num_features, self.momentum = self._n_units, float(momentum)
        n_units = self.num_features
        self.running_mean, self.running_var = np.zeros(sized(n_units), dtype), np.ones(sized(n_units), dtype)

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        x = matrix(self, "x", x, self._n_units, self.dtype)
        weight, bias = self._own("weight", self.weight.data), self._own("bias", self.bias.data)
        y = np.empty_like(x)
        if not self.training:
            self._saved = None
            raw.batch_norm_inference(x, weight, bias, *self.statistics(), self.eps, y, self.n_threads)
            return y
        self._check_rows(x.shape)
        mean, rstd = np.empty(self._n_units, x.dtype), np.empty(self._n_units, x.dtype)
        raw.batch_norm_forward(x, weight, bias, self.eps, y, mean, rstd, self.n_threads)
        self._saved = x, weight, mean, rstd
        if not self.recomputing:
            self._update_statistics(mean, rstd, len(x))
        return y

    def lower(self, program: Program) -> None:
        program.takes(self, self._n_units)
        for n_rows in program.sizes_of_batches:
            self._check_rows((n_rows, self._n_units))
        program.batch_norm(self.eps, self.momentum).with_parameters(self.weight, self.bias)
        program.batch_norms.append(self)

    def statistics(self) -> tuple[Floats, Floats]:
        """Return the running mean and variance as the kernels read them.

        Returns
        -------
        tuple of ndarray, shapes (num_features,)
            The arrays themselves, if they are of the layer's dtype.
        """
        return self._own("running_mean", self.running_mean), self._own("running_var", self.running_var)

    def _check_rows(self, shape):
        if shape[0] < self.least_rows:
            raise ShapeError(self, f"x must have at least 2 rows in training mode, as one row has no variance; got {shape}")

    def _update_statistics(self, mean, rstd, n):
        # running = (1 - momentum) running + momentum batch, where the batch's variance is n / (n - 1) (1 / rstd^2 - eps)
        keep, factor = 1 - self.momentum, self.momentum * n / (n - 1)
        self.running_mean *= keep
        self.running_mean += self.momentum * mean
        self.running_var *= keep
        self.running_var += factor / (rstd * rstd) - factor * self.eps

"""Losses: the mean as a number, and its gradient with respect to the model's output.

``loss(outputs, y)`` returns the mean; ``loss.backward()`` returns the gradient of that mean with respect to the outputs, to pass to
`Module.backward`. The cross-entropies, `PoissonLoss`, `GammaLoss` and `TweedieLoss` take the output of a last layer without an
activation: logits, or the logarithm of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotations import ArrayLike, FloatDType, Floats
from ..kernels import checks
from ..kernels.checks import NO_LABELS, as_intp, private
from ..kernels.spec import LOSSES
from ..kernels.spec import Loss as Specification
from .arrays import any_matrix, raw
from .errors import NoForwardError, ShapeError


class Loss:
    """Base of the losses.

    Attributes
    ----------
    outputs : ndarray, shape (n, n_out)
        The model's outputs in the last call, after the loss's link function: probabilities, predictions or rates.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.MSELoss()
    >>> isinstance(loss, nn.Loss)
    True
    >>> value = loss([[1.0]], [[3.0]])  # forward, then the gradient with respect to the predictions
    >>> value, loss.backward()
    (4.0, array([[-4.]]))
    """

    kernel: Specification | None = None  # its entry in kernels.spec, or None if the loss is computed in Python
    n_threads: int = 1
    _saved: Any = None
    _is_one_row = False  # whether the outputs had one axis

    def __call__(self, outputs: ArrayLike, y: ArrayLike) -> float:
        """Return the mean loss, a float.

        Parameters
        ----------
        outputs : ndarray, shape (n, n_out), or (n_out,) for one row; float32 or float64, n >= 1
        y : array-like
            The targets, as the class describes them. For one row: one label, or targets of shape (n_out,).

        Raises
        ------
        ValueError
            If the shapes, or the values of y, are not as described.
        """
        z, y = self.rows(outputs, y)
        labels, targets = self.targets(y, z.shape, z.dtype)
        probs, hyper = np.empty_like(z), self.hyper(z.shape[1])
        no_weight = np.empty(0, z.dtype)
        loss_sum = raw.loss_forward(self.kernel.code, hyper, z, labels, targets, no_weight, probs, self.n_threads)
        self._saved = probs, labels, targets, no_weight, hyper
        return self.gradient_scale(z.shape[1]) / len(z) * loss_sum

    def backward(self) -> Floats:
        """Return the gradient of the loss in the last call with respect to the outputs.

        Returns
        -------
        ndarray, shape (n, n_out), or (n_out,) as the outputs
            The argument of `Module.backward`.
        """
        if self._saved is None:
            raise NoForwardError(self, "backward needs a call of the loss before it")
        *arrays, hyper = self._saved
        dlogits = np.empty_like(arrays[0])
        n, n_out = dlogits.shape
        raw.loss_backward(self.kernel.code, hyper, *arrays, self.gradient_scale(n_out) / n, dlogits, self.n_threads)
        return self._as_given(dlogits)

    @property
    def outputs(self) -> Floats:
        """The model's outputs in the last call, after the loss's link function: probabilities, predictions or rates."""
        if self._saved is None:
            raise NoForwardError(self, "there are no outputs before a call of the loss")
        return self._as_given(self._saved[0][...])  # a view, so that setting its shape does not change the saved array's

    def rows(self, outputs: ArrayLike, y: Any) -> tuple[Floats, Any]:
        """Convert the arguments of a call to rows; outputs with one axis become one row.

        Parameters
        ----------
        outputs : array-like, shape (n, n_out) or (n_out,)
            The model's outputs.
        y : array-like
            The targets.

        Returns
        -------
        outputs : ndarray, shape (n, n_out)
            The outputs as the kernels read them.
        y : array-like
            The targets of all rows.
        """
        if type(outputs) is not np.ndarray or outputs.ndim != 2:
            outputs, y = self._from_other(outputs, y)
        else:
            self._is_one_row = False
        z = any_matrix(self, "outputs", outputs)
        if not z.size:
            raise ShapeError(self, f"outputs must have at least one row and column; got shape {z.shape}")
        return z, y

    def _from_other(self, outputs, y):
        if callable(getattr(outputs, "forward", None)):
            raise TypeError(f"{self!r}: outputs must be what the model returns, not the model; write loss(model(X), y)")
        if isinstance(outputs, tuple) and any(isinstance(each, np.ndarray) for each in outputs):
            raise ShapeError(self, f"outputs must be one array; got {len(outputs)}, from a model with several outputs")
        outputs = np.asarray(outputs)
        if outputs.ndim == 1 and outputs.dtype.kind in "iub" and np.ndim(y) == 2 and len(y) == len(outputs):
            raise ShapeError(self, f"outputs and y are swapped: write loss(outputs, y); got {outputs.shape} and {np.shape(y)}")
        self._is_one_row = outputs.ndim == 1
        if not self._is_one_row:
            return outputs, y
        y = np.asarray(y)
        is_row = y.shape == outputs.shape and y.ndim == 1
        return outputs[None], y[None] if is_row or y.ndim == 0 else y

    def _as_given(self, rows):
        """Rows in the shape that the outputs were given in."""
        return rows[0] if self._is_one_row else rows

    def targets(self, y: ArrayLike, shape: tuple[int, ...], dtype: FloatDType) -> tuple[NDArray[np.intp], Floats]:
        """Check y for outputs of a given shape and dtype.

        Parameters
        ----------
        y : array-like
            The targets, as the loss takes them.
        shape : tuple of int
            The shape (n, n_out) of the outputs.
        dtype : {float32, float64}
            The dtype of the outputs.

        Returns
        -------
        labels : ndarray of intp, shape (n,) or (0,)
            Class numbers, if y holds class numbers; else empty.
        targets : ndarray, shape (n, n_out) or (0, 0)
            The targets otherwise; else empty.
        """
        targets = dense(self, y, shape, dtype)
        if self.kernel and self.kernel.targets != "any":
            check_range(self, targets, np.inf, self.kernel.targets == "positive")
        return NO_LABELS, targets

    def hyper(self, n_out: int) -> NDArray[np.float64]:
        """Return the parameters of the loss as the kernels read them.

        Parameters
        ----------
        n_out : int
            The number of columns of the outputs.

        Returns
        -------
        ndarray
            The parameters; empty if the loss has none.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or does not have one number for each output.
        """
        if self.kernel is None:
            return np.empty(0)
        return checks.loss_hyper(self.kernel, self._parameters(), n_out)

    def _parameters(self):
        return {name: getattr(self, name) for name in self.kernel.hyper} if self.kernel else {}

    def gradient_scale(self, n_out: int) -> float:
        """Return the factor that turns the kernels' gradient, that of a mean over rows, into the gradient of this loss.

        Parameters
        ----------
        n_out : int
            The number of columns of the outputs.

        Returns
        -------
        float
            The factor: ``1 / n_out`` for a mean over all elements.
        """
        return 1 / n_out

    def value_scale(self, n_out: int) -> float:
        """Return the factor that turns the loss that `kernels.network_loss_gradient` reports into this loss.

        Parameters
        ----------
        n_out : int
            The number of columns of the outputs.

        Returns
        -------
        float
            The factor: that of the gradient, unless the kernels report a multiple of the loss that they differentiate.
        """
        return self.gradient_scale(n_out)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_saved"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._parameters().items())})"


class SoftmaxCrossEntropy(Loss):
    """Softmax and cross-entropy in nats: ``mean_i sum_c y_ic (logsumexp(logits_i) - logits_ic)``, gradient ``(probs - y) / n``.

    y: class numbers (n,) in [0, n_classes), or one-hot or soft targets (n, n_classes). The same as ``torch.nn.CrossEntropyLoss``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> loss = nn.SoftmaxCrossEntropy()
    >>> round(loss(np.log([[1.0, 3.0]]), [1]), 4)
    0.2877
    >>> loss.outputs.round(4), loss.backward().round(4)
    (array([[0.25, 0.75]]), array([[ 0.25, -0.25]]))
    """

    kernel = LOSSES["softmax_cross_entropy"]

    def targets(self, y: ArrayLike, shape: tuple[int, ...], dtype: FloatDType) -> tuple[NDArray[np.intp], Floats]:
        y = np.asarray(y)
        if y.ndim == 2:
            return super().targets(y, shape, dtype)
        (n, n_classes), y = shape, private(y)
        if y.shape != (n,) or y.dtype.kind not in "iu":
            raise ShapeError(
                self, f"y must be {n} integer labels, or targets of shape {shape}; got shape {y.shape}, dtype {y.dtype.name}"
            )
        check_range(self, y, n_classes - 1)
        return as_intp(y), np.empty((0, 0), dtype)

    def gradient_scale(self, n_out: int) -> float:
        return 1.0


class BinaryCrossEntropy(Loss):
    """Sigmoid and binary cross-entropy in nats: the mean over all elements of ``max(z, 0) - z y + log(1 + exp(-|z|))``.

    z is the logit; the gradient is ``(sigmoid(z) - y) / size``. y: numbers in [0, 1] (n, n_out), or (n,) if n_out is 1. The same as
    ``torch.nn.BCEWithLogitsLoss``. scikit-learn's estimators sum over several outputs instead of taking the mean.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.BinaryCrossEntropy()
    >>> round(loss([[0.0], [0.0]], [[0.0], [1.0]]), 4)
    0.6931
    >>> loss.backward()
    array([[ 0.25],
           [-0.25]])
    """

    kernel = LOSSES["binary_cross_entropy"]

    def targets(self, y: ArrayLike, shape: tuple[int, ...], dtype: FloatDType) -> tuple[NDArray[np.intp], Floats]:
        targets = dense(self, y, shape, dtype)
        check_range(self, targets, 1)
        return NO_LABELS, targets


class MSELoss(Loss):
    """The mean of ``(outputs - y)^2`` over all elements; gradient ``2 (outputs - y) / size``.

    y: (n, n_out), or (n,) if n_out is 1. The same as ``torch.nn.MSELoss``. scikit-learn's `MLPRegressor` reports half of it, with
    the gradient ``(outputs - y) / n``: n_out / 2 times this one.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.MSELoss()
    >>> loss([[1.0], [2.0]], [[1.0], [5.0]])
    4.5
    >>> loss.backward()
    array([[ 0.],
           [-3.]])
    """

    kernel = LOSSES["squared_error"]

    def gradient_scale(self, n_out: int) -> float:
        return 2 / n_out

    def value_scale(self, n_out: int) -> float:
        return 2.0  # the kernels report a mean over the columns but differentiate a sum


class PoissonLoss(Loss):
    """Half the Poisson deviance: the mean over all elements of ``y log y - y z - y + exp(z)``; gradient ``(exp(z) - y) / size``.

    z is the logarithm of the rate. y: counts or rates >= 0, (n, n_out), or (n,) if n_out is 1. ``torch.nn.PoissonNLLLoss`` has the
    same gradient; its value lacks the terms of y alone, which make this one 0 for exp(z) = y.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.PoissonLoss()
    >>> value = loss([[0.0], [0.0]], [[1.0], [3.0]])
    >>> loss.outputs, loss.backward()
    (array([[1.],
           [1.]]), array([[ 0.],
           [-1.]]))
    """

    kernel = LOSSES["poisson"]


class L1Loss(Loss):
    """The mean of ``|outputs - y|`` over all elements; gradient ``sign(outputs - y) / size``, which is 0 where they are equal.

    Its minimum is at the median of y. y: (n, n_out), or (n,) if n_out is 1. The same as ``torch.nn.L1Loss``.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.L1Loss()
    >>> loss([[1.0], [2.0]], [[0.0], [5.0]])
    2.0
    >>> loss.backward()
    array([[ 0.5],
           [-0.5]])
    """

    kernel = LOSSES["absolute_error"]


class HuberLoss(Loss):
    """The mean of Huber's loss of ``d = outputs - y``: ``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``.

    The gradient is ``clip(d, -delta, delta) / size``. y: (n, n_out), or (n,) if n_out is 1. The same as ``torch.nn.HuberLoss``.

    Parameters
    ----------
    delta : float
        Where the loss changes from quadratic to linear, in units of y; above 0.

    Raises
    ------
    TypeError, ValueError
        If delta is not such a number.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.HuberLoss(delta=1.0)
    >>> loss([[0.5], [2.0]], [[0.0], [5.0]])
    1.3125
    >>> loss.backward()
    array([[ 0.25],
           [-0.5 ]])
    """

    kernel = LOSSES["huber"]

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = checks.real("delta", delta)


class QuantileLoss(Loss):
    """The pinball loss: the mean of ``max(q d, (q - 1) d)`` over all elements, with ``d = y - outputs``.

    Its minimum is at the q-quantile of y. The gradient is ``(1 - q) / size`` for outputs above y, ``-q / size`` below, and 0 if
    they are equal. y: (n, n_out), or (n,) if n_out is 1. For several quantiles of the same numbers, y has a copy of them for each.

    Parameters
    ----------
    quantile : float or sequence of float
        The level q in (0, 1): one number for all outputs, or one for each.

    Raises
    ------
    TypeError, ValueError
        If quantile is not such a number, or has others; in a call of the loss, if it does not have one for each output.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.QuantileLoss(quantile=0.75)
    >>> loss([[0.0], [0.0]], [[2.0], [-2.0]])
    1.0
    >>> loss.backward()
    array([[-0.375],
           [ 0.125]])
    """

    kernel = LOSSES["quantile"]

    def __init__(self, quantile: float | Sequence[float] | NDArray[Any] = 0.5) -> None:
        levels = [checks.real("quantile", level) for level in np.ravel(quantile).tolist()]
        self.quantile: float | tuple[float, ...] = tuple(levels) if np.ndim(quantile) else levels[0]


class GammaLoss(Loss):
    """Half the gamma deviance: the mean over all elements of ``z - log y + y exp(-z) - 1``; gradient ``(1 - y exp(-z)) / size``.

    z is the logarithm of the mean. y: numbers > 0, (n, n_out), or (n,) if n_out is 1. The loss is 0 for exp(z) = y.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.GammaLoss()
    >>> value = loss([[0.0], [0.0]], [[1.0], [3.0]])
    >>> loss.outputs, loss.backward()
    (array([[1.],
           [1.]]), array([[ 0.],
           [-1.]]))
    """

    kernel = LOSSES["gamma"]


class TweedieLoss(Loss):
    """Half the Tweedie deviance, for numbers with mean ``m = exp(z)`` and a variance proportional to ``m^power``.

    The mean over all elements of ``m^(2 - p) / (2 - p) + y m^(1 - p) / (p - 1) - y^(2 - p) / ((2 - p) (p - 1))``, p = power, which
    is 0 for m = y. The gradient is ``(m^(2 - p) - y m^(1 - p)) / size``. y: numbers >= 0, of which many may be 0, (n, n_out), or
    (n,) if n_out is 1.

    Parameters
    ----------
    power : float
        In (1, 2). Near 1 the loss is like `PoissonLoss`, near 2 like `GammaLoss`.

    Raises
    ------
    TypeError, ValueError
        If power is not such a number.

    Examples
    --------
    >>> from fastprop import nn
    >>> loss = nn.TweedieLoss(power=1.5)
    >>> value = loss([[0.0], [0.0]], [[0.0], [3.0]])
    >>> loss.outputs, loss.backward()
    (array([[1.],
           [1.]]), array([[ 0.5],
           [-1. ]]))
    """

    kernel = LOSSES["tweedie"]

    def __init__(self, power: float = 1.5) -> None:
        self.power = checks.real("power", power)


def dense(loss, y, shape, dtype):
    """y in the shape and dtype of the outputs, as the raw kernels read it."""
    y = np.asarray(y)
    if y.shape != shape and not (y.ndim == 1 and shape == (len(y), 1)):
        raise ShapeError(loss, f"y must have the shape of the outputs, {shape}; got {y.shape}")
    return np.require(y.reshape(shape), dtype, ["C", "A", "E"])


def check_range(loss, y, largest, positive=False):
    """Raise an error that gives the first position where y is not in [0, largest], or is 0 though it must be positive."""
    if not y.size or (y.min() >= 0 and y.max() <= largest and (y.min() > 0 or not positive)):
        return
    inside = ((y > 0) if positive else (y >= 0)) & (y <= largest)
    where = tuple(map(int, np.unravel_index((~inside).argmax(), y.shape)))
    interval, position = f"{'(' if positive else '['}0, {largest}]", where[0] if y.ndim == 1 else where
    raise ShapeError(loss, f"y must be in {interval}; got {y[where]} at position {position}")


def has_targets(loss):
    """Whether the targets of a loss can be checked without computing it. A user's own loss may take any targets."""
    own = type(loss)
    return isinstance(loss, Loss) and (own.targets is not Loss.targets or own.__call__ is Loss.__call__)

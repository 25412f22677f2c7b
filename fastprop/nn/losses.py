"""Losses: the mean as a number, and its gradient with respect to the model's output.

``loss(outputs, y)`` returns the mean, ``loss.backward()`` the gradient of that mean with respect to the outputs, with which
`Module.backward` begins. The cross-entropies and the Poisson loss take logits, the output of a last layer without an activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotations import ArrayLike, FloatDType, Floats
from ..kernels.checks import NO_LABELS, as_intp, private
from ..kernels.codes import LOSSES
from .errors import NoForwardError, ShapeError
from .module import any_matrix, raw


class Loss:
    """Base of the losses.

    Attributes
    ----------
    outputs : ndarray, shape (n, n_out)
        The model's outputs of the last call behind the loss's link: probabilities, predictions or rates.
    """

    code: int | None = None  # in kernels.codes.LOSSES
    n_threads: int = 1
    _saved: Any = None

    def __call__(self, outputs: ArrayLike, y: ArrayLike) -> float:
        """The mean loss, a float.

        Parameters
        ----------
        outputs : ndarray, shape (n, n_out), float32 or float64, n >= 1
        y : array-like
            What the outputs should be, see the class.

        Raises
        ------
        ValueError
            If the shapes, or the values of y, are not as described.
        """
        z = any_matrix(self, "outputs", outputs)
        if not z.size:
            raise ShapeError(self, f"outputs must have at least one row and column; got shape {z.shape}")
        labels, targets = self.targets(y, z.shape, z.dtype)
        probs = np.empty_like(z)
        no_weight = np.empty(0, z.dtype)
        loss_sum = raw.loss_forward(self.code, z, labels, targets, no_weight, probs, self.n_threads)
        self._saved = probs, labels, targets, no_weight
        return self._factor(z.shape) * loss_sum

    def backward(self) -> Floats:
        """Return the gradient of the last value with respect to the outputs.

        Returns
        -------
        ndarray, shape (n, n_out)
            What `Module.backward` begins with.
        """
        if self._saved is None:
            raise NoForwardError(self, "backward needs a call of the loss before it")
        probs = self._saved[0]
        dlogits = np.empty_like(probs)
        raw.loss_backward(self.code, *self._saved, self._factor(probs.shape), dlogits, self.n_threads)
        return dlogits

    @property
    def outputs(self) -> Floats:
        """The model's outputs in the last call, after the loss's link: probabilities, predictions or rates."""
        if self._saved is None:
            raise NoForwardError(self, "there are no outputs before a call of the loss")
        return self._saved[0][...]  # a view, whose shape is nobody else's

    def targets(self, y: ArrayLike, shape: tuple[int, ...], dtype: FloatDType) -> tuple[NDArray[np.intp], Floats]:
        """Check y for outputs of a given shape and dtype.

        Parameters
        ----------
        y : array-like
            As the loss takes it.
        shape : tuple of int
            The shape (n, n_out) of the outputs.
        dtype : {float32, float64}
            The dtype of the outputs.

        Returns
        -------
        labels : ndarray of intp, shape (n,) or (0,)
            Class numbers, if y holds these.
        targets : ndarray, shape (n, n_out) or (0, 0)
            The targets otherwise.
        """
        return NO_LABELS, dense(self, y, shape, dtype)

    def _factor(self, shape):
        """What the sum of the kernels is multiplied by."""
        return 1 / (shape[0] * shape[1])

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_saved"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss):
    """Softmax and cross-entropy in nats: ``mean_i sum_c y_ic (logsumexp(logits_i) - logits_ic)``, gradient ``(probs - y) / n``.

    y: class numbers (n,) in [0, n_classes), or one-hot or soft targets (n, n_classes). It is ``torch.nn.CrossEntropyLoss``.
    """

    code = LOSSES["softmax_cross_entropy"]

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

    def _factor(self, shape):
        return 1 / shape[0]


class BinaryCrossEntropy(Loss):
    """Sigmoid and binary cross-entropy in nats: the mean over all elements of ``max(z, 0) - z y + log(1 + exp(-|z|))``.

    z is the logit; the gradient is ``(sigmoid(z) - y) / size``. y: numbers in [0, 1] (n, n_out), or (n,) where n_out is 1. It is
    ``torch.nn.BCEWithLogitsLoss``. scikit-learn's estimators sum over several outputs instead of taking the mean.
    """

    code = LOSSES["binary_cross_entropy"]

    def targets(self, y: ArrayLike, shape: tuple[int, ...], dtype: FloatDType) -> tuple[NDArray[np.intp], Floats]:
        targets = dense(self, y, shape, dtype)
        check_range(self, targets, 1)
        return NO_LABELS, targets


class MSELoss(Loss):
    """The mean of ``(outputs - y)^2`` over all elements; gradient ``2 (outputs - y) / size``.

    y: (n, n_out), or (n,) where n_out is 1. It is ``torch.nn.MSELoss``. scikit-learn's `MLPRegressor` reports half of it, and its
    gradient is ``(outputs - y) / n``: half of this one for one output, n_out / 2 times this one for several.
    """

    code = LOSSES["squared_error"]

    def _factor(self, shape):
        return 2 / (shape[0] * shape[1])


class PoissonLoss(Loss):
    """Half the Poisson deviance: the mean over all elements of ``y log y - y z - y + exp(z)``; gradient ``(exp(z) - y) / size``.

    z is the logarithm of the rate. y: counts or rates >= 0, (n, n_out), or (n,) where n_out is 1. ``torch.nn.PoissonNLLLoss`` has
    the same gradient; its value lacks the terms of y alone, which make this one 0 for exp(z) = y.
    """

    code = LOSSES["poisson"]

    def targets(self, y: ArrayLike, shape: tuple[int, ...], dtype: FloatDType) -> tuple[NDArray[np.intp], Floats]:
        targets = dense(self, y, shape, dtype)
        check_range(self, targets, np.inf)
        return NO_LABELS, targets


def dense(loss, y, shape, dtype):
    """y in the shape and dtype of the outputs, as the raw kernels read it."""
    y = np.asarray(y)
    if y.shape != shape and not (y.ndim == 1 and shape == (len(y), 1)):
        raise ShapeError(loss, f"y must have the shape of the outputs, {shape}; got {y.shape}")
    return np.require(y.reshape(shape), dtype, ["C", "A", "E"])


def check_range(loss, y, largest):
    """Raise an error with the first place where y is not in [0, largest]."""
    if not y.size or (y.min() >= 0 and y.max() <= largest):
        return
    where = tuple(map(int, np.unravel_index((~((y >= 0) & (y <= largest))).argmax(), y.shape)))
    raise ShapeError(loss, f"y must be in [0, {largest}]; got {y[where]} at position {where[0] if y.ndim == 1 else where}")

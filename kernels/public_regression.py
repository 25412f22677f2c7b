"""The public kernels of further regression losses: absolute error, Huber, quantiles and deviances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .annotations import Floats
from .public_losses import LossKernels


class RegressionLossKernels(LossKernels):
    """Forward and backward of the losses; a forward without a link function returns only the value."""

    def absolute_error_forward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        n_threads: int = 1,
    ) -> float:
        """The absolute error: ``loss_sum = sum_i w_i sum_c |predictions_ic - y_ic|``.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer.
        targets : ndarray, shape (n, n_out), dtype of predictions
            The y.
        sample_weight : ndarray, shape (n,), dtype of predictions, optional
            Finite; the loss of each row is multiplied by its weight.
        n_threads : int
            Number of threads.

        Returns
        -------
        float
            The sum over the rows, accumulated in float64; 0.0 for no rows.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.absolute_error_forward(np.array([[1.0], [2.0]]), np.array([[0.0], [5.0]]))
        4.0
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_forward("absolute_error", *arrays, None, n_threads)[0]

    def absolute_error_backward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `absolute_error_forward`: ``dpredictions = scale * w_i * sign(predictions - y)``, 0 where they are equal.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer.
        targets : ndarray, shape (n, n_out), dtype of predictions
            The targets of the forward.
        sample_weight : ndarray, shape (n,), dtype of predictions, optional
            The weights given to the forward.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``predictions`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to the predictions: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.absolute_error_backward(np.array([[1.0], [2.0]]), np.array([[0.0], [5.0]]))
        array([[ 1.],
               [-1.]])
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_backward("absolute_error", *arrays, scale, out, n_threads)

    def huber_forward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        delta: float = 1.0,
        n_threads: int = 1,
    ) -> float:
        """Huber's loss: ``loss_sum = sum_i w_i sum_c h(predictions_ic - y_ic)``, quadratic near 0 and linear beyond.

        ``h(d)`` is ``d^2 / 2`` where ``|d| <= delta``, and ``delta (|d| - delta / 2)`` elsewhere.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer.
        targets : ndarray, shape (n, n_out), dtype of predictions
            The y.
        sample_weight : ndarray, shape (n,), dtype of predictions, optional
            Finite; the loss of each row is multiplied by its weight.
        delta : float
            Where the loss changes from quadratic to linear, in units of y; above 0.
        n_threads : int
            Number of threads.

        Returns
        -------
        float
            The sum over the rows, accumulated in float64; 0.0 for no rows.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        References
        ----------
        Huber, *Robust estimation of a location parameter* (1964).

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.huber_forward(np.array([[0.5], [2.0]]), np.array([[0.0], [5.0]]), delta=1.0)
        2.625
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_forward("huber", *arrays, None, n_threads, {"delta": delta})[0]

    def huber_backward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        delta: float = 1.0,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `huber_forward`: ``dpredictions = scale * w_i * clip(predictions - y, -delta, delta)``.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer.
        targets : ndarray, shape (n, n_out), dtype of predictions
            The targets of the forward.
        sample_weight : ndarray, shape (n,), dtype of predictions, optional
            The weights given to the forward.
        delta : float
            Where the loss changes from quadratic to linear, in units of y; above 0.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``predictions`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to the predictions: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.huber_backward(np.array([[0.5], [2.0]]), np.array([[0.0], [5.0]]), delta=1.0)
        array([[ 0.5],
               [-1. ]])
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_backward("huber", *arrays, scale, out, n_threads, {"delta": delta})

    def quantile_forward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        quantile: float | Sequence[float] | NDArray[np.floating[Any]] = 0.5,
        n_threads: int = 1,
    ) -> float:
        """The pinball loss: ``loss_sum = sum_i w_i sum_c max(q_c d, (q_c - 1) d)``, d = y_ic - predictions_ic.

        Its minimum is at the q-quantile of y.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer.
        targets : ndarray, shape (n, n_out), dtype of predictions
            The y.
        sample_weight : ndarray, shape (n,), dtype of predictions, optional
            Finite; the loss of each row is multiplied by its weight.
        quantile : float or sequence of float, shape (n_out,)
            The level q_c in (0, 1): one number for all outputs, or one for each.
        n_threads : int
            Number of threads.

        Returns
        -------
        float
            The sum over the rows, accumulated in float64; 0.0 for no rows.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        References
        ----------
        Koenker and Bassett, *Regression quantiles* (1978).

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.quantile_forward(np.array([[0.0], [0.0]]), np.array([[2.0], [-2.0]]), quantile=0.75)
        2.0
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_forward("quantile", *arrays, None, n_threads, {"quantile": quantile})[0]

    def quantile_backward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        quantile: float | Sequence[float] | NDArray[np.floating[Any]] = 0.5,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `quantile_forward`: ``dpredictions = scale * w_i * (1 - q_c)`` above y, ``-scale * w_i * q_c`` below, 0 at y.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer.
        targets : ndarray, shape (n, n_out), dtype of predictions
            The targets of the forward.
        sample_weight : ndarray, shape (n,), dtype of predictions, optional
            The weights given to the forward.
        quantile : float or sequence of float, shape (n_out,)
            The level q_c in (0, 1): one number for all outputs, or one for each.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``predictions`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to the predictions: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.quantile_backward(np.array([[0.0], [0.0]]), np.array([[2.0], [-2.0]]), quantile=0.75)
        array([[-0.75],
               [ 0.25]])
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_backward("quantile", *arrays, scale, out, n_threads, {"quantile": quantile})

    def gamma_forward(
        self,
        log_means: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[float, Floats]:
        """Exponential and half the gamma deviance: ``loss_sum = sum_i w_i sum_c z - log y + y exp(-z) - 1``, z = log_means_ic.

        Parameters
        ----------
        log_means : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer, logarithms of the means.
        targets : ndarray, shape (n, n_out), dtype of log_means
            The y > 0.
        sample_weight : ndarray, shape (n,), dtype of log_means, optional
            Finite; the loss of each row is multiplied by its weight.
        out : ndarray, shape (n, n_out), optional
            Overwritten with means; may be ``log_means`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_sum : float
            The sum over the rows, accumulated in float64; 0.0 for no rows.
        means : ndarray, shape (n, n_out)
            The means exp(log_means): ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        References
        ----------
        McCullagh and Nelder, *Generalized Linear Models*, 2nd ed. (1989), section 8.3.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> loss_sum, means = kernels.gamma_forward(np.log([[2.0], [4.0]]), np.array([[2.0], [1.0]]))
        >>> round(loss_sum, 4), means.round(4).ravel()
        (0.6363, array([2., 4.]))
        """
        arrays = "log_means", log_means, targets, sample_weight
        return self._loss_forward("gamma", *arrays, out, n_threads)

    def gamma_backward(
        self,
        means: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `gamma_forward`: ``dlog_means = scale * w_i * (1 - y / means)``.

        Parameters
        ----------
        means : ndarray, shape (n, n_out), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n, n_out), dtype of means
            The y > 0.
        sample_weight : ndarray, shape (n,), dtype of means, optional
            The weights given to the forward.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``means`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to log_means: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.gamma_backward(np.array([[2.0], [4.0]]), np.array([[3.0], [1.0]]))
        array([[-0.5 ],
               [ 0.75]])
        """
        arrays = "means", means, targets, sample_weight
        return self._loss_backward("gamma", *arrays, scale, out, n_threads)

    def tweedie_forward(
        self,
        log_means: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        power: float = 1.5,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[float, Floats]:
        """Exponential and half the Tweedie deviance, for means ``exp(log_means)``.

        With p = power and m = means:
        ``loss_sum = sum_i w_i sum_c m^(2 - p) / (2 - p) + y m^(1 - p) / (p - 1) - y^(2 - p) / ((2 - p) (p - 1))``.

        Parameters
        ----------
        log_means : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer, logarithms of the means.
        targets : ndarray, shape (n, n_out), dtype of log_means
            The y >= 0.
        sample_weight : ndarray, shape (n,), dtype of log_means, optional
            Finite; the loss of each row is multiplied by its weight.
        power : float
            The p in (1, 2). Near 1 the loss is like Poisson's, near 2 like that of gamma.
        out : ndarray, shape (n, n_out), optional
            Overwritten with means; may be ``log_means`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_sum : float
            The sum over the rows, accumulated in float64; 0.0 for no rows.
        means : ndarray, shape (n, n_out)
            The means exp(log_means): ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        References
        ----------
        Jorgensen, *The Theory of Dispersion Models* (1997), chapter 4.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> loss_sum, means = kernels.tweedie_forward(np.log([[1.0], [4.0]]), np.array([[0.0], [4.0]]), power=1.5)
        >>> round(loss_sum, 4), means.round(4).ravel()
        (2.0, array([1., 4.]))
        """
        arrays = "log_means", log_means, targets, sample_weight
        return self._loss_forward("tweedie", *arrays, out, n_threads, {"power": power})

    def tweedie_backward(
        self,
        means: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        power: float = 1.5,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `tweedie_forward`: ``dlog_means = scale * w_i * (means^(2 - power) - y means^(1 - power))``.

        Parameters
        ----------
        means : ndarray, shape (n, n_out), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n, n_out), dtype of means
            The y >= 0.
        sample_weight : ndarray, shape (n,), dtype of means, optional
            The weights given to the forward.
        power : float
            The p in (1, 2). Near 1 the loss is like Poisson's, near 2 like that of gamma.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``means`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to log_means: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.tweedie_backward(np.array([[1.0], [4.0]]), np.array([[0.0], [2.0]]), power=1.5)
        array([[1.],
               [1.]])
        """
        arrays = "means", means, targets, sample_weight
        return self._loss_backward("tweedie", *arrays, scale, out, n_threads, {"power": power})

"""The public kernels of losses: value and outputs from the logits, then their gradient from the outputs."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import checks
from .annotations import Floats
from .spec import LOSS_CODES, LOSSES


class LossKernels:
    """Forward and backward of the losses, each fused with the link that turns logits into outputs."""

    def softmax_cross_entropy_forward(
        self,
        logits: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[float, Floats]:
        """Softmax and cross-entropy: ``loss_sum = sum_i w_i sum_c y_ic (logsumexp(logits_i) - logits_ic)``.

        The loss is computed from the logits, not from probabilities, so it is finite for any finite logits.

        Parameters
        ----------
        logits : ndarray, shape (n, n_classes), float32 or float64
            The unnormalised log-probabilities.
        targets : ndarray of int, shape (n,), or ndarray, shape (n, n_classes), dtype of logits
            Labels in [0, n_classes), or the y themselves, in rows that need not sum to one.
        sample_weight : ndarray, shape (n,), dtype of logits, optional
            Finite; the loss of each row is multiplied by its weight.
        out : ndarray, shape (n, n_classes), optional
            Overwritten with probs; may be ``logits`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_sum : float
            The sum over the rows, in nats, accumulated in float64; 0.0 for no rows.
        probs : ndarray, shape (n, n_classes)
            The probabilities: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.2.2.3.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> loss_sum, probs = kernels.softmax_cross_entropy_forward(np.zeros((2, 4)), np.array([0, 3]))
        >>> round(loss_sum, 4), probs[0]
        (2.7726, array([0.25, 0.25, 0.25, 0.25]))
        """
        return self._loss_forward("softmax_cross_entropy", "logits", logits, targets, sample_weight, out, n_threads)

    def softmax_cross_entropy_backward(
        self,
        probs: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `softmax_cross_entropy_forward`: ``dlogits = scale * w_i * (probs * sum_c y_ic - y)``.

        Parameters
        ----------
        probs : ndarray, shape (n, n_classes), float32 or float64
            The second result of the forward.
        targets : ndarray of int, shape (n,), or ndarray, shape (n, n_classes), dtype of probs
            The targets of the forward.
        sample_weight : ndarray, shape (n,), dtype of probs, optional
            The weights given to the forward.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_classes), optional
            Overwritten with the gradient; may be ``probs`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_classes)
            The gradient of scale * loss_sum with respect to the logits: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.softmax_cross_entropy_backward(np.array([[0.25, 0.75]]), np.array([1]))
        array([[ 0.25, -0.25]])
        """
        return self._loss_backward("softmax_cross_entropy", "probs", probs, targets, sample_weight, scale, out, n_threads)

    def binary_cross_entropy_forward(
        self,
        logits: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[float, Floats]:
        """Sigmoid and binary cross-entropy: ``loss_sum = sum_i w_i sum_c max(z, 0) - z y + log(1 + exp(-|z|))``, z = logits_ic.

        One column is binary classification, several are multilabel.

        Parameters
        ----------
        logits : ndarray, shape (n, n_out), float32 or float64
            The log-odds.
        targets : ndarray, shape (n, n_out), dtype of logits; if n_out is 1, also ndarray of int or bool, shape (n,)
            The y in [0, 1] (not checked), or labels 0 and 1 (checked).
        sample_weight : ndarray, shape (n,), dtype of logits, optional
            Finite; the loss of each row is multiplied by its weight.
        out : ndarray, shape (n, n_out), optional
            Overwritten with probs; may be ``logits`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_sum : float
            The sum over the rows, in nats, accumulated in float64; 0.0 for no rows.
        probs : ndarray, shape (n, n_out)
            The probabilities: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.2.2.2.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> loss_sum, probs = kernels.binary_cross_entropy_forward(np.zeros((2, 1)), np.array([[0.0], [1.0]]))
        >>> round(loss_sum, 4), probs.ravel()
        (1.3863, array([0.5, 0.5]))
        """
        return self._loss_forward("binary_cross_entropy", "logits", logits, targets, sample_weight, out, n_threads)

    def binary_cross_entropy_backward(
        self,
        probs: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `binary_cross_entropy_forward`: ``dlogits = scale * w_i * (probs - y)``.

        Parameters
        ----------
        probs : ndarray, shape (n, n_out), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n, n_out), dtype of probs; if n_out is 1, also ndarray of int or bool, shape (n,)
            The targets of the forward.
        sample_weight : ndarray, shape (n,), dtype of probs, optional
            The weights given to the forward.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``probs`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to the logits: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.binary_cross_entropy_backward(np.array([[0.25], [0.75]]), np.array([[0.0], [1.0]]))
        array([[ 0.25],
               [-0.25]])
        """
        return self._loss_backward("binary_cross_entropy", "probs", probs, targets, sample_weight, scale, out, n_threads)

    def squared_error_forward(
        self, predictions: Floats, targets: NDArray[Any], sample_weight: Floats | None = None, n_threads: int = 1
    ) -> float:
        """Half the squared error: ``loss_sum = sum_i w_i sum_c (predictions_ic - y_ic)^2 / 2``, not divided by n_out.

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
            If an array is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.squared_error_forward(np.array([[1.0], [2.0]]), np.array([[1.0], [5.0]]))
        4.5
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_forward("squared_error", *arrays, None, n_threads)[0]

    def squared_error_backward(
        self,
        predictions: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `squared_error_forward`: ``dpredictions = scale * w_i * (predictions - y)``.

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
            If an array is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.squared_error_backward(np.array([[1.0], [2.0]]), np.array([[1.5], [5.0]]))
        array([[-0.5],
               [-3. ]])
        """
        return self._loss_backward("squared_error", "predictions", predictions, targets, sample_weight, scale, out, n_threads)

    def poisson_forward(
        self,
        log_rates: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[float, Floats]:
        """Exponential and half the Poisson deviance: ``loss_sum = sum_i w_i sum_c y log y - y z - y + exp(z)``, z = log_rates_ic.

        Parameters
        ----------
        log_rates : ndarray, shape (n, n_out), float32 or float64
            The outputs of the last layer, logarithms of the rates.
        targets : ndarray, shape (n, n_out), dtype of log_rates
            Counts or rates y >= 0, with 0 log 0 = 0.
        sample_weight : ndarray, shape (n,), dtype of log_rates, optional
            Finite; the loss of each row is multiplied by its weight.
        out : ndarray, shape (n, n_out), optional
            Overwritten with rates; may be ``log_rates`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_sum : float
            The sum over the rows, in nats, accumulated in float64; 0.0 for no rows.
        rates : ndarray, shape (n, n_out)
            The rates exp(log_rates): ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described; nothing was changed then.

        References
        ----------
        McCullagh and Nelder, *Generalized Linear Models*, 2nd ed. (1989), section 2.3.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> loss_sum, rates = kernels.poisson_forward(np.log([[2.0], [5.0]]), np.array([[2.0], [4.0]]))
        >>> round(loss_sum, 4), rates.round(4).ravel()
        (0.1074, array([2., 5.]))
        """
        return self._loss_forward("poisson", "log_rates", log_rates, targets, sample_weight, out, n_threads)

    def poisson_backward(
        self,
        rates: Floats,
        targets: NDArray[Any],
        sample_weight: Floats | None = None,
        scale: float = 1.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Backward of `poisson_forward`: ``dlog_rates = scale * w_i * (rates - y)``.

        Parameters
        ----------
        rates : ndarray, shape (n, n_out), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n, n_out), dtype of rates
            Counts or rates y >= 0.
        sample_weight : ndarray, shape (n,), dtype of rates, optional
            The weights given to the forward.
        scale : float
            Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the gradient; may be ``rates`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The gradient of scale * loss_sum with respect to log_rates: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.poisson_backward(np.array([[2.0], [5.0]]), np.array([[2.5], [4.0]]))
        array([[-0.5],
               [ 1. ]])
        """
        return self._loss_backward("poisson", "rates", rates, targets, sample_weight, scale, out, n_threads)

    def _loss_forward(self, loss, name, logits, targets, sample_weight, out, n_threads, hyper=None):
        """(loss_sum, outputs). If the link is the identity, the outputs are the predictions themselves and are not written."""
        shape = checks.loss_shape(loss, name, logits)
        n_threads, parameters = checks.threads(n_threads), checks.loss_hyper(LOSSES[loss], hyper, shape[1])
        labels, dense = checks.targets(loss, targets, shape, name, logits)
        weight = checks.sample_weight(sample_weight, shape[0], name, logits)
        inputs = {name: logits, "targets": targets, "sample_weight": sample_weight}
        written = (0, 0) if LOSSES[loss].link == "identity" else shape
        outputs = checks.output("out", out, written, logits, inputs, in_place_of=name)
        if not logits.size:  # an empty array means "not given" to the raw kernels
            return 0.0, outputs
        logits = checks.c_order(name, logits)
        return self.raw.loss_forward(LOSS_CODES[loss], parameters, logits, labels, dense, weight, outputs, n_threads), outputs

    def _loss_backward(self, loss, name, outputs, targets, sample_weight, scale, out, n_threads, hyper=None):
        shape = checks.loss_shape(loss, name, outputs)
        scale, n_threads = checks.real("scale", scale), checks.threads(n_threads)
        parameters = checks.loss_hyper(LOSSES[loss], hyper, shape[1])
        labels, dense = checks.targets(loss, targets, shape, name, outputs)
        weight = checks.sample_weight(sample_weight, shape[0], name, outputs)
        inputs = {name: outputs, "targets": targets, "sample_weight": sample_weight}
        dlogits = checks.output("out", out, shape, outputs, inputs, in_place_of=name)
        if outputs.size:  # an empty array means "not given" to the raw kernels
            outputs = checks.c_order(name, outputs)
            self.raw.loss_backward(LOSS_CODES[loss], parameters, outputs, labels, dense, weight, scale, dlogits, n_threads)
        return dlogits

"""The public kernels of losses: value and outputs from the logits, then the gradient by the logits from the outputs."""

import inspect

from . import checks
from .codes import LOSSES

# What all losses say of their arguments and results; `_shared` puts it into each docstring, so that help() shows it.
_FORWARD = """\
sample_weight : ndarray, shape (n,), dtype of {first}, optional
    Finite; every row's loss is multiplied by its weight.{out}
n_threads : int

Returns
-------
loss_sum : float
    The sum over the rows, in nats, accumulated in float64; 0.0 for no rows.{last}

Raises
------
TypeError, ValueError
    If an array is not as described; nothing was changed then."""
_OUT = """
out : ndarray, shape (n, {columns}), optional
    Overwritten with {returned}; may be ``{first}`` itself."""
_RETURNED = """
{returned} : ndarray, shape (n, {columns})"""
_BACKWARD = """\
sample_weight : ndarray, shape (n,), dtype of {first}, optional
    The weights given to the forward.
scale : float
    Finite factor of the whole gradient, for instance 1 / n for the gradient of the mean.
out : ndarray, shape (n, {columns}), optional
    Overwritten with the gradient; may be ``{first}`` itself.
n_threads : int

Returns
-------
ndarray, shape (n, {columns})
    The gradient of scale * loss_sum by the logits.

Raises
------
TypeError, ValueError
    If an array is not as described; nothing was changed then."""


def _shared(part, columns, first, returned=None):
    """Fill ``{shared}`` in a docstring with a part from above."""
    names = {"columns": columns, "first": first, "returned": returned}
    out, last = (_OUT.format(**names), _RETURNED.format(**names)) if returned else ("", "")

    def complete(function):
        if function.__doc__ is not None:  # None under python -OO
            text = part.format(**names, out=out, last=last)
            function.__doc__ = inspect.cleandoc(function.__doc__).replace("{shared}", text)
        return function

    return complete


class LossKernels:
    """Forward and backward of the losses, each fused with the link that turns logits into outputs."""

    @_shared(_FORWARD, "n_classes", "logits", "probs")
    def softmax_cross_entropy_forward(self, logits, targets, sample_weight=None, out=None, n_threads=1):
        """Softmax and cross-entropy: ``loss_sum = sum_i w_i sum_c y_ic (logsumexp(logits_i) - logits_ic)``.

        The loss comes from the logits, not from probabilities: it is finite for any finite logits.

        Parameters
        ----------
        logits : ndarray, shape (n, n_classes), float32 or float64
        targets : ndarray, shape (n,) of any integer dtype, or shape (n, n_classes) of the dtype of logits
            Labels in [0, n_classes), or the y themselves, whose rows need not sum to one.
        {shared}

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.2.2.3.
        """
        return self._loss_forward("softmax_cross_entropy", "logits", logits, targets, sample_weight, out, n_threads)

    @_shared(_BACKWARD, "n_classes", "probs")
    def softmax_cross_entropy_backward(self, probs, targets, sample_weight=None, scale=1.0, out=None, n_threads=1):
        """Backward of `softmax_cross_entropy_forward`: ``dlogits = scale * w_i * (probs * sum_c y_ic - y)``.

        Parameters
        ----------
        probs : ndarray, shape (n, n_classes), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n,) of any integer dtype, or shape (n, n_classes) of the dtype of probs
        {shared}
        """
        return self._loss_backward("softmax_cross_entropy", "probs", probs, targets, sample_weight, scale, out, n_threads)

    @_shared(_FORWARD, "n_out", "logits", "probs")
    def binary_cross_entropy_forward(self, logits, targets, sample_weight=None, out=None, n_threads=1):
        """Sigmoid and binary cross-entropy: ``loss_sum = sum_i w_i sum_c max(z, 0) - z y + log(1 + exp(-|z|))``, z = logits_ic.

        One column is binary classification, several are multilabel.

        Parameters
        ----------
        logits : ndarray, shape (n, n_out), float32 or float64
        targets : ndarray, shape (n, n_out) of the dtype of logits; if n_out is 1, also shape (n,) of integers or bools
            The y in [0, 1] (not checked), or labels 0 and 1 (checked).
        {shared}

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.2.2.2.
        """
        return self._loss_forward("binary_cross_entropy", "logits", logits, targets, sample_weight, out, n_threads)

    @_shared(_BACKWARD, "n_out", "probs")
    def binary_cross_entropy_backward(self, probs, targets, sample_weight=None, scale=1.0, out=None, n_threads=1):
        """Backward of `binary_cross_entropy_forward`: ``dlogits = scale * w_i * (probs - y)``.

        Parameters
        ----------
        probs : ndarray, shape (n, n_out), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n, n_out) of the dtype of probs; if n_out is 1, also shape (n,) of integers or bools
        {shared}
        """
        return self._loss_backward("binary_cross_entropy", "probs", probs, targets, sample_weight, scale, out, n_threads)

    @_shared(_FORWARD, "n_out", "predictions")
    def squared_error_forward(self, predictions, targets, sample_weight=None, n_threads=1):
        """Half the squared error: ``loss_sum = sum_i w_i sum_c (predictions_ic - y_ic)^2 / 2``, not divided by n_out.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
        targets : ndarray, shape (n, n_out), dtype of predictions
        {shared}
        """
        arrays = "predictions", predictions, targets, sample_weight
        return self._loss_forward("squared_error", *arrays, None, n_threads)[0]

    @_shared(_BACKWARD, "n_out", "predictions")
    def squared_error_backward(self, predictions, targets, sample_weight=None, scale=1.0, out=None, n_threads=1):
        """Backward of `squared_error_forward`: ``dpredictions = scale * w_i * (predictions - y)``.

        Parameters
        ----------
        predictions : ndarray, shape (n, n_out), float32 or float64
        targets : ndarray, shape (n, n_out), dtype of predictions
        {shared}
        """
        return self._loss_backward("squared_error", "predictions", predictions, targets, sample_weight, scale, out, n_threads)

    @_shared(_FORWARD, "n_out", "log_rates", "rates")
    def poisson_forward(self, log_rates, targets, sample_weight=None, out=None, n_threads=1):
        """Exponential and half the Poisson deviance: ``loss_sum = sum_i w_i sum_c y log y - y z - y + exp(z)``, z = log_rates_ic.

        Parameters
        ----------
        log_rates : ndarray, shape (n, n_out), float32 or float64
        targets : ndarray, shape (n, n_out), dtype of log_rates
            Counts or rates y >= 0, with 0 log 0 = 0.
        {shared}

        References
        ----------
        McCullagh and Nelder, *Generalized Linear Models*, 2nd ed. (1989), section 2.3.
        """
        return self._loss_forward("poisson", "log_rates", log_rates, targets, sample_weight, out, n_threads)

    @_shared(_BACKWARD, "n_out", "rates")
    def poisson_backward(self, rates, targets, sample_weight=None, scale=1.0, out=None, n_threads=1):
        """Backward of `poisson_forward`: ``dlog_rates = scale * w_i * (rates - y)``.

        Parameters
        ----------
        rates : ndarray, shape (n, n_out), float32 or float64
            The second result of the forward.
        targets : ndarray, shape (n, n_out), dtype of rates
            Counts or rates y >= 0.
        {shared}
        """
        return self._loss_backward("poisson", "rates", rates, targets, sample_weight, scale, out, n_threads)

    def _loss_forward(self, loss, name, logits, targets, sample_weight, out, n_threads):
        """(loss_sum, outputs); the outputs of squared error are the predictions themselves and are not written."""
        shape = checks.loss_shape(loss, name, logits)
        n_threads = checks.threads(n_threads)
        labels, dense = checks.targets(loss, targets, shape, name, logits)
        weight = checks.sample_weight(sample_weight, shape[0], name, logits)
        inputs = {name: logits, "targets": targets, "sample_weight": sample_weight}
        written = (0, 0) if loss == "squared_error" else shape
        outputs = checks.output("out", out, written, logits, inputs, in_place_of=name)
        if not logits.size:  # an empty array means "not given" to the raw kernels
            return 0.0, outputs
        logits = checks.c_order(name, logits)
        return self.raw.loss_forward(LOSSES[loss], logits, labels, dense, weight, outputs, n_threads), outputs

    def _loss_backward(self, loss, name, outputs, targets, sample_weight, scale, out, n_threads):
        shape = checks.loss_shape(loss, name, outputs)
        scale, n_threads = checks.real("scale", scale), checks.threads(n_threads)
        labels, dense = checks.targets(loss, targets, shape, name, outputs)
        weight = checks.sample_weight(sample_weight, shape[0], name, outputs)
        inputs = {name: outputs, "targets": targets, "sample_weight": sample_weight}
        dlogits = checks.output("out", out, shape, outputs, inputs, in_place_of=name)
        if outputs.size:  # an empty array means "not given" to the raw kernels
            outputs = checks.c_order(name, outputs)
            self.raw.loss_backward(LOSSES[loss], outputs, labels, dense, weight, scale, dlogits, n_threads)
        return dlogits

"""Softmax, and the losses of logits."""

import numpy as np
from scipy.special import xlogy

from ..spec import LINKS, LOSSES, n_loss_hyper
from .activations import apply_link, softmax


def softmax_forward(logits, probs, n_threads):
    """probs = exp(logits) / sum over the row of exp(logits)."""
    probs[...] = softmax(logits)


def softmax_backward(dprobs, probs, dlogits, n_threads):
    """dlogits = probs * (dprobs - sum over the row of dprobs * probs)."""
    dlogits[...] = probs * (dprobs - (dprobs * probs).sum(axis=1, keepdims=True))


def _cross_entropy(z, y, outputs):
    shifted = z - z.max(axis=1, keepdims=True)
    return y * (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted)


def _difference(outputs, y):
    return outputs - y


def _huber(z, y, outputs, delta):
    size = np.abs(z - y)
    bounded = np.minimum(size, delta)
    return bounded * (size - bounded / 2)


def _tweedie(z, y, outputs, p):
    return np.exp((2 - p) * z) / (2 - p) + (y * np.exp((1 - p) * z) - y ** (2 - p) / (2 - p)) / (p - 1)


def _tweedie_gradient(outputs, y, p):
    info = np.finfo(outputs.dtype)
    z = np.log(np.clip(outputs, info.tiny, info.max))  # finite, even where exp(z) is 0 or infinite
    return np.exp((2 - p) * z) - y * np.exp((1 - p) * z)


# name -> the loss of each logit z by its target y and output = link(z); the gradient of that with respect to z, from the output.
# Each also gets the loss's parameters. Computed from the logits, the loss is finite for any finite z. At a kink the gradient is 0.
_FORMULAS = {
    "softmax_cross_entropy": (_cross_entropy, lambda outputs, y: outputs * y.sum(axis=1, keepdims=True) - y),
    "binary_cross_entropy": (lambda z, y, outputs: np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))), _difference),
    "squared_error": (lambda z, y, outputs: (y - z) ** 2 / 2, _difference),
    "poisson": (lambda z, y, outputs: xlogy(y, y) - y * z - y + outputs, _difference),
    "absolute_error": (lambda z, y, outputs: np.abs(z - y), lambda outputs, y: np.sign(outputs - y)),
    "huber": (_huber, lambda outputs, y, delta: np.clip(outputs - y, -delta, delta)),
    "quantile": (
        lambda z, y, outputs, q: np.maximum(q * (y - z), (q - 1) * (y - z)),
        lambda outputs, y, q: np.where(outputs < y, -q, 1 - q) * np.abs(np.sign(outputs - y)),
    ),
    "gamma": (lambda z, y, outputs: z - np.log(y) + y * np.exp(-z) - 1, lambda outputs, y: 1 - y / outputs),
    "tweedie": (_tweedie, _tweedie_gradient),
}
# The loss as of clipped probabilities p
_CLIPPED = {
    "softmax_cross_entropy": lambda y, p: -xlogy(y, p),
    "binary_cross_entropy": lambda y, p: -xlogy(y, p) - xlogy(1 - y, 1 - p),
}
_BY_CODE = {loss.code: name for name, loss in LOSSES.items()}


def name_of(code):
    """The name of a loss."""
    try:
        return _BY_CODE[int(code)]
    except KeyError:
        raise ValueError(f"there is no loss number {code}") from None


def parameters_of(loss, loss_hyper, n_out):
    """The parameters of a loss, each an array that goes with rows of outputs."""
    entry = LOSSES[name_of(loss)]
    if loss_hyper.shape != (n_loss_hyper(entry, n_out),):
        raise ValueError(f"loss_hyper must have {n_loss_hyper(entry, n_out)} numbers; got shape {loss_hyper.shape}")
    return loss_hyper.reshape(len(entry.hyper), -1) if entry.hyper else ()


def loss_forward(loss, loss_hyper, logits, labels, targets, sample_weight, outputs, n_threads):
    """Write outputs = link(logits) and return the weighted sum over the rows of the loss, in nats, as a Python float.

    softmax cross-entropy  sum_c y_c (logsumexp(z) - z_c)         binary cross-entropy  sum_c max(z, 0) - z y + log1p(exp(-|z|))
    squared error          sum_c (y - z)^2 / 2                    Poisson               sum_c y log y - y z - y + exp(z)
    absolute error         sum_c |y - z|                          gamma                 sum_c z - log y + y exp(-z) - 1
    quantile               sum_c max(q (y - z), (q - 1) (y - z))
    Huber                  sum_c (y - z)^2 / 2 where |y - z| <= delta, delta (|y - z| - delta / 2) elsewhere
    Tweedie                sum_c exp((2 - p) z) / (2 - p) + (y exp((1 - p) z) - y^(2 - p) / (2 - p)) / (p - 1)

    The last three of the links identity and exp have parameters: the quantile q of each output, delta, the power p.
    """
    return clipped_loss(loss, loss_hyper, logits, dense_targets(labels, targets, logits), sample_weight, 0.0, outputs)


def clipped_loss(loss, loss_hyper, z, y, sample_weight, clip, outputs):
    """`loss_forward` with dense targets; the cross-entropies with clip > 0 of probabilities clipped to [clip, 1 - clip]."""
    name, parameters = name_of(loss), parameters_of(loss, loss_hyper, z.shape[1])
    results = apply_link(LINKS[LOSSES[name].link], z)
    if clip and name in _CLIPPED:
        values = _CLIPPED[name](y, np.clip(results, clip, 1 - clip))
    else:
        values = _FORMULAS[name][0](z, y, results, *parameters)
    rows = values.sum(axis=1, dtype=np.float64)
    if outputs.size:
        outputs[...] = results
    return float(rows @ sample_weight if sample_weight.size else rows.sum())


def loss_backward(loss, loss_hyper, outputs, labels, targets, sample_weight, scale, dlogits, n_threads):
    """dlogits = the gradient of scale times what `loss_forward` returns, from the outputs.

    With the link that is canonical for a loss, scale * sample_weight * (outputs - targets); for softmax cross-entropy with dense
    targets that do not sum to one, outputs * sum(targets) - targets.

    absolute error  sign(outputs - y)                             gamma    1 - y / outputs
    Huber           outputs - y within [-delta, delta]            Tweedie  outputs^(2 - p) - y outputs^(1 - p)
    quantile        1 - q above y, -q below, 0 at y
    """
    y, parameters = dense_targets(labels, targets, outputs), parameters_of(loss, loss_hyper, outputs.shape[1])
    weight = sample_weight[:, None] if sample_weight.size else 1
    dlogits[...] = scale * weight * _FORMULAS[name_of(loss)][1](outputs, y, *parameters)


def dense_targets(labels, targets, like):
    """The targets (n, n_out), which labels stand for as rows of the unit matrix."""
    if not labels.size:
        return targets
    onehot = np.zeros_like(like)
    onehot[np.arange(len(labels)), labels] = 1
    return onehot


def smoothed(loss, y, smoothing):
    """(1 - smoothing) y + smoothing / K for the cross-entropies of K classes, of which the binary one has two."""
    n_classes = 2 if name_of(loss) == "binary_cross_entropy" else y.shape[1]
    return (1 - smoothing) * y + smoothing / n_classes if smoothing else y

"""Softmax, and the losses of logits."""

import numpy as np
from scipy.special import xlogy

from ..spec import LINKS, LOSSES
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


# name -> the loss of each logit z by its target y and output = link(z); for those that are reported as of clipped probabilities
# p also that. Computed from the logits, so that it is finite for any finite z.
_FORMULAS = {
    "softmax_cross_entropy": (_cross_entropy, lambda y, p: -xlogy(y, p)),
    "binary_cross_entropy": (
        lambda z, y, outputs: np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))),
        lambda y, p: -xlogy(y, p) - xlogy(1 - y, 1 - p),
    ),
    "squared_error": (lambda z, y, outputs: (y - z) ** 2 / 2, None),
    "poisson": (lambda z, y, outputs: xlogy(y, y) - y * z - y + outputs, None),
}
_BY_CODE = {loss.code: (name, LINKS[loss.link], *_FORMULAS[name]) for name, loss in LOSSES.items()}


def _entry(code):
    try:
        return _BY_CODE[int(code)]
    except KeyError:
        raise ValueError(f"there is no loss number {code}") from None


def loss_forward(loss, logits, labels, targets, sample_weight, outputs, n_threads):
    """Write outputs = link(logits) and return the weighted sum over the rows of the loss, in nats, as a Python float.

    softmax cross-entropy  sum_c y_c (logsumexp(z) - z_c)         binary cross-entropy  sum_c max(z, 0) - z y + log1p(exp(-|z|))
    squared error          sum_c (y - z)^2 / 2                    Poisson               sum_c y log y - y z - y + exp(z)
    """
    return clipped_loss(loss, logits, dense_targets(labels, targets, logits), sample_weight, 0.0, outputs)


def clipped_loss(loss, z, y, sample_weight, clip, outputs):
    """`loss_forward` with dense targets; the cross-entropies with clip > 0 of probabilities clipped to [clip, 1 - clip]."""
    _, link, of_logits, of_probabilities = _entry(loss)
    results = apply_link(link, z)
    is_clipped = clip and of_probabilities
    values = of_probabilities(y, np.clip(results, clip, 1 - clip)) if is_clipped else of_logits(z, y, results)
    rows = values.sum(axis=1, dtype=np.float64)
    if outputs.size:
        outputs[...] = results
    return float(rows @ sample_weight if sample_weight.size else rows.sum())


def loss_backward(loss, outputs, labels, targets, sample_weight, scale, dlogits, n_threads):
    """dlogits = scale * sample_weight * (outputs - targets), the gradient of scale times what `loss_forward` returns.

    Softmax cross-entropy with dense targets that do not sum to one: outputs * sum(targets) - targets.
    """
    y = dense_targets(labels, targets, outputs)
    mass = y.sum(axis=1, keepdims=True) if _entry(loss)[0] == "softmax_cross_entropy" else 1
    weight = sample_weight[:, None] if sample_weight.size else 1
    dlogits[...] = scale * weight * (outputs * mass - y)


def dense_targets(labels, targets, like):
    """The targets (n, n_out), which labels stand for as rows of the unit matrix."""
    if not labels.size:
        return targets
    onehot = np.zeros_like(like)
    onehot[np.arange(len(labels)), labels] = 1
    return onehot


def smoothed(loss, y, smoothing):
    """(1 - smoothing) y + smoothing / K for the cross-entropies of K classes, of which the binary one has two."""
    n_classes = 2 if _entry(loss)[0] == "binary_cross_entropy" else y.shape[1]
    return (1 - smoothing) * y + smoothing / n_classes if smoothing else y

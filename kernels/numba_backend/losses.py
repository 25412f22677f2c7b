"""Softmax and the losses, forward and backward, from the logits. ``n_threads`` is ignored: these passes wait for memory."""

import numpy as np
from numba import njit

from ..spec import LINKS, LOSSES, codes
from .activations import EXP, activate_elementwise, apply_link, copy, row_max, row_sum, softmax
from .jit import OPTIONS, UnknownNumber, jit, public, readonly
from .vmath import exp, log1p_unit

NAMES = "softmax_cross_entropy", "binary_cross_entropy", "squared_error", "poisson"
NAMES += "absolute_error", "huber", "quantile", "gamma", "tweedie"
KNOWN = tuple(codes(LOSSES)[name] for name in NAMES)
SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, POISSON, ABSOLUTE_ERROR, HUBER, QUANTILE, GAMMA, TWEEDIE = KNOWN
# Those whose gradient is output - target
CANONICAL = BINARY_CROSS_ENTROPY, SQUARED_ERROR, POISSON
# By number: how many parameters there are, and whether each output has its own
N_PARAMETERS = tuple(len(loss.hyper) for loss in sorted(LOSSES.values()))
PER_OUTPUT = tuple(loss.per_output for loss in sorted(LOSSES.values()))
IDENTITY_LINK, SIGMOID_LINK, EXP_LINK = (LINKS[name] for name in ("identity", "sigmoid", "exp"))

# Rows at a time, so that the passes over a block of logits and outputs find it in the cache.
BLOCK = 256


class WrongHyper(ValueError):
    """Another number of parameters than a loss has."""

    def __init__(self, expected, has):
        super().__init__(f"loss_hyper must have {expected} numbers; got {has}")


@jit
def check_loss(loss, loss_hyper, n_out):
    if loss not in KNOWN:
        raise UnknownNumber("loss", loss)
    expected = N_PARAMETERS[loss] * (n_out if PER_OUTPUT[loss] else 1)
    if len(loss_hyper) != expected:
        raise WrongHyper(expected, len(loss_hyper))


@public
def softmax_forward(logits, probs, n_threads):
    """probs = exp(logits) / sum over the row of exp(logits); logits, probs (n, n_classes)."""
    logits = readonly(logits)
    for start in range(0, len(logits), BLOCK):
        softmax(logits[start : start + BLOCK], probs[start : start + BLOCK])


@public
def softmax_backward(dprobs, probs, dlogits, n_threads):
    """dlogits = probs (dprobs - sum over the row of dprobs probs); all (n, n_classes)."""
    n, n_classes = probs.shape
    for i in range(n):
        inner = probs.dtype.type(0)
        for c in range(n_classes):
            inner += dprobs[i, c] * probs[i, c]
        for c in range(n_classes):
            dlogits[i, c] = probs[i, c] * (dprobs[i, c] - inner)


@public
def loss_forward(loss, loss_hyper, logits, labels, targets, sample_weight, outputs, n_threads):
    """Write outputs = link(logits) and return the weighted sum of the rows' losses, in nats, accumulated in float64.

    logits (n, n_out); labels (n,) or (0,); targets (n, n_out) or (0, 0); sample_weight (n,) or (0,); outputs (n, n_out), may be
    the logits, or (0, 0) if not wanted. Formulas: `reference.loss_forward`.
    """
    logits, labels, targets, sample_weight = readonly(logits), readonly(labels), readonly(targets), readonly(sample_weight)
    loss_hyper = readonly(loss_hyper)
    n, n_out = logits.shape
    check_loss(loss, loss_hyper, n_out)
    scratch = np.empty((0 if outputs.size else min(n, BLOCK), n_out), logits.dtype)
    total = 0.0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        total += loss_of_block(
            loss, loss_hyper, logits[start:stop], labels[start:stop], targets[start:stop], sample_weight[start:stop], 0.0,
            outputs[start:stop] if outputs.size else scratch[: stop - start],
        )  # fmt: skip
    return total


@jit
def loss_of_block(loss, loss_hyper, logits, labels, targets, sample_weight, clip, outputs):
    """`loss_forward` for few rows, with outputs, and the clipping of `reference.network_loss_gradient`."""
    if loss == SOFTMAX_CROSS_ENTROPY:
        total = _softmax_cross_entropy(logits, labels, targets, sample_weight, outputs)
        return _clipped_cross_entropy(loss, labels, targets, sample_weight, clip, outputs) if clip > 0 else total
    clipped = loss == BINARY_CROSS_ENTROPY and clip > 0
    dense = _dense(labels, targets, logits.shape)
    total = 0.0 if clipped else _elementwise_loss(loss, loss_hyper, logits, dense, sample_weight)
    copy(logits, outputs)
    apply_link(_link(loss), outputs)
    return _clipped_cross_entropy(loss, labels, targets, sample_weight, clip, outputs) if clipped else total


@jit
def _softmax_cross_entropy(logits, labels, targets, sample_weight, outputs):
    """With s = logits - max of the row: sum_c y_c (log(sum exp(s)) - s_c) = mass log(sum exp(s)) - sum_c y_c s_c."""
    n, n_classes = logits.shape
    total = 0.0
    for i in range(n):
        highest = row_max(logits, i)
        weighted = 0.0
        if labels.size:
            weighted += logits[i, labels[i]] - highest
        else:
            for c in range(n_classes):
                weighted += targets[i, c] * (logits[i, c] - highest)
        total -= _weight(sample_weight, i) * weighted
        for c in range(n_classes):
            outputs[i, c] = logits[i, c] - highest
    activate_elementwise(EXP, outputs)
    for i in range(n):
        exponentials = 0.0  # in float64 also for float32: the logarithm of 1 + a little is the loss where the network is sure
        for c in range(n_classes):
            exponentials += outputs[i, c]
        mass = 1.0 if labels.size else np.float64(row_sum(targets, i))
        total += _weight(sample_weight, i) * mass * np.log(exponentials)
        divisor = outputs.dtype.type(exponentials)
        for c in range(n_classes):
            outputs[i, c] /= divisor
    return total


@jit
def _bounded(value, low, high):
    """value within [low, high]; NaN stays."""
    if value < low:
        return low
    return high if value > high else value


@jit
def _clipped_cross_entropy(loss, labels, targets, sample_weight, clip, probs):
    """- sum_c y_c log(p_c), and for the binary one also - sum_c (1 - y_c) log(1 - p_c), of p clipped to [clip, 1 - clip]."""
    one = probs.dtype.type(1)
    low = probs.dtype.type(clip)
    total = 0.0
    for i in range(len(probs)):
        value = 0.0
        for c in range(probs.shape[1]):
            y, p = _target(labels, targets, i, c), _bounded(probs[i, c], low, one - low)
            if y != 0:
                value -= y * np.log(p)
            if loss == BINARY_CROSS_ENTROPY and y != one:
                value -= (one - y) * np.log(one - p)
        total += _weight(sample_weight, i) * value
    return total


@public
def loss_backward(loss, loss_hyper, outputs, labels, targets, sample_weight, scale, dlogits, n_threads):
    """dlogits = scale sample_weight times the gradient. Formulas: `reference.loss_backward`.

    Shapes as in `loss_forward`; dlogits (n, n_out) may be the outputs.
    """
    n, n_out = outputs.shape
    loss_hyper = readonly(loss_hyper)
    check_loss(loss, loss_hyper, n_out)
    one = outputs.dtype.type(1)
    if loss != SOFTMAX_CROSS_ENTROPY and loss not in CANONICAL:
        dense = readonly(_dense(labels, targets, outputs.shape))
        _elementwise_gradient(loss, loss_hyper, readonly(outputs), dense, dlogits)
        for i in range(n):
            factor = outputs.dtype.type(scale) * _weight(sample_weight, i)
            for c in range(n_out):
                dlogits[i, c] *= factor
        return
    for i in range(n):
        factor = outputs.dtype.type(scale) * _weight(sample_weight, i)
        if labels.size:
            right = outputs[i, labels[i]]
            for c in range(n_out):
                dlogits[i, c] = factor * outputs[i, c]
            dlogits[i, labels[i]] = factor * (right - one)
        else:
            mass = row_sum(targets, i) if loss == SOFTMAX_CROSS_ENTROPY else one
            for c in range(n_out):
                dlogits[i, c] = factor * (outputs[i, c] * mass - targets[i, c])


@jit
def _elementwise_gradient(loss, loss_hyper, outputs, targets, dlogits):
    """dlogits = the derivative of a loss that is not canonical with respect to each logit, from the outputs; 0 at a kink."""
    n, n_out = outputs.shape
    real = dlogits.dtype.type
    zero, one, h = real(0), real(1), real(loss_hyper[0] if loss_hyper.size else 0.0)
    p, y, dz = outputs.reshape(n * n_out), targets.reshape(n * n_out), dlogits.reshape(n * n_out)
    if loss == ABSOLUTE_ERROR:
        for i in range(len(dz)):
            d = p[i] - y[i]
            dz[i] = one if d > zero else -one if d < zero else d
    elif loss == HUBER:
        for i in range(len(dz)):
            d = p[i] - y[i]
            dz[i] = h if d > h else -h if d < -h else d
    elif loss == QUANTILE:
        for i in range(len(dz)):
            d, q = p[i] - y[i], real(loss_hyper[i % n_out])
            dz[i] = one - q if d > zero else -q if d < zero else d
    elif loss == GAMMA:
        for i in range(len(dz)):
            dz[i] = one - y[i] / p[i]
    else:  # the logarithm is finite, even where exp(z) is 0 or infinite
        lowest, highest = np.finfo(dlogits.dtype).tiny, np.finfo(dlogits.dtype).max
        for i in range(len(dz)):
            z = np.log(lowest if p[i] < lowest else highest if p[i] > highest else p[i])
            dz[i] = exp((one + one - h) * z) - y[i] * exp((one - h) * z)


@jit
def _elementwise_loss(loss, loss_hyper, logits, targets, sample_weight):
    """The weighted sum of the rows' losses: first each logit's, in loops that LLVM vectorises, then their sum."""
    n, n_out = logits.shape
    values = np.empty(n * n_out, logits.dtype)
    z, y = logits.reshape(n * n_out), targets.reshape(n * n_out)
    real = values.dtype.type
    zero, half, one, h = real(0), real(0.5), real(1), real(loss_hyper[0] if loss_hyper.size else 0.0)
    if loss == BINARY_CROSS_ENTROPY:
        for i in range(len(values)):
            values[i] = (z[i] if z[i] > zero else zero) - z[i] * y[i] + log1p_unit(exp(-abs(z[i])))
    elif loss == SQUARED_ERROR:
        for i in range(len(values)):
            values[i] = (y[i] - z[i]) * (y[i] - z[i]) * half
    elif loss == POISSON:
        for i in range(len(values)):
            entropy = y[i] * np.log(y[i]) if y[i] != 0 else y[i]
            values[i] = entropy - y[i] * z[i] - y[i] + exp(z[i])
    elif loss == ABSOLUTE_ERROR:
        for i in range(len(values)):
            values[i] = abs(y[i] - z[i])
    elif loss == HUBER:
        for i in range(len(values)):
            size = abs(y[i] - z[i])
            bounded = h if size > h else size
            values[i] = bounded * (size - half * bounded)
    elif loss == QUANTILE:
        for i in range(len(values)):
            d, q = y[i] - z[i], real(loss_hyper[i % n_out])
            values[i] = (q if d > zero else q - one) * d
    elif loss == GAMMA:
        for i in range(len(values)):
            values[i] = y[i] * exp(-z[i]) - one + z[i] - np.log(y[i])
    else:
        up, down = one + one - h, one - h
        for i in range(len(values)):
            of_y = exp(up * np.log(y[i])) if y[i] != 0 else y[i]
            values[i] = exp(up * z[i]) / up - (y[i] * exp(down * z[i]) - of_y / up) / down
    if sample_weight.size == 0:
        return _sum(values)
    total = 0.0
    for i in range(n):
        total += sample_weight[i] * _sum(values[i * n_out : (i + 1) * n_out])
    return total


@njit(fastmath={"reassoc"}, **OPTIONS)  # partial sums, so that it vectorises; NaN and inf count as ever
def _sum(values):
    total = 0.0
    for i in range(len(values)):  # over Numba's iterator it takes nine times as long
        total += values[i]
    return total


@jit
def _dense(labels, targets, shape):
    """The targets (n, n_out), which labels stand for as rows of the unit matrix."""
    if labels.size == 0:
        return targets
    dense = np.zeros(shape, targets.dtype)
    for i in range(len(labels)):
        dense[i, labels[i]] = 1
    return dense


@jit
def _link(loss):
    """The code of the link of a loss over single logits."""
    if loss == BINARY_CROSS_ENTROPY:
        return SIGMOID_LINK
    return EXP_LINK if loss in (POISSON, GAMMA, TWEEDIE) else IDENTITY_LINK


@jit
def loss_terms(loss, n_out):
    """What the reported loss of a row is divided by."""
    return n_out if loss == SQUARED_ERROR else 1


@jit
def n_classes(loss, n_out):
    """The number of classes that label smoothing shares its part of a target among: the binary cross-entropy's have two."""
    return 2 if loss == BINARY_CROSS_ENTROPY else n_out


@jit
def _target(labels, targets, i, c):
    """Element (i, c) of the targets, which labels stand for as rows of the unit matrix."""
    if labels.size:
        return targets.dtype.type(labels[i] == c)
    return targets[i, c]


@jit
def _weight(sample_weight, i):
    """The weight of row i."""
    return sample_weight[i] if sample_weight.size else sample_weight.dtype.type(1)

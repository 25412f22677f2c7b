"""Gradients of what an estimator for tables predicts with respect to the columns of the table."""

import numpy as np
from sklearn.base import is_classifier

from ..nn.evaluation import EVALUATION_ROWS
from ..preprocessing.frames import read_table
from ..threads import n_threads_of_call
from .input_pass import FLOPS_PER_WEIGHT, InputPass
from .outputs import number_of


def column_gradients(estimator, X, output):
    """The gradient, shape (n, n_features) float64, of one output of a fitted `BaseTabular`; see `input_gradients`."""
    classes = estimator.classes_ if is_classifier(estimator) else None
    chosen = number_of(output, classes, estimator.members_[0].sizes[-1])
    backward = _back_from_prediction if classes is None else _back_from_probability
    table = read_table(X, estimator, reset=False)
    rows, gradients = estimator._encode(table), np.zeros(table.shape)
    flops = FLOPS_PER_WEIGHT * estimator.members_[0].n_weights
    n_threads = n_threads_of_call(estimator.n_jobs, min(len(rows), EVALUATION_ROWS), flops)
    passes = [InputPass(network, n_threads) for network in estimator.members_]
    for start in range(0, len(rows), EVALUATION_ROWS):
        part = np.arange(start, min(start + EVALUATION_ROWS, len(rows)))
        wide = backward(estimator, passes, rows[part].toarray(), chosen)
        _add_columns(estimator.encoder_, table.take(part), wide, gradients[start : start + EVALUATION_ROWS])
    return gradients


def _back_from_probability(estimator, passes, x, chosen):
    """The gradient of the mean probability of a class by encoded rows."""
    n_classes = len(estimator.classes_)
    if n_classes == 1:  # its probability is 1
        return np.zeros(x.shape)
    mean = np.mean([through.forward(x) for through in passes], axis=0)
    doutputs = np.zeros_like(mean)
    if n_classes == 2:
        is_second = mean[:, 0] > 0.5 if chosen is None else chosen
        doutputs[:, 0] = np.where(is_second, 1, -1)
    else:
        doutputs[np.arange(len(x)), mean.argmax(axis=1) if chosen is None else chosen] = 1
    return np.mean([through.backward(doutputs) for through in passes], axis=0, dtype=np.float64)


def _back_from_prediction(estimator, passes, x, chosen):
    """The gradient of the mean prediction by encoded rows; a member's is 0 where it is clipped to the range of training data."""
    scale = estimator._scale
    low, high = scale.network_targets(np.stack([scale.lowest, scale.highest]))[:, chosen]
    unit = scale.highest[chosen] / (high - low) - scale.lowest[chosen] / (high - low) if high > low else 0.0
    gradients = []
    for through in passes:
        outputs = through.forward(x)
        doutputs = np.zeros_like(outputs)
        doutputs[:, chosen] = (outputs[:, chosen] >= low) & (outputs[:, chosen] <= high)
        gradients.append(through.backward(doutputs))
    return unit * np.mean(gradients, axis=0, dtype=np.float64)


def _add_columns(encoder, table, wide, gradients):
    """Add what each encoded feature brings to the gradient of its column."""
    start = 0
    for encoding in encoder.columns_:
        stop = start + encoding.n
        gradients[:, encoding.feature] += (wide[:, start:stop] * encoding.slopes(table)).sum(axis=1)
        start = stop

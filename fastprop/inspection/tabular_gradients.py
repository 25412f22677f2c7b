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
    views, gradients = estimator._encode(table), np.zeros(table.shape)
    flops = FLOPS_PER_WEIGHT * estimator.members_[0].n_weights
    n_threads = n_threads_of_call(estimator.n_jobs, min(len(table), EVALUATION_ROWS), flops)
    passes = [InputPass(network, n_threads) for network in estimator.members_]
    for start in range(0, len(table), EVALUATION_ROWS):
        part = np.arange(start, min(start + EVALUATION_ROWS, len(table)))
        x = [view[part].toarray() for view in views]
        of_members = backward(estimator, passes, [estimator._view(x, member) for member in range(len(passes))], chosen)
        for number, encoder in enumerate(estimator.encoders_):
            wide = sum(of_members[number :: len(views)])
            _add_columns(encoder, table.take(part), wide, gradients[start : start + EVALUATION_ROWS])
    return gradients


def _back_from_probability(estimator, passes, x, chosen):
    """The gradient of the mean probability of a class with respect to each member's encoded rows ``x``."""
    n_classes, weights = len(estimator.classes_), estimator.member_weights_
    if n_classes == 1:  # its probability is 1
        return [np.zeros(rows.shape) for rows in x]
    outputs = [through.forward(rows) for through, rows in zip(passes, x, strict=True)]
    mean, doutputs = np.average(outputs, axis=0, weights=weights), np.zeros_like(outputs[0])
    if n_classes == 2:
        is_second = mean[:, 0] > 0.5 if chosen is None else chosen
        doutputs[:, 0] = np.where(is_second, 1, -1)
    else:
        doutputs[np.arange(len(mean)), mean.argmax(axis=1) if chosen is None else chosen] = 1
    return [weight * through.backward(doutputs).astype(np.float64) for through, weight in zip(passes, weights, strict=True)]


def _back_from_prediction(estimator, passes, x, chosen):
    """The gradient of the mean prediction with respect to each member's encoded rows ``x``.

    A member's gradient is 0 where its prediction is clipped to the range of training data.
    """
    scale = estimator._scale
    low, high = scale.network_targets(np.stack([scale.lowest, scale.highest]))[:, chosen]
    unit = scale.highest[chosen] / (high - low) - scale.lowest[chosen] / (high - low) if high > low else 0.0
    gradients = []
    for through, rows, weight in zip(passes, x, estimator.member_weights_, strict=True):
        outputs = through.forward(rows)
        doutputs = np.zeros_like(outputs)
        doutputs[:, chosen] = (outputs[:, chosen] >= low) & (outputs[:, chosen] <= high)
        gradients.append(unit * weight * through.backward(doutputs).astype(np.float64))
    return gradients


def _add_columns(encoder, table, wide, gradients):
    """Add the contribution of each encoded feature to the gradient of its column."""
    start = 0
    for encoding in encoder.columns_:
        stop = start + encoding.n
        gradients[:, encoding.feature] += (wide[:, start:stop] * encoding.slopes(table)).sum(axis=1)
        start = stop

"""What `attribution` computes: gradients of a fitted estimator's outputs with respect to its inputs."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import roots_legendre
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import BaseMLP
from ..estimators.targets import decide
from ..kernels.checks import integer
from ..network import Network
from ..nn.evaluation import EVALUATION_ROWS, dense_rows, rows_of
from ..nn.parameter import real_numbers
from ..tabular.base import BaseTabular
from ..threads import n_threads_of_call
from ..training_set import aligned
from .fitted import own_estimator
from .input_pass import FLOPS_PER_WEIGHT, InputPass
from .outputs import number_of
from .tabular_gradients import column_gradients

MLPS = "an MLPClassifier, an MLPRegressor"
TABULAR = "a TabularClassifier, a TabularRegressor"


def gradients(estimator, X, output):
    """See `attribution.input_gradients`."""
    last = _last_step(estimator)
    if isinstance(last, BaseTabular):
        check_is_fitted(last)
        return column_gradients(last, _input_of_last_step(estimator, X), output)
    task = _Task.of(estimator, X, output, f"{MLPS}, {TABULAR}")
    found, through = np.empty(task.rows.shape, task.network.dtype), task.new_pass()
    for part, x in task.parts():
        found[part] = through.backward(task.output_gradient(through.forward(x)))
    return found


def integrated(estimator, X, output, baseline, n_steps):
    """See `attribution.integrated_gradients`."""
    n_steps = integer("n_steps", n_steps, 1)
    task = _Task.of(estimator, X, output)
    starts = _baselines(baseline, task.rows.shape, task.network.dtype)
    attributions, through = np.empty(task.rows.shape, task.network.dtype), task.new_pass()
    points, weights = roots_legendre(n_steps)  # on [-1, 1]
    for part, x in task.parts():
        doutputs, way, mean = task.output_gradient(through.forward(x)), x - starts[part], np.zeros_like(x)
        for t, weight in zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
            through.forward(starts[part] + t * way)
            mean += weight * through.backward(doutputs)
        attributions[part] = way * mean
    return attributions


class _Task(NamedTuple):
    """What is differentiated, and where.

    Parameters
    ----------
    estimator : BaseMLP
        fastprop's estimator; for a pipeline, its last step.
    network : Network
        Its network, in the dtype of the computation.
    rows : ndarray or csr_array, shape (n, n_features)
        The inputs of the network.
    chosen : int or None
        The index of the class, label or output; None for the class that is predicted.
    """

    estimator: BaseMLP
    network: Network
    rows: Any
    chosen: int | None

    @classmethod
    def of(cls, estimator, X, output, expected=MLPS):
        """The task for the arguments of `input_gradients`."""
        last = own_estimator(_last_step(estimator), f"estimator must be {expected}, or a Pipeline that ends in one")
        network = last._current_network()
        classes = last.classes_ if _has_classes(last) else None
        chosen = number_of(output, classes, network.sizes[-1], "a label" if last._is_classifier else "an output")
        network, rows = last._with_rows(network, _input_of_last_step(estimator, X))
        return cls(last, network, rows_of(rows, network.dtype), chosen)

    def new_pass(self):
        n_rows = min(self.rows.shape[0], EVALUATION_ROWS)
        n_threads = n_threads_of_call(self.estimator.n_jobs, n_rows, FLOPS_PER_WEIGHT * self.network.n_weights)
        return InputPass(self.network, n_threads)

    def parts(self):
        """Yield a slice, and the rows in it as a dense array; a part at a time, to bound the memory."""
        for start in range(0, self.rows.shape[0], EVALUATION_ROWS):
            part = slice(start, start + EVALUATION_ROWS)
            yield part, aligned(dense_rows(self.rows, part), self.network.dtype)

    def output_gradient(self, outputs):
        """The gradient of what was chosen for each row with respect to the network's outputs."""
        chosen = _predicted(self.estimator, outputs) if self.chosen is None else self.chosen
        doutputs = np.zeros_like(outputs)
        if _has_classes(self.estimator) and outputs.shape[1] == 1:
            doutputs[:, 0] = np.where(chosen, 1, -1)  # the probability of the second class; that of the first is 1 minus this
        else:
            doutputs[np.arange(len(outputs)), chosen] = 1
        return doutputs


def _last_step(estimator):
    """The estimator itself; for a pipeline, its last step."""
    return _last_step(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def _input_of_last_step(estimator, X):
    if not isinstance(estimator, Pipeline):
        return X
    before = estimator[:-1]
    return _input_of_last_step(estimator[-1], before.transform(X) if len(before) else X)


def _has_classes(estimator):
    """Whether the outputs are probabilities of classes, of which one is predicted."""
    return estimator._is_classifier and estimator._label_binarizer.y_type_ != "multilabel-indicator"


def _predicted(estimator, outputs):
    """The index of the class that is predicted for each row."""
    decision = decide(estimator._label_binarizer, outputs)
    return decision if decision.ndim == 1 else decision[:, -1].astype(np.intp)


def _baselines(baseline, shape, dtype):
    """The first point of each path, shape (n, n_features)."""
    if baseline is None:
        return np.broadcast_to(np.zeros(1, dtype), shape)
    given = real_numbers("baseline", baseline)
    if given.shape not in (shape, shape[1:]):
        raise ValueError(f"baseline must have shape {shape[1:]}, or {shape} for one for each row of X; got {given.shape}")
    if not np.isfinite(given).all():
        raise ValueError("baseline must be finite; it has NaN or infinity")
    return np.broadcast_to(given.astype(dtype), shape)

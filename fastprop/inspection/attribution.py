"""Gradients of what a fitted estimator predicts with respect to its inputs, at the rows of X or integrated along a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import roots_legendre
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..annotations import Floats, MatrixLike
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

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

MLPS = "an MLPClassifier, an MLPRegressor"
TABULAR = "a TabularClassifier, a TabularRegressor"


def input_gradients(estimator: BaseEstimator, X: MatrixLike, output: Any = None) -> Floats:
    """Gradient of one output of a fitted estimator with respect to its inputs, at each row of X.

    Outputs are those of ``predict_proba`` for a classifier and those of ``predict`` for a regressor. The gradient is exact, by
    backpropagation. At a kink it is what training takes there, such as 0 for ReLU at 0.

    Of an estimator for tables, it is the gradient of the members' mean by the table's columns, through the encoding: for a number,
    the derivative by its value, and 0 where it is missing. A category has no derivative. In its place is, to first order, how much
    the output changes from the average category of training data to that of the row; 0 for one that the encoder leaves out.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or Pipeline
        A fitted estimator, of a subclass or of scikit-learn's own class as well, or a pipeline that ends in one. In a pipeline, X
        goes through the steps before the last one, and the gradient is with respect to the inputs of the last step.
    X : array-like, frame or sparse matrix, shape (n, n_features)
        Where to differentiate; the same forms as for `predict`.
    output : class label or int, optional
        Which output to differentiate:

        * classifier: one of ``classes_``, for the probability of this class. None is the class predicted for each row, also where
          there are only two.
        * classifier of several labels (multilabel): the number of a label, from 0. None is an error.
        * regressor: the number of an output, from 0. None is the only output, and an error if there are several. With a list of
          quantiles, it is the network's own output for the quantile of this number, before `predict` sorts them.

    Returns
    -------
    ndarray, shape (n, n_features)
        Row i holds the derivatives of the output for row i by each of its features, in the units of the output by those of the
        feature; for a category, in the units of the output. Float32 if X and the weights are, else float64; float64 for a table.
        Dense for sparse X. For a pipeline, n_features is the number of columns that go into the last step.

    Raises
    ------
    TypeError
        If the estimator is none of these.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If there is no such output, or `predict` would not take X.

    References
    ----------
    Simonyan, Vedaldi, Zisserman, *Deep inside convolutional networks: visualising image classification models and saliency maps*
    (2014), section 3.

    Examples
    --------
    >>> from fastprop import MLPRegressor
    >>> from fastprop.inspection import input_gradients
    >>> X, y = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1.0, 3.0, 0.0]  # y = 1 + 2 x_0 - x_1
    >>> plane = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, random_state=0).fit(X, y)
    >>> input_gradients(plane, [[5.0, 7.0]]).round(3)
    array([[ 2., -1.]])
    """
    last = _last_step(estimator)
    if isinstance(last, BaseTabular):
        check_is_fitted(last)
        return column_gradients(last, _input_of_last_step(estimator, X), output)
    task = _Task.of(estimator, X, output, f"{MLPS}, {TABULAR}")
    gradients, through = np.empty(task.rows.shape, task.network.dtype), task.new_pass()
    for part, x in task.parts():
        gradients[part] = through.backward(task.output_gradient(through.forward(x)))
    return gradients


def integrated_gradients(
    estimator: BaseEstimator, X: MatrixLike, output: Any = None, *, baseline: ArrayLike | None = None, n_steps: int = 50
) -> Floats:
    """Integrated gradients: how much each feature contributes to the change of an output from a baseline to each row of X.

    ``(x - baseline) * (integral over t from 0 to 1 of the gradient of f at baseline + t (x - baseline))``, where f is the output.
    The attributions of a row sum up to ``f(x) - f(baseline)`` (completeness), up to the error of the numerical integral.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        As in `input_gradients`. In a pipeline, the path is in the space of the last step's inputs.
    X : array-like, frame or sparse matrix, shape (n, n_features)
        The rows to explain; the same forms as for `predict`.
    output : class label or int, optional
        As in `input_gradients`. For a classifier, None is the class predicted for the row of X, on the whole path.
    baseline : array-like, shape (n_features,) or (n, n_features), optional
        Where the paths begin: one point for all rows, or one for each. The default is 0, which is the mean of the training data
        where the step before is a `StandardScaler`.
    n_steps : int, default=50
        Number of points on each path, at least 1, for the Gauss-Legendre rule. The error falls exponentially with it for smooth
        activations, and about as 1 / n_steps for ReLU. Each point takes a forward and a backward pass of all rows.

    Returns
    -------
    ndarray, shape (n, n_features)
        The attribution of each feature, in the units of the output: probabilities of a classifier. The dtype and the columns are
        those of `input_gradients`.

    Raises
    ------
    TypeError
        If the estimator is none of these, the baseline is not of real numbers, or n_steps is no integer.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If there is no such output, `predict` would not take X, the baseline is not finite or has another shape, or n_steps is
        below 1.

    References
    ----------
    Sundararajan, Taly, Yan, *Axiomatic attribution for deep networks* (2017), equation 1 and proposition 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import MLPClassifier
    >>> from fastprop.inspection import integrated_gradients
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier((5,), "tanh", solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0).fit(X, y)
    >>> attributions = integrated_gradients(classifier, X, output=2, baseline=X.mean(axis=0))
    >>> change = classifier.predict_proba(X)[:, 2] - classifier.predict_proba([X.mean(axis=0)])[:, 2]
    >>> np.allclose(attributions.sum(axis=1), change, atol=1e-4)
    True
    """
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
        The estimator of fastprop's, the last step of a pipeline.
    network : Network
        Its network, in the dtype of the computation.
    rows : ndarray or csr_array, shape (n, n_features)
        What goes into it.
    chosen : int or None
        The number of the class, the label or the output; None for the class that is predicted.
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
        """Yield where some rows are, and these as a dense array: not all at a time, which bounds the memory."""
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
    """An estimator itself, of a pipeline its last step."""
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
    """The number of the class that is predicted for each row."""
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

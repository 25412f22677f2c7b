"""Gradients of what a fitted estimator predicts with respect to its inputs, at the rows of X or integrated along a path.

How they are computed is in `attribution_task`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ..annotations import Floats, MatrixLike

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def input_gradients(estimator: BaseEstimator, X: MatrixLike, output: Any = None) -> Floats:
    """Gradient of one output of a fitted estimator with respect to its inputs, at each row of X.

    Outputs are those of ``predict_proba`` for a classifier and those of ``predict`` for a regressor. The gradient is exact, by
    backpropagation. At a kink it has the value that training uses there, such as 0 for ReLU at 0.

    For an estimator for tables, it is the gradient of the members' mean with respect to the table's columns, through the encoding.
    For a number, it is the derivative with respect to its value, and 0 where it is missing. A category has no derivative; in its
    place is, to first order, how much the output changes from the average category of the training data to the row's category,
    and 0 for a category that the encoder leaves out.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or Pipeline
        A fitted estimator, also of a subclass or of scikit-learn's own class, or a pipeline that ends in one. In a pipeline, X
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
        Row i holds the derivatives of the output for row i with respect to its features, in units of the output per unit of the
        feature; for a category, in units of the output. Float32 if X and the weights are, else float64; float64 for a table. The
        array is dense, also for sparse X. For a pipeline, n_features is the number of columns that go into the last step.

    Raises
    ------
    TypeError
        If the estimator is none of these.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If there is no such output, or if `predict` would not accept X.

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
    from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
    from .attribution_task import gradients

    return gradients(estimator, X, output)


def integrated_gradients(
    estimator: BaseEstimator, X: MatrixLike, output: Any = None, *, baseline: ArrayLike | None = None, n_steps: int = 50
) -> Floats:
    """Integrated gradients: how much each feature contributes to the change of an output from a baseline to each row of X.

    They are ``(x - baseline) * (integral over t from 0 to 1 of the gradient of f at baseline + t (x - baseline))``, where f is the
    output. The attributions of a row sum up to ``f(x) - f(baseline)`` (completeness), up to the error of the numerical integral.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        As in `input_gradients`. In a pipeline, the path is in the space of the last step's inputs.
    X : array-like, frame or sparse matrix, shape (n, n_features)
        The rows to explain; the same forms as for `predict`.
    output : class label or int, optional
        As in `input_gradients`. For a classifier, None is the class predicted for the row of X, which is kept along the whole path.
    baseline : array-like, shape (n_features,) or (n, n_features), optional
        Starting point of the paths: one for all rows, or one for each. The default is 0, which is the mean of the training data if
        the step before is a `StandardScaler`.
    n_steps : int, default=50
        Number of points on each path, at least 1, for Gauss-Legendre quadrature. The error falls exponentially with it for smooth
        activations, and about as 1 / n_steps for ReLU. Each point takes a forward and a backward pass of all rows.

    Returns
    -------
    ndarray, shape (n, n_features)
        The attribution of each feature, in the units of the output: probabilities of a classifier. The dtype and the columns are
        those of `input_gradients`.

    Raises
    ------
    TypeError
        If the estimator is none of these, if baseline does not hold real numbers, or if n_steps is not an integer.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If there is no such output, if `predict` would not accept X, if baseline is not finite or has another shape, or if n_steps
        is below 1.

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
    from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
    from .attribution_task import integrated

    return integrated(estimator, X, output, baseline, n_steps)

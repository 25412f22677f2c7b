"""How much an estimator's predictions lose with fewer bits."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..annotations import ArrayLike
from ..tables import NamedRows, Table

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


class PrecisionScore(NamedTuple):
    """One row of the table of `compare_precisions`.

    Parameters
    ----------
    name : {'float64', 'float32', 'bfloat16', 'int8'}
        The precision.
    score : float
        The estimator's ``score`` with these predictions: accuracy, or R².
    lost : float
        How much lower the score is than with the precision of the weights.
    difference : float
        The largest difference of an output, such as a probability, from the output with the precision of the weights.

    Examples
    --------
    >>> from fastprop.inspection import PrecisionScore
    >>> PrecisionScore("int8", score=0.96, lost=0.01, difference=0.05).lost
    0.01
    """

    name: str
    score: float
    lost: float
    difference: float


class PrecisionComparison(NamedRows[PrecisionScore]):
    """The result of `compare_precisions`: a row for each precision. It prints as a table.

    Parameters
    ----------
    rows : list of PrecisionScore
        The rows, the precision with the most bits first.

    Examples
    --------
    >>> from fastprop.inspection import PrecisionComparison, PrecisionScore
    >>> rows = [PrecisionScore("float32", 0.97, 0.0, 0.0), PrecisionScore("int8", 0.96, 0.01, 0.05)]
    >>> PrecisionComparison(rows)["int8"].score
    0.96
    """

    _lookup = "precision"

    def __init__(self, rows: list[PrecisionScore]) -> None:
        self.rows = rows

    def _table(self) -> Table:
        head = ("precision", "score", "lost", "largest difference")
        return Table(head, [(r.name, f"{r.score:.4f}", f"{r.lost:+.4f}", f"{r.difference:.2g}") for r in self.rows], "<>>>")


def compare_precisions(
    estimator: BaseEstimator, X: ArrayLike, y: ArrayLike, calibration: ArrayLike | None = None
) -> PrecisionComparison:
    """Compare the predictions of a fitted estimator in float32, bfloat16 and 8-bit integers with its own predictions.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        A fitted estimator, also one of scikit-learn's own class.
    X : array-like, shape (n, n_features)
        Rows to predict, in the form that the estimator takes; preferably rows that it was not fitted on. Not sparse.
    y : array-like
        Targets of X, as for ``estimator.score``.
    calibration : array-like, shape (n_rows, n_features), optional
        Training data for the ranges of int8; see ``estimator.predictor``.

    Returns
    -------
    PrecisionComparison
        A row for the dtype of the weights, and one for each precision with fewer bits.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastprop import MLPClassifier
    >>> from fastprop.inspection import compare_precisions
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = MLPClassifier(max_iter=20, tol=1e9, random_state=0).fit(X[:1500], y[:1500])
    >>> comparison = compare_precisions(classifier, X[1500:], y[1500:], calibration=X[:1500])
    >>> abs(comparison["int8"].lost) < 0.02
    True
    """
    from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
    from .fitted import own_estimator

    estimator = own_estimator(estimator, "estimator must be an MLPClassifier or an MLPRegressor")
    network, rows = estimator._with_rows(estimator._current_network(), X)
    if not isinstance(rows, np.ndarray):
        raise TypeError("X must be dense: predictors read no sparse rows")
    expected = network.forward(rows)
    reference = _score(estimator, X, y, expected)
    found = [PrecisionScore(network.dtype.name, reference, 0.0, 0.0)]
    single, narrow = np.ascontiguousarray(rows, np.float32), network.astype(np.float32)
    options = {"float32": {}, "bfloat16": {"precision": "bfloat16"}, "int8": {"precision": "int8", "calibration": calibration}}
    for name, option in options.items():
        if name == network.dtype.name:
            continue
        outputs = np.empty(expected.shape, np.float32)
        narrow.predictor(single, outputs, **option)()
        score = _score(estimator, X, y, outputs)
        found.append(PrecisionScore(name, score, reference - score, float(np.abs(outputs - expected).max())))
    return PrecisionComparison(found)


def _score(estimator, X, y, outputs):
    """The estimator's own score, if its network had these outputs for X."""
    with_outputs = copy.copy(estimator)
    with_outputs._outputs = lambda X: outputs
    return float(with_outputs.score(X, y))

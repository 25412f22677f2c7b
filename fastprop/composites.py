"""`to_sklearn` for pipelines, searches, ensembles and other objects with fastprop's estimators inside.

A composite is copied with `copy.deepcopy`, which reaches everything inside it, and copies a shared object only once. The copy has
scikit-learn's estimators in the place of fastprop's.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from .estimators.interop import SHARED, replaced_in_copies
from .tabular.base import BaseTabular


def to_sklearn(obj: Any) -> Any:
    """Copy an estimator, with scikit-learn's own classes in place of fastprop's.

    Parameters
    ----------
    obj : estimator, or list, tuple or dict of estimators
        Fitted or not: one of fastprop's estimators, or an object that contains some, at any depth: a pipeline, a column
        transformer, a search, an ensemble, another meta-estimator, or the dict that `sklearn.model_selection.cross_validate`
        returns. Not changed.

    Returns
    -------
    object of the same type
        A deep copy. Each of fastprop's estimators is replaced by the result of its method ``to_sklearn()``, which makes the same
        predictions up to rounding and can be trained further. An estimator that occurs in several places is still one object. As
        in the method, callbacks are shared with the original. Without fastprop's estimators inside, the result is just a copy.

    Raises
    ------
    TypeError
        If ``obj`` is of another kind; if scikit-learn's class cannot represent an estimator inside it, for example one with an
        activation of your own; or if scikit-learn has no such estimator, as for `TabularClassifier` and `TabularRegressor`. The
        message says where the estimator is.

    Notes
    -----
    Only estimators are replaced. If a search tries values of a parameter that scikit-learn's class does not have, such as
    ``n_jobs``, its copy predicts but cannot be fitted again.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import fastprop
    >>> X, y = load_iris(return_X_y=True)
    >>> network = fastprop.MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0)
    >>> theirs = fastprop.to_sklearn(make_pipeline(StandardScaler(), network).fit(X, y))
    >>> type(theirs[-1]).__module__
    'sklearn.neural_network._multilayer_perceptron'
    >>> theirs.predict(X[:3])
    array([0, 0, 0])
    """
    if isinstance(obj, type) or not (isinstance(obj, list | tuple | dict) or hasattr(obj, "get_params")):
        given = f"the class {obj.__name__}" if isinstance(obj, type) else f"an object of type {type(obj).__name__}"
        raise TypeError(f"obj must be an estimator, or a list, tuple or dict of estimators; got {given}")
    _refuse_estimators_for_tables(obj)
    memo = {id(part): part for place, part in _parts(obj) if place.endswith(SHARED)}
    converted = []  # keeps them alive, so that no other object gets the id of one

    def replacement(estimator):
        if id(estimator) in memo:  # some parts, such as masked arrays, are copied with a memo of their own
            return memo[id(estimator)]
        converted.append(estimator)
        try:
            return estimator._to_sklearn(memo)
        except TypeError as error:
            raise TypeError(f"{error}{_place(estimator, obj)}") from error

    with replaced_in_copies(replacement):
        return copy.deepcopy(obj, memo)


def _refuse_estimators_for_tables(obj):
    for place, part in _parts(obj):
        if isinstance(part, BaseTabular):
            where = f"; it is obj{place}" if place else ""
            raise TypeError(f"scikit-learn has no estimator like {type(part).__name__}{where}")


def _place(estimator, obj):
    """Where an estimator is inside ``obj``, for a message; empty if it is ``obj`` itself or if `_parts` does not reach it."""
    places = (place for place, part in _parts(obj) if part is estimator and place)
    return next((f"; it is obj{place}" for place in places), "")


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """(place, object) of an object and all that attributes and containers reach from it, each once, the nearest first."""
    queue, seen = deque([("", obj)]), set()
    while queue:
        place, part = queue.popleft()
        if id(part) not in seen:
            seen.add(id(part))
            yield place, part
            queue.extend((place + step, inner) for step, inner in _steps(part))


def _steps(part):
    if isinstance(part, dict):
        return [(f"[{key!r}]", inner) for key, inner in part.items()]
    if isinstance(part, list | tuple):
        return [(f"[{i}]", inner) for i, inner in enumerate(part)]
    if isinstance(part, np.ndarray):
        return [(str(list(i)), inner) for i, inner in np.ndenumerate(part)] if part.dtype == object else []
    if isinstance(part, type | ModuleType):
        return []
    return [(f".{name}", inner) for name, inner in getattr(part, "__dict__", {}).items()]

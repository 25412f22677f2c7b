"""Several fits to the same data: `fit_many` opens a block, in which the data are checked and converted once for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from typing import Any

# The attributes that checking data sets
ATTRIBUTES = ("n_features_in_", "feature_names_in_", "_label_binarizer", "classes_")


class _SameData:
    def __init__(self, X, y):
        self.X, self.y = X, y
        self.lock = threading.RLock()  # reentrant: a check may call a user's code that fits another estimator
        self.checked = {}


_here: ContextVar[_SameData | None] = ContextVar("fastprop.same_data", default=None)


@contextmanager
def same_data(X: Any, y: Any) -> Iterator[None]:
    """A block of code in which fits to these very objects share `checked_once`, also in threads that copy its context."""
    token = _here.set(_SameData(X, y))
    try:
        yield
    finally:
        _here.reset(token)


def checked_once(estimator: Any, X: Any, y: Any, check: Callable[[Any, Any], tuple[Any, Any]]) -> tuple[Any, Any]:
    """``check(X, y)``, which depends only on the data, the estimator's class and its `_targets_key`, and sets `ATTRIBUTES`.

    For the data of `same_data` it is called once; the other estimators get the same arrays, which nobody writes to, and copies of
    the attributes.
    """
    shared = _here.get()
    if shared is None or X is not shared.X or y is not shared.y:
        return check(X, y)
    key, own = (type(estimator), estimator._targets_key()), vars(estimator)
    with shared.lock:
        if key not in shared.checked:
            checked = check(X, y)
            shared.checked[key] = checked, deepcopy({name: own[name] for name in ATTRIBUTES if name in own})
            return checked
    checked, attributes = shared.checked[key]
    for name in ATTRIBUTES:
        own.pop(name, None)
    own.update(deepcopy(attributes))
    return checked

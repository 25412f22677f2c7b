"""`fit_many`, which fits several small models at once."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np

from .annotations import ArrayLike, MatrixLike
from .collective.context import refuse
from .interrupts import check, interruptible
from .same_data import same_data
from .threadpool import limited
from .threads import effective_n_threads

Estimator = TypeVar("Estimator")

# The main thread waits this many seconds at a time: on Windows, Ctrl-C does not interrupt a wait without a time limit.
PATIENCE = 0.2


def fit_many(
    estimators: Iterable[Estimator],
    X: MatrixLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> list[Estimator]:
    """Fit several estimators to the same data, as many at a time as there are cores, each on one thread.

    A small network cannot use several threads well, but several small networks can: with different seeds, parameters or sizes. X
    and y are checked and converted once for all `MLPClassifier`, and once for all `MLPRegressor` with the same loss and number of
    quantiles; each estimator for tables reads them itself. The shorter the fits, the more the threads wait for Python's global
    interpreter lock.

    Each estimator with a ``random_state`` gets the same weights, bit for bit, as alone with ``n_jobs=1``. The fits run in threads
    of this process, so nothing is copied or pickled.

    Parameters
    ----------
    estimators : iterable of estimators
        Fitted in place: `MLPClassifier`, `MLPRegressor`, `TabularClassifier` and `TabularRegressor`, subclasses of your own, or a
        Pipeline that ends with one. Other estimators are fitted, too, but their Python code keeps the threads from running at the
        same time. Two estimators must not share an estimator or a random state.
    X : array-like or SciPy sparse matrix, shape (n_samples, n_features)
        As ``fit`` takes it.
    y : array-like
        As ``fit`` takes it.
    sample_weight : array-like, shape (n_samples,), optional
        As ``fit`` takes it; not passed on if it is None.
    n_jobs : int, optional
        How many are fitted at a time. None or -1: as many as there are cores; -2: all cores but one. Never more than a limit of
        threadpoolctl. The estimators' own ``n_jobs`` has no effect here and does not change.

    Returns
    -------
    list of estimators
        The given estimators, in their order.

    Raises
    ------
    ValueError
        If an estimator is given twice, or two share an estimator or a random state; nothing is fitted then.
    Exception
        The error of a ``fit``, the first one in the order of the estimators. After an error no further fit begins, and the error is
        raised when the running fits have ended.
    KeyboardInterrupt
        After Ctrl-C, when the running fits have stopped. What they learned so far is kept, as after Ctrl-C in ``fit``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import MLPClassifier, fit_many
    >>> X, y = load_iris(return_X_y=True)
    >>> models = fit_many([MLPClassifier((5,), max_iter=1000, tol=1e-2, random_state=seed) for seed in range(3)], X, y)
    >>> [model.classes_.tolist() for model in models]
    [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    """
    from .needs_scikit_learn import sklearn

    refuse("fit_many")
    estimators = list(estimators)
    _check_apart(estimators)
    n_at_a_time = min(len(estimators), effective_n_threads(n_jobs))
    if not estimators:
        return estimators
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    stop, interrupted = threading.Event(), threading.Event()
    running, changed = [], threading.Condition()
    config = sklearn.get_config()  # of this thread; other threads do not have it

    def fit(estimator):
        with changed:
            if stop.is_set():
                return
            running.append(None)
        try:
            with interruptible(interrupted), limited(1), sklearn.config_context(**config):
                estimator.fit(X, y, **options)
                check()
        except BaseException:
            stop.set()
            raise
        finally:
            with changed:
                running.pop()
                changed.notify_all()

    with same_data(X, y), ThreadPoolExecutor(n_at_a_time, "fastprop.fit_many") as pool:
        try:
            fits = [pool.submit(contextvars.copy_context().run, fit, estimator) for estimator in estimators]
            _wait(fits)
        except BaseException:
            # If the start of a thread was interrupted, the pool does not know that thread, so the pool cannot be used to wait here.
            with changed:
                stop.set()
                interrupted.set()
                changed.wait_for(lambda: not running)
            raise
    for each in fits:
        each.result()
    return estimators


def _wait(fits: list[Future[None]]) -> None:
    running = set(fits)
    while running:
        check()
        _, running = wait(running, PATIENCE, FIRST_EXCEPTION)


def _check_apart(estimators: list[Any]) -> None:
    """Raise an error if two estimators share something that a fit changes."""
    owners: dict[int, int] = {}
    for i, estimator in enumerate(estimators):
        if not hasattr(estimator, "fit") or isinstance(estimator, type):
            raise TypeError(f"estimator {i} must have a method fit; got {estimator!r}")
        parts = estimator.get_params().values() if hasattr(estimator, "get_params") else ()
        for part in {id(part): part for part in (estimator, *parts)}.values():
            is_state = isinstance(part, (np.random.RandomState, np.random.Generator))
            if part is not estimator and not is_state and (isinstance(part, type) or not hasattr(part, "get_params")):
                continue
            other = owners.setdefault(id(part), i)
            if part is estimator and other != i:
                raise ValueError(f"estimator {i} is the same object as estimator {other}, or is inside it: make a clone")
            if other != i:
                what = "random state" if is_state else "estimator"
                raise ValueError(f"estimators {other} and {i} share the {what} {part!r}: give each its own")

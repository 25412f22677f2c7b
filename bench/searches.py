"""Contests of whole searches for hyperparameters, in threads or processes."""

import importlib
import warnings

import joblib
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV

from .contest import Outcome
from .rounds import seconds_of, take_turns
from .workloads import digits


def search(module, backend, n_jobs):
    """The best score of a small grid on digits; imported by the process that runs it."""
    estimator = importlib.import_module(module).MLPClassifier(max_iter=20, random_state=0)
    grid = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2], "hidden_layer_sizes": [(50,), (100,)]}
    with warnings.catch_warnings(), joblib.parallel_config(backend):
        warnings.simplefilter("ignore")  # that it did not converge
        return GridSearchCV(estimator, grid, cv=2, n_jobs=n_jobs, refit=False).fit(*digits("float64")).best_score_


def time_searches(backend, n_jobs, names, effort):
    """Seconds of a search with so many jobs by the estimators named; outcome as of `training.time_epochs`."""
    modules = {"fastprop": "fastprop", "scikit-learn": "sklearn.neural_network"}
    expected, outcome = search(modules["scikit-learn"], backend, n_jobs), Outcome()
    for name in names:
        score = search(modules[name], backend, n_jobs)
        outcome.wrong[name] = None if abs(score - expected) <= 1e-3 else f"best score {score:.4f}, scikit-learn's {expected:.4f}"
    turns = {name: (lambda m=modules[name]: seconds_of(search, m, backend, n_jobs)) for name in names if not outcome.wrong[name]}
    outcome.samples = take_turns(turns, effort.budget, effort.min_rounds, effort.max_rounds)
    if backend == "loky":
        # Its workers live on for five minutes, for which the end of this process would wait.
        get_reusable_executor().shutdown(wait=True)
    return outcome

"""Contests on tables: each contender learns each split once; what it predicts, and the CPU time of `fit` and `predict`."""

import time
import warnings
from functools import cache, partial

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

from fastprop import kernels

from .agreement import assert_agrees
from .contest import Outcome
from .rounds import take_turns
from .tabular_contenders import TABLE_CONTENDERS, Accurate
from .tabular_data import problem_named

CHECKED_ROWS, CHECKED_EPOCHS = 400, 2
TOLERANCE = 1e-4  # float32 against float64, relative to the largest number
# On small tables of scikit-learn each contender is run before anything is timed: imports and compilation are no part of a fit.
WARM_UP = {True: "wine", False: "diabetes"}


def time_table(table, folder, n_splits, contenders):
    """What contenders predict on a table, and how long they take.

    Parameters
    ----------
    table : str
        A name of `tabular_data.TABLES`, or of a file in ``folder``.
    folder : str or None
    n_splits : int
        Number of random splits into 60 % for training, 20 % for validation and 20 % for testing.
    contenders : list of str
        Names of `TABLE_CONTENDERS`.

    Returns
    -------
    Outcome
        Samples are CPU seconds, one for each split; facts are scores by measure and split, and what the table is.
    """
    warnings.simplefilter("ignore")  # that a fit did not converge, or a category is unknown
    problem, outcome = problem_named(table, folder), Outcome()
    splits = [split(problem, seed) for seed in range(n_splits)]
    scores = {name: [] for name in contenders}
    for name in contenders:
        try:
            warm_up(name, problem.is_classification)
            if issubclass(TABLE_CONTENDERS[name], Accurate):
                check_members(TABLE_CONTENDERS[name](problem.is_classification), problem)
        except Exception as error:  # one library's failure must not take the others along
            outcome.wrong[name] = f"{type(error).__name__}: {error}"
    turns = {name: partial(_turn, name, problem, splits, scores[name], outcome) for name in contenders if name not in outcome.wrong}
    samples = take_turns(turns, 0, n_splits, n_splits) if turns else {}
    outcome.samples = {name: seconds for name, seconds in samples.items() if name not in outcome.wrong}
    n_test = sum(len(y) for *_, y in splits)
    for name in outcome.samples:
        by_measure = {measure: [of_split[measure] for of_split in scores[name]] for measure in scores[name][0]}
        outcome.facts[name] = {"is_classification": problem.is_classification, "n_rows": len(problem.y), "n_test": n_test}
        outcome.facts[name] |= {"scores": by_measure, "cpu": outcome.samples[name]}
    return outcome


def split(problem, seed):
    """(X, y, X_val, y_val, X_test, y_test), each class in proportion."""

    def halves(X, y, test_size):
        return train_test_split(X, y, test_size=test_size, random_state=seed, stratify=y if problem.is_classification else None)

    X, X_rest, y, y_rest = halves(problem.X, problem.y, 0.4)
    X_val, X_test, y_val, y_test = halves(X_rest, y_rest, 0.5)
    return X, y, X_val, y_val, X_test, y_test


def _turn(name, problem, splits, scores, outcome):
    """The seconds of the next split, whose scores are added."""
    *given, X_test, y_test = splits[len(scores)]
    try:
        seconds, predicted = fit_and_predict(TABLE_CONTENDERS[name](problem.is_classification), given, X_test)
        scores.append(scored(problem.is_classification, y_test, predicted))
    except Exception as error:
        outcome.wrong[name] = f"{type(error).__name__}: {error}"
        scores.append({})
        return 0.0
    return seconds


def fit_and_predict(contender, given, X_test):
    """(CPU seconds of all threads, what it predicts)"""
    start = time.process_time()
    contender.fit(*given)
    predicted = contender.predict(X_test)
    return time.process_time() - start, predicted


def scored(is_classification, y, predicted):
    """The measures, of which lower is better, of predictions that must have the right shape and be finite."""
    predicted = np.asarray(predicted, np.float64)
    n_classes = y.max() + 1 if is_classification else None
    shape = (len(y), n_classes) if is_classification else (len(y),)
    if predicted.shape != shape or not np.isfinite(predicted).all():
        raise AssertionError(
            f"predicted {predicted.shape}, {np.isfinite(predicted).mean():.0%} finite; must be {shape}, all finite"
        )
    if not is_classification:
        return {"RMSE": float(root_mean_squared_error(y, predicted))}
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-4)
    predicted = np.clip(predicted, 1e-15, 1)
    predicted /= predicted.sum(axis=1, keepdims=True)
    auc = roc_auc_score(y, predicted[:, 1]) if n_classes == 2 else roc_auc_score(y, predicted, multi_class="ovr")
    error = 1 - accuracy_score(y, predicted.argmax(axis=1))
    return {"error": float(error), "log-loss": float(log_loss(y, predicted)), "1 - AUC": float(1 - auc)}


@cache
def warm_up(name, is_classification):
    """Run a contender once in this process, and see that it predicts."""
    problem = problem_named(WARM_UP[is_classification])
    *given, X_test, y_test = split(problem, 0)
    scored(is_classification, y_test, fit_and_predict(TABLE_CONTENDERS[name](is_classification), given, X_test)[1])


def check_members(contender, problem):
    """Fail where bits depend on the number of threads, or a member on encoded rows is not the reference's on the wide matrix."""
    n_rows, options = len(problem.y), {"n_members": 4, "max_iter": CHECKED_EPOCHS}
    rows = np.arange(n_rows)
    if n_rows > CHECKED_ROWS:
        classes = problem.y if problem.is_classification else None
        rows = train_test_split(rows, train_size=CHECKED_ROWS, random_state=0, stratify=classes)[0]
    X, y = problem.X.iloc[rows], problem.y[rows]
    models = [contender.make(n_jobs=n_jobs, **options).fit(X, y) for n_jobs in (1, 2)]
    for one, two in zip(*(model.members_ for model in models), strict=True):
        np.testing.assert_array_equal(one.params, two.params, err_msg="1 and 2 threads")
    for member, network in enumerate(models[0].members_):
        encoder = models[0].encoders_[member % len(models[0].encoders_)]
        check_network(network, encoder.encode(X), models[0]._network_targets(y))


def check_network(network, rows, targets):
    """Outputs, loss and gradient of a network on encoded rows, against the reference back end in float64 on the wide matrix."""
    reference, params = kernels.load("reference"), network.params.astype(np.float64)
    wide = rows.astype(np.float64).toarray()
    given = targets if targets.dtype == np.intp else targets.reshape(len(wide), -1).astype(np.float64)
    assert_agrees(network.forward(rows), reference.network_forward(wide, network.layers, params), TOLERANCE)
    loss, gradient = network.loss_gradient(network.training_set(rows, targets))
    expected = reference.network_loss_gradient(wide, given, network.layers, params, network.loss)
    np.testing.assert_allclose(loss, expected[0], rtol=TOLERANCE)
    assert_agrees(gradient, expected[1], TOLERANCE)

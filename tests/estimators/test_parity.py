"""The estimators against scikit-learn's own classes: the same weights, losses, scores, and position of the random stream."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastprop

TARGETS = ["binary", "multiclass", "multilabel", "one output", "two outputs", "poisson"]
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
SOLVERS = ["adam", "sgd", "lbfgs"]
BASE = {"hidden_layer_sizes": (9, 5), "batch_size": 32, "max_iter": 25, "alpha": 0.01}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.fixture
def check(data, pair, assert_same, tolerance):
    """check(target, weighted, dtype, **parameters): fit both, compare what they learnt, predict, and the random stream."""

    def check(target, weighted=False, dtype="float64", n_samples=90, **parameters):
        X, y = data(target, n_samples=n_samples, dtype=dtype)
        sample_weight = np.random.default_rng(1).uniform(0.1, 3, n_samples) if weighted else None
        allowed = tolerance[dtype]
        streams = np.random.RandomState(5), np.random.RandomState(5)
        estimators = pair(target, **BASE | parameters)
        for estimator, stream in zip(estimators, streams, strict=True):
            estimator.set_params(random_state=stream).fit(X, y, sample_weight)
        ours, theirs = estimators
        assert_same(ours, theirs, allowed)
        for a, b in zip(streams[0].get_state(), streams[1].get_state(), strict=True):
            np.testing.assert_array_equal(a, b)
        _compare_predictions(ours, theirs, X, allowed)
        return ours, theirs

    return check


def _compare_predictions(ours, theirs, X, tolerance):
    if hasattr(theirs, "classes_"):
        a, b = ours.predict_proba(X), theirs.predict_proba(X)
        np.testing.assert_array_equal(ours.predict(X)[_decided(b)], theirs.predict(X)[_decided(b)])
    else:
        a, b = ours.predict(X), theirs.predict(X)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance * np.abs(b).max())


def _decided(probabilities):
    """The rows whose decision does not hang on rounding."""
    top = np.sort(probabilities, axis=1)
    return (np.abs(probabilities - 0.5) > 1e-3).all(axis=1) & (top[:, -1] - top[:, -2] > 1e-3)


@pytest.mark.pairwise
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_trajectory(check, target, activation, solver, weighted):
    rate = 0.01 if solver == "sgd" else 0.001
    check(target, weighted, activation=activation, solver=solver, learning_rate_init=rate)


@pytest.mark.pairwise
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping(check, target, solver, weighted):
    check(
        target, weighted, solver=solver, early_stopping=True, validation_fraction=0.2, n_iter_no_change=3, learning_rate_init=0.01
    )


@pytest.mark.pairwise
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("momentum", [{"momentum": 0}, {"momentum": 0.5}, {"nesterovs_momentum": False}], ids=str)
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_schedule(check, schedule, momentum, early_stopping):
    options = {"learning_rate": schedule, "learning_rate_init": 0.02, "power_t": 0.3, "tol": 0.01, "n_iter_no_change": 1}
    ours, theirs = check("multiclass", solver="sgd", early_stopping=early_stopping, max_iter=40, **options, **momentum)
    assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate


@pytest.mark.pairwise
@pytest.mark.parametrize("n_samples", [30, 90])
@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 29, 30])
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_batches(check, target, n_samples, batch_size, shuffle):
    check(target, n_samples=n_samples, batch_size=batch_size, shuffle=shuffle, max_iter=6)


@pytest.mark.pairwise
@pytest.mark.parametrize("sizes", [(), [], 4, (1,), (3, 1, 2, 5), range(2, 4), np.array([6])], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_hidden_layers(check, sizes, solver):
    check("multiclass", hidden_layer_sizes=sizes, solver=solver)
    check("two outputs", hidden_layer_sizes=sizes, solver=solver)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0},
        {"alpha": 10.0},
        {"beta_1": 0, "beta_2": 0},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"tol": 0.05, "n_iter_no_change": 2, "max_iter": 60},
        {"n_iter_no_change": np.inf},
        {"max_iter": 1},
    ],
    ids=str,
)
def test_adam_options(check, parameters):
    check("multiclass", solver="adam", **parameters)


@pytest.mark.pairwise
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_float32(check, target, activation, solver, weighted):
    """With lbfgs, the same path is promised until a line search decides by rounding errors: it may take another point, from which
    the path goes elsewhere. In float32 this happens from the third iteration on, with some versions of SciPy and BLAS."""
    max_iter = 2 if solver == "lbfgs" else 10
    check(target, weighted, dtype="float32", activation=activation, solver=solver, max_iter=max_iter)


def test_the_default_learning_rate_for_200_epochs(check):
    check("multiclass", hidden_layer_sizes=(20,), max_iter=200, tol=0)


@pytest.fixture(scope="module")
def digits():
    """Both classes after 100 epochs on real data, with defaults else."""
    X, y = load_digits(return_X_y=True)
    X_train, _, y_train, _ = train_test_split(X, y, test_size=0.25, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [e(max_iter=100, random_state=0).fit(X_train, y_train) for e in (fastprop.MLPClassifier, MLPClassifier)]


def test_digits(digits, assert_same):
    """Raw pixels: at first the network is sure of wrong classes, so the clipping of the reported loss is seen too."""
    assert_same(*digits)


@pytest.mark.pairwise
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("activation", ["relu", "identity", "logistic"])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_digits], ids=lambda load: load.__name__)
def test_unscaled_real_data(assert_same, tolerance, load, activation, solver, early_stopping):
    """Features up to 4000, as many a user leaves them: logits of some hundreds are clipped, and 1 - p is 0 or a few last places.

    Not tanh: in saturated units scikit-learn's gradients are the rounding errors of 1 - a^2, which Adam scales up.
    """
    X, y = load(return_X_y=True)
    options = {"hidden_layer_sizes": (20,), "max_iter": 25, "n_iter_no_change": 5, "learning_rate_init": 1e-5}
    if solver == "adam":
        options["learning_rate_init"] = 0.001
    streams = np.random.RandomState(1), np.random.RandomState(1)
    ours, theirs = fastprop.MLPClassifier(), MLPClassifier()
    for estimator, stream in zip((ours, theirs), streams, strict=True):
        options["random_state"] = stream
        estimator.set_params(activation=activation, solver=solver, early_stopping=early_stopping, **options).fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance["float64"])
    assert_same(ours, theirs)
    assert ours.validation_scores_ == theirs.validation_scores_
    for a, b in zip(streams[0].get_state(), streams[1].get_state(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", [0, 7, None])
def test_seeds(data, pair, assert_same, seed):
    """An integer, and None: NumPy's global stream, which must end in the same state too."""
    X, y = data("multiclass")
    ends = []
    estimators = pair("multiclass", hidden_layer_sizes=(4,), max_iter=5, random_state=seed)
    for estimator in estimators:
        np.random.seed(3)  # noqa: NPY002 - what is tested
        estimator.fit(X, y)
        ends.append(np.random.get_state()[1:3])  # noqa: NPY002
    assert_same(*estimators)
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_a_change_ten_times_the_tolerance_is_noticed(check, assert_same):
    ours, theirs = check("multiclass")
    largest = max(np.abs(array).max() for array in theirs.coefs_ + theirs.intercepts_)
    ours.coefs_[0][0, 0] += 1e-8 * largest
    with pytest.raises(AssertionError):
        assert_same(ours, theirs)
    assert_same(theirs, theirs)


def test_n_jobs_changes_nothing_but_rounding(data, pair, assert_same):
    X, y = data("multiclass")
    estimators = pair("multiclass", hidden_layer_sizes=(40,), max_iter=10, random_state=0)
    for n_jobs in (1, 2, -1):
        ours = estimators[0].set_params(n_jobs=n_jobs).fit(X, y)
        theirs = estimators[1].fit(X, y)
        assert_same(ours, theirs)


def test_scikit_learn_warns_about_convergence_where_we_do(data, pair):
    X, y = data("multiclass")
    for max_iter in range(8, 14):
        messages = []
        for estimator in pair("multiclass", max_iter=max_iter, tol=1.0, random_state=0):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                estimator.fit(X, y)
            messages.append([str(w.message) for w in caught])
        assert messages[0] == messages[1]

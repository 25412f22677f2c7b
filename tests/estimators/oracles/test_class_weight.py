"""``class_weight`` against the sample weights that it stands for, bit for bit."""

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

FACTORS = (0.3, 2.5, 1.0, 4.0)


def balanced(column):
    classes, counts = np.unique(column, return_counts=True)
    return {each: len(column) / (len(classes) * count) for each, count in zip(classes.tolist(), counts.tolist(), strict=True)}


def some(column):
    return dict(zip(np.unique(column).tolist(), FACTORS, strict=False))


def columns_of(y):
    return [y] if y.ndim == 1 else list(y.T)


def equivalent(weights, y):
    """The weight of each row: the product over the columns of y of what a dict for each column says."""
    total = np.ones(len(y))
    for weight, column in zip(weights, columns_of(y), strict=True):
        total = total * np.array([weight[label] for label in column.tolist()])
    return total


@pytest.fixture(params=["binary", "multiclass", "multilabel"])
def target(request):
    return request.param


@pytest.fixture(params=["balanced", "a dict"])
def given(request, problem, target):
    """(class_weight, the equivalent sample weights)."""
    y = problem(target)[1]
    weights = [(balanced if request.param == "balanced" else some)(column) for column in columns_of(y)]
    as_given = weights if y.ndim == 2 else weights[0]
    return "balanced" if request.param == "balanced" else as_given, equivalent(weights, y)


@pytest.fixture(params=[False, True], ids=["", "weighted"])
def sample_weight(request):
    return np.random.default_rng(1).uniform(0.2, 2, 45) if request.param else None


def times(sample_weight, weights):
    return weights if sample_weight is None else sample_weight * weights


def assert_same_bits(ours, expected, learnt):
    for name, arrays in learnt(expected).items():
        for one, other in zip(getattr(ours, name), arrays, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    for name in ("loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "validation_loss_curve_", "best_iter_"):
        assert getattr(ours, name, None) == getattr(expected, name, None), name


@pytest.mark.pairwise
@pytest.mark.parametrize("solver", ["adamw", "sgd", "lbfgs"])
def test_fit(problem, make, target, given, sample_weight, learnt, solver):
    (X, y), (class_weight, weights) = problem(target), given
    ours = make(target, solver=solver, class_weight=class_weight).fit(X, y, sample_weight)
    expected = make(target, solver=solver).fit(X, y, times(sample_weight, weights))
    assert_same_bits(ours, expected, learnt)
    plain = make(target, solver=solver).fit(X, y, sample_weight)
    assert np.abs(ours.coefs_[0] - plain.coefs_[0]).max() > 1e-4


@pytest.mark.pairwise
@pytest.mark.parametrize("scoring", [None, "loss", "accuracy"])
def test_early_stopping_weights_its_rows_too(problem, make, target, given, sample_weight, learnt, scoring):
    (X, y), (class_weight, weights) = problem(target), given
    options = {"early_stopping": True, "validation_fraction": 0.3, "scoring": scoring, "label_smoothing": 0.1}
    ours = make(target, class_weight=class_weight, **options).fit(X, y, sample_weight)
    expected = make(target, **options).fit(X, y, times(sample_weight, weights))
    assert_same_bits(ours, expected, learnt)
    plain = make(target, **options).fit(X, y, sample_weight)
    assert plain.validation_loss_curve_ != ours.validation_loss_curve_


@pytest.mark.pairwise
def test_rows_given_for_validation_have_only_their_own_weights(problem, make, target, given, sample_weight, learnt):
    (X, y), (class_weight, weights) = problem(target), given
    validation = {"X_val": X[:15], "y_val": y[:15], "sample_weight_val": None if sample_weight is None else sample_weight[:15]}
    ours = make(target, class_weight=class_weight).fit(X, y, sample_weight, **validation)
    expected = make(target).fit(X, y, times(sample_weight, weights), **validation)
    assert_same_bits(ours, expected, learnt)


@pytest.mark.pairwise
def test_partial_fit(problem, make, target, sample_weight, learnt):
    """In parts of the rows, the last of which lacks classes."""
    X, y = problem(target)
    weights = [some(column) for column in columns_of(y)]
    as_given, each = weights if y.ndim == 2 else weights[0], equivalent(weights, y)
    last = np.flatnonzero((y if y.ndim == 1 else y[:, 0]) == y.ravel()[0])
    ours, expected = make(target, class_weight=as_given), make(target)
    classes = np.arange(3) if y.ndim == 2 else np.unique(y)
    for rows in (np.arange(30), np.arange(20, 45), last):
        own = None if sample_weight is None else sample_weight[rows]
        ours.partial_fit(X[rows], y[rows], own, classes=classes)
        expected.partial_fit(X[rows], y[rows], times(own, each[rows]), classes=classes)
        assert_same_bits(ours, expected, learnt)


def test_warm_starts_of_other_weights(problem, make, target, learnt):
    X, y = problem(target)
    weights = [some(column) for column in columns_of(y)]
    ours, expected = make(target, warm_start=True, class_weight="balanced"), make(target, warm_start=True)
    for class_weight, each in (("balanced", map(balanced, columns_of(y))), (weights if y.ndim == 2 else weights[0], weights)):
        ours.set_params(class_weight=class_weight).fit(X, y)
        expected.fit(X, y, equivalent(each, y))
        assert_same_bits(ours, expected, learnt)

"""Features and targets of any magnitude: no warning, nothing that is not finite, nothing worse than a constant."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastprop import TabularClassifier, TabularRegressor

# Enough to come from the first weights to the mean of the targets, whatever the recipe's numbers are
TRAINED = {
    "n_members": 2,
    "max_iter": 20,
    "hidden_layer_sizes": (16,),
    "batch_size": 16,
    "learning_rate_init": 0.01,
    "random_state": 0,
    "n_jobs": 1,
}
MAX, SMALLEST = np.finfo(np.float64).max, 5e-324
# There is nothing to learn, and the rows held out are few: by chance a model is worse than the mean. Of 1,500 draws of noise, half
# had less than 0.95 of the mean's squared error, one in a hundred more than 1.16, the worst 1.42. What ruins a fit gives far more.
SLACK = 0.6
# Sums of these are finite, as in scikit-learn's validation of y.
LARGE = MAX / 1000
MAGNITUDES = [1e-300, 1e-30, 1e-9, 1e-3, 1.0, 1e3, 1e9, 1e30, 1e300]


def outlier(values, sign):
    """One value is a million standard deviations away."""
    values = values.copy()
    with np.errstate(over="ignore"):
        values[0] = np.clip(values[0] + sign * 1e6 * np.std(values / np.abs(values).max()) * np.abs(values).max(), -MAX, MAX)
    return values


# What becomes of normal numbers
SHAPES = {
    "plain": lambda z, m: m * z,
    "far from zero": lambda z, m: m * (1e5 + z),
    "hardly varies": lambda z, m: m * (1 + 1e-14 * z),
    "high outlier": lambda z, m: outlier(m * z, 1),
    "low outlier": lambda z, m: outlier(m * z, -1),
    "constant": lambda z, m: np.full(len(z), m),
    "zeros": lambda z, m: np.zeros(len(z)),
    "one differs": lambda z, m: np.append(np.full(len(z) - 1, m), -m),
    "two values": lambda z, m: np.where(z > 0, m, -m),
    "denormal": lambda z, m: SMALLEST * np.rint(3 * z),
    "largest": lambda z, m: np.where(z > 0, LARGE, -LARGE),
    "all magnitudes": lambda z, m: np.sign(z) * 10 ** (100 * np.clip(z, -3, 3)),
}
numbers = st.tuples(st.sampled_from(list(SHAPES)), st.sampled_from(MAGNITUDES))


def examples(n):
    """So many examples, the same in every run."""
    return settings(
        max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


def made(rng, of, n=80):
    shape, magnitude = of
    return SHAPES[shape](rng.normal(size=n), magnitude)


def fitted(model, X, y, **given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(X, y, **given)


def later(X):
    """Rows beyond those of training: larger, smaller, missing."""
    return np.concatenate([X, 1e6 * np.clip(X, -1e300, 1e300), -X, np.full_like(X, np.nan), 0 * X, np.full_like(X, MAX)])


def error(loss, y, predicted):
    """The mean loss of predictions of numbers of size 1 at most."""
    if loss == "poisson":
        return float(np.mean(predicted - y * np.log(np.maximum(predicted, 1e-300))))
    if loss == "gamma":
        return float(np.mean(np.log(predicted) + y / predicted))
    d = y - predicted
    return float(np.mean(np.abs(d) if loss in ("absolute_error", "quantile") else d**2))


def check_regressor(seed, columns, target, loss="squared_error", **parameters):
    rng = np.random.default_rng(seed)
    X = np.array([made(rng, column) for column in columns]).T
    y = made(rng, target)
    if loss in ("poisson", "gamma"):
        y = np.maximum(np.abs(y), SMALLEST)
    quantile = 0.5 if loss == "quantile" else None
    model = fitted(TabularRegressor(loss=loss, quantile=quantile, **TRAINED | parameters), X, y)
    assert np.isfinite(np.concatenate(model.loss_curves_)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted, std = model.predict(later(X), return_std=True)
    assert np.isfinite(predicted).all()
    assert np.isfinite(std).all()
    assert y.min() <= predicted.min()
    assert predicted.max() <= y.max()
    size = np.abs(y).max() or 1
    with np.errstate(under="ignore"):
        y, predicted = y / size, predicted[: len(y)] / size
    best, found = error(loss, y, np.full(len(y), y.mean())), error(loss, y, predicted)
    spread = abs(best) if loss not in ("poisson", "gamma") else 1
    assert found <= best + SLACK * spread + 1e-12


@examples(30)
@given(st.integers(0, 1000), st.lists(numbers, min_size=1, max_size=3), numbers)
def test_regression(seed, columns, target):
    check_regressor(seed, columns, target)


LOSSES = ["absolute_error", "huber", "quantile", "poisson", "gamma"]


@pytest.mark.parametrize("loss", LOSSES)
@examples(6)
@given(st.integers(0, 1000), numbers, numbers)
def test_other_losses(loss, seed, column, target):
    check_regressor(seed, [column], target, loss)


@pytest.mark.full
@pytest.mark.parametrize("loss", ["squared_error", *LOSSES])
@examples(200)
@given(st.integers(0, 10**6), st.lists(numbers, min_size=1, max_size=5), numbers)
def test_regression_in_full(loss, seed, columns, target):
    check_regressor(seed, columns, target, loss)


def check_classifier(seed, columns, n_classes, encoding):
    rng = np.random.default_rng(seed)
    X = np.array([made(rng, column) for column in columns]).T
    y = rng.integers(0, n_classes, len(X))
    model = fitted(TabularClassifier(numeric_encoding=encoding, **TRAINED), X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.predict_proba(later(X))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    share = np.bincount(y)[model.classes_] / len(y)
    places = np.searchsorted(model.classes_, y)
    entropy = -np.mean(np.log(share[places]))
    assert -np.mean(np.log(found[np.arange(len(y)), places])) <= (1 + SLACK) * entropy + 0.05


ENCODINGS = st.sampled_from(["piecewise_linear", "standard"])


@examples(20)
@given(st.integers(0, 1000), st.lists(numbers, min_size=1, max_size=3), st.integers(2, 4), ENCODINGS)
def test_classification(seed, columns, n_classes, encoding):
    check_classifier(seed, columns, n_classes, encoding)


@pytest.mark.full
@examples(200)
@given(st.integers(0, 10**6), st.lists(numbers, min_size=1, max_size=5), st.integers(2, 4), ENCODINGS)
def test_classification_in_full(seed, columns, n_classes, encoding):
    check_classifier(seed, columns, n_classes, encoding)


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e6, 1e9])
def test_units_change_nothing(data, make, factor):
    """A model of targets and features in other units is the same model."""
    X, y = data("one output", n=200)
    plain = make("one output", **TRAINED).fit(X, y)
    ours = make("one output", **TRAINED).fit(factor * X, factor * y)
    np.testing.assert_allclose(ours.predict(factor * X), factor * plain.predict(X), rtol=1e-2)
    assert plain.score(X, y) > 0.5


@pytest.mark.parametrize("loss", ["squared_error", *LOSSES])
def test_validation_targets_of_another_magnitude(data, make, loss):
    X, y = data("one output")
    y = np.abs(y)
    quantile = 0.5 if loss == "quantile" else None
    for other in (1e-300 + 0 * y, 1e300 * y, 1e-9 * y):
        model = make("one output", loss=loss, quantile=quantile)
        fitted(model, X, 1e-6 * y, X_val=X, y_val=other)
        assert np.isfinite(np.concatenate(model.validation_loss_curves_)).all()
        assert min(model.best_iters_) >= 1
        assert np.isfinite(model.predict(X)).all()

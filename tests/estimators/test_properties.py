"""Drawn parameters and data: fit and predict do what scikit-learn's own classes do, or raise the same class of error.

Few epochs at moderate rates, so that rounding errors stay small. Where fastprop differs on purpose, from what is an accident in
scikit-learn, `deliberate` says so and why, and what fastprop does there has tests of its own.
"""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import fastprop


def examples(n):
    """So many examples, the same in every run."""
    return settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


# Relative to the largest weight. float32: scikit-learn computes some of it in float64 where y or the weights are.
TOLERANCE = {"float64": 1e-7, "float32": 1e-3}


# Data


def real_numbers(kind, seed, n_rows, n_columns):
    """Columns of a kind that has its own traps: numbers on a grid with many ties and zeros, constant columns, all zeros."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns))
    if kind == "grid":
        X = np.rint(X)
    elif kind == "constant":
        X[:, ::2] = 1.5
    elif kind == "zeros":
        X[:] = 0
    elif kind == "repeated" and n_rows:
        X[:] = X[0]
    return X


X_FORMS = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "float16": lambda X: X.astype(np.float16),
    "int": lambda X: (3 * X).astype(int),
    "int8": lambda X: (3 * X).astype(np.int8),
    "bool": lambda X: X > 0,
    "object": lambda X: X.astype(object),
    "list": lambda X: X.tolist(),
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "big endian": lambda X: X.astype(">f8"),
    "csr": sp.csr_array,
    "csc float32": lambda X: sp.csc_matrix(X.astype(np.float32)),
    "coo": sp.coo_matrix,
}
X_ODD = {
    "NaN": lambda X: _with(X, np.nan),
    "infinity": lambda X: _with(X, np.inf),
    "one-dimensional": lambda X: X.ravel(),
    "three-dimensional": lambda X: X[:, :, None],
    "no rows": lambda X: X[:0],
    "no columns": lambda X: X[:, :0],
    "one row less": lambda X: X[1:],
    "complex": lambda X: X + 1j,
    "strings": lambda X: X.astype(str),
    "words": lambda X: np.full(X.shape, "word", dtype=object),
    "None": lambda X: None,
    "scalar": lambda X: 3.0,
    "NaN in CSR": lambda X: sp.csr_array(_with(X, np.nan)),
}
SIZES = st.tuples(st.integers(2, 40), st.integers(1, 6))
X_KINDS = st.sampled_from(["normal", "normal", "grid", "constant", "zeros", "repeated"])


def _with(X, value):
    X = X.copy()
    X.flat[X.size // 2] = value
    return X


def _letters(rng, n, k):
    return np.array(list("abcdef"))[rng.integers(0, k, n)]


CLASSIFIER_Y = {
    "binary": lambda rng, n: rng.integers(0, 2, n),
    "signs": lambda rng, n: rng.choice([-1, 1], n),
    "bool": lambda rng, n: rng.random(n) > 0.5,
    "letters": lambda rng, n: _letters(rng, n, 4),
    "two letters": lambda rng, n: _letters(rng, n, 2),
    "objects": lambda rng, n: _letters(rng, n, 3).astype(object),
    "list": lambda rng, n: _letters(rng, n, 3).tolist(),
    "whole floats": lambda rng, n: rng.integers(0, 4, n) * 2.0,
    "column": lambda rng, n: rng.integers(0, 3, (n, 1)),
    "multilabel": lambda rng, n: rng.integers(0, 2, (n, 3)),
    "multilabel with a constant": lambda rng, n: rng.integers(0, 2, (n, 3)) * [1, 0, 1],
    "sparse multilabel": lambda rng, n: sp.csr_matrix(rng.integers(0, 2, (n, 3))),
    "as many classes as rows": lambda rng, n: np.arange(n),
    "one class": lambda rng, n: np.full(n, 3),
    "continuous": lambda rng, n: rng.normal(size=n),
    "multioutput": lambda rng, n: rng.integers(0, 4, (n, 2)),
    "NaN": lambda rng, n: np.full(n, np.nan),
    "None": lambda rng, n: None,
    "one row less": lambda rng, n: rng.integers(0, 2, n - 1),
    "mixed": lambda rng, n: np.array([1, "a", None] * n, dtype=object)[:n],
    "scalar": lambda rng, n: 1,
}
REGRESSOR_Y = {
    "normal": lambda rng, n: rng.normal(size=n),
    "float32": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "int": lambda rng, n: rng.integers(0, 5, n),
    "bool": lambda rng, n: rng.random(n) > 0.5,
    "list": lambda rng, n: rng.normal(size=n).tolist(),
    "column": lambda rng, n: rng.normal(size=(n, 1)),
    "two outputs": lambda rng, n: rng.normal(size=(n, 2)),
    "three whole outputs": lambda rng, n: rng.integers(0, 5, (n, 3)),
    "constant": lambda rng, n: np.full(n, 2.5),
    "zeros": lambda rng, n: np.zeros(n),
    "object": lambda rng, n: rng.normal(size=n).astype(object),
    "numbers as strings": lambda rng, n: rng.integers(0, 5, n).astype(str),
    "words": lambda rng, n: _letters(rng, n, 3),
    "three-dimensional": lambda rng, n: rng.normal(size=(n, 2, 2)),
    "NaN": lambda rng, n: np.full(n, np.nan),
    "infinity": lambda rng, n: np.full(n, np.inf),
    "None": lambda rng, n: None,
    "one row less": lambda rng, n: rng.normal(size=n - 1),
    "complex": lambda rng, n: rng.normal(size=n) + 1j,
}
WEIGHTS = {
    "none": lambda rng, n: None,
    "random": lambda rng, n: rng.uniform(0.1, 3, n),
    "float32": lambda rng, n: rng.uniform(0.1, 3, n).astype(np.float32),
    "list": lambda rng, n: rng.integers(1, 4, n).tolist(),
    "some zero": lambda rng, n: rng.integers(0, 3, n),
    "negative": lambda rng, n: rng.choice([-0.5, 1.0, 2.0], n),
    "scalar": lambda rng, n: 2.0,
    "all zero": lambda rng, n: np.zeros(n),
    "NaN": lambda rng, n: np.full(n, np.nan),
    "one less": lambda rng, n: np.ones(n - 1),
    "column": lambda rng, n: np.ones((n, 1)),
    "strings": lambda rng, n: np.full(n, "w"),
}


def choose(draw, table, n_usual, odd):
    """A name of the table; only where something odd is wanted, one of those after the first so many, which work."""
    names = list(table)
    return draw(st.sampled_from(names[n_usual:] if odd else names[:n_usual]))


# Parameters

PARAMETERS = {
    "hidden_layer_sizes": st.one_of(st.lists(st.integers(1, 9), max_size=3), st.integers(1, 20), st.just((4, 3))),
    "activation": st.sampled_from(["identity", "logistic", "tanh", "relu"]),
    "solver": st.sampled_from(["adam", "adam", "sgd", "sgd", "lbfgs"]),
    "alpha": st.sampled_from([0, 1e-4, 0.1, 1.0]),
    "batch_size": st.one_of(st.just("auto"), st.integers(1, 50)),
    "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
    "learning_rate_init": st.sampled_from([1e-4, 1e-3, 0.01]),
    "power_t": st.sampled_from([0, 0.3, 0.5]),
    "max_iter": st.integers(1, 4),
    "shuffle": st.booleans(),
    "random_state": st.integers(0, 1000),
    "tol": st.sampled_from([1e-4, 0.1, 10]),
    "momentum": st.sampled_from([0, 0.5, 0.9, 1]),
    "nesterovs_momentum": st.booleans(),
    "early_stopping": st.booleans(),
    "validation_fraction": st.sampled_from([0.1, 0.2, 0.5, 0.9]),
    "beta_1": st.sampled_from([0, 0.5, 0.9]),
    "beta_2": st.sampled_from([0.9, 0.999]),
    "epsilon": st.sampled_from([1e-8, 1e-3]),
    "n_iter_no_change": st.one_of(st.integers(1, 3), st.just(np.inf)),
    "max_fun": st.integers(1, 20),
    "warm_start": st.booleans(),
}
ODD_VALUES = [None, -1, 0, 1, 2.5, np.inf, np.nan, "auto", "relu", True, np.float32(0.5), np.int8(3), (3, 0), [2.0], (), b"adam"]


@st.composite
def parameters(draw, odd=False):
    names = draw(st.lists(st.sampled_from(list(PARAMETERS)), unique=True, max_size=8))
    values = {"max_iter": 3, "random_state": 0, "hidden_layer_sizes": (5,)} | {name: draw(PARAMETERS[name]) for name in names}
    if odd:
        name = draw(st.sampled_from([name for name in PARAMETERS if name not in ("random_state", "max_iter")]))
        values[name] = draw(st.sampled_from(ODD_VALUES))
    return values


@st.composite
def problems(draw):
    """(name of the class, parameters, X, y, sample_weight); at most one of the four is odd: which error comes first is free."""
    odd = draw(st.sampled_from([None, None, "X", "y", "weight", "parameter"]))
    (n_rows, n_columns), seed = draw(SIZES), draw(st.integers(0, 10_000))
    rng, X = np.random.default_rng(seed), real_numbers(draw(X_KINDS), seed, n_rows, n_columns)
    X = (X_FORMS | X_ODD)[choose(draw, X_FORMS | X_ODD, len(X_FORMS), odd == "X")](X)
    values, regression = draw(parameters(odd == "parameter")), draw(st.booleans())
    if regression:
        values["loss"] = draw(st.sampled_from(["squared_error", "squared_error", "poisson"]))
    target = choose(draw, REGRESSOR_Y if regression else CLASSIFIER_Y, 10 if regression else 13, odd == "y")
    y = (REGRESSOR_Y if regression else CLASSIFIER_Y)[target](rng, n_rows)
    if values.get("loss") == "poisson" and odd != "y":
        y = np.abs(y).tolist() if target == "list" else np.abs(y) if y.dtype.kind == "f" else y
    weight = WEIGHTS[choose(draw, WEIGHTS, 6, odd == "weight")](rng, n_rows)
    return "MLPRegressor" if regression else "MLPClassifier", values, X, y, weight


# The comparison


def outcome(call):
    """(result, None), or (None, the error); warnings do not count here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(), None
        except Exception as error:  # which one is what is compared
            return None, error


def kinds(error):
    """The classes that an `except` for it could name, without those that catch everything."""
    return set(type(error).__mro__) - {Exception, BaseException, object}


def deliberate(theirs, ours, values):
    """Whether fastprop differs here on purpose."""
    # Before 1.9, scikit-learn's early stopping fails on strings (scikit-learn#33760).
    if isinstance(theirs, TypeError) and "'isnan' not supported" in str(theirs) and values["early_stopping"]:
        return True
    # A batch whose weights sum to zero is skipped; scikit-learn fails in np.average.
    if isinstance(theirs, ZeroDivisionError):
        return True
    # A regressor's y is checked at the start; scikit-learn fails at the first loss, unless it finds something else before.
    if isinstance(ours, TypeError) and "dense array of numbers" in str(ours):
        return theirs is not None
    # Poisson's y must not be negative; scikit-learn goes on to NaN losses (section 6).
    return values.get("loss") == "poisson" and ours is not None and "non-negative" in str(ours)


def close(a, b, tolerance):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def assert_same_fit(ours, theirs, single=False):
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    tolerance = TOLERANCE["float32" if single else "float64"]
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    close(*(np.concatenate([w.ravel() for w in e.coefs_ + e.intercepts_]) for e in (ours, theirs)), tolerance)
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert (getattr(ours, name, None) is None) == (getattr(theirs, name, None) is None), name
        if getattr(theirs, name, None) is not None:
            close(getattr(ours, name), getattr(theirs, name), tolerance)
    return tolerance


def assert_same_predictions(ours, theirs, X, tolerance):
    if not hasattr(theirs, "classes_"):
        (a, failed), (b, expected) = (outcome(lambda e=e: e.predict(X)) for e in (ours, theirs))
    else:
        (a, failed), (b, expected) = (outcome(lambda e=e: e.predict_proba(X)) for e in (ours, theirs))
    if expected is not None or failed is not None:
        assert failed is not None, expected
        assert expected is not None, failed
        assert kinds(failed) & kinds(expected), (failed, expected)
        return
    assert a.dtype == b.dtype
    close(a, b, max(10 * tolerance, 1e-2 if a.dtype == np.float16 else 0))
    if hasattr(theirs, "classes_"):
        ours, theirs = outcome(lambda: ours.predict(X))[0], outcome(lambda: theirs.predict(X))[0]
        assert type(ours) is type(theirs)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        top = np.sort(b, axis=1)
        decided = (np.abs(b - 0.5) > 0.01).all(axis=1) & (top[:, -1] - top[:, -2] > 0.01)
        ours, theirs = (p.toarray() if sp.issparse(p) else p for p in (ours, theirs))
        np.testing.assert_array_equal(ours[decided], theirs[decided])


def estimators(name, values):
    return getattr(fastprop, name)(**values), getattr(sklearn.neural_network, name)(**values)


def compare(ours, theirs, call):
    """Call it for both; whether both went well. Fail where one did not, or with another class of error."""
    (_, failed), (_, expected) = outcome(lambda: call(ours)), outcome(lambda: call(theirs))
    if deliberate(expected, failed, theirs.get_params()):
        return False
    assert (failed is None) == (expected is None), (failed, expected)
    if failed is not None:
        assert kinds(failed) & kinds(expected), (failed, expected)
    return failed is None


@examples(600)
@given(problems())
def test_fit_and_predict(problem):
    name, values, X, y, weight = problem
    ours, theirs = estimators(name, values)
    if compare(ours, theirs, lambda e: e.fit(X, y, weight)):
        # lbfgs makes float64 of the weights; scikit-learn adds up float32 sample weights in float32.
        single = np.float32 in (getattr(X, "dtype", None), getattr(weight, "dtype", None))
        if single and values.get("solver") == "lbfgs" and theirs.n_iter_ > 2:
            return  # from there on a line search may decide by rounding errors
        assert_same_predictions(ours, theirs, X, assert_same_fit(ours, theirs, single))


@examples(150)
@given(st.data())
def test_predict(data):
    """A good fit, and then anything to predict from."""
    regression, form = data.draw(st.booleans()), data.draw(st.sampled_from(list(X_FORMS | X_ODD)))
    (n_rows, n_columns), seed = data.draw(SIZES), data.draw(st.integers(0, 10_000))
    n_seen = data.draw(st.sampled_from([n_columns, n_columns, n_columns, n_columns + 1]))
    name = "MLPRegressor" if regression else "MLPClassifier"
    rng = np.random.default_rng(seed)
    X, y = (
        rng.normal(size=(20, n_seen)),
        (REGRESSOR_Y if regression else CLASSIFIER_Y)["two outputs" if regression else "letters"](rng, 20),
    )
    ours, theirs = estimators(name, {"max_iter": 2, "random_state": 0})
    if data.draw(st.integers(0, 9)):
        for estimator in (ours, theirs):
            outcome(lambda e=estimator: e.fit(X, y))
        assert hasattr(ours, "coefs_")
    X = (X_FORMS | X_ODD)[form](real_numbers(data.draw(X_KINDS), seed + 1, n_rows, n_columns))
    if not hasattr(ours, "coefs_"):
        for estimator in (ours, theirs):
            with pytest.raises(NotFittedError):
                estimator.predict(X)
        return
    half = getattr(X, "dtype", None) in (np.float16, np.float32)
    assert_same_predictions(ours, theirs, X, 1e-5 if half else 1e-9)


@examples(150)
@given(st.data())
def test_sequences(data):
    """Several calls of partial_fit or, with warm_start, fit, on data of changing size, form, classes and weights."""
    values, regression, seed = data.draw(parameters()), data.draw(st.booleans()), data.draw(st.integers(0, 10_000))
    n_columns, rng = data.draw(st.integers(1, 5)), np.random.default_rng(seed)
    ours, theirs = estimators("MLPRegressor" if regression else "MLPClassifier", values)
    targets = REGRESSOR_Y if regression else CLASSIFIER_Y
    target = data.draw(
        st.sampled_from(["normal", "two outputs", "int"] if regression else ["binary", "letters", "multilabel", "signs"])
    )
    classes = {"binary": [0, 1], "letters": list("abcd"), "multilabel": [0, 1, 2], "signs": [-1, 1]}.get(target)
    for _ in range(data.draw(st.integers(2, 4))):
        n_rows = data.draw(st.integers(8, 30))
        X = X_FORMS[data.draw(st.sampled_from(["float64", "int", "list", "csr", "coo", "Fortran"]))](
            rng.normal(size=(n_rows, n_columns))
        )
        y = targets[target](rng, n_rows)
        weight = WEIGHTS[data.draw(st.sampled_from(["none", "none", "random", "some zero"]))](rng, n_rows)
        if data.draw(st.booleans()):
            went_well = compare(ours, theirs, lambda e, X=X, y=y, w=weight: e.fit(X, y, w))
        else:
            options = {} if regression else {"classes": classes}
            went_well = compare(ours, theirs, lambda e, X=X, y=y, w=weight, o=options: e.partial_fit(X, y, w, **o))
        if not went_well or values.get("early_stopping"):
            # After an error scikit-learn may be left half-way; after early stopping it goes on training the stored best weights
            # themselves, where fastprop copies them ([B], section 10).
            return
        assert_same_fit(ours, theirs)


@pytest.mark.parametrize("sizes", [True, [3, True], [np.True_], [2.5], ["3"], [None], "3", [[3]], {3: 4}, np.int8(3)], ids=repr)
def test_odd_hidden_layer_sizes(sizes):
    X, y = np.eye(6), np.arange(6) % 2
    ours, theirs = estimators("MLPClassifier", {"hidden_layer_sizes": sizes, "max_iter": 2, "random_state": 0})
    if compare(ours, theirs, lambda e: e.fit(X, y)):
        assert_same_fit(ours, theirs)

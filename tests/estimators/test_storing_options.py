"""Estimators with every parameter that scikit-learn's do not have: cloned, copied, stored, loaded, and trained on."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import sklearn.neural_network
from sklearn.base import clone

from fastprop import MLPClassifier, MLPRegressor, nn

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

COMMON = {"hidden_layer_sizes": (6, 5), "max_iter": 4, "batch_size": 20, "random_state": 0}
# Options of all kinds, so that each parameter has another value than its default in at least one case
REGULARISED = {
    "dropout": [0.2, 0.1],
    "normalization": "batch",
    "weight_decay": 0.01,
    "clip_norm": 0.5,
    "warmup": 0.2,
    "ema_decay": 0.8,
    "scoring": "neg_log_loss",
    "max_time": 1e6,
    "precision": "bfloat16",
    "class_weight": {"a": 2.0, "b": 1.0, "c": 0.5, "d": 1.0},
    "label_smoothing": 0.1,
    "activation": ["gelu", "mish"],
    "solver": "adamw",
    "learning_rate": "cosine",
    "early_stopping": True,
}
CASES = {
    "regularised": (MLPClassifier, "multiclass", REGULARISED),
    "balanced": (
        MLPClassifier,
        "multilabel",
        {"class_weight": [{0: 1.0, 1: 3.0}] * 3, "normalization": "layer", "solver": "rmsprop"},
    ),
    "average": (MLPClassifier, "binary", {"ema_decay": 0.9, "class_weight": "balanced", "learning_rate": "one_cycle"}),
    "quantiles": (MLPRegressor, "one output", {"loss": "quantile", "quantile": [0.1, 0.9], "dropout": 0.3, "solver": "sgd"}),
    "huber": (MLPRegressor, "two outputs", {"loss": "huber", "huber_delta": 0.5, "activation": "elu", "scoring": "r2"}),
    "gamma": (MLPRegressor, "positive", {"loss": "gamma", "learning_rate": "coslog4", "normalization": "batch"}),
    "tweedie": (MLPRegressor, "poisson", {"loss": "tweedie", "tweedie_power": 1.2, "scoring": "loss", "early_stopping": True}),
    "lbfgs": (MLPRegressor, "one output", {"solver": "lbfgs", "normalization": "layer", "loss": "huber", "max_time": 1e6}),
}


def _joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def _skops(estimator):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    stored = skops.dumps(estimator)
    ours = [f"{type(estimator).__module__}.{type(estimator).__name__}"]
    assert skops.get_untrusted_types(data=stored) == ours  # and nothing else
    return skops.loads(stored, trusted=ours)


COPIES = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "joblib": _joblib,
    "skops": _skops,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture
def problem(data):
    """problem(case) -> X, y, an unfitted estimator, and the arguments of fit for validation rows."""

    def problem(case):
        kind, target, parameters = CASES[case]
        X, y = data("poisson" if target == "positive" else target)
        y = y + 0.5 if target == "positive" else y
        if target == "multiclass":
            y = np.array(list("abcd"))[np.searchsorted(np.unique(y), y)]
        given = {} if parameters.get("solver") == "lbfgs" else {"X_val": X[:20], "y_val": y[:20]}
        return X, y, kind(**COMMON | parameters), given

    return problem


def _assert_same(a, b, X):
    assert vars(a).keys() == vars(b).keys()
    for name in ("predict", "predict_proba", "transform"):
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name)(X), getattr(b, name)(X))
    for name in vars(a).keys() & {
        "loss_curve_",
        "validation_scores_",
        "validation_loss_curve_",
        "learning_rate_curve_",
        "best_iter_",
    }:
        assert getattr(a, name) == getattr(b, name)
        assert type(getattr(a, name)) is type(getattr(b, name))
    for name in vars(a).keys() & {"norm_weights_", "norm_biases_", "running_means_", "running_vars_"}:
        for ours, theirs in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_cases_have_every_parameter():
    changed = set().union(*(parameters for _, _, parameters in CASES.values()))
    for ours in (MLPClassifier, MLPRegressor):
        theirs = getattr(sklearn.neural_network, ours.__name__)
        assert ours().get_params().keys() - theirs().get_params().keys() - {"n_jobs"} <= changed


@pytest.mark.parametrize("store", COPIES)
@pytest.mark.parametrize("case", CASES)
def test_unfitted(problem, case, store):
    X, y, ours, given = problem(case)
    loaded = COPIES[store](ours)
    assert loaded.get_params() == ours.get_params() == clone(ours).get_params()
    assert vars(loaded).keys() == vars(ours).keys()
    _assert_same(loaded.fit(X, y, **given), ours.fit(X, y, **given), X)


@pytest.mark.parametrize("store", COPIES)
@pytest.mark.parametrize("case", CASES)
def test_fitted_and_trained_on(problem, case, store):
    X, y, ours, given = problem(case)
    ours.fit(X, y, **given)
    loaded = COPIES[store](ours)
    assert loaded.get_params() == ours.get_params()
    _assert_same(loaded, ours, X)
    assert not any(np.shares_memory(a, b) for a, b in zip(loaded.coefs_, ours.coefs_, strict=True))
    no_parts = ours.solver == "lbfgs" or ours.early_stopping or getattr(ours, "class_weight", None) == "balanced"
    for _ in range(0 if no_parts else 2):
        _assert_same(loaded.partial_fit(X, y), ours.partial_fit(X, y), X)
    for estimator in (loaded, ours):
        estimator.set_params(warm_start=True).fit(X, y, **given)
    _assert_same(loaded, ours, X)


def test_in_the_middle_of_training(problem):
    """Masks, schedule, average and memory go on as in one run: six calls, three of them after loading."""
    X, y, ours, _ = problem("regularised")
    ours.set_params(early_stopping=False, scoring=None, random_state=np.random.RandomState(0))
    classes = {"classes": np.unique(y)}
    unbroken = clone(ours)
    for _ in range(3):
        ours.partial_fit(X, y, **classes)
        unbroken.partial_fit(X, y, **classes)
    ours = pickle.loads(pickle.dumps(ours))
    for _ in range(3):
        _assert_same(ours.partial_fit(X, y), unbroken.partial_fit(X, y), X)


def test_functions_of_the_users_own(data):
    """They are stored by name, as pickle stores functions."""
    X, y = data("one output")
    ours = MLPRegressor(**COMMON, activation=[OWN, "relu"], learning_rate=halved, scoring=negative_bias).fit(X, y, X_val=X, y_val=y)
    for store in ("pickle", "joblib", "deepcopy"):
        loaded = COPIES[store](ours)
        np.testing.assert_array_equal(loaded.predict(X), ours.predict(X))
        assert (loaded.learning_rate, loaded.scoring) == (halved, negative_bias)
    assert ours.validation_scores_[-1] == -abs(np.mean(ours.predict(X) - y))


def halved(share):
    return 1 - share / 2


def negative_bias(estimator, X, y):
    return -abs(np.mean(estimator.predict(X) - y))


def square(z):
    return z * z / 4


def square_slope(z):
    return z / 2


OWN = nn.Activation(square, square_slope, name="square")

# Pickles of earlier versions

SINCE_THEN = {
    "dropout", "normalization", "weight_decay", "clip_norm", "warmup", "ema_decay", "scoring", "max_time", "precision",
    "class_weight", "label_smoothing", "quantile", "huber_delta", "tweedie_power",
}  # fmt: skip


def _as_earlier_versions_stored(estimator):
    """The state of a plain estimator as before it had these parameters."""
    state = estimator.__getstate__()
    assert not state.keys() & {"validation_loss_curve_", "best_iter_", "learning_rate_curve_"}
    return {name: value for name, value in state.items() if name not in SINCE_THEN}


def _stored_earlier(estimator):
    """What a pickle of an earlier version loads as."""
    loaded = type(estimator).__new__(type(estimator))
    loaded.__setstate__(pickle.loads(pickle.dumps(_as_earlier_versions_stored(estimator))))
    return loaded


@pytest.mark.parametrize("target", ["multiclass", "binary", "multilabel", "two outputs", "poisson"])
@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}], ids=str)
def test_pickles_of_earlier_versions(data, pair, target, options):
    X, y = data(target)
    ours, _ = pair(target, **COMMON | options)
    loaded = _stored_earlier(ours.fit(X, y))
    assert not vars(loaded).keys() & SINCE_THEN
    assert loaded.get_params() == ours.get_params()
    assert clone(loaded).get_params() == ours.get_params()
    assert repr(loaded) == repr(ours)
    np.testing.assert_array_equal(loaded.predict(X), ours.predict(X))
    np.testing.assert_array_equal(loaded.transform(X), ours.transform(X))
    for _ in range(2):
        if options != {"solver": "lbfgs"}:
            np.testing.assert_array_equal(loaded.partial_fit(X, y).predict(X), ours.partial_fit(X, y).predict(X))
        for estimator in (loaded, ours):
            estimator.set_params(warm_start=True).fit(X, y)
        np.testing.assert_array_equal(loaded.predict(X), ours.predict(X))
    loaded.to_sklearn()


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_early_stopping_of_earlier_versions(data, pair, target):
    """A warm start goes on with the scores; from then on there is more to record."""
    X, y = data(target)
    ours, _ = pair(target, **COMMON, early_stopping=True, warm_start=True)
    state = ours.fit(X, y).__getstate__()
    for name in SINCE_THEN | {"validation_loss_curve_", "best_iter_"}:
        state.pop(name, None)
    loaded = type(ours).__new__(type(ours))
    loaded.__setstate__(pickle.loads(pickle.dumps(state)))
    for estimator in (loaded, ours):
        estimator.fit(X, y)
    assert loaded.validation_scores_ == ours.validation_scores_
    assert loaded.validation_loss_curve_ == ours.validation_loss_curve_[4:]
    np.testing.assert_array_equal(loaded.predict(X), ours.predict(X))

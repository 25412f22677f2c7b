"""Training that goes on: partial_fit and warm_start, step by step against scikit-learn's own classes."""

import numpy as np
import pytest
from sklearn.base import clone

TARGETS = ["binary", "multiclass", "multilabel", "one output", "two outputs", "poisson"]
SMALL = {"hidden_layer_sizes": (6,), "learning_rate_init": 0.01, "batch_size": 16}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


def _partial_fit(estimator, X, y, classes=None, **options):
    """Regressors take no classes."""
    return estimator.partial_fit(X, y, **options, **({} if classes is None else {"classes": classes}))


@pytest.mark.pairwise
@pytest.mark.parametrize("seed", [0, "stream"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", TARGETS)
def test_partial_fit(data, pair, assert_same, target, solver, seed):
    X, y = data(target)
    estimators = pair(target, solver=solver, **SMALL)
    for estimator in estimators:
        estimator.set_params(random_state=np.random.RandomState(2) if seed == "stream" else seed)
    classes = {"multilabel": [0, 1, 2], "binary": np.unique(y), "multiclass": np.unique(y)}.get(target)
    for start in (0, 30, 60, 0, 15):
        part = slice(start, start + 40)
        weight = np.linspace(0.5, 2, len(X[part])) if start == 15 else None
        ours, theirs = (_partial_fit(e, X[part], y[part], classes, sample_weight=weight) for e in estimators)
        assert_same(ours, theirs)
        assert ours.n_iter_ == 1


def test_partial_fit_of_the_regressor_with_lbfgs(data, pair, assert_same):
    X, y = data("one output")
    estimators = pair("one output", solver="lbfgs", max_iter=5, hidden_layer_sizes=(4,), random_state=0)
    for _ in range(3):
        assert_same(*(e.partial_fit(X, y) for e in estimators))


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_partial_fit_beyond_the_stopping_rule(data, pair, assert_same, schedule, capsys):
    X, y = data("multiclass")
    options = {"solver": "sgd", "learning_rate": schedule, "tol": 10.0, "n_iter_no_change": 2, "verbose": True, "random_state": 0}
    estimators = pair("multiclass", **SMALL | options)
    outputs = []
    for estimator in estimators:
        for _ in range(9):
            _partial_fit(estimator, X, y, np.unique(y))
        outputs.append(capsys.readouterr().out)
    assert_same(*estimators)
    assert outputs[0] == outputs[1]
    assert estimators[0]._optimizer.learning_rate == estimators[1]._optimizer.learning_rate


def test_partial_fit_after_fit(data, pair, assert_same):
    X, y = data("multiclass")
    estimators = pair("multiclass", max_iter=3, random_state=0, **SMALL)
    for estimator in estimators:
        estimator.fit(X, y)
        estimator.partial_fit(X[:20], y[:20])
        estimator.set_params(learning_rate_init=0.5)  # the optimizer was made, so this must not matter
        estimator.partial_fit(X[20:], y[20:])
    assert_same(*estimators)


def test_partial_fit_in_another_dtype_keeps_the_weights_dtype(data, pair, assert_same):
    for first, second, tolerance in ((np.float64, np.float32, 1e-6), (np.float32, np.float64, 2e-4)):
        X, y = data("multiclass")
        estimators = pair("multiclass", random_state=0, **SMALL)
        for estimator in estimators:
            _partial_fit(estimator, X.astype(first), y, np.unique(y))
            _partial_fit(estimator, X.astype(second), y)
        assert_same(*estimators, tolerance)
        assert estimators[0].coefs_[0].dtype == first


@pytest.mark.pairwise
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_warm_start(data, pair, assert_same, target, solver, early_stopping):
    X, y = data(target)
    options = {"solver": solver, "early_stopping": early_stopping, "warm_start": True, "max_iter": 6, "n_iter_no_change": 3}
    estimators = pair(target, random_state=0, **SMALL | options)
    if early_stopping and solver != "lbfgs":
        # scikit-learn restores no weights where a later fit finds no better score; see the test after this one.
        for estimator in estimators:
            estimator.fit(X, y)
        assert_same(*estimators)
        return
    for _ in range(3):
        assert_same(*(estimator.fit(X, y) for estimator in estimators))


def test_warm_start_under_early_stopping_keeps_the_best_weights(data, pair):
    """scikit-learn trains on the stored best weights themselves; here they come back if nothing better is found."""
    X, y = data("multiclass")
    ours, _ = pair("multiclass", early_stopping=True, warm_start=True, max_iter=60, random_state=0, **SMALL)
    ours.fit(X, y)
    best, score = [w.copy() for w in ours.coefs_], ours.best_validation_score_
    ours.set_params(learning_rate_init=100.0, max_iter=2).fit(X, y)
    if ours.best_validation_score_ == score:
        for before, after in zip(best, ours.coefs_, strict=True):
            np.testing.assert_array_equal(before, after)
    assert len(ours.validation_scores_) == len(ours.loss_curve_)


@pytest.mark.parametrize("solvers", [("adam", "sgd"), ("sgd", "adam"), ("adam", "lbfgs"), ("sgd", "lbfgs", "adam")], ids=str)
def test_warm_start_with_another_solver(data, pair, assert_same, solvers):
    X, y = data("multiclass")
    estimators = pair("multiclass", warm_start=True, max_iter=4, random_state=0, **SMALL)
    for solver in solvers:
        assert_same(*(estimator.set_params(solver=solver).fit(X, y) for estimator in estimators))


def test_warm_start_ignores_other_hidden_layers(data, pair, assert_same):
    X, y = data("one output")
    estimators = pair("one output", warm_start=True, max_iter=4, random_state=0, **SMALL)
    for sizes in ((6,), (9,)):
        assert_same(*(estimator.set_params(hidden_layer_sizes=sizes).fit(X, y) for estimator in estimators))


@pytest.mark.parametrize("change", [{"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_a_warm_start_without_a_history_to_go_on_with(data, pair, change):
    X, y = data("multiclass")
    ours = clone(pair("multiclass", warm_start=True, max_iter=2, **SMALL)[0]).set_params(**change).fit(X, y)
    ours.set_params(early_stopping=False, solver="adam")
    with pytest.raises(ValueError, match="no history"):
        ours.fit(X, y)
    with pytest.raises(ValueError, match="no history"):
        ours.partial_fit(X, y)


SWITCHES = {
    "early stopping comes": ("one output", {}, [("fit", {"early_stopping": True})], "no history"),
    "early stopping goes": ("one output", {"early_stopping": True}, [("fit", {"early_stopping": False})], "no history"),
    "lbfgs before sgd": ("multiclass", {"solver": "lbfgs"}, [("fit", {"solver": "sgd"})], "no history"),
    "partial_fit stops early": ("one output", {"early_stopping": True}, [("partial_fit", {})], "does not support early_stopping"),
    "other layers under an old optimizer": (
        "one output",
        {"warm_start": False},
        [("fit", {"solver": "lbfgs", "hidden_layer_sizes": (9,)}), ("partial_fit", {"solver": "adam"})],
        "the optimizer was made for layers of shapes",
    ),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_switching_between_calls_says_what_is_wrong(data, pair, switch):
    """And the model is what it was. scikit-learn fails with TypeError or AttributeError in most of these cases."""
    target, start, steps, text = SWITCHES[switch]
    X, y = data(target)
    ours, _ = pair(target, **{"warm_start": True, "max_iter": 2, "random_state": 0} | SMALL | start)
    ours.fit(X, y)
    for method, change in steps:
        before = ours.predict(X)
        ours.set_params(**change)
        if method != steps[-1][0]:
            ours.fit(X, y)
            continue
        with pytest.raises(ValueError, match=text):
            getattr(ours, method)(X, y)
        if len(steps) == 1:
            np.testing.assert_array_equal(ours.predict(X), before)
    assert ours.set_params(warm_start=False, early_stopping=False, solver="sgd").fit(X, y).n_iter_ == 2


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_another_number_of_outputs(data, pair, method):
    X, y = data("two outputs")
    for first, second in ((y, y[:, 0]), (y[:, 0], y)):
        ours, _ = pair("one output", warm_start=True, max_iter=2, **SMALL)
        getattr(ours, method)(X, first)
        with pytest.raises(ValueError, match="y must have shape"):
            getattr(ours, method)(X, second)
        assert ours.predict(X).shape == first.shape


def test_labels_of_another_kind(data, pair):
    X, y = data("multilabel")
    numbers = y.argmax(axis=1)
    for estimator in pair("multiclass", warm_start=True, max_iter=2, **SMALL):
        with pytest.raises(ValueError, match="not fitted with multilabel input"):
            estimator.fit(X, numbers).fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_warm_start_with_another_activation(data, pair, assert_same, solver):
    X, y = data("multiclass")
    estimators = pair("multiclass", warm_start=True, max_iter=4, random_state=0, solver=solver, **SMALL)
    for activation in ("relu", "tanh"):
        assert_same(*(estimator.set_params(activation=activation).fit(X, y) for estimator in estimators))


def test_partial_fit_keeps_the_optimizer_of_another_solver(data, pair, assert_same):
    X, y = data("one output")
    estimators = pair("one output", random_state=0, **SMALL)
    for solver in ("adam", "sgd", "adam"):
        assert_same(*(estimator.set_params(solver=solver).partial_fit(X, y) for estimator in estimators))
    assert estimators[0]._optimizer.t == estimators[1]._optimizer.t


def test_fit_without_warm_start_forgets_everything(data, pair, assert_same):
    X, y = data("multiclass")
    ours, theirs = pair("multiclass", max_iter=4, random_state=0, **SMALL)
    ours.fit(X[:, :3], y == y[0])
    assert_same(ours.fit(X, y), theirs.fit(X, y))


def test_a_batch_without_weight_is_skipped(data, pair):
    """scikit-learn fails with a ZeroDivisionError from NumPy."""
    X, y = data("one output", n_samples=48)
    weight = np.repeat([1.0, 0.0, 1.0], 16)
    ours, _ = pair("one output", shuffle=False, max_iter=3, random_state=0, solver="sgd", **SMALL)
    ours.fit(X, y, sample_weight=weight)
    twice = clone(ours).set_params(momentum=0.0, max_iter=1)
    kept = weight > 0
    full = twice.fit(X, y, sample_weight=weight).coefs_[0].copy()
    np.testing.assert_allclose(full, clone(twice).fit(X[kept], y[kept]).coefs_[0], rtol=1e-12)

"""fit_many: the bits that each estimator gets alone, as many at a time as asked for; what is refused, errors, Ctrl-C."""

import _thread
import signal
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, fit_many, kernels, nn, patch_sklearn

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.fixture
def no_convergence_warning():
    """Training is cut short in most tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def hears_ctrl_c():
    """A shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6))
    return X, (X @ rng.normal(size=(6, 3))).argmax(axis=1)


class Own(MLPClassifier):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X + 1, y, sample_weight)


class Fit(BaseEstimator):
    """An estimator that does what it is told to."""

    def __init__(self, act=None):
        self.act = act

    def fit(self, X, y):
        self.act()
        return self


def several():
    own = nn.Activation(np.tanh, lambda z: 1 - np.tanh(z) ** 2, name="tanh")
    options = {"max_iter": 15, "random_state": 0}
    return [
        MLPClassifier((5,), **options),
        MLPClassifier((5,), **options | {"random_state": 1}, n_jobs=2),
        MLPClassifier((7, 4), "tanh", solver="sgd", learning_rate="invscaling", **options),
        MLPClassifier((5,), early_stopping=True, **options | {"random_state": np.random.RandomState(0)}),
        MLPClassifier((5,), solver="lbfgs", **options),
        MLPClassifier((5,), own, **options),
        MLPClassifier((4,), own, **options),
        MLPRegressor(hidden_layer_sizes=(5,), batch_size=20, **options),
        Own((5,), **options),
        make_pipeline(StandardScaler(), MLPClassifier((5,), **options)),
    ]


def weights(estimator):
    estimator = estimator[-1] if hasattr(estimator, "steps") else estimator
    return np.concatenate([array.ravel() for array in estimator.coefs_ + estimator.intercepts_])


@pytest.mark.parametrize("n_jobs", [None, 1, 2, 3])
def test_the_bits_that_each_has_alone(problem, n_jobs):
    given, alone = several(), several()
    fitted = fit_many(iter(given), *problem, n_jobs=n_jobs)
    assert all(a is b for a, b in zip(fitted, given, strict=True))
    for ours, theirs in zip(fitted, alone, strict=True):
        before = ours.get_params()
        theirs.set_params(**{name: 1 for name in before if name.rpartition("__")[2] == "n_jobs"}).fit(*problem)
        np.testing.assert_array_equal(weights(ours), weights(theirs))
    assert [getattr(estimator, "n_jobs", None) for estimator in given[:3]] == [None, 2, None]


def test_estimators_for_tables(problem):
    X, y = problem
    X = pd.DataFrame(X).assign(kind=np.array(["a", "b", "c"])[y]).rename(columns=str)
    options = {"n_members": 2, "max_iter": 2, "hidden_layer_sizes": (5,)}
    make = [TabularClassifier, TabularRegressor, TabularClassifier]
    fitted = fit_many([each(**options, random_state=i) for i, each in enumerate(make)], X, y, n_jobs=2)
    for i, (each, ours) in enumerate(zip(make, fitted, strict=True)):
        alone = each(**options, random_state=i, n_jobs=1).fit(X, y)
        for network, other in zip(ours.members_, alone.members_, strict=True):
            np.testing.assert_array_equal(network.params, other.params)


def test_each_has_its_own_losses_weights_and_norms(problem):
    X, labels = problem
    options = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0}
    of_quantiles = [{"loss": "quantile", "quantile": quantile} for quantile in (0.5, [0.1, 0.9], [0.2, 0.5, 0.8], 0.9)]
    losses = [{"loss": loss} for loss in ("squared_error", "absolute_error", "huber", "poisson", "gamma", "tweedie")]
    regressors = [MLPRegressor(**options | each) for each in [*of_quantiles, *losses, {"loss": "huber", "huber_delta": 0.1}]]
    of_classes = [
        {"class_weight": "balanced"},
        {"class_weight": {0: 5.0, 1: 1.0, 2: 0.1}},
        {"label_smoothing": 0.2, "normalization": "batch"},
        {"early_stopping": True, "scoring": "f1_macro", "ema_decay": 0.5},
        {"dropout": 0.3, "solver": "adamw", "learning_rate": "cosine"},
        {},
    ]
    classifiers = [MLPClassifier(**options | each) for each in of_classes]
    for models, y in ((regressors, np.exp(X[:, 0])), (classifiers, labels)):
        for _ in range(2):  # also a second time, with what the first fit left
            fit_many(models, X, y, n_jobs=2)
            for model in models:
                alone = clone(model).set_params(n_jobs=1).fit(X, y)
                np.testing.assert_array_equal(weights(model), weights(alone))
                np.testing.assert_array_equal(model.predict(X), alone.predict(X))
                assert vars(model).keys() == vars(alone).keys()
    assert [model.n_outputs_ for model in regressors[:4]] == [1, 2, 3, 1]


def checked(monkeypatch, owner):
    """A list that grows by an estimator for each check of its data."""
    seen, check = [], owner._checked_input
    monkeypatch.setattr(owner, "_checked_input", lambda self, *data, **how: (seen.append(self), check(self, *data, **how))[1])
    return seen


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_data_are_checked_once_for_all(problem, monkeypatch, n_jobs):
    X, y = pd.DataFrame(problem[0], columns=list("abcdef")), np.array(["no", "maybe", "yes"])[problem[1]]
    models = [MLPClassifier((4,), max_iter=2, random_state=seed) for seed in range(4)]
    models[3].fit(problem[0][:, :2], problem[1] % 2)  # which leaves other classes and no names
    seen = checked(monkeypatch, MLPClassifier)
    fit_many(models, X, y, n_jobs=n_jobs)
    assert len(seen) == 1
    for model in models:
        assert (model.n_features_in_, model.feature_names_in_.tolist()) == (6, list("abcdef"))
        np.testing.assert_array_equal(weights(model), weights(clone(model).fit(X, y)))
        assert set(model.predict(X)) <= set(y)
    assert len({id(array) for model in models for array in (model.classes_, model.feature_names_in_)}) == 8
    assert len({id(model._label_binarizer) for model in models}) == 4
    fit_many(models[2:], *problem)
    assert not any(hasattr(model, "feature_names_in_") for model in models[2:])
    assert models[0].feature_names_in_.tolist() == list("abcdef")


def test_other_data_and_other_rules_are_checked_by_themselves(problem, monkeypatch):
    X, y = problem
    options = {"max_iter": 2, "random_state": 0}
    warm = MLPClassifier((4,), warm_start=True, **options).fit(X, y > 0)
    seen = checked(monkeypatch, MLPClassifier)
    fit_many(
        [MLPClassifier((4,), **options), make_pipeline(StandardScaler(), MLPClassifier((4,), **options)), Own((4,), **options)],
        X,
        y,
    )
    assert len(seen) == 3
    with pytest.raises(ValueError, match="warm_start can only be used where"):
        fit_many([MLPClassifier((4,), **options), warm], X, y, n_jobs=1)
    with pytest.raises(ValueError, match="needs y to be non-negative"):
        fit_many([MLPRegressor(hidden_layer_sizes=(4,), loss=loss, **options) for loss in ("squared_error", "poisson")], X, y - 1.0)


def test_each_number_of_quantiles_has_its_own_targets(problem):
    X, y = problem
    options = {"hidden_layer_sizes": (4,), "loss": "quantile", "max_iter": 2, "random_state": 0}
    models = [MLPRegressor(**options, quantile=quantile) for quantile in (0.5, [0.1, 0.9], [0.2, 0.8], [0.1, 0.5, 0.9])]
    for model in fit_many(models, X, y.astype(float)):
        assert model.n_outputs_ == np.size(model.quantile)
        np.testing.assert_array_equal(weights(model), weights(clone(model).fit(X, y.astype(float))))


def test_nothing_is_shared_after_an_error_or_the_end(problem, monkeypatch):
    X, y = problem[0].copy(), problem[1]
    seen, fit = checked(monkeypatch, MLPClassifier), lambda: fit_many([MLPClassifier((4,), max_iter=2)], X, y)
    fit()
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fit()
    with pytest.raises(ValueError, match="NaN"):
        fit_many([MLPClassifier((4,)), MLPClassifier((5,))], X, y)
    X[0, 0] = 0
    fit()
    assert len(seen) in (4, 5)  # the second one with NaN may have begun


def test_sparse_rows_weights_and_the_patch(problem):
    X, y = problem
    weight = np.linspace(1, 2, len(X))
    with patch_sklearn():
        from sklearn.neural_network import MLPClassifier as Patched

        models = [Patched((4,), max_iter=3, random_state=seed) for seed in range(3)]
        for model in fit_many(models, csr_array(X), y, weight, n_jobs=2):
            np.testing.assert_array_equal(weights(model), weights(clone(model).fit(csr_array(X), y, weight)))
    assert fit_many([], X, y) == []


def test_each_on_one_thread(problem, monkeypatch):
    seen, train_epochs = [], kernels.active.raw.train_epochs

    def watched(job, n_threads):
        seen.append(n_threads)
        train_epochs(job, n_threads)

    monkeypatch.setattr(kernels.active.raw, "train_epochs", watched)
    fit_many([MLPClassifier((900,), max_iter=1, n_jobs=n, random_state=0) for n in (None, 3, -1)], *problem, n_jobs=2)
    assert seen == [1] * 3


@pytest.mark.parametrize("n_jobs", [1, 2, 4])
def test_as_many_at_a_time_as_asked_for(problem, n_jobs):
    barrier, running, most = threading.Barrier(n_jobs), [], []

    def act():
        running.append(1)
        most.append(len(running))
        barrier.wait(timeout=30)
        running.pop()
        barrier.wait(timeout=30)

    fit_many([Fit(lambda: act()) for _ in range(8)], *problem, n_jobs=n_jobs)
    assert max(most) == n_jobs
    assert len(most) == 8


def test_the_settings_of_the_calling_thread_hold(problem):
    seen = []

    def act():
        seen.append((sklearn.get_config()["assume_finite"], np.geterr()["divide"], threading.current_thread()))

    with sklearn.config_context(assume_finite=True), np.errstate(divide="raise"):
        fit_many([Fit(act)], *problem)
    assert seen[0][:2] == (True, "raise")
    assert seen[0][2] is not threading.main_thread()


def test_what_must_not_be_shared(problem):
    scaler, state, model = StandardScaler(), np.random.RandomState(0), MLPClassifier()
    pipelines = [make_pipeline(scaler, MLPClassifier()) for _ in range(2)]
    shared = [
        ([model, MLPClassifier(), model], "estimator 2 is the same object as estimator 0"),
        (
            pipelines,
            "estimators 0 and 1 share the estimator",
        ),
        ([make_pipeline(model), model], "estimator 1 is the same object as estimator 0, or is inside it"),
        ([MLPClassifier(random_state=state), MLPRegressor(random_state=state)], "estimators 0 and 1 share the random state"),
    ]
    for estimators, message in shared:
        with pytest.raises(ValueError, match=message):
            fit_many(estimators, *problem)
        assert not any(hasattr(estimator, "coefs_") for estimator in estimators)
    for wrong in (None, MLPClassifier):
        with pytest.raises(TypeError, match="estimator 0 must have a method fit; got"):
            fit_many([wrong], *problem)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        fit_many([model], *problem, n_jobs=0)


def test_an_error_begins_nothing_new_and_loses_nothing(problem):
    def failing():
        raise RuntimeError("from a fit")

    begun = threading.Event()

    def waiting_failure():
        begun.wait(30)
        failing()

    def slow():
        begun.set()
        time.sleep(0.05)
        done.append(1)

    done = []
    models = [Fit(waiting_failure), Fit(slow), *(Fit(lambda: done.append(2)) for _ in range(30))]
    with pytest.raises(RuntimeError, match="from a fit"):
        fit_many(models, *problem, n_jobs=2)
    assert 1 in done
    done.clear()
    with pytest.raises(RuntimeError, match="from a fit"):
        fit_many([Fit(failing), *(Fit(lambda: done.append(2)) for _ in range(3))], *problem, n_jobs=1)
    assert done == []


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_ctrl_c_ends_all_and_keeps_what_was_learnt(problem, solver, hears_ctrl_c):
    endless = {"max_iter": 10**6, "max_fun": 10**6, "n_iter_no_change": np.inf, "tol": 0.0}
    model = MLPClassifier((3,), solver=solver, random_state=0, **endless)
    after = MLPClassifier((3,), random_state=0)

    def interrupt():
        while not hasattr(model, "_network"):
            time.sleep(0.001)
        _thread.interrupt_main()

    X, y = np.random.default_rng(0).normal(size=(500, 6)), np.arange(500) % 3
    with pytest.raises(KeyboardInterrupt):
        # Both threads have something to do until the main thread looks up, also where lbfgs finds no lower loss any more.
        fit_many([Fit(interrupt), model, *(Fit(lambda: time.sleep(1)) for _ in range(2)), after], X, y, n_jobs=2)
    assert np.isfinite(model.predict_proba(X)).all()
    if solver != "lbfgs":
        assert len(model.loss_curve_) == model.n_iter_
    assert not hasattr(after, "coefs_")


def test_ctrl_c_ends_an_estimator_for_tables(problem, hears_ctrl_c):
    X, y = problem
    model = TabularClassifier(n_members=2, hidden_layer_sizes=(3,), max_iter=10**6, early_stopping=False, random_state=0)

    def interrupt():
        while not hasattr(model, "encoders_"):
            time.sleep(0.001)
        _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        fit_many([Fit(interrupt), model, Fit(lambda: time.sleep(1))], X, y, n_jobs=2)
    assert np.isfinite(model.predict_proba(X)).all()
    assert len(model.loss_curves_[0]) == model.n_iter_ < 10**6

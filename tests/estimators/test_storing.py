"""What is stored of an estimator: only Python's, NumPy's and scikit-learn's objects, and without the optimizer's state hardly more
than the weights."""

import io
import pickle
import pickletools

import joblib
import numpy as np
import pytest

import fastprop

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

CONFIGURATIONS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True},
}


def _joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    return file.getvalue()


def _skops(estimator):
    return pytest.importorskip("skops.io", reason="skops is not installed").dumps(estimator)


def _load_skops(stored):
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    return io.loads(stored, trusted=io.get_untrusted_types(data=stored))


def _cloudpickle(estimator):
    return pytest.importorskip("cloudpickle", reason="cloudpickle is not installed").dumps(estimator)


STORES = {
    "pickle": (pickle.dumps, pickle.loads),
    "joblib": (_joblib, lambda stored: joblib.load(io.BytesIO(stored))),
    "cloudpickle": (_cloudpickle, pickle.loads),
    "skops": (_skops, _load_skops),
}


@pytest.fixture
def fitted(data, pair):
    def fitted(target="multiclass", **parameters):
        X, y = data(target)
        parameters = {"hidden_layer_sizes": (5, 4), "max_iter": 3, "random_state": 0, "batch_size": 20} | parameters
        return X, y, pair(target, **parameters)[0].fit(X, y)

    return fitted


@pytest.mark.pairwise
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "poisson"])
def test_round_trip_and_further_training(fitted, target, configuration, store):
    X, y, ours = fitted(target, **CONFIGURATIONS[configuration])
    dump, load = STORES[store]
    again = load(dump(ours))
    np.testing.assert_array_equal(again.predict(X), ours.predict(X))
    assert vars(again).keys() == vars(ours).keys()
    if configuration in ("adam", "sgd"):
        for _ in range(2):
            np.testing.assert_array_equal(ours.partial_fit(X, y).coefs_[0], again.partial_fit(X, y).coefs_[0])
        assert vars(ours._optimizer).keys() == vars(again._optimizer).keys()
    for name in {"loss_curve_", "validation_scores_"} & vars(ours).keys():
        assert getattr(again, name) == getattr(ours, name)
        assert type(getattr(again, name)) is type(getattr(ours, name))


@pytest.mark.parametrize("configuration", ["adam", "sgd"])
def test_what_earlier_versions_stored_of_the_optimizer_loads(fitted, configuration):
    """The layers as a table (n, 7), which begins with their sizes, and the memory as ``state``."""
    X, y, ours = fitted(**CONFIGURATIONS[configuration])
    stored = pickle.loads(pickle.dumps(ours)).__getstate__()
    fields = stored["_optimizer"]
    sizes, layers = fields.pop("sizes"), np.zeros((3, 7), np.intp)
    layers[:, 0], layers[:, 1] = sizes[:-1], sizes[1:]
    fields |= {"layers": layers, "state": fields.pop("memory")}
    again = type(ours).__new__(type(ours))
    again.__setstate__(stored)
    for _ in range(2):
        np.testing.assert_array_equal(ours.partial_fit(X, y).coefs_[0], again.partial_fit(X, y).coefs_[0])
    assert again._optimizer.t == ours._optimizer.t > 10
    assert again._optimizer.learning_rate == ours._optimizer.learning_rate
    fields["state"] = fields["state"][:, 1:]
    with pytest.raises(ValueError, match=r"the memory of .* for layers of sizes .* does not have the shape"):
        type(ours).__new__(type(ours)).__setstate__(stored)


@pytest.mark.pairwise
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_whose_objects_are_in_the_state(fitted, target, configuration):
    _, _, ours = fitted(target, **CONFIGURATIONS[configuration])
    strings, modules = [], set()
    for code, argument, _ in pickletools.genops(pickle.dumps(ours, protocol=4)):
        if isinstance(argument, str):
            strings.append(argument)
        if code.name == "STACK_GLOBAL":
            modules.add(next(s for s in reversed(strings[:-1]) if "." in s or s == "numpy"))
    own = {module for module in modules if module.startswith("fastprop")}
    assert own == {type(ours).__module__}
    assert {module.partition(".")[0] for module in modules} <= {"fastprop", "numpy", "sklearn"}


@pytest.mark.pairwise
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "one output", "poisson"])
def test_skops_has_to_trust_the_class_only(fitted, target, configuration):
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    _, _, ours = fitted(target, **CONFIGURATIONS[configuration])
    converted = type(ours).from_sklearn(ours.to_sklearn())
    for estimator in (ours, converted):
        assert io.get_untrusted_types(data=io.dumps(estimator)) == [f"{type(ours).__module__}.{type(ours).__name__}"]


@pytest.mark.pairwise
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_size_without_the_optimizer(configuration, dtype, store):
    """300 x 300 + 300 x 100 weights, after enough epochs to see what the loss curve adds."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 300)).astype(dtype), np.arange(20) % 10
    parameters = {"max_iter": 200, "n_iter_no_change": 200} | CONFIGURATIONS[configuration]
    ours = fastprop.MLPClassifier((300, 100), random_state=np.random.RandomState(0), **parameters).fit(X, y)
    n_bytes = sum(array.nbytes for array in ours.coefs_ + ours.intercepts_)
    assert n_bytes > 100_000 * ours.coefs_[0].itemsize
    dump, load = STORES[store]
    n_slots = {"adam": 2, "early stopping": 2, "sgd": 1, "lbfgs": 0}[configuration]
    before = len(dump(ours))
    assert (1 + n_slots) * n_bytes <= before <= (1.12 + n_slots) * n_bytes
    assert ours.drop_optimizer_state() is ours
    stored = dump(ours)
    assert n_bytes <= len(stored) <= 1.1 * n_bytes
    again = load(stored)
    assert len(dump(again)) <= 1.1 * n_bytes
    np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_training_without_the_optimizers_state_starts_a_new_one(fitted, assert_same, solver):
    X, y, ours = fitted(solver=solver)
    theirs = ours.to_sklearn()
    kept = pickle.loads(pickle.dumps(ours)).partial_fit(X, y)
    del theirs._optimizer  # scikit-learn's class makes a new one then too
    again = pickle.loads(pickle.dumps(ours.drop_optimizer_state()))
    theirs.set_params(learning_rate_init=0.01)
    again.set_params(learning_rate_init=0.01)
    assert_same(again.partial_fit(X, y), theirs.partial_fit(X, y))
    assert again._optimizer.learning_rate_init == 0.01
    assert (again.coefs_[0] != kept.coefs_[0]).any()
    converted = again.drop_optimizer_state().to_sklearn()
    assert not hasattr(converted, "_optimizer")
    assert_same(again.partial_fit(X, y), converted.partial_fit(X, y))


def test_dropping_where_there_is_nothing_to_drop(fitted, pair):
    X, _, ours = fitted(solver="lbfgs")
    before = ours.predict(X)
    np.testing.assert_array_equal(ours.drop_optimizer_state().drop_optimizer_state().predict(X), before)
    assert not hasattr(pair("binary")[0].drop_optimizer_state(), "coefs_")


def test_fit_after_dropping(fitted):
    X, y, ours = fitted()
    before = [w.copy() for w in ours.coefs_]
    ours.drop_optimizer_state().fit(X, y)
    np.testing.assert_array_equal(before[0], ours.coefs_[0])
    ours.drop_optimizer_state().set_params(warm_start=True).fit(X, y)

"""to_sklearn and from_sklearn: the same parameters, attributes and predictions, and training that goes on, in both directions."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from sklearn.base import clone

import fastprop
from fastprop import patch_sklearn
from fastprop.estimators.interop import class_of_ours
from fastprop.estimators.scikit_learns_form import OWN_ATTRIBUTES

TARGETS = ["binary", "multiclass", "multilabel", "one output", "two outputs", "poisson"]
CONFIGURATIONS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True},
    "linear": {"hidden_layer_sizes": ()},
    "random stream": {"random_state": "stream"},
}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.fixture
def fitted(data, pair):
    """fitted(target, dtype, sparse, **parameters) -> X, y, ours, theirs: one of each class, fitted apart."""

    def fitted(target="multiclass", dtype=np.float64, sparse=False, **parameters):
        X, y = data(target, dtype=dtype)
        X = scipy.sparse.csr_array(np.where(X > 0.5, X, 0)) if sparse else X
        parameters = {"hidden_layer_sizes": (5, 4), "max_iter": 4, "random_state": 0, "batch_size": 20} | parameters
        estimators = pair(target, **parameters)
        if parameters["random_state"] == "stream":
            for estimator in estimators:
                estimator.set_params(random_state=np.random.RandomState(3))
        return X, y, *(estimator.fit(X, y) for estimator in estimators)

    return fitted


def _arrays(value):
    """All arrays in an attribute."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, list | tuple):
        return [array for part in value for array in _arrays(part)]
    return (
        _arrays([*value.values()]) if isinstance(value, dict) else _arrays([*vars(value).values()]) if hasattr(value, "ms") else []
    )


def _assert_converted(given, converted, X):
    """The same parameters and attributes, nothing shared, the same predictions to rounding."""
    theirs = given if type(given).__module__.startswith("sklearn.") else converted
    for name, value in theirs.get_params().items():
        ours = converted.get_params()[name], given.get_params()[name]
        assert ours[0] is ours[1] or isinstance(value, np.random.RandomState) or ours[0] == ours[1] == value, name
    own = class_of_ours(type(converted if theirs is given else given))
    differences = {"_network", "_optimizer", *OWN_ATTRIBUTES, *(["loss"] if hasattr(given, "classes_") else [])}
    differences |= {*own._get_param_names()} - {*theirs.get_params()}
    assert vars(given).keys() ^ vars(converted).keys() <= differences - {"_optimizer"}
    for name in vars(given).keys() - differences - given.get_params().keys() - {"_random_state", "_label_binarizer"}:
        before, after = getattr(given, name), getattr(converted, name)
        if _arrays(before):
            for a, b in zip(_arrays(before), _arrays(after), strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
                assert not np.shares_memory(a, b)
        else:
            assert before == after, name
            assert before is not after or not isinstance(before, list)
    outputs = [e.predict_proba(X) if hasattr(e, "classes_") else e.predict(X) for e in (given, converted)]
    assert outputs[0].dtype == outputs[1].dtype
    scale = np.abs(outputs[0]).max()
    np.testing.assert_allclose(*outputs, rtol=0, atol=scale * (1e-5 if outputs[0].dtype == np.float32 else 1e-13))
    if not hasattr(given, "classes_"):
        return
    assert converted.classes_.tolist() == given.classes_.tolist()
    np.testing.assert_array_equal(given.predict(X), converted.predict(X))


def _can_go_on(estimator):
    return not estimator.early_stopping and hasattr(estimator, "partial_fit") and estimator.solver != "lbfgs"


@pytest.mark.pairwise
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_both_directions(fitted, assert_same, target, configuration):
    X, y, ours, theirs = fitted(target, **CONFIGURATIONS[configuration])
    converted = ours.to_sklearn(), type(ours).from_sklearn(theirs)
    assert type(converted[0]) is type(theirs)
    assert type(converted[1]) is type(ours)
    for given, result in zip((ours, theirs), converted, strict=True):
        _assert_converted(given, result, X)
    if not _can_go_on(ours):
        return
    # Three steps of four models: two that were never converted, and two that were.
    for part in (slice(0, 50), slice(20, 90), slice(0, 90)):
        for estimator in (ours, theirs, *converted):
            estimator.partial_fit(X[part], y[part])
        assert_same(ours, converted[0])
        assert_same(converted[1], theirs)


@pytest.mark.pairwise
@pytest.mark.parametrize("options", [{"dtype": np.float32}, {"sparse": True}], ids=["float32", "sparse"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_other_data(fitted, assert_same, tolerance, target, solver, options):
    X, y, ours, theirs = fitted(target, solver=solver, **options)
    converted = ours.to_sklearn(), type(ours).from_sklearn(theirs)
    for given, result in zip((ours, theirs), converted, strict=True):
        _assert_converted(given, result, X)
        if _can_go_on(ours):
            pair = given.partial_fit(X, y), result.partial_fit(X, y)
            assert_same(*(pair if given is ours else pair[::-1]), tolerance["float32" if "dtype" in options else "float64"])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_there_and_back_changes_nothing(fitted, solver):
    X, y, ours, _ = fitted(solver=solver)
    again = type(ours).from_sklearn(ours.to_sklearn())
    assert vars(again).keys() == vars(ours).keys()
    np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))
    if solver != "lbfgs":
        np.testing.assert_array_equal(again.partial_fit(X, y).coefs_[0], ours.partial_fit(X, y).coefs_[0])


def test_the_optimizer(fitted):
    for solver, names in (("adam", ("ms", "vs")), ("sgd", ("velocities",))):
        _, _, ours, theirs = fitted(solver=solver)
        for given, converted in ((ours, ours.to_sklearn()), (theirs, type(ours).from_sklearn(theirs))):
            before, after = given._optimizer, converted._optimizer
            for name in names:
                for a, b in zip(getattr(before, name), getattr(after, name), strict=True):
                    np.testing.assert_array_equal(a, b)
                    assert not np.shares_memory(a, b)
            for name in set(vars(theirs._optimizer)) - set(names):
                assert getattr(before, name) == getattr(after, name)


def test_unfitted(pair):
    for target in ("binary", "poisson"):
        ours, theirs = pair(target, hidden_layer_sizes=(3, 2), alpha=0.5, random_state=np.random.RandomState(0))
        for given, converted in ((ours, ours.to_sklearn()), (theirs, type(ours).from_sklearn(theirs))):
            assert converted.get_params()["alpha"] == 0.5
            assert converted.hidden_layer_sizes == (3, 2)
            assert converted.random_state is not given.random_state
            assert not hasattr(converted, "coefs_")
        assert vars(type(ours).from_sklearn(theirs)).keys() == vars(ours).keys()
        assert vars(ours.to_sklearn()).keys() == vars(theirs).keys()
        clone(ours.to_sklearn())


def test_assigned_weights_are_converted(fitted):
    X, _, ours, _ = fitted()
    ours.coefs_[0] = np.asfortranarray(2 * ours.coefs_[0])
    np.testing.assert_allclose(ours.to_sklearn().predict_proba(X), ours.predict_proba(X), rtol=1e-12)


def test_feature_names(data, pair):
    pandas = pytest.importorskip("pandas", reason="needs data with column names")
    X, y = data("binary")
    X = pandas.DataFrame(X, columns=list("abcdefg"))
    ours, theirs = (estimator.set_params(max_iter=2).fit(X, y) for estimator in pair("binary"))
    for converted in (ours.to_sklearn(), type(ours).from_sklearn(theirs)):
        assert converted.feature_names_in_.tolist() == list("abcdefg")
        converted.predict(X)


def test_metadata_requests(pair):
    with sklearn.config_context(enable_metadata_routing=True):
        ours, theirs = (estimator.set_fit_request(sample_weight=True) for estimator in pair("one output"))
        for converted in (ours.to_sklearn(), type(ours).from_sklearn(theirs)):
            assert converted.get_metadata_routing().fit.requests["sample_weight"] is True


def test_other_classes_are_refused(pair):
    class Changed(sklearn.neural_network.MLPClassifier):
        pass

    ours, theirs = pair("binary")
    regressor = pair("one output")[1]
    for wrong in (regressor, ours, Changed(), sklearn.neural_network.MLPClassifier, None):
        with pytest.raises(TypeError, match=r"from_sklearn needs an instance of sklearn\.neural_network\.MLPClassifier itself"):
            fastprop.MLPClassifier.from_sklearn(wrong)
    with pytest.raises(TypeError, match="MLPRegressor itself"):
        fastprop.MLPRegressor.from_sklearn(theirs)


def test_subclasses(fitted):
    class Own(fastprop.MLPClassifier):
        pass

    X, y, _, theirs = fitted()
    own = Own.from_sklearn(theirs)
    assert type(own) is Own
    assert type(own.to_sklearn()) is type(theirs)
    own.partial_fit(X, y)


def test_conversion_under_the_patch(fitted):
    X, _, ours, theirs = fitted()
    with patch_sklearn():
        assert type(ours.to_sklearn()) is type(theirs)
        np.testing.assert_allclose(type(ours).from_sklearn(theirs).predict_proba(X), ours.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_a_stored_model_of_scikit_learn_loads_as_fastprops_under_the_patch(fitted, assert_same, target):
    X, y, ours, theirs = fitted(target)
    stored = pickle.dumps(theirs)
    with patch_sklearn():
        loaded = pickle.loads(stored)
    assert type(loaded) is type(ours)
    assert_same(loaded.partial_fit(X, y), theirs.partial_fit(X, y))
    assert loaded.get_params().keys() == ours.get_params().keys()


# Attributes that older versions of scikit-learn had not yet: the first version with them -> names
NOT_BEFORE = {
    (1, 0): ["best_loss_ of early stopping", "validation_scores_ without", "best_validation_score_ without", "feature_names_in_"],
    (1, 6): ["_best_coefs without", "_best_intercepts without"],
}


def _as_stored_by(version, estimator):
    """The state as an older scikit-learn stored it (compared with pickles of 1.2, 1.4 and 1.6, but not of 0.24)."""
    state = {**copy.deepcopy(vars(estimator)), "_sklearn_version": ".".join(map(str, version))}
    when = "of early stopping" if estimator.early_stopping else "without"
    for first, names in NOT_BEFORE.items():
        for name in names if version < first else ():
            if not name.partition(" ")[2] or name.endswith(when):
                state.pop(name.partition(" ")[0], None)
    if version < (1, 0) and "_optimizer" in state:
        state["_optimizer"].params = [*state["coefs_"], *state["intercepts_"]]
    return state


@pytest.mark.parametrize("configuration", ["adam", "sgd", "lbfgs", "early stopping"])
@pytest.mark.parametrize("version", [(0, 24, 2), (1, 2, 2), (1, 6, 1)], ids=str)
def test_a_stored_model_of_an_older_scikit_learn(fitted, assert_same, version, configuration):
    X, y, ours, theirs = fitted("binary", warm_start=True, **CONFIGURATIONS[configuration])
    loaded = type(ours).__new__(type(ours))
    loaded.__setstate__(_as_stored_by(version, theirs))
    np.testing.assert_array_equal(loaded.predict(X), theirs.predict(X))
    pickle.loads(pickle.dumps(loaded)).to_sklearn()
    if configuration == "early stopping":  # its weights may differ: scikit-learn trains on the best ones themselves
        np.testing.assert_allclose(loaded.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, rtol=1e-9)
    elif configuration != "lbfgs":
        assert_same(loaded.partial_fit(X, y), theirs.partial_fit(X, y))


def test_a_stored_model_of_a_subclass_of_scikit_learns(fitted, assert_same):
    """Derived from scikit-learn's class, where there is no patch, it is stored without a version."""
    X, y, ours, theirs = fitted()
    loaded = type("Own", (type(ours),), {})()
    loaded.__setstate__(copy.deepcopy(vars(theirs)))
    assert_same(loaded.partial_fit(X, y), theirs.partial_fit(X, y))

"""What the tests of the estimators share: data for each kind of target, and the comparison with scikit-learn's own classes."""

import importlib
import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

import fastprop
from fastprop.estimators.scikit_learns_form import OWN_ATTRIBUTES

TARGETS = ("binary", "multiclass", "multilabel", "one output", "two outputs", "poisson")
# Before 1.9, scikit-learn's early stopping fails on strings (scikit-learn#33760).
STRINGS_STOP_EARLY = parse_version(sklearn.__version__) >= parse_version("1.9")
LABELS = np.array(list("abcd")) if STRINGS_STOP_EARLY else np.array([1, 2, 5, 9])
# Largest difference allowed, relative to the largest number of the array. float64: sums in another order give up to 1e-12 after
# 200 epochs. float32: over at most 10 epochs.
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}


def _data(target, n_samples=90, n_features=7, dtype=np.float64, seed=0):
    """X and y; the classes are strings where scikit-learn can use them, so that nothing relies on their being numbers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    signal = np.tanh(X @ rng.normal(size=(n_features, 4))) + 0.3 * rng.normal(size=(n_samples, 4))
    y = {
        "binary": LABELS[(signal[:, 0] > 0).astype(int)],
        "multiclass": LABELS[signal.argmax(axis=1)],
        "multilabel": (signal[:, :3] > 0).astype(int),
        "one output": signal[:, 0],
        "two outputs": 3 * signal[:, :2],
        "poisson": rng.poisson(np.exp(signal[:, 0])).astype(float),
    }[target]
    return X.astype(dtype), y.astype(dtype) if y.dtype.kind == "f" else y


def _pair(target, **parameters):
    """(fastprop's estimator, scikit-learn's) for a kind of target."""
    name = "MLPClassifier" if target in TARGETS[:3] else "MLPRegressor"
    if target == "poisson":
        parameters["loss"] = "poisson"
    return getattr(fastprop, name)(**parameters), getattr(sklearn.neural_network, name)(**parameters)


def _close(ours, theirs, tolerance):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    scale = np.nanmax(np.abs(theirs), initial=0.0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)


def _assert_same(ours, theirs, tolerance=TOLERANCE["float64"]):
    """Fail unless everything that two fitted estimators learnt agrees, and they have the same fitted attributes."""
    public = [{name for name in vars(e) if name.endswith("_") and not name.startswith("_")} for e in (ours, theirs)]
    assert public[0].difference(OWN_ATTRIBUTES) == public[1]
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert getattr(ours, "_no_improvement_count", None) == getattr(theirs, "_no_improvement_count", None)
    weights = [np.concatenate([a.ravel() for a in e.coefs_ + e.intercepts_]) for e in (ours, theirs)]
    _close(*weights, tolerance)
    assert [a.shape for a in ours.coefs_] == [a.shape for a in theirs.coefs_]
    assert [a.dtype for a in ours.coefs_] == [a.dtype for a in theirs.coefs_]
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        if getattr(theirs, name, None) is None:
            assert getattr(ours, name, None) is None, name
        else:
            _close(getattr(ours, name), getattr(theirs, name), tolerance)
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)


@pytest.fixture(scope="session")
def data():
    """data(target, n_samples=90, n_features=7, dtype=np.float64, seed=0) -> X, y."""
    return _data


@pytest.fixture(scope="session")
def pair():
    """pair(target, **parameters) -> fastprop's estimator, scikit-learn's."""
    return _pair


@pytest.fixture(scope="session")
def assert_same():
    """assert_same(ours, theirs, tolerance): the fitted attributes of two estimators agree."""
    return _assert_same


@pytest.fixture(scope="session")
def tolerance():
    """tolerance["float64"], tolerance["float32"]."""
    return TOLERANCE


@pytest.fixture(scope="session")
def strings_stop_early():
    """Whether scikit-learn's own class can stop early where the labels are strings."""
    return STRINGS_STOP_EARLY


@pytest.fixture
def no_convergence_warning():
    """Training is cut short in most tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    """The module; a frame is made by ``library.DataFrame(dict)``."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    module = importlib.import_module(request.param)
    if not hasattr(StandardScaler().fit(module.DataFrame({"a": [1.0, 2.0]})), "feature_names_in_"):
        pytest.skip(f"this scikit-learn is too old to see the names of {request.param} {module.__version__}")
    return module

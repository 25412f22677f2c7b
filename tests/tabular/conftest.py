"""What the tests of the estimators for tables share: small data, estimators that train for a moment, and what one has learnt."""

import itertools
import runpy
import time
from pathlib import Path

import numpy as np
import pytest

from fastprop import TabularClassifier, TabularRegressor
from fastprop.tabular import recipe

FRAMES = runpy.run_path(str(Path(__file__).parents[1] / "frames.py"))
frame, columns, make_frame, pandas = (FRAMES[name] for name in ("frame", "columns", "make_frame", "pandas"))
KINDS = ("binary", "multiclass", "one output", "two outputs")
SMALL = {"n_members": 2, "max_iter": 3, "hidden_layer_sizes": (8, 6), "random_state": 0}


def _data(kind, n=90, seed=0):
    """X (n, 4) with gaps and one column of few distinct numbers, and y; classes are strings."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    X[:, 2] = rng.integers(0, 3, n)
    signal = X[:, :2] + 0.3 * X[:, 2:] + 0.1 * rng.normal(size=(n, 2))
    X[::11, 3] = np.nan
    y = {
        "binary": np.where(signal[:, 0] > 0, "yes", "no"),
        "multiclass": np.array(list("abc"))[(signal > 0).sum(axis=1)],
        "one output": 10 + 3 * signal[:, 0],
        "two outputs": 10 * signal,
    }[kind]
    return X, y


def _make(kind, **parameters):
    return (TabularClassifier if kind in KINDS[:2] else TabularRegressor)(**SMALL | parameters)


def _outputs(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def _assert_same(ours, other, X=None):
    """Fail unless two fitted estimators have learnt the same, to the bit."""
    about_others = {"_skl_callbacks", "_metadata_request"}
    assert vars(ours).keys() - about_others == vars(other).keys() - about_others
    for name in ("loss_curves_", "validation_loss_curves_", "best_iters_", "n_iter_", "n_features_in_"):
        assert getattr(ours, name, None) == getattr(other, name, None), name
    for a, b in zip(ours.members_, other.members_, strict=True):
        np.testing.assert_array_equal(a.params, b.params)
    if X is not None:
        np.testing.assert_array_equal(_outputs(ours, X), _outputs(other, X))


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """No training of these few epochs ends by itself, whatever the recipe says."""
    monkeypatch.setattr(recipe, "PATIENCE", 1000)


@pytest.fixture
def clock(monkeypatch):
    """clock(): from now on a second passes with each look at the clock; for `max_time`."""

    def clock():
        now = itertools.count()
        monkeypatch.setattr(time, "monotonic", lambda: next(now))

    return clock


@pytest.fixture(scope="session")
def data():
    """data(kind, n=90, seed=0) -> X, y."""
    return _data


@pytest.fixture(scope="session")
def make():
    """make(kind, **parameters): an estimator for this kind of y."""
    return _make


@pytest.fixture(scope="session")
def outputs():
    """outputs(model, X): probabilities, or predictions of a regressor."""
    return _outputs


@pytest.fixture(scope="session")
def assert_same():
    """assert_same(ours, other, X=None): two estimators have learnt the same, to the bit."""
    return _assert_same

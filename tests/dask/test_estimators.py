"""The estimators as objects: parameters, copies, predictions, and how they live with scikit-learn and joblib."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("distributed", reason="dask and distributed are not installed")
import dask.array as da
import dask.dataframe as dd
import joblib
import pandas as pd
from dask import delayed
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastprop import MLPClassifier, MLPRegressor
from fastprop.dask import DaskMLPClassifier, DaskMLPRegressor


@pytest.fixture(scope="module")
def model(session_client, rows, options):
    X, y = rows
    given = da.from_array(X, chunks=(200, -1)), da.from_array(np.array(["a", "b", "c"])[y], chunks=200)
    return DaskMLPClassifier(client=session_client, **options).fit(*given)


@pytest.mark.parametrize(("ours", "plain"), [(DaskMLPClassifier, MLPClassifier), (DaskMLPRegressor, MLPRegressor)])
def test_parameters_are_those_of_the_plain_one_and_six(ours, plain):
    own = {"client", "sync_every", "outer_momentum", "shuffle_partitions", "round_timeout", "checkpoint"}
    assert ours().get_params() == plain().get_params() | dict.fromkeys(own) | {
        "sync_every": "epoch",
        "outer_momentum": "auto",
        "shuffle_partitions": True,
    }
    assert repr(ours(alpha=0.5, sync_every=7)) == f"{ours.__name__}(alpha=0.5, sync_every=7)"
    assert ours().set_params(alpha=3, sync_every=7).get_params()["sync_every"] == 7


def test_copies(session_client, model, rows):
    made = clone(model)
    assert made.client is session_client
    assert made.get_params() == model.get_params()
    assert not hasattr(made, "coefs_")
    stored = pickle.loads(pickle.dumps(model))
    assert stored.client is None
    assert model.client is session_client
    local = pickle.loads(pickle.dumps(model.to_local()))
    assert type(local) is MLPClassifier
    assert local.get_params() == MLPClassifier(**local.get_params()).get_params()
    for other in (stored, local):
        np.testing.assert_array_equal(other.predict_proba(rows[0]), model.predict_proba(rows[0]))
    assert local.partial_fit(*(rows[0], np.array(["a", "b", "c"])[rows[1]])).t_ == model.t_ + 600


def test_predictions_are_lazy(client, model, rows):
    X, _ = rows
    lazy, local = da.from_array(X, chunks=(250, 4)), model.to_local()
    for method in ("predict", "predict_proba", "predict_log_proba"):
        expected, found = getattr(local, method)(X), getattr(model, method)(lazy)
        assert isinstance(found, da.Array)
        assert (found.dtype, found.shape, found.chunks[0]) == (expected.dtype, expected.shape, (250, 250, 100))
        np.testing.assert_array_equal(found.compute(), expected)
        assert isinstance(getattr(model, method)(X), np.ndarray)
    unknown = lazy[lazy[:, 0] > 1e9]  # blocks without rows
    assert model.predict_proba(unknown).compute().shape == (0, 3)
    frame = dd.from_pandas(pd.DataFrame(X.astype(np.float32)), npartitions=3)
    np.testing.assert_array_equal(model.predict_proba(frame).compute(), local.predict_proba(X.astype(np.float32)))
    np.testing.assert_array_equal(model.predict([delayed(X[:9]), delayed(X[9:])]).compute(), local.predict(X))
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict(lazy[:, :3]).compute()


def test_a_regressor_of_two_targets(client, rows, options):
    X, _ = rows
    lazy = da.from_array(X.astype(np.float32), chunks=(200, -1))
    model = DaskMLPRegressor(**options | {"max_iter": 60}).fit(lazy, lazy[:, :2])
    found = model.predict(lazy)
    assert (found.dtype, found.shape) == (np.float32, (600, 2))
    np.testing.assert_array_equal(found.compute(), model.to_local().predict(X.astype(np.float32)))
    assert model.score(X, X[:, :2]) > 0.5


def test_without_a_client(lazy, monkeypatch):
    def none():
        raise ValueError("No global client found")

    monkeypatch.setattr("fastprop.dask.base.get_client", none)
    with pytest.raises(ValueError, match="client must be given"):
        DaskMLPClassifier().fit(*lazy)


def test_a_search_on_the_cluster(client, rows, options):
    """Of plain estimators: each fit is a task."""
    X, y = rows
    search = GridSearchCV(MLPClassifier(**options), {"alpha": [1e-4, 1.0]}, cv=2)
    with joblib.parallel_config(backend="dask"):
        search.fit(X, y)
    reference = GridSearchCV(MLPClassifier(**options), {"alpha": [1e-4, 1.0]}, cv=2).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], reference.cv_results_["mean_test_score"])


def test_fastprop_alone_does_not_import_dask():
    code = "import fastprop, sys; sys.exit(any(name in sys.modules for name in ('dask', 'distributed')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""The estimators inside scikit-learn: parameters, tags, routing, pipelines, searches, parallel fits, feature names."""

import inspect
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

import fastprop
from fastprop import kernels

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_parameters_are_scikit_learns_and_others_behind_them(pair, target):
    ours, theirs = pair(target)
    a, b = (inspect.signature(type(e).__init__).parameters for e in (ours, theirs))
    assert [*a][: len(b)] == [*b]
    assert [a[name].kind for name in b] == [b[name].kind for name in b]
    own = {name: a[name].default for name in [*a][len(b) :]}
    assert ours.get_params() == theirs.get_params() | {name: value for name, value in own.items() if name != "self"}
    assert all(a[name].kind == inspect.Parameter.KEYWORD_ONLY and hasattr(type(ours), name) for name in own)
    for method in ("fit", "predict", "score", *(["partial_fit", "predict_proba"] if target == "multiclass" else ["partial_fit"])):
        a, b = (list(inspect.signature(getattr(e, method)).parameters) for e in (ours, theirs))
        assert a == b + (["X_val", "y_val", "sample_weight_val"] if method == "fit" else []), method
    assert ours.loss == theirs.loss


def test_what_must_not_be_there(pair):
    for target in ("multiclass", "one output"):
        assert not hasattr(pair(target)[0], "decision_function")
    assert not hasattr(pair("one output")[0], "predict_proba")


def test_clone_and_set_params(pair):
    ours, _ = pair("multiclass", alpha=0.5, hidden_layer_sizes=[3, 4])
    ours.set_params(n_jobs=2)
    assert clone(ours).get_params() == ours.get_params()
    assert clone(ours).set_params(alpha=1, n_jobs=-1).get_params()["n_jobs"] == -1
    assert repr(fastprop.MLPClassifier(alpha=0.5)) == "MLPClassifier(alpha=0.5)"


def test_tags_are_honest(pair):
    for target in ("multiclass", "one output"):
        ours, theirs = map(get_tags, pair(target))
        ours.target_tags.multi_output = theirs.target_tags.multi_output  # scikit-learn's regressor does not say that it can
        assert ours.transformer_tags.preserves_dtype == ["float64", "float32"]
        ours.transformer_tags = None
        assert ours == theirs
    assert is_classifier(pair("multiclass")[0])
    assert is_regressor(pair("one output")[0])


def test_tags_that_follow_from_parameters():
    def tags(**parameters):
        return get_tags(fastprop.MLPRegressor(**parameters))

    positive = {"poisson", "gamma", "tweedie"}
    for loss in ("squared_error", "absolute_error", "huber", "quantile", *positive, "unknown"):
        assert tags(loss=loss).target_tags.positive_only == (loss in positive)
    assert tags(loss="quantile", quantile=0.9).target_tags.multi_output
    assert not tags(loss="quantile", quantile=[0.1, 0.9]).target_tags.multi_output
    assert tags(solver="lbfgs").transformer_tags.preserves_dtype == ["float64"]  # where SciPy computes


def test_html(pair):
    for target in ("multiclass", "one output"):
        ours, _ = pair(target)
        assert type(ours).__name__ in ours._repr_html_()


def test_pipeline_grid_search_and_cross_validation(data, pair):
    X, y = data("multiclass")
    results = []
    for estimator in pair("multiclass", **SMALL):
        pipeline = make_pipeline(StandardScaler(), estimator)
        name = f"{type(estimator).__name__.lower()}__alpha"
        search = GridSearchCV(pipeline, {name: [1e-4, 10.0]}, cv=3).fit(X, y)
        scores = cross_val_score(pipeline, X, y, cv=3)
        results.append((search.cv_results_["mean_test_score"], search.predict(X), scores, cross_val_predict(pipeline, X, y)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_regression_in_cross_validation(data, pair):
    X, y = data("two outputs")
    a, b = (cross_val_score(estimator, X, y, cv=3) for estimator in pair("two outputs", **SMALL))
    np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_fits(data, pair, backend):
    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL)
    with joblib.parallel_backend(backend):
        parallel = cross_val_score(ours, X, y, cv=4, n_jobs=2)
        bagged = BaggingClassifier(ours, n_estimators=4, random_state=0, n_jobs=2).fit(X, y).predict(X)
    np.testing.assert_array_equal(parallel, cross_val_score(ours, X, y, cv=4))
    np.testing.assert_array_equal(bagged, BaggingClassifier(ours, n_estimators=4, random_state=0).fit(X, y).predict(X))


def test_as_part_of_a_multi_output_classifier(data, pair):
    X, y = data("multilabel")
    a, b = (MultiOutputClassifier(e).fit(X, y).predict(X) for e in pair("binary", **SMALL))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_methods_of_a_classifier(data, pair, target):
    X, y = data(target)
    ours, theirs = (estimator.fit(X, y) for estimator in pair(target, **SMALL))
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-9)
    weight = np.arange(len(y))
    assert ours.score(X, y, weight) == theirs.score(X, y, weight)
    assert ours.score(X, y) == accuracy_score(y, ours.predict(X))


def test_methods_of_a_regressor(data, pair):
    for target in ("one output", "two outputs", "poisson"):
        X, y = data(target)
        ours, theirs = (estimator.fit(X, y) for estimator in pair(target, **SMALL))
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9, atol=1e-12)
        assert ours.score(X, y) == r2_score(y, ours.predict(X))
        assert ours.predict(X[:1]).shape == theirs.predict(X[:1]).shape


@pytest.mark.parametrize("labels", [np.array([0.5, 2.5, -1.0]), np.array(["x", "yy", "z"], object), np.array([True, False])])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_labels_of_other_types(data, pair, assert_same, strings_stop_early, labels, early_stopping):
    if early_stopping and labels.dtype == object and not strings_stop_early:
        pytest.skip("this version of scikit-learn cannot do it (scikit-learn#33760)")
    X, _ = data("multiclass")
    y = labels[np.random.default_rng(0).integers(len(labels), size=len(X))]
    if labels.dtype == float:
        with pytest.raises(ValueError, match="Unknown label type"):
            pair("multiclass", **SMALL)[0].fit(X, y)
        y = y * 2
    ours, theirs = (e.fit(X, y) for e in pair("multiclass", early_stopping=early_stopping, **SMALL))
    assert_same(ours, theirs)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype


def test_one_class_only(data, pair, assert_same):
    X, _ = data("binary")
    for early_stopping in (False, True):
        ours, theirs = (e.fit(X, [7] * len(X)) for e in pair("binary", early_stopping=early_stopping, **SMALL))
        assert_same(ours, theirs)
        assert ours.predict_proba(X).shape == theirs.predict_proba(X).shape == (len(X), 2)
        assert set(ours.predict(X)) == {7}


def test_sparse_multilabel_targets(data, pair, assert_same):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data("multilabel")
    for container in (sparse.csr_matrix, sparse.csr_array):
        ours, theirs = (e.fit(X, container(y)) for e in pair("multilabel", **SMALL))
        assert_same(ours, theirs)
        a, b = ours.predict(X), theirs.predict(X)
        assert type(a) is type(b)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.toarray(), b.toarray())


def test_feature_names(data, pair):
    pandas = pytest.importorskip("pandas")
    X, y = data("multiclass")
    frame = pandas.DataFrame(X, columns=list("abcdefg"))
    ours, theirs = (e.fit(frame, y) for e in pair("multiclass", early_stopping=True, **SMALL))
    np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)
    np.testing.assert_array_equal(ours.predict(frame), theirs.predict(frame))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        ours.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        ours.predict(frame[list("gfedcba")])


def test_metadata_routing(data, pair):
    X, y = data("multiclass")
    weight = np.linspace(0, 1, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        requests, losses, scaler = [], [], StandardScaler().set_fit_request(sample_weight=False)
        for estimator in pair("multiclass", **SMALL):
            routing = estimator.get_metadata_routing()
            requests.append({method: getattr(routing, method).requests for method in ("fit", "partial_fit", "score")})
            estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            estimator.set_partial_fit_request(sample_weight=True, classes=True)
            losses.append(make_pipeline(scaler, estimator).fit(X, y, sample_weight=weight)[-1].loss_curve_)
    requests[0]["fit"] = {name: requests[0]["fit"][name] for name in requests[1]["fit"]}
    assert requests[0] == requests[1]
    assert requests[0]["partial_fit"] == {"sample_weight": None, "classes": None}
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_a_random_state_is_not_copied(data, pair, assert_same):
    """Two fits in a row take the stream on."""
    X, y = data("multiclass")
    estimators = pair("multiclass", **SMALL)
    assert_same(*(e.set_params(random_state=np.random.RandomState(4)).fit(X, y).fit(X, y) for e in estimators))


def test_a_pickle_loads_in_a_process_that_never_imported_fastprop(data, pair, tmp_path):
    """Which thereby imports neither Numba nor scikit-learn's own networks."""
    X, y = data("multiclass")
    ours = pair("multiclass", **SMALL)[0].fit(X, y)
    (tmp_path / "model").write_bytes(pickle.dumps((ours, X)))
    code = "import pickle, sys; model, X = pickle.load(open(sys.argv[1], 'rb')); print(*model.predict(X)); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "model"], capture_output=True, text=True, env=os.environ)
    assert result.returncode == 0, result.stderr
    labels, modules = map(str.split, result.stdout.splitlines())
    assert labels == [str(label) for label in ours.predict(X)]
    assert "fastprop.estimators" in modules
    assert "sklearn.neural_network" not in modules
    if kernels.active.backend == "cython":
        assert "numba" not in modules

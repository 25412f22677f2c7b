"""Metadata routing: sample_weight and classes on their way through pipelines and searches, as with scikit-learn's classes."""

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 9, "learning_rate_init": 0.05, "random_state": 0}
TARGETS = ["multiclass", "one output"]

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.fixture(autouse=True)
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def _weight(y):
    return np.where(np.arange(len(y)) % 3 == 0, 5.0, 0.1)


def _name(estimator):
    return type(estimator).__name__.lower()


@pytest.mark.parametrize("target", TARGETS)
def test_requests(pair, target):
    requests = []
    for estimator in pair(target):
        methods = ("fit", "partial_fit", "score")
        by_default = {m: getattr(estimator.get_metadata_routing(), m).requests for m in methods}
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight="other").set_partial_fit_request(
            sample_weight=False
        )
        changed = {m: getattr(estimator.get_metadata_routing(), m).requests for m in methods}
        for each in (by_default, changed):
            each["fit"] = {name: value for name, value in each["fit"].items() if not name.endswith("_val")}
        requests.append((by_default, changed))
        with pytest.raises(TypeError, match="Unexpected args"):
            estimator.set_fit_request(unknown=True)
    assert requests[0] == requests[1]
    assert hasattr(pair(target)[0], "set_predict_request") == hasattr(pair(target)[1], "set_predict_request")


@pytest.mark.parametrize("request_it", [True, False, "my_weight"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_pipeline(data, pair, assert_same, target, request_it):
    X, y = data(target)
    fitted = []
    for estimator in pair(target, **SMALL):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, estimator.set_fit_request(sample_weight=request_it))
        metadata = {"sample_weight": _weight(y)} | ({"my_weight": _weight(y)[::-1]} if request_it == "my_weight" else {})
        fitted.append(pipeline.fit(X, y, **metadata)[-1])
    assert_same(*fitted)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_not_requested_is_refused(data, pair, target):
    X, y = data(target)
    texts = []
    for estimator in pair(target, **SMALL):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight") as caught:
            cross_validate(estimator, X, y, params={"sample_weight": _weight(y)}, error_score="raise")
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("target", TARGETS)
def test_cross_validate(data, pair, target):
    X, y = data(target)
    results = []
    for estimator in pair(target, **SMALL):
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        options = {"cv": KFold(3), "params": {"sample_weight": _weight(y)}, "error_score": "raise"}
        weighted = cross_validate(estimator, X, y, return_train_score=True, **options)
        estimator.set_fit_request(sample_weight=False)
        only_score = cross_val_score(estimator, X, y, **options)
        results.append([weighted["test_score"], weighted["train_score"], only_score])
    np.testing.assert_allclose(*results, rtol=1e-8)
    assert (results[0][0] != results[0][2]).any()


@pytest.mark.parametrize("target", TARGETS)
def test_a_search_over_a_pipeline(data, pair, target):
    X, y = data(target)
    results = []
    for estimator in pair(target, **SMALL):
        estimator.set_fit_request(sample_weight=True)
        scorer = get_scorer("accuracy" if target == "multiclass" else "r2").set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), estimator)
        search = GridSearchCV(pipeline, {f"{_name(estimator)}__alpha": [1e-4, 10.0]}, cv=KFold(3), scoring=scorer)
        search.fit(X, y, sample_weight=_weight(y))
        results.append((search.cv_results_["mean_test_score"], search.best_estimator_[-1].loss_curve_))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_partial_fit_with_classes(data, pair, assert_same):
    """A meta-estimator with partial_fit hands on classes and weights."""
    X, y = data("two outputs")
    fitted = []
    for estimator in pair("one output", **SMALL):
        both = MultiOutputRegressor(estimator.set_partial_fit_request(sample_weight=True))
        for _ in range(2):
            both.partial_fit(X, y, sample_weight=_weight(y))
        fitted.append(both.estimators_)
    for ours, theirs in zip(*fitted, strict=True):
        assert_same(ours, theirs)
    X, y = data("multiclass")
    estimators = [e.set_partial_fit_request(classes=True, sample_weight=True) for e in pair("multiclass", **SMALL)]
    assert_same(*(e.partial_fit(X, y, classes=np.unique(y), sample_weight=_weight(y)) for e in estimators))

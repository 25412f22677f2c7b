"""Metadata routing: sample_weight, X_val, y_val and sample_weight_val on their way through pipelines and searches."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import TabularClassifier, TabularRegressor

KINDS = ["multiclass", "one output"]
NAMES = ("X_val", "y_val", "sample_weight_val")


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def rows(data):
    """rows(kind) -> X, y, and validation rows as arguments; all of X are far from zero."""

    def rows(kind):
        X, y = data(kind)
        X = 50 + 10 * X
        return X[20:], y[20:], {"X_val": X[:20], "y_val": y[:20], "sample_weight_val": np.linspace(0.5, 2, 20)}

    return rows


def _asking(estimator):
    """The estimator with a request for all validation arguments."""
    return estimator.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)


def _by_hand(estimator, X, y, given):
    """What a pipeline of a scaler and the estimator should do, and the scaled X."""
    scaler = StandardScaler().fit(X)
    scaled = scaler.transform(X)
    return clone(estimator).fit(scaled, y, **given | {"X_val": scaler.transform(given["X_val"])}), scaled


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_transforms_x_val(rows, make, assert_same, kind):
    X, y, given = rows(kind)
    estimator = _asking(make(kind))
    pipeline = make_pipeline(StandardScaler(), estimator, transform_input=["X_val"]).fit(X, y, **given)
    assert_same(pipeline[-1], *_by_hand(estimator, X, y, given))
    untransformed = make_pipeline(StandardScaler(), clone(estimator)).fit(X, y, **given)[-1]
    assert untransformed.validation_loss_curves_ != pipeline[-1].validation_loss_curves_


@pytest.mark.usefixtures("routing")
def test_a_pipeline_of_frames(rows, make, assert_same, pandas):
    X, y, given = rows("multiclass")
    estimator = _asking(make("multiclass"))
    names = list("abcd")
    frames = given | {"X_val": pandas.DataFrame(given["X_val"], columns=names)}
    pipeline = make_pipeline(StandardScaler(), estimator, transform_input=["X_val"]).set_output(transform="pandas")
    pipeline.fit(pandas.DataFrame(X, columns=names), y, **frames)
    by_hand, _ = _by_hand(estimator, X, y, given)
    assert pipeline[-1].validation_loss_curves_ == by_hand.validation_loss_curves_
    assert pipeline[-1].feature_names_in_.tolist() == names


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("cls", [TabularClassifier, TabularRegressor])
def test_requests(cls):
    requests = cls().get_metadata_routing().fit.requests
    assert requests == dict.fromkeys(("sample_weight", *NAMES))
    assert cls().get_metadata_routing().score.requests == {"sample_weight": None}
    assert clone(_asking(cls())).get_metadata_routing().fit.requests.items() >= dict.fromkeys(NAMES, True).items()
    with pytest.raises(TypeError, match="Unexpected args"):
        cls().set_fit_request(unknown=True)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_requested_is_refused(rows, make, kind):
    X, y, given = rows(kind)
    with pytest.raises(UnsetMetadataPassedError, match="X_val"):
        make_pipeline(StandardScaler(), make(kind)).fit(X, y, **given)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        cross_validate(make(kind), X, y, params={"sample_weight": np.ones(len(y))}, error_score="raise")


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_over_a_pipeline(rows, make, assert_same, kind):
    X, y, given = rows(kind)
    pipeline = Pipeline([("scale", StandardScaler()), ("net", _asking(make(kind)))], transform_input=["X_val"])
    search = GridSearchCV(pipeline, {"net__n_bins": [2, 8]}, cv=KFold(2), error_score="raise").fit(X, y, **given)
    best = make(kind, n_bins=search.best_params_["net__n_bins"])
    assert_same(search.best_estimator_[-1], *_by_hand(best, X, y, given))


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("kind", KINDS)
def test_cross_validate_with_weights(rows, make, assert_same, kind):
    X, y, given = rows(kind)
    given["sample_weight"] = np.linspace(0.5, 2, len(y))
    estimator = _asking(make(kind)).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    found = cross_validate(estimator, X, y, cv=KFold(2), params=given, return_estimator=True, error_score="raise")
    for i, (inside, outside) in enumerate(KFold(2).split(X)):
        weight = given["sample_weight"]
        by_hand = clone(estimator).fit(X[inside], y[inside], **given | {"sample_weight": weight[inside]})
        assert_same(found["estimator"][i], by_hand, X)
        assert found["test_score"][i] == by_hand.score(X[outside], y[outside], weight[outside])


@pytest.mark.usefixtures("routing")
def test_a_calibrated_classifier(rows, make, assert_same):
    """It gives its estimators class numbers in y, and y_val as it is."""
    X, y, given = rows("multiclass")
    classes = np.unique(y)
    y, given["y_val"] = np.searchsorted(classes, y), np.searchsorted(classes, given["y_val"])
    estimator = _asking(make("multiclass"))
    calibrated = CalibratedClassifierCV(estimator, cv=KFold(2), ensemble=False).fit(X, y, **given)
    assert_same(calibrated.calibrated_classifiers_[0].estimator, clone(estimator).fit(X, y, **given), X)


def test_without_routing_by_the_name_of_the_step(rows, make, assert_same):
    X, y, given = rows("multiclass")
    pipeline = make_pipeline(StandardScaler(), make("multiclass"))
    scaled = given | {"X_val": StandardScaler().fit(X).transform(given["X_val"])}
    pipeline.fit(X, y, **{f"tabularclassifier__{name}": value for name, value in scaled.items()})
    assert_same(pipeline[-1], *_by_hand(pipeline[-1], X, y, given))
    search = GridSearchCV(make("multiclass"), {"n_bins": [2, 8]}, cv=KFold(2), error_score="raise").fit(X, y, **given)
    assert_same(search.best_estimator_, clone(search.best_estimator_).fit(X, y, **given), X)


def test_a_scorer_gets_the_weights_of_validation_rows(rows, make):
    X, y, given = rows("multiclass")
    seen = []

    def scoring(estimator, rows, targets, sample_weight=None):
        assert estimator.members_[0].forward(rows).shape == (20, 3)
        assert estimator.predict(rows).shape == targets.shape
        seen.append((targets, sample_weight))
        return estimator.score(rows, targets, sample_weight)

    make("multiclass", scoring=scoring).fit(X, y, **given)
    assert len(seen) == 2 * 3
    for targets, weight in seen:
        np.testing.assert_array_equal(targets, given["y_val"])
        np.testing.assert_array_equal(weight, given["sample_weight_val"])

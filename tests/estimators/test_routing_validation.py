"""X_val, y_val and sample_weight_val on their way through pipelines and searches, and the layer of `transform`."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, MLPRegressor

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "learning_rate_init": 0.05, "random_state": 0, "early_stopping": True}
TARGETS = ["multiclass", "one output"]

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def rows(data):
    """rows(target) -> X, y, and validation rows as arguments; all of X are far from zero."""

    def rows(target):
        X, y = data(target)
        X = 50 + 10 * X
        return X[20:], y[20:], {"X_val": X[:20], "y_val": y[:20], "sample_weight_val": np.linspace(0.5, 2, 20)}

    return rows


def _make(target, **parameters):
    return (MLPClassifier if target == "multiclass" else MLPRegressor)(**SMALL | parameters)


def _asking(estimator):
    """The estimator with a request for all validation arguments."""
    return estimator.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)


def _assert_equal(a, b):
    for ours, theirs in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert a.validation_scores_ == b.validation_scores_
    assert a.validation_loss_curve_ == b.validation_loss_curve_


def _by_hand(estimator, X, y, given):
    """What a pipeline of a scaler and the estimator should do."""
    scaler = StandardScaler().fit(X)
    return clone(estimator).fit(scaler.transform(X), y, **given | {"X_val": scaler.transform(given["X_val"])})


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("target", TARGETS)
def test_a_pipeline_transforms_x_val(rows, target):
    X, y, given = rows(target)
    estimator = _asking(_make(target))
    pipeline = make_pipeline(StandardScaler(), estimator, transform_input=["X_val"]).fit(X, y, **given)
    _assert_equal(pipeline[-1], _by_hand(estimator, X, y, given))
    untransformed = make_pipeline(StandardScaler(), clone(estimator)).fit(X, y, **given)[-1]
    assert untransformed.validation_scores_ != pipeline[-1].validation_scores_


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_pipeline_of_frames(rows, library):
    frames = pytest.importorskip(library)
    X, y, given = rows("multiclass")
    estimator = _asking(_make("multiclass", scoring="balanced_accuracy"))
    by_hand = _by_hand(estimator, X, y, given)
    table, val = (frames.DataFrame({f"c{i}": column for i, column in enumerate(array.T)}) for array in (X, given["X_val"]))
    pipeline = make_pipeline(StandardScaler(), estimator, transform_input=["X_val"]).set_output(transform=library)
    pipeline.fit(table, y, **given | {"X_val": val})
    np.testing.assert_allclose(pipeline[-1].validation_scores_, by_hand.validation_scores_)
    np.testing.assert_allclose(pipeline[-1].validation_loss_curve_, by_hand.validation_loss_curve_, rtol=1e-12)
    assert pipeline[-1].feature_names_in_.tolist() == list(table.columns)


@pytest.mark.usefixtures("routing")
def test_a_step_in_the_middle(rows):
    """A network whose hidden layer is the next step's input stops by validation rows, too."""
    X, y, given = rows("multiclass")
    estimator = _asking(_make("multiclass"))
    pipeline = make_pipeline(StandardScaler(), estimator, LogisticRegression(), transform_input=["X_val"]).fit(X, y, **given)
    by_hand = _by_hand(estimator, X, y, given)
    _assert_equal(pipeline[1], by_hand)
    logistic = LogisticRegression().fit(by_hand.transform(StandardScaler().fit_transform(X)), y)
    np.testing.assert_array_equal(pipeline[-1].coef_, logistic.coef_)


@pytest.mark.usefixtures("routing")
def test_requests():
    for estimator in (MLPClassifier(), MLPRegressor()):
        names = ("X_val", "y_val", "sample_weight_val")
        requests = estimator.get_metadata_routing().fit.requests
        assert [requests[name] for name in names] == [None] * 3
        assert not set(names) & estimator.get_metadata_routing().partial_fit.requests.keys()
        assert clone(_asking(estimator)).get_metadata_routing().fit.requests.items() >= dict.fromkeys(names, True).items()


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_not_requested_is_refused(rows, target):
    X, y, given = rows(target)
    with pytest.raises(UnsetMetadataPassedError, match="X_val"):
        make_pipeline(StandardScaler(), _make(target)).fit(X, y, **given)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("target", TARGETS)
def test_a_search(rows, target):
    X, y, given = rows(target)
    estimator = _asking(_make(target))
    grid = [1e-4, 10.0]
    search = GridSearchCV(estimator, {"alpha": grid}, cv=KFold(3), error_score="raise").fit(X, y, **given)
    best = clone(estimator).set_params(**search.best_params_).fit(X, y, **given)
    _assert_equal(search.best_estimator_, best)
    for i, (rows_in, rows_out) in enumerate(KFold(3).split(X)):
        scores = [
            clone(estimator).set_params(alpha=alpha).fit(X[rows_in], y[rows_in], **given).score(X[rows_out], y[rows_out])
            for alpha in grid
        ]
        np.testing.assert_allclose(search.cv_results_[f"split{i}_test_score"], scores)
    assert search.best_estimator_.t_ == search.best_estimator_.n_iter_ * len(X)


@pytest.mark.usefixtures("routing")
def test_a_search_over_a_pipeline(rows):
    X, y, given = rows("one output")
    pipeline = Pipeline([("scale", StandardScaler()), ("mlp", _asking(_make("one output")))], transform_input=["X_val"])
    search = GridSearchCV(pipeline, {"mlp__alpha": [1e-4, 1.0]}, cv=KFold(3), error_score="raise").fit(X, y, **given)
    best = _make("one output", alpha=search.best_params_["mlp__alpha"])
    _assert_equal(search.best_estimator_[-1], _by_hand(best, X, y, given))


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("target", TARGETS)
def test_cross_validate(rows, target):
    X, y, given = rows(target)
    estimator = _asking(_make(target))
    found = cross_validate(estimator, X, y, cv=KFold(3), params=given, return_estimator=True, error_score="raise")
    for (rows_in, _), fitted in zip(KFold(3).split(X), found["estimator"], strict=True):
        _assert_equal(fitted, clone(estimator).fit(X[rows_in], y[rows_in], **given))


@pytest.mark.usefixtures("routing")
def test_a_calibrated_classifier(rows):
    """It gives its estimators class numbers in y, and y_val as it is."""
    X, y, given = rows("multiclass")
    classes = np.unique(y)
    y, given["y_val"] = np.searchsorted(classes, y), np.searchsorted(classes, given["y_val"])
    estimator = _asking(_make("multiclass"))
    calibrated = CalibratedClassifierCV(estimator, cv=KFold(2), ensemble=False).fit(X, y, **given)
    _assert_equal(calibrated.calibrated_classifiers_[0].estimator, clone(estimator).fit(X, y, **given))


def test_without_routing_by_the_name_of_the_step(rows):
    X, y, given = rows("multiclass")
    pipeline = make_pipeline(StandardScaler(), _make("multiclass"))
    scaled = given | {"X_val": StandardScaler().fit(X).transform(given["X_val"])}
    pipeline.fit(X, y, **{f"mlpclassifier__{name}": value for name, value in scaled.items()})
    _assert_equal(pipeline[-1], _by_hand(pipeline[-1], X, y, given))
    search = GridSearchCV(_make("multiclass"), {"alpha": [0.1, 1.0]}, cv=KFold(3), error_score="raise").fit(X, y, **given)
    _assert_equal(search.best_estimator_, clone(search.best_estimator_).fit(X, y, **given))


@pytest.mark.usefixtures("routing")
def test_the_layer_of_transform_is_metadata(rows):
    X, y, _ = rows("multiclass")
    estimator = _make("multiclass", hidden_layer_sizes=(5, 4)).set_transform_request(layer=True)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, y)
    scaled = pipeline[0].transform(X)
    np.testing.assert_array_equal(pipeline.transform(X, layer=0), estimator.transform(scaled, layer=0))
    assert pipeline.transform(X).shape == (70, 4)

"""The estimators for tables inside scikit-learn's: pipelines, searches, ensembles, calibration, inspection."""

import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

# Enough to see what the data are made of
LEARNS = {"max_iter": 30, "learning_rate_init": 0.02, "batch_size": 16, "hidden_layer_sizes": (20, 20)}


@pytest.fixture
def people(pandas):
    """A frame with gaps and categories, whether someone buys, and how much."""
    rng = np.random.default_rng(0)
    age, city = rng.uniform(20, 60, 120), rng.choice(["Rome", "Oslo", "Paris"], 120)
    frame = pandas.DataFrame({"age": age, "city": pandas.Categorical(city), "rooms": rng.integers(1, 5, 120).astype(float)})
    frame.loc[::9, "rooms"] = np.nan
    amount = age + 30 * (city == "Rome") + rng.normal(size=120)
    return frame, np.where(amount > 50, "buys", "leaves"), amount


@pytest.mark.parametrize("kind", ["multiclass", "two outputs"])
def test_pipeline(data, make, assert_same, kind):
    X, y = data(kind)
    ours = make_pipeline(StandardScaler(), make(kind)).fit(X, y)
    scaled = ours[0].transform(X)
    assert_same(ours[-1], make(kind).fit(scaled, y), scaled)
    np.testing.assert_array_equal(ours.predict(X), ours[-1].predict(scaled))


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_a_column_transformer_in_front(people, make, output):
    X, y, _ = people
    front = ColumnTransformer(
        [("one_hot", OneHotEncoder(sparse_output=False), ["city"])], remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform=output)
    ours = make_pipeline(front, make("binary", max_iter=8)).fit(X, y)
    assert ours.score(X, y) > 0.6
    assert hasattr(ours[-1], "feature_names_in_") is (output == "pandas")


def test_searches(people, make, assert_same):
    X, y, amount = people
    grid = GridSearchCV(make("binary"), {"n_bins": [2, 8], "dropout": [0.0, 0.1]}, cv=2, error_score="raise").fit(X, y)
    assert_same(grid.best_estimator_, make("binary", **grid.best_params_).fit(X, y), X)
    space = {"tabularregressor__learning_rate_init": [1e-3, 1e-2, "auto"], "tabularregressor__hidden_layer_sizes": [5, (4, 4)]}
    search = RandomizedSearchCV(make_pipeline(make("one output")), space, n_iter=3, cv=2, random_state=0, error_score="raise")
    assert np.isfinite(search.fit(X, amount).cv_results_["mean_test_score"]).all()


def test_a_search_over_presets(people, make):
    X, y, _ = people
    cls = type(make("binary"))
    ours = GridSearchCV(cls.from_preset("fast", n_members=1, max_iter=1, random_state=0), {"n_bins": [2, 4]}, cv=2)
    assert ours.fit(X, y).best_estimator_.hidden_layer_sizes == (64, 64)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc", "neg_log_loss", "average_precision"])
def test_cross_validation_of_a_classifier(people, make, scoring):
    X, y, _ = people
    scores = cross_val_score(make("binary"), X, y == "buys", cv=KFold(2), scoring=scoring, error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.full
def test_cross_validation_in_processes_is_that_in_this_one(people, make):
    X, _, amount = people
    one, two = (cross_val_score(make("one output"), X, amount, cv=KFold(2), n_jobs=n) for n in (None, 2))
    np.testing.assert_array_equal(one, two)


def test_cross_val_predict_and_learning_curve(people, make):
    X, y, amount = people
    assert cross_val_predict(make("binary"), X, y, cv=2, method="predict_log_proba").shape == (120, 2)
    _, train, test = learning_curve(make("one output"), X, amount, cv=2, train_sizes=[0.5, 1.0], error_score="raise")
    assert train.shape == test.shape == (2, 2)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration(data, make, method):
    X, y = data("multiclass")
    if method == "temperature" and parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("scikit-learn 1.8 began to scale by a temperature")
    ours = CalibratedClassifierCV(make("multiclass"), method=method, cv=2).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X).sum(axis=1), 1)
    frozen = CalibratedClassifierCV(FrozenEstimator(make("multiclass").fit(X, y)), method="sigmoid").fit(X, y)
    assert frozen.predict(X).shape == y.shape


def test_voting_and_stacking(people, make):
    X, y, amount = people
    for voting in ("hard", "soft"):
        ours = VotingClassifier([("a", make("binary")), ("b", make("binary", random_state=1))], voting=voting).fit(X, y)
        assert set(ours.predict(X)) <= {"buys", "leaves"}
    stacked = StackingClassifier([("a", make("binary"))], LogisticRegression(), cv=2).fit(X, y)
    assert stacked.predict_proba(X).shape == (120, 2)
    assert np.isfinite(VotingRegressor([("a", make("one output")), ("b", make("one output"))]).fit(X, amount).predict(X)).all()
    assert np.isfinite(StackingRegressor([("a", make("one output"))], Ridge(), cv=2).fit(X, amount).predict(X)).all()


def test_other_ensembles(data, make):
    X, y = data("multiclass")
    assert OneVsRestClassifier(make("binary")).fit(X, y).predict_proba(X).shape == (90, 3)
    assert MultiOutputClassifier(make("binary")).fit(X, np.c_[y == "a", y == "b"]).predict(X).shape == (90, 2)
    X, y = data("two outputs")
    assert BaggingRegressor(make("two outputs"), n_estimators=2, random_state=0).fit(X, y).predict(X).shape == (90, 2)
    chosen = SequentialFeatureSelector(make("two outputs"), n_features_to_select=1, cv=2).fit(X[:, :2], y)
    assert chosen.get_support().sum() == 1


def test_a_transformed_target(people, make):
    X, _, amount = people
    ours = TransformedTargetRegressor(make("one output"), func=np.log, inverse_func=np.exp).fit(X, amount)
    by_hand = make("one output").fit(X, np.log(amount))
    np.testing.assert_allclose(ours.predict(X), np.exp(by_hand.predict(X)))


def test_permutation_importance_of_a_frame(people, make):
    X, y, amount = people
    ours = make("one output", **LEARNS).fit(X, amount)
    found = permutation_importance(ours, X, amount, n_repeats=2, random_state=0).importances_mean
    assert found[0] > 0.2
    assert found[1] > 0.2
    assert abs(found[2]) < 0.2
    found = permutation_importance(make("binary").fit(X, y), X, y, n_repeats=1, scoring="neg_log_loss")
    assert np.isfinite(found.importances).all()


@pytest.mark.parametrize("kind", ["average", "individual"])
def test_partial_dependence_of_a_frame(people, make, kind):
    X, y, amount = people
    ours = make("one output", **LEARNS).fit(X, amount)
    by_age = partial_dependence(ours, X, ["age"], grid_resolution=5, kind=kind)[kind]
    by_city = partial_dependence(ours, X, ["city"], categorical_features=["city"], kind=kind)
    assert by_city["grid_values"][0].tolist() == ["Oslo", "Paris", "Rome"]
    means = by_city[kind].reshape(-1, 3).mean(axis=0)
    assert means[2] > max(means[:2]) + 10
    assert by_age.reshape(-1, 5).mean(axis=0)[4] > by_age.reshape(-1, 5).mean(axis=0)[0] + 10
    both = partial_dependence(ours, X, ["age", "rooms"], grid_resolution=3)["average"]
    assert both.shape == (1, 3, 3)
    classifier = make("binary").fit(X, y)
    assert partial_dependence(classifier, X, ["city"], categorical_features=["city"], kind=kind)[kind].shape[-1] == 3

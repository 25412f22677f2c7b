"""`scoring`: the score of validation rows after each epoch is what the scorer gives by hand, and decides under early stopping."""

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.metrics import f1_score, get_scorer, log_loss, make_scorer

from fastprop import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 7, "learning_rate_init": 0.1, "batch_size": 20, "random_state": 0}
NAMES = {
    "binary": ["roc_auc", "average_precision", "neg_brier_score", "matthews_corrcoef"],
    "multiclass": ["accuracy", "f1_macro", "balanced_accuracy", "neg_log_loss", "roc_auc_ovr"],
    "multilabel": ["f1_macro", "roc_auc"],
    "one output": ["r2", "neg_mean_absolute_error", "neg_root_mean_squared_error"],
    "two outputs": ["r2", "neg_mean_squared_error"],
    "poisson": ["neg_mean_poisson_deviance", "d2_absolute_error_score"],
}


def _make(target, **parameters):
    kind = MLPClassifier if target in ("binary", "multiclass", "multilabel") else MLPRegressor
    parameters = SMALL | ({"loss": "poisson"} if target == "poisson" else {}) | parameters
    return kind(**parameters)


@pytest.fixture
def rows(data):
    """rows(target) -> X, y, and X_val and y_val as arguments."""

    def rows(target):
        X, y = data(target)
        if target == "binary":  # scikit-learn's scorers would ask which label is the positive one
            y = (y == y[0]).astype(int)
        return X[30:], y[30:], {"X_val": X[:30], "y_val": y[:30]}

    return rows


def _weights(estimator):
    return np.concatenate([array.ravel() for array in estimator.coefs_ + estimator.intercepts_])


def _after_each_epoch(estimator, X, y):
    """The estimator as it is after 1, 2, ... epochs on all rows."""
    plain = clone(estimator).set_params(scoring=None, early_stopping=False)
    return [clone(plain).set_params(max_iter=n).fit(X, y) for n in range(1, estimator.max_iter + 1)]


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, names in NAMES.items() for name in names])
def test_names(rows, target, name):
    X, y, given = rows(target)
    ours = _make(target, early_stopping=True, scoring=name, n_iter_no_change=50)
    each = _after_each_epoch(ours, X, y)
    scores = [get_scorer(name)(one, given["X_val"], given["y_val"]) for one in each]
    ours.fit(X, y, **given)
    np.testing.assert_allclose(ours.validation_scores_, scores, rtol=1e-9)
    assert len(set(scores)) > 2
    assert ours.best_iter_ == np.argmax(scores) + 1
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    np.testing.assert_allclose(_weights(ours), _weights(each[ours.best_iter_ - 1]), rtol=1e-12)
    recorded = clone(ours).set_params(early_stopping=False).fit(X, y, **given)
    assert recorded.validation_scores_ == ours.validation_scores_
    np.testing.assert_allclose(_weights(recorded), _weights(each[-1]), rtol=1e-12)


@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_loss(rows, target):
    X, y, given = rows(target)
    ours = _make(target, early_stopping=True, scoring="loss", learning_rate_init=0.3).fit(X, y, **given)
    assert ours.validation_scores_ == [-loss for loss in ours.validation_loss_curve_]
    assert ours.best_iter_ == np.argmin(ours.validation_loss_curve_) + 1 < ours.n_iter_
    if target == "multiclass":
        best = -log_loss(given["y_val"], ours.predict_proba(given["X_val"]))
    else:
        best = -np.mean((given["y_val"] - ours.predict(given["X_val"])) ** 2) / 2
    assert ours.best_validation_score_ == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_the_split_of_early_stopping(rows, target):
    """A scorer gets the rows held out, with their part of the weights."""
    X, y, _ = rows(target)
    weight, calls = np.linspace(0.5, 2, len(X)), []

    def scoring(estimator, X, y, sample_weight=None):
        calls.append((X, y, sample_weight))
        return estimator.score(X, y, sample_weight)

    ours = _make(target, early_stopping=True, validation_fraction=0.2, scoring=scoring)
    plain = clone(ours).set_params(scoring=None).fit(X, y, weight)
    ours.fit(X, y, weight)
    np.testing.assert_allclose(ours.validation_scores_, plain.validation_scores_, rtol=1e-9)
    np.testing.assert_array_equal(_weights(ours), _weights(plain))
    X_val, y_val, weight_val = calls[0]
    held_out = [np.flatnonzero((row == X).all(axis=1)).item() for row in X_val]
    assert len(set(held_out)) == 12
    np.testing.assert_array_equal(y_val, y[held_out])
    np.testing.assert_array_equal(weight_val, weight[held_out])


def test_class_weights_count_in_the_split_and_not_for_given_rows(rows):
    X, y, given = rows("multiclass")
    calls = []

    def scoring(estimator, X, y, **weights):
        calls.append((y, weights))
        return 0.0

    factors = {label: 1.0 + i for i, label in enumerate(np.unique(y))}
    ours = _make("multiclass", early_stopping=True, class_weight=factors, scoring=scoring).fit(X, y)
    labels, weights = calls[0]
    assert weights["sample_weight"].tolist() == [factors[label] for label in labels]
    calls.clear()
    ours.fit(X, y, **given)
    assert calls[0][1] == {}


class Counting:
    """A scorer with a state, which uses the estimator in many ways."""

    def __init__(self, names=None):
        self.seen, self.names = [], names

    def __call__(self, estimator, X, y):
        assert not hasattr(clone(estimator), "coefs_")
        self.seen.append((estimator.n_iter_, len(estimator.validation_scores_), estimator.loss_, _weights(estimator)))
        estimator.best_score, estimator.n_iter_, estimator.coefs_ = 3.0, 1000, []
        estimator.set_params(alpha=77.0, early_stopping=False)
        return float(len(self.seen) % 4)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_a_scorer_of_ones_own_sees_the_epoch_and_changes_nothing(rows, target):
    X, y, given = rows(target)
    scorer = Counting()
    ours = _make(target, early_stopping=True, scoring=scorer)
    each = _after_each_epoch(ours, X, y)
    ours.fit(X, y, **given)
    assert ours.validation_scores_ == [1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0]
    assert (ours.best_iter_, ours.n_iter_, ours.alpha, ours.early_stopping) == (3, 7, 1e-4, True)
    assert not hasattr(ours, "best_score")
    assert [seen[0] for seen in scorer.seen] == list(range(1, 8))
    for (n, n_before, loss, weights), one in zip(scorer.seen, each, strict=True):
        assert (n_before, loss) == (n - 1, pytest.approx(one.loss_))
        np.testing.assert_allclose(weights, _weights(one), rtol=1e-12)
    np.testing.assert_allclose(_weights(ours), scorer.seen[2][3], rtol=1e-12)


def test_a_callable_gets_the_weights_that_there_are(rows):
    X, y, given = rows("multiclass")
    weight = np.linspace(0, 1, 30)

    def unweighted(estimator, X, y):
        return estimator.score(X, y)

    weighted = make_scorer(f1_score, average="macro")
    ours = _make("multiclass", scoring=weighted).fit(X, y, **given, sample_weight_val=weight)
    scores = [
        f1_score(given["y_val"], one.predict(given["X_val"]), average="macro", sample_weight=weight)
        for one in _after_each_epoch(ours, X, y)
    ]
    np.testing.assert_allclose(ours.validation_scores_, scores, rtol=1e-9)
    ours.set_params(scoring=unweighted).fit(X, y, **given)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weight'"):
        ours.fit(X, y, **given, sample_weight_val=weight)


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_a_scorer_with_and_without_metadata_routing(rows, routing):
    X, y, given = rows("one output")
    weight = np.linspace(0, 1, 30)
    with sklearn.config_context(enable_metadata_routing=routing):
        ours = _make("one output", scoring="r2").fit(X, y, **given, sample_weight_val=weight)
    expected = [one.score(given["X_val"], given["y_val"], weight) for one in _after_each_epoch(ours, X, y)]
    np.testing.assert_allclose(ours.validation_scores_, expected, rtol=1e-9)


@pytest.mark.parametrize("target", ["multiclass", "multilabel", "one output", "two outputs"])
def test_what_a_callable_gets(rows, target):
    """Arrays, and targets as the user writes them."""
    X, y, given = rows(target)
    calls = []

    def scoring(estimator, X, y):
        calls.append((X, y))
        return estimator.score(X, y)

    for sparse in (False, True):
        X_val = scipy.sparse.csr_array(given["X_val"]) if sparse else given["X_val"]
        _make(target, scoring=scoring).fit(X, y, X_val=X_val, y_val=given["y_val"])
        rows_seen, targets_seen = calls[-1]
        assert scipy.sparse.issparse(rows_seen) == sparse
        np.testing.assert_array_equal(rows_seen.toarray() if sparse else rows_seen, given["X_val"])
        np.testing.assert_array_equal(targets_seen, given["y_val"])
        assert targets_seen.dtype == given["y_val"].dtype


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_warn_of_nothing(rows, library):
    frames = pytest.importorskip(library)
    X, y, given = rows("multiclass")
    frame, val = (frames.DataFrame({f"c{i}": column for i, column in enumerate(array.T)}) for array in (X, given["X_val"]))
    ours = _make("multiclass", early_stopping=True, scoring="accuracy")
    for arguments in ({}, {"X_val": val, "y_val": given["y_val"]}):
        plain = clone(ours).set_params(scoring=None).fit(frame, y, **arguments)
        assert ours.fit(frame, y, **arguments).validation_scores_ == plain.validation_scores_
        assert ours.feature_names_in_.tolist() == list(frame.columns)


@pytest.mark.parametrize("scoring", [None, "loss", "neg_mean_absolute_error"])
@pytest.mark.parametrize(
    "options",
    [{"ema_decay": 0.7}, {"normalization": "batch"}, {"dropout": 0.3}, {"normalization": "layer", "ema_decay": 0.6}],
    ids=str,
)
def test_what_predicts_is_judged_and_kept(rows, options, scoring):
    """The average of the weights, the running statistics of batch norm, all units."""
    X, y, given = rows("one output")
    ours = _make("one output", early_stopping=True, scoring=scoring, n_iter_no_change=50, max_iter=9, **options)
    judge = "neg_mean_squared_error" if scoring == "loss" else scoring or "r2"
    each = _after_each_epoch(ours, X, y)
    scores = np.array([get_scorer(judge)(one, given["X_val"], given["y_val"]) for one in each]) / (2 if scoring == "loss" else 1)
    ours.fit(X, y, **given)
    np.testing.assert_allclose(ours.validation_scores_, scores, rtol=1e-9)
    best = each[np.argmax(scores)]
    np.testing.assert_allclose(ours.predict(given["X_val"]), best.predict(given["X_val"]), rtol=1e-9)
    for name in ("norm_weights_", "norm_biases_", "running_means_", "running_vars_"):
        assert hasattr(ours, name) == hasattr(best, name)
        np.testing.assert_allclose(getattr(ours, name, []), getattr(best, name, []), rtol=1e-9)


def test_the_scores_under_a_norm_peak_before_the_end(rows):
    """Without which the test above would not see whether the best weights are kept."""
    X, y, given = rows("one output")
    ours = _make("one output", normalization="batch", max_iter=9, early_stopping=True).fit(X, y, **given)
    assert ours.best_iter_ < 9


def test_the_error_of_a_scorer_is_passed_on_and_training_can_go_on(rows):
    X, y, given = rows("multiclass")

    def failing(estimator, X, y):
        raise KeyError("of the scorer")

    ours = _make("multiclass", scoring=failing)
    with pytest.raises(KeyError, match="of the scorer"):
        ours.fit(X, y, **given)
    ours.set_params(scoring=None).fit(X, y, **given)
    plain = _make("multiclass").fit(X, y)
    np.testing.assert_array_equal(_weights(ours), _weights(plain))


def test_several_quantiles_are_scored_in_order(rows):
    """The default score is the mean R2 of the sorted predictions; a scorer gets one target a row."""
    X, y, given = rows("one output")
    ours = _make("one output", loss="quantile", quantile=[0.6, 0.4]).fit(X, y, **given)
    expected = [one.score(given["X_val"], given["y_val"]) for one in _after_each_epoch(ours, X, y)]
    np.testing.assert_allclose(ours.validation_scores_, expected, rtol=1e-9)

    def coverage(estimator, X, y):
        high, low = estimator.predict(X).T
        assert (low <= high).all()
        return np.mean((low <= y) & (y <= high))

    ours.set_params(scoring=coverage, early_stopping=True).fit(X, y, **given)
    assert ours.best_validation_score_ == coverage(ours, given["X_val"], given["y_val"])


@pytest.mark.parametrize("scoring", ["no such score", 3, ["r2", "neg_mean_absolute_error"]], ids=str)
def test_what_scoring_may_be(rows, scoring):
    X, y, given = rows("one output")
    ours = _make("one output", scoring=scoring)
    with pytest.raises(ValueError, match="The 'scoring' parameter of MLPRegressor must be"):
        ours.fit(X, y, **given)
    assert not hasattr(ours, "coefs_")


def test_without_validation_rows_there_is_no_score(rows):
    X, y, _ = rows("multiclass")

    def never(*arguments):
        raise AssertionError("there are no rows to score")

    ours = _make("multiclass", scoring=never).fit(X, y)
    assert ours.validation_scores_ is ours.best_validation_score_ is None
    assert not vars(ours).keys() & {"validation_loss_curve_", "best_iter_"}

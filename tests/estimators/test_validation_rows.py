"""`fit` with X_val, y_val and sample_weight_val: what is recorded, what they decide, and their forms."""

import math

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_absolute_error, mean_gamma_deviance, mean_pinball_loss, mean_poisson_deviance
from sklearn.metrics import mean_squared_error as mse
from sklearn.model_selection import train_test_split

from fastprop import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 6, "learning_rate_init": 0.02, "batch_size": 20, "random_state": 0}
RECORDED = {"validation_scores_", "best_validation_score_", "validation_loss_curve_", "best_iter_"}


def _labels(y, outputs, weight):
    """The loss of several labels: that of each label, summed."""
    return sum(log_loss(*columns, sample_weight=weight, labels=[0, 1]) for columns in zip(y.T, outputs.T, strict=True))


def _of_classes(y, outputs, weight):
    return log_loss(y, outputs, sample_weight=weight)


def _huber(y, outputs, weight):
    r = np.abs(y - outputs)
    return np.average(np.where(r <= 0.3, r**2 / 2, 0.3 * (r - 0.15)), weights=weight)


def _tweedie(y, outputs, weight, p=1.3):
    return np.average(
        y ** (2 - p) / (1 - p) / (2 - p) - y * outputs ** (1 - p) / (1 - p) + outputs ** (2 - p) / (2 - p), weights=weight
    )


def _quantiles(y, outputs, weight):
    return sum(mean_pinball_loss(y, outputs[:, i], alpha=q, sample_weight=weight) for i, q in enumerate((0.2, 0.7)))


# name -> (kind of target, parameters, the loss of targets and predictions)
LOSSES = {
    "binary": ("binary", {}, _of_classes),
    "multiclass": ("multiclass", {}, _of_classes),
    "multilabel": ("multilabel", {}, _labels),
    "squared_error": ("one output", {}, lambda y, p, w: mse(y, p, sample_weight=w) / 2),
    "two outputs": ("two outputs", {}, lambda y, p, w: mse(y, p, sample_weight=w) / 2),
    "absolute_error": ("one output", {"loss": "absolute_error"}, lambda y, p, w: mean_absolute_error(y, p, sample_weight=w)),
    "huber": ("one output", {"loss": "huber", "huber_delta": 0.3}, _huber),
    "quantile": (
        "one output",
        {"loss": "quantile", "quantile": 0.8},
        lambda y, p, w: mean_pinball_loss(y, p, alpha=0.8, sample_weight=w),
    ),
    "quantiles": ("one output", {"loss": "quantile", "quantile": [0.2, 0.7]}, _quantiles),
    "poisson": ("poisson", {"loss": "poisson"}, lambda y, p, w: mean_poisson_deviance(y, p, sample_weight=w) / 2),
    "gamma": ("positive", {"loss": "gamma"}, lambda y, p, w: mean_gamma_deviance(y, p, sample_weight=w) / 2),
    "tweedie": ("poisson", {"loss": "tweedie", "tweedie_power": 1.3}, _tweedie),
}


def _rows(data, target, n_val=30):
    """X, y, X_val, y_val."""
    X, y = data("poisson" if target == "positive" else target)
    y = y + 0.5 if target == "positive" else y
    return X[n_val:], y[n_val:], X[:n_val], y[:n_val]


def _make(target, **parameters):
    kind = MLPClassifier if target in ("binary", "multiclass", "multilabel") else MLPRegressor
    return kind(**SMALL | parameters)


def _after_each_epoch(estimator, *arguments, **named):
    """The estimator as it is after 1, 2, ... epochs."""
    return [clone(estimator).set_params(max_iter=n).fit(*arguments, **named) for n in range(1, estimator.max_iter + 1)]


def _weights(estimator):
    return np.concatenate([array.ravel() for array in estimator.coefs_ + estimator.intercepts_])


def _outputs(estimator, X):
    if getattr(estimator, "quantile", 0.5) == [0.2, 0.7]:  # predictions are sorted, what is trained is not
        (v, w), (b, c) = estimator.coefs_, estimator.intercepts_
        return np.maximum(X @ v + b, 0) @ w + c
    return estimator.predict_proba(X)[:, -estimator.n_outputs_ :] if hasattr(estimator, "classes_") else estimator.predict(X)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("case", LOSSES)
def test_without_early_stopping_they_are_recorded_and_nothing_else_changes(data, case, weighted):
    target, parameters, loss = LOSSES[case]
    X, y, X_val, y_val = _rows(data, target)
    weight = np.linspace(0.1, 3, len(X_val)) if weighted else None
    ours = _make(target, **parameters)
    plain = clone(ours).fit(X, y)
    ours.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert vars(ours).keys() - vars(plain).keys() == {"validation_loss_curve_", "best_iter_"}
    np.testing.assert_array_equal(_weights(ours), _weights(plain))
    assert ours.loss_curve_ == plain.loss_curve_
    assert (ours.best_loss_, ours.n_iter_, ours._no_improvement_count) == (
        plain.best_loss_,
        plain.n_iter_,
        plain._no_improvement_count,
    )
    each = _after_each_epoch(ours, X, y)
    losses = [loss(y_val, _outputs(one, X_val), weight) for one in each]
    np.testing.assert_allclose(ours.validation_loss_curve_, losses, rtol=1e-9)
    np.testing.assert_allclose(ours.validation_scores_, [one.score(X_val, y_val, weight) for one in each], rtol=1e-9)
    assert ours.best_validation_score_ == max(ours.validation_scores_) == ours.validation_scores_[ours.best_iter_ - 1]
    assert type(ours.validation_scores_) is type(ours.validation_loss_curve_) is list


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_the_penalty_and_the_training_weights_are_not_in_the_loss_of_validation_rows(data, target):
    """On the training rows as one batch and at a learning rate of nearly 0, the two losses differ by what only training has."""
    X, y, _, _ = _rows(data, target)
    ours = _make(target, alpha=5.0, batch_size=len(X), learning_rate_init=1e-12, max_iter=1).fit(X, y, X_val=X, y_val=y)
    penalty = 2.5 * sum(np.sum(w**2) for w in ours.coefs_) / len(X)
    assert penalty > 0.1
    assert ours.loss_ == pytest.approx(ours.validation_loss_curve_[0] + penalty, rel=1e-8)
    if target == "multiclass":
        smooth = clone(ours).set_params(label_smoothing=0.3, class_weight={label: i + 1.0 for i, label in enumerate(ours.classes_)})
        smooth.fit(X, y, X_val=X, y_val=y)
        assert smooth.validation_loss_curve_ == pytest.approx(ours.validation_loss_curve_, rel=1e-8)
        assert abs(smooth.loss_ - ours.loss_) > 0.01


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "one output", "two outputs"])
def test_under_early_stopping_they_replace_the_split(data, target):
    """All rows are trained on, and what is kept are the weights of the epoch with the best score."""
    X, y, X_val, y_val = _rows(data, target)
    ours = _make(target, learning_rate_init=0.1, max_iter=12)
    each = _after_each_epoch(ours, X, y)
    scores = [one.score(X_val, y_val) for one in each]
    stopped = clone(ours).set_params(early_stopping=True, n_iter_no_change=100).fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_allclose(stopped.validation_scores_, scores, rtol=1e-9)
    assert stopped.best_iter_ == np.argmax(scores) + 1 < 12, "the best epoch must not be the last, or nothing is restored"
    np.testing.assert_allclose(_weights(stopped), _weights(each[stopped.best_iter_ - 1]), rtol=1e-12)
    assert stopped.score(X_val, y_val) == pytest.approx(stopped.best_validation_score_)
    assert stopped.t_ == 12 * len(X)
    assert stopped.best_loss_ is None
    np.testing.assert_allclose(stopped.loss_curve_, each[-1].loss_curve_, rtol=1e-12)


def test_the_rows_that_the_split_would_hold_out(data):
    """Given by hand, they give the scores of the split, where training sees its rows in the same order."""
    X, y = data("one output")
    split = _make("one output", early_stopping=True, shuffle=False).fit(X, y)
    rows, held_out = train_test_split(np.arange(len(X)), test_size=0.1, random_state=_after_initialization(split, X))
    given = _make("one output", early_stopping=True, shuffle=False)
    given.fit(X[rows], y[rows], X_val=X[held_out], y_val=y[held_out])
    np.testing.assert_allclose(given.validation_scores_, split.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(given.validation_loss_curve_, split.validation_loss_curve_, rtol=1e-9)


def _after_initialization(estimator, X):
    """The random state of an estimator's fit once the weights are drawn."""
    random_state = np.random.RandomState(estimator.random_state)
    for array in estimator.coefs_:
        random_state.uniform(size=array.size + array.shape[1])
    return random_state


@pytest.mark.parametrize("scoring", [None, "loss"])
def test_when_it_stops(data, scoring):
    """After more than n_iter_no_change epochs in a row that are not better than the best by tol."""
    X, y, X_val, y_val = _rows(data, "one output")
    parameters = {"early_stopping": True, "scoring": scoring, "tol": 0.02, "n_iter_no_change": 3, "max_iter": 200}
    ours = _make("one output", **parameters).fit(X, y, X_val=X_val, y_val=y_val)
    best, without = -math.inf, 0
    for n, score in enumerate(ours.validation_scores_, 1):
        without = without + 1 if score < best + 0.02 else 0
        best = max(best, score)
        assert (without > 3) == (n == ours.n_iter_)
    assert 5 < ours.n_iter_ < 200
    assert ours._no_improvement_count == 4


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_partial_fit_has_no_such_arguments_and_records_nothing(data, target):
    X, y, X_val, y_val = _rows(data, target)
    ours = _make(target)
    with pytest.raises(TypeError, match="unexpected keyword argument 'X_val'"):
        ours.partial_fit(X, y, X_val=X_val, y_val=y_val)
    ours.fit(X, y, X_val=X_val, y_val=y_val)
    before = {name: getattr(ours, name) for name in RECORDED}
    ours.partial_fit(X, y)
    assert len(ours.loss_curve_) == 7
    assert {name: getattr(ours, name) for name in RECORDED} == before


@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_a_warm_start_goes_on_with_the_record(data, early_stopping):
    X, y, X_val, y_val = _rows(data, "multiclass")
    given = {"X_val": X_val, "y_val": y_val}
    ours = _make("multiclass", warm_start=True, max_iter=3, early_stopping=early_stopping).fit(X, y, **given)
    first = list(ours.validation_scores_)
    ours.fit(X, y, **given)
    assert ours.validation_scores_[:3] == first
    assert len(ours.validation_scores_) == len(ours.validation_loss_curve_) == len(ours.loss_curve_) == 6
    assert ours.validation_scores_[ours.best_iter_ - 1] == ours.best_validation_score_ == max(ours.validation_scores_)
    if early_stopping:
        assert ours.score(X_val, y_val) == ours.best_validation_score_
        return
    later = clone(ours).fit(X, y)
    later.fit(X, y, **given)
    assert ours.validation_scores_[3:] == later.validation_scores_
    np.testing.assert_array_equal(_weights(ours), _weights(later))
    ours.set_params(warm_start=False).fit(X, y)
    assert ours.validation_scores_ is ours.best_validation_score_ is None
    assert not vars(ours).keys() & {"validation_loss_curve_", "best_iter_"}


def test_a_fit_with_lbfgs_forgets_the_record(data):
    X, y, X_val, y_val = _rows(data, "multiclass")
    ours = _make("multiclass", learning_rate="cosine").fit(X, y, X_val=X_val, y_val=y_val)
    assert len(ours.learning_rate_curve_) == 6
    ours.set_params(solver="lbfgs", learning_rate="constant").fit(X, y)
    assert not vars(ours).keys() & {"validation_loss_curve_", "best_iter_", "learning_rate_curve_"}


# Forms


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "two outputs"])
def test_frames(data, library, target, early_stopping):
    frames = pytest.importorskip(library)
    X, y, X_val, y_val = _rows(data, target)
    ours = _make(target, early_stopping=early_stopping, scoring="r2" if target == "two outputs" else "accuracy")
    plain = clone(ours).fit(X, y, X_val=X_val, y_val=y_val)

    def table(array):
        return frames.DataFrame({f"c{i}": column for i, column in enumerate(array.T)}) if array.ndim > 1 else frames.Series(array)

    ours.fit(table(X), table(y), X_val=table(X_val), y_val=table(y_val), sample_weight_val=frames.Series(np.ones(len(X_val))))
    assert ours.validation_scores_ == pytest.approx(plain.validation_scores_)
    assert ours.validation_loss_curve_ == pytest.approx(plain.validation_loss_curve_)
    assert ours.feature_names_in_.tolist() == [f"c{i}" for i in range(7)]
    with pytest.raises(ValueError, match=r"^X_val: The feature names should match"):
        ours.fit(table(X), table(y), X_val=table(X_val[:, :6]), y_val=table(y_val))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        ours.fit(table(X), table(y), X_val=X_val, y_val=y_val)


@pytest.mark.parametrize("target", ["binary", "one output"])
@pytest.mark.parametrize("form", ["csr_array", "csc_matrix", "coo_array"])
def test_sparse_rows(data, target, form):
    X, y, X_val, y_val = _rows(data, target)
    sparse = getattr(scipy.sparse, form)
    for scoring in (None, "loss", "accuracy" if target == "binary" else "neg_mean_absolute_error"):
        ours = _make(target, early_stopping=True, scoring=scoring)
        plain = clone(ours).fit(X, y, X_val=X_val, y_val=y_val)
        for rows, val in [(X, sparse(X_val)), (sparse(X), sparse(X_val)), (sparse(X), X_val)]:
            ours.fit(rows, y, X_val=val, y_val=y_val)
            np.testing.assert_allclose(ours.validation_scores_, plain.validation_scores_, rtol=1e-9)
            np.testing.assert_allclose(ours.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_other_dtypes_and_lists(data, target):
    """X_val is computed with in the dtype of X."""
    X, y, X_val, y_val = _rows(data, target)
    X, X_val = X.astype(np.float32), X_val.astype(np.float32)
    y, y_val = (a.astype(np.float32) if target == "one output" else a for a in (y, y_val))
    ours = _make(target, early_stopping=True)
    ours.fit(X, y, X_val=X_val, y_val=y_val)
    for val, its_y in [
        (X_val.astype(np.float64), y_val),
        (X_val[:, ::-1].copy()[:, ::-1], y_val),
        (X_val.tolist(), y_val.tolist()),
    ]:
        other = clone(ours).fit(X, y, X_val=val, y_val=its_y)
        assert other.coefs_[0].dtype == np.float32
        assert other.validation_scores_ == pytest.approx(ours.validation_scores_, abs=1e-6)
        assert other.validation_loss_curve_ == ours.validation_loss_curve_


@pytest.mark.parametrize("kind", ["object", "category", "string", "bool", "float", "sparse labels", "one class only"])
def test_labels_of_other_types(data, kind):
    pd = pytest.importorskip("pandas")
    X, y, X_val, y_val = _rows(data, "multilabel" if kind == "sparse labels" else "multiclass")
    if kind == "sparse labels":
        y, y_val = scipy.sparse.csr_array(y), scipy.sparse.csr_array(y_val)
    elif kind == "one class only":
        X_val, y_val = X_val[y_val == y[0]], y_val[y_val == y[0]]
    elif kind == "bool":
        y, y_val = y == y[0], y_val == y[0]
    elif kind == "float":
        y, y_val = (np.searchsorted(np.unique(y), part) + 0.0 for part in (y, y_val))
    else:
        y, y_val = (pd.Series(part.astype(str)).astype(kind) for part in (y, y_val))
    ours = _make("multiclass", scoring="accuracy").fit(X, y, X_val=X_val, y_val=y_val)
    scores = [one.score(X_val, y_val) for one in _after_each_epoch(ours, X, y)]
    assert ours.validation_scores_ == pytest.approx(scores)
    assert clone(ours).set_params(scoring=None).fit(X, y, X_val=X_val, y_val=y_val).validation_scores_ == pytest.approx(scores)


def test_zero_weights_leave_rows_out(data):
    X, y, X_val, y_val = _rows(data, "multiclass")
    ours = _make("multiclass", early_stopping=True)
    part = clone(ours).fit(X, y, X_val=X_val[::3], y_val=y_val[::3])
    ours.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=np.arange(len(X_val)) % 3 == 0)
    np.testing.assert_allclose(ours.validation_scores_, part.validation_scores_, rtol=1e-12)
    np.testing.assert_allclose(ours.validation_loss_curve_, part.validation_loss_curve_, rtol=1e-12)

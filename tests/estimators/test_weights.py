"""``coefs_`` and ``intercepts_`` decide: whatever a user puts there is what predicts and what training goes on from."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

ROUND_TRIPS = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "oldest pickle": lambda estimator: pickle.loads(pickle.dumps(estimator, protocol=0)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "joblib": lambda estimator: _through_joblib(estimator),
    "two round trips": lambda estimator: copy.deepcopy(pickle.loads(pickle.dumps(estimator))),
}


def _through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


@pytest.fixture
def fitted(data, pair):
    """fitted(target, **parameters) -> X, y, ours, theirs, after three epochs."""

    def fitted(target="multiclass", **parameters):
        X, y = data(target)
        parameters = {"hidden_layer_sizes": (5, 4), "max_iter": 3, "random_state": 0, "batch_size": 20} | parameters
        return X, y, *(estimator.fit(X, y) for estimator in pair(target, **parameters))

    return fitted


def _new_lists(estimator):
    estimator.coefs_ = [2 * w for w in estimator.coefs_]
    estimator.intercepts_ = [b - 1 for b in estimator.intercepts_]


def _new_element(estimator):
    estimator.coefs_[1] = np.full_like(estimator.coefs_[1], 0.3)


def _new_bias(estimator):
    estimator.intercepts_[0] = estimator.intercepts_[0][::-1]


def _in_place(estimator):
    estimator.coefs_[0][:2] = 0.5
    estimator.intercepts_[-1][0] += 4


def _integers(estimator):
    estimator.coefs_ = [np.sign(w).astype(int) for w in estimator.coefs_]


def _fortran(estimator):
    estimator.coefs_ = tuple(np.asfortranarray(3 * w) for w in estimator.coefs_)


@pytest.mark.parametrize("change", [_new_lists, _new_element, _new_bias, _in_place, _integers, _fortran])
def test_what_is_assigned_predicts(fitted, change):
    X, _, ours, theirs = fitted()
    before = ours.predict_proba(X)
    for estimator in (ours, theirs):
        change(estimator)
    assert np.abs(ours.predict_proba(X) - before).max() > 1e-3
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("change", [_new_lists, _new_element, _new_bias, _in_place])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_training_goes_on_from_what_is_assigned(fitted, assert_same, change, solver):
    X, y, ours, theirs = fitted(solver=solver)
    for estimator in (ours, theirs):
        change(estimator)
        estimator.partial_fit(X, y)
    assert_same(ours, theirs)


def test_an_assigned_array_can_still_be_changed(fitted):
    X, _, ours, theirs = fitted()
    for estimator in (ours, theirs):
        estimator.coefs_[0] = np.ones_like(estimator.coefs_[0])
        estimator.predict(X)
        estimator.coefs_[0][:, 1] = -2
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)


def test_weights_put_back_are_what_they_were(fitted):
    """The old arrays must not be overwritten by new ones that are copied in."""
    X, y, ours, _ = fitted()
    before, kept = ours.predict_proba(X), ours.coefs_
    ours.coefs_ = [np.zeros_like(w) for w in kept]
    ours.partial_fit(X, y)
    ours.coefs_ = kept
    assert not np.allclose(ours.predict_proba(X), before)  # the biases are still the other ones
    other = copy.deepcopy(ours)
    other.partial_fit(X, y)
    assert ours.coefs_ is kept


def test_two_estimators_that_share_arrays_train_apart(fitted):
    X, y, ours, _ = fitted()
    other = copy.deepcopy(ours)
    other.coefs_, other.intercepts_ = ours.coefs_, ours.intercepts_
    before = [w.copy() for w in ours.coefs_]
    other.partial_fit(X, y)
    for a, b in zip(before, ours.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", ["missing layer", "wrong shape", "one-dimensional"])
def test_assigned_arrays_that_do_not_fit(fitted, wrong):
    X, y, ours, _ = fitted()
    ours.coefs_ = {
        "missing layer": ours.coefs_[:-1],
        "wrong shape": [ours.coefs_[0][:, 1:], *ours.coefs_[1:]],
        "one-dimensional": [w.ravel() for w in ours.coefs_],
    }[wrong]
    for call in (lambda: ours.predict(X), lambda: ours.partial_fit(X, y)):
        with pytest.raises(ValueError, match="consecutive layers"):
            call()


def test_another_number_of_hidden_units(fitted):
    """Predictions follow; the optimizer's memory cannot."""
    X, y, ours, theirs = fitted(hidden_layer_sizes=(3,))
    rng = np.random.default_rng(0)
    for estimator in (ours, theirs):
        estimator.coefs_ = [rng.normal(size=(7, 6)), rng.normal(size=(6, 4))]
        estimator.intercepts_ = [np.zeros(6), np.zeros(4)]
        rng = np.random.default_rng(0)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    with pytest.raises(ValueError, match="optimizer was made for layers"):
        ours.partial_fit(X, y)


@pytest.mark.pairwise
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_round_trip(fitted, round_trip, parameters):
    X, y, ours, _ = fitted(**parameters)
    again = ROUND_TRIPS[round_trip](ours)
    np.testing.assert_array_equal(ours.predict_proba(X), again.predict_proba(X))
    assert vars(ours).keys() == vars(again).keys()
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(a, b)
            assert not np.shares_memory(a, b)
    if parameters:
        return
    before = [w.copy() for w in ours.coefs_]
    for estimator in (again, ours):
        estimator.partial_fit(X, y)
        if estimator is again and round_trip != "copy":
            np.testing.assert_array_equal(ours.coefs_[0], before[0])
    if round_trip != "copy":  # a shallow copy shares the optimizer
        np.testing.assert_array_equal(ours.coefs_[0], again.coefs_[0])
    assert (again.coefs_[0] != before[0]).any()


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_training_goes_on_after_a_load_as_in_scikit_learn(fitted, assert_same, round_trip):
    X, y, ours, theirs = fitted()
    ours = ROUND_TRIPS[round_trip](ours)
    for _ in range(2):
        assert_same(ours.partial_fit(X, y), theirs.partial_fit(X, y))


def test_after_training_the_lists_hold_views_of_one_block(fitted):
    _, _, ours, _ = fitted()
    block = ours.coefs_[0].base if ours.coefs_[0].base.base is None else ours.coefs_[0].base.base
    for array in [*ours.coefs_, *ours.intercepts_]:
        assert type(array) is np.ndarray
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert np.shares_memory(array, block)
    assert type(ours.coefs_) is list
    assert type(ours.intercepts_) is list


@pytest.mark.parametrize("parameters", [{"solver": "lbfgs"}, {"early_stopping": True}, {"solver": "sgd"}], ids=str)
def test_a_pickle_is_not_larger_than_scikit_learns(fitted, parameters):
    _, _, ours, theirs = fitted(hidden_layer_sizes=(100,), **parameters)
    n_bytes = sum(array.nbytes for array in ours.coefs_ + ours.intercepts_)
    copies = {"lbfgs": 1, "sgd": 2}.get(parameters.get("solver"), 3)  # with the optimizer's memory
    assert len(pickle.dumps(ours)) < copies * n_bytes + 8000
    assert len(pickle.dumps(pickle.loads(pickle.dumps(ours)))) < copies * n_bytes + 8000
    assert len(pickle.dumps(ours)) < len(pickle.dumps(theirs)) + 2000


def test_read_only_memory_maps(fitted, tmp_path):
    X, y, ours, _ = fitted(hidden_layer_sizes=(50,))
    joblib.dump(ours, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(ours.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(ours.partial_fit(X, y).coefs_[0], again.partial_fit(X, y).coefs_[0])


def test_predictions_leave_no_trace(fitted):
    X, _, ours, _ = fitted()
    ours.coefs_[0] = ours.coefs_[0].copy()
    before = dict(vars(ours))
    ours.predict_proba(X)
    assert vars(ours) == before


def test_the_optimizers_memory_reads_as_in_scikit_learn(fitted):
    for solver, names in (("adam", ("ms", "vs")), ("sgd", ("velocities",))):
        _, _, ours, theirs = fitted(solver=solver)
        for name in names:
            for a, b in zip(getattr(ours._optimizer, name), getattr(theirs._optimizer, name), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15)
        assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate, rel=1e-12)
        assert ours._optimizer.learning_rate_init == theirs._optimizer.learning_rate_init


# Estimators that were never fitted: weights of other programs


def _by_hand(pair, data, target, **attributes):
    """X, ours, theirs with the same weights, set by hand with what scikit-learn needs to predict, and no more."""
    X, y = data(target)
    trained = pair(target, hidden_layer_sizes=(5, 4), activation="tanh", max_iter=3, random_state=0)[1].fit(X, y)
    pair_by_hand = pair(target, activation="tanh", hidden_layer_sizes=(5, 4))
    names = ["coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_"]
    names += ["_label_binarizer", "classes_"] if hasattr(trained, "classes_") else []
    for estimator in pair_by_hand:
        for name in names:
            setattr(estimator, name, copy.deepcopy(attributes.get(name, getattr(trained, name))))
    return X, y, *pair_by_hand


def _assert_same_predictions(X, ours, theirs):
    for x in (X, X[:1], X.tolist(), X.astype(np.float32)):
        np.testing.assert_allclose(
            *(e.predict_proba(x) if hasattr(e, "classes_") else e.predict(x) for e in (ours, theirs)), rtol=1e-5, atol=1e-9
        )
        if hasattr(theirs, "classes_"):
            np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


def test_weights_set_by_hand_predict(pair, data):
    for target in ("binary", "multiclass", "multilabel", "one output", "two outputs"):
        X, _, *estimators = _by_hand(pair, data, target)
        _assert_same_predictions(X, *estimators)
        _assert_same_predictions(X, *(pickle.loads(pickle.dumps(e)) for e in estimators))


@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax", "exp", "logistic", "identity"])
def test_any_activation_of_scikit_learns_at_the_output(pair, data, activation):
    X, y, *estimators = _by_hand(pair, data, "two outputs", out_activation_=activation)
    _assert_same_predictions(X, *estimators)
    _assert_same_predictions(X, *(copy.deepcopy(e) for e in estimators))
    if activation in ("relu", "tanh"):
        with pytest.raises(ValueError, match=f"out_activation_ must be one of .*; got '{activation}'"):
            estimators[0].partial_fit(X, y)


def test_outputs_of_a_hidden_layer(fitted):
    """Fewer layers by n_layers_ give a hidden layer's outputs, in a fitted estimator too."""
    X, _, *estimators = fitted("two outputs")
    for estimator in estimators:
        estimator.predict(X)
        estimator.n_layers_, estimator.out_activation_ = 3, "relu"
    assert estimators[0].predict(X).shape == (90, 4)
    _assert_same_predictions(X, *estimators)
    _assert_same_predictions(X, *map(copy.deepcopy, estimators))
    for estimator in estimators:
        estimator.n_layers_, estimator.out_activation_ = 4, "identity"
    _assert_same_predictions(X, *estimators)
    estimators[0].n_layers_ = 6
    with pytest.raises(ValueError, match="5 consecutive layers, as n_layers_ is 6; got 3 and 3"):
        estimators[0].predict(X)


def test_an_output_for_each_of_two_classes(pair, data):
    """As other libraries have it; scikit-learn itself has one output for two classes."""
    softmax = {"coefs_": [np.eye(7)[:, :2]], "intercepts_": [np.array([0.3, 0.0])], "n_layers_": 2, "n_outputs_": 2}
    X, _, *estimators = _by_hand(pair, data, "binary", out_activation_="softmax", **softmax)
    _assert_same_predictions(X, *estimators)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_training_goes_on_from_weights_set_by_hand(pair, data, assert_same, early_stopping):
    """scikit-learn needs the history to be set by hand too; here it begins anew where it is not."""
    X, y, ours, theirs = _by_hand(pair, data, "multiclass")
    history = {"validation_scores_": [], "best_validation_score_": -np.inf} if early_stopping else {"best_loss_": np.inf}
    for name, value in {"t_": 0, "loss_curve_": [], "_no_improvement_count": 0, "best_loss_": None, **history}.items():
        setattr(theirs, name, value)
    for estimator in (ours, theirs):
        estimator.n_features_in_ = X.shape[1]
        estimator.set_params(random_state=0, early_stopping=early_stopping, warm_start=True, max_iter=2, tol=0.5)
        estimator.fit(X, y) if early_stopping else estimator.partial_fit(X, y)
    theirs.validation_scores_, theirs.best_validation_score_ = ours.validation_scores_, ours.best_validation_score_
    assert_same(ours, theirs)

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

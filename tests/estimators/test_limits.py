"""`max_time` with a clock of the tests' own, and what `verbose` prints where there is more to say than scikit-learn has."""

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone

from fastprop import MLPClassifier, MLPRegressor

SMALL = {"hidden_layer_sizes": (6,), "learning_rate_init": 0.02, "random_state": 0}
SOLVERS = ("adam", "sgd", "adamw", "rmsprop", "lbfgs")


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    """Each look at the clock is a second after the one before: once at the start, once after each epoch or iteration."""
    ticks = itertools.count(1000.0)
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr("fastprop.loop.time", clock)
    monkeypatch.setattr("fastprop.lbfgs.time", clock)


def _weights(estimator):
    return np.concatenate([array.ravel() for array in estimator.coefs_ + estimator.intercepts_])


def _make(target, **parameters):
    return (MLPClassifier if target == "multiclass" else MLPRegressor)(**SMALL | parameters)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_training_stops_after_the_epoch_in_which_the_time_is_over(data, no_convergence_warning, target, solver):
    X, y = data(target)
    ours = _make(target, solver=solver, max_iter=30)
    for max_time, n_iter in ((1e-9, 1), (1.0, 1), (1.5, 2), (3.0, 3), (20.5, 21)):
        limited = clone(ours).set_params(max_time=max_time).fit(X, y)
        assert limited.n_iter_ == n_iter
        np.testing.assert_array_equal(_weights(limited), _weights(clone(ours).set_params(max_iter=n_iter).fit(X, y)))
        assert limited.predict(X).shape == y.shape
        assert limited.score(X, y) > -np.inf
        if solver != "lbfgs":
            assert len(limited.loss_curve_) == n_iter
            assert limited.t_ == n_iter * len(X)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_warning_that_it_has_not_converged(data, solver):
    X, y = data("multiclass")
    _make("multiclass", solver=solver, max_iter=5, max_time=2.5).fit(X, y)  # a warning is an error


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_time_that_is_not_over_changes_nothing(data, no_convergence_warning, solver):
    X, y = data("one output")
    ours = _make("one output", solver=solver, max_iter=12)
    np.testing.assert_array_equal(_weights(clone(ours).set_params(max_time=1e9).fit(X, y)), _weights(ours.fit(X, y)))


def test_other_reasons_to_stop_come_first(data):
    X, y = data("multiclass")
    ours = _make("multiclass", tol=1e9, n_iter_no_change=2, max_iter=100)
    assert clone(ours).set_params(max_time=50).fit(X, y).n_iter_ == ours.fit(X, y).n_iter_ == 4


def test_early_stopping_keeps_the_best_weights_so_far(data):
    X, y = data("multiclass")
    ours = _make("multiclass", early_stopping=True, max_time=5.5, scoring="loss", learning_rate_init=0.9)
    ours.fit(X[30:], y[30:], X_val=X[:30], y_val=y[:30])
    assert ours.n_iter_ == len(ours.validation_scores_) == 6
    assert ours.best_iter_ < 6
    best = clone(ours).set_params(max_time=ours.best_iter_ - 0.5, early_stopping=False).fit(X[30:], y[30:])
    np.testing.assert_allclose(_weights(ours), _weights(best), rtol=1e-12)


def test_training_can_go_on(data):
    """The limit is of each call."""
    X, y = data("multiclass")
    ours = _make("multiclass", max_time=2.5, warm_start=True).fit(X, y)
    assert len(ours.fit(X, y).loss_curve_) == 6
    assert len(ours.partial_fit(X, y).loss_curve_) == 7
    assert ours.set_params(warm_start=False).fit(X, y).n_iter_ == 3


def test_schedules_are_of_max_iter_epochs(data):
    X, y = data("one output")
    ours = _make("one output", learning_rate="cosine", max_iter=40, max_time=9.5).fit(X, y)
    assert ours.n_iter_ == len(ours.learning_rate_curve_) == 10
    assert 0.8 < ours.learning_rate_curve_[-1] / 0.02 < 0.9


@pytest.mark.parametrize("max_time", [0, -1.0, "1 s", [1.0]], ids=str)
def test_what_max_time_may_be(max_time):
    with pytest.raises(ValueError, match="The 'max_time' parameter of MLPRegressor must be a float in the range"):
        _make("one output", max_time=max_time).fit([[0.0], [1.0]], [0.0, 1.0])


# verbose


def _lines(capsys, text=""):
    return [line for line in capsys.readouterr().out.splitlines() if text in line]


@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_validation_rows_are_printed(data, no_convergence_warning, capsys, early_stopping):
    X, y = data("multiclass")
    ours = _make("multiclass", max_iter=3, verbose=True, early_stopping=early_stopping)
    ours.fit(X, y, X_val=X[:30], y_val=y[:30])
    expected = []
    for n, (loss, val_loss, score) in enumerate(
        zip(ours.loss_curve_, ours.validation_loss_curve_, ours.validation_scores_, strict=True)
    ):
        expected += [f"Iteration {n + 1}, loss = {loss:.8f}", f"Validation loss: {val_loss:.8f}", f"Validation score: {score:f}"]
    assert _lines(capsys) == expected
    clone(ours).set_params(scoring="f1_macro").fit(X, y, X_val=X[:30], y_val=y[:30])
    assert len(_lines(capsys, "Validation loss: ")) == 3


def test_a_scoring_of_the_split_is_printed(data, no_convergence_warning, capsys):
    X, y = data("one output")
    ours = _make("one output", max_iter=2, verbose=True, early_stopping=True).fit(X, y)
    assert not _lines(capsys, "Validation loss")  # as scikit-learn prints it
    ours.set_params(scoring="loss").fit(X, y)
    printed = _lines(capsys)
    assert printed[1] == f"Validation loss: {ours.validation_loss_curve_[0]:.8f}"
    assert printed[2] == f"Validation score: {ours.validation_scores_[0]:f}"


@pytest.mark.parametrize("options", [{"learning_rate": "one_cycle"}, {"warmup": 0.5}, {"learning_rate": lambda t: 1 - t}])
def test_the_rates_of_a_schedule_are_printed(data, no_convergence_warning, capsys, options):
    X, y = data("one output")
    ours = _make("one output", max_iter=4, verbose=True, **options).fit(X, y)
    printed = _lines(capsys)
    assert printed[1::2] == [f"Learning rate: {rate:g}" for rate in ours.learning_rate_curve_]
    assert all(re.fullmatch(r"Iteration \d, loss = \d+\.\d{8}", line) for line in printed[::2])


@pytest.mark.parametrize(
    "options", [{}, {"max_time": 2.5}, {"dropout": 0.2, "weight_decay": 0.1, "clip_norm": 1.0, "ema_decay": 0.9}], ids=str
)
def test_nothing_else_is_printed(data, no_convergence_warning, capsys, options):
    X, y = data("one output")
    _make("one output", max_iter=3, verbose=True, **options).fit(X, y)
    assert [line[:17] for line in _lines(capsys)] == [f"Iteration {n}, loss" for n in (1, 2, 3)]
    _make("one output", max_iter=3, **options).fit(X, y, X_val=X, y_val=y)
    assert not _lines(capsys)


def test_what_did_not_improve(data, capsys):
    X, y = data("one output")
    ours = _make("one output", tol=1e9, n_iter_no_change=1, verbose=True).fit(X, y, X_val=X, y_val=y)
    assert _lines(capsys)[-1].startswith("Training loss did not improve more than tol=1000000000.000000 for 1 consecutive epochs")
    ours.set_params(early_stopping=True).fit(X, y, X_val=X, y_val=y)
    assert _lines(capsys)[-1].startswith("Validation score did not improve more than tol=1000000000.000000 for 1 consecutive")

"""Warnings, errors and printed lines: the same texts as scikit-learn's own classes give."""

import re
import warnings
from contextlib import suppress

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

from fastprop import MLPRegressor, loop
from fastprop.training_calls import TrainingCalls

SMALL = {"hidden_layer_sizes": (4,), "random_state": 0}


def _said(call):
    """(class, text) of the warnings, then of the error if there was one."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except Exception as error:
            said.append((type(error), str(error)))
    return [(warning.category, str(warning.message)) for warning in caught] + said


@pytest.fixture
def assert_same_words(pair):
    """assert_same_words(target, call, class, pattern, **parameters): both classes say the same, and it is this."""

    def check(target, call, category, pattern, **parameters):
        ours, theirs = (_said(lambda e=e: call(e)) for e in pair(target, **SMALL | parameters))
        assert ours == theirs
        assert any(issubclass(c, category) and re.search(pattern, text, re.DOTALL) for c, text in ours), ours

    return check


def test_max_iter(assert_same_words, data):
    X, y = data("multiclass")
    assert_same_words("multiclass", lambda e: e.fit(X, y), ConvergenceWarning, r"Maximum iterations \(3\) reached", max_iter=3)
    lbfgs = {"solver": "lbfgs", "max_iter": 2}
    assert_same_words("multiclass", lambda e: e.fit(X, y), ConvergenceWarning, "lbfgs failed to converge after 2", **lbfgs)
    lbfgs = {"solver": "lbfgs", "max_fun": 3}
    assert_same_words("multiclass", lambda e: e.fit(X, y), ConvergenceWarning, "lbfgs failed to converge", **lbfgs)


def test_batch_size(assert_same_words, data):
    X, y = data("one output")
    assert_same_words("one output", lambda e: e.fit(X, y), UserWarning, "going to be clipped", batch_size=91)


def test_column_y(assert_same_words, data):
    X, y = data("binary")
    assert_same_words("binary", lambda e: e.fit(X, y[:, None]), DataConversionWarning, "column-vector")
    X, y = data("one output")
    assert_same_words("one output", lambda e: e.fit(X, y[:, None]), DataConversionWarning, "column-vector")


def test_non_finite_weights(pair, data):
    X, y = data("one output")
    options = {"solver": "sgd", "learning_rate_init": 1e10, "activation": "identity", "max_iter": 40}
    ours, theirs = (_said(lambda e=e: e.fit(1e6 * X, y))[-1] for e in pair("one output", **SMALL | options))
    assert ours == theirs
    assert ours[0] is ValueError
    assert ours[1].startswith("Solver produced non-finite parameter weights.")


@pytest.mark.parametrize(
    ("options", "scale", "method"),
    [
        ({"solver": "sgd", "learning_rate_init": 1e3}, 1, "fit"),
        ({"solver": "sgd", "learning_rate_init": 1e3, "early_stopping": True}, 1, "fit"),
        ({"solver": "sgd", "learning_rate_init": 1e3}, 1, "partial_fit"),
        ({"solver": "sgd", "learning_rate_init": 1e3, "activation": "tanh"}, 1, "fit"),  # stays finite
        ({"solver": "lbfgs"}, 1e200, "fit"),
        ({"solver": "lbfgs"}, 1e100, "fit"),  # stays finite
    ],
)
def test_overflow_is_warned_of_where_scikit_learn_warns(pair, data, options, scale, method):
    X, y = data("one output")

    def overflows(estimator):
        """Of each call, whether there was a warning of an overflow in the solver."""
        found = []
        for _ in range(6 if method == "partial_fit" else 1):
            with warnings.catch_warnings(record=True) as caught, suppress(ValueError):
                warnings.simplefilter("always")
                getattr(estimator, method)(scale * X, y)
            texts = [str(w.message) for w in caught if w.category is RuntimeWarning and not w.filename.endswith("_regression.py")]
            found.append(any("overflow" in text.lower() for text in texts))
            assert len(texts) <= 1 or not isinstance(estimator, MLPRegressor)
        return found

    ours, theirs = (overflows(estimator) for estimator in pair("one output", **SMALL | options))
    assert ours == theirs
    assert any(ours) == (options.get("activation") != "tanh" and scale != 1e100)


def test_early_stopping(assert_same_words, data):
    X, y = data("multiclass")
    options = {"early_stopping": True}
    assert_same_words("multiclass", lambda e: e.fit(X[:8], y[:8]), ValueError, "validation set is too small", **options)
    assert_same_words("multiclass", lambda e: e.fit(X, y), ValueError, "test_size", validation_fraction=0, **options)
    once = np.where(np.arange(90) == 3, "x", "y")
    assert_same_words("binary", lambda e: e.fit(X, once), ValueError, "least populated class", **options)
    call = lambda e: e.partial_fit(X, y, classes=np.unique(y))  # noqa: E731
    assert_same_words("multiclass", call, ValueError, "^partial_fit does not support early_stopping=True$", **options)


def test_partial_fit(assert_same_words, data):
    X, y = data("multiclass")
    fit = {"first": lambda e: e.partial_fit(X, y)}
    assert_same_words("multiclass", fit["first"], ValueError, "classes must be passed on the first call to partial_fit.")
    assert_same_words("multiclass", lambda e: e.partial_fit(X, y, classes=np.unique(y)[:2]), ValueError, "`y` has classes not in")
    classes = np.unique(y)
    again = lambda e: e.partial_fit(X, y, classes=classes).partial_fit(X, y, classes=classes[:1])  # noqa: E731
    assert_same_words("multiclass", again, ValueError, "not the same as on last call")
    fewer = lambda e: e.partial_fit(X, y, classes=classes).partial_fit(X[:, :2], y)  # noqa: E731
    assert_same_words("multiclass", fewer, ValueError, "expecting 7 features")
    invalid = lambda e: e.partial_fit(X, y, classes=classes)  # noqa: E731
    assert_same_words("multiclass", invalid, ValueError, "'alpha' parameter of MLPClassifier", alpha=-1)


def test_partial_fit_is_not_there_with_lbfgs(pair):
    causes = []
    for estimator in pair("multiclass", solver="lbfgs"):
        assert not hasattr(estimator, "partial_fit")
        with pytest.raises(AttributeError, match="This 'MLPClassifier' has no attribute 'partial_fit'") as caught:
            estimator.partial_fit  # noqa: B018
        causes.append(str(caught.value.__cause__))
    assert causes[0] == causes[1]
    assert "lbfgs is not stochastic" in causes[0]


def test_parameters_are_validated_in_the_first_partial_fit_only(pair, data):
    X, y = data("multiclass")
    for estimator in pair("multiclass", **SMALL):
        estimator.partial_fit(X, y, classes=np.unique(y)).set_params(tol=-1).partial_fit(X, y)


def test_warm_start(assert_same_words, data):
    X, y = data("multiclass")
    options = {"warm_start": True, "max_iter": 2}
    some = y != y[0]
    call = lambda e: e.fit(X, y).fit(X[some], y[some])  # noqa: E731
    assert_same_words("multiclass", call, ValueError, "warm_start can only be used where `y` has the same classes", **options)
    fewer = lambda e: e.fit(X, y).fit(X[:, :2], y)  # noqa: E731
    assert_same_words("multiclass", fewer, ValueError, "expecting 7 features", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_iter": 4},
        {"tol": 1.0, "n_iter_no_change": 2},
        {"tol": 1.0, "n_iter_no_change": 2, "early_stopping": True},
        {"tol": 1.0, "n_iter_no_change": 2, "solver": "sgd", "learning_rate": "invscaling"},
        {"tol": 1.0, "n_iter_no_change": 1, "solver": "sgd", "learning_rate": "adaptive"},
        {"tol": 1.0, "n_iter_no_change": 1, "solver": "sgd", "learning_rate": "adaptive", "early_stopping": True},
        {"solver": "lbfgs", "max_iter": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_verbose(pair, data, capsys, target, options, no_convergence_warning):
    X, y = data(target)
    outputs = []
    for estimator in pair(target, verbose=True, **SMALL | options):
        estimator.fit(X, y)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "Iteration 1, loss = " in outputs[0] or options.get("solver") == "lbfgs"


@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_ctrl_c(pair, data, monkeypatch, early_stopping):
    """The model has what was learnt so far, and training can go on."""
    X, y = data("multiclass")
    ours, _ = pair("multiclass", early_stopping=early_stopping, max_iter=50, **SMALL)
    calls = epochs = 0

    def interrupted(self, orders, *arguments, _run=TrainingCalls.run):
        nonlocal calls, epochs
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        epochs += len(orders)
        return _run(self, orders, *arguments)

    monkeypatch.setattr(TrainingCalls, "run", interrupted)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        ours.fit(X, y)
    assert ours.n_iter_ == len(ours.loss_curve_) == epochs
    assert ours.predict(X).shape == y.shape
    if not early_stopping:
        assert ours.partial_fit(X, y).n_iter_ == 1


@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "adaptive"}], ids=str)
def test_short_epochs_are_done_together(pair, data, monkeypatch, assert_same, options):
    """As many in one call as must come before the stopping rule can strike; the result must not depend on it."""
    X, y = data("multiclass")
    together = []

    def counted(self, orders, *arguments, _run=TrainingCalls.run):
        together.append(len(orders))
        return _run(self, orders, *arguments)

    monkeypatch.setattr(TrainingCalls, "run", counted)
    ours, theirs = pair("multiclass", max_iter=500, tol=1e-3, n_iter_no_change=4, learning_rate_init=0.02, **SMALL | options)
    assert_same(ours.fit(X, y), theirs.fit(X, y))
    assert sum(together) == ours.n_iter_ < 500
    assert together[0] == 5
    assert min(together) < 5


def test_a_long_epoch_is_cut_into_calls(pair, data, monkeypatch, assert_same, no_convergence_warning):
    """So that Ctrl-C is heard in the middle of it; the result must not depend on it."""
    X, y = data("multiclass")
    lengths = []

    def counted(self, orders, *arguments, _run=TrainingCalls.run):
        lengths.append(orders.shape)
        return _run(self, orders, *arguments)

    monkeypatch.setattr(TrainingCalls, "run", counted)
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 6 * 44 * 20 * 2.5)
    ours, theirs = pair("multiclass", batch_size=20, max_iter=3, **SMALL)
    assert_same(ours.fit(X, y), theirs.fit(X, y))
    assert lengths == [(1, 40), (1, 40), (1, 10)] * 3

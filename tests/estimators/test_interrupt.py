"""Ctrl-C: training ends, and the model has what it learnt so far and can be used and trained on."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

from fastprop import Network, lbfgs, loop
from fastprop.training_calls import TrainingCalls

SMALL = {"hidden_layer_sizes": (5,), "random_state": 0}

# A thread sends the signal once training has changed the weights a few times; the fit by itself would take hours.
SCRIPT = """
import os, signal, sys, threading, time, warnings
import numpy as np
from fastprop import MLPRegressor

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 60))
Y = np.sin(X @ rng.normal(size=(60, 3))) + rng.normal(size=(4000, 3))
options = dict(max_iter=10**9, max_fun=10**9, tol=0, n_iter_no_change=np.inf)
model = MLPRegressor(solver=sys.argv[1], early_stopping=sys.argv[2] == "True", hidden_layer_sizes=(100, 100), **options)

def interrupt():
    seen = []
    while len(seen) < 4:
        time.sleep(0.005)
        if hasattr(model, "_network"):
            now = model.coefs_[0][0, 0]
            if now not in seen:
                seen.append(now)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        model.fit(X, Y)
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
print(*[(w.category.__name__, str(w.message)) for w in caught])
predictions = model.predict(X)
assert predictions.shape == Y.shape and np.isfinite(predictions).all()
if model.solver != "lbfgs":
    assert len(model.loss_curve_) == model.n_iter_
if model.early_stopping:
    assert all(a is b for a, b in zip(model.coefs_, model._best_coefs, strict=True))
    model.set_params(early_stopping=False)
model.set_params(max_iter=2)
warnings.simplefilter("ignore")
assert np.isfinite(model.fit(X, Y).predict(X)).all()
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
@pytest.mark.parametrize(
    ("solver", "early_stopping"),
    [
        ("adam", True),
        ("lbfgs", False),
        *(pytest.param(*case, marks=pytest.mark.full) for case in (("adam", False), ("sgd", False), ("sgd", True))),
    ],
)
def test_a_signal(solver, early_stopping):
    # The timeout only keeps a failure from lasting for hours.
    command = [sys.executable, "-c", SCRIPT, solver, str(early_stopping)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    if solver == "lbfgs":  # as in scikit-learn
        assert result.stdout.split("\n") == ["KeyboardInterrupt", "", "done", ""]
    else:
        assert result.stdout.split("\n") == ["('UserWarning', 'Training interrupted by user.')", "done", ""]


def _interrupt(monkeypatch, at, owner=TrainingCalls, method="run"):
    """Let the call number ``at`` of a method raise after it has done its work, as a signal does."""
    calls, original = [], getattr(owner, method)

    def interrupted(self, *arguments, **options):
        result = original(self, *arguments, **options)
        calls.append(getattr(self, "_network", self).params.copy())
        if len(calls) == at:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, method, interrupted)
    return calls


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_in_the_middle_of_the_first_epoch(data, pair, monkeypatch, solver):
    X, y = data("multiclass")
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 1.0)
    calls = _interrupt(monkeypatch, 3)
    ours, _ = pair("multiclass", solver=solver, batch_size=10, **SMALL)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        ours.fit(X, y)
    assert ours.n_iter_ == 0
    assert ours.loss_curve_ == []
    np.testing.assert_array_equal(ours._network.params, calls[-1])
    assert set(ours.predict(X)) <= set(ours.classes_)
    assert ours.partial_fit(X, y).n_iter_ == 1
    assert len(ours.loss_curve_) == 1


def test_between_an_epoch_and_its_entry(data, pair, monkeypatch):
    """An interrupt that comes when a call has done its work, but nobody knows yet: the work counts."""
    X, y = data("multiclass")
    calls = _interrupt(monkeypatch, 2)
    ours, _ = pair("multiclass", max_iter=200, **SMALL)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    assert len(calls) == 2
    assert ours.n_iter_ == len(ours.loss_curve_) > 11
    assert ours._optimizer.t == ours.n_iter_  # one batch an epoch
    np.testing.assert_array_equal(ours._network.params, calls[-1])
    alone, _ = pair("multiclass", max_iter=ours.n_iter_, **SMALL)
    with pytest.warns(ConvergenceWarning):
        alone.fit(X, y)
    np.testing.assert_array_equal(alone._network.params, ours._network.params)
    assert alone.loss_curve_ == ours.loss_curve_
    assert alone.best_loss_ == ours.best_loss_


def test_the_best_weights_come_back(data, pair, monkeypatch):
    X, y = data("multiclass")
    calls = _interrupt(monkeypatch, 40)
    ours, _ = pair("multiclass", early_stopping=True, n_iter_no_change=100, learning_rate_init=0.2, **SMALL)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    best = int(np.argmax(ours.validation_scores_))
    assert 0 < best < 38  # so that the test says something
    assert ours.best_validation_score_ == ours.validation_scores_[best]
    np.testing.assert_array_equal(ours._network.params, calls[best])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lbfgs_raises_and_keeps_the_best(data, pair, monkeypatch, dtype):
    X, y = data("two outputs", dtype=dtype)
    calls = _interrupt(monkeypatch, 7, Network, "loss_gradient")
    ours, _ = pair("two outputs", solver="lbfgs", max_iter=50, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        ours.fit(X, y)
    tried = np.array([0.5 * np.mean((_predict(ours, X, params) - y) ** 2) for params in calls[:-1]])
    np.testing.assert_array_equal(ours._network.params, calls[int(tried.argmin())])
    assert ours.predict(X).shape == y.shape
    assert np.shares_memory(ours.coefs_[0], ours._network.params)
    monkeypatch.undo()
    assert np.isfinite(ours.set_params(tol=10.0).fit(X, y).predict(X)).all()


def _predict(estimator, X, params):
    network = estimator._network.astype(params.dtype)
    network.params[:] = params
    return network.forward(X)


def test_scikit_learns_lbfgs_raises_too(data, monkeypatch):
    X, y = data("two outputs")

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    theirs = sklearn.neural_network.MLPRegressor(solver="lbfgs")
    monkeypatch.setattr(theirs, "_loss_grad_lbfgs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        theirs.fit(X, y)


@pytest.mark.pairwise
@pytest.mark.parametrize("weights", ["none", "some zero", "negative"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "two outputs", "poisson"])
def test_lbfgs_hears_it_between_parts_of_the_data(data, pair, assert_same, monkeypatch, target, weights, sparse):
    """The parts give the loss and gradient of the whole."""
    X, y = data(target)
    X = scipy.sparse.csr_array(np.where(X > 0, X, 0)) if sparse else X
    weight = {"none": None, "some zero": np.r_[np.zeros(40), np.linspace(1, 2, 50)], "negative": np.r_[-0.1, np.ones(89)]}[weights]
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 1.0)
    monkeypatch.setattr(lbfgs, "MIN_ROWS_PER_PART", 16)
    calls = _interrupt(monkeypatch, None, Network, "loss_gradient")
    ours, theirs = pair(target, solver="lbfgs", max_iter=3, alpha=0.3, **SMALL)
    with pytest.warns(match="lbfgs failed to converge"):
        ours.fit(X, y, sample_weight=weight)
    with pytest.warns(match="lbfgs failed to converge"):
        theirs.fit(X, y, sample_weight=weight)
    assert_same(ours, theirs)
    assert len(calls) >= 4 * {"none": 6, "some zero": 4, "negative": 1}[weights]


def test_validation_is_cut_into_calls_too(data, pair, assert_same, monkeypatch, no_convergence_warning):
    X, y = data("multiclass", n_samples=200)
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 1.0)
    calls = _interrupt(monkeypatch, None, Network, "forward")
    ours, theirs = pair("multiclass", early_stopping=True, max_iter=3, **SMALL)
    assert_same(ours.fit(X, y), theirs.fit(X, y))
    assert len(calls) == 3 * 20


def test_lbfgs_on_rows_without_entries(pair):
    X, y = scipy.sparse.csr_array((20, 3)), np.arange(20) / 20
    ours, theirs = (e.fit(X, y) for e in pair("one output", solver="lbfgs", hidden_layer_sizes=(), random_state=0))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))

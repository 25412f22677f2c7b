"""Ctrl-C: training ends with a warning, and each member has its best parameters so far."""

import subprocess
import sys

import numpy as np
import pytest

from fastprop import loop
from fastprop.tabular import members

# A thread sends the signal once a few epochs are done; the fit by itself would take hours.
SCRIPT = """
import os, signal, threading, time, warnings
import numpy as np
from fastprop import TabularClassifier
from fastprop.tabular.members import Member

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 20))
y = rng.integers(0, 3, 4000)
made, original = [], Member.__init__

def recorded(self, *arguments):
    original(self, *arguments)
    made.append(self)

def interrupt():
    while not made or made[0].n_epochs < 3:
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)

Member.__init__ = recorded
model = TabularClassifier(n_members=2, max_iter=10**6, early_stopping=False, refit=True)
threading.Thread(target=interrupt, daemon=True).start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.fit(X, y)
print(*[(w.category.__name__, str(w.message)) for w in caught])
assert 3 <= model.n_iter_ < 1000
assert np.isfinite(model.predict_proba(X)).all()
print(model.set_params(max_iter=1).fit(X, y).n_iter_)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
def test_a_signal():
    # The timeout only keeps a failure from lasting for hours.
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n") == ["('UserWarning', 'Training interrupted by user.')", "1", ""]


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(at): the compiled call of this number does its work and then raises, as a signal makes it."""

    def interrupt(at):
        calls, original = [], members.run_together

        def interrupted(*arguments):
            calls.append(original(*arguments))
            if len(calls) == at:
                raise KeyboardInterrupt

        monkeypatch.setattr(members, "run_together", interrupted)

    return interrupt


@pytest.mark.parametrize("way", [{}, {"early_stopping": False}, {"refit": True}, {"scoring": "accuracy"}], ids=str)
def test_the_best_so_far(data, make, assert_same, interrupt, clock, way):
    """As where time was over after the same epoch."""
    X, y = data("multiclass")
    clock()
    stopped = make("multiclass", max_iter=12, max_time=5.5, **way).fit(X, y)
    interrupt(6)
    ours = make("multiclass", max_iter=12, **way)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        ours.fit(X, y)
    assert ours.n_iter_ == 6
    assert_same(ours, stopped, X)


def test_in_the_middle_of_an_epoch(data, make, assert_same, interrupt, clock, monkeypatch):
    """It counts for nothing."""
    X, y = data("multiclass")
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 1.0)
    clock()
    stopped = make("multiclass", max_iter=12, batch_size=30, max_time=0.5).fit(X, y)
    interrupt(3 + 2)
    ours = make("multiclass", max_iter=12, batch_size=30)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    assert ours.n_iter_ == 1
    assert_same(ours, stopped, X)


@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_in_the_first_epoch(data, make, outputs, interrupt, monkeypatch, kind):
    X, y = data(kind)
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 1.0)
    interrupt(1)
    ours = make(kind, batch_size=30)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    assert ours.n_iter_ == 0
    assert ours.loss_curves_ == [[], []]
    assert ours.best_iters_ == [0, 0]
    assert np.isfinite(outputs(ours, X)).all()


def test_in_the_refit(data, make, assert_same, interrupt):
    """The networks from before it stay."""
    X, y = data("multiclass")
    plain = make("multiclass").fit(X, y)
    interrupt(4)
    ours = make("multiclass", refit=True)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    assert_same(ours, plain, X)


def test_in_preparation_it_is_an_error(data, make, assert_same, monkeypatch):
    X, y = data("multiclass")
    ours, same = (make("multiclass").fit(X, y) for _ in range(2))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastprop.tabular.base.Member", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ours.fit(X, y)
    assert_same(ours, same, X)

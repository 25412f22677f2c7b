"""What survives: dead workers change nothing, and what cannot be survived leaves the last round and a checkpoint."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("distributed", reason="dask and distributed are not installed")
from dask import delayed

from fastprop.dask import DaskMLPClassifier


@pytest.fixture
def undisturbed(client, lazy, options):
    return DaskMLPClassifier(**options).fit(*lazy)


def test_a_worker_is_killed(client, lazy, options, undisturbed, same_weights, at_epochs, kill):
    epoch, after = int(np.random.default_rng().integers(1, 7)), np.random.default_rng().uniform(0, 0.05)
    at_epochs({epoch: lambda: client.loop.call_later(after, kill)})
    same_weights(DaskMLPClassifier(**options).fit(*lazy), undisturbed)


def test_a_worker_joins_and_another_retires(client, cluster, lazy, options, undisturbed, same_weights, at_epochs):
    def join():
        cluster.scale(3)
        client.wait_for_workers(3, timeout=30)

    def retire():
        first, *_ = client.scheduler_info()["workers"]
        client.retire_workers([first])

    at_epochs({2: join, 5: retire})
    same_weights(DaskMLPClassifier(**options).fit(*lazy), undisturbed)
    cluster.scale(2)


@pytest.mark.full
def test_the_source_is_gone(client, rows, options, at_epochs, kill, tmp_path):
    X, y = rows
    np.save(tmp_path / "X.npy", X)
    parts = [delayed(lambda path, i: (np.load(path)[i::2], y[i::2]))(tmp_path / "X.npy", i) for i in range(2)]

    def lose():
        (tmp_path / "X.npy").rename(tmp_path / "elsewhere.npy")
        kill(2)

    at_epochs({3: lose})
    model = DaskMLPClassifier(**options)
    with pytest.raises(RuntimeError, match=r"round 1 of 1 of epoch 4 failed, FileNotFoundError.*warm_start=True, fit continues"):
        model.fit(parts)
    assert model.n_iter_ == len(model.loss_curve_) == 3
    (tmp_path / "elsewhere.npy").rename(tmp_path / "X.npy")
    client.wait_for_workers(2, timeout=30)
    model.set_params(warm_start=True).fit(parts)
    assert len(model.loss_curve_) == 3 + 8
    assert model.loss_curve_[3] < model.loss_curve_[0]


def test_a_round_that_takes_too_long(client, lazy, options):
    model = DaskMLPClassifier(round_timeout=1e-4, **options)
    with pytest.raises(TimeoutError, match=r"round 1 of 1 of epoch 1 took longer than round_timeout=0.0001 seconds"):
        model.fit(*lazy)
    assert model.loss_curve_ == []
    model.set_params(round_timeout=None, warm_start=True).fit(*lazy)
    assert len(model.loss_curve_) == 8


def test_ctrl_c_keeps_the_last_round(client, lazy, options, at_epochs):
    def interrupt():
        raise KeyboardInterrupt

    at_epochs({3: interrupt})
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = DaskMLPClassifier(**options).fit(*lazy)
    assert model.n_iter_ == 3


DRIVER = """
    import os, signal, sys
    import dask.array as da
    from distributed import Client
    from sklearn.datasets import make_classification
    from fastprop.dask import DaskMLPClassifier
    from fastprop.estimators.checkpoints import Checkpoint

    X, y = make_classification(600, 8, n_informative=6, n_classes=3, random_state=0)
    save = Checkpoint.save

    def save_and_die(self, *arguments, **more):
        save(self, *arguments, **more)
        if self._history.n_epochs == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.save = save_and_die
    address, path, options = sys.argv[1:]
    with Client(address):
        DaskMLPClassifier(checkpoint=path, **eval(options)).fit(da.from_array(X, chunks=(150, -1)), da.from_array(y, chunks=150))
"""


@pytest.mark.full
def test_the_driver_is_killed(client, lazy, options, same_weights, tmp_path, capsys):
    path = tmp_path / "fit.npz"
    options = options | {"sync_every": 6, "ema_decay": 0.9, "normalization": "batch", "dropout": 0.1, "n_iter_no_change": 100}
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), client.scheduler.address, str(path), repr(options)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert path.exists()
    X, y = lazy
    with pytest.raises(ValueError, match=r"belongs to another fit: alpha is 0\.0001 there and 0\.5 here"):
        DaskMLPClassifier(checkpoint=path, alpha=0.5, **options).fit(X, y)
    restarted = DaskMLPClassifier(checkpoint=path, verbose=True, **options).fit(X, y)
    assert "Going on after iteration 4, from a checkpoint\nIteration 5, loss" in capsys.readouterr().out
    same_weights(restarted, DaskMLPClassifier(**options).fit(X, y))
    assert (restarted.n_iter_, restarted.t_) == (8, 8 * 600)
    assert not path.exists()


def test_a_checkpoint_under_early_stopping(client, lazy, options, same_weights, at_epochs, tmp_path):
    """The best weights so far, the count of epochs without improvement and the adapted learning rate are in it."""
    X, y = lazy
    sgd = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "tol": 0.02, "n_iter_no_change": 1}
    options = options | sgd | {"early_stopping": True, "max_iter": 12, "checkpoint": tmp_path / "fit.npz"}
    given = {"X_val": X[:100], "y_val": y[:100]}

    def interrupt():
        raise KeyboardInterrupt

    at_epochs({9: interrupt})
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        DaskMLPClassifier(**options).fit(X, y, **given)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        restarted = DaskMLPClassifier(**options).fit(X, y, **given)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        reference = DaskMLPClassifier(**options).fit(X, y, **given)
    same_weights(restarted, reference)
    assert restarted.validation_scores_ == reference.validation_scores_
    assert restarted.learning_rate_curve_ == reference.learning_rate_curve_
    assert len(set(restarted.learning_rate_curve_)) > 1
    assert os.listdir(tmp_path) == []

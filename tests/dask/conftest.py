"""One cluster of two worker processes for all tests, and data in the forms that they train on."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

pytest.importorskip("distributed", reason="dask and distributed are not installed")
import dask
import dask.array as da
from distributed import Client, LocalCluster
from sklearn.datasets import make_classification

N_WORKERS = 2


@pytest.fixture(scope="session")
def cluster():
    options = {"n_workers": N_WORKERS, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    # Workers are forked from a process that has imported distributed, pandas and more: tests kill and start a dozen of them.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": method}),
        LocalCluster(**options, memory_limit=0) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def session_client(cluster):
    with Client(cluster) as client:
        yield client


@pytest.fixture
def client(session_client):
    """With all workers, also after a test that killed some."""
    session_client.wait_for_workers(N_WORKERS, timeout=30)
    return session_client


@pytest.fixture(scope="session")
def rows():
    return make_classification(600, 8, n_informative=6, n_classes=3, random_state=0)


@pytest.fixture
def lazy(rows):
    """The rows in four partitions."""
    X, y = rows
    return da.from_array(X, chunks=(150, -1)), da.from_array(y, chunks=150)


@pytest.fixture
def at_epochs(monkeypatch):
    """A function that lets actions run before rounds, given as epoch -> function without arguments."""
    from fastprop.dask.source import Rounds

    def watch(actions):
        run = Rounds._round

        def round_(self, job):
            if self.epoch in actions and job.number == 0:
                actions.pop(self.epoch)()
            return run(self, job)

        monkeypatch.setattr(Rounds, "_round", round_)

    return watch


@pytest.fixture
def kill(client):
    """A function that kills so many of the workers that there are now."""
    pids = list(client.run(os.getpid).values())

    def kill(n=1):
        for pid in pids[:n]:
            os.kill(pid, signal.SIGKILL)

    return kill


@pytest.fixture(scope="session")
def same_weights():
    """A function that compares two trained estimators, to the bit."""

    def same(one, other):
        assert one.loss_curve_ == other.loss_curve_
        for name in ("coefs_", "intercepts_", "running_means_", "running_vars_"):
            for ours, theirs in zip(getattr(one, name, []), getattr(other, name, []), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    return same


@pytest.fixture(scope="session")
def options():
    """Parameters with which a fit ends after its epochs, without a word."""
    schedule = {"learning_rate": "cosine", "learning_rate_init": 0.01}
    return {"hidden_layer_sizes": (10,), "batch_size": 40, "random_state": 0, "max_iter": 8, "n_iter_no_change": np.inf} | schedule

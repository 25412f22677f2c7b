"""threadpoolctl's limits hold for fastprop, and its info lists it."""

import math
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

from fastprop import MLPClassifier, __version__, kernels, nn, threadpool
from fastprop.threads import available_cores, effective_n_threads, n_threads_of_prediction

threadpoolctl = pytest.importorskip("threadpoolctl", minversion="3.2")  # older ones know no other libraries than their own
OPTIONS = {"batch_size": 200, "random_state": 0}
FEW_EPOCHS = {"tol": 1e9, "n_iter_no_change": 2} | OPTIONS


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def entries():
    return [entry for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "fastprop"]


def threads():
    """Of n_jobs=None, -1, -2 and 16, and of a large prediction."""
    return [*map(effective_n_threads, (None, -1, -2, 16)), n_threads_of_prediction(None, 10**4, 1e9)]


def test_info():
    (entry,) = entries()
    active = kernels.active
    assert entry == {
        "user_api": "fastprop",
        "internal_api": "fastprop",
        "prefix": "fastprop",
        "filepath": active.raw.__file__,
        "version": __version__,
        "num_threads": 8,
        "backend": active.backend,
        "isa": active.isa,
    }


def test_a_limit_is_an_upper_bound_and_ends_with_its_block():
    unlimited = [8, 8, 7, 16, 8]
    assert threads() == unlimited
    with threadpoolctl.threadpool_limits(3):
        assert threads() == [3, 3, 2, 3, 3]
        assert entries()[0]["num_threads"] == available_cores() == 3
        with threadpoolctl.threadpool_limits(1):
            assert threads() == [1] * 5
        with threadpoolctl.threadpool_limits(12):
            assert threads() == [8, 8, 7, 12, 8]
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            assert threads() == [3, 3, 2, 3, 3]
        assert threads() == [3, 3, 2, 3, 3]
    assert threads() == unlimited
    with threadpoolctl.threadpool_limits(threadpoolctl.threadpool_info()):
        assert threads() == unlimited


def test_the_main_threads_limit_holds_in_all_threads():
    with ThreadPoolExecutor(1) as other:
        with threadpoolctl.threadpool_limits(3):
            assert other.submit(effective_n_threads).result() == 3
            inner = other.submit(threadpoolctl.threadpool_limits, 1).result()
            assert other.submit(effective_n_threads).result() == 1
            other.submit(inner.restore_original_limits).result()
            assert other.submit(effective_n_threads).result() == 3
        assert other.submit(effective_n_threads).result() == 8


def test_blocks_that_overlap_in_two_threads_keep_apart():
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        outer = other.submit(threadpoolctl.threadpool_limits, 2).result()
        assert effective_n_threads() == one.submit(effective_n_threads).result() == 8
        inner = one.submit(threadpoolctl.threadpool_limits, 1).result()
        assert other.submit(effective_n_threads).result() == 2
        other.submit(outer.restore_original_limits).result()
        assert one.submit(effective_n_threads).result() == 1
        one.submit(inner.restore_original_limits).result()
        assert one.submit(effective_n_threads).result() == other.submit(effective_n_threads).result() == 8


def test_fits_obey():
    X = np.random.default_rng(0).normal(size=(300, 20))
    y = (X[:, 0] > X[:, 1]).astype(int)

    def estimator(n_jobs):
        return np.concatenate(MLPClassifier((40,), n_jobs=n_jobs, **FEW_EPOCHS).fit(X, y).coefs_, axis=None)

    def modules(n_jobs):
        model = nn.mlp([20, 40, 2], random_state=0)
        model.fit(X, y, nn.SoftmaxCrossEntropy(), nn.Adam(model.parameters()), epochs=3, n_jobs=n_jobs, **OPTIONS)
        return np.concatenate([parameter.data.ravel() for parameter in model.parameters()])

    for fit in (estimator, modules):
        one, two = fit(1), fit(2)  # which differ by rounding
        with threadpoolctl.threadpool_limits(1):
            np.testing.assert_array_equal(fit(2), one)
        assert kernels.active.backend == "reference" or (two != one).any()


def test_threadpoolctl_is_imported_later():
    """On a back end without a shared library of its own."""
    code = """
from fastprop import nn
from fastprop.threads import effective_n_threads
from threadpoolctl import threadpool_limits
with threadpool_limits(1):
    assert effective_n_threads(2) == 1
assert effective_n_threads(2) == 2
"""
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"FASTPROP_BACKEND": "reference"}, check=True)


def test_threadpoolctl_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert runpy.run_path(threadpool.__file__)["thread_limit"]() == math.inf

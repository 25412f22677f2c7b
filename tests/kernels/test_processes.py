"""Threads where a process has fewer than were asked for, and forks after threads were used. Each in a process of its own."""

import os
import subprocess
import sys

import pytest

from fastprop import kernels

PROBLEM = """
import os, numpy as np
from fastprop import kernels
rng = np.random.default_rng(0)
x, y = rng.normal(size=(500, 20)), rng.integers(0, 10, 500)
layers = kernels.layer_table([20, 30, 10], "relu", "softmax")
start = rng.normal(size=kernels.n_parameters(layers)) / 10

def epoch(n_threads):
    params, state = start.copy(), np.zeros((2, len(start)))
    loss = kernels.train_epoch(x, y, np.arange(500), layers, params, state, "softmax_cross_entropy", n_threads=n_threads)
    return loss, params
"""
FEWER = """
loss, params = epoch(1)
for _ in range(20):
    other_loss, other_params = epoch(3)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-12)
    np.testing.assert_allclose(other_params, params, rtol=1e-9)
"""
FORKED = """
loss, params = epoch(2)
child = os.fork()
if child == 0:
    other_loss, other_params = epoch(2)
    close = np.isclose(other_loss, loss, rtol=1e-12) and np.allclose(other_params, params, rtol=1e-9)
    os._exit(0 if close else 1)
assert os.waitpid(child, 0)[1] == 0
assert epoch(2)[0] == loss
"""


def run(code, **environment):
    command = [sys.executable, "-c", PROBLEM + code]
    subprocess.run(command, check=True, timeout=60, env=os.environ | environment)


def test_fewer_threads_than_asked_for():
    run(FEWER, OMP_THREAD_LIMIT="1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.skipif(kernels.active.backend != "cython", reason="Numba's own thread pool does not survive a fork")
def test_a_forked_child_neither_hangs_nor_errs():
    run(FORKED)

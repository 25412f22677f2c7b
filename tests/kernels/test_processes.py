"""The compiled back end's own threads: fewer than were asked for, after a pause, after a fork. Each in a process of its own."""

import os
import platform
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

raw = kernels.active.raw

def status(thread, field):
    with open(f"/proc/self/task/{thread}/status") as lines:
        return next(line.split(":")[1].strip() for line in lines if line.startswith(field))

def workers():
    # The numbers of the threads that the back end has started.
    return [int(name) for name in os.listdir("/proc/self/task") if status(name, "Name") == "fastprop"]
"""
FEWER = """
def results():
    loss, params = epoch(5)
    gradients = kernels.linear_backward(x, x, np.eye(20), x, n_threads=5)
    return loss, params, *gradients, kernels.network_forward(x, layers, params, n_threads=5)

def same(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)

def n_workers():
    raw.all_finite(x, n_threads=5)  # training may begin with fewer, when the cores are crowded
    return len(workers())

raw.allow_workers({allowed})
first = results()
assert n_workers() == {allowed}
raw.allow_workers(4)
same(results(), first)
assert n_workers() == 4
"""
# Where other threads are in the middle of their work, and in a child's child.
FORKED = """
import threading

def same(first):
    raw.all_finite(x, n_threads=3)  # training may begin with fewer, when the cores are crowded
    loss, params = epoch(3)
    return loss == first[0] and np.array_equal(params, first[1]) and len(workers()) == 2

def ends_well(child):
    return os.waitpid(child, 0)[1] == 0

def grandchild_is_right(first):
    child = os.fork()
    if child == 0:
        os._exit(0 if same(first) else 1)
    return ends_well(child)

first = epoch(3)
stop = threading.Event()

def work():
    while not stop.is_set():
        epoch(2)

others = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for thread in others:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if len(workers()) == 0 and same(first) and grandchild_is_right(first) else 1)
    assert ends_well(child)
stop.set()
for thread in others:
    thread.join()
loss, params = epoch(3)
assert loss == first[0]
np.testing.assert_array_equal(params, first[1])
"""
# A sleeping thread is kept off the caller's processor until it runs, which may be after a call that did without it.
PAUSES = """
import time
everywhere = os.sched_getaffinity(0)

def may_run_everywhere(worker):
    deadline = time.monotonic() + 10
    while os.sched_getaffinity(worker) != everywhere and time.monotonic() < deadline:
        time.sleep(1e-4)
    return os.sched_getaffinity(worker) == everywhere

first = epoch(3)
for pause in (0, 1e-4, 0.02, *20 * (1.9e-3, 2e-3, 2.1e-3)):  # they fall asleep after 2 ms
    time.sleep(pause)
    raw.all_finite(x, n_threads=3)  # training may begin with fewer, when the cores are crowded
    loss, params = epoch(3)
    assert loss == first[0]
    np.testing.assert_array_equal(params, first[1])
    assert len(workers()) == 2
    assert all(may_run_everywhere(worker) for worker in workers())
os.sched_setaffinity(0, {min(everywhere)})
time.sleep(0.05)
assert epoch(3)[0] == first[0]
"""
# What the user says of a thread's processors holds, also where it was said while the thread was kept off the caller's.
PINNED = """
import time
raw.all_finite(x, n_threads=2)
worker, = workers()
everywhere = os.sched_getaffinity(worker)
here = {min(everywhere)}
os.sched_setaffinity(0, here)
n_kept = 0
for _ in range(50):
    os.sched_setaffinity(worker, everywhere)
    time.sleep(0.004)
    raw.all_finite(x, n_threads=2)
    os.sched_setaffinity(worker, here)
    time.sleep(0.004)
    n_kept += os.sched_getaffinity(worker) == here
assert n_kept >= 40, n_kept  # the thread may be between looking and setting, which is a matter of microseconds
"""
# The rounding of the caller's thread, to be seen in the last bits, is that of all threads.
ROUNDED = """
import ctypes
UPWARD = 0x800
libm = ctypes.CDLL(None)
raw.all_finite(x, n_threads=3)
assert libm.fesetround(UPWARD) == 0
grad = rng.normal(size=2**16)
results = []
for n_threads in (1, *20 * (3,)):
    params, velocity = np.ones(2**16), np.zeros(2**16)
    kernels.momentum_update(params, grad, velocity, lr=1e-3, n_threads=n_threads)
    results.append(params)
assert libm.fesetround(0) == 0
params, velocity = np.ones(2**16), np.zeros(2**16)
kernels.momentum_update(params, grad, velocity, lr=1e-3, n_threads=3)
assert not np.array_equal(params, results[0])
for result in results:
    np.testing.assert_array_equal(result, results[0])
"""
# With more threads than cores the caller does what the others have not begun: an update done twice, or by nobody, would show.
ONCE = """
import time
grad = rng.normal(size=4096)
results = []
for n_threads in (1, 5):
    params, velocity = np.ones(4096), np.zeros(4096)
    for i in range(3000):
        kernels.momentum_update(params, grad, velocity, lr=1e-3, n_threads=n_threads)
        if i % 300 == 0:
            time.sleep(0.0025)
    results.append((params, velocity))
for one, several in zip(*results, strict=True):
    np.testing.assert_array_equal(several, one)
"""
SIGNALS = """
import signal
raw.all_finite(x, n_threads=3)
assert len(workers()) == 2
for worker in workers():
    blocked = int(status(worker, "SigBlk"), 16)
    assert blocked >> (signal.SIGINT - 1) & 1, hex(blocked)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
"""


pytestmark = [
    pytest.mark.skipif(kernels.active.backend != "cython", reason="the threads of the other back ends are their libraries'"),
    pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this system does not tell a process's threads"),
]


def run(code):
    subprocess.run([sys.executable, "-c", PROBLEM + code], check=True, timeout=60)


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_fewer_threads_than_asked_for(allowed):
    run(FEWER.format(allowed=allowed))


def test_forked_children_start_their_own():
    run(FORKED)


@pytest.mark.parametrize("n_busy", [0, pytest.param(2 * (os.cpu_count() or 1), marks=pytest.mark.full)])
def test_after_pauses(n_busy):
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    busy = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(n_busy)]
    try:
        for process in busy:
            process.stdout.readline()
        run(PAUSES)
    finally:
        for process in busy:
            process.kill()
            process.communicate()


@pytest.mark.skipif(os.cpu_count() == 1, reason="a single processor leaves no choice")
def test_processors_set_by_the_user():
    run(PINNED)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the rounding mode is this processor's")
def test_the_callers_rounding():
    run(ROUNDED)


def test_every_part_is_done_once():
    run(ONCE)


def test_signals_are_for_the_program():
    run(SIGNALS)

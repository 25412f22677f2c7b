"""How many threads a fit gets."""

import math
import os
import time

import joblib
import numpy as np
import pytest

from fastprop import MLPClassifier, kernels, nn
from fastprop.nn.layered import LayeredNetwork
from fastprop.threads import (
    FLOPS_OF_A_CALL,
    FLOPS_OF_A_STEP,
    FLOPS_OF_AN_AWAKE_THREAD,
    FLOPS_PER_THREAD,
    FLOPS_PER_WEIGHT,
    FLOPS_TO_WAKE_A_THREAD,
    ROWS_OF_A_PASS,
    ROWS_OF_A_STEP,
    SOON,
    available_cores,
    effective_n_threads,
    n_threads_of_call,
    n_threads_of_prediction,
    n_threads_of_steps,
)


@pytest.fixture
def cores(monkeypatch):
    """cores(n, omp=None): pretend that joblib counts n cores and OMP_NUM_THREADS is set."""

    def cores(n, omp=None):
        monkeypatch.setattr(joblib, "cpu_count", lambda: n)
        if omp is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", omp)

    return cores


@pytest.mark.parametrize(
    ("n_jobs", "expected"), [(None, 8), (1, 1), (3, 3), (64, 64), (-1, 8), (-2, 7), (-8, 1), (-100, 1)], ids=str
)
def test_n_jobs(cores, n_jobs, expected):
    cores(8)
    assert effective_n_threads(n_jobs) == expected


def test_work_decides_without_n_jobs(cores):
    cores(4)
    threads = [effective_n_threads(None, factor * FLOPS_PER_THREAD) for factor in (0, 0.5, 1, 1.9, 2, 3.5, 4, 100, math.inf)]
    assert threads == [1, 1, 1, 1, 2, 3, 4, 4, 4]
    assert effective_n_threads(2, 0) == 2


@pytest.mark.parametrize(
    ("n_rows", "shares_of_work", "expected"),
    [(1, 1.9, 1), (1, 100, 4), (7, 3.5, 3), (8, 100, 2), (8, 1.9, 1), (12, 100, 3), (400, 1.9, 1), (400, 2.1, 2), (400, 100, 4)],
)
def test_a_call_needs_work_for_each_thread_and_rows_or_columns(cores, n_rows, shares_of_work, expected):
    cores(4)
    flops_per_row = shares_of_work * FLOPS_OF_A_CALL / (n_rows + ROWS_OF_A_PASS)
    assert n_threads_of_call(None, n_rows, flops_per_row) == expected
    assert n_threads_of_call(3, n_rows, flops_per_row) == 3


@pytest.mark.parametrize(
    ("rows", "flops", "expected"),
    [
        (2 * ROWS_OF_A_STEP, 1.9 * FLOPS_OF_A_STEP, 1),
        (2 * ROWS_OF_A_STEP, 2.1 * FLOPS_OF_A_STEP, 2),
        (2 * ROWS_OF_A_STEP - 1, 2.1 * FLOPS_OF_A_STEP, 1),
        (10 * ROWS_OF_A_STEP, 3.1 * FLOPS_OF_A_STEP, 3),
        (1, 2.1 * FLOPS_PER_THREAD, 2),
        (10 * ROWS_OF_A_STEP, 100 * FLOPS_PER_THREAD, 4),
    ],
)
def test_a_small_step_needs_rows_for_each_thread(cores, rows, flops, expected):
    cores(4)
    n_weights = flops / (FLOPS_PER_WEIGHT * rows)
    assert n_threads_of_steps(None, rows, n_weights) == expected
    assert n_threads_of_steps(3, rows, n_weights) == 3


@pytest.mark.parametrize(("n_rows", "batch_size", "expected"), [(600, 200, 2), (60, 10_000, 1), (400, 100, 1), (2000, 1000, 4)])
def test_the_same_work_gets_the_same_threads_in_estimators_and_in_nn(cores, monkeypatch, n_rows, batch_size, expected):
    """4-100-3: with 200 rows in a step it is rows and operations together that justify two threads."""
    cores(4)
    given = []
    train_epochs, own_epochs = kernels.active.raw.train_epochs, LayeredNetwork._train_epochs

    def watched(job, n_threads):
        given.append(n_threads)
        train_epochs(job, 1)

    def layered(network, job, n_threads):
        given.append(n_threads)
        own_epochs(network, job, 1)

    monkeypatch.setattr(kernels.active.raw, "train_epochs", watched)
    monkeypatch.setattr(LayeredNetwork, "_train_epochs", layered)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 4)), rng.permutation(n_rows) % 3
    own = nn.Activation(np.tanh, lambda z: 1 - np.tanh(z) ** 2, name="tanh")
    for activation in ("relu", own):
        with pytest.warns(match=r"Maximum iterations|batch_size"):
            MLPClassifier((100,), activation, batch_size=batch_size, max_iter=1, random_state=0).fit(X, y)
    for compiled in (True, False):
        model, loss = nn.mlp([4, 100, 3], random_state=0), nn.SoftmaxCrossEntropy()
        optimizer = nn.SGD(model.parameters())
        model.fit(X, y, loss, optimizer, epochs=1, batch_size=batch_size, compiled=compiled)
    assert given == [expected] * 3
    assert {model[0].n_threads, loss.n_threads, optimizer.n_threads} == {expected}


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds): so much later than before."""
    now = [1e6]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def clock(seconds):
        now[0] += seconds

    return clock


def test_a_prediction_soon_after_another_needs_less_work(cores, clock):
    cores(4)
    awake, asleep = (3.5 * flops / (400 + ROWS_OF_A_PASS) for flops in (FLOPS_OF_AN_AWAKE_THREAD, FLOPS_TO_WAKE_A_THREAD))
    for pause, flops, expected in [
        (1, awake, 1),  # the first after a pause
        (SOON / 2, awake, 3),
        (SOON / 2, awake, 3),
        (2 * SOON, awake, 1),
        (2 * SOON, asleep, 3),
        (SOON / 2, asleep, 4),
        (SOON / 2, awake / 3, 1),
        (SOON / 2, awake, 3),  # a prediction by one thread counts, too
        (2 * SOON, asleep / 3, 1),
    ]:
        clock(pause)
        assert n_threads_of_prediction(None, 400, flops) == expected
        assert n_threads_of_prediction(2, 400, flops) == 2


def test_a_prediction_after_a_pause_sees_new_limits_and_others_within_a_second(cores, clock):
    for n in (4, 3, 2):
        cores(n)
        clock(2 * SOON)
        assert n_threads_of_prediction(None, 400, FLOPS_TO_WAKE_A_THREAD) == n
    cores(3, omp="3")
    for _ in range(2 + int(1 / (SOON / 2))):
        clock(SOON / 2)
        last = n_threads_of_prediction(None, 400, FLOPS_TO_WAKE_A_THREAD)
    assert last == 3


@pytest.mark.parametrize(("omp", "expected"), [("2", 2), ("3,1", 3), (" 2 ", 2), ("100", 8), ("0", 8), ("", 8), ("many", 8)])
def test_limits(cores, omp, expected):
    cores(8, omp)
    assert available_cores() == effective_n_threads() == effective_n_threads(-1) == expected


def test_cores_are_counted_anew_when_the_limits_change_and_every_second(monkeypatch):
    counts = iter(range(1, 9))
    monkeypatch.setattr(joblib, "cpu_count", lambda: next(counts))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 100.5)
    assert [available_cores() for _ in range(3)] == [1, 1, 1]
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "7")
    assert [available_cores() for _ in range(3)] == [2, 2, 2]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert [available_cores() for _ in range(3)] == [3, 3, 3]
    monkeypatch.setattr(time, "monotonic", lambda: 101.5)
    assert available_cores() == 4


@pytest.mark.parametrize("wrong", [0, 1.5, "2"])
def test_nonsense(wrong):
    with pytest.raises(TypeError if wrong else ValueError):
        effective_n_threads(wrong)

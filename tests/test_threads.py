"""How many threads a fit gets."""

import math
import os
import time

import joblib
import pytest

from fastprop.threads import (
    FLOPS_PER_THREAD,
    FLOPS_TO_WAKE_A_THREAD,
    ROWS_OF_A_PASS,
    available_cores,
    effective_n_threads,
    n_threads_of_call,
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
    flops_per_row = shares_of_work * FLOPS_TO_WAKE_A_THREAD / (n_rows + ROWS_OF_A_PASS)
    assert n_threads_of_call(None, n_rows, flops_per_row) == expected
    assert n_threads_of_call(3, n_rows, flops_per_row) == 3


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

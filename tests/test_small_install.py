"""fastprop with NumPy alone, as ``pip install --no-deps`` leaves it."""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pytest

from fastprop import cores, kernels

SCRIPT = Path(__file__).with_name("small_install.py")


@pytest.mark.skipif(kernels.active.backend != "cython", reason="the NumPy back end needs SciPy, and Numba compiles for minutes")
@pytest.mark.parametrize("missing", [(), pytest.param(("sklearn",), marks=pytest.mark.full)], ids=["NumPy", "NumPy and SciPy"])
def test_all_but_the_estimators_works_without_scikit_learn(missing, tmp_path):
    """The script says what is tried; .ci/run does the same where there is really nothing else."""
    command = [sys.executable, "-W", "error", SCRIPT, *missing]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("fastprop ")
    assert "reference: scipy is not installed" in result.stdout or missing


@pytest.mark.skipif(kernels.active.backend != "cython", reason="the NumPy back end needs SciPy")
def test_the_command(tmp_path):
    """`info` works, `demo` says what it needs; a broken scikit-learn is not called a missing one."""
    code = """
import contextlib, io, pydoc, sys
sys.modules.update(sklearn=None, scipy=None)
import fastprop
from fastprop import cli
assert cli.main(["info"]) == 0
with contextlib.redirect_stderr(io.StringIO()) as said:
    assert cli.main(["demo"]) == 2
assert "pip install scikit-learn" in said.getvalue()
assert "Network" in pydoc.render_doc(fastprop)
assert "MLPClassifier" not in dir(fastprop)
del sys.modules["sklearn"]
try:
    from fastprop import MLPClassifier
except ImportError as error:
    assert error.name.partition(".")[0] == "scipy" and "not installed" not in str(error), error
else:
    raise AssertionError
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_cores_are_counted_as_by_joblib(monkeypatch):
    assert cores.counter() is joblib.cpu_count
    assert cores.count_without_joblib() == joblib.cpu_count()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cores.count_without_joblib() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n"}, 8),
    ],
    ids=str,
)
def test_a_containers_limit_counts(files, expected, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    assert cores.count_without_joblib() == expected

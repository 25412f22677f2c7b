"""What Numba's cache on disk gives to another process."""

import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="numba is not installed")

MODULE = """
from numba import prange
from fastprop.kernels.numba_backend.jit import Threaded

@Threaded
def inner(values, n_threads):
    for i in prange(n_threads):
        values[i] = i + 1

@Threaded
def outer(values, n_threads):
    inner(values, n_threads)
"""
CALL = """
import numpy as np
from cached import {name}
values = np.zeros(2)
{name}(values, n_threads=2)
assert values.tolist() == [1, 2]
"""


@pytest.mark.full
def test_a_caller_of_threaded_functions_comes_from_the_cache_alone(tmp_path):
    """The first process compiles what the second one's function calls; the third one needs nothing but that function."""
    (tmp_path / "cached.py").write_text(MODULE)
    for name in ("inner", "outer", "outer"):
        subprocess.run([sys.executable, "-c", CALL.format(name=name)], cwd=tmp_path, check=True, timeout=600)

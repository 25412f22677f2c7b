"""The Numba back end's loops over single numbers are made of vector instructions: where LLVM gives a loop up, no result changes,
and it takes 5 to 30 times as long."""

import platform
import re

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="numba is not installed")

if platform.machine().lower() not in ("x86_64", "amd64"):
    pytest.skip("the instructions are named as on x86-64", allow_module_level=True)

from fastprop.kernels.spec import ACTIVATION_CODES, LOSS_CODES  # noqa: E402

SUFFIX = {"float32": "ps", "float64": "pd"}


def instructions(function, *arguments):
    """The names of all instructions of a function, and its listing: compiled for these arguments anew, as the cache has none."""
    from fastprop.kernels.numba_backend.jit import OPTIONS

    compiled = numba.njit(**{**OPTIONS, "cache": False})(function.py_func)
    compiled(*arguments)
    (listing,) = compiled.inspect_asm().values()
    return re.findall(r"^\t(v?[a-z]\w*)", listing, flags=re.MULTILINE), listing


def has(names, operation, dtype):
    return any(re.fullmatch(rf"v?{operation}{SUFFIX[dtype]}", name) for name in names)


@pytest.fixture(params=[pytest.param("float32", marks=pytest.mark.full), "float64"])
def dtype(request):
    return request.param


def test_relu_is_gated_without_branches_and_masked_stores(dtype):
    da, a = np.ones((4, 3), dtype), np.ones((4, 3), dtype)
    from fastprop.kernels.numba_backend import activations  # compiles

    names, _ = instructions(activations.chain, ACTIVATION_CODES["relu"], da, a)
    assert has(names, r"cmp\w*", dtype)
    assert has(names, "mul", dtype)  # the other activations
    assert not has(names, r"maskmov", dtype)
    # Comparisons of single numbers to jump by: of what the vectors leave over. Unrolled, a loop of branches has one for each of 8.
    assert sum("comis" in name for name in names) <= 4


def test_losses_call_no_library(dtype):
    """But the logarithm of Poisson's targets, most of which are 0."""
    from fastprop.kernels.numba_backend import losses

    z, y = np.ones((20, 3), dtype), np.ones((20, 3), dtype)
    arguments = LOSS_CODES["binary_cross_entropy"], np.empty(0), z, y, np.empty(0, dtype)
    names, listing = instructions(losses._elementwise_loss, *arguments)
    assert has(names, "div", dtype)  # of log1p
    assert not re.search(r"\$(log1p|exp)f?\b", listing)

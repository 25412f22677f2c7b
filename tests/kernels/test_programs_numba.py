"""What only the Numba back end has: loops of activations that are compiled apart, and one build for one thread and for many."""

import platform
import re

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="numba is not installed")

from fastprop import kernels  # noqa: E402
from fastprop.kernels.spec import ACTIVATIONS, LOSS_CODES  # noqa: E402

# Those that it has formulas for.
FROM_Z = [name for name, entry in ACTIVATIONS.items() if entry.derivative == "z"]


@pytest.fixture(scope="module")
def activations():
    from fastprop.kernels.numba_backend import activations  # compiles

    return activations


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="the instructions are named as on x86-64")
@pytest.mark.parametrize(("real", "suffix"), [pytest.param(numba.float32, "ps", marks=pytest.mark.full), (numba.float64, "pd")])
@pytest.mark.parametrize("name", FROM_Z)
def test_loops_of_activations_are_made_of_vector_instructions(activations, name, real, suffix):
    loop = numba.cfunc(activations._signature(real), error_model="numpy")(activations._loop(activations.FORMULAS[name]))
    listing = loop._library.get_asm_str()
    assert re.search(rf"^\tv?mul{suffix}\b", listing, flags=re.MULTILINE)
    assert not re.search(r"\$(exp|log|erf|tanh)\w*\b", listing)


def test_formulas_are_those_of_the_specification(activations):
    assert list(activations.FORMULAS) == FROM_Z


@pytest.mark.nightly  # it compiles the network's gradient once more
def test_jitted_code_trains_a_program():
    """`network_loss_gradient` with batch norm and a residual block from jitted code: the bits that Python gets with one thread."""
    raw = kernels.load("numba").raw
    layers = kernels.LayerProgram(4).linear(6).batch_norm().activation("gelu").linear(6).add(1).linear(2).link("identity")
    rng = np.random.default_rng(0)
    x, y, params = rng.standard_normal((9, 4)), rng.standard_normal((9, 2)), rng.standard_normal(kernels.n_parameters(layers))
    no_indices, no_labels, no_weights = np.empty(0, np.int32), np.empty(0, np.intp), np.empty(0)
    no_hyper = np.empty(0)
    loss = LOSS_CODES["squared_error"]

    @numba.njit
    def jitted(gradient):
        return raw_gradient(
            x, no_indices, no_indices, no_labels, y, no_weights, layers, params, loss, no_hyper, 0.1, 0.0, gradient, 1
        )  # fmt: skip

    raw_gradient = raw.network_loss_gradient
    here, there = np.empty_like(params), np.empty_like(params)
    value = raw_gradient(x, no_indices, no_indices, no_labels, y, no_weights, layers, params, loss, no_hyper, 0.1, 0.0, there, 1)
    assert jitted(here) == value
    np.testing.assert_array_equal(here, there)

"""Plain stacks train to the bits that are on record in bits.json: those of commit 2004aa8, before networks became layer programs.

A change that means to compute the same shows here if it does not. One that means to compute something else makes a new record, in a
commit of its own that says why: ``python tests/kernels/test_bits.py``. What bits depend on is in tests/bits.py.
"""

import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import kernels

BITS = runpy.run_path(str(Path(__file__).parents[1] / "bits.py"))
numbers, digest, circumstances = BITS["numbers"], BITS["digest"], BITS["circumstances"]
RECORD = Path(__file__).with_name("bits.json")
ISAS = ("avx512", "avx2", "baseline")


class Case(NamedTuple):
    sizes: tuple
    activation: str
    loss: str
    optimizer: str
    batch_size: int
    options: dict = {}  # noqa: RUF012 (never written)
    dropout: list | None = None
    sparse: bool = False
    weighted: bool = False


CASES = {
    "digits": Case((64, 100, 10), "relu", "softmax_cross_entropy", "adam", 200),
    "small": Case((5, 7, 3), "relu", "softmax_cross_entropy", "sgd", 16, {"alpha": 0.01}),
    "deep": Case((50, 128, 64, 5), "relu", "softmax_cross_entropy", "adam", 64, {"alpha": 1e-4, "clip": 1e-7}),
    "tanh": Case((20, 33, 17, 4), "tanh", "softmax_cross_entropy", "sgd", 50, {"hyper": {"lr": 0.05, "nesterov": False}}),
    "sigmoid": Case((20, 48, 2), "sigmoid", "binary_cross_entropy", "adam", 32, {"hyper": {"lr": 0.01, "epsilon": 1e-6}}),
    "identity": Case((30, 40, 3), "identity", "squared_error", "sgd", 40, {"hyper": {"lr": 1e-4, "momentum": 0.5}}),
    "regression": Case((16, 24, 16, 8), "relu", "squared_error", "adam", 30),
    "counts": Case((12, 31, 2), "tanh", "poisson", "adam", 25),
    "one output": Case((40, 99, 1), "relu", "binary_cross_entropy", "adam", 64),
    "no hidden layer": Case((784, 10), "relu", "softmax_cross_entropy", "sgd", 100),
    "wide": Case((210, 320, 33), "relu", "softmax_cross_entropy", "adam", 150),
    "dropout": Case((20, 64, 48, 5), "relu", "softmax_cross_entropy", "adam", 50, {}, [(0.25, 3, 5), (0.5, 2**40, 0)]),
    "sparse": Case((300, 64, 6), "relu", "softmax_cross_entropy", "adam", 60, {"alpha": 0.01}, sparse=True),
    "sparse, dropout": Case((90, 17, 3), "tanh", "squared_error", "sgd", 33, {}, [(0.1, 1, 2)], sparse=True),
    "weighted": Case((20, 30, 4), "relu", "softmax_cross_entropy", "sgd", 70, weighted=True),
}
LINKS = {"softmax_cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "squared_error": "identity", "poisson": "exp"}
N, N_EPOCHS = 430, 3


def trained(backend, case, dtype, n_threads):
    """A digest of what a few epochs write, and of the outputs and the gradient after them."""
    rng = np.random.default_rng(len(case.sizes) * 1000 + sum(case.sizes))
    layers = kernels.layer_table(case.sizes, case.activation, LINKS[case.loss], case.dropout)
    params = numbers(rng, kernels.n_parameters(layers), dtype) / dtype(8)
    state = np.zeros((2 if case.optimizer == "adam" else 1, len(params)), dtype)
    x, n_out = numbers(rng, (N, case.sizes[0]), dtype), case.sizes[-1]
    if case.sparse:
        x = sp.csr_array(x * (rng.integers(0, 8, x.shape) == 0))
    targets = rng.integers(0, max(n_out, 2), N)
    if case.loss == "binary_cross_entropy" and n_out > 1:
        targets = rng.integers(0, 2, (N, n_out)).astype(dtype)
    elif "entropy" not in case.loss:
        targets = rng.integers(0, 5, (N, n_out)).astype(dtype)
    weight = (rng.integers(1, 9, N) / 4).astype(dtype) if case.weighted else None
    problem = {"layers": layers, "params": params, "loss": case.loss, "sample_weight": weight, "n_threads": n_threads}
    losses, n_steps = [], -(-N // case.batch_size)
    for i in range(N_EPOCHS):
        given = problem | {"state": state, "optimizer": case.optimizer, "order": rng.permutation(N), "step": i * n_steps}
        losses.append(backend.train_epoch(x, targets, batch_size=case.batch_size, **given | case.options))
    assert np.isfinite([*losses, *params]).all()
    outputs = [backend.network_forward(x[:n], layers, params, n_threads=n_threads) for n in (1, 7, N)]
    return digest(np.array(losses), params, state, *outputs, backend.network_loss_gradient(x, targets, **problem)[1])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_bits_are_those_on_record(name, isa):
    try:
        backend = kernels.load("cython", isa)
    except ImportError as error:
        pytest.skip(str(error))
    expected = BITS["digests_on_record"](RECORD, isa, circumstances(backend))[name]
    for dtype in (np.float32, np.float64):
        for n_threads in (1, 2):
            key = f"{dtype.__name__}, {n_threads} threads"
            assert trained(backend, CASES[name], dtype, n_threads) == expected[key], key


def make_record():
    """The record of what is installed, for all instruction sets that this processor has."""
    record = {}
    for isa in ISAS:
        backend, digests = kernels.load("cython", isa), {}
        for name, case in CASES.items():
            runs = [(dtype, n_threads) for dtype in (np.float32, np.float64) for n_threads in (1, 2)]
            digests[name] = {f"{dtype.__name__}, {n} threads": trained(backend, case, dtype, n) for dtype, n in runs}
        record[isa] = {"circumstances": circumstances(backend), "digests": digests}
    return record


if __name__ == "__main__":
    BITS["write"](make_record(), RECORD)

"""A step in two halves: processes that share the batches, here all in one, train as `Network.train_epochs` does alone."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import Network, kernels, nn
from fastprop.kernels import EncodedRows
from fastprop.kernels.encoded import columns_of
from fastprop.nn.layered import LayeredNetwork
from fastprop.optim import SGD, AdamW
from fastprop.training_calls import TrainingCalls

N, N_OUT, BATCH_SIZE, N_EPOCHS = 45, 3, 16, 3
OPTIONS = {"alpha": 0.1, "smoothing": 0.1, "clip_norm": 0.3, "exempt": True, "gradient_scale": 0.5, "value_scale": 2.0}
OPTIONS |= {"ema_decay": 0.8}
rng = np.random.default_rng(0)
Y, WEIGHT = rng.integers(0, N_OUT, N), rng.random(N)
DENSE, NUMBERS = rng.standard_normal((N, 10)), np.stack([rng.random(N), rng.uniform(-1, 7, N), rng.integers(-1, 3, N)], 1)
ROWS = {
    "dense": DENSE,
    "sparse": sp.csr_array(np.where(DENSE > 0.5, DENSE, 0)),
    "encoded": EncodedRows(NUMBERS, columns_of(["plain", "piecewise_linear", "one_hot"], [1, 6, 3])),
}


def new_network():
    program = kernels.LayerProgram(10).linear(12).layer_norm().activation("silu").dropout(0.3, 1, 2)
    layers = program.linear(12).add(program.value).activation("relu").dropout(0.2, 3, 4).linear(N_OUT).link("softmax")
    network = Network.from_layers(layers)
    network.initialize(np.random.RandomState(0))
    return network


def new_optimizer(network):
    return AdamW(network, 0.02, eps=0.01, weight_decay=0.1)


class Process:
    """It has some of the rows, and a network and an optimizer of its own."""

    def __init__(self, network, X, rows, sample_weight, n_threads):
        self.network = copy.deepcopy(network)
        self.optimizer, self.average = new_optimizer(self.network), np.full_like(network.params, np.nan)
        self.rows, weight = rows, None if sample_weight is None else sample_weight[rows]
        data, options = self.network.training_set(X[rows], Y[rows], weight), OPTIONS | {"average": self.average}
        self.calls = TrainingCalls(self.network, data, self.optimizer, batch_size=1, n_threads=n_threads, **options)

    def sums(self, batch):
        """Of the rows of a batch that are here; there they are one after the other."""
        sums, here = np.full(len(self.network.params) + 2, np.nan), np.isin(batch, self.rows)
        self.calls.sums(np.searchsorted(self.rows, batch[here]), int(here.argmax()), sums)
        return sums


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("bounds", [[], [20], [7, 7]], ids=["one", "two", "three, one without rows"])
def test_processes_that_share_batches_train_as_one(form, sample_weight, n_threads, bounds):
    network, shares = new_network(), np.split(np.arange(N), bounds)
    group = [Process(network, ROWS[form], rows, sample_weight, n_threads) for rows in shares]
    owner = np.repeat(np.arange(len(shares)), [len(rows) for rows in shares])
    orders, rates, found = np.empty((N_EPOCHS, N), np.intp), np.linspace(1, 0.5, 9), np.zeros(N_EPOCHS)
    for epoch, order in enumerate(orders):
        order[:] = rng.permutation(N)
        for start in range(0, N, BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            batch[:] = batch[np.argsort(owner[batch], kind="stable")]
            total, step = sum(process.sums(batch) for process in group), group[0].optimizer.t
            (mean,) = {process.calls.apply(total, rates[step]) for process in group}
            found[epoch] += mean * len(batch) / N
    optimizer, losses, average = new_optimizer(network), np.empty(N_EPOCHS), np.full_like(network.params, np.nan)
    data, options = network.training_set(ROWS[form], Y, sample_weight), OPTIONS | {"average": average, "rates": rates}
    network.train_epochs(data, orders, optimizer, losses, batch_size=BATCH_SIZE, n_threads=n_threads, **options)
    np.testing.assert_allclose(found, losses, rtol=1e-12)
    for process in group:
        assert process.optimizer.t == optimizer.t == 9
        assert np.array_equal(process.network.params, group[0].network.params)
        written = process.network.params, process.optimizer.memory, process.average
        for ours, theirs in zip(written, (network.params, optimizer.memory, average), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


@pytest.fixture
def calls():
    """calls(network, optimizer=None, **options): those of a network for the dense rows."""

    def make(network, optimizer=None, **options):
        return TrainingCalls(network, network.training_set(DENSE, Y), optimizer or SGD(network, 0.1), batch_size=8, **options)

    return make


def test_sums_are_checked_and_nothing_changes(calls):
    network = new_network()
    optimizer, n = SGD(network, 0.1), len(network.params)
    average, order = np.zeros(n + 2), np.arange(5)
    own = calls(network, optimizer, average=average[:n])
    before = network.params.copy()
    for sums, message in (
        (np.zeros(n), rf"sums must be a C-contiguous, writable float64 array of shape \({n + 2},\); got float64, \({n},\)"),
        (np.zeros(n + 2, np.float32), "sums must be a C-contiguous, writable float64 array"),
        (np.zeros(2 * n + 4)[::2], "sums must be a C-contiguous"),
        (average, "sums must not overlap the average"),
    ):
        for call in (lambda sums: own.sums(order, 0, sums), own.apply):
            with pytest.raises(ValueError, match=message):
                call(sums)
    with pytest.raises(TypeError, match=r"sums must be an array, because it is written to; got \[0\.0\]"):
        own.sums(order, 0, [0.0])
    for first_row, error in ((-1, ValueError), (2**63, ValueError), (0.5, TypeError)):
        with pytest.raises(error, match="first_row must be"):
            own.sums(order, first_row, np.zeros(n + 2))
    with pytest.raises(ValueError, match="rate must be a finite number; got nan"):
        own.apply(np.zeros(n + 2), np.nan)
    np.testing.assert_array_equal(network.params, before)
    assert optimizer.t == 0


def test_networks_that_cannot_are_refused(calls):
    tanh = nn.Activation(np.tanh, lambda z: 1 - np.tanh(z) ** 2)
    for network, message in (
        (Network([10, 5, N_OUT], normalization="batch"), "a network with batch norms cannot train in two halves"),
        (LayeredNetwork([10, 5, N_OUT], tanh), "a network with an activation of your own cannot train in two halves"),
    ):
        own, sums, before = calls(network), np.ones(len(network.params) + 2), network.params.copy()
        for call in (lambda own=own, sums=sums: own.sums(np.arange(5), 0, sums), lambda own=own, sums=sums: own.apply(sums)):
            with pytest.raises(ValueError, match=message):
                call()
        np.testing.assert_array_equal(network.params, before)

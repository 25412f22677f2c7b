"""Arrays that another thread changes during a call: what is an address in compiled code is checked where nobody can change it, or
when it is read.

The fuzz run makes 150 calls, in a process of its own, so that a crash is a failed test. For a long run, say how many and which:
``FASTPROP_FUZZ_CALLS=20000 FASTPROP_FUZZ_SEED=1 pytest tests/test_changing_arrays.py -k fuzz``.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import Network, kernels, nn
from fastprop.kernels.spec import ACTIVATION_CODES
from fastprop.optim import Adam

TANH = ACTIVATION_CODES["tanh"]
FUZZ = """
import sys, threading, time, warnings
import numpy as np, scipy.sparse as sp
from fastprop import MLPClassifier, Network, kernels, nn
from fastprop.optim import Adam

warnings.simplefilter("ignore")
n_calls, rng = int(sys.argv[1]), np.random.default_rng(int(sys.argv[2]))
n, n_in, n_classes = 1000, 20, 5
CANARY = -12345.0

def guarded(*shape):
    # an output in the middle of a block, whose ends must stay as they are
    size = int(np.prod(shape))
    block = np.full(size + 20000, CANARY)
    return block, block[10000 : 10000 + size].reshape(shape)

def wide(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X

dense = rng.standard_normal((n, n_in))
sparse = sp.csr_array(np.where(rng.random((n, n_in)) < 0.3, dense, 0))
logits = rng.standard_normal((n, n_classes))
matrices = [dense, sparse, wide(sparse.copy())]
labels, order = rng.integers(0, n_classes, n), rng.permutation(n)
layers = kernels.layer_table([n_in, 16, n_classes], "relu", "softmax")
params = rng.standard_normal(kernels.n_parameters(layers))
changing = [labels, order, layers.view(np.int64), *(getattr(X, part) for X in matrices[1:] for part in ("indices", "indptr"))]
good = [array.copy() for array in changing]
done = threading.Event()

def change(seed, pause):
    draw = np.random.default_rng(seed)
    while not done.is_set():
        k = draw.integers(len(changing))
        array, value = changing[k].reshape(-1), draw.choice([-1, 7, 10**4, 2**30, -(2**31)])
        where = draw.integers(array.size, size=8)
        array[where] = value
        time.sleep(pause)
        array[where] = good[k].reshape(-1)[where]
        time.sleep(pause)
        X = matrices[draw.integers(1, 3)]
        parts = X.indices, X.indptr
        X.indices, X.indptr = parts[0][:5], parts[1][:5]
        X.indices, X.indptr = parts
        dense.shape, logits.shape, labels.shape = (n // 2, 2 * n_in), (n // 5, 5 * n_classes), (n // 4, 4)
        dense.shape, logits.shape, labels.shape = (n, n_in), (n, n_classes), n

def forward(X):
    block, out = guarded(n, n_classes)
    kernels.network_forward(X, layers, params, out=out, n_threads=2)
    return [block]

def gradient(X):
    block, out = guarded(len(params))
    kernels.network_loss_gradient(X, labels, layers, params, "softmax_cross_entropy", out=out)
    return [block]

def epoch(X):
    (a, own), (b, state) = guarded(len(params)), guarded(2, len(params))
    own[:], state[:] = params, 0
    kernels.train_epoch(X, labels, order, layers, own, state, "softmax_cross_entropy", batch_size=50, n_threads=2)
    return [a, b]

def loss(X):
    a, probs = guarded(n, n_classes)
    b, dlogits = guarded(n, n_classes)
    kernels.softmax_cross_entropy_forward(logits, labels, out=probs)
    kernels.softmax_cross_entropy_backward(logits, labels, out=dlogits)
    return [a, b]

def module_loss(X):
    entropy = nn.SoftmaxCrossEntropy()
    entropy(logits, labels)
    entropy.backward()
    return []

def network(X):
    network = Network([n_in, 16, n_classes])
    network.initialize(np.random.RandomState(0))
    network.forward(X)
    data = network.training_set(X, labels)
    network.loss_gradient(data)
    network.train_epoch(data, order, Adam(network), batch_size=50)
    return []

def estimator(X):
    model = MLPClassifier((16,), max_iter=2, early_stopping=bool(rng.integers(2)), random_state=0)
    model.fit(X, good[0]).predict(X)
    return []

def module_fit(X):
    model = nn.mlp([n_in, 8, n_classes], random_state=0)
    optimizer = nn.Adam(model.parameters())
    model.fit(X, labels, nn.SoftmaxCrossEntropy(), optimizer, epochs=1, batch_size=50, compiled=bool(rng.integers(2)))
    return []

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=change, args=arguments) for arguments in ((0, 0.0), (1, 2e-4))]
for thread in threads:
    thread.start()
calls = [forward, gradient, epoch, loss, module_loss, network] * 4 + [estimator, module_fit]
refused = 0
try:
    for i in range(n_calls):
        call, X = calls[rng.integers(len(calls))], matrices[rng.integers(3)]
        try:
            blocks = call(X)
        except (ValueError, TypeError, IndexError) as error:
            refused += 1
            continue
        for block in blocks:
            assert (block[:10000] == CANARY).all() and (block[-10000:] == CANARY).all(), f"{call.__name__} wrote beyond its output"
finally:
    done.set()
    for thread in threads:
        thread.join()
print(f"{n_calls} calls, {refused} refused")
"""


@pytest.fixture
def given():
    """given(index_dtype): a problem with new arrays, the same at every call."""

    def make(index_dtype):
        rng = np.random.default_rng(0)
        X = sp.random_array((30, 8), density=0.4, format="csr", rng=rng)
        X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
        layers = kernels.layer_table([8, 6, 3], "relu", "softmax")
        params = rng.standard_normal(kernels.n_parameters(layers))
        logits, labels, order = rng.standard_normal((30, 3)), rng.integers(0, 3, 30), rng.permutation(30)
        return X, logits, labels, order, layers, params

    return make


@pytest.fixture
def at_the_raw_call(monkeypatch):
    """at_the_raw_call(change): ``change`` runs when a raw kernel is called, so that all checks are over."""

    def install(change):
        for name in ("loss_forward", "loss_backward", "network_forward", "network_loss_gradient", "train_epochs"):
            raw = getattr(kernels.active.raw, name)
            monkeypatch.setattr(kernels.active.raw, name, lambda *arguments, raw=raw: (change(), raw(*arguments))[1])

    return install


def kernel_forward(X, logits, labels, order, layers, params):
    return [kernels.network_forward(X, layers, params)]


def kernel_gradient(X, logits, labels, order, layers, params):
    return kernels.network_loss_gradient(X, labels, layers, params, "softmax_cross_entropy")


def kernel_epoch(X, logits, labels, order, layers, params):
    state = np.zeros((2, len(params)))
    kernels.train_epoch(X, labels, order, layers, params, state, "softmax_cross_entropy", batch_size=8)
    return params, state


def kernel_loss(X, logits, labels, order, layers, params):
    return kernels.softmax_cross_entropy_forward(logits, labels)


def kernel_loss_gradient(X, logits, labels, order, layers, params):
    return [kernels.softmax_cross_entropy_backward(logits, labels)]


def module_loss(X, logits, labels, order, layers, params):
    loss = nn.SoftmaxCrossEntropy()
    return loss(logits, labels), loss.backward()


def network(params):
    network = Network([8, 6, 3])
    network.params[:] = params
    return network


def network_forward(X, logits, labels, order, layers, params):
    return [network(params).forward(X)]


def network_gradient(X, logits, labels, order, layers, params):
    net = network(params)
    return net.loss_gradient(net.training_set(X, labels))


def network_epoch(X, logits, labels, order, layers, params):
    net = network(params)
    net.train_epoch(net.training_set(X, labels), order, Adam(net), batch_size=8)
    return [net.params]


CALLS = [
    *(kernel_forward, kernel_gradient, kernel_epoch, kernel_loss, kernel_loss_gradient),
    *(module_loss, network_forward, network_gradient, network_epoch),
]


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_integers_that_change_after_the_checks_change_nothing(given, at_the_raw_call, call, index_dtype):
    expected, arrays = call(*given(index_dtype)), given(index_dtype)
    X, _, labels, order, layers, _ = arrays

    def change():  # to others that are valid, so that the process lives where they are read
        X.indptr[1:-1], labels[:], order[:], layers["code"][1] = X.indptr[-1], 0, 0, TANH

    at_the_raw_call(change)
    for actual, value in zip(call(*arrays), expected, strict=True):
        np.testing.assert_array_equal(actual, value)
    assert not labels.any()


ON_SPARSE_ROWS = [kernel_forward, kernel_gradient, kernel_epoch, network_forward, network_gradient, network_epoch]


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("call", ON_SPARSE_ROWS, ids=lambda call: call.__name__)
def test_columns_that_leave_the_range_after_the_checks_are_taken_as_the_last(given, at_the_raw_call, call, index_dtype):
    """They are not copied. The row of the weight behind the last is the bias: nothing crashes where it is read."""
    last, arrays = given(index_dtype), given(index_dtype)
    last[0].indices[:] = 7
    expected = call(*last)
    at_the_raw_call(lambda: arrays[0].indices.fill(8))
    for actual, value in zip(call(*arrays), expected, strict=True):
        np.testing.assert_array_equal(actual, value)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_rows_that_get_another_shape(given):
    """A training set keeps the shape that it was checked for; a layer notices when what its forward saw was changed since."""
    _, _, labels, _, _, _ = given("int32")
    x, network = np.ones((30, 8)), Network([8, 3])
    data = network.training_set(x, labels)
    linear = nn.Linear(8, 3)
    linear(x)
    x.shape = (240, 1)
    assert data.n_samples == 30
    with pytest.raises(ValueError, match="order must be in"):
        network.train_epoch(data, np.full(5, 239), Adam(network), batch_size=5)
    if kernels.active.backend == "cython":
        with pytest.raises(ValueError, match="must have 720 items of 8 bytes; an array was given another shape"):
            linear.backward(np.ones((30, 3)))


def test_fuzz():
    n_calls, seed = (os.environ.get(f"FASTPROP_FUZZ_{name}", default) for name, default in (("CALLS", "150"), ("SEED", "0")))
    run = subprocess.run([sys.executable, "-c", FUZZ, n_calls, seed], capture_output=True, text=True, timeout=30 + int(n_calls))
    print(run.stdout)
    assert run.returncode == 0, f"return code {run.returncode}: {run.stderr[-2000:]}"

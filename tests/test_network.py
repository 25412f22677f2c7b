"""Network: parameters in one block, checked data, and the compiled calls, against the formulas in the reference kernels."""

import copy
import pickle

import numpy as np
import pytest

from fastprop import Network, kernels
from fastprop.kernels import reference
from fastprop.kernels.codes import LOSSES, OPTIMIZERS
from fastprop.training import SGD, Adam

N, N_IN = 23, 4
LOSS_OUTPUTS = {"softmax_cross_entropy": 3, "binary_cross_entropy": 2, "squared_error": 2, "poisson": 1}
rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN))
Y = {
    "softmax_cross_entropy": rng.integers(0, 3, N),
    "binary_cross_entropy": rng.integers(0, 2, (N, 2)).astype(float),
    "squared_error": rng.normal(size=(N, 2)),
    "poisson": rng.poisson(2, N).astype(float),
}


def _network(loss="softmax_cross_entropy", dtype=np.float64):
    network = Network([N_IN, 5, LOSS_OUTPUTS[loss]], activation="tanh", loss=loss, dtype=dtype)
    network.initialize(np.random.RandomState(0))
    return network


def test_the_parameters_are_views_of_one_block():
    network = _network()
    assert [w.shape for w in network.coefs] == [(4, 5), (5, 3)]
    assert [b.shape for b in network.intercepts] == [(5,), (3,)]
    network.params[:] = np.arange(len(network.params))
    np.testing.assert_array_equal(network.coefs[0].ravel(), np.arange(20))
    np.testing.assert_array_equal(network.intercepts[0], np.arange(20, 25))
    network.coefs[1][...] = -1
    assert (network.params == -1).sum() == 15
    for name in ("params", "layers"):
        with pytest.raises(AttributeError):
            setattr(network, name, np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        network.layers[0, 0] = 99


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_initialize_draws_weights_then_biases_layer_by_layer(activation):
    network = Network([4, 3, 2], activation=activation, dtype=np.float32)
    network.initialize(np.random.RandomState(3))
    stream, factor = np.random.RandomState(3), {"relu": 6, "sigmoid": 2}[activation]
    for weight, bias in zip(network.coefs, network.intercepts, strict=True):
        bound = np.sqrt(factor / (weight.shape[0] + weight.shape[1]))
        np.testing.assert_array_equal(weight, stream.uniform(-bound, bound, weight.shape).astype(np.float32))
        np.testing.assert_array_equal(bias, stream.uniform(-bound, bound, bias.shape).astype(np.float32))


@pytest.mark.parametrize("loss", LOSS_OUTPUTS)
def test_forward_and_gradient(loss):
    network = _network(loss)
    outputs = kernels.load("reference").network_forward(X, network.layers, network.params)
    np.testing.assert_allclose(network.forward(X), outputs, rtol=1e-12)
    np.testing.assert_allclose(network.forward(X[:0]), outputs[:0])
    weight = rng.uniform(0, 2, N)
    value, gradient = network.loss_gradient(network.training_set(X, Y[loss], weight), alpha=0.1)
    y = Y[loss] if Y[loss].dtype == np.intp else Y[loss].reshape(N, -1)
    expected = kernels.load("reference").network_loss_gradient(X, y, network.layers, network.params, loss, 0.1, weight)
    assert value == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("optimizer", [Adam, SGD])
@pytest.mark.parametrize("loss", LOSS_OUTPUTS)
def test_train_epoch(loss, optimizer):
    network = _network(loss)
    params, state, data = network.params.copy(), optimizer(network).state.copy(), network.training_set(X, Y[loss])
    optimizer = optimizer(network, 0.05)
    order = np.r_[5:N, 0:3]
    hyper, codes = optimizer.hyper, (LOSSES[loss], OPTIMIZERS[optimizer.name])
    orders, losses = np.stack([order, order[::-1], np.roll(order, 3)]), np.empty(3)
    step, expected = np.zeros(1, np.intp), np.empty(3)
    reference.train_epochs(*data.arrays, orders, network.layers, *codes, hyper, 0.1, 0.0, 8, step, params, state, expected, 1)
    mean = network.train_epoch(data, orders[0], optimizer, batch_size=8, alpha=0.1)
    assert optimizer.t == 3
    network.train_epochs(data, orders[1:], optimizer, losses[1:], batch_size=8, alpha=0.1)
    assert optimizer.t == step[0] == 9
    np.testing.assert_allclose([mean, *losses[1:]], expected, rtol=1e-12)
    np.testing.assert_allclose(network.params, params, rtol=1e-9)
    np.testing.assert_allclose(optimizer.state, state, rtol=1e-9, atol=1e-15)


def test_labels_and_distributions_are_the_same():
    network = _network()
    labels = Y["softmax_cross_entropy"]
    a = network.loss_gradient(network.training_set(X, labels))
    b = network.loss_gradient(network.training_set(X, np.eye(3)[labels]))
    assert a[0] == pytest.approx(b[0], rel=1e-13)
    np.testing.assert_allclose(a[1], b[1], rtol=1e-9, atol=1e-15)


def test_a_training_set_copies_only_what_it_must():
    network = _network("squared_error")
    data = network.training_set(X, Y["squared_error"])
    assert np.shares_memory(data.x, X)
    assert np.shares_memory(data.targets, Y["squared_error"])
    data = network.training_set(np.asfortranarray(X), Y["squared_error"].tolist(), [1] * N)
    assert data.x.flags.c_contiguous
    assert data.sample_weight.dtype == np.float64
    labels = Y["softmax_cross_entropy"].copy()
    data = _network().training_set(X, labels)
    labels[:] = 10**6
    assert data.labels.max() < 3


@pytest.mark.parametrize("round_trip", [lambda n: pickle.loads(pickle.dumps(n)), copy.deepcopy, copy.copy])
def test_round_trip(round_trip):
    network = _network()
    again = round_trip(network)
    np.testing.assert_array_equal(network.forward(X), again.forward(X))
    again.coefs[0][...] = 0
    assert (again.params[:20] == 0).all()
    assert (network.params[:20] != 0).all()
    assert repr(again) == repr(network)


def test_from_arrays():
    network = _network(dtype=np.float32)
    again = Network.from_arrays(network.coefs, network.intercepts, "tanh")
    np.testing.assert_array_equal(network.params, again.params)
    assert again.dtype == np.float32
    mixed = Network.from_arrays([network.coefs[0].astype(np.float64), network.coefs[1]], network.intercepts, "tanh")
    assert mixed.dtype == np.float64
    np.testing.assert_array_equal(network.astype(np.float64).params, mixed.params)


def test_bad_networks():
    with pytest.raises(TypeError, match="integer"):
        Network([3, 2.0])
    with pytest.raises(ValueError, match="at least two numbers"):
        Network([3])
    with pytest.raises(ValueError, match="at least 1"):
        Network([3, 0, 2])
    with pytest.raises(ValueError, match="activation must be one of"):
        Network([3, 2], activation="logistic")
    with pytest.raises(ValueError, match="loss must be one of"):
        Network([3, 2], loss="hinge")
    with pytest.raises(TypeError, match="float32 or float64"):
        Network([3, 2], dtype=np.float16)
    with pytest.raises(ValueError, match="consecutive layers"):
        Network.from_arrays([], [])


def test_bad_data():
    network = _network()
    labels = Y["softmax_cross_entropy"]
    for x in (X[:, :3], X[0], 3.0):
        with pytest.raises(ValueError, match=r"x must have shape \(n, 4\)"):
            network.forward(x)
    wrong = [(labels + 1, r"y must be in \[0, 3\)"), (labels - 1, "must be in"), (labels[1:], r"integers of shape \(23,\)")]
    for y, message in wrong:
        with pytest.raises(ValueError, match=message):
            network.training_set(X, y)
    with pytest.raises(ValueError, match="integers"):
        network.training_set(X, labels.astype(float))
    with pytest.raises(ValueError, match="y must have shape"):
        _network("squared_error").training_set(X, Y["poisson"])
    with pytest.raises(ValueError, match="not be negative"):
        _network("poisson").training_set(X, -Y["poisson"])
    for weight in (np.ones(3), np.full(N, np.nan)):
        with pytest.raises(ValueError, match="sample_weight"):
            network.training_set(X, labels, weight)


def test_bad_calls():
    network, data = _network(), _network().training_set(X, Y["softmax_cross_entropy"])
    adam, at_the_end = Adam(network), Adam(network)
    at_the_end.t = 2**63 - 1
    call = {"data": data, "order": np.arange(N), "optimizer": adam, "batch_size": 5}
    wrong = [
        ({"order": np.array([0, N])}, "order must be in"),
        ({"order": np.array([-1])}, "order must be in"),
        ({"order": np.array([0.0])}, "integers"),
        ({"order": np.empty(0, int)}, "at least 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"optimizer": at_the_end}, r"optimizer\.t must be at most 4611686018427387904"),
        ({"n_threads": 0}, "n_threads"),
        ({"n_threads": 10**6}, "n_threads"),
        ({"optimizer": Adam(Network([4, 3]))}, "state must be"),
        ({"optimizer": Adam(network.astype(np.float32))}, "state must be"),
        ({"data": _network("squared_error").training_set(X, Y["squared_error"])}, "data must come from"),
        ({"data": network.astype(np.float32).training_set(X, Y["softmax_cross_entropy"])}, "data must come from"),
    ]
    before = network.params.copy()
    epochs = {"data": data, "orders": np.zeros((2, N), int), "optimizer": adam, "batch_size": 5}
    for losses, message in ((np.empty(3), r"orders must be integers of shape \(3, 23\)"), (np.empty(4)[::2], "losses must be")):
        with pytest.raises(ValueError, match=message):
            network.train_epochs(**epochs, losses=losses)
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            network.train_epoch(**call | change)
    with pytest.raises(TypeError):
        network.train_epoch(**call | {"batch_size": 2.5})
    np.testing.assert_array_equal(network.params, before)
    assert adam.t == 0


def test_what_the_parameters_were_made_for_cannot_be_replaced():
    network = Network([2, 3, 1], loss="squared_error")
    for name in ("sizes", "activation", "loss", "coefs", "intercepts"):
        with pytest.raises(AttributeError, match=f"{name} of a Network cannot be replaced"):
            setattr(network, name, getattr(network, name))


@pytest.mark.parametrize("make", [Network, kernels.layer_table])
def test_sizes_that_are_no_numbers_of_units(make):
    with pytest.raises(TypeError, match=r"^sizes must be an integer; got 8\.0"):
        make([4, 8.0, 3])
    with pytest.raises(ValueError, match=r"^sizes must make at most"):
        make([4, 2**62, 3])

"""Network: parameters in one block, checked data, and the compiled calls, against the formulas in the reference kernels."""

import copy
import pickle

import numpy as np
import pytest

from fastprop import MLPClassifier, Network, kernels, nn
from fastprop.kernels import reference
from fastprop.kernels.job import new_job
from fastprop.kernels.spec import LOSS_CODES, OPTIMIZER_CODES
from fastprop.nn.layered import LayeredNetwork
from fastprop.optim import SGD, Adam, AdamW, RMSprop, StepSGD

N, N_IN = 23, 4
LOSS_OUTPUTS = {"softmax_cross_entropy": 3, "binary_cross_entropy": 2, "squared_error": 2, "poisson": 1}
LOSS_OUTPUTS |= {"absolute_error": 2, "huber": 2, "quantile": 2, "gamma": 1, "tweedie": 1}
LOSS_HYPER = {"huber": {"delta": 0.5}, "quantile": {"quantile": [0.2, 0.9]}, "tweedie": {"power": 1.25}}
rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN))
Y = {
    "softmax_cross_entropy": rng.integers(0, 3, N),
    "binary_cross_entropy": rng.integers(0, 2, (N, 2)).astype(float),
    "squared_error": rng.normal(size=(N, 2)),
    "poisson": rng.poisson(2, N).astype(float),
    "gamma": rng.gamma(2.0, 1.0, N),
}
Y |= dict.fromkeys(("absolute_error", "huber", "quantile"), Y["squared_error"]) | {"tweedie": Y["poisson"]}


def _network(loss="softmax_cross_entropy", dtype=np.float64):
    network = Network([N_IN, 5, LOSS_OUTPUTS[loss]], activation="tanh", loss=loss, dtype=dtype, loss_hyper=LOSS_HYPER.get(loss))
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
        network.layers[0] = network.layers[1]


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
    expected = kernels.load("reference").network_loss_gradient(
        X, y, network.layers, network.params, loss, 0.1, weight, loss_hyper=LOSS_HYPER.get(loss)
    )
    assert value == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-14)


def _job(network, data, orders, optimizer, losses, **options):
    """The same call for the reference kernels, on copies of everything that changes."""
    fields = {"batch_size": 8, "alpha": 0.1, "loss": LOSS_CODES[network.loss], "losses": losses, "step": np.zeros(1, np.intp)}
    fields |= {"optimizer": OPTIMIZER_CODES[optimizer.name], "hyper": optimizer.hyper, "state": optimizer.memory.copy()}
    fields |= {"layers": network.layers, "buffers": network.buffers.copy(), "loss_hyper": network._loss_hyper} | options
    return new_job(data.arrays, network.params.copy(), orders=orders, **fields)


ORDERS = np.stack([order := np.r_[5:N, 0:3], order[::-1], np.roll(order, 3)])
OPTIMIZERS = [
    lambda network: Adam(network, 0.05, weight_decay=0.1),
    lambda network: Adam(network, 0.05, eps_hat=False),
    lambda network: AdamW(network, 0.05),
    lambda network: StepSGD(network, 0.05),
    lambda network: SGD(network, 0.05, 0.9, nesterov=True),
    lambda network: RMSprop(network, 0.05),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSS_OUTPUTS)
def test_train_epoch(loss, make):
    network, losses, expected = _network(loss), np.empty(3), np.empty(3)
    data, optimizer = network.training_set(X, Y[loss]), make(network)
    job = _job(network, data, ORDERS, optimizer, expected)
    reference.train_epochs(job, 1)
    mean = network.train_epoch(data, ORDERS[0], optimizer, batch_size=8, alpha=0.1)
    assert optimizer.t == 3
    network.train_epochs(data, ORDERS[1:], optimizer, losses[1:], batch_size=8, alpha=0.1)
    assert optimizer.t == job.step[0] == 9
    np.testing.assert_allclose([mean, *losses[1:]], expected, rtol=1e-12)
    np.testing.assert_allclose(network.params, job.params, rtol=1e-9)
    np.testing.assert_allclose(optimizer.memory, job.state, rtol=1e-9, atol=1e-15)


def test_the_options_of_train_epochs():
    layers = kernels.LayerProgram(N_IN).linear(5).batch_norm().activation("gelu").linear(3).link("softmax")
    network = Network.from_layers(layers)
    network.initialize(np.random.RandomState(0))
    y, weight = Y["softmax_cross_entropy"], np.linspace(1, 2, N)
    data, validation, optimizer = (
        network.training_set(X, y, weight),
        network.training_set(X[:9], y[:9]),
        AdamW(network, 0.05, eps=1e-3),
    )
    options = {"smoothing": 0.1, "clip_norm": 0.5, "exempt": True, "gradient_scale": 2.0, "value_scale": 3.0}
    options |= {"rates": np.linspace(1, 2, 9), "ema_decay": 0.8}
    written = [
        {"validation_losses": np.empty(3), "best": np.array([np.inf, 0]), "best_params": np.zeros_like(network.params)}
        | {"best_buffers": np.zeros_like(network.buffers), "average": np.full_like(network.params, np.nan)}
        for _ in range(2)
    ]
    losses, expected = np.empty(3), np.empty(3)
    job = _job(network, data, ORDERS, optimizer, expected, validation=validation.arrays, **options, **written[1])
    reference.train_epochs(job, 1)
    network.train_epochs(data, ORDERS, optimizer, losses, batch_size=8, alpha=0.1, validation=validation, **options, **written[0])
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    for ours, theirs in zip(written[0].values(), written[1].values(), strict=True):
        # Biases before a batch norm have a gradient of rounding errors, which Adam makes steps of.
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(network.params, job.params, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(network.buffers, job.buffers, rtol=1e-9, atol=1e-7)
    assert written[0]["best"][0] == written[0]["validation_losses"].min()
    # What is not asked for is computed all the same.
    network.train_epochs(data, ORDERS, optimizer, losses, batch_size=8, validation=validation, validation_losses=np.empty(3))


def test_a_network_of_any_layers():
    layers = kernels.LayerProgram(N_IN).linear(5).batch_norm().activation("silu").linear(3).link("softmax")
    network = Network.from_layers(layers, dtype=np.float32)
    assert network.sizes == (N_IN, 5, 3)
    assert [w.shape for w in network.coefs] == [(4, 5), (5, 3)]
    assert network.n_weights == 35
    np.testing.assert_array_equal(network.buffers, np.r_[np.zeros(5), np.ones(5)])
    assert (network.params[25:30] == 1).all()  # gamma
    network.initialize(np.random.RandomState(0))
    network.train_epoch(network.training_set(X, Y["softmax_cross_entropy"]), np.arange(N), Adam(network), batch_size=8)
    assert (network.buffers[:5] != 0).all()
    for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network), network.astype(np.float32)):
        np.testing.assert_array_equal(again.forward(X), network.forward(X))
        assert not np.shares_memory(again.params, network.params)
        assert repr(again) == repr(network) == "Network.from_layers(5 rows, loss='softmax_cross_entropy', dtype=float32)"
    params, buffers = network.params.copy(), network.buffers.copy()
    given = Network.from_layers(layers, params=params, buffers=buffers)
    assert np.shares_memory(given.params, params)
    assert np.shares_memory(given.buffers, buffers)
    with pytest.raises(ValueError, match=r"params must be a C-contiguous, .* float32 array of shape \(53,\); got float32, \(52,\)"):
        Network.from_layers(layers, params=params[1:])
    with pytest.raises(ValueError, match="layers must have the link 'identity' for the loss 'squared_error'"):
        Network.from_layers(layers, "squared_error")
    with pytest.raises(ValueError, match="layers row 0 must be one"):
        Network.from_layers(np.zeros(3, layers.dtype))


def test_bad_options_of_train_epochs():
    network = _network()
    data, adam = network.training_set(X, Y["softmax_cross_entropy"]), Adam(network)
    call = {"data": data, "orders": ORDERS, "optimizer": adam, "losses": np.empty(3), "batch_size": 8}
    validation = {"validation": data, "validation_losses": np.empty(3)}
    average = np.zeros_like(network.params)
    other = _network("squared_error").training_set(X, Y["squared_error"])
    wrong = [
        ({"rates": np.ones(8)}, r"rates must have shape \(9,\), one for each step; got \(8,\)"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\)"),
        ({"alpha": np.inf}, r"alpha must be in \[0, inf\); got inf"),
        ({"alpha": -0.1}, r"alpha must be in \[0, inf\); got -0.1"),
        ({"clip": 0.5}, r"clip must be in \[0, 0.5\); got 0.5"),
        ({"clip_norm": -1.0}, "clip_norm must be in"),
        ({"gradient_scale": np.nan}, "gradient_scale must be a finite number"),
        ({"validation": data, "validation_losses": np.empty(2)}, r"validation_losses must have shape \(3,\); got \(2,\)"),
        (validation | {"validation": other}, "data must come from"),
        (validation | {"best": np.zeros(3)}, r"best must have shape \(2,\)"),
        (validation | {"best_params": np.zeros(3)}, "best_params must be a C-contiguous"),
        (validation | {"best_params": network.params}, "best_params must not overlap the network's own block"),
        (validation | {"best_params": average, "average": average}, "best_params must not overlap the average"),
        ({"ema_decay": 1.0, "average": average}, r"ema_decay must be in \[0, 1\); got 1.0"),
        ({"ema_decay": 0.5}, "average must be given if ema_decay is not 0; got None and 0.5"),
        ({"average": np.zeros(3)}, r"average must be a C-contiguous, writable float64 array of shape \(43,\)"),
        ({"average": network.params}, "average must not overlap the network's own block"),
        ({"average": adam.memory[1]}, "average must not overlap the optimizer's memory"),
    ]
    before = network.params.copy()
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            network.train_epochs(**call | change)
    for options in ({"alpha": -1.0}, {"clip": 0.5}):
        with pytest.raises(ValueError, match="must be in"):
            network.loss_gradient(data, **options)
    with pytest.raises(ValueError, match="smoothing must be 0 for the loss 'squared_error', which is not a cross-entropy"):
        (regression := _network("squared_error")).train_epochs(
            **call | {"data": regression.training_set(X, Y["squared_error"]), "optimizer": Adam(regression), "smoothing": 0.1}
        )
    for change, message in (
        ({"exempt": 1}, "exempt must be True or"),
        ({"validation": data}, "validation_losses must be an"),
        ({"average": [0.0] * 43}, "average must be an array, because it is written to"),
        ({"average": average, "ema_decay": "0.9"}, "ema_decay must be a real number; got '0.9'"),
    ):
        with pytest.raises(TypeError, match=message):
            network.train_epochs(**call | change)
    np.testing.assert_array_equal(network.params, before)
    assert adam.t == 0


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_network_with_an_activation_of_your_own_has_the_same_average(ema_decay):
    own = nn.Activation(np.tanh, lambda z: 1 - np.tanh(z) ** 2)
    averages = []
    for network in (LayeredNetwork([4, 5, 3], own), Network([4, 5, 3], "tanh")):
        network.initialize(np.random.RandomState(0))
        data, averages = network.training_set(X, Y["softmax_cross_entropy"]), [*averages, np.full_like(network.params, np.nan)]
        network.train_epochs(data, ORDERS, Adam(network), np.empty(3), batch_size=8, average=averages[-1], ema_decay=ema_decay)
        assert np.array_equal(averages[-1], network.params) == (ema_decay == 0)
    np.testing.assert_allclose(*averages, rtol=0, atol=1e-12)


def test_an_optimizer_of_another_family_is_refused():
    """An estimator's, an optimizer of another model, and something else; `Module.fit` is in nn/test_optimizers.py."""
    network = _network()
    data, order = network.training_set(X, Y["softmax_cross_entropy"]), np.arange(N)
    estimators = MLPClassifier((5,)).partial_fit(X, Y["softmax_cross_entropy"], classes=[0, 1, 2])._optimizer
    for wrong in (estimators, object(), None, "adam"):
        with pytest.raises(TypeError, match=r"optimizer must be an optimizer of fastprop\.optim, such as .*; got"):
            network.train_epoch(data, order, wrong, batch_size=5)
    with pytest.raises(ValueError, match=r"the optimizer's memory must be .* of shape \(2, 43\), .*; got float64, \(2, 19\)"):
        network.train_epoch(data, order, nn.Adam(nn.mlp([4, 3, 1]).parameters()), batch_size=5)


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
    for loss, y, message in (("poisson", -Y["poisson"], "not be negative"), ("gamma", 0 * Y["gamma"], "be positive")):
        with pytest.raises(ValueError, match=f"y must {message} for the loss '{loss}'; got "):
            _network(loss).training_set(X, y)
    with pytest.raises(ValueError, match=r"loss_hyper must only contain \['delta'\] for this loss; got \['power'\]"):
        Network([4, 1], loss="huber", loss_hyper={"power": 1.5})
    for weight in (np.ones(3), np.full(N, np.nan)):
        with pytest.raises(ValueError, match="sample_weight"):
            network.training_set(X, labels, weight)


@pytest.mark.parametrize("loss", LOSS_HYPER)
def test_parameters_of_the_loss_stay(loss):
    """In copies, pickles and another dtype, for networks of sizes and of layers."""
    plain = _network(loss)
    for network in (plain, Network.from_layers(plain.layers, loss, params=plain.params, loss_hyper=LOSS_HYPER[loss])):
        expected = network.loss_gradient(network.training_set(X, Y[loss]))[0]
        for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), network.astype(np.float32)):
            assert other.loss_hyper == network.loss_hyper == LOSS_HYPER[loss]
            value = other.loss_gradient(other.training_set(X, Y[loss]))[0]
            assert value == pytest.approx(expected, rel=1e-5 if other.dtype == np.float32 else 1e-15)
        assert f"loss={loss!r}, loss_hyper={LOSS_HYPER[loss]}" in repr(network)


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
        ({"optimizer": Adam(Network([4, 3]))}, "memory must be"),
        ({"optimizer": Adam(network.astype(np.float32))}, "memory must be"),
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
    with pytest.raises(ValueError, match=r"^there must be at most"):
        make([4, 2**62, 3])

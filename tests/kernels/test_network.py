"""Whole networks and whole epochs of every back end against the reference in float64."""

from itertools import product

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.int8 import NO_CODES, NO_SCALES

FORMS = {
    "softmax labels": "softmax_cross_entropy",
    "softmax dense": "softmax_cross_entropy",
    "binary labels": "binary_cross_entropy",
    "binary dense": "binary_cross_entropy",
    "squared error": "squared_error",
    "poisson": "poisson",
    "quantile": "quantile",
    "tweedie": "tweedie",
}
DEPTHS = [(), (17,), (9, 33, 8)]
# (form, activation, hidden): every activation at every depth, every form several times, as the loss does not depend on the others.
NETWORKS = [(list(FORMS)[(i + i // 8) % 8], *network) for i, network in enumerate(product(spec.ACTIVATIONS, DEPTHS))]
OPTIMIZERS = list(spec.OPTIMIZERS)
HYPER = {name: {"lr": 0.01} | ({"epsilon": 0.01} if "epsilon" in entry.hyper else {}) for name, entry in spec.OPTIMIZERS.items()}
BATCHES = [(23, 1), (52, 7), (52, 52), (52, 100), (630, 605)]
# (form, optimizer, (n, batch_size)): every form with every optimizer, and both with every batch size.
EPOCHS = [(*problem, BATCHES[(i + i // 5) % 5]) for i, problem in enumerate(product(FORMS, OPTIMIZERS))]
one_form = pytest.mark.parametrize("form", ["softmax labels"])


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def problem(form, rng, draw, dtype):
    """problem(n, hidden, activation) -> the arguments that all network kernels share, as a dict."""

    def make(n, hidden, activation):
        loss, n_out = FORMS[form], 1 if form == "binary labels" else 4
        layers = kernels.layer_table([10, *hidden, n_out], activation, spec.LOSSES[loss].link)
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
        if form.endswith("labels"):
            targets = rng.integers(0, max(n_out, 2), n)
        else:
            counts = form in ("poisson", "tweedie")
            targets = (rng.integers(0, 4, (n, n_out)) if counts else rng.random((n, n_out))).astype(dtype)
        return {"x": draw(n, 10), "targets": targets, "layers": layers, "params": params, "loss": loss}

    return make


@pytest.fixture
def in_float64(wide):
    """in_float64(dict): its arrays in float64."""
    return lambda given: {name: wide(value) for name, value in given.items()}


def epoch(backend, given, order, optimizer, **options):
    """(mean loss, parameters, state) after one epoch from the given parameters; epsilon keeps Adam's like well-conditioned."""
    params = given["params"].copy()
    state = np.full((spec.OPTIMIZERS[optimizer].n_slots, len(params)), 0.01, params.dtype)
    given = given | {"params": params, "state": state, "hyper": HYPER[optimizer]} | options
    return backend.train_epoch(**given, order=order, optimizer=optimizer, step=3), params, state


@pytest.fixture
def assert_same_epoch(backend, oracle, in_float64, assert_close, dtype):
    """assert_same_epoch(given, order, optimizer, n_threads, **options): the back end's epoch is the oracle's."""

    def check(given, order, optimizer, n_threads=1, **options):
        got = epoch(backend, given, order, optimizer, n_threads=n_threads, **options)
        expected = epoch(oracle, in_float64(given), order, optimizer, **in_float64(options))
        for actual, exact in zip(got, expected, strict=True):
            assert_close(actual, exact, dtype, "epoch")

    return check


def check_gradient(backend, oracle, given, in_float64, assert_close, weights):
    """Loss, gradient and outputs of a problem without weights and with, at different numbers of threads."""
    exact, dtype = in_float64(given), given["x"].dtype
    forward, exact_forward = ({name: g[name] for name in ("x", "layers", "params")} for g in (given, exact))
    outputs = oracle.network_forward(**exact_forward)
    for n_threads, weight in enumerate(weights, start=1):
        expected = oracle.network_loss_gradient(**exact, alpha=0.01, **in_float64({"sample_weight": weight}))
        got = backend.network_loss_gradient(**given, alpha=0.01, sample_weight=weight, n_threads=n_threads)
        for actual, value in zip(got, expected, strict=True):
            assert_close(actual, value, dtype, "network")
        assert_close(backend.network_forward(**forward, n_threads=n_threads), outputs, dtype, "network")


@pytest.mark.parametrize(("form", "activation", "hidden"), NETWORKS, ids=str)
def test_network_loss_gradient(backend, oracle, problem, rng, in_float64, assert_close, dtype, activation, hidden):
    for n in (1, 37):
        weights = None, rng.random(n).astype(dtype)
        check_gradient(backend, oracle, problem(n, hidden, activation), in_float64, assert_close, weights)


def test_network_loss_gradient_of_many_rows(backend, oracle, problem, rng, in_float64, assert_close, dtype):
    """More rows than the chunks in which a back end may take them, and not a multiple."""
    weights = None, rng.random(700).astype(dtype), None
    check_gradient(backend, oracle, problem(700, (33, 8), "tanh"), in_float64, assert_close, weights)


@one_form
@pytest.mark.parametrize("hidden", [(210, 190), (12, 1100)], ids=str)
def test_network_loss_gradient_of_wide_layers(backend, oracle, problem, rng, in_float64, assert_close, dtype, hidden):
    """So wide that what a weight gradient reads is packed, in several strips, and one output has several blocks of weights."""
    weights = None, rng.random(250).astype(dtype)
    check_gradient(backend, oracle, problem(250, hidden, "relu"), in_float64, assert_close, weights)


@pytest.mark.parametrize("sizes", [(10, 3), (40, 99, 257, 10), (784, 128, 1)], ids=str)
def test_outputs_do_not_depend_on_the_threads(backend, draw, rng, dtype, sizes):
    """Whether they share the rows or, where these are few, the columns: the estimators take as many as the moment offers."""
    layers = kernels.layer_table(sizes, "tanh", "sigmoid")
    params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
    for n in (1, 2, 5, 7, 8, 100, 1100):
        x = draw(n, sizes[0])
        for rows in (x, csr_array(x * (x > 0.5))):
            alone = backend.network_forward(rows, layers, params)
            for n_threads in (2, 3):
                np.testing.assert_array_equal(backend.network_forward(rows, layers, params, n_threads=n_threads), alone)


# Layers with whole and partial panels of weights, with few outputs, and with one.
@pytest.mark.parametrize("sizes", [(10, 3), (33, 1), (8, 48, 5), (40, 99, 257, 10), (5, 300, 16, 2)], ids=str)
def test_forward_alone(backend, oracle, draw, rng, wide, assert_close, dtype, sizes):
    """Few rows, of which each number has tiles of its own, and so many that the call packs all weights; bound to arrays or not."""
    layers = kernels.layer_table(sizes, "sigmoid", "softmax")
    params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
    for n in [*range(1, 15), 40, 300, 1500]:
        x, outputs, n_threads = draw(n, sizes[0]), np.empty((n, sizes[-1]), dtype), 1 + n % 3
        bound = backend.raw.bind_forward(x, layers, params, params[:0], False, NO_CODES, NO_SCALES, outputs, n_threads)
        for _ in range(2):
            expected = oracle.network_forward(wide(x), layers, wide(params))
            outputs[...] = np.nan
            bound()
            assert_close(outputs, expected, dtype, "network")
            assert_close(backend.network_forward(x, layers, params, n_threads=n_threads), expected, dtype, "network")
            x[...] = draw(n, sizes[0])


@pytest.mark.parametrize(("form", "optimizer", "batches"), EPOCHS, ids=str)
def test_train_epoch(problem, rng, assert_same_epoch, dtype, batches, optimizer):
    n, batch_size = batches
    given, order = problem(n, (9, 6), "tanh"), rng.permutation(n)
    kept = [given[name].copy() for name in ("x", "targets")]
    options = {"alpha": 0.01, "batch_size": batch_size}
    assert_same_epoch(given, order, optimizer, **options)
    assert_same_epoch(given, order, optimizer, n_threads=2, **options)
    assert_same_epoch(given, order, optimizer, n_threads=3, sample_weight=rng.random(n).astype(dtype), **options)
    for name, before in zip(("x", "targets"), kept, strict=True):
        np.testing.assert_array_equal(given[name], before)


@pytest.mark.parametrize(("form", "activation", "hidden"), NETWORKS, ids=str)
def test_train_epoch_at_every_depth_and_activation(problem, rng, assert_same_epoch, activation, hidden):
    order = rng.integers(0, 40, 31)  # some rows twice, some not at all
    assert_same_epoch(problem(40, hidden, activation), order, "sgd", batch_size=8)


@one_form
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits_at_every_run(backend, problem, rng, optimizer):
    given, order = problem(700, (33, 17), "relu"), rng.permutation(700)
    for n_threads in (1, 2, 3):
        runs = [epoch(backend, given, order, optimizer, batch_size=300, n_threads=n_threads) for _ in range(3)]
        assert not np.array_equal(runs[0][1], given["params"])
        for run in runs[1:]:
            assert [np.array(v).tobytes() for v in run] == [np.array(v).tobytes() for v in runs[0]]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits_wherever_the_parameters_lie(backend, draw, rng, dtype, optimizer):
    """Several threads store whole registers past the caches, from a register's boundary on, and the rest as usual."""
    layers = kernels.layer_table([10, 400, 20, 4], "relu", "softmax")  # more parameters than are updated at a time
    n = kernels.n_parameters(layers)
    x, targets, start = draw(50, 10), rng.integers(0, 4, 50), rng.uniform(-0.5, 0.5, n).astype(dtype)
    hyper = {"lr": 0.01}
    for n_threads in (1, 2, 3):
        results = []
        for offset in (0, 1, 3, 7):
            block = np.full(n + 20, 7, dtype)
            params, state = block[offset : offset + n], np.zeros((spec.OPTIMIZERS[optimizer].n_slots, n), dtype)
            params[:] = start
            arrays = x, targets, np.arange(50), layers, params, state
            options = {"loss": "softmax_cross_entropy", "batch_size": 20, "n_threads": n_threads}
            loss = backend.train_epoch(*arrays, optimizer=optimizer, hyper=hyper, **options)
            assert (np.delete(block, slice(offset, offset + n)) == 7).all()
            results.append((loss, params.tobytes(), state.tobytes()))
        assert not np.array_equal(params, start)
        assert all(result == results[0] for result in results)


@pytest.mark.parametrize(("form", "optimizer"), [*zip(FORMS, OPTIMIZERS, strict=False)])
def test_an_epoch_is_its_batches_one_by_one(backend, problem, rng, assert_close, dtype, optimizer):
    """The definition in terms of the public kernels: gradient, decay, update, with steps that count from the one given."""
    given, order, counted = problem(30, (6,), "sigmoid"), rng.permutation(30), optimizer.startswith("adam")
    for l2, weight_decay in ((0.0, 0.0), (0.2, 0.0), (0.0, 0.3), (0.2, 0.3)):
        hyper = HYPER[optimizer] | {"l2": l2, "weight_decay": weight_decay}
        mean, trained, state = epoch(backend, given, order, optimizer, batch_size=8, alpha=0.1, hyper=hyper)
        slots, total, params = np.full_like(state, 0.01), 0.0, given["params"].copy()
        for step, start in enumerate(range(0, 30, 8), start=3 + 1):
            rows = order[start : start + 8]
            batch = {name: given[name][rows] for name in ("x", "targets")} | {"params": params}
            value, gradient = backend.network_loss_gradient(**given | batch, alpha=0.1)
            total += value * len(rows)
            gradient += dtype.type(l2) * params
            params *= dtype.type(1 - 0.01 * weight_decay)
            options = (
                HYPER[optimizer] | ({"step": step} if counted else {}) | ({"weight_decay": 0.0} if optimizer == "adamw" else {})
            )
            getattr(backend, f"{optimizer}_update")(params, gradient, *slots, **options)
        assert_close(mean, total / 30, dtype, "epoch")
        assert_close(trained, params, dtype, "epoch")
        assert_close(state, slots, dtype, "epoch")


@pytest.mark.parametrize(("form", "optimizer"), [("softmax labels", "sgd"), ("binary dense", "adam")])
def test_a_batch_without_weight_changes_nothing_but_is_a_step(backend, problem, assert_same_epoch, dtype, optimizer):
    given, order, weight = problem(24, (6,), "tanh"), np.arange(24), np.ones(24, dtype)
    weight[8:16] = 0
    assert_same_epoch(given, order, optimizer, sample_weight=weight, batch_size=8, alpha=0.1)
    mean, trained, _ = epoch(backend, given, order, optimizer, sample_weight=0 * weight)
    assert mean == 0.0
    np.testing.assert_array_equal(trained, given["params"])
    loss_mean, gradient = backend.network_loss_gradient(**given, alpha=0.1, sample_weight=0 * weight)
    assert loss_mean == 0.0
    assert not gradient.any()


@one_form
@pytest.mark.parametrize("nesterov", [False, True])
def test_nesterov_and_momentum_reach_the_update(backend, problem, rng, assert_close, dtype, nesterov):
    given, order = problem(20, (6,), "tanh"), rng.permutation(20)
    params, by_hand, hyper = given["params"].copy(), given["params"].copy(), {"lr": 0.1, "momentum": 0.5, "nesterov": nesterov}
    state = np.ones((1, len(params)), params.dtype)
    velocity = state[0].copy()
    backend.train_epoch(**given | {"params": params}, order=order, state=state, optimizer="sgd", hyper=hyper)
    gradient = backend.network_loss_gradient(**given | {"x": given["x"][order], "targets": given["targets"][order]})[1]
    backend.sgd_update(by_hand, gradient, velocity, **hyper)
    assert_close(params, by_hand, dtype, "network")
    assert_close(state[0], velocity, dtype, "network")


def test_defaults_of_hyper_are_those_of_scikit_learn(backend, draw, rng, dtype):
    from sklearn.neural_network import MLPClassifier

    names = {"lr": "learning_rate_init", "nesterov": "nesterovs_momentum"}
    defaults, layers = MLPClassifier().get_params(), kernels.layer_table([4, 3], link="softmax")
    x, targets, order, params = draw(9, 4), rng.integers(0, 3, 9), np.arange(9), draw(15)
    for optimizer in ("sgd", "adam"):
        hyper, results = {name: defaults[names.get(name, name)] for name in ("lr", *spec.OPTIMIZERS[optimizer].hyper)}, []
        for given in (None, hyper):
            trained, state = params.copy(), np.zeros((spec.OPTIMIZERS[optimizer].n_slots, 15), dtype)
            backend.train_epoch(x, targets, order, layers, trained, state, "softmax_cross_entropy", optimizer, given)
            results.append(trained)
        np.testing.assert_array_equal(*results)

"""Compiled fits: the same numbers as layer by layer for all layers, losses, optimizers; the reasons for what is not compiled."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastprop import nn
from fastprop.kernels.spec import ACTIVATIONS
from fastprop.nn.activations import ACTIVATION_LAYERS
from fastprop.nn.arrays import raw
from fastprop.nn.errors import NotPlain

N, N_IN, N_OUT, BATCH = 53, 4, 3, 10

# Relative to the largest number of an array, or to 1: the sums of some dozens of updates are formed in another order.
TOLERANCE = {np.float64: 1e-11, np.float32: 1e-4}

LOSSES = {
    "SoftmaxCrossEntropy": lambda rng: rng.integers(0, N_OUT, N),
    "BinaryCrossEntropy": lambda rng: rng.uniform(size=(N, N_OUT)),
    "MSELoss": lambda rng: rng.normal(size=(N, N_OUT)),
    "PoissonLoss": lambda rng: rng.poisson(2.0, (N, N_OUT)),
    "L1Loss": lambda rng: rng.normal(size=(N, N_OUT)),
    "HuberLoss": lambda rng: rng.normal(size=(N, N_OUT)),
    "QuantileLoss": lambda rng: rng.normal(size=(N, N_OUT)),
    "GammaLoss": lambda rng: rng.gamma(2.0, 1.0, (N, N_OUT)),
    "TweedieLoss": lambda rng: rng.poisson(2.0, (N, N_OUT)),
}
PARAMETERS = {"HuberLoss": (0.5,), "QuantileLoss": ([0.2, 0.5, 0.9],), "TweedieLoss": (1.3,)}
OPTIMIZERS = {
    "sgd": lambda p: nn.SGD(p, lr=0.05),
    "decaying sgd": lambda p: nn.SGD(p, lr=0.05, weight_decay=0.1),
    "momentum": lambda p: nn.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: nn.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: nn.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1),
    "pytorch's adam": lambda p: nn.Adam(p, lr=0.01, eps=1e-3, weight_decay=0.1, eps_hat=False),
    "adamw": lambda p: nn.AdamW(p, lr=0.01, eps=1e-3, weight_decay=0.1),
    "rmsprop": lambda p: nn.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-3, weight_decay=0.1),
}


def linear(n_in, n_out, activation="identity", seed=0, dtype=np.float64):
    return nn.Linear(n_in, n_out, activation=activation, random_state=seed, dtype=dtype)


class Two(nn.Module):
    """A module of the user's, made of others."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def forward(self, x):
        return self.second.forward(self.first.forward(x))

    def backward(self, dout, accumulate=False):
        return self.first.backward(self.second.backward(dout, accumulate), accumulate)


class LoweredTwo(Two):
    def lower(self, program):
        program.module(self.first)
        program.module(self.second)


class MyNet(nn.Sequential):
    def __init__(self):
        super().__init__(linear(4, 5, "relu"), linear(5, 3))


# Models from 4 to 3 columns that are compiled.
MODELS = {
    "norms": lambda: nn.Sequential(
        linear(4, 6), nn.BatchNorm1d(6, momentum=0.3), nn.ReLU(), linear(6, 5), nn.LayerNorm(5, eps=1e-3), nn.GELU(), linear(5, 3)
    ),
    "first and last rows": lambda: nn.Sequential(
        nn.Dropout(0.2, random_state=1), nn.BatchNorm1d(4), nn.Tanh(), linear(4, 3), nn.LayerNorm(3), nn.SiLU()
    ),
    "activations in a row": lambda: nn.Sequential(
        linear(4, 5, "tanh"), nn.Sigmoid(), nn.Identity(), nn.Mish(), linear(5, 3, "tanh")
    ),
    "residual blocks": lambda: nn.Sequential(
        nn.Residual(nn.Sequential(nn.LayerNorm(4), linear(4, 4, "relu"), nn.Dropout(0.3, random_state=2), linear(4, 4, seed=1))),
        nn.Residual(nn.Residual(nn.Tanh())),
        nn.Residual(nn.Sequential()),
        linear(4, 3),
        nn.Residual(linear(3, 3)),
    ),
    "nested": lambda: nn.Sequential(
        nn.Sequential(linear(4, 5), nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.1, random_state=3))), linear(5, 3)
    ),
    "one layer": lambda: linear(4, 3),
    "a block": lambda: nn.Sequential(nn.Residual(nn.BatchNorm1d(4)), linear(4, 3, "softplus")),
    "dropouts": lambda: nn.Sequential(
        linear(4, 17),
        nn.Dropout(0.3, random_state=4),
        nn.Dropout(0.0),
        nn.Sigmoid(),
        nn.Dropout(0.1, random_state=2**62),
        linear(17, 3),
    ),
    "a module of one's own": lambda: LoweredTwo(linear(4, 5, "elu"), nn.Sequential(nn.BatchNorm1d(5), linear(5, 3))),
    "a class derived from Sequential": MyNet,
}


def data(loss="SoftmaxCrossEntropy"):
    rng = np.random.default_rng(1)
    return rng.normal(size=(N, N_IN)), LOSSES[loss](rng), getattr(nn, loss)(*PARAMETERS.get(loss, ()))


def numbers(model, optimizer, *histories):
    """Everything that a fit changes."""
    counts = [module.n_forwards for module in model.modules() if isinstance(module, nn.Dropout)]
    state = [array for slots in optimizer.state for array in slots]
    return [
        *(value for history in histories for value in history.values()),
        [optimizer.t, *counts],
        *model.state_dict().values(),
        *state,
    ]


def assert_same(ours, theirs, dtype=np.float64, factor=1):
    for a, b in zip(ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.abs(np.subtract(a, b)).max() <= factor * TOLERANCE[dtype] * max(np.abs(b).max(), 1)


def check(make, make_optimizer=OPTIMIZERS["adam"], loss="SoftmaxCrossEntropy", dtype=np.float64, n_jobs=1, factor=1):
    """Twice a fit, with forwards in between, is the same compiled and layer by layer."""
    X, y, loss = data(loss)
    runs = []
    for compiled in (True, False):
        model = make()
        optimizer = make_optimizer(model.parameters())
        options = {"batch_size": BATCH, "compiled": compiled, "n_jobs": n_jobs}
        first = model.fit(X, y, loss, optimizer, epochs=3, random_state=0, validation_data=(X, y), **options)
        outputs = model.train()(X)
        optimizer.lr /= 2
        second = model.fit(X, y, loss, optimizer, epochs=3, random_state=1, **options)
        assert optimizer.t == 6 * -(-N // BATCH)
        runs.append([outputs, *numbers(model, optimizer, first, second)])
    assert_same(*runs, dtype, factor)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype):
    layer = ACTIVATION_LAYERS[name]
    check(lambda: nn.Sequential(linear(4, 7, name, 0, dtype), linear(7, 3, dtype=dtype), layer()), dtype=dtype)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_layers(name, n_jobs):
    check(MODELS[name], n_jobs=n_jobs)


def random_layers(rng, n, depth=2):
    """(layers for n columns, the number of columns that they give)."""
    layers = []
    for _ in range(rng.integers(1, 5)):
        kind, seed = rng.integers(7 if depth else 5), int(rng.integers(1000))
        if kind == 0:
            layers.append(nn.Dropout(rng.uniform(0, 0.5), random_state=seed))
        elif kind == 1:
            layers.append((nn.LayerNorm if seed % 2 else nn.BatchNorm1d)(n))
        elif kind == 2:
            layers.append(ACTIVATION_LAYERS[rng.choice(list(ACTIVATIONS))]())
        elif kind <= 4:
            layers.append(linear(n, n := int(rng.integers(1, 20)), rng.choice(list(ACTIVATIONS)), seed))
        else:
            inner, width = random_layers(rng, n, depth - 1)
            if kind == 5:
                layers.append(nn.Residual(nn.Sequential(*inner, linear(width, n, seed=seed))))
            else:
                layers.append(nn.Sequential(*inner))
                n = width
    return layers, n


def check_random_model(seed):
    def make():
        rng = np.random.default_rng(seed)
        layers, n = random_layers(rng, N_IN)
        return nn.Sequential(*layers, linear(n, N_OUT))

    check(make, n_jobs=1 + seed % 2, factor=1e3)  # a norm of columns that hardly differ makes rounding errors larger


@pytest.mark.parametrize("seed", range(20))
def test_random_models(seed):
    check_random_model(seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20, 320))
def test_many_random_models(seed):
    check_random_model(seed)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_optimizers(loss, optimizer):
    check(MODELS["norms"], OPTIMIZERS[optimizer], loss)


def test_norms_in_float32():
    def make():
        dtype = np.float32
        norms = nn.BatchNorm1d(6, dtype=dtype), nn.LayerNorm(6, dtype=dtype)
        return nn.Sequential(linear(4, 6, dtype=dtype), *norms, linear(6, 3, dtype=dtype))

    check(make, dtype=np.float32)


def test_a_rate_of_0_keeps_the_velocity_in_float32():
    """It is changed by the gradients, and nothing else is."""
    X, y, loss = data()
    runs = []
    for compiled in (True, False):
        model = linear(4, 3, dtype=np.float32)
        optimizer, before = nn.SGD(model.parameters(), lr=0.05, momentum=0.9), model.state_dict()
        model.fit(X, y, loss, optimizer, epochs=1, random_state=0, compiled=compiled)
        optimizer.lr, before = 0.0, model.state_dict()
        model.fit(X, y, loss, optimizer, epochs=1, random_state=1, compiled=compiled)
        np.testing.assert_array_equal(model.weight.data, before["weight"])
        runs.append(numbers(model, optimizer))
    assert_same(*runs, np.float32)
    assert np.abs(runs[0][-1]).min() > 1e-4


@pytest.mark.parametrize("compiled", [True, None])
def test_sparse_rows_go_into_a_linear_layer(compiled):
    X, y, loss = data()
    X[np.abs(X) < 0.5] = 0
    runs = []
    for given in (X, csr_array(X)):
        model = MODELS["norms"]()
        optimizer = OPTIMIZERS["adam"](model.parameters())
        runs.append(numbers(model, optimizer, model.fit(given, y, loss, optimizer, epochs=2, random_state=0, compiled=compiled)))
    assert_same(*runs)


@pytest.mark.parametrize("name", ["first and last rows", "residual blocks"])
def test_sparse_rows_into_something_else_run_layer_by_layer(name):
    X, y, loss = data()
    model = MODELS[name]()
    optimizer = nn.Adam(model.parameters())
    with pytest.raises(NotPlain, match="X is sparse and goes into something other than a Linear layer"):
        model.fit(csr_array(X), y, loss, optimizer, compiled=True)
    history = model.fit(csr_array(X), y, loss, optimizer, epochs=2, random_state=0)
    other = MODELS[name]()
    assert_same([history["loss"]], [other.fit(X, y, loss, nn.Adam(other.parameters()), epochs=2, random_state=0)["loss"]])


@pytest.mark.parametrize("batch_size", [1, 13, 52])
def test_a_batch_of_one_row_in_a_batch_norm_is_an_error_before_anything_changes(batch_size):
    X, y, loss = data()
    model = nn.Sequential(linear(4, 6), nn.Residual(nn.BatchNorm1d(6)), linear(6, 3))
    optimizer = nn.SGD(model.parameters())
    before = numbers(model, optimizer)
    message = r"^layer '1\.block', BatchNorm1d\(6\): x must have at least 2 rows in training mode, .* got \(1, 6\)$"
    for compiled in (True, None, False):
        with pytest.raises(nn.ShapeError, match=message):
            model.fit(X, y, loss, optimizer, batch_size=batch_size, compiled=compiled)
        assert not any(module.recomputing for module in model.modules())
    for ours, theirs in zip(numbers(model, optimizer), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n_batches", [0, 3])
def test_what_counts_is_right_after_ctrl_c_in_the_middle_of_a_call(monkeypatch, n_batches):
    """The same as after a fit on as many batches."""
    X, y, loss = data()

    def make():
        model = nn.Sequential(MODELS["norms"](), nn.Dropout(0.2, random_state=5))
        return model, OPTIMIZERS["momentum"](model.parameters())

    original = raw.train_epochs

    def interrupted(job, n_threads):
        if n_batches:
            original(job._replace(orders=job.orders[:1, : n_batches * BATCH].copy(), losses=np.empty(1)), n_threads)
        raise KeyboardInterrupt

    model, optimizer = make()
    with monkeypatch.context() as patch:
        patch.setattr(raw, "train_epochs", interrupted)
        with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
            history = model.fit(X, y, loss, optimizer, batch_size=BATCH, shuffle=False)
    assert history == {"loss": []}
    other, its_optimizer = make()
    rows = n_batches * BATCH
    if n_batches:
        other.fit(X[:rows], y[:rows], loss, its_optimizer, epochs=1, batch_size=BATCH, shuffle=False, compiled=False)
    assert_same(numbers(model, optimizer), numbers(other, its_optimizer))


def test_a_callback_may_change_everything():
    X, y, loss = data()
    runs = []
    for compiled in (True, False):
        model = nn.Sequential(*MODELS["dropouts"](), nn.BatchNorm1d(3))
        optimizer = nn.Adam(model.parameters(), eps=1e-3)

        def change(epoch, history, model=model, optimizer=optimizer):
            optimizer.lr, optimizer.weight_decay, optimizer.eps_hat = 0.01, 0.1, False
            model[1].p, model[4].n_forwards, model[6].momentum = 0.5, 7, 0.9
            model[6].running_mean[...] = 3
            model.layers[3] = nn.Tanh()

        history = model.fit(X, y, loss, optimizer, epochs=3, random_state=0, callback=change, compiled=compiled)
        runs.append(numbers(model, optimizer, history))
    assert_same(*runs)


def test_a_callback_may_not_make_it_something_that_is_not_compiled():
    X, y, loss = data()
    model = nn.Sequential(linear(4, 3), nn.Tanh())
    optimizer = nn.SGD(model.parameters())

    def change(epoch, history):
        model.layers[1] = nn.Softmax()

    with pytest.raises(NotPlain, match=r"layer '1', Softmax\(\), is not one of the layers that can be compiled"):
        model.fit(X, y, loss, optimizer, callback=change)
    assert optimizer.t == 2


def own_forward():
    model = linear(4, 3)
    forward = model.forward
    model.forward = lambda x: forward(x)
    return model


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, dout, accumulate=False, need_dx=True):
        return super().backward(2 * dout, accumulate, need_dx)


class OwnLoss(nn.MSELoss):
    pass


class OwnRule(nn.SGD):
    def step(self):
        super().step()


def tied():
    first, second = linear(4, 4), linear(4, 4)
    second.bias = nn.Parameter(first.bias.data)
    return nn.Sequential(first, second, linear(4, 3))


def graph():
    x = nn.Input()
    return nn.Graph(x, linear(8, 3)(nn.Concat()(nn.Tanh()(x), x)))


NOT_PLAIN = {
    "layer '0', Linear(4, 3, bias=False), has no bias": lambda: nn.Sequential(nn.Linear(4, 3, bias=False)),
    "layer '1', Highway, is not one of the layers": lambda: nn.Sequential(linear(4, 3), nn.Highway(3)),
    "layer '1', DenseConcat, is not one of the layers": lambda: nn.Sequential(linear(4, 1), nn.DenseConcat([linear(1, 2)])),
    "layer '1', Softmax(), is not one of the layers": lambda: nn.Sequential(linear(4, 3), nn.Softmax()),
    "layer '1', Activation('bent', in Python), is not one of the layers": lambda: nn.Sequential(
        linear(4, 3), nn.Activation(lambda z: z + np.sin(z), lambda z: 1 + np.cos(z), name="bent")
    ),
    "layer '1.block', Checkpoint, is not one of the layers": lambda: nn.Sequential(
        linear(4, 3), nn.Residual(nn.Checkpoint(linear(3, 3)))
    ),
    "Sequential has checkpoint_every": lambda: nn.Sequential(linear(4, 3), checkpoint_every=1),
    "Graph is not one of the layers": graph,
    "Two is not one of the layers": lambda: Two(linear(4, 5), linear(5, 3)),
    "layer '0', Doubled(4, 3), has its own forward": lambda: nn.Sequential(Doubled(4, 3)),
    "Linear(4, 3) has its own forward": own_forward,
    "differ in dtype": lambda: nn.Sequential(linear(4, 3), linear(3, 3, dtype=np.float32)),
    "have elements in common": tied,
    "at least one linear row": lambda: nn.Sequential(nn.LayerNorm(4), nn.Tanh()),
}


@pytest.mark.parametrize("reason", NOT_PLAIN)
def test_what_is_not_compiled_says_why_and_trains_layer_by_layer(reason, rng):
    model = NOT_PLAIN[reason]()
    optimizer = nn.SGD(model.parameters())
    X, loss = rng.normal(size=(20, 4)), nn.MSELoss()
    y = rng.normal(size=model.eval()(X).shape)
    before = model.state_dict()
    with pytest.raises(NotPlain, match="whole epochs of this model cannot be compiled: ") as error:
        model.fit(X, y, loss, optimizer, compiled=True)
    assert reason in str(error.value)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    history = model.fit(X, y, loss, optimizer, epochs=20, random_state=0)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    ("reason", "loss", "rule"),
    [
        (
            "the loss is ElementwiseLoss",
            nn.ElementwiseLoss(lambda p, y: (p - y) ** 2, lambda p, y: 2 * (p - y), name="square"),
            nn.SGD,
        ),
        ("the loss is OwnLoss", OwnLoss(), nn.SGD),
        ("the optimizer is OwnRule", nn.MSELoss(), OwnRule),
        ("the optimizer is not for exactly the model's parameters", nn.MSELoss(), lambda p: nn.SGD(p[:1])),
        ("the optimizer is not for exactly the model's parameters", nn.MSELoss(), lambda p: nn.SGD(p[::-1])),
    ],
)
def test_losses_and_optimizers_that_are_not_compiled(reason, loss, rule, rng):
    model, X, y = MODELS["norms"](), rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    optimizer = rule(model.parameters())
    with pytest.raises(NotPlain, match=reason):
        model.fit(X, y, loss, optimizer, compiled=True)
    history = model.fit(X, y, loss, optimizer, epochs=20, random_state=0)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("compiled", [True, False])
def test_wrong_shapes_inside_are_the_same_error(compiled):
    X, y, loss = data()
    for model, message in (
        (nn.Sequential(linear(4, 5), linear(6, 3)), r"^layer '1', Linear\(6, 3\): x must have shape \(n, 6\); got \(\d+, 5\)$"),
        (nn.Sequential(linear(4, 5), nn.LayerNorm(4)), r"^layer '1', LayerNorm\(4\): x must have shape \(n, 4\); got \(\d+, 5\)$"),
        (
            nn.Sequential(linear(4, 4), nn.Residual(linear(4, 3))),
            r"^layer '1', Residual: the block's output must have the shape",
        ),
        (linear(5, 3), r"^Linear\(5, 3\): x must have shape \(n, 5\); got \(\d+, 4\)$"),
    ):
        with pytest.raises(nn.ShapeError, match=message):
            model.fit(X, y, loss, nn.SGD(model.parameters()), compiled=compiled)

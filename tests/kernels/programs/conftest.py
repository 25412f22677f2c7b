"""Networks of all kinds of layers, some with names and some drawn at random."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.layer_table import parameter_views

N_IN, N_OUT = 6, 4
# Without kinks, which central differences do not like.
SMOOTH = ["tanh", "sigmoid", "gelu", "silu", "mish"]
# But that of gamma, whose gradient overflows where a random network's means are near 0.
LOSSES = [loss for loss in spec.LOSSES if loss != "gamma"]
# Far from 0, so that the norm of a constant column or of a single row is well-conditioned.
EPSILON = 0.1


def start():
    return kernels.LayerProgram(N_IN)


def residual(program, activation):
    source = program.value
    return program.layer_norm(EPSILON).linear(program.width).activation(activation).linear(program.width).add(source)


# name -> the program, given an activation, up to its last linear row
NAMED = {
    "stack": lambda f: start().linear(9).activation(f).linear(7).activation(f),
    "two linear rows": lambda f: start().linear(9).linear(5),
    "residual blocks": lambda f: residual(residual(start().linear(8), f), f).activation(f),
    "added to itself first": lambda f: start().add(0).linear(8).activation(f),
    "add of X": lambda f: start().linear(N_IN).activation(f).add(0).linear(5).activation(f),
    "a value added to itself": lambda f: start().linear(8).activation(f).add(2).activation(f),
    "one value added twice": lambda f: start().linear(8).activation(f).linear(8).add(2).linear(8).activation(f).add(2),
    "an added value that is dropped": lambda f: start().linear(8).dropout(0.3, 1, 2).activation(f).linear(8).add(2),
    "activation first": lambda f: start().activation(f).linear(5).activation(f),
    "activation twice": lambda f: start().linear(8).activation(f).activation("tanh"),
    "dropout first": lambda f: start().dropout(0.25, 2**62, -3).linear(9).activation(f),
    "dropout twice": lambda f: start().linear(9).dropout(0.2, 1, 1).dropout(0.3, -1, 2).activation(f).dropout(0.5, 1, 1),
    "layer norm first": lambda f: start().layer_norm(EPSILON).linear(9).activation(f),
    "batch norm first": lambda f: start().batch_norm(EPSILON, 0.3).linear(9).activation(f),
    "batch norm between": lambda f: (
        start().linear(17).batch_norm(EPSILON).activation(f).linear(5).activation(f).batch_norm(EPSILON, 0.9)
    ),
    "norms in a row": lambda f: start().linear(9).layer_norm(EPSILON).batch_norm(EPSILON, 0.5).layer_norm(0.2).activation(f),
    "all kinds": lambda f: (
        start().batch_norm(EPSILON).dropout(0.1, 3, 4).linear(33).batch_norm(EPSILON, 0.2).activation(f).linear(33)
        .layer_norm(EPSILON).dropout(0.4, 5, 6).add(5).activation("softplus").linear(33).add(9).activation(f)
    ),
}  # fmt: skip
# What comes behind the last linear row
ENDS = {"logits": lambda p, f: p, "activation last": lambda p, f: p.activation(f), "norm last": lambda p, f: p.layer_norm(EPSILON)}


def drawn(rng, activations):
    """A random program: rows of all kinds, of which an earlier value of the same width is added to some."""
    program, widths = start(), [N_IN]
    for _ in range(rng.integers(2, 9)):
        kind = rng.choice(["linear", "activation", "dropout", "layer_norm", "batch_norm", "add"])
        if kind == "linear":
            program.linear(int(rng.choice([1, 3, 8, 8, 16, 17])))
        elif kind == "activation":
            program.activation(rng.choice(activations))
        elif kind == "dropout":
            program.dropout(rng.uniform(0, 0.6), int(rng.integers(-9, 9)), int(rng.integers(-9, 9)))
        elif kind == "add":
            program.add(int(rng.choice([i for i, width in enumerate(widths) if width == widths[-1]])))
        else:
            getattr(program, kind)(EPSILON)
        widths.append(program.width)
    return program


# Of these, what a plain run tries on Numba, whose threads take long to meet where there are more of them than cores.
ON_NUMBA = {"residual blocks", "all kinds", "3"}
CASES = [(name, "logits") for name in NAMED] + [("stack", end) for end in ENDS if end != "logits"]
CASES += [(seed, "logits") for seed in range(12)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        if "case" in values and "numba" in str(values.get("backend")) and str(values["case"][0]) not in ON_NUMBA:
            item.add_marker("full")


def param(case):
    """Of the random programs, half are for a full run."""
    name, end = case
    is_more = isinstance(name, int) and name >= 6
    return pytest.param(case, id=f"{name}" if end == "logits" else f"{name}, {end}", marks=[pytest.mark.full] if is_more else [])


@pytest.fixture(params=map(param, CASES))
def case(request):
    """(a name or the seed of a random program, its end)"""
    return request.param


def table_of(case, activations):
    """(layer table, loss) of a case."""
    (name, end), place = case, CASES.index(case)
    f, loss = activations[place % len(activations)], LOSSES[place % len(LOSSES)]
    program = drawn(np.random.default_rng(name), activations) if isinstance(name, int) else NAMED[name](f)
    return ENDS[end](program.linear(N_OUT), f).link(spec.LOSSES[loss].link), loss


@pytest.fixture(scope="session")
def tables():
    """The layer tables of all cases."""
    return [table_of(case, list(spec.ACTIVATIONS))[0] for case in CASES]


@pytest.fixture
def problem(case, rng, dtype):
    """problem(n, smooth=False) -> the arguments that the network kernels share, as a dict."""

    def make(n, smooth=False):
        layers, loss = table_of(case, SMOOTH if smooth else list(spec.ACTIVATIONS))
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers))
        for views, row in zip(parameter_views(layers, params), layers, strict=True):
            if row["kind"] in (spec.KINDS["layer_norm"], spec.KINDS["batch_norm"]):
                views[0][...] += 1
        targets = rng.integers(0, N_OUT, n) if loss == "softmax_cross_entropy" else rng.random((n, N_OUT)).astype(dtype)
        if loss in ("absolute_error", "huber", "quantile"):  # away from their kinks
            targets = np.where(targets < 0.5, -30, 30).astype(dtype)
        buffers = np.abs(rng.standard_normal(kernels.n_buffers(layers))).astype(dtype) + dtype.type(0.5)
        given = {"x": rng.standard_normal((n, N_IN)).astype(dtype), "targets": targets, "layers": layers, "loss": loss}
        return given | {"params": params.astype(dtype), "buffers": buffers}

    return make


def without(given, *names):
    return {name: value for name, value in given.items() if name not in names}


@pytest.fixture(scope="session")
def forward():
    """forward(backend, problem, **options): the outputs."""
    return lambda backend, given, **options: backend.network_forward(**without(given, "targets", "loss"), **options)


@pytest.fixture(scope="session")
def gradient():
    """gradient(backend, problem, **options): the mean loss and its gradient."""
    return lambda backend, given, **options: backend.network_loss_gradient(**without(given, "buffers"), **options)


HYPER = {
    "sgd": {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1},
    "adam": {"lr": 0.01, "epsilon": 0.1},
    "momentum": {"lr": 0.02, "momentum": 0.5},
    "rmsprop": {"lr": 0.01, "epsilon": 0.1},
    "adamw": {"lr": 0.01, "epsilon": 0.1, "weight_decay": 0.1},
}


def run_epochs(backend, given, orders, optimizer="momentum", **options):
    params, buffers = given["params"].copy(), given["buffers"].copy()
    state = np.zeros((spec.OPTIMIZERS[optimizer].n_slots, len(params)), params.dtype)
    given = given | {"params": params, "buffers": buffers, "state": state, "optimizer": optimizer}
    options = {"batch_size": 10, "hyper": HYPER[optimizer], "step": 3} | options
    n_steps = -(-len(orders[0]) // options["batch_size"])
    losses = [backend.train_epoch(**given | options | {"order": o, "step": 3 + i * n_steps}) for i, o in enumerate(orders)]
    return np.array(losses), params, state, buffers


@pytest.fixture(scope="session")
def epochs():
    """epochs(backend, problem, orders, optimizer, **options): (losses, parameters, state, running statistics) from those given."""
    return run_epochs


@pytest.fixture
def in_float64(wide):
    """in_float64(dict): its arrays in float64, and dense."""
    return lambda given: {name: wide(value.toarray() if sp.issparse(value) else value) for name, value in given.items()}

"""What the tests of the kernels share, as fixtures: back ends, dtypes, sizes, valid calls, and one way to compare.

The one table of tolerances is `TOLERANCE` and `ULP`. A tolerance is relative to a magnitude: the same formula with absolute values
everywhere, which bounds the rounding errors however much cancels, or the largest expected number where that is too long-winded.
"""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels import dispatch
from fastprop.kernels.spec import ACTIVATIONS

TOLERANCE = {
    # 16 units in the last place: sums of up to some hundred rounding errors of random sign.
    "kernel": {"float32": 2e-6, "float64": 4e-15},
    # A few layers forward and back; relative to the largest number of the array.
    "network": {"float32": 2e-5, "float64": 4e-14},
    # Dozens of updates, each of which carries the errors of all before.
    "epoch": {"float32": 2e-4, "float64": 4e-13},
}
# Units in the last place, over the whole range of the argument. NumPy's float32 exp, the reference's, has 2.52. Those of gelu are
# for 1 + z^2 times the exact value, as far as which it magnifies a rounding error of z; "derivative" is for the sum of the absolute
# values of the derivative's terms.
ULP = {"exp": 3, "sigmoid": 3, "tanh": 4, "softmax": 8}
ULP |= {"identity": 0, "relu": 0, "leaky_relu": 1, "elu": 4, "selu": 4, "silu": 4, "softplus": 4, "mish": 6, "gelu": 5}
ULP |= {"derivative": 8}

# Around the widths of vectors, which are from 2 (float64, 128 bits) to 16 (float32, 512 bits).
SIZES = (0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 42)


# Comparison


@pytest.fixture(scope="session")
def tolerances():
    """The two tables."""
    return TOLERANCE, ULP


def compare(actual, expected, allowed):
    """Fail unless every element is within its allowed error; a NaN never is."""
    actual, expected = np.asarray(actual, np.longdouble), np.asarray(expected, np.longdouble)
    assert actual.shape == expected.shape
    allowed = np.broadcast_to(allowed, expected.shape)
    if not expected.size:
        return
    # A tolerance near the values themselves would accept anything.
    assert allowed.max() <= 0.1 * np.abs(expected).max() or not expected.any(), "vacuous tolerance"
    wrong = ~(np.abs(actual - expected) <= allowed)
    if wrong.any():
        excess = np.where(wrong, np.abs(actual - expected) / np.maximum(allowed, np.finfo(np.float64).tiny), 0)
        where = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), expected.shape)
        raise AssertionError(
            f"{wrong.sum()} of {wrong.size} elements, shape {expected.shape}, are off; at {tuple(map(int, where))}: "
            f"got {actual[where]}, expected {expected[where]}, which is {float(excess[where]):.3g} times the tolerance "
            f"{float(allowed[where]):.3g}"
        )


@pytest.fixture(scope="session")
def assert_close():
    """assert_close(actual, expected, dtype, kind, magnitude): within TOLERANCE[kind][dtype] * magnitude, default max |expected|."""

    def check(actual, expected, dtype, kind="kernel", magnitude=None):
        if magnitude is None:
            magnitude = np.abs(expected).max() if np.size(expected) else 0.0
        compare(actual, expected, TOLERANCE[kind][np.dtype(dtype).name] * np.asarray(magnitude, np.float64))

    return check


@pytest.fixture(scope="session")
def assert_ulp():
    """assert_ulp(actual, exact, name): within ULP[name] of the exact values (longdouble); infinities and NaN in the same places.

    ``relative_to`` are the numbers whose last place is the unit, where those are not the exact values. What is exactly a subnormal
    number may also be flushed to zero, as keeping them would slow every loop down for nothing; ``flushed`` is what such a number is
    multiplied with.
    """

    def check(actual, exact, name, relative_to=None, flushed=1):
        info = np.finfo(actual.dtype)
        with np.errstate(over="ignore", under="ignore"):
            rounded = exact.astype(actual.dtype)
            size = np.abs(rounded if relative_to is None else relative_to.astype(actual.dtype))
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
        np.testing.assert_array_equal(np.isinf(actual), np.isinf(rounded))
        finite, least = np.isfinite(rounded), info.tiny * np.broadcast_to(flushed, exact.shape)
        actual, exact, size, least = actual[finite], exact[finite], size[finite], least[finite]
        allowed = np.maximum(ULP[name] * np.spacing(size), np.where(np.abs(exact) < least, least, 0))
        compare(actual, exact, allowed)

    return check


# Back ends and what they are run with


@pytest.fixture(scope="session", params=dispatch.REGISTRY, ids=str)
def backend(request):
    """The public kernels of every back end and instruction set in turn; what cannot run here is skipped with the reason."""
    try:
        return kernels.load(request.param.backend, request.param.isa)
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=dispatch.BACKENDS)
def each_source(request):
    """The same of one instruction set alone: for what does not depend on the width of a register."""
    try:
        return kernels.load(request.param)
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def oracle():
    """The reference kernels, to be given float64."""
    return kernels.load("reference")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=list(ACTIVATIONS))
def activation(request):
    return request.param


@pytest.fixture(scope="session")
def sizes():
    return SIZES


@pytest.fixture(scope="session")
def remembered():
    """remembered(activation, z, a): the one of the two from which the activation's backward computes."""
    return lambda activation, z, a: {"a": a, "z": z}[ACTIVATIONS[activation].derivative]


@pytest.fixture
def rng():
    return np.random.default_rng(42)


@pytest.fixture
def draw(rng, dtype):
    """draw(*shape): standard normal numbers of the test's dtype."""
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


@pytest.fixture(scope="session")
def wide():
    """wide(*arrays): the same numbers in float64 (what is not a floating-point array is left as it is)."""

    def convert(*arrays):
        converted = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays]
        return converted if len(converted) > 1 else converted[0]

    return convert


# A valid call of every public kernel


@dataclass
class Call:
    """A valid call of one public kernel: arrays that are read, arrays that are updated, optional outputs, and the rest."""

    name: str
    inputs: dict
    options: dict = field(default_factory=dict)
    updated: dict = field(default_factory=dict)
    outputs: dict = field(default_factory=dict)
    in_place_of: str | None = None  # the input that the output may be

    def __call__(self, backend, **changes):
        arguments = self.inputs | self.updated | self.options | changes
        return getattr(backend, self.name)(**arguments)

    def results(self, backend, **changes):
        """All that the call computes, as a list: what it returns and, updated from copies, what it updates."""
        updated = {name: array.copy() for name, array in self.updated.items()}
        returned = self(backend, **updated, **changes)
        returned = returned if isinstance(returned, tuple) else (returned,)
        return [value for value in (*returned, *updated.values()) if value is not None]

    @property
    def arrays(self):
        everything = self.inputs | self.updated | self.outputs
        return everything


def loss_calls(n, n_out, draw, rng, dtype):
    """Every loss with every form of targets: name -> (logits name, outputs name, kernel, outputs, targets)."""
    probs = np.abs(draw(n, n_out)) + np.float32(0.1)
    counts = rng.integers(0, 5, (n, n_out)).astype(dtype)
    dense = rng.random((n, n_out)).astype(dtype)
    one = probs[:, :1].copy()
    softmax = "logits", "probs", "softmax_cross_entropy", probs
    return {
        "softmax labels": (*softmax, rng.integers(0, n_out, n)),
        "softmax dense": (*softmax, dense),
        "binary labels": ("logits", "probs", "binary_cross_entropy", one, rng.integers(0, 2, n)),
        "binary dense": ("logits", "probs", "binary_cross_entropy", probs, dense),
        "squared error": ("predictions", "predictions", "squared_error", probs, draw(n, n_out)),
        "poisson": ("log_rates", "rates", "poisson", probs, counts),
        "absolute error": ("predictions", "predictions", "absolute_error", probs, draw(n, n_out)),
        "huber": ("predictions", "predictions", "huber", probs, draw(n, n_out)),
        "quantile": ("predictions", "predictions", "quantile", probs, draw(n, n_out)),
        "gamma": ("log_means", "means", "gamma", probs, counts + 1),
        "tweedie": ("log_means", "means", "tweedie", probs, counts),
    }


# What differs from the default, so that it is seen
LOSS_OPTIONS = {"huber": {"delta": 0.7}, "quantile": {"quantile": (0.2, 0.5, 0.9)}, "tweedie": {"power": 1.3}}


def make_calls(n, rng, dtype):
    """Every public kernel at n rows: id -> Call."""

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    def empty(*shape):
        return np.full(shape, np.nan, dtype)

    x, weight, a = draw(n, 5), draw(5, 3), draw(n, 3)
    calls = [
        Call("linear_forward", {"x": x, "weight": weight, "bias": draw(3)}, {"activation": "tanh"}, {}, {"out": empty(n, 3)}),
        Call(
            "linear_backward",
            {"da": draw(n, 3), "x": x, "weight": weight, "a": a},
            {"activation": "sigmoid"},
            {},
            {"dx": empty(n, 5), "dweight": empty(5, 3), "dbias": empty(3)},
        ),
        Call("softmax_forward", {"logits": a}, {}, {}, {"out": empty(n, 3)}, "logits"),
        Call("softmax_backward", {"dprobs": draw(n, 3), "probs": a}, {}, {}, {"out": empty(n, 3)}, "probs"),
    ]
    named = {call.name: call for call in calls}
    for form, (logits, outputs, kernel, values, targets) in loss_calls(n, 3, draw, rng, dtype).items():
        given = {"targets": targets, "sample_weight": rng.random(n).astype(dtype)}
        out = {"out": np.full_like(values, np.nan)}
        forward_out, options = {} if logits == "predictions" else out, LOSS_OPTIONS.get(kernel, {})
        named[f"{form} forward"] = Call(f"{kernel}_forward", {logits: values} | given, options, {}, forward_out, logits)
        options = options | {"scale": 0.5}
        named[f"{form} backward"] = Call(f"{kernel}_backward", {outputs: values} | given, options, {}, out, outputs)
    return named | unit_calls(n, draw, empty) | update_calls(draw) | network_calls(n, draw, empty, rng)


def unit_calls(n, draw, empty):
    """The kernels over units: activations, dropout, norms."""
    x, dy, gamma, beta = draw(n, 5), draw(n, 5), draw(5), draw(5)
    rows, columns = (draw(n), np.abs(draw(n))), (draw(5), np.abs(draw(5)))
    out, dropout = {"out": empty(n, 5)}, {"rate": 0.25, "seed": 7}
    calls = [
        Call("activation_forward", {"z": x}, {"activation": "tanh"}, {}, out, "z"),
        Call("activation_backward", {"da": dy, "a": x}, {"activation": "sigmoid"}, {}, out, "da"),
        Call("dropout_forward", {"x": x}, dropout, {}, out, "x"),
        Call("dropout_backward", {"dy": dy}, dropout, {}, out, "dy"),
    ]
    for norm, (mean, rstd) in (("layer", rows), ("batch", columns)):
        written = {"y": empty(n, 5), "mean": empty(len(mean)), "rstd": empty(len(mean))}
        gradients = {"dx": empty(n, 5), "dgamma": empty(5), "dbeta": empty(5)}
        calls.append(Call(f"{norm}_norm_forward", {"x": x, "gamma": gamma, "beta": beta}, {"epsilon": 0.1}, {}, written))
        read = {"dy": dy, "x": x, "gamma": gamma, "mean": mean, "rstd": rstd}
        calls.append(Call(f"{norm}_norm_backward", read, {}, {}, gradients))
    running = {"x": x, "gamma": gamma, "beta": beta, "running_mean": columns[0], "running_var": columns[1]}
    calls.append(Call("batch_norm_inference", running, {}, {}, out, "x"))
    return {call.name: call for call in calls}


def update_calls(draw):
    one, two = {"velocity": draw(4, 5)}, {"m": draw(4, 5), "v": draw(4, 5) ** 2}
    cases = {
        "sgd_update": ({"l2": 0.01}, one),
        "momentum_update": ({"l2": 0.01}, one),
        "rmsprop_update": ({"l2": 0.01}, {"square_avg": two["v"]}),
        "adam_update": ({"step": 3}, two),
        "adamw_update": ({"step": 3, "l2": 0.01}, two),
    }
    params, grad = {"params": draw(4, 5)}, {"grad": draw(4, 5)}
    return {name: Call(name, grad, {"lr": 0.1} | options, params | state) for name, (options, state) in cases.items()}


def network_calls(n, draw, empty, rng):
    layers = kernels.layer_table([5, 4, 3], "tanh", "softmax")
    n_params = kernels.n_parameters(layers)
    common = {"x": draw(n, 5), "layers": layers}
    problem = common | {"targets": rng.integers(0, 3, n), "sample_weight": np.abs(draw(n)) + draw(1).dtype.type(0.1)}
    params, loss = draw(n_params), {"loss": "softmax_cross_entropy", "alpha": 0.1}
    return {
        "network_forward": Call("network_forward", common | {"params": params}, {}, {}, {"out": empty(n, 3)}),
        "network_loss_gradient": Call("network_loss_gradient", problem | {"params": params}, loss, {}, {"out": empty(n_params)}),
        "train_epoch": Call(
            "train_epoch",
            problem | {"order": rng.permutation(n)},
            loss | {"batch_size": 3, "hyper": {"epsilon": 0.01}},
            {"params": params, "state": np.abs(draw(2, n_params))},
        ),
    } | buffer_calls(n, draw, empty, rng)


def buffer_calls(n, draw, empty, rng):
    """Those kernels of networks that have running statistics."""
    layers = kernels.LayerProgram(5).linear(4).batch_norm(0.1).activation("silu").linear(3).link("softmax")
    network, buffers = {"x": draw(n, 5), "layers": layers}, np.abs(draw(kernels.n_buffers(layers)))
    params, order = draw(kernels.n_parameters(layers)), {"targets": rng.integers(0, 3, n), "order": rng.permutation(n)}
    options = {"loss": "softmax_cross_entropy", "optimizer": "momentum", "batch_size": 3, "hyper": {"lr": 0.01}}
    state = np.abs(draw(1, len(params)))
    return {
        "network_forward of norms": Call(
            "network_forward", network | {"params": params, "buffers": buffers}, {}, {}, {"out": empty(n, 3)}
        ),
        "train_epoch of norms": Call(
            "train_epoch", network | order, options, {"params": params, "state": state, "buffers": buffers}
        ),
    }


@pytest.fixture(params=list(make_calls(2, np.random.default_rng(0), np.float32)))
def call(request, rng, dtype):
    """A valid call of each public kernel in turn."""
    return make_calls(7, rng, dtype)[request.param]


@pytest.fixture
def calls(rng, dtype):
    """A valid call of each public kernel: id -> Call."""
    return make_calls(7, rng, dtype)


@pytest.fixture
def empty_calls(rng, dtype):
    """The same without rows."""
    return make_calls(0, rng, dtype)


# Which cases are for a full run. The instruction sets are compiled from one source, the reference in float64 is the oracle itself,
# and Numba compiles for a minute what these tests call, and again for other types of arrays.


def pytest_collection_modifyitems(items):
    """A plain run has both dtypes for the module that is chosen here, and one for each other that can run; Numba comes last.

    It has no training with Numba, which takes as long to compile as all else, and is for the night in a second type.
    """
    own, elsewhere = (kernels.active.backend, kernels.active.isa), dispatch.unavailable()
    for item in items:
        backend, dtype = backend_of(item), str(params_of(item).get("dtype"))
        if backend == "numba":
            is_other_type = dtype == "float32" or item.get_closest_marker("other_types")
            is_spare = is_other_type or trains(item)
            if is_other_type and trains(item):
                item.add_marker("nightly")
        elif isinstance(backend, dispatch.Candidate):
            is_spare = backend[:2] in elsewhere or (backend[:2] != own and dtype == "float64")
        else:
            is_spare = False
        if is_spare:
            item.add_marker("full")
    items.sort(key=lambda item: "numba" in item.nodeid)


def params_of(item):
    return item.callspec.params if hasattr(item, "callspec") else {}


def backend_of(item):
    """The back end that a test is for, as an entry of the registry, or by name where its instruction set does not matter."""
    backend = params_of(item).get("backend") or params_of(item).get("each_source")
    return "numba" if getattr(backend, "backend", backend) == "numba" else backend


def uses_numba(item):
    return backend_of(item) == "numba"


TRAINING = ("train_epoch", "network_loss_gradient")
MODULES_THAT_TRAIN = {
    "programs",
    "jobs",
    "test_clip.py",
    "test_encoded.py",
    "test_network.py",
    "test_network_dropout.py",
    "test_sparse.py",
}


def trains(item):
    """Whether a test calls what trains a network, or its gradient: as named, or where nearly all tests of a module do."""
    return not MODULES_THAT_TRAIN.isdisjoint(item.path.parts) or any(name in item.nodeid for name in TRAINING)


def pytest_collection_finish(session):
    """Let another process compile it beside the tests that come before, into Numba's cache. Nobody waits for it."""
    tests_of = Counter(str(params_of(item).get("dtype")) for item in session.items if uses_numba(item))
    dtypes = [dtype for dtype in ("float64", "float32") if tests_of[dtype] > 100]
    if not dtypes or session.config.option.collectonly or os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        return  # for a few tests it would be more than they need
    command = [sys.executable, __file__, session.config.option.markexpr, *dtypes]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    session.config.add_cleanup(process.wait)  # the last one that is added is the first that is called
    session.config.add_cleanup(process.kill)


def compile_with_numba(dtype, markers):
    backend = kernels.load("numba")
    trains = "not full" not in markers and (dtype == np.float64 or "not nightly" not in markers)
    for n_threads in (1, 2):
        for name, call in make_calls(7, np.random.default_rng(0), dtype).items():
            if trains or not name.startswith(TRAINING):
                call.results(backend, n_threads=n_threads)


if __name__ == "__main__":
    _, markers, *dtypes = sys.argv
    for name in dtypes:
        compile_with_numba(np.dtype(name), markers)

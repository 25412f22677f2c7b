"""Problems for the training call, a training loop in NumPy for them, written here from what `reference.train_epochs` says, and jobs
of them for the back ends."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, log_expit, log_softmax, softmax, xlogy

from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.checks import NO_INDICES, NO_LABELS, private
from fastprop.kernels.job import new_job

FORMS = {
    "softmax labels": "softmax_cross_entropy",
    "softmax dense": "softmax_cross_entropy",
    "binary dense": "binary_cross_entropy",
    "squared error": "squared_error",
    "poisson": "poisson",
    "absolute error": "absolute_error",
    "huber": "huber",
    "quantile": "quantile",
    "gamma": "gamma",
    "tweedie": "tweedie",
}
LEVELS, DELTA, POWER = np.array([0.2, 0.5, 0.9]), 0.3, 1.3
LOSS_HYPER = {"huber": np.array([DELTA]), "quantile": LEVELS, "tweedie": np.array([POWER])}
# Well-conditioned: Adam and RMSprop make full steps of the rounding errors of small gradients.
HYPER = {
    "sgd": {"lr": 0.05, "momentum": 0.8, "nesterov": True},
    "adam": {"lr": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1},
    "momentum": {"lr": 0.05, "momentum": 0.7, "nesterov": False},
    "rmsprop": {"lr": 0.02, "alpha": 0.9, "epsilon": 0.1},
    "adamw": {"lr": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1},
}
N, N_IN, N_HIDDEN, N_OUT, N_HELD_OUT = 37, 9, 7, 3, 14


# The oracle: a network with one hidden layer of tanh, in float64


def dense_targets(loss, targets):
    return np.eye(N_OUT)[targets] if targets.ndim == 1 else targets.astype(np.float64)


def losses_of_rows(loss, z, y, clip):
    if loss == "softmax_cross_entropy":
        p, values = softmax(z, axis=1), -y * log_softmax(z, axis=1)
        values = -xlogy(y, np.clip(p, clip, 1 - clip)) if clip else values
    elif loss == "binary_cross_entropy":
        p, values = expit(z), -y * log_expit(z) - (1 - y) * log_expit(-z)
        p = np.clip(p, clip, 1 - clip)
        values = -xlogy(y, p) - xlogy(1 - y, 1 - p) if clip else values
    elif loss == "squared_error":
        values = (y - z) ** 2 / 2 / z.shape[1]
    elif loss == "poisson":
        values = xlogy(y, y) - y * z - y + np.exp(z)
    elif loss == "absolute_error":
        values = np.abs(y - z)
    elif loss == "huber":
        values = np.where(np.abs(y - z) < DELTA, (y - z) ** 2 / 2, DELTA * np.abs(y - z) - DELTA**2 / 2)
    elif loss == "quantile":
        values = np.where(y > z, LEVELS * (y - z), (1 - LEVELS) * (z - y))
    elif loss == "gamma":
        values = -np.log(y / np.exp(z)) + y / np.exp(z) - 1
    else:
        p, mean = POWER, np.exp(z)
        values = y ** (2 - p) / ((1 - p) * (2 - p)) - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)
    return values.sum(axis=1)


def gradient_of(loss, z, y):
    """The gradient of a row's loss, where squared error is a sum, with respect to the logits."""
    mass = y.sum(axis=1, keepdims=True)
    return {
        "softmax_cross_entropy": lambda: softmax(z, axis=1) * mass - y,
        "binary_cross_entropy": lambda: expit(z) - y,
        "squared_error": lambda: z - y,
        "poisson": lambda: np.exp(z) - y,
        "absolute_error": lambda: np.sign(z - y),
        "huber": lambda: np.clip(z - y, -DELTA, DELTA),
        "quantile": lambda: (z > y) - LEVELS,
        "gamma": lambda: 1 - y * np.exp(-z),
        "tweedie": lambda: np.exp((2 - POWER) * z) - y * np.exp((1 - POWER) * z),
    }[loss]()


class ByHand:
    """What a training call makes of a problem (see the fixture), in float64."""

    def __init__(self, given):
        self.o = {"alpha": 0.0, "clip": 0.0, "smoothing": 0.0, "gradient_scale": 1.0, "value_scale": 1.0, "clip_norm": 0.0}
        self.o |= {"rates": np.ones(1000), "exempt": False, "sample_weight": None, "validation": None, "best": np.inf}
        self.o |= {"ema_decay": 0.0, "average": None} | given
        self.params = given["params"].astype(np.float64)
        self.hyper = spec.COMMON_HYPER | spec.OPTIMIZERS[given["optimizer"]].hyper | given["hyper"]
        self.slots = np.zeros((2, len(self.params)))
        self.step, self.first = given.get("step", 0), given.get("step", 0)
        self.is_weight = np.zeros(len(self.params), bool)
        for weight, _ in self.views(self.is_weight):
            weight[...] = True
        self.losses, self.validation_losses, self.best, self.clipped = [], [], [self.o["best"], 0], []
        self.best_params = np.zeros_like(self.params)
        self.average = None if self.o["average"] is None else given["average"].astype(np.float64)
        self.train()

    def views(self, block):
        a, b = N_IN * N_HIDDEN, N_HIDDEN
        c = a + b + N_HIDDEN * N_OUT
        first = block[:a].reshape(N_IN, N_HIDDEN), block[a : a + b]
        return first, (block[a + b : c].reshape(N_HIDDEN, N_OUT), block[c:])

    def logits(self, x, params):
        (w1, b1), (w2, b2) = self.views(params)
        hidden = np.tanh(x @ w1 + b1)
        return hidden, hidden @ w2 + b2

    def loss_and_gradient(self, x, y, weight):
        o, loss, gradient = self.o, self.o["loss"], np.empty_like(self.params)
        if o["smoothing"]:
            classes = 2 if loss == "binary_cross_entropy" else N_OUT
            y = (1 - o["smoothing"]) * y + o["smoothing"] / classes
        hidden, z = self.logits(x, self.params)
        dz = o["gradient_scale"] * weight[:, None] * gradient_of(loss, z, y)
        w2 = self.views(self.params)[1][0]
        (dw1, db1), (dw2, db2) = self.views(gradient)
        dh = dz @ w2.T * (1 - hidden**2)
        dw1[...], db1[...], dw2[...], db2[...] = x.T @ dh, dh.sum(axis=0), hidden.T @ dz, dz.sum(axis=0)
        gradient += o["alpha"] * np.where(self.is_weight, self.params, 0)
        value = o["value_scale"] * (losses_of_rows(loss, z, y, o["clip"]) @ weight)
        value += o["alpha"] / 2 * (self.params[self.is_weight] ** 2).sum()
        return value / weight.sum(), gradient / weight.sum()

    def train(self):
        o = self.o
        x = o["x"].toarray() if sp.issparse(o["x"]) else o["x"]
        y, weight = dense_targets(o["loss"], o["targets"]), np.ones(N) if o["sample_weight"] is None else o["sample_weight"]
        for order in o["orders"]:
            total = 0.0
            for start in range(0, len(order), o["batch_size"]):
                rows = order[start : start + o["batch_size"]]
                self.step += 1
                if weight[rows].sum() == 0:
                    continue
                loss, gradient = self.loss_and_gradient(x[rows].astype(np.float64), y[rows], weight[rows].astype(np.float64))
                total += loss * len(rows)
                norm = np.sqrt((gradient**2).sum())
                self.clipped.append(bool(o["clip_norm"]) and norm > o["clip_norm"])
                if o["clip_norm"]:
                    gradient *= min(1, o["clip_norm"] / (norm + 1e-6))
                self.update(gradient, self.hyper["lr"] * o["rates"][self.step - self.first - 1])
                if self.average is not None:
                    self.move_average()
            self.losses.append(total / len(order))
            if o["validation"]:
                self.validate(*o["validation"])

    def update(self, gradient, lr):
        h, p = self.hyper, self.params
        g = gradient + h["l2"] * p
        p *= 1 - lr * h["weight_decay"] * (self.is_weight if self.o["exempt"] else 1)
        first, second = self.slots
        name = self.o["optimizer"]
        if name == "sgd":
            first[...] = h["momentum"] * first - lr * g
            p += h["momentum"] * first - lr * g if h["nesterov"] else first
        elif name == "momentum":
            first[...] = h["momentum"] * first + g
            p -= lr * (g + h["momentum"] * first if h["nesterov"] else first)
        elif name == "rmsprop":
            first[...] = h["alpha"] * first + (1 - h["alpha"]) * g**2
            p -= lr * g / (np.sqrt(first) + h["epsilon"])
        else:
            first[...] = h["beta_1"] * first + (1 - h["beta_1"]) * g
            second[...] = h["beta_2"] * second + (1 - h["beta_2"]) * g**2
            mean, root = first / (1 - h["beta_1"] ** self.step), np.sqrt(1 - h["beta_2"] ** self.step)
            if name == "adam":
                p -= lr * mean * root / (np.sqrt(second) + h["epsilon"])
            else:
                p -= lr * mean / (np.sqrt(second) / root + h["epsilon"])

    def move_average(self):
        """A sum that loses ``1 - ema_decay`` of itself in each step, divided by what its weights add up to."""
        decay = self.o["ema_decay"]
        before = decay * (1 - decay ** (self.step - 1)) * self.average if self.step > 1 else 0
        self.average = (before + (1 - decay) * self.params) / (1 - decay**self.step)

    def validate(self, x, targets, weight):
        x, params = (x.toarray() if sp.issparse(x) else x).astype(np.float64), self.params if self.average is None else self.average
        values = losses_of_rows(self.o["loss"], self.logits(x, params)[1], dense_targets(self.o["loss"], targets), self.o["clip"])
        self.validation_losses.append(self.o["value_scale"] * np.average(values, weights=weight))
        if self.validation_losses[-1] < self.best[0]:
            self.best, self.best_params = [self.validation_losses[-1], self.step], params.copy()


# The same by a back end


def rows_of(x, targets, weight):
    """`spec.Rows` of arrays as the public kernels take them; integers are read-only, as those make them: to Numba, a type."""
    nothing = np.empty(0, x.dtype)
    form = (x.data[None], private(x.indices), private(x.indptr)) if sp.issparse(x) else (x, NO_INDICES, NO_INDICES)
    form_of_targets = (private(targets), nothing.reshape(0, 0)) if targets.ndim == 1 else (NO_LABELS, targets)
    return spec.Rows(*form, *form_of_targets, nothing if weight is None else weight)


def make_job(given):
    """A job of a problem, with arrays of its own for what is written."""
    o = {"sample_weight": None, "validation": None, "step": 0, "best": np.inf} | given
    rows = rows_of(o.pop("x"), o.pop("targets"), o.pop("sample_weight"))
    hyper = spec.COMMON_HYPER | spec.OPTIMIZERS[o["optimizer"]].hyper | o.pop("hyper")
    o.setdefault("loss_hyper", LOSS_HYPER.get(o["loss"], np.empty(0)))
    params, validation, n_epochs = o.pop("params").copy(), o.pop("validation"), len(o["orders"])
    best = np.array([o.pop("best"), 0.0])
    o["average"] = o.get("average", params[:0]).copy()
    if validation:
        o |= {"validation": rows_of(*validation), "validation_losses": np.full(n_epochs, 7.0), "best": best}
        o |= {"best_params": np.zeros_like(params), "best_buffers": np.zeros_like(o.get("buffers", params[:0]))}
    o |= {"layers": private(o["layers"]), "orders": private(o["orders"]), "buffers": o.get("buffers", params[:0]).copy()}
    o |= {"step": np.array([o["step"]], np.intp), "losses": np.full(n_epochs, 7.0), "loss": spec.LOSS_CODES[o["loss"]]}
    o |= {"hyper": np.array([hyper[name] for name in spec.hyper_names(o["optimizer"])], np.float64)}
    o |= {"state": np.zeros((spec.OPTIMIZERS[o["optimizer"]].n_slots, len(params)), params.dtype)}
    return new_job(rows, params, **o | {"optimizer": spec.OPTIMIZER_CODES[o["optimizer"]]})


@pytest.fixture(scope="session")
def job_of():
    """job_of(problem): a job, with arrays of its own for what is written."""
    return make_job


@pytest.fixture(scope="session")
def by_hand():
    """by_hand(problem): what the oracle makes of it."""
    return ByHand


WRITTEN = "params", "buffers", "state", "step", "average", "losses", "validation_losses", "best", "best_params", "best_buffers"


@pytest.fixture(scope="session")
def bits():
    """bits(job): all that a call writes, by name."""
    return lambda job: {name: getattr(job, name).tobytes() for name in WRITTEN}


@pytest.fixture
def problem(rng, dtype):
    """problem(form, optimizer, sparse=False, n_epochs=2, **options) -> a problem, as a dict: see `job_of`."""

    def targets(form, n):
        if form == "softmax labels":
            return rng.integers(0, N_OUT, n)
        if form in ("poisson", "tweedie"):
            return rng.integers(0, 4, (n, N_OUT)).astype(dtype)
        return rng.random((n, N_OUT)).astype(dtype) + dtype.type(0.5 if form == "gamma" else 0)

    def features(n, sparse):
        x = rng.standard_normal((n, N_IN)).astype(dtype)
        return sp.csr_array(x * (rng.random(x.shape) < 0.4)) if sparse else x

    def make(form, optimizer, sparse=False, n_epochs=2, validation=None, hyper=None, **options):
        loss = FORMS[form]
        layers = kernels.layer_table([N_IN, N_HIDDEN, N_OUT], "tanh", spec.LOSSES[loss].link)
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
        given = {"x": features(N, sparse), "targets": targets(form, N), "layers": layers, "params": params, "loss": loss}
        given |= {"optimizer": optimizer, "hyper": HYPER[optimizer] | (hyper or {}), "batch_size": 10}
        given["orders"] = np.stack([rng.permutation(N) for _ in range(n_epochs)])
        if validation:
            weight = rng.random(N_HELD_OUT).astype(dtype) if "weighted" in validation else None
            given["validation"] = features(N_HELD_OUT, "sparse" in validation), targets(form, N_HELD_OUT), weight
        return given | options

    return make


@pytest.fixture
def assert_as_by_hand(backend, assert_close, dtype):
    """assert_as_by_hand(problem) -> what the oracle found: a back end's call, on 1 to 3 threads, does the same."""

    def check(given):
        expected = ByHand(given)
        for n_threads in (1, 2, 3):
            job = make_job(given)
            backend.raw.train_epochs(job, n_threads)
            assert job.step[0] == expected.step
            assert_close(job.params, expected.params, dtype, "epoch")
            assert_close(job.state, expected.slots[: len(job.state)], dtype, "epoch")
            assert_close(job.losses, expected.losses, dtype, "epoch")
            if expected.average is not None:
                assert_close(job.average, expected.average, dtype, "epoch")
            if given.get("validation"):
                assert_close(job.validation_losses, expected.validation_losses, dtype, "epoch")
                assert_close(job.best, expected.best, dtype, "epoch")
                assert_close(job.best_params, expected.best_params, dtype, "epoch")
        return expected

    return check


@pytest.fixture
def weights(rng, dtype):
    """weights(problem): random sample weights."""
    return lambda given: rng.random(len(given["targets"])).astype(dtype)

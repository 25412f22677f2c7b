"""Who trains against whom: one class for each library, all doing the same work.

Same initial weights, same permutations, same batches (the short last one included), Adam at 1e-3, and an L2 term of 1e-4. `run`
times whole epochs: of an estimator a `fit`, of a framework the loop over batches that its documentation teaches. Heavy imports are
inside the classes, so that a name can be asked for its `obstacle` without them.
"""

import time
import warnings
from abc import ABC, abstractmethod
from importlib import metadata, util
from itertools import pairwise

import numpy as np

from . import workloads
from .workloads import ALPHA, LEARNING_RATE

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Contender(ABC):
    """One library on one problem.

    Parameters
    ----------
    configuration : workloads.Configuration
    X, y : ndarray
    n_threads : int
    """

    name = None
    modules = ()  # what must be importable
    takes_sparse = False
    same_order = True  # of the rows as everybody else's
    fit_has_fixed_cost = False  # a run of n epochs also validates and initialises; to be subtracted

    def __init__(self, configuration, X, y, n_threads):
        self.configuration, self.X, self.y, self.n_threads = configuration, X, y, n_threads

    def start(self):
        """(random state, initial layers): where scikit-learn stands before its first epoch with random_state=0."""
        random_state = np.random.RandomState(0)
        return random_state, workloads.initial_layers(self.configuration, random_state)

    def run(self, n_epochs):
        """Train from the start; the seconds that it took, without what was set up before."""
        prepared = self.prepare(n_epochs)
        start = time.perf_counter()
        self.train(prepared, n_epochs)
        return time.perf_counter() - start

    @abstractmethod
    def prepare(self, n_epochs): ...

    @abstractmethod
    def train(self, prepared, n_epochs): ...

    @abstractmethod
    def layers(self):
        """[(weight (n_in, n_out), bias)] after the last run."""

    @classmethod
    def obstacle(cls):
        """Why it cannot run here, or None."""
        missing = [module for module in cls.modules if util.find_spec(module) is None]
        return f"{', '.join(missing)} not installed" if missing else None


class _Estimator(Contender):
    takes_sparse = fit_has_fixed_cost = True

    def prepare(self, n_epochs):
        return self.make(max_iter=n_epochs, tol=0.0, n_iter_no_change=10**9)

    def make(self, **options):
        """An estimator with the problem's sizes."""
        configuration = self.configuration
        common = {"hidden_layer_sizes": configuration.hidden, "batch_size": configuration.batch_size, "random_state": 0}
        return self.estimator_class()(**common, **self.thread_options(), **options)

    def train(self, prepared, n_epochs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge
            self.fitted = prepared.fit(self.X, self.y)

    def layers(self):
        return list(zip(self.fitted.coefs_, self.fitted.intercepts_, strict=True))

    def thread_options(self):
        return {}


class Fastprop(_Estimator):
    """On one thread n_jobs=1, else the default: as many threads as the work is worth."""

    name = "fastprop"

    def estimator_class(self):
        import fastprop

        return fastprop.MLPClassifier

    def thread_options(self):
        return {"n_jobs": 1 if self.n_threads == 1 else None}


class ScikitLearn(_Estimator):
    name = "scikit-learn"
    modules = ("sklearn",)

    def estimator_class(self):
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier


class Sequential(Contender):
    """`nn.Sequential.fit` on a plain stack, whose epochs are compiled. Its optimizer has no L2 term there, which costs nothing."""

    name = "fastprop nn"
    same_order = False
    fit_has_fixed_cost = True
    compiled = True

    def prepare(self, n_epochs):
        from fastprop import nn

        random_state, layers = self.start()
        model = nn.mlp(self.configuration.sizes, init="zeros", dtype=self.X.dtype)
        for layer, (weight, bias) in zip(model, layers, strict=True):
            layer.weight.data[...], layer.bias.data[...] = weight, bias
        loss = nn.BinaryCrossEntropy() if self.configuration.sizes[-1] == 1 else nn.SoftmaxCrossEntropy()
        return model, loss, nn.Adam(model.parameters(), lr=LEARNING_RATE), random_state

    def train(self, prepared, n_epochs):
        self.model, *rules, random_state = prepared
        options = {"random_state": random_state, "compiled": self.compiled, "n_jobs": 1 if self.n_threads == 1 else None}
        targets = self.y.astype(self.X.dtype)[:, None] if self.configuration.sizes[-1] == 1 else self.y
        self.model.fit(self.X, targets, *rules, n_epochs, self.configuration.batch_size, **options)

    def layers(self):
        return [(layer.weight.data, layer.bias.data) for layer in self.model]


class LayerByLayer(Sequential):
    """The same with a call of Python for each layer of each batch."""

    name = "fastprop nn, layer by layer"
    compiled = False


class PyTorch(Contender):
    """Eager, with the fused Adam."""

    name = "PyTorch"
    modules = ("torch",)

    def __init__(self, *problem):
        super().__init__(*problem)
        import torch

        torch.set_num_threads(self.n_threads)
        binary = self.configuration.sizes[-1] == 1
        self.torch, self.rows = torch, torch.from_numpy(self.X)
        self.targets = torch.from_numpy(self.y.astype(self.X.dtype)[:, None] if binary else self.y)
        self.loss = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
        self.model = torch_model(self.configuration.sizes, self.X.dtype)
        self.forward = self.compiled(self.model)

    def compiled(self, model):
        return model

    def prepare(self, n_epochs):
        random_state, layers = self.start()
        load_layers(self.model, layers)
        return random_state, torch_adam(self.model, self.configuration.batch_size)

    def train(self, prepared, n_epochs):
        (random_state, optimizer), n = prepared, len(self.rows)
        order = np.arange(n)
        for _ in range(n_epochs):
            order = order[random_state.permutation(n)]  # they compose, as in scikit-learn
            total = 0.0
            for batch in self.torch.from_numpy(order).split(self.configuration.batch_size):
                loss = self.loss(self.forward(self.rows[batch]), self.targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(batch)
            float(total) / n

    def layers(self):
        linear = [module for module in self.model if hasattr(module, "weight")]
        return [(module.weight.detach().numpy().T, module.bias.detach().numpy()) for module in linear]


class CompiledPyTorch(PyTorch):
    """With ``torch.compile`` on the model."""

    name = "PyTorch compiled"

    def compiled(self, model):
        return self.torch.compile(model)


class Skorch(Contender):
    """skorch's classifier around the same model and optimizer; it draws its own permutations."""

    name = "skorch"
    modules = ("skorch", "torch")
    same_order = False
    fit_has_fixed_cost = True

    def prepare(self, n_epochs):
        import skorch
        import torch

        torch.set_num_threads(self.n_threads)
        _, layers = self.start()
        binary = self.configuration.sizes[-1] == 1
        model = torch_model(self.configuration.sizes, self.X.dtype)
        load_layers(model, layers)
        criterion = torch.nn.BCEWithLogitsLoss if binary else torch.nn.CrossEntropyLoss
        options = {"lr": LEARNING_RATE, "batch_size": self.configuration.batch_size, "max_epochs": n_epochs, "verbose": 0}
        weights = [("*.weight", {"weight_decay": ALPHA / self.configuration.batch_size})]
        return skorch.NeuralNet(
            model,
            criterion,
            optimizer=torch.optim.Adam,
            optimizer__fused=True,
            optimizer__param_groups=weights,
            train_split=None,
            iterator_train__shuffle=True,
            **options,
        )

    def train(self, prepared, n_epochs):
        targets = self.y.astype(self.X.dtype)[:, None] if self.configuration.sizes[-1] == 1 else self.y
        self.model = prepared.fit(self.X, targets).module_

    layers = PyTorch.layers


class Jax(Contender):
    """An epoch is one jitted scan over the full batches and a step for the short last one."""

    name = "JAX"
    modules = ("jax", "jaxlib")

    def __init__(self, *problem):
        super().__init__(*problem)
        import jax

        jax.config.update("jax_enable_x64", True)  # otherwise float64 becomes float32
        self.jax, self.epoch = jax, jax.jit(jax_epoch(self.configuration), donate_argnums=(0, 1))
        self.rows, self.targets = jax.device_put(self.X), jax.device_put(self.y.astype(np.int32))

    def prepare(self, n_epochs):
        random_state, layers = self.start()
        to_device = self.jax.device_put
        params = [tuple(to_device(array.astype(self.X.dtype)) for array in layer) for layer in layers]
        zeros = [self.jax.tree.map(self.jax.numpy.zeros_like, params) for _ in range(2)]
        return random_state, params, (*zeros, self.jax.numpy.zeros((), self.X.dtype))

    def train(self, prepared, n_epochs):
        random_state, params, state = prepared
        order = np.arange(len(self.X), dtype=np.int32)
        for _ in range(n_epochs):
            order = order[random_state.permutation(len(order))]
            params, state, loss = self.epoch(params, state, self.rows, self.targets, order)
            float(loss)
        self.params = params

    def layers(self):
        return self.jax.tree.map(np.asarray, self.params)


def torch_model(sizes, dtype):
    """A plain stack of layers with ReLU; no last link, which the loss has."""
    import torch

    dtype = getattr(torch, np.dtype(dtype).name)
    modules = []
    for n_in, n_out in pairwise(sizes):
        modules += [torch.nn.Linear(n_in, n_out, dtype=dtype), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def load_layers(model, layers):
    import torch

    linear = [module for module in model if hasattr(module, "weight")]
    with torch.no_grad():
        for module, (weight, bias) in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
            module.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))


def torch_adam(model, batch_size):
    import torch

    weights = [param for param in model.parameters() if param.ndim == 2]
    biases = [param for param in model.parameters() if param.ndim == 1]
    groups = [{"params": weights, "weight_decay": ALPHA / batch_size}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.Adam(groups, lr=LEARNING_RATE, fused=True)


def jax_epoch(configuration):
    """epoch(params, (m, v, t), X, y, order) -> (params, state, mean loss)."""
    import jax
    import jax.numpy as jnp

    batch, binary = configuration.batch_size, configuration.sizes[-1] == 1

    def loss_of(params, x, y):
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        logits = x @ params[-1][0] + params[-1][1]
        if binary:
            return jnp.mean(jnp.logaddexp(0, logits[:, 0]) - y * logits[:, 0])
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))

    def penalised(params, x, y):
        return loss_of(params, x, y) + ALPHA / 2 / len(x) * sum(jnp.sum(weight**2) for weight, _ in params)

    def step(carry, rows, X, y):
        params, (m, v, t) = carry
        loss, grads = jax.value_and_grad(penalised)(params, X[rows], y[rows])
        t = t + 1
        lr = LEARNING_RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, grads)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, grads)
        params = jax.tree.map(lambda p, m, v: p - lr * m / (jnp.sqrt(v) + EPSILON), params, m, v)
        return (params, (m, v, t)), loss * len(rows)

    def epoch(params, state, X, y, order):
        n_full = len(order) // batch * batch
        carry, losses = jax.lax.scan(lambda c, rows: step(c, rows, X, y), (params, state), order[:n_full].reshape(-1, batch))
        total = jnp.sum(losses)
        if n_full < len(order):
            carry, loss = step(carry, order[n_full:], X, y)
            total += loss
        return *carry, total / len(order)

    return epoch


CONTENDERS = {each.name: each for each in (Fastprop, ScikitLearn, PyTorch, Jax, Skorch, CompiledPyTorch, Sequential, LayerByLayer)}
# What the table of epochs compares: the others are slow to warm up, or slower.
TABLE = ("fastprop", "scikit-learn", "PyTorch", "JAX")
ESTIMATORS = ("fastprop", "scikit-learn")
NN = ("fastprop", "fastprop nn", "fastprop nn, layer by layer", "scikit-learn")


COMPUTING = ("numpy", "scipy", "scikit-learn", "numba", "torch", "jax", "skorch", "onnxruntime")
ON_TABLES = ("pandas", "lightgbm", "xgboost", "xgboost-cpu", "catboost", "pytabkit")


def versions():
    """What is installed of everything that is compared or computes, as a dict."""
    found = {}
    for name in (*COMPUTING, *ON_TABLES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

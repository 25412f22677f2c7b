"""What is measured: the seven configurations, real data, and how much work they are."""

import os
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

ALPHA, LEARNING_RATE = 1e-4, 1e-3  # scikit-learn's defaults


class Configuration(NamedTuple):
    """A network with ReLU and the shape of its data."""

    name: str
    n_samples: int
    n_features: int
    n_classes: int
    hidden: tuple
    batch_size: int

    @property
    def sizes(self):
        """Of all layers. Two classes are one logistic output, as in scikit-learn."""
        return [self.n_features, *self.hidden, self.n_classes if self.n_classes > 2 else 1]

    @property
    def n_batches(self):
        return -(-self.n_samples // self.batch_size)

    @property
    def n_weights(self):
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def flops(self):
        """Of an epoch: 2 n K N for each of a layer's products: forward, weight gradient, and but for the first, input gradient."""
        return 2 * self.n_samples * (3 * self.n_weights - self.sizes[0] * self.sizes[1])


CONFIGURATIONS = {
    configuration.name: configuration
    for configuration in (
        Configuration("iris-like", 150, 4, 3, (100,), 150),
        Configuration("digits", 1797, 64, 10, (100,), 200),
        Configuration("tabular-small", 10_000, 20, 2, (100,), 200),
        Configuration("tabular-deep", 20_000, 50, 5, (128, 64), 200),
        Configuration("mnist", 20_000, 784, 10, (128,), 200),
        Configuration("mnist-deep", 20_000, 784, 10, (512, 256), 256),
        Configuration("wide", 10_000, 256, 10, (1024, 1024), 512),
    )
}


def random_data(configuration, dtype):
    """(X, y): standard normal features, classes drawn uniformly."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((configuration.n_samples, configuration.n_features)).astype(dtype)
    return X, rng.integers(configuration.n_classes, size=configuration.n_samples)


def initial_layers(configuration, random_state):
    """[(weight, bias)] in float64, drawn as scikit-learn's estimators draw them from the same random state."""
    layers = []
    for n_in, n_out in pairwise(configuration.sizes):
        bound = np.sqrt(6 / (n_in + n_out))
        layers.append((random_state.uniform(-bound, bound, (n_in, n_out)), random_state.uniform(-bound, bound, n_out)))
    return layers


def logits_of(layers, X):
    """Of a ReLU network, in float64."""
    a = np.asarray(X, np.float64)
    for i, (weight, bias) in enumerate(layers):
        a = a @ np.asarray(weight, np.float64) + np.asarray(bias, np.float64)
        if i < len(layers) - 1:
            a = np.maximum(a, 0)
    return a


def probabilities_of(layers, X):
    """(n, n_classes), of softmax in float64; of a single output, of its sigmoid."""
    logits = logits_of(layers, X)
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_of(layers, X, y):
    """The mean cross-entropy in nats."""
    return -np.log(probabilities_of(layers, X)[np.arange(len(y)), y]).mean()


# Real data


def digits(dtype):
    """(X, y) of scikit-learn's digits, scaled to [0, 1]."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(dtype), y


def mnist_source():
    """Where `mnist` takes its images from, in words.

    From the file that ``FASTPROP_BENCH_MNIST`` names, an .npz with X and y; with its value "openml", or where scikit-learn has
    cached OpenML's data, from there; else they are synthetic.
    """
    from sklearn.datasets import get_data_home

    where = os.environ.get("FASTPROP_BENCH_MNIST", "")
    if where and where != "openml":
        return f"MNIST from {Path(where).name}"
    if where == "openml" or Path(get_data_home(), "openml", "openml.org").exists():
        return "MNIST from OpenML"
    return "synthetic images"


def mnist(dtype):
    """(X, y): 70,000 images of 28 x 28 in [0, 1]; synthetic ones are noise, four fifths of it zero, as in MNIST."""
    from sklearn.datasets import fetch_openml

    source = mnist_source()
    if source == "MNIST from OpenML":
        X, y = fetch_openml("mnist_784", return_X_y=True, as_frame=False)
        return (X / 255).astype(dtype), y.astype(np.intp)
    if source != "synthetic images":
        with np.load(os.environ["FASTPROP_BENCH_MNIST"]) as arrays:
            return (arrays["X"].reshape(len(arrays["y"]), -1) / 255).astype(dtype), arrays["y"].astype(np.intp)
    rng = np.random.default_rng(0)
    X = rng.random((70_000, 784), np.float32)
    X *= rng.random(X.shape, np.float32) < 0.2
    return X.astype(dtype, copy=False), rng.integers(10, size=len(X))


def quality_sets():
    """{name: (X, y)} in float32: the digits, and where there are real ones 10,000 images of `mnist`."""
    sets = {"digits": digits("float32")}
    if mnist_source() != "synthetic images":
        X, y = mnist("float32")
        sets["MNIST"] = X[:10_000], y[:10_000]
    return sets


def splits(n, seeds):
    """(seed, four fifths of n rows to train on, the others) for each seed."""
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(n)
        yield seed, order[: n * 4 // 5], order[n * 4 // 5 :]


def word_counts(dtype, n_documents=700, n_words=10_000, density=0.02, n_classes=20):
    """(X, y): sparse counts; every class has some words that its documents have more often; frequencies fall as 1 / rank."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n_documents)
    frequency = 1 / np.arange(10, n_words + 10)
    topics = rng.permuted(np.tile(frequency, (n_classes, 1)), axis=1) + frequency
    topics /= topics.sum(axis=1, keepdims=True)
    words = np.stack([rng.choice(n_words, int(density * n_words), replace=False, p=topics[c]) for c in y])
    starts = np.arange(0, words.size + 1, words.shape[1])
    X = sp.csr_matrix((1 + rng.poisson(0.5, words.size), np.sort(words).ravel(), starts), shape=(n_documents, n_words))
    return X.astype(dtype), y


def problem_named(name, dtype):
    """(configuration, X, y): one of the seven configurations, or a data set."""
    if name in CONFIGURATIONS:
        configuration = CONFIGURATIONS[name]
        return configuration, *random_data(configuration, dtype)
    hidden = (128,) if name == "MNIST data" else (100,)
    X, y = {"digits data": digits, "MNIST data": mnist, "word counts": word_counts}[name](dtype)
    return Configuration(name, *X.shape, int(y.max()) + 1, hidden, 200), X, y

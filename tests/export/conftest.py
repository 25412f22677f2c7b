"""What the tests of exported files share: fitted models of every kind with rows for them, and the compiler."""

import ctypes
import functools
import re
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor
from fastprop.preprocessing import TabularEncoder

STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
SMALL = {"n_members": 3, "n_bins": (2, 5), "max_iter": 2, "hidden_layer_sizes": (8, 6), "min_frequency": 3, "random_state": 0}
ACTIVATIONS = ["identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus"]
LOSSES = {
    "squared_error": {},
    "poisson": {},
    "gamma": {},
    "tweedie": {},
    "absolute_error": {},
    "huber": {},
    "quantile": {"quantile": 0.3},
    "quantiles": {"loss": "quantile", "quantile": [0.9, 0.1, 0.5]},
}
LABELS = {
    "two": np.array([3, -1]),
    "three": np.array([5, 2**40, 7]),
    "one": np.array([4]),
    "floats": np.array([0.0, 4.0, 1.0]),
    "booleans": np.array([True, False]),
    "strings": np.array(["b", "aa", '*/ö??/1\n\\" /*']),
}


def rows(n=60, n_features=6, dtype=np.float32):
    """X with features of several sizes."""
    return (np.random.default_rng(0).normal(size=(n, n_features)) * [1, 0.1, 3, 1, 1, 2]).astype(dtype)


def signal_of(X):
    return X[:, 0] + np.tanh(X[:, 3]) - 0.3 * X[:, 2] * X[:, 4]


def table(n=80):
    """Columns of numbers, categories as numbers, few and many, with gaps; the fifth is always the same."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 7)) * [1, 1e6, 1e-9, 1, 1, 1, 1] + [0, 1e9, 0, 0, 0, 0, 0]
    X[:, 3], X[:, 4], X[:, 5], X[:, 6] = np.arange(n) % 4, 1, np.arange(n) % 2 - 3, np.minimum(np.arange(n) % 29, 5) / 4
    X[::7, 0], X[1::9, 3] = np.nan, np.nan
    return X


def later(X):
    """The table with what it does not have: gaps elsewhere, new categories, numbers far outside."""
    X = X.copy()
    X[:20, 1], X[20:25, 3], X[25:30, 5], X[30:35, 6], X[35:40, 3] = np.nan, 9, np.nan, 77.5, np.nan
    X[40:44, 0], X[44:48, 2] = [1e300, -1e300, 1e-300, 0], [-1e300, 1e300, 0, 1e-3]
    return X


CATEGORIES = {"categorical_features": [3, 5, 6]}


def mlp(y, X=None, front=(), **parameters):
    X = rows() if X is None else X
    make = MLPClassifier if y.dtype.kind in "biU" or set(y.flat) == set(LABELS["floats"]) else MLPRegressor
    options = {"hidden_layer_sizes": (6, 5), "max_iter": 3, "random_state": 0} | parameters
    return make_pipeline(*front, make(**options)).fit(X, y), X


def classes(kind, X=None):
    labels = LABELS[kind]
    X = rows() if X is None else X
    order = np.argsort(np.argsort(signal_of(np.nan_to_num(X))))
    return labels[order * len(labels) // len(X)]


def tabular(y, make, **parameters):
    return make(**SMALL | CATEGORIES | parameters).fit(table(), y), later(table())


def _targets(n_outputs=1):
    y = np.exp(signal_of(rows()))
    return y if n_outputs == 1 else np.stack([y, 5 - 2 * y], axis=1)


def _cases():
    for name in ACTIVATIONS:
        yield name, lambda name=name: mlp(_targets(), activation=name)
        yield f"{name} in float64", lambda name=name: mlp(classes("three"), rows(dtype=np.float64), activation=name)
    for norm in ("batch", "layer"):
        activation = ["gelu", "tanh"]
        yield f"{norm} norm", lambda norm=norm, a=activation: mlp(classes("three"), normalization=norm, activation=a, dropout=0.2)
    for name, parameters in LOSSES.items():
        yield name, lambda p={"loss": name} | parameters: mlp(_targets(), **p)
    yield "averaged weights", lambda: mlp(_targets(2), ema_decay=0.9, solver="adamw")
    for kind in LABELS:
        yield f"labels: {kind}", lambda kind=kind: mlp(classes(kind), hidden_layer_sizes=4)
    yield "several labels", lambda: mlp((rows()[:, :3] > 0).astype(int))
    yield "no hidden layer", lambda: mlp(classes("three"), hidden_layer_sizes=())
    yield "three hidden layers", lambda: mlp(_targets(2), hidden_layer_sizes=(3, 9, 2))
    far = rows() * np.float32([1, 1, 1, 100, 1, 1]) + np.float32([1000, 0, 0, 0, -50, 0])
    yield "scaler", lambda: mlp(classes("two"), far, [StandardScaler()])
    yield (
        "two scalers",
        lambda: mlp(_targets(), far, [StandardScaler(with_mean=False), "passthrough", StandardScaler(with_std=False)]),
    )
    encoder = TabularEncoder(n_bins=3, min_frequency=3, **CATEGORIES)
    yield "encoder", lambda: (mlp(np.arange(80) % 3, table(), [encoder])[0], later(table()))
    yield "encoder and scaler", lambda: (mlp(np.sin(np.arange(80)), table(), [encoder, StandardScaler()])[0], later(table()))
    for kind in ("two", "three", "one"):
        yield f"table: {kind}", lambda kind=kind: tabular(classes(kind, table()), TabularClassifier)
    y = np.sin(np.arange(80))
    yield "table: one output", lambda: tabular(1e9 + y, TabularRegressor)
    yield "table: two outputs", lambda: tabular(np.stack([1e300 * y, y], axis=1), TabularRegressor)
    yield "table: gamma", lambda: tabular(y + 2, TabularRegressor, loss="gamma")
    yield "table: standard", lambda: tabular(y, TabularRegressor, numeric_encoding="standard")


CASES = dict(_cases())


@functools.cache
def fitted(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return CASES[case]()


@pytest.fixture(params=CASES)
def case(request):
    """(a fitted model, rows to predict) of every kind."""
    return fitted(request.param)


@pytest.fixture(params=[name for name in CASES if not name.endswith("in float64")])
def float_case(request):
    """The same without those whose weights are only the same in another dtype."""
    return fitted(request.param)


@pytest.fixture(scope="session")
def make_case():
    """make_case(name) -> (a fitted model, rows to predict)."""
    return fitted


class Compiled:
    """A C file in a shared library: its functions, called row by row."""

    def __init__(self, text, library, name="model"):
        self.text, self.name, self.library = text, name, ctypes.CDLL(str(library))

    def __call__(self, function, X, dtype=None):
        """What a function says of each row; dtype is that of its ``out`` if it returns nothing."""
        match = re.search(rf"^(\w+) {self.name}_{function}\(const (\w+) \*x(?:, (\w+) \*out)?\);$", self.text, re.MULTILINE)
        types = {"float": np.float32, "double": np.float64, "int": np.int32}
        X = np.ascontiguousarray(X, types[match[2]])
        call = getattr(self.library, f"{self.name}_{function}")
        call.argtypes = [ctypes.c_void_p] * (2 if match[3] else 1)
        if match[3] is None:
            return np.array([call(row.ctypes.data) for row in X])
        call.restype = None
        out = np.full((len(X), self.width), -9, types[match[3]])
        for row, place in zip(X, out, strict=True):
            call(row.ctypes.data, place.ctypes.data)
        return out


@pytest.fixture(scope="session")
def compiler():
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler: cc")
    return found


@pytest.fixture
def compiled(compiler, tmp_path):
    """compiled(text, width, name="model") -> Compiled, where ``width`` is how many numbers a function writes."""

    def compile_(text, width, name="model"):
        source, library = tmp_path / f"{name}.c", tmp_path / f"{name}{len(list(tmp_path.iterdir()))}.so"
        source.write_text(text)
        command = [compiler, *STRICT, "-O0", "-fPIC", "-shared", "-o", str(library), str(source), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        made = Compiled(text, library, name)
        made.width = width
        return made

    return compile_

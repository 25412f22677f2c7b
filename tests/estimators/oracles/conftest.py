"""What the oracles share: small data, estimators that train for all their epochs, and what every oracle begins with, which are
scikit-learn's initial weights and orders of the rows."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split
from sklearn.utils import shuffle

from fastprop import MLPClassifier, MLPRegressor, kernels
from fastprop.kernels import dispatch

N, N_FEATURES, SEED = 45, 4, 3
CLASSES = ("binary", "multiclass", "multilabel")
COMMON = {
    "hidden_layer_sizes": (6, 5),
    "activation": "tanh",
    "batch_size": 8,
    "max_iter": 20,
    "learning_rate_init": 0.02,
    "tol": 0.0,
    "n_iter_no_change": np.inf,
    "random_state": SEED,
}
TOLERANCE = 1e-9  # relative to the largest weight


@pytest.fixture
def problem(data):
    """problem(target) -> X (45, 4) and y; a "positive" target for losses that need one."""

    def make(target):
        X, y = data("one output" if target == "positive" else target, n_samples=N, n_features=N_FEATURES)
        return X, np.exp(y) if target == "positive" else y

    return make


@pytest.fixture(scope="session")
def make():
    """make(target, **parameters) -> an estimator for a kind of target."""

    def make(target, **parameters):
        return (MLPClassifier if target in CLASSES else MLPRegressor)(**COMMON | parameters)

    return make


# Numba compiles for minutes what these tests call.
@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.nightly] if name == "numba" else []) for name in dispatch.BACKENDS])
def back_end(request, monkeypatch):
    """Every back end in turn, as the one that runs; what cannot run here is skipped with the reason."""
    try:
        loaded = kernels.load(request.param)
    except ImportError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(kernels.active, "raw", loaded.raw)
    return request.param


class Start:
    """Initial weights and orders of the rows of an estimator that was fitted with the seed of `COMMON`, drawn again."""

    def __init__(self, estimator, n_rows):
        self._estimator, self._rows, self._stream = estimator, np.arange(n_rows), np.random.RandomState(SEED)
        sizes = [estimator.n_features_in_, *estimator.hidden_layer_sizes, estimator.n_outputs_]
        activations = estimator.activation
        names = [activations] * (len(sizes) - 1) if isinstance(activations, str) else [*activations, activations[-1]]
        self.coefs, self.intercepts = [], []
        for n_in, n_out, name in zip(sizes[:-1], sizes[1:], names, strict=True):
            bound = np.sqrt((2 if name == "logistic" else 6) / (n_in + n_out))
            self.coefs.append(self._stream.uniform(-bound, bound, (n_in, n_out)))
            self.intercepts.append(self._stream.uniform(-bound, bound, n_out))
        if np.any(estimator.dropout):
            self.seeds = self._stream.randint(2**31 - 1, size=len(sizes) - 2).tolist()

    def held_out(self, stratify):
        """The rows that early stopping judges by."""
        options = {"test_size": self._estimator.validation_fraction, "random_state": self._stream, "stratify": stratify}
        return train_test_split(self._rows, **options)[1]

    def batches(self):
        """The rows of each mini-batch of all epochs: a list of lists."""
        size, epochs = self._estimator.batch_size, []
        for _ in range(self._estimator.max_iter):
            if self._estimator.shuffle:
                self._rows = shuffle(self._rows, random_state=self._stream)
            parts = [self._rows[start : start + size] for start in range(0, len(self._rows), size)]
            leaves_out = self._estimator.normalization == "batch" and len(parts[-1]) == 1
            epochs.append(parts[:-1] if leaves_out else parts)
        return epochs


@pytest.fixture(scope="session")
def start():
    """start(estimator, n_rows) -> its `Start`."""
    return Start


@pytest.fixture(scope="session")
def targets_of():
    """targets_of(estimator, y) -> the targets as floats (n, n_outputs): of classes the probabilities 0 and 1."""

    def targets_of(estimator, y):
        if not hasattr(estimator, "classes_"):
            quantiles = np.shape(estimator.quantile)
            return np.repeat(y[:, None], *quantiles, axis=1) if quantiles else y.reshape(len(y), -1)
        if y.ndim == 2:
            return y.astype(float)
        indicators = (y[:, None] == np.unique(y)).astype(float)
        return indicators[:, 1:] if indicators.shape[1] == 2 else indicators

    return targets_of


@pytest.fixture(scope="session")
def masks_of():
    """masks_of(rates, seeds, update, n_rows, sizes) -> for each hidden layer what dropout multiplies it with in an update."""
    reference = kernels.load("reference")

    def masks_of(rates, seeds, update, n_rows, sizes):
        each = zip(np.broadcast_to(rates, len(sizes)).tolist(), seeds, sizes, strict=True)
        return [reference.dropout_forward(np.ones((n_rows, size)), rate, seed, update) for rate, seed, size in each]

    return masks_of


def _assert_learnt(estimator, expected, tolerance=TOLERANCE):
    scale = max(np.abs(weight).max() for weight in expected["coefs_"])
    for name, arrays in expected.items():
        ours = getattr(estimator, name)
        assert [np.shape(array) for array in ours] == [np.shape(array) for array in arrays], name
        for one, other in zip(ours, arrays, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.fixture(scope="session")
def assert_learnt():
    """assert_learnt(estimator, expected, tolerance): attributes as in a dict of lists of arrays, relative to the largest weight."""
    return _assert_learnt


ARRAYS = ("coefs_", "intercepts_", "norm_weights_", "norm_biases_", "running_means_", "running_vars_")


@pytest.fixture(scope="session")
def learnt():
    """learnt(estimator) -> copies of the arrays that it has learnt, by name of attribute."""
    return lambda estimator: {name: [a.copy() for a in getattr(estimator, name)] for name in ARRAYS if hasattr(estimator, name)}

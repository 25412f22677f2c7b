"""The estimators' gradients against central differences of the loss, with activations, norms and losses written in NumPy.

A step of plain gradient descent over all rows says what the gradient was: the difference of the weights by the learning rate.
"""

import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax, ndtr, softmax, xlogy

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

TOLERANCE = 1e-6  # relative to the largest element of the gradient
STEP, RATE = 1e-4, 1e-2
ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: z * ndtr(z),
    "silu": lambda z: z * expit(z),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
    "softplus": lambda z: np.logaddexp(0, z),
}
LINKS = {"softmax": lambda z: softmax(z, axis=1), "logistic": expit, "identity": lambda z: z, "exp": np.exp}
DELTA, POWER, LEVELS = 0.3, 1.3, (0.9, 0.1, 0.5)


def huber(z, y):
    d = np.abs(z - y)
    return np.where(d <= DELTA, d**2 / 2, DELTA * (d - DELTA / 2))


def tweedie(z, y):
    mean, p = np.exp(z), POWER
    return y ** (2 - p) / ((1 - p) * (2 - p)) - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)


def quantile(z, y):
    levels = np.array(LEVELS)[: z.shape[1]]
    return np.maximum(levels * (y - z), (levels - 1) * (y - z))


# Of logits and targets; a row's loss is the sum of its outputs'.
LOSSES = {
    "softmax": lambda z, y: -y * log_softmax(z, axis=1),
    "logistic": lambda z, y: -y * log_expit(z) - (1 - y) * log_expit(-z),
    "squared_error": lambda z, y: (z - y) ** 2 / 2,
    "absolute_error": lambda z, y: np.abs(z - y),
    "huber": huber,
    "quantile": quantile,
    "poisson": lambda z, y: xlogy(y, y) - y * z - y + np.exp(z),
    "gamma": lambda z, y: y * np.exp(-z) + z - np.log(y) - 1,
    "tweedie": tweedie,
}


class ByHand:
    """The network of an estimator and its loss, as functions of the arrays that it has learnt, by name of attribute."""

    def __init__(self, estimator, y, weight=None, masks=None):
        self.estimator, self.y, self.masks = estimator, y, masks
        self.weight = np.ones(len(y)) if weight is None else weight
        is_one = isinstance(estimator.activation, str)
        self.activations = [estimator.activation] * (estimator.n_layers_ - 2) if is_one else estimator.activation

    def logits(self, arrays, x, training=False):
        for i, name in enumerate(self.activations):
            x = x @ arrays["coefs_"][i] + arrays["intercepts_"][i]
            if self.estimator.normalization is not None:
                mean, variance = self._moments(arrays, i, x, training)
                x = (x - mean) / np.sqrt(variance + 1e-5) * arrays["norm_weights_"][i] + arrays["norm_biases_"][i]
            x = ACTIVATIONS[name](x)
            if training and self.masks is not None:
                x = x * self.masks[i]
        return x @ arrays["coefs_"][-1] + arrays["intercepts_"][-1]

    def _moments(self, arrays, i, x, training):
        if self.estimator.normalization == "layer":
            return x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        return (x.mean(axis=0), x.var(axis=0)) if training else (arrays["running_means_"][i], arrays["running_vars_"][i])

    def mean_loss(self, arrays, x, training=False):
        """The weighted mean of the rows' losses; in training of smoothed targets."""
        name = self.estimator.out_activation_ if hasattr(self.estimator, "classes_") else self.estimator.loss
        y, smoothing = self.y, getattr(self.estimator, "label_smoothing", 0) if training else 0
        n_classes = y.shape[1] if name == "softmax" else 2
        if smoothing:
            y = (1 - smoothing) * y + smoothing / n_classes
        return self.weight @ LOSSES[name](self.logits(arrays, x, training), y).sum(axis=1) / self.weight.sum()

    def objective(self, arrays, x):
        """What a step of training makes smaller."""
        penalty = self.estimator.alpha / 2 * sum((weight**2).sum() for weight in arrays["coefs_"])
        return self.mean_loss(arrays, x, training=True) + penalty / self.weight.sum()


def gradients(function, arrays):
    """The central differences of a function of some arrays, which it reads, by each of their elements."""
    found = {name: [np.empty_like(array) for array in each] for name, each in arrays.items()}
    for name, each in arrays.items():
        for array, gradient in zip(each, found[name], strict=True):
            for index, value in np.ndenumerate(array):
                values = []
                for k in (1, -1):
                    array[index] = value + k * STEP
                    values.append(function())
                array[index] = value
                gradient[index] = (values[0] - values[1]) / (2 * STEP)
    return found


def flat(arrays):
    return np.concatenate([array.ravel() for each in arrays.values() for array in each])


@pytest.fixture
def check(problem, make, targets_of, masks_of, learnt):
    """check(target, sample_weight, class_weight, **parameters): the step of the fourth epoch follows the gradient, and its loss is
    the mean loss of before."""

    def check(target, sample_weight=None, class_weight=None, **parameters):
        X, y = problem(target)
        plain = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "alpha": 0.3, "learning_rate_init": 0.1}
        options = {"batch_size": len(X), "shuffle": False, "warm_start": True, "max_iter": 3}
        options |= {} if class_weight is None else {"class_weight": class_weight}
        estimator = make(target, **plain | options | parameters).fit(X, y, sample_weight)
        before = learnt(estimator)
        estimator.set_params(max_iter=1, learning_rate_init=RATE).fit(X, y, sample_weight)
        after, masks = learnt(estimator), None
        if kept := estimator._optimizer.masks:
            masks = masks_of(estimator.dropout, kept.seeds, kept.n_updates + 1, len(X), estimator.hidden_layer_sizes)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        if class_weight is not None:
            weight = weight * np.array([class_weight[label] for label in y.tolist()])
        by_hand = ByHand(estimator, targets_of(estimator, y), weight, masks)
        own = {name: arrays for name, arrays in before.items() if "running" not in name}
        expected = gradients(lambda: by_hand.objective(before, X), own)
        loss = by_hand.objective(before, X)
        _compare(estimator, own, {name: after[name] for name in own}, expected)
        if target != "two outputs" or estimator.loss != "squared_error":  # whose reported loss is the mean of the outputs
            assert estimator.loss_ == pytest.approx(loss, rel=1e-9)
        return by_hand, after, X

    return check


def _compare(estimator, before, after, gradient):
    norm = np.linalg.norm(flat(gradient))
    factor = 1 if estimator.clip_norm is None else min(1, estimator.clip_norm / (norm + 1e-6))
    decayed = {name: [(1 - RATE * estimator.weight_decay * (name == "coefs_")) * a for a in each] for name, each in before.items()}
    found, expected = (flat(decayed) - flat(after)) / RATE, factor * flat(gradient)
    assert norm > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(check, activation):
    check("two outputs", activation=activation)


def test_an_activation_for_each_layer(check):
    check("multiclass", activation=("gelu", "selu", "softplus"), hidden_layer_sizes=(6, 5, 4))


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("target", ["binary", "two outputs"])
def test_norms(check, target, normalization):
    check(target, normalization=normalization, activation=("mish", "tanh"))


LOSS_CASES = {
    "squared_error": ("one output", {}),
    "absolute_error": ("two outputs", {}),
    "huber": ("two outputs", {"huber_delta": DELTA}),
    "quantile": ("one output", {"quantile": LEVELS[0]}),
    "quantiles": ("one output", {"loss": "quantile", "quantile": LEVELS}),
    "poisson": ("poisson", {}),
    "gamma": ("positive", {}),
    "tweedie": ("poisson", {"tweedie_power": POWER}),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", LOSS_CASES)
def test_losses(check, loss, weighted):
    target, parameters = LOSS_CASES[loss]
    weight = np.random.default_rng(2).uniform(0, 2, 45) if weighted else None
    check(target, weight, **{"loss": loss} | parameters)


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_label_smoothing(check, target):
    check(target, label_smoothing=0.3)


@pytest.mark.parametrize("target", ["binary", "multiclass"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights(check, problem, target, smoothing):
    classes = np.unique(problem(target)[1]).tolist()
    class_weight = dict(zip(classes, (0.5, 3.0, 1.0, 2.0), strict=False))
    check(target, np.linspace(0.5, 2, 45), class_weight, label_smoothing=smoothing)


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_dropout(check, normalization):
    check("multiclass", dropout=(0.2, 0.5), normalization=normalization)


@pytest.mark.parametrize("clip_norm", [0.02, 100.0], ids=["clipped", "not clipped"])
def test_clipping_and_decay(check, clip_norm):
    check("multiclass", clip_norm=clip_norm, weight_decay=0.7, normalization="layer")


def test_all_at_once(check):
    check(
        "multilabel",
        np.linspace(0.5, 2, 45),
        activation=("gelu", "silu"),
        normalization="batch",
        dropout=0.3,
        label_smoothing=0.1,
        clip_norm=0.05,
        weight_decay=0.2,
    )


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("case", [*LOSS_CASES, "binary", "multiclass", "multilabel"])
def test_predictions_and_validation_losses(check, problem, make, targets_of, learnt, case, normalization):
    """Of the plain network, with the running statistics, also where training drops units and smooths labels."""
    target, parameters = LOSS_CASES.get(case, (case, {"label_smoothing": 0.2}))
    X, y = problem(target)
    loss = {"loss": case} if case in LOSS_CASES else {}
    options = {"normalization": normalization, "dropout": 0.4, "max_iter": 5}
    weight = np.linspace(0.5, 2, 20)
    estimator = make(target, **options | loss | parameters).fit(X, y, X_val=X[:20], y_val=y[:20], sample_weight_val=weight)
    by_hand, arrays = ByHand(estimator, targets_of(estimator, y)[:20], weight), learnt(estimator)
    assert estimator.validation_loss_curve_[-1] == pytest.approx(by_hand.mean_loss(arrays, X[:20]), rel=1e-9)
    expected = LINKS[estimator.out_activation_](by_hand.logits(arrays, X))
    if case == "quantiles":  # they must not cross
        expected = np.sort(expected)[:, [2, 0, 1]]
    predicted = getattr(estimator, "predict_proba", estimator.predict)(X)
    predicted = predicted[:, 1:] if case == "binary" else predicted
    np.testing.assert_allclose(predicted.reshape(expected.shape), expected, rtol=1e-9)

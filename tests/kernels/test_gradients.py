"""Gradients against fourth-order central differences and, where torch is installed, against its automatic ones, in float64."""

from itertools import count, product

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels.spec import ACTIVATIONS, LOSSES

LIMIT = 1e-8  # relative to the largest component
# (loss, activation, hidden): every activation at every depth, and every loss three times, as it does not depend on the others.
NETWORKS = [
    (list(LOSSES)[(i + i // len(LOSSES)) % len(LOSSES)], *network)
    for i, network in enumerate(product(ACTIVATIONS, [(), (4,), (4, 3, 5)]))
]
# By name, for the kernels of losses
HYPER = {"huber": {"delta": 0.7}, "quantile": {"quantile": 0.3}, "tweedie": {"power": 1.3}}


@pytest.fixture
def dtype():
    return np.dtype(np.float64)


def numeric_gradient(function, at, h=1e-3):
    """f' = (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12h + O(h^4), component by component (Abramowitz and Stegun, 25.3.6)."""
    at = at.copy()
    gradient = np.empty_like(at)
    for where in np.ndindex(at.shape):
        value, total = at[where], 0.0
        for steps, coefficient in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            at[where] = value + steps * h
            total += coefficient * function(at)
        gradient[where], at[where] = total / (12 * h), value
    return gradient


def assert_gradient(actual, numeric):
    assert actual.shape == numeric.shape
    assert np.abs(actual - numeric).max() <= LIMIT * np.abs(numeric).max()
    off = actual.copy()
    off.flat[0] += 10 * LIMIT * np.abs(numeric).max()
    assert not np.abs(off - numeric).max() <= LIMIT * np.abs(numeric).max()  # the twin


def away_from_kinks(make, pre_activations):
    """The first draw whose pre-activations are all further from the kink of relu than the differences reach."""
    for seed in count():
        made = make(np.random.default_rng(seed))
        if np.abs(pre_activations(made)).min() > 0.02:
            return made


def test_linear_backward(backend, remembered, activation):
    def make(rng):
        return [rng.standard_normal(shape) for shape in ((4, 5), (5, 3), (3,), (4, 3))]

    x, weight, bias, da = away_from_kinks(make, lambda made: made[0] @ made[1] + made[2])

    def value(x, weight, bias):
        return float((da * backend.linear_forward(x, weight, bias, activation)).sum())

    z, a = (backend.linear_forward(x, weight, bias, name) for name in ("identity", activation))
    dx, dweight, dbias = backend.linear_backward(da, x, weight, remembered(activation, z, a), activation)
    assert_gradient(dx, numeric_gradient(lambda v: value(v, weight, bias), x))
    assert_gradient(dweight, numeric_gradient(lambda v: value(x, v, bias), weight))
    assert_gradient(dbias, numeric_gradient(lambda v: value(x, weight, v), bias))


def test_activation_backward(backend, remembered, activation):
    z, da = away_from_kinks(lambda rng: list(rng.standard_normal((2, 4, 5))), lambda made: made[0])
    numeric = numeric_gradient(lambda v: float((da * backend.activation_forward(v, activation)).sum()), z)
    a = backend.activation_forward(z, activation)
    assert_gradient(backend.activation_backward(da, remembered(activation, z, a), activation), numeric)


def test_dropout_backward(backend, draw):
    x, dy = draw(4, 7), draw(4, 7)
    numeric = numeric_gradient(lambda v: float((dy * backend.dropout_forward(v, 0.3, 1, 2)).sum()), x)
    assert_gradient(backend.dropout_backward(dy, 0.3, 1, 2), numeric)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_norm_backward(backend, draw, norm):
    forward, backward = getattr(backend, f"{norm}_norm_forward"), getattr(backend, f"{norm}_norm_backward")
    x, dy, gamma, beta = 2 * draw(5, 4), draw(5, 4), draw(4), draw(4)

    def value(x, gamma, beta):
        return float((dy * forward(x, gamma, beta, 0.1)[0]).sum())

    dx, dgamma, dbeta = backward(dy, x, gamma, *forward(x, gamma, beta, 0.1)[1:])
    assert_gradient(dx, numeric_gradient(lambda v: value(v, gamma, beta), x))
    assert_gradient(dgamma, numeric_gradient(lambda v: value(x, v, beta), gamma))
    assert_gradient(dbeta, numeric_gradient(lambda v: value(x, gamma, v), beta))


def test_softmax_backward(backend, draw):
    logits, dprobs = draw(4, 7), draw(4, 7)
    numeric = numeric_gradient(lambda z: float((dprobs * backend.softmax_forward(z)).sum()), logits)
    assert_gradient(backend.softmax_backward(dprobs, backend.softmax_forward(logits)), numeric)


def loss_targets(loss, dense, n, n_out, rng):
    """Targets of a loss; dense ones of softmax cross-entropy do not sum to one."""
    if loss == "softmax_cross_entropy":
        return rng.random((n, n_out)) if dense else rng.integers(0, n_out, n)
    if loss in ("poisson", "tweedie", "gamma"):
        return rng.integers(0, 4, (n, n_out)) + float(loss == "gamma")
    if loss in ("absolute_error", "quantile", "huber"):  # away from their kinks, on both sides, and between those of huber
        return rng.choice([-30.0, 30.0] if loss != "huber" else [-30.0, 0.1, 30.0], (n, n_out))
    return rng.random((n, n_out))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "dense"), [*((loss, False) for loss in LOSSES), ("softmax_cross_entropy", True)])
def test_loss_backward(backend, rng, draw, loss, dense, weighted):
    forward, backward = getattr(backend, f"{loss}_forward"), getattr(backend, f"{loss}_backward")
    logits, targets = draw(5, 4), loss_targets(loss, dense, 5, 4, rng)
    weight, hyper, is_identity = rng.random(5) if weighted else None, HYPER.get(loss, {}), LOSSES[loss].link == "identity"

    def value(z):
        result = forward(z, targets, weight, **hyper)
        return 0.5 * (result if is_identity else result[0])

    outputs = logits if is_identity else forward(logits, targets, **hyper)[1]
    assert_gradient(backward(outputs, targets, weight, scale=0.5, **hyper), numeric_gradient(value, logits))


def network(loss, activation, hidden, rng, n=6):
    layers = kernels.layer_table([5, *hidden, 3], activation, LOSSES[loss].link)
    return layers, rng.standard_normal((n, 5)), rng.standard_normal(kernels.n_parameters(layers)) / 2


def hidden_pre_activations(made):
    layers, a, params = made
    z = [np.ones(1)]
    for weight, bias in kernels.layer_views(layers, params)[:-1]:
        z.append((a @ weight + bias).ravel())
        a = np.maximum(a @ weight + bias, 0)
    return np.concatenate(z)


@pytest.mark.parametrize(("loss", "activation", "hidden"), NETWORKS, ids=str)
def test_network_loss_gradient(backend, rng, loss, activation, hidden):
    layers, x, params = away_from_kinks(lambda r: network(loss, activation, hidden, r), hidden_pre_activations)
    targets, alpha = loss_targets(loss, False, 6, 3, rng), 0.3
    weight = None if hidden == (4,) else rng.random(6)
    total = 6 if weight is None else weight.sum()

    def penalty(p):
        return alpha / 2 * sum((w**2).sum() for w, _ in kernels.layer_views(layers, p)) / total

    def mean(p, alpha):
        return backend.network_loss_gradient(x, targets, layers, p, loss, alpha, weight, loss_hyper=HYPER.get(loss))[0]

    # scikit-learn divides the value of squared error by n_out, and its gradient not.
    factor = 3 if loss == "squared_error" else 1
    gradient = backend.network_loss_gradient(x, targets, layers, params, loss, alpha, weight, loss_hyper=HYPER.get(loss))[1]
    assert_gradient(gradient, numeric_gradient(lambda p: factor * mean(p, 0.0) + penalty(p), params))
    np.testing.assert_allclose(mean(params, alpha) - mean(params, 0.0), penalty(params), rtol=1e-10)


# PyTorch as a second oracle


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


def torch_loss(torch, loss, logits, targets, weight):
    functional = torch.nn.functional
    if loss == "softmax_cross_entropy":
        values = functional.cross_entropy(logits, targets, reduction="none")
    elif loss == "binary_cross_entropy":
        values = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1)
    elif loss == "squared_error":
        values = functional.mse_loss(logits, targets, reduction="none").sum(dim=1) / 2
    elif loss == "poisson":
        values = functional.poisson_nll_loss(logits, targets, log_input=True, reduction="none").sum(dim=1)
    elif loss == "absolute_error":
        values = functional.l1_loss(logits, targets, reduction="none").sum(dim=1)
    elif loss == "huber":
        values = functional.huber_loss(logits, targets, reduction="none", **HYPER[loss]).sum(dim=1)
    elif loss == "quantile":
        q, d = HYPER[loss]["quantile"], targets - logits
        values = torch.maximum(q * d, (q - 1) * d).sum(dim=1)
    elif loss == "gamma":
        values = (logits + targets * torch.exp(-logits)).sum(dim=1)
    else:
        p = HYPER[loss]["power"]
        values = (torch.exp((2 - p) * logits) / (2 - p) - targets * torch.exp((1 - p) * logits) / (1 - p)).sum(dim=1)
    return (values * weight).sum()


@pytest.mark.parametrize(("loss", "activation", "hidden"), NETWORKS, ids=str)
def test_network_loss_gradient_against_torch(backend, torch, rng, loss, activation, hidden):
    layers, x, params = network(loss, activation, hidden, rng)
    targets, weight = loss_targets(loss, loss != "softmax_cross_entropy", 6, 3, rng), rng.random(6)
    flat = torch.tensor(params, requires_grad=True)
    a, views = torch.tensor(x), kernels.layer_views(layers, flat)
    for i, (weight_, bias) in enumerate(views):
        a = a @ weight_ + bias
        if i < len(views) - 1 and activation != "identity":
            a = getattr(torch if hasattr(torch, activation) else torch.nn.functional, activation)(a)
    torch_loss(torch, loss, a, torch.tensor(targets), torch.tensor(weight)).backward()
    gradient = backend.network_loss_gradient(x, targets, layers, params, loss, 0.0, weight, loss_hyper=HYPER.get(loss))[1]
    np.testing.assert_allclose(gradient, flat.grad.numpy() / weight.sum(), rtol=1e-10, atol=1e-12)

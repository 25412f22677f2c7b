"""PyTorch as a second oracle: outputs, losses and all gradients of equal networks, and optimizers over several steps."""

import numpy as np
import pytest

from fastprop import nn
from fastprop.kernels.spec import ACTIVATIONS
from fastprop.nn.activations import ACTIVATION_LAYERS

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

TOLERANCE = 1e-8  # relative to the largest number of an array, or to 1e-6: a bias before BatchNorm1d has the gradient 0


def assert_close(ours, theirs):
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else theirs
    assert np.shape(ours) == np.shape(theirs)
    assert np.abs(ours - theirs).max() <= TOLERANCE * max(1e-6, np.abs(theirs).max())


def twin(layer):
    """The same layer in PyTorch, with copies of the parameters."""
    t = torch.nn
    if isinstance(layer, nn.Linear):
        other = t.Linear(layer.n_in, layer.n_out, bias=layer.bias is not None, dtype=torch.float64)
        other.weight.data = torch.tensor(layer.weight.data.T.copy())
        if layer.bias is not None:
            other.bias.data = torch.tensor(layer.bias.data)
        return t.Sequential(other, twin(ACTIVATION_LAYERS[layer.activation]()))
    if isinstance(layer, (nn.LayerNorm, nn.BatchNorm1d)):
        other = getattr(t, type(layer).__name__)(layer.weight.size, eps=layer.eps, dtype=torch.float64)
        other.weight.data, other.bias.data = torch.tensor(layer.weight.data), torch.tensor(layer.bias.data)
        return other
    if isinstance(layer, nn.Softmax):
        return t.Softmax(dim=1)
    if isinstance(layer, nn.Sequential):
        return t.Sequential(*map(twin, layer))
    return {nn.Residual: Residual, nn.Highway: Highway, nn.DenseConcat: DenseConcat}.get(
        type(layer), lambda _: getattr(t, type(layer).__name__)()
    )(layer)


class Residual(torch.nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.block = twin(ours.block)

    def forward(self, x):
        return self.block(x) + x


class Highway(torch.nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.transform, self.gate = twin(ours.transform), twin(ours.gate)

    def forward(self, x):
        t = self.gate(x)
        return t * self.transform(x) + (1 - t) * x


class DenseConcat(torch.nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.blocks = torch.nn.ModuleList(map(twin, ours.blocks))

    def forward(self, x):
        for block in self.blocks:
            x = torch.cat([x, block(x)], dim=1)
        return x


def networks(rng):
    """Every layer that PyTorch has too, in three networks from 5 to 3 columns."""
    return [
        nn.Sequential(
            nn.Linear(5, 8, activation="relu", random_state=rng),
            nn.Linear(8, 8, activation="tanh", bias=False, random_state=rng),
            nn.Sigmoid(),
            nn.Linear(8, 3, random_state=rng),
        ),
        nn.Sequential(
            nn.Linear(5, 6, random_state=rng),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Residual(nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6, activation="sigmoid", random_state=rng))),
            nn.Linear(6, 3, random_state=rng),
        ),
        nn.Sequential(
            nn.Highway(5, activation="tanh", random_state=rng),
            nn.DenseConcat([nn.Linear(5, 4, activation="relu", random_state=rng), nn.Linear(9, 2, random_state=rng), nn.Tanh()]),
            nn.Softmax(),
            nn.Identity(),
            nn.Linear(22, 3, random_state=rng),
        ),
    ]


def losses(rng, n):
    """(ours, PyTorch's, y)."""
    labels, soft = rng.integers(0, 3, n), rng.dirichlet(np.ones(3), n)
    uniform, normal, counts = rng.uniform(size=(n, 3)), rng.normal(size=(n, 3)), rng.poisson(2.0, (n, 3)).astype(float)
    return [
        (nn.SoftmaxCrossEntropy(), torch.nn.CrossEntropyLoss(), labels),
        (nn.SoftmaxCrossEntropy(), torch.nn.CrossEntropyLoss(), soft),
        (nn.BinaryCrossEntropy(), torch.nn.BCEWithLogitsLoss(), uniform),
        (nn.MSELoss(), torch.nn.MSELoss(), normal),
        (nn.PoissonLoss(), torch.nn.PoissonNLLLoss(log_input=True), counts),
        (nn.L1Loss(), torch.nn.L1Loss(), normal),
        (nn.HuberLoss(0.7), torch.nn.HuberLoss(delta=0.7), normal),
    ]


@pytest.mark.parametrize("which_loss", range(7))
@pytest.mark.parametrize("which", range(3))
def test_outputs_and_gradients(rng, which, which_loss):
    ours, x = networks(rng)[which], rng.normal(size=(7, 5))
    theirs, loss_pair = twin(ours), losses(rng, 7)[which_loss]
    loss, their_loss, y = loss_pair
    given = torch.tensor(x, requires_grad=True)
    outputs = theirs(given)
    value = their_loss(outputs, torch.tensor(y))
    value.backward()
    logits = ours(x)
    assert_close(logits, outputs)
    constant = 0.0
    if isinstance(loss, nn.PoissonLoss):  # the terms of y alone, which PyTorch leaves out
        constant = np.mean(np.where(y > 0, y * np.log(np.maximum(y, 1)), 0) - y)
    assert loss(logits, y) == pytest.approx(value.item() + constant, rel=TOLERANCE)
    assert_close(ours.backward(loss.backward()), given.grad)
    pairs = list(zip(ours.named_parameters(), theirs.parameters(), strict=True))
    assert pairs
    for (_, parameter), tensor in pairs:
        grad = tensor.grad.numpy()
        assert_close(parameter.grad, grad.T if grad.ndim == 2 else grad)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(rng, name):
    """At ordinary and at large numbers, and at 0, where both must take the same side of a kink."""
    x = np.concatenate([rng.normal(size=(8, 4)), rng.normal(0, 30, (8, 4)), [[0.0, 20.0, -700.0, 700.0]]])
    ours, dout = ACTIVATION_LAYERS[name](), rng.normal(size=x.shape)
    given = torch.tensor(x, requires_grad=True)
    outputs = twin(ours)(given)
    outputs.backward(torch.tensor(dout))
    assert_close(ours(x), outputs)
    assert_close(ours.backward(dout), given.grad)


def test_batch_norm_keeps_pytorchs_statistics(rng):
    ours = nn.BatchNorm1d(4, momentum=0.3)
    theirs = torch.nn.BatchNorm1d(4, momentum=0.3, dtype=torch.float64)
    for _ in range(5):
        x = rng.normal(2, 3, size=(6, 4))
        assert_close(ours(x), theirs(torch.tensor(x)))
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)
    assert_close(ours.eval()(x), theirs.eval()(torch.tensor(x)))


OPTIMIZERS = {
    "SGD": ({"lr": 0.1}, {}),
    "SGD with momentum": ({"lr": 0.1, "momentum": 0.9}, {}),
    "SGD with Nesterov": ({"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}),
    "Adam": ({"lr": 0.01}, {"eps_hat": False}),
    "Adam with weight decay": ({"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}, {"eps_hat": False}),
    "AdamW": ({"lr": 0.01, "weight_decay": 0.1, "eps": 1e-3}, {}),
    "RMSprop": ({"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.01}, {}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(rng, name):
    options, only_ours = OPTIMIZERS[name]
    ours = nn.Parameter(rng.normal(size=(3, 4)))
    theirs = torch.nn.Parameter(torch.tensor(ours.data))
    cls = name.partition(" ")[0]
    optimizer = getattr(nn, cls)([ours], **options, **only_ours)
    their_optimizer = getattr(torch.optim, cls)([theirs], **options)
    for step in range(20):
        if step == 10:  # a change of the rate on the way
            optimizer.lr = their_optimizer.param_groups[0]["lr"] = 0.02
        ours.grad = rng.normal(size=(3, 4))
        theirs.grad = torch.tensor(ours.grad)
        optimizer.step()
        their_optimizer.step()
        assert_close(ours.data, theirs)


def test_eps_hat_differs_from_pytorchs_adam_only_where_gradients_are_tiny(rng):
    for size, same in ((1.0, True), (1e-8, False)):
        forms = [nn.Parameter(np.zeros(3)) for _ in range(2)]
        for parameter, eps_hat in zip(forms, (True, False), strict=True):
            parameter.grad = np.full(3, size)
            nn.Adam([parameter], lr=0.1, eps_hat=eps_hat).step()
        assert np.allclose(forms[0].data, forms[1].data, rtol=1e-6) == same


def test_clipping(rng):
    gradients = [rng.normal(size=(3, 4)), rng.normal(size=5)]
    ours = [nn.Parameter(np.zeros_like(gradient)) for gradient in gradients]
    theirs = [torch.zeros(gradient.shape, dtype=torch.float64) for gradient in gradients]
    for parameter, tensor, gradient in zip(ours, theirs, gradients, strict=True):
        parameter.grad, tensor.grad = gradient.copy(), torch.tensor(gradient)
    assert nn.clip_grad_norm(ours, 0.5) == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 0.5).item())
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad, rtol=1e-5)  # PyTorch adds 1e-6 to the norm

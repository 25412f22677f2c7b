"""Mistakes planted in the backwards of modules and losses of one's own: each is recognised by its name, and no other one is."""

import numpy as np
import pytest
from scipy.special import expit

from fastprop import nn
from fastprop.inspection import check_gradients

# value and derivative of z
FUNCTIONS = {
    "sigmoid": (expit, lambda z: expit(z) * (1 - expit(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "softplus": (lambda z: np.logaddexp(z, 0), expit),
    "own": (lambda z: z + np.sin(z), lambda z: 1 + np.cos(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
}
BY_OUTPUT = {"sigmoid": lambda a: a * (1 - a), "tanh": lambda a: 1 - a**2, "softplus": lambda a: 1 - np.exp(-a)}


class Affine(nn.Module):
    """``x @ weight + bias``, with a mistake."""

    def __init__(self, n_in, n_out, rng, mistake=""):
        self.weight, self.bias = nn.Parameter(rng.normal(size=(n_in, n_out))), nn.Parameter(rng.normal(size=n_out))
        self.mistake, self.kept, self.before = mistake, None, None

    def forward(self, x):
        self.before = self.kept if self.kept is not None else x
        if self.kept is None or self.mistake != "first forward":
            self.kept = x
        return x @ self.weight.data + self.bias.data

    def backward(self, dout, accumulate=False):
        x = self.before if self.mistake == "forward before" else self.kept
        return self.gradients(x, dout)

    def gradients(self, x, dz):
        mistake, n = self.mistake, len(x)
        dweight, dbias = x.T @ dz, dz.sum(axis=0)
        if mistake == "row 0":
            dbias = dz[0]
        elif mistake == "last row":  # overwritten by each row
            dweight, dbias = np.outer(x[-1], dz[-1]), dz[-1]
        elif mistake == "mean":
            dbias = dz.mean(axis=0)
        elif mistake == "all":
            dbias = np.full_like(dbias, dz.sum())
        elif mistake == "n":
            dweight, dbias = dweight * n, dbias * n
        elif mistake == "1/n":
            dweight, dbias = dweight / n, dbias / n
        elif mistake == "sign":
            dweight = -dweight
        elif mistake == "transposed":
            dweight = dz.T @ x if len(set(dweight.shape)) == 1 else (dz.T @ x).reshape(dweight.shape)
        self.weight.grad, self.bias.grad = dweight, dbias
        return dz @ (self.weight.data if mistake == "weight" else self.weight.data.T) * (-1 if mistake == "sign of dx" else 1)


class Function(nn.Module):
    """An activation, with a mistake."""

    def __init__(self, name, mistake=""):
        self.name, self.mistake = name, mistake

    def forward(self, z):
        a = FUNCTIONS[self.name][0](z)
        self._saved = z, a
        return a

    def backward(self, dout, accumulate=False):
        return dout * self.slope(*self._saved)

    def slope(self, z, a, x=None):
        if self.mistake == "formula":
            return BY_OUTPUT[self.name](z)
        at = {"a": a, "x": x}.get(self.mistake, z)
        return np.ones_like(z) if self.mistake == "none" else FUNCTIONS[self.name][1](at)


class Layer(Affine):
    """Both in one."""

    def __init__(self, n_in, n_out, rng, mistake="", name="tanh"):
        super().__init__(n_in, n_out, rng, mistake)
        self.function = Function(name, mistake)  # in no list of modules' forwards: its methods are called below

    def forward(self, x):
        self.z = super().forward(x)
        self.a = FUNCTIONS[self.function.name][0](self.z)
        return self.a

    def backward(self, dout, accumulate=False):
        return super().backward(dout * self.function.slope(self.z, self.a, self.kept))


class TwoLayers(nn.Module):
    """A network in one module, as the texts write them."""

    def __init__(self, n_in, n_hidden, n_out, rng, mistake="", name="tanh"):
        self.W1, self.b1 = nn.Parameter(rng.normal(size=(n_in, n_hidden))), nn.Parameter(np.zeros((1, n_hidden)))
        self.W2, self.b2 = nn.Parameter(rng.normal(size=(n_hidden, n_out))), nn.Parameter(np.zeros((1, n_out)))
        self.name, self.mistake, self.x, self.before = name, mistake, None, None

    def forward(self, x):
        self.before, self.x = x if self.x is None else self.x, x
        self.z1 = x @ self.W1.data + self.b1.data
        self.a1 = FUNCTIONS[self.name][0](self.z1)
        return self.a1 @ self.W2.data + self.b2.data

    def backward(self, dout, accumulate=False):
        mistake, x = self.mistake, self.before if self.mistake == "forward before" else self.x
        scale = {"n": len(x), "1/n": 1 / len(x), "sign": -1}.get(mistake, 1)
        dz2 = dout * scale
        da1 = dz2 @ (self.W2.data if mistake == "weight" else self.W2.data.T)
        dz1 = da1 * Function(self.name, mistake).slope(self.z1, self.a1)
        self.W2.grad = self.a1.T @ dz2
        self.b2.grad, self.b1.grad = dz2.sum(axis=0, keepdims=True), dz1.sum(axis=0, keepdims=True)
        self.W1.grad = (dz1.T @ x).reshape(self.W1.shape) if mistake == "transposed" else x.T @ dz1
        if mistake in ("mean", "row 0"):
            self.b1.grad = dz1.mean(axis=0, keepdims=True) if mistake == "mean" else dz1[:1]
        return dz1 @ self.W1.data.T


class SquaredError:
    """A loss that derives from nothing, with a mistake: the mean over rows of the sum over columns, or the mean over all."""

    def __init__(self, mistake="", of_all=False):
        self.mistake, self.of_all, self.kept = mistake, of_all, None

    def __call__(self, outputs, y):
        error = outputs - y
        if self.kept is None or self.mistake != "first forward":
            self.kept = error
        return (error**2).mean() if self.of_all else (error**2).sum() / len(error)

    def backward(self):
        n = self.kept.size if self.of_all else len(self.kept)
        return 2 * self.kept / n * {"n": n, "1/n": 1 / n, "sign": -1, "2": 0.5}.get(self.mistake, 1)


PLACE = "derivative at the wrong place"
# where and how it is planted -> the name by which it is recognised
PLANTED = {
    ("affine", "n"): "factor n",
    ("affine", "1/n"): "factor n",
    ("affine", "transposed"): "transposed gradient",
    ("affine", "weight"): "transposed gradient",
    ("affine", "row 0"): "missing batch sum",
    ("affine", "last row"): "missing batch sum",
    ("affine", "mean"): "missing batch sum",
    ("affine", "all"): "missing batch sum",
    ("affine", "sign"): "wrong sign",
    ("affine", "sign of dx"): "wrong sign",
    ("affine", "first forward"): "stale cache",
    ("affine", "forward before"): "stale cache",
    ("function", "a"): PLACE,
    ("function", "formula"): PLACE,
    ("function", "none"): "missing derivative",
    ("layer", "a"): PLACE,
    ("layer", "x"): PLACE,
    ("layer", "formula"): PLACE,
    ("layer", "mean"): "missing batch sum",
    ("layer", "transposed"): "transposed gradient",
    ("layer", "forward before"): "stale cache",
    ("network", "n"): "factor n",
    ("network", "1/n"): "factor n",
    ("network", "a"): PLACE,
    ("network", "formula"): PLACE,
    ("network", "transposed"): "transposed gradient",
    ("network", "weight"): "transposed gradient",
    ("network", "mean"): "missing batch sum",
    ("network", "row 0"): "missing batch sum",
    ("network", "sign"): "wrong sign",
    ("network", "forward before"): "stale cache",
    ("loss", "n"): "factor n",
    ("loss", "1/n"): "factor n",
    ("loss", "sign"): "wrong sign",
    ("loss", "2"): "constant factor",
    ("loss", "first forward"): "stale cache",
}
# Where the same numbers come out without the mistake, or are those of another one.
SQUARE = {("affine", "weight"), ("layer", "x"), ("network", "weight")}


def planted(where, mistake, seed):
    """A random network with data, and a mistake at one place."""
    rng = np.random.default_rng([seed, len(where), len(mistake)])
    n, n_in, n_hidden, n_out = (int(size) for size in rng.integers(3, 7, 4))
    if (where, mistake) in SQUARE:
        n_in = n_hidden = n_out
    curved = list(BY_OUTPUT) if mistake == "formula" else ["sigmoid", "tanh", "softplus", "own"]
    names = curved if where in ("function", "layer", "network") and mistake in ("a", "x", "formula", "none") else list(FUNCTIONS)
    name = names[seed % len(names)]
    if where == "network" and name == "own":
        name = "tanh"
    in_loss = mistake if where == "loss" else ""
    losses = SquaredError(in_loss), SquaredError(in_loss, of_all=True), nn.MSELoss(), nn.SoftmaxCrossEntropy()
    loss = losses[seed % (2 if in_loss else 4)]
    X, y = rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        y = rng.integers(0, n_out, n)
    if where == "network":
        return TwoLayers(n_in, n_hidden, n_out, rng, mistake, name), loss, X, y
    if where == "layer":
        return nn.Sequential(Layer(n_in, n_hidden, rng, mistake, name), Affine(n_hidden, n_out, rng)), loss, X, y
    own = {where: mistake}
    first = Affine(n_in, n_hidden, rng, own.get("affine", "") if seed % 2 else "")
    last = Affine(n_hidden, n_out, rng, own.get("affine", "") if not seed % 2 else "")
    return nn.Sequential(first, Function(name, own.get("function", "")), last), loss, X, y


@pytest.mark.parametrize(("where", "mistake"), PLANTED)
def test_planted(where, mistake):
    for seed in range(20):
        check = check_gradients(*planted(where, mistake, seed))
        assert {found.name for found in check.mistakes} == {PLANTED[where, mistake]}, (seed, check)

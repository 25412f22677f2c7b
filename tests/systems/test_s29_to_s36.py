"""Systems 29 to 36: graphs of values, derivatives of other kinds, bounds, and the mistakes that a gradient check names."""

from collections import Counter

import numpy as np

from fastprop import nn
from fastprop.inspection import check_gradients


class Dense(nn.Module):
    """``sigmoid(x @ weight + bias)`` as a student writes it, with one of the common mistakes."""

    def __init__(self, n_in, n_out, rng, mistake):
        self.weight, self.bias = nn.Parameter(rng.normal(size=(n_in, n_out))), nn.Parameter(rng.normal(size=n_out))
        self.mistake, self.x, self.before = mistake, None, None

    def forward(self, x):
        self.before, self.x = x if self.x is None else self.x, x
        self.a = 1 / (1 + np.exp(-(x @ self.weight.data + self.bias.data)))
        return self.a

    def backward(self, dout, accumulate=False):
        a, x = self.a, self.before if self.mistake == "stale cache" else self.x
        if self.mistake == "derivative at the wrong place":
            a = 1 / (1 + np.exp(-a))  # sigma'(a) in the place of sigma'(z)
        dz = dout * a * (1 - a)
        self.weight.grad = (dz.T @ x).reshape(self.weight.shape) if self.mistake == "transposed gradient" else x.T @ dz
        self.bias.grad = dz[0] if self.mistake == "missing batch sum" else dz.sum(axis=0)
        return dz @ self.weight.data.T


class MeanSquare:
    """The mean over the rows of the squared error, with one of the common mistakes."""

    def __init__(self, mistake):
        self.mistake = mistake

    def __call__(self, outputs, y):
        self.error = outputs - y
        return (self.error**2).sum() / len(y)

    def backward(self):
        gradient = 2 * self.error if self.mistake == "factor n" else 2 * self.error / len(self.error)
        return -gradient if self.mistake == "wrong sign" else gradient


MISTAKES = ("factor n", "transposed gradient", "derivative at the wrong place", "missing batch sum", "wrong sign", "stale cache")


def test_s35_common_bugs_planted(figure, rng):
    for mistake in ("", *MISTAKES):
        named = Counter()
        for _ in range(20):
            n, n_in, n_hidden, n_out = rng.integers([3, 2, 2, 2], 6)
            model = nn.Sequential(Dense(n_in, n_hidden, rng, mistake), nn.Linear(n_hidden, n_out, random_state=rng))
            X, y = rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))
            check = check_gradients(model, MeanSquare(mistake), X, y)
            named.update({found.name for found in check.mistakes})
            assert check.verdict == ("bug" if mistake else "correct")
        figure(f"{mistake or 'no mistake'} in 20 networks, named", dict(named))
        assert named == ({mistake: 20} if mistake else {})

"""A gradient check: is the backward right? And which step h should the differences have?

A deep network passes; a layer of our own whose backward forgets a factor is found by name, and so is the mistake. Then the check is repeated with other
steps: with a large h the differences are no derivative, with a tiny one they are rounding. In between lies 1e-5.

Run it: python gradient_check.py [folder for the picture]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn
from fastprop.inspection import check_gradients

STEPS = np.logspace(-12, -1, 23)


class WrongSquare(nn.Module):
    """``x^2`` with a mistake: the derivative is 2 x, not x."""

    def forward(self, x):
        self._saved = x
        return x**2

    def backward(self, dout, accumulate=False):
        return dout * self._saved


def problem():
    """A batch of five rows with their labels, and a network 4-8-8-3."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(4, 8, activation="tanh", random_state=rng),
        nn.Linear(8, 8, activation="sigmoid", random_state=rng),
        nn.Linear(8, 3, random_state=rng),
    )
    return rng.normal(size=(5, 4)), rng.integers(0, 3, 5), model


def main(folder="."):
    X, y, model = problem()
    loss = nn.SoftmaxCrossEntropy()
    right = check_gradients(model, loss, X, y)
    print(f"{right}\n")
    wrong = check_gradients(nn.Sequential(model[0], WrongSquare(), model[2]), loss, X, y)
    print(f"{wrong}\n")
    errors = [max(row.relative_error for row in check_gradients(model, loss, X, y, h=h).rows) for h in STEPS]
    best = float(STEPS[np.argmin(errors)])
    print(f"the smallest error, {min(errors):.1e}, is at h = {best:.0e}")

    figure, ax = plt.subplots(layout="constrained")
    ax.loglog(STEPS, errors, marker="o")
    ax.axvline(1e-5, color="gray", linestyle="--", label="h = 1e-5, the default")
    ax.axhline(1e-5, color="tab:red", linestyle=":", label="correct below 1e-5")
    ax.set_xlabel("step h of the central differences")
    ax.set_ylabel("largest relative error of a parameter")
    ax.set_title("Rounding (left) and truncation (right)")
    ax.legend()
    figure.savefig(Path(folder) / "gradient_check.png")
    return {"right": right, "wrong": wrong, "best h": best, "errors": errors}


if __name__ == "__main__":
    main(*sys.argv[1:])

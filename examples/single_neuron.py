"""One neuron by hand: the chain rule, step by step, and the same numbers from a layer.

The loss is ``L = (sigmoid(w . x + b) - y)^2``. Its derivatives are three factors multiplied: ``dL/da = 2 (a - y)``,
``da/dz = a (1 - a)``, and ``dz/dw = x``, ``dz/db = 1``. Then the neuron goes downhill until it gives y.

Run it: python single_neuron.py [folder for the picture]
"""

import sys
from pathlib import Path

import numpy as np

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import check_gradients, trace_step

X = np.array([[1.0, 2.0, 3.0]])
W, B, Y = np.array([0.5, -0.5, 0.2]), 0.1, 0.8
N_STEPS, LR = 30, 0.5


def by_hand():
    """Loss and gradients with nothing but the chain rule."""
    x = X[0]
    z = W @ x + B
    a = 1 / (1 + np.exp(-z))
    dz = 2 * (a - Y) * a * (1 - a)
    return {"a": a, "loss": (a - Y) ** 2, "dw": dz * x, "db": dz}


def main(folder="."):
    neuron, loss = nn.Sequential(nn.Linear(3, 1, activation="sigmoid")), nn.MSELoss()
    neuron[0].weight.data, neuron[0].bias.data = W[:, None], [B]
    hand = by_hand()
    print(f"by hand: a = {hand['a']:.6f}, loss = {hand['loss']:.6f}, dw = {hand['dw'].round(6)}, db = {hand['db']:.6f}\n")
    trace_step(neuron, loss, X, [Y], precision=6)
    check = check_gradients(neuron, loss, X, [Y])
    print(f"\n{check}")
    layer = {"loss": loss(neuron(X), [Y]), "dw": neuron[0].weight.grad[:, 0].copy(), "db": float(neuron[0].bias.grad[0])}

    optimizer, losses = nn.SGD(neuron.parameters(), lr=LR), []
    for _ in range(N_STEPS):
        losses.append(loss(neuron(X), [Y]))
        neuron.backward(loss.backward())
        optimizer.step()
    display = LossCurveDisplay(losses, unit="squared error").plot()
    display.ax_.set_xlabel("step")
    display.ax_.set_yscale("log")
    display.ax_.set_title(f"A neuron learns to give {Y}: it gave {hand['a']:.3f}, now {neuron(X).item():.3f}")
    display.figure_.savefig(Path(folder) / "single_neuron.png")
    return {"by hand": hand, "layer": layer, "verdict": check.verdict, "output": neuron(X).item()}


if __name__ == "__main__":
    main(*sys.argv[1:])

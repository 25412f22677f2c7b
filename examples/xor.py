"""XOR: four points that no single layer can tell apart, and how often two layers learn them.

A network 2-4-2 with ReLU is trained from 20 different beginnings, 5000 steps of full-batch gradient descent each. Most get all four
points right. Each of the others has dead units, which give 0 for all four points and get no gradient any more; what is left of
its four units cannot bend the plane twice.

Run it: python xor.py [folder for the picture]
"""

import sys
from pathlib import Path

import numpy as np

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import activation_statistics

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0, 1, 1, 0])
N_SEEDS, N_STEPS, LR = 20, 5000, 0.5


def train(seed, n_steps=N_STEPS):
    """A model that began with this seed, and its losses."""
    model = nn.mlp([2, 4, 2], activation="relu", random_state=seed)
    optimizer = nn.SGD(model.parameters(), lr=LR)
    history = model.fit(X, y, nn.SoftmaxCrossEntropy(), optimizer, epochs=n_steps, batch_size=len(X))
    return model, history["loss"]


def main(folder="."):
    solved, dead, ax = [], [], None
    for seed in range(N_SEEDS):
        model, losses = train(seed)
        solved.append(bool((model(X).argmax(axis=1) == y).all()))
        dead.append(len(activation_statistics(model, X)["0"].dead))
        style = {"color": "tab:blue" if solved[-1] else "tab:red", "label": None, "alpha": 0.7}
        ax = LossCurveDisplay(losses, unit="nats").plot(ax, loss_kw=style).ax_
    stuck = {seed: dead[seed] for seed in range(N_SEEDS) if not solved[seed]}
    print(f"{sum(solved)} of {N_SEEDS} seeds learn all four points; stuck, with so many dead units: {stuck}")
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_title(f"XOR, 2-4-2 with ReLU: {sum(solved)} of {N_SEEDS} seeds learn it (blue)")
    ax.figure.savefig(Path(folder) / "xor.png")
    return {"solved": solved, "dead": dead}


if __name__ == "__main__":
    main(*sys.argv[1:])

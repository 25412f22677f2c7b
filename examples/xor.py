# %% [markdown]
"""
# XOR: four points that no single layer can tell apart, and how often two layers learn them

A network 2-4-2 with ReLU is trained from 20 different beginnings, 5000 steps of full-batch gradient descent each.
"""

# %%
import numpy as np

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import activation_statistics

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0, 1, 1, 0])
N_SEEDS, N_STEPS, LR = 20, 5000, 0.5


def train(seed):
    """A model that began with this seed, and its losses."""
    model = nn.mlp([2, 4, 2], activation="relu", random_state=seed)
    optimizer = nn.SGD(model.parameters(), lr=LR)
    history = model.fit(X, y, nn.SoftmaxCrossEntropy(), optimizer, epochs=N_STEPS, batch_size=len(X))
    return model, history["loss"]


# %% [markdown]
"""
Most get all four points right. Each of the others has dead units, which give 0 for all four points and get no gradient any more;
what is left of its four units cannot bend the plane twice.
"""

# %%
runs = [train(seed) for seed in range(N_SEEDS)]
solved = [bool((model(X).argmax(axis=1) == y).all()) for model, _ in runs]
dead = [len(activation_statistics(model, X)["0"].dead) for model, _ in runs]
stuck = {seed: dead[seed] for seed in range(N_SEEDS) if not solved[seed]}
print(f"{sum(solved)} of {N_SEEDS} seeds learn all four points; stuck, with so many dead units: {stuck}")

# %%
ax = None
for right in (True, False):
    losses = [losses for (_, losses), its in zip(runs, solved, strict=True) if its == right]
    for i, curve in enumerate(losses):
        name = None if i else f"{len(losses)} seeds {'learn it' if right else 'are stuck'}"
        style = {"color": "tab:blue" if right else "tab:red", "alpha": 0.7}
        ax = LossCurveDisplay(curve, name=name, unit="nats").plot(ax, loss_kw=style).ax_
ax.set_yscale("log")
ax.set_xlabel("step")
ax.set_title("XOR, 2-4-2 with ReLU")
ax.figure.savefig("xor.png")

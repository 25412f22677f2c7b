"""The same network in PyTorch: with equal weights and an equal batch, all gradients are equal to rounding.

PyTorch records the forward and differentiates it; fastprop calls the backward of each layer. PyTorch's weight matrix is the
transpose of fastprop's.

Run it: python pytorch_gradients.py [folder for the picture]    (needs torch; says so and ends where it is not installed)
"""

import importlib.util
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn


def gradients_of_both(X, y):
    """{parameter: (ours, PyTorch's)} of a network 784-128-10, and the two losses."""
    import torch

    model = nn.mlp([784, 128, 10], activation="relu", random_state=0)
    theirs = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)).double()
    with torch.no_grad():
        for layer, number in zip(model, (0, 2), strict=True):
            theirs[number].weight.copy_(torch.tensor(layer.weight.data.T))
            theirs[number].bias.copy_(torch.tensor(layer.bias.data))
    loss = nn.SoftmaxCrossEntropy()
    our_loss = loss(model(X), y)
    model.backward(loss.backward())
    their_loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(y))
    their_loss.backward()
    pairs = {}
    for i, (layer, number) in enumerate(zip(model, (0, 2), strict=True)):
        pairs[f"{i}.weight"] = layer.weight.grad, theirs[number].weight.grad.numpy().T
        pairs[f"{i}.bias"] = layer.bias.grad, theirs[number].bias.grad.numpy()
    return pairs, (our_loss, their_loss.item())


def main(folder="."):
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed, so there is nothing to compare with: pip install torch")
        return None
    rng = np.random.default_rng(1)
    pairs, losses = gradients_of_both(rng.normal(size=(32, 784)), rng.integers(0, 10, 32))
    differences = {name: float(np.abs(ours - theirs).max()) for name, (ours, theirs) in pairs.items()}
    print(f"loss: {losses[0]:.15f} and {losses[1]:.15f}")
    for name, difference in differences.items():
        print(f"{name:<9} gradient differs by at most {difference:.1e}")

    figure, ax = plt.subplots(layout="constrained")
    for name, (ours, theirs) in pairs.items():
        ax.plot(theirs.ravel(), ours.ravel(), ".", markersize=2, label=name)
    ax.set_xlabel("gradient in PyTorch")
    ax.set_ylabel("gradient in fastprop")
    ax.set_title(f"784-128-10: equal to {max(differences.values()):.0e}")
    ax.legend(markerscale=5)
    figure.savefig(Path(folder) / "pytorch_gradients.png")
    return {"differences": differences, "losses": losses}


if __name__ == "__main__":
    main(*sys.argv[1:])

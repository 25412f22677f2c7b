# %% [markdown]
"""
# The same network in PyTorch: with equal weights and an equal batch, all gradients are equal to rounding

PyTorch records the forward and differentiates it; fastprop calls the backward of each layer. PyTorch's weight matrix is the
transpose of fastprop's.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn

try:
    import torch
except ImportError:
    raise SystemExit("PyTorch is not installed, so there is nothing to compare with: pip install torch") from None

# %%
model = nn.mlp([784, 128, 10], activation="relu", random_state=0)
theirs = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)).double()
with torch.no_grad():
    for layer, number in zip(model, (0, 2), strict=True):
        theirs[number].weight.copy_(torch.tensor(layer.weight.data.T))
        theirs[number].bias.copy_(torch.tensor(layer.bias.data))

# %%
rng = np.random.default_rng(1)
X, y = rng.normal(size=(32, 784)), rng.integers(0, 10, 32)
loss = nn.SoftmaxCrossEntropy()
our_loss = loss(model(X), y)
model.backward(loss.backward())
their_loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(y))
their_loss.backward()
losses = our_loss, their_loss.item()
print(f"loss: {losses[0]:.15f} and {losses[1]:.15f}")

# %%
pairs = {}
for i, (layer, number) in enumerate(zip(model, (0, 2), strict=True)):
    pairs[f"{i}.weight"] = layer.weight.grad, theirs[number].weight.grad.numpy().T
    pairs[f"{i}.bias"] = layer.bias.grad, theirs[number].bias.grad.numpy()
differences = {name: float(np.abs(ours - its).max()) for name, (ours, its) in pairs.items()}
for name, difference in differences.items():
    print(f"{name:<9} gradient differs by at most {difference:.1e}")

# %%
figure, ax = plt.subplots(layout="constrained")
for name, (ours, its) in pairs.items():
    ax.plot(its.ravel(), ours.ravel(), ".", markersize=2, label=name)
ax.set_xlabel("gradient in PyTorch")
ax.set_ylabel("gradient in fastprop")
ax.set_title(f"784-128-10: equal to {max(differences.values()):.0e}")
ax.legend(markerscale=5)
figure.savefig("pytorch_gradients.png")

# %% [markdown]
"""
# Lesson 2: a network, layer by layer, and how to know that its backward is right

A layer has two rules. ``z = x W + b`` takes a batch of rows forward. Backward it gets dz, the gradient of the loss by z, and gives
``dW = x^T dz``, ``db``, the sum of dz over the rows, and ``dx = dz W^T``, which is what the layer before it gets. Weights begin as
He's: random with the variance 2 / n_in, biases as zeros.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn
from fastprop.inspection import ActivationDisplay, check_gradients

rng = np.random.default_rng(0)
layer, x = nn.Linear(4, 8, random_state=0), rng.normal(size=(5, 4))
z = layer(x)
dx = layer.backward(np.ones_like(z))
shapes = {"x": x, "W": layer.weight, "z": z, "dx": dx, "dW": layer.weight.grad, "db": layer.bias.grad}
print(", ".join(f"{name} {array.shape}" for name, array in shapes.items()))

# %% [markdown]
"""
Between two layers is an activation, element by element: ``dz = da f'(z)``. Sigmoid's derivative is at most 1/4, at 0.
"""

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
for name in ("relu", "sigmoid", "tanh"):
    ActivationDisplay.from_activation(name, ax=axes[0])
axes[0].set_xlim(-5, 5)
axes[0].set_ylim(-1.2, 2.5)
axes[0].set_title("Activations and their derivatives")

# %% [markdown]
"""
After the last layer, softmax turns logits into probabilities p, and cross-entropy costs -log p of the right class. Together they
have the simplest gradient of all: ``(p - y) / n``, for n rows and one-hot y.
"""

# %%
loss = nn.SoftmaxCrossEntropy()
worked = loss([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [2, 0])
print(f"loss {worked:.6f}, p =\n{loss.outputs.round(4)}\n(p - y) / n =\n{loss.backward().round(4)}")

# %% [markdown]
"""
A whole network 4-8-3. Forward, loss, backward: every parameter has its gradient. `pytorch_gradients.py` compares such
gradients with PyTorch's.
"""

# %%
model = nn.mlp([4, 8, 3], "tanh", random_state=0)
X, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
value = loss(model(X), y)
model.backward(loss.backward())
for name, parameter in model.named_parameters():
    print(f"{name:<9} {parameter.shape!s:<7} |gradient| = {np.linalg.norm(parameter.grad):.4f}")

# %% [markdown]
"""
Are they right? The check compares each gradient g with central differences d: a relative error
``|g - d| / (|g| + |d| + 1e-8)`` below 1e-5 is correct, above 1e-3 it is a bug. With a large step h the differences are no
derivative, with a tiny one they are rounding. In between lies 1e-5.
"""

# %%
right = check_gradients(model, loss, X, y)
print(right)
steps = np.logspace(-12, -1, 12)
errors = [max(row.relative_error for row in check_gradients(model, loss, X, y, h=h).rows) for h in steps]
best = float(steps[np.argmin(errors)])

# %%
axes[1].loglog(steps, errors, marker="o")
axes[1].axvline(1e-5, color="gray", linestyle="--", label="h = 1e-5, the default")
axes[1].axhline(1e-5, color="tab:red", linestyle=":", label="correct below 1e-5")
axes[1].set_xlabel("step h of the central differences")
axes[1].set_ylabel("largest relative error of a parameter")
axes[1].set_title("Rounding (left) and truncation (right)")
axes[1].legend()
figure.savefig("lesson_network.png")

# %% [markdown]
"""
The common mistakes, planted one by one in a correct network. The check finds each, and gives it its name.
"""


# %%
class FactorN(nn.MSELoss):
    def backward(self):
        return super().backward() * len(X)


class WrongSign(nn.MSELoss):
    def backward(self):
        return -super().backward()


class Transposed(nn.Linear):
    def backward(self, dout, accumulate=False):
        dx = super().backward(dout, accumulate)
        self.weight.grad = self.weight.grad.T.reshape(self.weight.shape)
        return dx


class NoBatchSum(nn.Linear):
    def backward(self, dout, accumulate=False):
        dx = super().backward(dout, accumulate)
        self.bias.grad = self.bias.grad / len(dout)  # the mean over the rows, not their sum
        return dx


class Stale(nn.Linear):
    kept = None

    def forward(self, x):
        before, self.kept = x if self.kept is None else self.kept, x
        z = super().forward(x).copy()
        super().forward(before)  # what backward will use
        return z


class WrongPlace(nn.Sigmoid):
    def forward(self, x):
        self.a = super().forward(x)
        return self.a

    def backward(self, dout, accumulate=False):
        super().forward(self.a)  # f'(a) instead of f'(z)
        return super().backward(dout, accumulate)


# %%
targets, named = rng.normal(size=(6, 3)), {}
for Planted in (FactorN, WrongSign, Transposed, NoBatchSum, Stale, WrongPlace):
    parts = {nn.Linear: nn.Linear, nn.Sigmoid: nn.Sigmoid, nn.MSELoss: nn.MSELoss} | {Planted.__base__: Planted}
    wrong = nn.Sequential(parts[nn.Linear](4, 5, random_state=0), parts[nn.Sigmoid](), nn.Linear(5, 3, random_state=1))
    found = check_gradients(wrong, parts[nn.MSELoss](), X, targets)
    named[Planted.__name__] = [mistake.name for mistake in found.mistakes]
    print(f"{Planted.__name__:<11} {found.verdict}:", *found.mistakes)

# %% [markdown]
"""
Other mistakes are errors at once, which say what was expected.
"""

# %%
messages = []
for mistake in (lambda: model(X[:, :3]), lambda: nn.Linear(4, 8).backward(z), lambda: loss(model(X), y + 3)):
    try:
        mistake()
    except (ValueError, RuntimeError) as error:
        messages.append(str(error))
print(*messages, sep="\n")

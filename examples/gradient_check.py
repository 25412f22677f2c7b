# %% [markdown]
"""
# A gradient check: is the backward right? And which step h should the differences have?

A deep network passes; a layer of our own whose backward forgets a factor is found by name, and so is the mistake.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn
from fastprop.inspection import check_gradients

rng = np.random.default_rng(0)
model = nn.Sequential(
    nn.Linear(4, 8, activation="tanh", random_state=rng),
    nn.Linear(8, 8, activation="sigmoid", random_state=rng),
    nn.Linear(8, 3, random_state=rng),
)
X, y, loss = rng.normal(size=(5, 4)), rng.integers(0, 3, 5), nn.SoftmaxCrossEntropy()
right = check_gradients(model, loss, X, y)
print(right)


# %%
class WrongSquare(nn.Module):
    """``x^2`` with a mistake: the derivative is 2 x, not x."""

    def forward(self, x):
        self._saved = x
        return x**2

    def backward(self, dout, accumulate=False):
        return dout * self._saved


wrong = check_gradients(nn.Sequential(model[0], WrongSquare(), model[2]), loss, X, y)
print(wrong)

# %% [markdown]
"""
Then the check is repeated with other steps: with a large h the differences are no derivative, with a tiny one they are rounding.
In between lies 1e-5.
"""

# %%
steps = np.logspace(-12, -1, 23)
errors = [max(row.relative_error for row in check_gradients(model, loss, X, y, h=h).rows) for h in steps]
best = float(steps[np.argmin(errors)])
print(f"the smallest error, {min(errors):.1e}, is at h = {best:.0e}")

# %%
figure, ax = plt.subplots(layout="constrained")
ax.loglog(steps, errors, marker="o")
ax.axvline(1e-5, color="gray", linestyle="--", label="h = 1e-5, the default")
ax.axhline(1e-5, color="tab:red", linestyle=":", label="correct below 1e-5")
ax.set_xlabel("step h of the central differences")
ax.set_ylabel("largest relative error of a parameter")
ax.set_title("Rounding (left) and truncation (right)")
ax.legend()
figure.savefig("gradient_check.png")

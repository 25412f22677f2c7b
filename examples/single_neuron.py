# %% [markdown]
"""
# One neuron by hand: every number on the way forward and back, and the same from a layer

The loss is ``L = (sigmoid(w . x + b) - y)^2``. Its derivatives are three factors multiplied: ``dL/da = 2 (a - y)``,
``da/dz = a (1 - a)``, and ``dz/dw = x``, ``dz/db = 1``.
"""

# %%
import numpy as np

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import check_gradients, trace_step

x, w, b, y = np.array([1.0, 2.0, 3.0]), np.array([0.5, -0.5, 0.2]), 0.1, 0.8

z = w @ x + b
a = 1 / (1 + np.exp(-z))
dz = 2 * (a - y) * a * (1 - a)
by_hand = {"loss": (a - y) ** 2, "dw": dz * x, "db": dz}
print(f"by hand: a = {a:.6f}, loss = {by_hand['loss']:.6f}, dw = {by_hand['dw'].round(6)}, db = {by_hand['db']:.6f}")

# %% [markdown]
"""
The same neuron as a layer. A traced step shows every array; the gradients are checked by differences.
"""

# %%
X = x[None]
neuron, loss = nn.Sequential(nn.Linear(3, 1, activation="sigmoid")), nn.MSELoss()
neuron[0].weight.data, neuron[0].bias.data = w[:, None], [b]
trace = trace_step(neuron, loss, X, [y], precision=6)

# %%
check = check_gradients(neuron, loss, X, [y])
print(check)
weight, bias = neuron[0].weight, neuron[0].bias
layer = {"loss": loss(neuron(X), [y]), "dw": weight.grad[:, 0].copy(), "db": float(bias.grad[0])}

# %% [markdown]
"""
Then the neuron goes downhill until it gives y.
"""

# %%
optimizer, losses = nn.SGD(neuron.parameters(), lr=0.5), []
for _ in range(30):
    losses.append(loss(neuron(X), [y]))
    neuron.backward(loss.backward())
    optimizer.step()
output = neuron(X).item()

# %%
display = LossCurveDisplay(losses, unit="squared error").plot()
display.ax_.set_xlabel("step")
display.ax_.set_yscale("log")
display.ax_.set_title(f"A neuron learns to give {y}: it gave {a:.3f}, now {output:.3f}")
display.figure_.savefig("single_neuron.png")

# %% [markdown]
"""
# Lesson 1: the chain rule on computational graphs

A formula is a graph of small steps. Each node knows one rule: what it gives for its operands, and what it passes back to them.
Backpropagation is the chain rule, applied node by node from the result to the inputs. Take ``f = q z`` with ``q = x + y``: a
product multiplies what comes back by the other factor, a sum passes it on as it is.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn
from fastprop.inspection import check_gradients, numerical_gradient, trace_step
from fastprop.nn import functional as F

x, y, z = map(nn.Input, "xyz")
q = (x + y).named("q")
product = nn.Graph([x, y, z], (q * z).named("f"))
f = product(x=2, y=3, z=4)
df = product.backward()
print(product)
print(f"f = {f:g}, df/dq = {product.grad('q'):g}, df/d(x, y, z) = {np.array(df)}")

# %% [markdown]
"""
Where a value goes two ways, what comes back is added: ``x x`` has the gradient ``x + x``. The square of ``q = x + 2`` is a chain:
``2 q`` times 1.
"""

# %%
x = nn.Input("x")
twice, chain = nn.Graph(x * x), nn.Graph((x + 2).named("q") ** 2)
for name, graph in {"x x": twice, "(x + 2)^2": chain}.items():
    print(f"{name} at 3 is {graph(3):g}, with the gradient {graph.backward():g}")

# %% [markdown]
"""
One neuron: ``L = (sigmoid(w . x + b) - y)^2``. Its chain has three factors, ``dL/da = 2 (a - y)``, ``da/dz = a (1 - a)`` and
``dz/dw = x``. Central differences, ``(L(w + h) - L(w - h)) / 2h`` for one element after another, know nothing of the chain, and
must agree.
"""

# %%
point = {"x": np.array([1.0, 2.0, 3.0]), "w": np.array([0.5, -0.5, 0.2]), "b": 0.1, "y": 0.8}
x, w, b, y = map(nn.Input, point)
z = (w @ x + b).named("z")
a = F.sigmoid(z).named("a")
neuron = nn.Graph([x, w, b, y], ((a - y) ** 2).named("L"))
loss = neuron(**point)
dx, dw, db, dy = neuron.backward()
print(f"a = {neuron.value('a'):.6f}, L = {loss:.6f}, dL/da = {neuron.grad('a'):.6f}, dL/dz = {neuron.grad('z'):.6f}")
by_differences = numerical_gradient(lambda w: neuron(**point | {"w": w}), point["w"])
print(f"dL/dw = {dw.round(6)}, by differences {by_differences.round(6)}, dL/db = {db:.6f}")

# %% [markdown]
"""
The same neuron as a layer, whose backward is one rule for all of its nodes. A traced step shows every array.
"""

# %%
X, squared_error = point["x"][None], nn.MSELoss()
layer = nn.Sequential(nn.Linear(3, 1, activation="sigmoid"))
layer[0].weight, layer[0].bias = point["w"][:, None], [point["b"]]
trace = trace_step(layer, squared_error, X, [point["y"]], precision=6)
check = check_gradients(layer, squared_error, X, [point["y"]])
print(check)

# %% [markdown]
"""
A network with one hidden unit, ``L = (y - relu(w2 relu(w1 x + b1) + b2))^2``, as a picture. Values are above the edges, gradients
below. Gradient descent on its four weights then makes the prediction right.
"""

# %%
point = {"x": 1.0, "w1": 0.5, "b1": 0.1, "w2": 2.0, "b2": 0.3, "y": 1.0}
x, w1, b1, w2, b2, y = map(nn.Input, point)
hidden = F.relu(w1 * x + b1).named("hidden")
prediction = F.relu(w2 * hidden + b2).named("prediction")
network = nn.Graph(((y - prediction) ** 2).named("L"))


def gradients():
    """The loss at the point, and its gradient by each input."""
    return network(**point), dict(zip(point, network.backward(), strict=True))


figure, axes = plt.subplots(2, 1, figsize=(12, 5), layout="constrained")
first, by_input = gradients()
print(f"L = {first:.4f}", *(f"dL/d{name} = {gradient:.4g}" for name, gradient in by_input.items()), sep=", ")
network.draw(ax=axes[0])
axes[0].set_title(f"Values (green) and gradients (red): L = {first:.4f}")

# %%
LR, N_STEPS = 0.02, 10
for _ in range(N_STEPS):
    _, by_weight = gradients()
    point |= {name: point[name] - LR * by_weight[name] for name in ("w1", "b1", "w2", "b2")}
trained, _ = gradients()
network.draw(ax=axes[1])
axes[1].set_title(f"After {N_STEPS} steps of gradient descent: L = {trained:.2g}")
figure.savefig("lesson_graphs.png")

# %% [markdown]
"""
# Lesson 3: deep networks, where gradients vanish or explode, and what helps

A list of sizes is a network of any depth. A traced step has every array of every layer: z, a, and on the way back dz, the delta of
textbooks. Each delta is made of the one behind it, ``dz_l = (dz_(l+1) W_(l+1)^T) f'(z_l)``, so that a deep network multiplies many
factors.
"""

# %%
import io
import tracemalloc
import warnings

import numpy as np

from fastprop import nn
from fastprop.inspection import GradientFlowDisplay, GradientWarning, gradient_flow, trace_step

rng = np.random.default_rng(1)
loss = nn.SoftmaxCrossEntropy()
model = nn.mlp([10, 20, 20, 20, 20, 5], random_state=0)
trace = trace_step(model, loss, rng.normal(size=(8, 10)), rng.integers(0, 5, 8), file=io.StringIO())
for i in range(len(model)):
    print(f"layer {i}: z {trace[i].z.shape}, |delta| = {np.linalg.norm(trace[i].dz):.4f}")

# %% [markdown]
"""
Nine ways to build 8 layers. Sigmoid's derivative is at most 1/4, so each layer shrinks the gradient on its way back; ReLU with He's
initialization keeps it, as SELU does with LeCun's; weights three times as large as He's make it explode. Residual blocks,
``F(x) + x``, highway layers, ``T F(x) + (1 - T) x``, connections from every layer to all behind it, and batch normalisation let
even sigmoids pass it on. Layer normalisation, which scales every row by itself, helps them little.
"""

# %%
N_LAYERS, N_UNITS = 8, 50


def three_times_he(layer, random_state):
    nn.init.he_normal(layer, random_state)
    layer.weight.data *= 3


def linear(rng, activation="sigmoid", init="xavier_normal"):
    return nn.Linear(N_UNITS, N_UNITS, activation=activation, init=init, random_state=rng)


def normalised(rng, norm):
    return nn.Sequential(linear(rng, "identity"), norm(N_UNITS), nn.Sigmoid())


blocks = {
    "sigmoid": linear,
    "ReLU, He": lambda rng: linear(rng, "relu", "he_normal"),
    "ReLU, 3 x He": lambda rng: linear(rng, "relu", three_times_he),
    "SELU, LeCun": lambda rng: linear(rng, "selu", "lecun_normal"),
    "sigmoid, residual": lambda rng: nn.Residual(linear(rng)),
    "sigmoid, highway": lambda rng: nn.Highway(N_UNITS, activation="sigmoid", random_state=rng),
    "sigmoid, batch norm": lambda rng: normalised(rng, nn.BatchNorm1d),
    "sigmoid, layer norm": lambda rng: normalised(rng, nn.LayerNorm),
}


def deep(block):
    rng = np.random.default_rng(0)
    return nn.Sequential(*(block(rng) for _ in range(N_LAYERS)), nn.Linear(N_UNITS, 10, random_state=rng))


models = {name: deep(block) for name, block in blocks.items()}
widths = range(N_UNITS, 2 * N_UNITS, 6)[:N_LAYERS]  # each layer adds 6 columns, and gets all before it
dense = [nn.Linear(n, 6, activation="sigmoid", init="xavier_normal", random_state=n) for n in widths]
models["sigmoid, dense"] = nn.Sequential(nn.DenseConcat(dense), nn.Linear(N_UNITS + 6 * N_LAYERS, 10, random_state=0))

# %% [markdown]
"""
One step of each. A warning names the layers where the gradient vanishes or explodes.
"""

# %%
X, y = rng.normal(size=(64, N_UNITS)), rng.integers(0, 10, 64)
flows, messages, ax = {}, {}, None
for name, model in models.items():
    layers = [layer for layer, module in model.named_modules() if isinstance(module, nn.Linear) and "gate" not in layer]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GradientWarning)
        flows[name] = gradient_flow(model, loss, X, y, at="outputs", layers=layers)
    messages[name] = [str(warning.message) for warning in caught]
    print(f"{name:<20} first / last layer: {flows[name].ratio():.2e}", *messages[name])
    ax = GradientFlowDisplay.from_flow(flows[name], ax=ax, name=name).ax_
ax.set_title(f"Gradients by the outputs of {N_LAYERS} layers, and of the last")
ax.figure.savefig("lesson_deep.png")

# %% [markdown]
"""
Sigmoid and ReLU side by side, a bar for each layer. Lines show sigmoid's bound, the product of the largest derivatives and the
norms of the weights, and what each of the two factors would do alone. ``0.25^8 = 1.5e-5``.
"""

# %%
bars = GradientFlowDisplay.from_flow(flows["sigmoid"], "bars", name="sigmoid", bound=True)
GradientFlowDisplay.from_flow(flows["ReLU, He"], "bars", bars.ax_, name="ReLU, He")
bars.figure_.savefig("lesson_deep_bound.png")
print(flows["sigmoid"].bound())

# %% [markdown]
"""
Against explosion, gradients are clipped after backward and before the step: all together to a norm, which keeps their direction, or
one by one to a value.
"""

# %%
model = models["ReLU, 3 x He"]
loss(model(X), y)
model.backward(loss.backward())
clipped = [nn.clip_grad_norm(model.parameters(), 1.0) for _ in range(2)]  # each returns the norm that it found
nn.clip_grad_value(model.parameters(), 0.01)
largest = max(np.abs(parameter.grad).max() for parameter in model.parameters())
print(f"norm {clipped[0]:.1f}, clipped to {clipped[1]:.3f}; then the largest element to {largest}")

# %% [markdown]
"""
Dropout gives a layer a random half of its values in training, times 2 so that their mean stays; in evaluation it does nothing.
"""

# %%
dropout, ones = nn.Dropout(0.5, random_state=0), np.ones((1, 1000))
dropped = dropout(ones)
print(f"values {np.unique(dropped)}, mean {dropped.mean():.3f}; in evaluation {np.unique(dropout.eval()(ones))}")

# %% [markdown]
"""
Depth costs memory: backward needs what every layer kept. With a checkpoint every 8 of 64 layers, only those are kept, and the
layers between two are computed again. The gradients are the same bits.
"""


# %%
def step(checkpoint_every):
    """The gradient with respect to the input, and the peak of memory in arrays of the size of x."""
    tanhs = (linear(seed, "tanh") for seed in range(64))
    model, x = nn.Sequential(*tanhs, checkpoint_every=checkpoint_every), np.ones((1000, N_UNITS))
    tracemalloc.start()
    dx = model.backward(model(x))
    peak = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    return dx, peak


(dx, all_kept), (same, checkpointed) = step(None), step(8)
print(f"64 layers keep {all_kept:.0f} arrays, with checkpoints {checkpointed:.0f}; equal: {np.array_equal(dx, same)}")

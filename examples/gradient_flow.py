# %% [markdown]
"""
# Vanishing and exploding gradients, and what helps

The norm of the gradient at the outputs of 8 layers of 50 units. Sigmoid's derivative is at most 1/4, so each layer shrinks the
gradient on its way back; ReLU with He's initialization keeps it; weights three times as large as He's make it explode.
"""

# %%
import warnings

import numpy as np

from fastprop import nn
from fastprop.inspection import GradientFlowDisplay, GradientWarning, gradient_flow

N_LAYERS, N_UNITS = 8, 50


def plain(activation, init="xavier_normal", scale=1.0):
    """8 layers of 50 units with one activation, and a last layer."""
    rng = np.random.default_rng(0)
    layers = [nn.Linear(N_UNITS, N_UNITS, activation=activation, init=init, random_state=rng) for _ in range(N_LAYERS)]
    for layer in layers:
        layer.weight.data *= scale
    return nn.Sequential(*layers, nn.Linear(N_UNITS, 10, random_state=rng))


# %% [markdown]
"""
Residual blocks and batch normalisation let even sigmoids pass the gradient on.
"""


# %%
def residual():
    """Sigmoids again, but what they give is added to what they got."""
    rng = np.random.default_rng(0)
    linear = {"activation": "sigmoid", "init": "xavier_normal", "random_state": rng}
    layers = [nn.Residual(nn.Linear(N_UNITS, N_UNITS, **linear)) for _ in range(N_LAYERS)]
    return nn.Sequential(*layers, nn.Linear(N_UNITS, 10, random_state=rng))


def normalised():
    """Sigmoids again, with batch normalisation of what each receives."""
    rng = np.random.default_rng(0)
    layers = []
    for _ in range(N_LAYERS):
        layers += [nn.Linear(N_UNITS, N_UNITS, init="xavier_normal", random_state=rng), nn.BatchNorm1d(N_UNITS), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(N_UNITS, 10, random_state=rng))


# %% [markdown]
"""
One step of each. A warning names the layer where the gradient explodes.
"""

# %%
models = {
    "sigmoid": plain("sigmoid"),
    "ReLU, He": plain("relu", "he_normal"),
    "ReLU, 3 x He": plain("relu", "he_normal", scale=3.0),
    "sigmoid, residual": residual(),
    "sigmoid, batch norm": normalised(),
}
rng = np.random.default_rng(1)
X, y = rng.normal(size=(64, N_UNITS)), rng.integers(0, 10, 64)
flows, messages = {}, {}
for name, model in models.items():
    layers = [layer for layer, module in model.named_modules() if isinstance(module, nn.Linear)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GradientWarning)
        flows[name] = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, y, at="outputs", layers=layers)
    messages[name] = [str(warning.message) for warning in caught]
    print(f"{name:<20} first / last layer: {flows[name].ratio():.2e}", *messages[name])

# %%
ax = None
for name, flow in flows.items():
    ax = GradientFlowDisplay.from_flow(flow, ax=ax, name=name).ax_
ax.set_title(f"Gradients by the outputs of {N_LAYERS} layers of {N_UNITS} units")
ax.figure.savefig("gradient_flow.png")

# %% [markdown]
"""
Sigmoid and ReLU side by side, a bar for each layer. Lines show sigmoid's bound, the product of the largest derivatives and the
norms of the weights, and what each of the two factors would do alone. ``0.25^8 = 1.5e-5``.
"""

# %%
bars = GradientFlowDisplay.from_flow(flows["sigmoid"], "bars", name="sigmoid", bound=True)
GradientFlowDisplay.from_flow(flows["ReLU, He"], "bars", bars.ax_, name="ReLU, He")
bars.figure_.savefig("gradient_flow_bound.png")
print(flows["sigmoid"].bound())

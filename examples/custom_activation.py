# %% [markdown]
"""
# An activation of your own: give the value and its derivative, as functions of one number

`nn.Activation` checks one against the other when it is made, so that a wrong derivative never trains a model. Compiled by Numba,
which this needs, the functions run in a compiled loop. Here swish, z sigmoid(z), learns two moons.
"""

# %%
import math

from numba import njit
from sklearn.datasets import make_moons

from fastprop import nn
from fastprop.inspection import ActivationDisplay, check_gradients


@njit
def swish(z):
    return z / (1 + math.exp(-z))


@njit
def swish_derivative(z):
    s = 1 / (1 + math.exp(-z))
    return s + z * s * (1 - s)


# %%
try:
    nn.Activation(swish, swish, name="wrong swish")
except ValueError as error:
    refused = str(error)
    print(f"refused: {refused}")

# %%
activation = nn.Activation(swish, swish_derivative)
X, y = make_moons(300, noise=0.15, random_state=0)
model = nn.mlp([2, 16, 2], activation=activation, random_state=0)
loss = nn.SoftmaxCrossEntropy()
check = check_gradients(model, loss, X[:10], y[:10], raise_on="bug")
history = model.fit(X, y, loss, nn.Adam(model.parameters(), lr=0.02), epochs=40, random_state=0)
accuracy = float((model.eval()(X).argmax(axis=1) == y).mean())
print(f"gradients: {check.verdict}; loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}, accuracy {accuracy:.1%}")

# %%
display = ActivationDisplay.from_activation("relu")
ActivationDisplay.from_activation(activation, ax=display.ax_)
display.figure_.savefig("custom_activation.png")

# %% [markdown]
"""
# Lesson 5: training, by hand and in one call

A step is always the same: forward, loss, backward, update. Backward overwrites the gradients of the step before. An epoch goes once
through all rows, in mini-batches. Here a network learns to read digits, with gradient descent at a fixed rate.
"""

# %%
import tracemalloc

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import FirstLayerWeightsDisplay, activation_statistics, check_gradients

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
loss, N_EPOCHS, N_ROWS = nn.SoftmaxCrossEntropy(), 3, 32

by_hand = nn.mlp([64, 16, 10], random_state=0)
optimizer = nn.SGD(by_hand.parameters(), lr=0.1)
losses = []
for _ in range(N_EPOCHS):
    total = 0.0
    for start in range(0, len(X_train), N_ROWS):
        rows = slice(start, start + N_ROWS)
        total += loss(by_hand(X_train[rows]), y_train[rows]) * len(y_train[rows])
        by_hand.backward(loss.backward())
        optimizer.step()
    losses.append(total / len(X_train))
print(f"losses by hand {np.round(losses, 4)}")

# %% [markdown]
"""
`fit` is this loop, compiled. It shuffles the rows, unless it is told not to; then the weights are the same to rounding.
"""

# %%
by_fit = nn.mlp([64, 16, 10], random_state=0)
optimizer = nn.SGD(by_fit.parameters(), lr=0.1)
losses_of_fit = by_fit.fit(X_train, y_train, loss, optimizer, epochs=N_EPOCHS, batch_size=N_ROWS, shuffle=False)["loss"]
pairs = zip(by_hand.parameters(), by_fit.parameters(), strict=True)
difference = max(np.abs(ours.data - its.data).max() for ours, its in pairs)
print(f"losses of fit  {np.round(losses_of_fit, 4)}, largest difference of a weight {difference:.0e}")

# %% [markdown]
"""
A batch that is too large for the memory goes in parts: with `accumulate=True` backward adds to the gradients. Each of three parts
counts one third, and the sum is the gradient of the whole batch.
"""

# %%
model = nn.mlp([64, 16, 10], random_state=0)
batch = np.arange(96)
loss(model(X_train[batch]), y_train[batch])
model.backward(loss.backward())
whole = model[0].weight.grad.copy()
nn.SGD(model.parameters(), lr=0.1).zero_grad()
for part in np.split(batch, 3):
    loss(model(X_train[part]), y_train[part])
    model.backward(loss.backward() / 3, accumulate=True)
accumulated = model[0].weight.grad
print(f"gradient of three parts and of the whole: equal to {np.abs(accumulated - whole).max():.0e}")

# %% [markdown]
"""
XOR: four points that no single layer can tell apart, for a network 2-4-2 with ReLU. Of 20 beginnings, 5000 steps each, most get all
four points right. Each of the others has dead units, which give 0 for all four points and get no gradient any more; what is left of
its four units cannot bend the plane twice.
"""

# %%
corners, exclusive_or, N_SEEDS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0]), 20
curves, dead, solved = [], [], []
for seed in range(N_SEEDS):
    model = nn.mlp([2, 4, 2], random_state=seed)
    optimizer = nn.SGD(model.parameters(), lr=0.5)
    curves.append(model.fit(corners, exclusive_or, loss, optimizer, epochs=5000, batch_size=4)["loss"])
    dead.append(len(activation_statistics(model, corners)["0"].dead))
    solved.append(bool((model(corners).argmax(axis=1) == exclusive_or).all()))
stuck = {seed: dead[seed] for seed in range(N_SEEDS) if not solved[seed]}
print(f"{sum(solved)} of {N_SEEDS} seeds learn all four points; stuck, with so many dead units: {stuck}")

# %%
ax = None
for right in (True, False):
    alike = [curve for curve, its in zip(curves, solved, strict=True) if its == right]
    for i, curve in enumerate(alike):
        name = None if i else f"{len(alike)} seeds {'learn it' if right else 'are stuck'}"
        style = {"color": "tab:blue" if right else "tab:red", "alpha": 0.7}
        ax = LossCurveDisplay(curve, name=name, unit="nats").plot(ax, loss_kw=style).ax_
ax.set_yscale("log")
ax.set_xlabel("step")
ax.set_title("XOR, 2-4-2 with ReLU")
ax.figure.savefig("lesson_training_xor.png")

# %% [markdown]
"""
Learning, seen from inside. At the beginning every unit of the first layer is noise. As the network learns to read digits, each unit
finds the places where ink, or its absence, tells them apart. A callback copies the weights after epochs 5 and 10.
"""

# %%
model = nn.mlp([64, 16, 10], init="xavier_uniform", random_state=0)
weights = {"epoch 0": model[0].weight.data.copy()}


def watch(epoch, history):
    if epoch + 1 in (5, 10):
        weights[f"epoch {epoch + 1}"] = model[0].weight.data.copy()


options = {"validation_data": (X_test, y_test), "metrics": "accuracy", "random_state": 0, "callback": watch}
optimizer = nn.Adam(model.parameters(), lr=0.01)
history = model.fit(X_train, y_train, loss, optimizer, epochs=10, batch_size=N_ROWS, **options)
accuracies = history["val_accuracy"]
print(f"after 10 epochs: loss {history['loss'][-1]:.3f}, accuracy on new digits {accuracies[-1]:.1%}")

# %%
displays = FirstLayerWeightsDisplay.compare(weights)
displays[0].figure_.savefig("lesson_training_weights.png")

# %%
names = {"name": "digits, 64-16-10", "unit": "nats", "score_name": "accuracy"}
display = LossCurveDisplay.from_history(history, validation_scores=accuracies, **names)
display.figure_.savefig("lesson_training_curves.png")

# %% [markdown]
"""
An activation of your own is a value and its derivative. `nn.Activation` checks one against the other when it is made, so that a
wrong derivative never trains a model. As functions of arrays they run in NumPy; decorated with `numba.njit`, in the compiled loop.
"""


# %%
try:
    from numba import njit
except ImportError:

    def njit(function):
        return function


@njit
def swish(z):
    return z / (1 + np.exp(-z))


@njit
def swish_derivative(z):
    s = 1 / (1 + np.exp(-z))
    return s + z * s * (1 - s)


try:
    nn.Activation(swish, swish, name="wrong swish")
except ValueError as error:
    refused = str(error)
    print(f"refused: {refused}")

# %%
own = nn.mlp([64, 16, 10], activation=nn.Activation(swish, swish_derivative), random_state=0)
check = check_gradients(own, loss, X_train[:4], y_train[:4], n_elements=30)
own.fit(X_train, y_train, loss, nn.Adam(own.parameters(), lr=0.01), epochs=10, random_state=0)
accuracy = float((own.predict(X_test).argmax(axis=1) == y_test).mean())
print(f"gradients: {check.verdict}; accuracy on new digits with swish {accuracy:.1%}")

# %% [markdown]
"""
In training a forward keeps what backward will need. In evaluation, which `predict` uses as well, it keeps nothing but its output.
"""

# %%
deep, x, kept = nn.mlp([100] * 21, random_state=0), np.ones((1000, 100)), {}
for mode in ("training", "evaluation"):
    deep.train(mode == "training").forget()
    tracemalloc.start()
    output = deep(x)
    kept[mode] = (tracemalloc.get_traced_memory()[0] - output.nbytes) / x.nbytes
    tracemalloc.stop()
    print(f"{mode}: {kept[mode]:.1f} arrays kept by 20 layers")

# %% [markdown]
"""
# Lesson 4: information and derivatives, or why the gradient of cross-entropy is p - y

Cross-entropy is the entropy of the targets plus what the model does not know: ``H(p, q) = H(p) + KL(p || q)``. The loss of a batch
is its mean over the rows. Of three predictions q for the targets p, the first is nearly right, the second knows nothing, the third
is wrong about one class.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from fastprop import nn
from fastprop.inspection import InformationDisplay, cross_entropy, entropy, hessian, jacobian, jvp, kl_divergence, softmax_jacobian

targets = np.array([[0.0, 1.0, 0.0], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]])
logits = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, -2.0]])
loss = nn.SoftmaxCrossEntropy()
mean = loss(logits, targets)
q = loss.outputs
parts = {"H(p)": entropy(targets), "KL(p || q)": kl_divergence(targets, q), "H(p, q)": cross_entropy(targets, q)}
for name, values in parts.items():
    print(f"{name:<11}", values.round(4), "nats")
print(f"the loss is the mean of H(p, q): {mean:.4f}")

# %% [markdown]
"""
Every probability depends on every logit: the Jacobian of softmax is ``diag(q) - q q^T``. Its backward multiplies by that matrix
without making it, ``dz = q * (dq - sum(dq * q))``. With the gradient of cross-entropy, ``dq = -p / q``, the divisions cancel, and
``q - p`` is left.
"""

# %%
z, p = logits[2], targets[2]
J = softmax_jacobian(z)
softmax = nn.Softmax()
dz = softmax.backward(-p / softmax(z))
by_differences = jacobian(softmax, z)
print(J.round(4))
print(f"by differences: equal to {np.abs(J - by_differences).max():.0e}")
print(f"J dq = {(J @ (-p / q[2])).round(4)}, backward {dz.round(4)}, q - p = {(q[2] - p).round(4)}")

# %% [markdown]
"""
The second derivatives of cross-entropy by the logits are that matrix again. No eigenvalue is negative: the loss is convex in the
logits. The mean squared error of a linear layer has the Hessian ``2 X^T X / n``, whatever its weights.
"""

# %%
curvature = hessian(lambda z: loss(z, p), z)
eigenvalues = np.linalg.eigvalsh(J)
print(f"Hessian of cross-entropy, from softmax's Jacobian: {np.abs(curvature - J).max():.0e}; eigenvalues {eigenvalues.round(4)}")

rng = np.random.default_rng(0)
X, y, squared_error = rng.normal(size=(8, 3)), rng.normal(size=(8, 1)), nn.MSELoss()
of_weights = hessian(lambda w: squared_error(X @ w, y), rng.normal(size=(3, 1)))[:, 0, :, 0]
expected = 2 * X.T @ X / len(X)
print(f"Hessian of the mean squared error, from 2 X^T X / n: {np.abs(of_weights - expected).max():.0e}")

# %% [markdown]
"""
Backward is a product with the Jacobian from the left, ``u J``: one pass gives the gradient of one number by all inputs. Forward
mode is the product from the right, ``J v``: one pass gives the change of all outputs in one direction. Both meet in ``u J v``.
"""

# %%
model = nn.mlp([3, 5, 4], "tanh", random_state=0)
x, v, u = X[0], rng.normal(size=3), rng.normal(size=4)
forward_mode = jvp(model, x, v)
model(x)
reverse_mode = model.backward(u)
meeting = u @ forward_mode, reverse_mode @ v
print(f"J v = {forward_mode.round(4)}, u J = {reverse_mode.round(4)}; u J v = {meeting[0]:.8f} and {meeting[1]:.8f}")

# %% [markdown]
"""
Left, against the probability of the true class: the loss, the size of the gradient, and the entropy. Middle: the sigmoid, which is
steepest where its entropy is largest. Right: the Jacobian of softmax.
"""

# %%
figure, axes = plt.subplots(1, 3, figsize=(15, 5.5), layout="constrained")
InformationDisplay().plot(axes[:2])
axes[2].imshow(J, cmap="RdBu", vmin=-2 * J.max(), vmax=2 * J.max(), aspect="auto")
for row, column in np.ndindex(J.shape):
    axes[2].text(column, row, f"{J[row, column]:.3f}", ha="center", va="center")
axes[2].set(xticks=range(3), yticks=range(3), xlabel="logit", ylabel="probability", title=f"Jacobian of softmax at {z.tolist()}")
figure.savefig("lesson_information.png")

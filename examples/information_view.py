# %% [markdown]
"""
# The information view: what a wrong probability costs, and how hard the gradient pulls

Cross-entropy is the entropy of the targets plus what the model does not know: ``H(p, q) = H(p) + KL(p || q)``.
"""

# %%
import numpy as np

from fastprop import nn
from fastprop.inspection import InformationDisplay, cross_entropy, entropy, kl_divergence

targets = np.array([[0.0, 1.0, 0.0], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]])
logits = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, -2.0]])

# %% [markdown]
"""
A batch of three predictions q for the targets p. The first is nearly right, the second knows nothing, the third is wrong about one
class. The loss of the batch is the mean of their cross-entropies.
"""

# %%
loss = nn.SoftmaxCrossEntropy()
mean = loss(logits, targets)
q = loss.outputs
parts = {"H(p)": entropy(targets), "KL(p || q)": kl_divergence(targets, q), "H(p, q)": cross_entropy(targets, q)}
for name, values in parts.items():
    print(f"{name:<11}", values.round(4), "nats")
print(f"the loss is the mean of H(p, q): {mean:.4f}")

# %% [markdown]
"""
Left, against the probability of the true class: the loss, the size of the gradient, and the entropy. Right: the sigmoid, which is
steepest where its entropy is largest.
"""

# %%
display = InformationDisplay().plot()
display.figure_.savefig("information_view.png")

# %% [markdown]
"""
# The training loop of `kernels_python.py` inside a jitted function: no Python between the kernels

The Numba back end can be called from jitted code. These are the raw kernels: nothing is checked, arrays must be C-contiguous and of
one dtype, an array that is not given is an empty one, and activations and losses go by number.

It needs numba; the first run compiles for about a minute.
"""

# %%
import numpy as np
from kernels_python import LR, N_STEPS, accuracy, initial_problem
from numba import njit

from fastprop import LossCurveDisplay
from fastprop.kernels import numba_backend, spec

IDENTITY, TANH = spec.ACTIVATION_CODES["identity"], spec.ACTIVATION_CODES["tanh"]
SOFTMAX_CROSS_ENTROPY = spec.LOSS_CODES["softmax_cross_entropy"]


# %%
@njit
def train(x, labels, weight_1, bias_1, weight_2, bias_2, n_steps, lr):
    """Full-batch gradient descent; changes the parameters and returns the mean loss of each step."""
    n, n_hidden, n_classes = len(x), weight_1.shape[1], weight_2.shape[1]
    a, da, logits = np.empty((n, n_hidden)), np.empty((n, n_hidden)), np.empty((n, n_classes))
    dweight_1, dbias_1 = np.empty_like(weight_1), np.empty_like(bias_1)
    dweight_2, dbias_2 = np.empty_like(weight_2), np.empty_like(bias_2)
    no_hyper, no_targets, no_weights, no_dx = np.empty(0), np.empty((0, 0)), np.empty(0), np.empty((0, 0))
    losses = np.empty(n_steps)
    for step in range(n_steps):
        numba_backend.linear_forward(x, weight_1, bias_1, TANH, a, 1)
        numba_backend.linear_forward(a, weight_2, bias_2, IDENTITY, logits, 1)
        # The probabilities replace the logits, and the gradient replaces the probabilities.
        loss_sum = numba_backend.loss_forward(SOFTMAX_CROSS_ENTROPY, no_hyper, logits, labels, no_targets, no_weights, logits, 1)
        numba_backend.loss_backward(SOFTMAX_CROSS_ENTROPY, no_hyper, logits, labels, no_targets, no_weights, 1 / n, logits, 1)
        numba_backend.linear_backward(logits, a, weight_2, logits, IDENTITY, False, da, dweight_2, dbias_2, 1)
        numba_backend.linear_backward(da, x, weight_1, a, TANH, False, no_dx, dweight_1, dbias_1, 1)
        weight_1 -= lr * dweight_1
        bias_1 -= lr * dbias_1
        weight_2 -= lr * dweight_2
        bias_2 -= lr * dbias_2
        losses[step] = loss_sum / n
    return losses


# %%
x, labels, params = initial_problem()
losses = train(x, labels.astype(np.intp), *params, N_STEPS, LR)
reached = accuracy(x, labels, params)
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {reached:.1%}")

# %%
display = LossCurveDisplay(losses, name="inside @njit", unit="nats").plot()
display.ax_.set_xlabel("step")
display.figure_.savefig("kernels_njit.png")

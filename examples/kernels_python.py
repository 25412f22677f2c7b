# %% [markdown]
"""
# A training loop of your own, on the kernels alone: no model, no optimizer object, just arrays

Two layers learn to tell two moons apart. Forward, loss, backward and update are one call each, into buffers that are allocated
once; `kernels_njit.py` and `kernels_cython.py` are the same loop, compiled.
"""

# %%
import numpy as np
from sklearn.datasets import make_moons

from fastprop import LossCurveDisplay, kernels

N_HIDDEN, N_STEPS, LR = 16, 500, 0.5


def initial_problem():
    """Two moons, and the parameters of a network 2-16-2 that knows nothing yet."""
    x, labels = make_moons(300, noise=0.15, random_state=0)
    rng = np.random.default_rng(0)
    weight_1, weight_2 = rng.normal(size=(2, N_HIDDEN)), rng.normal(scale=0.3, size=(N_HIDDEN, 2))
    return x, labels, [weight_1, np.zeros(N_HIDDEN), weight_2, np.zeros(2)]


# %%
def train(x, labels, params, n_steps=N_STEPS, lr=LR):
    """Full-batch gradient descent; changes params and returns the mean loss of each step."""
    weight_1, bias_1, weight_2, bias_2 = params
    gradients, velocities = [np.empty_like(p) for p in params], [np.zeros_like(p) for p in params]
    dweight_1, dbias_1, dweight_2, dbias_2 = gradients
    a, logits = np.empty((len(x), N_HIDDEN)), np.empty((len(x), 2))
    da = np.empty_like(a)
    losses = []
    for _ in range(n_steps):
        kernels.linear_forward(x, weight_1, bias_1, "tanh", out=a)
        kernels.linear_forward(a, weight_2, bias_2, out=logits)
        loss_sum, probs = kernels.softmax_cross_entropy_forward(logits, labels, out=logits)
        dlogits = kernels.softmax_cross_entropy_backward(probs, labels, scale=1 / len(x), out=probs)
        # `a` of an identity layer is not needed for its derivative: any array of the shape will do.
        kernels.linear_backward(dlogits, a, weight_2, logits, dx=da, dweight=dweight_2, dbias=dbias_2)
        kernels.linear_backward(da, x, weight_1, a, "tanh", need_dx=False, dweight=dweight_1, dbias=dbias_1)
        for p, gradient, velocity in zip(params, gradients, velocities, strict=True):
            kernels.sgd_update(p, gradient, velocity, lr=lr, momentum=0.0, nesterov=False)
        losses.append(loss_sum / len(x))
    return losses


# %%
def accuracy(x, labels, params):
    """The share of rows that get their label."""
    weight_1, bias_1, weight_2, bias_2 = params
    logits = kernels.linear_forward(kernels.linear_forward(x, weight_1, bias_1, "tanh"), weight_2, bias_2)
    return float((logits.argmax(axis=1) == labels).mean())


# %%
if __name__ == "__main__":  # the compiled loops import the functions above
    x, labels, params = initial_problem()
    losses = train(x, labels, params)
    reached = accuracy(x, labels, params)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {reached:.1%}")
    display = LossCurveDisplay(losses, name="kernels alone", unit="nats").plot()
    display.ax_.set_xlabel("step")
    display.figure_.savefig("kernels_python.png")

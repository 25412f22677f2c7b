"""Updates of one flat block of parameters, each one loop. The formulas, and who they are from: `reference.updates`.

All take ``shrink``, 1 - lr weight_decay, which the parameters are multiplied by before the step.
"""

import numpy as np

from ..spec import OPTIMIZER_CODES
from .activations import copy
from .jit import UnknownNumber, jit, public, readonly

KNOWN = SGD, MOMENTUM, RMSPROP, ADAM, ADAMW = tuple(
    OPTIMIZER_CODES[name] for name in ("sgd", "momentum", "rmsprop", "adam", "adamw")
)


@jit
def check_optimizer(optimizer):
    if optimizer not in KNOWN:
        raise UnknownNumber("optimizer", optimizer)


@public
def update(optimizer, params, grad, slot_1, slot_2, hyper, step, n_threads):
    """One step, in place, all arrays (n_params,); slot_2 (0,) where it has one slot. ``n_threads`` is ignored."""
    check_optimizer(optimizer)
    lr, l2, weight_decay = hyper[0], hyper[1], hyper[2]
    apply_update(optimizer, params, readonly(grad), slot_1, slot_2, lr, l2, 1.0 - lr * weight_decay, readonly(hyper), step)


@jit
def apply_update(optimizer, params, grad, slot_1, slot_2, lr, l2, shrink, hyper, step):
    """`update` with lr, l2 and shrink instead of what ``hyper`` begins with."""
    if optimizer == SGD:
        _sgd(params, grad, slot_1, lr, l2, shrink, hyper[3], hyper[4] != 0)
    elif optimizer == MOMENTUM:
        _momentum(params, grad, slot_1, lr, l2, shrink, hyper[3], hyper[4] != 0)
    elif optimizer == RMSPROP:
        _rmsprop(params, grad, slot_1, lr, l2, shrink, hyper[3], hyper[4])
    else:
        # AdamW as PyTorch has it: params -= lr / (1 - beta_1^step) m / (sqrt(v) / root + epsilon), root = sqrt(1 - beta_2^step).
        # Multiplied by the root on both sides of the quotient, that is Adam with another epsilon.
        beta_1, beta_2, root = hyper[3], hyper[4], np.sqrt(1.0 - hyper[4] ** step)
        epsilon = hyper[5] * root if optimizer == ADAMW else hyper[5]
        _adam(params, grad, slot_1, slot_2, lr * root / (1.0 - beta_1**step), l2, shrink, beta_1, beta_2, epsilon)


@jit
def average_gain(decay, step):
    """How far the moving average goes towards the parameters in a step, counted from 1."""
    return (1.0 - decay) / (1.0 - decay**step)


@jit
def move_average(average, params, gain):
    """average += gain (params - average); for a gain of 1 whatever the average was, NaN included."""
    gain = params.dtype.type(gain)
    if gain == 1:
        copy(params, average)
    else:
        for i in range(len(params)):
            average[i] += gain * (params[i] - average[i])


@jit
def _sgd(params, grad, velocity, lr, l2, shrink, momentum, nesterov):
    """velocity = momentum velocity - lr g; params += velocity, or momentum velocity - lr g (Nesterov)."""
    real = params.dtype.type
    lr, momentum, l2, shrink = real(lr), real(momentum), real(l2), real(shrink)
    for i in range(len(params)):
        step = lr * (grad[i] + l2 * params[i])
        velocity[i] = momentum * velocity[i] - step
        params[i] = shrink * params[i] + (momentum * velocity[i] - step if nesterov else velocity[i])


@jit
def _momentum(params, grad, velocity, lr, l2, shrink, momentum, nesterov):
    """velocity = momentum velocity + g; params -= lr velocity, or lr (g + momentum velocity) (Nesterov)."""
    real = params.dtype.type
    lr, momentum, l2, shrink = real(lr), real(momentum), real(l2), real(shrink)
    for i in range(len(params)):
        g = grad[i] + l2 * params[i]
        velocity[i] = momentum * velocity[i] + g
        params[i] = shrink * params[i] - lr * (g + momentum * velocity[i] if nesterov else velocity[i])


@jit
def _rmsprop(params, grad, square_avg, lr, l2, shrink, alpha, epsilon):
    """square_avg = the moving average of g^2; params -= lr g / (sqrt(square_avg) + epsilon)."""
    real = params.dtype.type
    gain = real(1.0 - alpha)
    lr, alpha, epsilon, l2, shrink = real(lr), real(alpha), real(epsilon), real(l2), real(shrink)
    for i in range(len(params)):
        g = grad[i] + l2 * params[i]
        square_avg[i] = alpha * square_avg[i] + gain * g * g
        params[i] = shrink * params[i] - lr * g / (np.sqrt(square_avg[i]) + epsilon)


@jit
def _adam(params, grad, m, v, rate, l2, shrink, beta_1, beta_2, epsilon):
    """m, v = moving averages of g, g^2; params -= rate m / (sqrt(v) + epsilon)."""
    real = params.dtype.type
    gain_1, gain_2 = real(1.0 - beta_1), real(1.0 - beta_2)
    rate, beta_1, beta_2, epsilon, shrink, l2 = real(rate), real(beta_1), real(beta_2), real(epsilon), real(shrink), real(l2)
    for i in range(len(params)):
        g = grad[i] + l2 * params[i]
        m[i] = beta_1 * m[i] + gain_1 * g
        v[i] = beta_2 * v[i] + gain_2 * g * g
        params[i] = shrink * params[i] - rate * m[i] / (np.sqrt(v[i]) + epsilon)

"""One step of an optimizer.

Sutskever et al., *On the importance of initialization and momentum in deep learning* (2013) for Nesterov's momentum; Tieleman and
Hinton, *RMSprop* (2012); Kingma and Ba, *Adam* (2015); Loshchilov and Hutter, *Decoupled weight decay regularization* (2019).
"""

import numpy as np

from ..spec import COMMON_HYPER, OPTIMIZERS, codes


def _sgd(params, g, velocity, _, step, lr, momentum, nesterov):
    """scikit-learn's form: a velocity of steps."""
    velocity[...] = momentum * velocity - lr * g
    params += momentum * velocity - lr * g if nesterov else velocity


def _momentum(params, g, velocity, _, step, lr, momentum, nesterov):
    """PyTorch's form: a velocity of gradients."""
    velocity[...] = momentum * velocity + g
    params -= lr * (g + momentum * velocity if nesterov else velocity)


def _rmsprop(params, g, square_avg, _, step, lr, alpha, epsilon):
    square_avg[...] = alpha * square_avg + (1 - alpha) * g * g
    params -= lr * g / (np.sqrt(square_avg) + epsilon)


def _moments(g, m, v, beta_1, beta_2):
    m[...] = beta_1 * m + (1 - beta_1) * g
    v[...] = beta_2 * v + (1 - beta_2) * g * g


def _adam(params, g, m, v, step, lr, beta_1, beta_2, epsilon):
    """The bias correction folded into the rate, epsilon outside it: the form at the end of the paper's section 2."""
    _moments(g, m, v, beta_1, beta_2)
    params -= lr * np.sqrt(1 - beta_2**step) / (1 - beta_1**step) * m / (np.sqrt(v) + epsilon)


def _adamw(params, g, m, v, step, lr, beta_1, beta_2, epsilon):
    """PyTorch's form: epsilon inside the bias correction."""
    _moments(g, m, v, beta_1, beta_2)
    params -= lr / (1 - beta_1**step) * m / (np.sqrt(v) / np.sqrt(1 - beta_2**step) + epsilon)


_FORMULAS = {"sgd": _sgd, "adam": _adam, "momentum": _momentum, "rmsprop": _rmsprop, "adamw": _adamw}
_BY_CODE = {code: _FORMULAS[name] for name, code in codes(OPTIMIZERS).items()}


def update(optimizer, params, grad, slot_1, slot_2, hyper, step, n_threads):
    """One step, in place, on any stretch of the parameters, all arrays flat.

    ``hyper`` has lr, l2, weight_decay, then the optimizer's own in the order of `spec.OPTIMIZERS`. With g = grad + l2 params, first
    params *= 1 - lr weight_decay; then the optimizer's formula. ``step`` counts from 1. ``slot_2`` is empty where it has one slot.
    """
    decayed_update(optimizer, params, grad, slot_1, slot_2, hyper, step, True)


def decayed_update(optimizer, params, grad, slot_1, slot_2, hyper, step, decays):
    """`update` where ``decays``, True or an array of bools, says which parameters the weight decay is for."""
    lr, l2, weight_decay = hyper[: len(COMMON_HYPER)]
    try:
        formula = _BY_CODE[int(optimizer)]
    except KeyError:
        raise ValueError(f"there is no optimizer number {optimizer}") from None
    g = grad + float(l2) * params
    params *= np.where(decays, 1 - lr * weight_decay, 1).astype(params.dtype)
    formula(params, g, slot_1, slot_2, int(step), float(lr), *map(float, hyper[len(COMMON_HYPER) :]))

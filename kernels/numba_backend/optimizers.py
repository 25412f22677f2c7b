"""Updates of one flat block of parameters, each one loop. ``n_threads`` is ignored: `train_epochs` shares the block itself."""

import numpy as np

from .jit import jit


@jit
def sgd_update(params, grad, velocity, lr, momentum, nesterov, l2, n_threads):
    """g = grad + l2 params; velocity = momentum velocity - lr g; params += velocity, or momentum velocity - lr g (Nesterov).

    All arrays (n_params,). Sutskever et al., *On the importance of initialization and momentum in deep learning* (2013).
    """
    real = params.dtype.type
    lr, momentum, l2 = real(lr), real(momentum), real(l2)
    for i in range(len(params)):
        step = lr * (grad[i] + l2 * params[i])
        velocity[i] = momentum * velocity[i] - step
        params[i] += momentum * velocity[i] - step if nesterov else velocity[i]


@jit
def momentum_update(params, grad, velocity, lr, momentum, nesterov, l2, n_threads):
    """g = grad + l2 params; velocity = momentum velocity + g; params -= lr velocity, or lr (g + momentum velocity) (Nesterov).

    All arrays (n_params,). The form of ``torch.optim.SGD``.
    """
    real = params.dtype.type
    lr, momentum, l2 = real(lr), real(momentum), real(l2)
    for i in range(len(params)):
        g = grad[i] + l2 * params[i]
        velocity[i] = momentum * velocity[i] + g
        params[i] -= lr * (g + momentum * velocity[i] if nesterov else velocity[i])


@jit
def rmsprop_update(params, grad, square_avg, lr, alpha, epsilon, l2, n_threads):
    """g = grad + l2 params; square_avg = the moving average of g^2; params -= lr g / (sqrt(square_avg) + epsilon).

    All arrays (n_params,). The form of ``torch.optim.RMSprop``.
    """
    real = params.dtype.type
    gain = real(1.0 - alpha)
    lr, alpha, epsilon, l2 = real(lr), real(alpha), real(epsilon), real(l2)
    for i in range(len(params)):
        g = grad[i] + l2 * params[i]
        square_avg[i] = alpha * square_avg[i] + gain * g * g
        params[i] -= lr * g / (np.sqrt(square_avg[i]) + epsilon)


@jit
def adam_update(params, grad, m, v, lr, beta_1, beta_2, epsilon, step, l2, n_threads):
    """g = grad + l2 params; m, v = moving averages of g, g^2; params -= rate m / (sqrt(v) + epsilon); step counts from 1.

    All arrays (n_params,). rate = lr sqrt(1 - beta_2^step) / (1 - beta_1^step): Kingma and Ba, *Adam* (2015), end of section 2.
    """
    _adam(params, grad, m, v, lr, beta_1, beta_2, epsilon, step, 1.0, l2)


@jit
def adamw_update(params, grad, m, v, lr, beta_1, beta_2, epsilon, step, weight_decay, l2, n_threads):
    """params *= 1 - lr weight_decay, then Adam as PyTorch has it: params -= rate m / (sqrt(v) / sqrt(1 - beta_2^step) + epsilon).

    All arrays (n_params,); g = grad + l2 params comes before the decay. Multiplied by the root on both sides of the quotient it is
    `adam_update` with another epsilon. Loshchilov and Hutter, *Decoupled weight decay regularization* (2019).
    """
    _adam(params, grad, m, v, lr, beta_1, beta_2, epsilon * np.sqrt(1.0 - beta_2**step), step, 1.0 - lr * weight_decay, l2)


@jit
def _adam(params, grad, m, v, lr, beta_1, beta_2, epsilon, step, shrink, l2):
    """The loop of both."""
    real = params.dtype.type
    rate = real(lr * np.sqrt(1.0 - beta_2**step) / (1.0 - beta_1**step))
    gain_1, gain_2 = real(1.0 - beta_1), real(1.0 - beta_2)
    beta_1, beta_2, epsilon, shrink, l2 = real(beta_1), real(beta_2), real(epsilon), real(shrink), real(l2)
    for i in range(len(params)):
        g = grad[i] + l2 * params[i]
        m[i] = beta_1 * m[i] + gain_1 * g
        v[i] = beta_2 * v[i] + gain_2 * g * g
        params[i] = shrink * params[i] - rate * m[i] / (np.sqrt(v[i]) + epsilon)

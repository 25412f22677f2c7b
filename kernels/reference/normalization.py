"""Layer norm and batch norm."""

import numpy as np


def _mean(x, axis):
    """The mean over an axis, which is first made the contiguous one: only along that does NumPy sum pairwise, not one by one."""
    return np.ascontiguousarray(np.moveaxis(x, axis, 1)).mean(axis=1, dtype=np.float64)


def _normalization(x, gamma, beta, epsilon, axis, y, mean, rstd):
    mean[...] = _mean(x, axis)
    centred = x - np.expand_dims(mean, axis)
    rstd[...] = 1 / np.sqrt(_mean(np.square(centred), axis) + epsilon)
    y[...] = centred * np.expand_dims(rstd, axis) * gamma + beta


def _normalization_gradient(dy, x, gamma, mean, rstd, accumulate, axis, dx, dgamma, dbeta):
    rstd = np.expand_dims(rstd, axis)
    x_hat = (x - np.expand_dims(mean, axis)) * rstd
    g = dy * gamma
    dx[...] = rstd * (g - g.mean(axis=axis, keepdims=True) - x_hat * (g * x_hat).mean(axis=axis, keepdims=True))
    dgamma[...] = (dy * x_hat).sum(axis=0) + (dgamma if accumulate else 0)
    dbeta[...] = dy.sum(axis=0) + (dbeta if accumulate else 0)


def layer_norm_forward(x, gamma, beta, epsilon, y, mean, rstd, n_threads):
    """y = (x - mean) * rstd * gamma + beta, with mean and rstd = 1 / sqrt(variance + epsilon) of every row."""
    _normalization(x, gamma, beta, epsilon, 1, y, mean, rstd)


def layer_norm_backward(dy, x, gamma, mean, rstd, accumulate, dx, dgamma, dbeta, n_threads):
    """With x_hat = (x - mean) * rstd, g = dy * gamma: dx = rstd * (g - mean of g - x_hat * mean of g x_hat) over the row;
    dgamma (+)= sum of dy x_hat, dbeta (+)= sum of dy over the rows."""
    _normalization_gradient(dy, x, gamma, mean, rstd, accumulate, 1, dx, dgamma, dbeta)


def batch_norm_forward(x, gamma, beta, epsilon, y, mean, rstd, n_threads):
    """The same as `layer_norm_forward` with mean and rstd of every column; the variance is the biased one."""
    _normalization(x, gamma, beta, epsilon, 0, y, mean, rstd)


def batch_norm_backward(dy, x, gamma, mean, rstd, accumulate, dx, dgamma, dbeta, n_threads):
    """The same as `layer_norm_backward` with the means over the column."""
    _normalization_gradient(dy, x, gamma, mean, rstd, accumulate, 0, dx, dgamma, dbeta)


def batch_norm_inference(x, gamma, beta, running_mean, running_var, epsilon, y, n_threads):
    """y = (x - running_mean) / sqrt(running_var + epsilon) * gamma + beta."""
    y[...] = (x - running_mean) / np.sqrt(running_var + epsilon) * gamma + beta

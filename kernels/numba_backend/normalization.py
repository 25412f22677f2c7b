"""Layer norm and batch norm. ``n_threads`` is ignored.

Sums down the columns are taken over BLOCK rows and then added to the totals: rounding errors grow with the number of blocks.
"""

import numpy as np

from .jit import jit, readonly

BLOCK = 128


@jit
def layer_norm_forward(x, gamma, beta, epsilon, y, mean, rstd, n_threads):
    """y = (x - mean) rstd gamma + beta, rstd = 1 / sqrt(variance + epsilon) of every row.

    x, y (n, n_units); gamma, beta (n_units,); mean, rstd (n,). Ba, Kiros, Hinton, *Layer normalization* (2016).
    """
    x, gamma, beta = readonly(x), readonly(gamma), readonly(beta)
    real = x.dtype.type
    n, n_units = x.shape
    for i in range(n):
        total = 0.0
        for j in range(n_units):
            total += x[i, j]
        centre = real(total / n_units)
        squares = 0.0
        for j in range(n_units):
            squares += (x[i, j] - centre) * (x[i, j] - centre)
        spread = real(1.0 / np.sqrt(squares / n_units + epsilon))
        for j in range(n_units):
            y[i, j] = (x[i, j] - centre) * spread * gamma[j] + beta[j]
        mean[i], rstd[i] = centre, spread


@jit
def layer_norm_backward(dy, x, gamma, mean, rstd, accumulate, dx, dgamma, dbeta, n_threads):
    """With x_hat = (x - mean) rstd and g = dy gamma: dx = rstd (g - mean of g - x_hat times mean of g x_hat), over the row.

    dy, x, dx (n, n_units); mean, rstd (n,); dgamma (+)= the sum of dy x_hat, dbeta (+)= that of dy over the rows, (n_units,).
    """
    dy, x, gamma, mean, rstd = readonly(dy), readonly(x), readonly(gamma), readonly(mean), readonly(rstd)
    real = x.dtype.type
    n, n_units = x.shape
    _start(accumulate, dgamma, dbeta)
    block = np.empty((2, n_units), x.dtype)
    for start in range(0, n, BLOCK):
        block[:] = 0
        for i in range(start, min(start + BLOCK, n)):
            total, product = 0.0, 0.0
            for j in range(n_units):
                x_hat = (x[i, j] - mean[i]) * rstd[i]
                total += dy[i, j] * gamma[j]
                product += dy[i, j] * gamma[j] * x_hat
                block[0, j] += dy[i, j] * x_hat
                block[1, j] += dy[i, j]
            mean_g, mean_product = real(total / n_units), real(product / n_units)
            for j in range(n_units):
                x_hat = (x[i, j] - mean[i]) * rstd[i]
                dx[i, j] = rstd[i] * (dy[i, j] * gamma[j] - mean_g - x_hat * mean_product)
        _add(block, dgamma, dbeta)


@jit
def batch_norm_forward(x, gamma, beta, epsilon, y, mean, rstd, n_threads):
    """The same as `layer_norm_forward` with mean and rstd (n_units,) of every column; the variance is the biased one.

    Ioffe and Szegedy, *Batch normalization* (2015), algorithm 1.
    """
    x, gamma, beta = readonly(x), readonly(gamma), readonly(beta)
    n, n_units = x.shape
    mean[:] = 0
    block = np.empty(n_units, x.dtype)
    for start in range(0, n, BLOCK):
        block[:] = 0
        for i in range(start, min(start + BLOCK, n)):
            for j in range(n_units):
                block[j] += x[i, j]
        for j in range(n_units):
            mean[j] += block[j]
    for j in range(n_units):
        mean[j] /= n
    rstd[:] = 0
    for start in range(0, n, BLOCK):
        block[:] = 0
        for i in range(start, min(start + BLOCK, n)):
            for j in range(n_units):
                block[j] += (x[i, j] - mean[j]) * (x[i, j] - mean[j])
        for j in range(n_units):
            rstd[j] += block[j]
    for j in range(n_units):
        rstd[j] = 1.0 / np.sqrt(rstd[j] / n + epsilon)
    _normalize(x, gamma, beta, mean, rstd, y)


@jit
def batch_norm_backward(dy, x, gamma, mean, rstd, accumulate, dx, dgamma, dbeta, n_threads):
    """The same as `layer_norm_backward` with mean and rstd (n_units,), and the means over the column."""
    dy, x, gamma, mean, rstd = readonly(dy), readonly(x), readonly(gamma), readonly(mean), readonly(rstd)
    real = x.dtype.type
    n, n_units = x.shape
    sums, block = np.zeros((2, n_units), x.dtype), np.empty((2, n_units), x.dtype)
    for start in range(0, n, BLOCK):
        block[:] = 0
        for i in range(start, min(start + BLOCK, n)):
            for j in range(n_units):
                block[0, j] += dy[i, j] * ((x[i, j] - mean[j]) * rstd[j])
                block[1, j] += dy[i, j]
        _add(block, sums[0], sums[1])
    _start(accumulate, dgamma, dbeta)
    _add(sums, dgamma, dbeta)
    for j in range(n_units):
        sums[0, j] /= real(n)
        sums[1, j] /= real(n)
    for i in range(n):
        for j in range(n_units):
            x_hat = (x[i, j] - mean[j]) * rstd[j]
            dx[i, j] = gamma[j] * rstd[j] * (dy[i, j] - sums[1, j] - x_hat * sums[0, j])


@jit
def batch_norm_inference(x, gamma, beta, running_mean, running_var, epsilon, y, n_threads):
    """y = (x - running_mean) / sqrt(running_var + epsilon) gamma + beta, y may be x; x, y (n, n_units), the others (n_units,)."""
    x, gamma, beta, mean = readonly(x), readonly(gamma), readonly(beta), readonly(running_mean)
    rstd = np.empty(len(running_var), x.dtype)
    for j in range(len(rstd)):
        rstd[j] = 1.0 / np.sqrt(running_var[j] + epsilon)
    _normalize(x, gamma, beta, mean, rstd, y)


@jit
def _normalize(x, gamma, beta, mean, rstd, y):
    """y = (x - mean) rstd gamma + beta, column by column."""
    n, n_units = x.shape
    rstd = readonly(rstd)
    for i in range(n):
        for j in range(n_units):
            y[i, j] = (x[i, j] - mean[j]) * rstd[j] * gamma[j] + beta[j]


@jit
def _start(accumulate, dgamma, dbeta):
    """Zero the sums unless they are to be added to."""
    if not accumulate:
        dgamma[:] = 0
        dbeta[:] = 0


@jit
def _add(sums, dgamma, dbeta):
    """dgamma += sums[0], dbeta += sums[1]."""
    for j in range(len(dgamma)):
        dgamma[j] += sums[0, j]
        dbeta[j] += sums[1, j]

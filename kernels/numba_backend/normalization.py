"""Layer norm and batch norm. ``n_threads`` is ignored.

Sums down the columns are taken over BLOCK rows and then added to the totals: rounding errors grow with the number of blocks.
"""

import numpy as np

from .jit import jit, public, readonly

BLOCK = 128


@public
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


@public
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


@public
def batch_norm_forward(x, gamma, beta, epsilon, y, mean, rstd, n_threads):
    """The same as `layer_norm_forward` with mean and rstd (n_units,) of every column; the variance is the biased one.

    Ioffe and Szegedy, *Batch normalization* (2015), algorithm 1.
    """
    x, gamma, beta = readonly(x), readonly(gamma), readonly(beta)
    moments = np.zeros((2, x.shape[1]))
    add_moments(x, 0, moments)
    statistics_from_moments(moments, len(x), epsilon, mean, rstd)
    normalize(x, gamma, beta, readonly(mean), readonly(rstd), y)


@public
def batch_norm_backward(dy, x, gamma, mean, rstd, accumulate, dx, dgamma, dbeta, n_threads):
    """The same as `layer_norm_backward` with mean and rstd (n_units,), and the means over the column."""
    dy, x, gamma, mean, rstd = readonly(dy), readonly(x), readonly(gamma), readonly(mean), readonly(rstd)
    sums = np.zeros((2, x.shape[1]), x.dtype)
    batch_norm_sums(dy, x, mean, rstd, sums[0], sums[1])
    _start(accumulate, dgamma, dbeta)
    _add(sums, dgamma, dbeta)
    for k in range(2):
        for j in range(x.shape[1]):
            sums[k, j] /= x.dtype.type(len(x))
    batch_norm_dx(dy, x, gamma, mean, rstd, readonly(sums[0]), readonly(sums[1]), dx)


@public
def batch_norm_inference(x, gamma, beta, running_mean, running_var, epsilon, y, n_threads):
    """y = (x - running_mean) / sqrt(running_var + epsilon) gamma + beta, y may be x; x, y (n, n_units), the others (n_units,)."""
    x, gamma, beta, mean = readonly(x), readonly(gamma), readonly(beta), readonly(running_mean)
    rstd = np.empty(len(running_var), x.dtype)
    running_rstd(readonly(running_var), epsilon, rstd)
    normalize(x, gamma, beta, mean, readonly(rstd), y)


# The pieces of batch norm, for rows that come in chunks and on several threads


@jit
def add_moments(x, n_before, moments):
    """Take the rows of x into ``moments`` (2, n_units), float64: the means of ``n_before`` rows, the sums of squares about them."""
    n_units = x.shape[1]
    block, here = np.empty(n_units, x.dtype), np.empty((2, n_units))
    for start in range(0, len(x), BLOCK):
        n = min(BLOCK, len(x) - start)
        block[:] = 0
        for i in range(start, start + n):
            for j in range(n_units):
                block[j] += x[i, j]
        for j in range(n_units):
            here[0, j] = block[j] / n
            block[j] = here[0, j]
        squares = np.zeros(n_units, x.dtype)
        for i in range(start, start + n):
            for j in range(n_units):
                squares[j] += (x[i, j] - block[j]) * (x[i, j] - block[j])
        for j in range(n_units):
            here[1, j] = squares[j]
        merge_moments(n_before + start, moments, n, here)


@jit
def merge_moments(n, moments, n_more, more):
    """Take in the moments of ``n_more`` rows: Chan, Golub, LeVeque, *Algorithms for computing the sample variance* (1983)."""
    if n_more == 0:
        return
    share = n_more / (n + n_more)
    for j in range(moments.shape[1]):
        difference = more[0, j] - moments[0, j]
        moments[0, j] += difference * share
        moments[1, j] += more[1, j] + difference * difference * n * share


@jit
def statistics_from_moments(moments, n, epsilon, mean, rstd):
    """Mean and rstd of columns."""
    for j in range(len(mean)):
        mean[j] = moments[0, j]
        rstd[j] = 1.0 / np.sqrt(moments[1, j] / n + epsilon)


@jit
def running_rstd(running_var, epsilon, rstd):
    """rstd = 1 / sqrt(running_var + epsilon)."""
    for j in range(len(rstd)):
        rstd[j] = 1.0 / np.sqrt(running_var[j] + epsilon)


@jit
def batch_norm_sums(dy, x, mean, rstd, dgamma, dbeta):
    """dgamma += the sum of dy x_hat, dbeta += that of dy, over the rows."""
    block = np.empty((2, x.shape[1]), x.dtype)
    for start in range(0, len(x), BLOCK):
        block[:] = 0
        for i in range(start, min(start + BLOCK, len(x))):
            for j in range(x.shape[1]):
                block[0, j] += dy[i, j] * ((x[i, j] - mean[j]) * rstd[j])
                block[1, j] += dy[i, j]
        _add(block, dgamma, dbeta)


@jit
def batch_norm_dx(dy, x, gamma, mean, rstd, mean_product, mean_dy, dx):
    """dx from the means of dy x_hat and dy over all rows of the batch."""
    for i in range(len(x)):
        for j in range(x.shape[1]):
            x_hat = (x[i, j] - mean[j]) * rstd[j]
            dx[i, j] = gamma[j] * rstd[j] * (dy[i, j] - mean_dy[j] - x_hat * mean_product[j])


@jit
def normalize(x, gamma, beta, mean, rstd, y):
    """y = (x - mean) rstd gamma + beta, column by column."""
    n, n_units = x.shape
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

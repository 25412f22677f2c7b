"""The kernels in plain NumPy: the shortest correct code, the oracle of the tests and the baseline of the benchmarks.

Every function has the raw signature that all back ends share: inputs, then scalars, then outputs, then ``n_threads`` (ignored
here); the updates begin with the arrays that they change. Arrays are C-contiguous and of one real dtype, which is also the dtype
of the arithmetic: the tests pass float64 to get an oracle. Nothing is checked; the checked functions are in ``public.py``.

An array that is not given is an empty one: ``labels`` (0,), ``targets`` (0, 0), ``sample_weight`` (0,); an output that is not
wanted too: ``dx`` (0, 0), the ``outputs`` of a loss (0, 0). Those ``outputs`` may be the ``logits`` themselves, and ``dlogits``
may be the ``outputs``; the outputs of `activation_forward`, `activation_backward`, `dropout` and `batch_norm_inference` may be
their first inputs; no other two arrays overlap. The rows X of a network are dense, ``x`` (n, n_in), with empty ``indices``
and ``indptr``; or sparse in CSR form, ``x`` (1, n_entries) with ``indices`` and ``indptr`` both int32 or both int64.

Formulas: Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections 6.2 and 6.5; Kingma and Ba, *Adam* (2015), the form at
the end of section 2; Sutskever et al., *On the importance of initialization and momentum* (2013) for Nesterov; Ba, Kiros, Hinton,
*Layer normalization* (2016); Ioffe and Szegedy, *Batch normalization* (2015); Loshchilov and Hutter, *Decoupled weight decay
regularization* (2019).
"""

from functools import partial

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit, xlogy

from .checks import NO_INDICES
from .codes import ACTIVATIONS, LINKS, LOSSES, OPTIMIZERS
from .layer_table import layer_views
from .plain import all_finite as all_finite
from .plain import shuffle_orders as shuffle_orders
from .random_bits import drop_threshold, random_bits, stream_key

IDENTITY, RELU, SIGMOID, TANH = ACTIVATIONS.values()
SOFTMAX, EXP = LINKS["softmax"], LINKS["exp"]
SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, POISSON = LOSSES.values()
SGD, ADAM = OPTIMIZERS.values()


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# code -> (a from the pre-activation z, dz from da and the activation a). ReLU masks, so that 0 times infinity does not arise.
_ACTIVATION = {
    IDENTITY: (lambda z: z, lambda da, a: da),
    RELU: (lambda z: np.maximum(z, 0), lambda da, a: np.where(a > 0, da, 0)),
    SIGMOID: (expit, lambda da, a: da * a * (1 - a)),
    TANH: (np.tanh, lambda da, a: da * (1 - a * a)),
    SOFTMAX: (_softmax, None),
    EXP: (np.exp, None),
}


def linear_forward(x, weight, bias, activation, a, n_threads):
    """a = f(x @ weight + bias)."""
    a[...] = _ACTIVATION[activation][0](x @ weight + bias)


def linear_backward(da, x, weight, a, activation, accumulate, dx, dweight, dbias, n_threads):
    """dz = da * f'(z); dx = dz @ weight.T, dweight (+)= x.T @ dz, dbias (+)= sum of dz over the rows."""
    dz = _ACTIVATION[activation][1](da, a)
    if dx.size:
        dx[...] = dz @ weight.T
    dweight[...] = x.T @ dz + (dweight if accumulate else 0)
    dbias[...] = dz.sum(axis=0) + (dbias if accumulate else 0)


def activation_forward(z, activation, a, n_threads):
    """a = f(z)."""
    a[...] = _ACTIVATION[activation][0](z)


def activation_backward(da, a, activation, dz, n_threads):
    """dz = da * f'(z)."""
    dz[...] = _ACTIVATION[activation][1](da, a)


def dropout(x, key, threshold, scale, y, n_threads):
    """y = scale x where element number c = i n_units + j is kept: where bits 32 to 63 of random_bits(key, c) reach threshold."""
    bits = random_bits(int(key), np.arange(x.size, dtype=np.uint64).reshape(x.shape))
    y[...] = np.where(bits >> 32 >= threshold, x, 0) * scale


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


def softmax_forward(logits, probs, n_threads):
    """probs = exp(logits) / sum over the row of exp(logits)."""
    probs[...] = _softmax(logits)


def softmax_backward(dprobs, probs, dlogits, n_threads):
    """dlogits = probs * (dprobs - sum over the row of dprobs * probs)."""
    dlogits[...] = probs * (dprobs - (dprobs * probs).sum(axis=1, keepdims=True))


def loss_forward(loss, logits, labels, targets, sample_weight, outputs, n_threads):
    """Write outputs = link(logits) and return the weighted sum over the rows of the loss, in nats, as a Python float.

    Computed from the logits z, so that it is finite for any finite z:
    softmax cross-entropy  sum_c y_c (logsumexp(z) - z_c)         binary cross-entropy  sum_c max(z, 0) - z y + log1p(exp(-|z|))
    squared error          sum_c (y - z)^2 / 2                    Poisson               sum_c y log y - y z - y + exp(z)
    """
    return _loss_forward(loss, logits, labels, targets, sample_weight, 0.0, outputs)


def _loss_forward(loss, z, labels, targets, sample_weight, clip, outputs):
    y = _dense_targets(labels, targets, z)
    if loss == SOFTMAX_CROSS_ENTROPY:
        outputs_ = _softmax(z)
        shifted = z - z.max(axis=1, keepdims=True)
        values = y * (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted)
    elif loss == BINARY_CROSS_ENTROPY:
        outputs_ = expit(z)
        values = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    elif loss == SQUARED_ERROR:
        outputs_ = z
        values = (y - z) ** 2 / 2
    else:
        outputs_ = np.exp(z)
        values = xlogy(y, y) - y * z - y + outputs_
    if clip and loss in (SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY):
        p = np.clip(outputs_, clip, 1 - clip)
        values = -xlogy(y, p) - (xlogy(1 - y, 1 - p) if loss == BINARY_CROSS_ENTROPY else 0)
    rows = values.sum(axis=1, dtype=np.float64)
    if outputs.size:
        outputs[...] = outputs_
    return float(rows @ sample_weight if sample_weight.size else rows.sum())


def loss_backward(loss, outputs, labels, targets, sample_weight, scale, dlogits, n_threads):
    """dlogits = scale * sample_weight * (outputs - targets), the gradient of scale times what `loss_forward` returns.

    Softmax cross-entropy with dense targets that do not sum to one: outputs * sum(targets) - targets.
    """
    y = _dense_targets(labels, targets, outputs)
    mass = y.sum(axis=1, keepdims=True) if loss == SOFTMAX_CROSS_ENTROPY else 1
    weight = sample_weight[:, None] if sample_weight.size else 1
    dlogits[...] = scale * weight * (outputs * mass - y)


def _dense_targets(labels, targets, like):
    if not labels.size:
        return targets
    onehot = np.zeros_like(like)
    onehot[np.arange(len(labels)), labels] = 1
    return onehot


def sgd_update(params, grad, velocity, lr, momentum, nesterov, l2, n_threads):
    """g = grad + l2 params; velocity = momentum velocity - lr g; params += velocity, or momentum velocity - lr g (Nesterov)."""
    g = grad + l2 * params
    velocity[...] = momentum * velocity - lr * g
    params += momentum * velocity - lr * g if nesterov else velocity


def momentum_update(params, grad, velocity, lr, momentum, nesterov, l2, n_threads):
    """g = grad + l2 params; velocity = momentum velocity + g; params -= lr velocity, or lr (g + momentum velocity) (Nesterov)."""
    g = grad + l2 * params
    velocity[...] = momentum * velocity + g
    params -= lr * (g + momentum * velocity if nesterov else velocity)


def rmsprop_update(params, grad, square_avg, lr, alpha, epsilon, l2, n_threads):
    """g = grad + l2 params; square_avg = alpha square_avg + (1 - alpha) g^2; params -= lr g / (sqrt(square_avg) + epsilon)."""
    g = grad + l2 * params
    square_avg[...] = alpha * square_avg + (1 - alpha) * g * g
    params -= lr * g / (np.sqrt(square_avg) + epsilon)


def adam_update(params, grad, m, v, lr, beta_1, beta_2, epsilon, step, l2, n_threads):
    """Adam with the bias correction folded into the rate; step counts from 1; epsilon is outside the correction."""
    g = grad + l2 * params
    m[...] = beta_1 * m + (1 - beta_1) * g
    v[...] = beta_2 * v + (1 - beta_2) * g * g
    rate = lr * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    params -= rate * m / (np.sqrt(v) + epsilon)


def adamw_update(params, grad, m, v, lr, beta_1, beta_2, epsilon, step, weight_decay, l2, n_threads):
    """Adam as PyTorch has it, epsilon inside the bias correction, with decoupled weight decay."""
    g = grad + l2 * params
    params *= 1 - lr * weight_decay
    m[...] = beta_1 * m + (1 - beta_1) * g
    v[...] = beta_2 * v + (1 - beta_2) * g * g
    params -= lr / (1 - beta_1**step) * m / (np.sqrt(v) / np.sqrt(1 - beta_2**step) + epsilon)


def _rows(x, indices, indptr, layers):
    """X as one object, dense or sparse: from here on the same expressions do for both."""
    return csr_array((x[0], indices, indptr), shape=(len(indptr) - 1, layers[0, 0])) if indptr.size else x


def network_forward(x, indices, indptr, layers, params, outputs, n_threads):
    """The outputs of the network: every layer in turn; the last row's activation is the link."""
    a = _rows(x, indices, indptr, layers)
    for activation, (weight, bias) in zip(layers[:, 2], layer_views(layers, params), strict=True):
        a = _ACTIVATION[activation][0](a @ weight + bias)
    outputs[...] = a


def bind_forward(x, layers, params, outputs, n_threads):
    """`network_forward` of dense x as a function without arguments; ``layers`` and ``params`` are not to change any more."""
    return partial(network_forward, x, NO_INDICES, NO_INDICES, layers, params, outputs, n_threads)


def network_loss_gradient(
    x, indices, indptr, labels, targets, sample_weight, layers, params, loss, alpha, clip, gradient, n_threads
):
    """Write the gradient over the flat block and return the mean loss, both with scikit-learn's L2 term.

    With S the number of rows, or the sum of the sample weights: loss = (loss_sum + alpha/2 |weights|^2) / S, where squared
    error is also divided by n_out; gradient = (sum over the rows + alpha weights) / S, where it is not (scikit-learn's
    convention); biases are not penalised. S = 0: loss and gradient are 0. With clip > 0 the two cross-entropies are reported as
    of probabilities clipped to [clip, 1 - clip], as scikit-learn does with the dtype's epsilon; the gradient is the same.
    """
    x = _rows(x, indices, indptr, layers)
    return _loss_gradient(x, labels, targets, sample_weight, layers, params, loss, alpha, clip, gradient)


def _drop(layer, step, x):
    """What dropout makes of a hidden layer's activations, or of their gradient, in update number ``step``; 0: nothing."""
    dropout_, seed, stream = map(int, layer[4:])
    if not step or not dropout_:
        return x
    rate, y = dropout_ / 2**53, np.empty_like(x)
    dropout(x, stream_key(seed, stream + step), drop_threshold(rate), 1 / (1 - rate), y, 1)
    return y


def _loss_gradient(x, labels, targets, sample_weight, layers, params, loss, alpha, clip, gradient, step=0):
    n = x.shape[0]
    total_weight = float(sample_weight.sum(dtype=np.float64)) if sample_weight.size else n
    gradient[...] = 0
    if total_weight == 0:
        return 0.0
    views, gradients = layer_views(layers, params), layer_views(layers, gradient)
    inputs, activations = [x], []
    for layer, (weight, bias) in zip(layers[:-1], views[:-1], strict=True):
        activations.append(np.empty((n, layer[1]), x.dtype))
        linear_forward(inputs[-1], weight, bias, layer[2], activations[-1], 1)
        inputs.append(_drop(layer, step, activations[-1]))
    weight, bias = views[-1]
    delta = inputs[-1] @ weight + bias
    loss_sum = _loss_forward(loss, delta, labels, targets, sample_weight, clip, delta)
    loss_backward(loss, delta, labels, targets, sample_weight, 1.0, delta, 1)
    for i in range(len(layers) - 1, -1, -1):
        dweight, dbias = gradients[i]
        a, activation = (delta, IDENTITY) if i == len(layers) - 1 else (activations[i], layers[i, 2])
        dx = np.empty_like(inputs[i]) if i else np.empty((0, 0), x.dtype)
        linear_backward(delta, inputs[i], views[i][0], a, activation, False, dx, dweight, dbias, 1)
        dweight += alpha * views[i][0]
        delta = _drop(layers[i - 1], step, dx) if i else dx
    gradient /= total_weight
    penalty = alpha / 2 * sum(float(np.vdot(weight, weight)) for weight, _ in views)
    return (loss_sum / (layers[-1, 1] if loss == SQUARED_ERROR else 1) + penalty) / total_weight


def train_epochs(
    x, indices, indptr, labels, targets, sample_weight, orders, layers, loss, optimizer, hyper, alpha, clip, batch_size, step,
    params, state, losses, n_threads,
):  # fmt: skip
    """Passes over the rows, in the order of each of ``orders`` (n_epochs, n_visits), in mini-batches, updating in place.

    ``step`` (1,) is the number of updates done so far, and counts on. Writes to ``losses`` (n_epochs,), float64, the means of the
    batches' losses, each weighted by its number of rows. The last batch of an epoch may be short. One whose sample weights sum to
    zero changes nothing and counts as loss 0 (but as a step). Only here the layers' dropout applies: see `layer_table`.
    """
    x = _rows(x, indices, indptr, layers)
    gradient = np.empty_like(params)
    for epoch, order in enumerate(orders):
        epoch_loss = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch_labels, batch_targets, batch_weight = (v[rows] if v.size else v for v in (labels, targets, sample_weight))
            batch = x[rows], batch_labels, batch_targets, batch_weight
            step += 1
            epoch_loss += len(rows) * _loss_gradient(*batch, layers, params, loss, alpha, clip, gradient, int(step[0]))
            if batch_weight.size and batch_weight.sum(dtype=np.float64) == 0:
                continue
            if optimizer == SGD:
                lr, momentum, nesterov = hyper
                sgd_update(params, gradient, state[0], lr, momentum, nesterov, 0.0, n_threads)
            else:
                lr, beta_1, beta_2, epsilon = hyper
                adam_update(params, gradient, state[0], state[1], lr, beta_1, beta_2, epsilon, int(step[0]), 0.0, n_threads)
        losses[epoch] = epoch_loss / len(order)

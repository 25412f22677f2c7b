"""Networks: the rows of a layer table one after the other, forward and backward."""

import numpy as np
from scipy.sparse import csr_array

from ..bfloat16 import BITS, rounded, widened
from ..checks import private_columns
from ..encoded import expanded, is_encoded
from ..int8 import linear_product, split
from ..layer_table import buffer_views, parameter_views
from ..random_bits import drop_threshold, stream_key
from ..spec import ACTIVATION_CODES, KINDS, LINKS, LOSS_CODES, LOSSES, OPTIMIZER_CODES
from .activations import FROM_Z, apply_link, formula, linear_backward
from .dropout import dropout
from .losses import clipped_loss, dense_targets, loss_backward, parameters_of, smoothed
from .normalization import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    layer_norm_backward,
    layer_norm_forward,
)


class Pass:
    """One batch on its way through a network. ``update`` numbers the masks of dropout, from 1; number 0 drops nothing. The rows are
    those from ``first_row`` on of the batch. With ``bfloat16`` all values but logits, gradients with respect to values, and weights
    in products are rounded to it; with a first row that is ``direct``, as it takes sparse or encoded X, its weights are not. The
    rows of which ``int8`` has the codes, from `int8.split`, multiply these.

    ``values[i]`` is what row i takes, and ``saved[i]`` what its backward needs besides. The buffers are only read: see
    `update_statistics`.
    """

    def __init__(self, layers, params, buffers, training, update=0, first_row=0, bfloat16=False, direct=False, int8=None):
        self.layers, self.training, self.update, self.first_row = layers, training, update, first_row
        self.bfloat16, self.direct, self.int8 = bfloat16, direct, int8 or [None] * len(layers)
        self.params, self.buffers = parameter_views(layers, params), buffer_views(layers, buffers)
        self.values, self.saved = [], [()] * len(layers)

    def forward(self, x):
        """The logits."""
        self.values = [x]
        for i in range(len(self.layers) - 1):
            value = self._kind(i, "forward")(i, self.values[i])
            logits = i == len(self.layers) - 2 and self.layers[i]["kind"] == KINDS["linear"]
            self.values.append(value if logits else self._stored(value))
        return self.values[-1]

    def backward(self, delta, gradient):
        """Write the gradient over the parameters, given that over the logits."""
        self.gradients = parameter_views(self.layers, gradient)
        deltas = [0] * len(self.layers)  # with respect to each value
        deltas[-1] = self._stored(delta)
        for i in range(len(self.layers) - 2, -1, -1):
            delta = self._kind(i, "backward")(i, self.values[i], deltas[i + 1], deltas)
            deltas[i] = self._stored(deltas[i] + delta)  # read after the call: an `add` may have written it

    def update_statistics(self, n):
        """Move the running statistics towards those of the batch of n rows."""
        for layer, buffers, saved in zip(self.layers, self.buffers, self.saved, strict=True):
            if layer["kind"] == KINDS["batch_norm"]:
                (mean, rstd), keep, gain = saved, 1 - layer["momentum"], layer["momentum"]
                variance = (1 / np.square(rstd, dtype=np.float64) - layer["epsilon"]) * (n / max(n - 1, 1))
                for running, new in zip(buffers, (mean, variance), strict=True):
                    running[...] = keep * running + gain * new

    def _stored(self, value):
        return rounded(value) if self.bfloat16 and np.ndim(value) else value

    def _weight(self, i):
        """The weights of a linear row as its products read them."""
        weight = self.params[i][0]
        return weight if i == 0 and self.direct else self._stored(weight)

    def _kind(self, i, direction):
        return getattr(self, f"_{_KIND_NAMES[int(self.layers[i]['kind'])]}_{direction}")

    def _linear_forward(self, i, x):
        if self.int8[i]:
            return linear_product(x, *self.int8[i])
        return x @ self._weight(i) + self.params[i][1]

    def _linear_backward(self, i, x, dy, deltas):
        dx = np.empty(x.shape if i else (0, 0), dy.dtype)
        linear_backward(dy, x, self._weight(i), dy, 0, False, dx, *self.gradients[i], 1)
        return dx if i else 0

    def _activation_forward(self, i, z):
        return formula(self.layers[i]["code"])[0](z)

    def _activation_backward(self, i, z, da, deltas):
        code = self.layers[i]["code"]
        return formula(code)[1](da, z if code in FROM_Z else self.values[i + 1])

    def _dropout_forward(self, i, x):
        layer, rate = self.layers[i], float(self.layers[i]["rate"]) if self.training and self.update else 0.0
        if not rate:
            return x
        key = stream_key(int(layer["seed"]), int(layer["stream"]) + self.update)
        y = np.concatenate([np.zeros((self.first_row, x.shape[1]), x.dtype), x])
        dropout(y, key, drop_threshold(rate), 1 / (1 - rate), y, 1)
        return y[self.first_row :]

    def _dropout_backward(self, i, x, dy, deltas):
        return self._dropout_forward(i, dy)

    def _layer_norm_forward(self, i, x):
        self.saved[i] = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
        y = np.empty_like(x)
        layer_norm_forward(x, *self.params[i], self.layers[i]["epsilon"], y, *self.saved[i], 1)
        return y

    def _layer_norm_backward(self, i, x, dy, deltas):
        dx = np.empty_like(x)
        layer_norm_backward(dy, x, self.params[i][0], *self.saved[i], False, dx, *self.gradients[i], 1)
        return dx

    def _batch_norm_forward(self, i, x):
        y, epsilon = np.empty_like(x), self.layers[i]["epsilon"]
        if self.training:
            self.saved[i] = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
            batch_norm_forward(x, *self.params[i], epsilon, y, *self.saved[i], 1)
        else:
            batch_norm_inference(x, *self.params[i], *self.buffers[i], epsilon, y, 1)
        return y

    def _batch_norm_backward(self, i, x, dy, deltas):
        dx = np.empty_like(x)
        batch_norm_backward(dy, x, self.params[i][0], *self.saved[i], False, dx, *self.gradients[i], 1)
        return dx

    def _add_forward(self, i, x):
        return x + self.values[self.layers[i]["source"]]

    def _add_backward(self, i, x, dy, deltas):
        deltas[self.layers[i]["source"]] = deltas[self.layers[i]["source"]] + dy
        return dy


_KIND_NAMES = {code: name for name, code in KINDS.items()}
_CODES = {KINDS["activation"]: ("activation", ACTIVATION_CODES), KINDS["link"]: ("link", LINKS)}


def require_known(layers, loss=None, loss_hyper=None, optimizer=None):
    """Refuse numbers that are not in the specification, and another number of parameters, before anything is changed."""
    numbers = [("loss", LOSS_CODES, loss), ("optimizer", OPTIMIZER_CODES, optimizer)]
    for kind, code in layers[["kind", "code"]].tolist():
        numbers.append(("kind of layer", KINDS, kind))
        if kind in _CODES:
            numbers.append((*_CODES[kind], code))
    for what, table, number in numbers:
        if number is not None and number not in table.values():
            raise ValueError(f"there is no {what} number {number}")
    if loss is not None:
        parameters_of(loss, loss_hyper, layers[-1]["n_out"])


def one_matrix(x, indices, indptr, layers):
    """X as one object, dense or sparse: from here on the same expressions do for both. Encoded X is made dense, bits float32.

    SciPy goes where the columns of sparse X say, whatever they are: it gets private ones.
    """
    if x.dtype == BITS:
        return widened(x)
    if is_encoded(indices, indptr):
        return expanded(x, indices)
    if not indptr.size:
        return x
    n_in = int(layers[0]["n_in"])
    return csr_array((x[0], private_columns(indices, n_in), indptr), shape=(len(indptr) - 1, n_in))


def network_forward(x, indices, indptr, layers, params, buffers, outputs, n_threads):
    """The outputs of the network: every row of the layer table in turn, without dropout, with the running statistics."""
    require_known(layers)
    batch = Pass(layers, params, buffers, training=False, bfloat16=x.dtype == BITS)
    logits = batch.forward(one_matrix(x, indices, indptr, layers))
    outputs[...] = apply_link(layers[-1]["code"], logits)


def bind_forward(x, layers, params, buffers, bfloat16, codes, scales, outputs, n_threads):
    """`network_forward` of dense x as a function without arguments; ``layers``, ``params``, ``buffers`` must not change.

    With ``bfloat16`` x is float32, or bits in uint16, and what products read is rounded. With the ``codes`` and ``scales`` of
    `int8.quantized` they multiply integers; x is float32 then.
    """
    require_known(layers)
    if codes.size and x.dtype != np.float32:
        raise TypeError(f"codes go with rows of float32; got {x.dtype}")
    batch = Pass(layers, params, buffers, False, bfloat16=bfloat16, int8=split(layers, codes, scales) if codes.size else None)

    def forward():
        rows = widened(x) if x.dtype == BITS else rounded(x) if bfloat16 else x
        outputs[...] = apply_link(layers[-1]["code"], batch.forward(rows))

    return forward


def network_loss_gradient(
    x, indices, indptr, labels, targets, sample_weight, layers, params, loss, loss_hyper, alpha, clip, gradient, n_threads
):
    """Write the gradient over the flat block and return the mean loss, both with scikit-learn's L2 term.

    With S the number of rows, or the sum of the sample weights: loss = (loss_sum + alpha/2 |weights|^2) / S, where squared
    error is also divided by n_out; gradient = (sum over the rows + alpha weights) / S, where it is not (scikit-learn's
    convention); only the weights of linear rows are penalised. S = 0: loss and gradient are 0. With clip > 0 the two
    cross-entropies are reported as of probabilities clipped to [clip, 1 - clip], as scikit-learn does with the dtype's epsilon; the
    gradient is the same. Nothing is dropped; batch norm takes the statistics of these rows.
    """
    require_known(layers, loss, loss_hyper)
    batch = Pass(layers, params, np.empty(0, params.dtype), training=True, bfloat16=x.dtype == BITS)
    x = one_matrix(x, indices, indptr, layers)
    y = dense_targets(labels, targets, np.empty((x.shape[0], layers[-1]["n_out"]), x.dtype))
    total_weight = weight_of(sample_weight, x.shape[0])
    if total_weight == 0:
        gradient[...] = 0
        return 0.0
    loss_sum = sums_of_rows(batch, x, y, sample_weight, loss, loss_hyper, clip, gradient)
    return mean_with_penalty(layers, params, gradient, loss_sum, total_weight, alpha)


def sums_of_rows(batch, x, y, sample_weight, loss, loss_hyper, clip, gradient, smoothing=0.0, gradient_scale=1.0, value_scale=1.0):
    """Write the gradient of the sum of the rows' losses, for a `Pass` and dense targets, and return this sum as it is reported."""
    delta, y = np.array(batch.forward(x)), smoothed(loss, y, smoothing)
    value = clipped_loss(loss, loss_hyper, delta, y, sample_weight, clip, delta)
    loss_backward(loss, loss_hyper, delta, np.empty(0, np.intp), y, sample_weight, gradient_scale, delta, 1)
    gradient[...] = 0
    batch.backward(delta, gradient)
    return value_scale * value / loss_terms(loss, batch.layers)


def mean_with_penalty(layers, params, gradient, loss_sum, total_weight, alpha):
    """Make sums over rows means with L2 term: the gradient in place; the loss is returned."""
    for layer, own, gradients in zip(layers, parameter_views(layers, params), parameter_views(layers, gradient), strict=True):
        if layer["kind"] == KINDS["linear"]:
            gradients[0][...] += alpha * own[0]
            loss_sum += alpha / 2 * float(np.vdot(own[0], own[0]))
    gradient /= total_weight
    return loss_sum / total_weight


def weight_of(sample_weight, n):
    """What the sums over n rows are divided by."""
    return float(sample_weight.sum(dtype=np.float64)) if sample_weight.size else float(n)


def loss_terms(loss, layers):
    """What the reported loss of a row is divided by."""
    return int(layers[-1]["n_out"]) if loss == LOSSES["squared_error"].code else 1

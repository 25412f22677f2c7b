"""LayeredNetwork: a `Network` with an activation of the user's, computed layer by layer."""

from functools import partial

import numpy as np
from scipy.special import xlogy

from .. import kernels
from ..kernels.checks import NO_INDICES
from ..kernels.spec import LOSS_CODES, LOSSES
from ..network import Network
from ..training_set import one_matrix
from .arrays import raw
from .containers import Sequential, mlp
from .linear import Linear
from .parameter import Parameter

# The options of a job that are not implemented here, with their defaults, and its arrays that must be empty.
PLAIN = {"gradient_scale": 1, "value_scale": 1, "smoothing": 0, "clip_norm": 0, "exempt": False}
EMPTY = "average", "validation_losses"


class LayeredNetwork(Network):
    """A `Network` with an `Activation` behind every hidden layer; parameters and results have the form of `Network`.

    The layers' parameters and gradients are views of two flat blocks, so that an update is one call of a kernel. Loss, penalty and
    the rules of an epoch are those of `kernels.train_epoch`; `kernels.reference` describes them.
    """

    def __init__(self, sizes, activation, loss="softmax_cross_entropy", dtype=np.float64, loss_hyper=None):
        super().__init__(sizes, activation, loss, dtype, loss_hyper)
        self._gradient = np.zeros_like(self._params)
        self._model = mlp(self.sizes, activation, init="zeros", dtype=dtype).eval()
        self._hidden = Sequential(*self._model.layers[:-1])
        # The last layer with its link is a network of its own: that gives the outputs.
        self._last = kernels.layer_table(self.sizes[-2:], "identity", LOSSES[loss].link)
        linears = [layer for layer in self._model if isinstance(layer, Linear)]
        views, gradients = (kernels.layer_views(self._layers, block) for block in (self._params, self._gradient))
        for layer, own, gradient in zip(linears, views, gradients, strict=True):
            layer.weight, layer.bias = map(Parameter, own)
            layer.weight.grad, layer.bias.grad = gradient
        self._weights = [layer.weight for layer in linears]

    def _layer_table(self):
        return kernels.layer_table(self.sizes, "identity", LOSSES[self.loss].link)

    def _forward(self, rows, outputs, n_threads):
        self._model.set_n_threads(n_threads)
        hidden = self._hidden.forward(_dense(one_matrix(*rows, self.sizes[0])))
        last = self._params[self._layers[-2]["offset"] :]
        raw.network_forward(hidden, NO_INDICES, NO_INDICES, self._last, last, self._buffers, outputs, n_threads)

    def _bound_forward(self, rows, outputs, n_threads):
        return partial(self._forward, rows, outputs, n_threads)

    def _loss_gradient(self, data, alpha, clip, gradient, n_threads):
        self._model.set_n_threads(n_threads)
        loss = self._batch(_dense(data.rows), *data[3:6], alpha, clip, n_threads)
        gradient[...] = self._gradient
        return loss

    def _train_epochs(self, job, n_threads):
        unknown = [name for name, value in PLAIN.items() if getattr(job, name) != value]
        unknown += [name for name in EMPTY if getattr(job, name).size]
        if unknown:
            raise ValueError(f"a network with an activation of your own trains without {unknown}")
        self._model.set_n_threads(n_threads)
        x, first_step = one_matrix(job.x, job.indices, job.indptr, self.sizes[0]), int(job.step[0])
        for epoch, order in enumerate(job.orders):
            loss_sum = 0.0
            for start in range(0, len(order), job.batch_size):
                rows = order[start : start + job.batch_size]
                labels, targets, weight = (v[rows] if v.size else v for v in (job.labels, job.targets, job.sample_weight))
                loss_sum += len(rows) * self._batch(_dense(x[rows]), labels, targets, weight, job.alpha, job.clip, n_threads)
                job.step[0] += 1
                if not weight.size or weight.sum(dtype=np.float64):
                    self._update(job, int(job.step[0]), first_step, n_threads)
            job.losses[epoch] = loss_sum / len(order)

    def _update(self, job, step, first_step, n_threads):
        slots = job.state[0], job.state[1] if len(job.state) > 1 else job.state[0, :0]
        hyper = job.hyper.copy()
        if job.rates.size:
            hyper[0] *= job.rates[step - first_step - 1]
        raw.update(job.optimizer, self._params, self._gradient, *slots, hyper, step, n_threads)

    def _batch(self, x, labels, targets, weight, alpha, clip, n_threads):
        """Write the gradient of a batch into ``_gradient`` and return its loss."""
        total = float(weight.sum(dtype=np.float64)) if weight.size else len(x)
        if total == 0:
            self._gradient[...] = 0
            return 0.0
        self._model.train()
        try:
            logits = self._model.forward(x)
            probs, loss = np.empty_like(logits), (LOSS_CODES[self.loss], self._loss_hyper)
            loss_sum = raw.loss_forward(*loss, logits, labels, targets, weight, probs, n_threads)
            if clip and self.loss in CLIPPED:
                losses = CLIPPED[self.loss](np.clip(probs, clip, 1 - clip), labels, targets)
                loss_sum = float(np.average(losses, weights=weight if weight.size else None)) * total
            raw.loss_backward(*loss, probs, labels, targets, weight, 1 / total, logits, n_threads)
            self._model.backward(logits, need_dx=False)
        finally:
            self._model.eval().forget()
        for parameter in self._weights:
            parameter.grad += alpha / total * parameter.data
        penalty = alpha / 2 * sum(float(np.vdot(parameter.data, parameter.data)) for parameter in self._weights)
        return (loss_sum / (self.sizes[-1] if self.loss == "squared_error" else 1) + penalty) / total


def _dense(x):
    return x.toarray() if hasattr(x, "toarray") else x


def _softmax_loss(probs, labels, targets):
    if labels.size:
        return -np.log(probs[np.arange(len(labels)), labels])
    return -xlogy(targets, probs).sum(axis=1)


def _binary_loss(probs, labels, targets):
    return -(xlogy(targets, probs) + xlogy(1 - targets, 1 - probs)).sum(axis=1)


# The losses as functions of probabilities, for each row: for losses that are reported as of clipped probabilities.
CLIPPED = {"softmax_cross_entropy": _softmax_loss, "binary_cross_entropy": _binary_loss}

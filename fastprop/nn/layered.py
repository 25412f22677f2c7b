"""LayeredNetwork: a `Network` with the user's own activations, computed layer by layer."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from .. import kernels
from ..kernels.checks import NO_INDICES
from ..kernels.spec import COMMON_HYPER, LOSS_CODES, LOSSES
from ..network import Network
from ..training_set import one_matrix
from .activations import ACTIVATION_LAYERS
from .arrays import raw
from .clipping import clip_grad_norm
from .containers import Sequential
from .dropout import Dropout
from .functions import Activation
from .linear import Linear
from .normalization import BatchNorm1d, LayerNorm
from .parameter import Parameter

# The options of a job that are not implemented here, with their defaults.
PLAIN = {"gradient_scale": 1, "value_scale": 1}
NORMS = {"batch": BatchNorm1d, "layer": LayerNorm}
LR, WEIGHT_DECAY = map(list(COMMON_HYPER).index, ("lr", "weight_decay"))


class LayeredNetwork(Network):
    """A `Network` with an `Activation` after hidden layers; parameters and results have the form of `Network`.

    The layers' parameters and gradients are views of two flat blocks, so that an update is one kernel call. Loss, penalty and the
    rules of an epoch are those of `kernels.train_epoch`, which `kernels.reference` describes.
    """

    def _layer_table(self, dropout=None):
        self._dropout = [(0.0, 0, 0)] * (len(self.sizes) - 2) if dropout is None else list(dropout)
        return kernels.layer_table(self.sizes, "identity", LOSSES[self.loss].link, normalization=self.normalization)

    def _use(self, layers, dtype, loss_hyper, params=None, buffers=None):
        super()._use(layers, dtype, loss_hyper, params, buffers)
        self._gradient = np.zeros_like(self._params)
        self._hidden = [self._hidden_layer(i) for i in range(len(self.sizes) - 2)]
        self._model = Sequential(*(module for layer in self._hidden for module in layer), self._linear(-2)).eval()
        self._before_last = Sequential(*self._model.layers[:-1])
        # The last layer with its link is a separate network, which computes the outputs.
        self._last = kernels.layer_table(self.sizes[-2:], "identity", LOSSES[self.loss].link)
        modules = [module for module in self._model if isinstance(module, (Linear, *NORMS.values()))]
        self._masks = [module for module in self._model if isinstance(module, Dropout)]
        views, gradients = (kernels.layer_views(self._layers, block) for block in (self._params, self._gradient))
        for module, own, gradient in zip(modules, views, gradients, strict=True):
            module.weight, module.bias = map(Parameter, own)
            module.weight.grad, module.bias.grad = gradient
        norms = [module for module in modules if isinstance(module, BatchNorm1d)]
        for norm, (mean, variance) in zip(norms, self.statistics, strict=True):
            norm.running_mean, norm.running_var = mean, variance
        self._weights = [module.weight for module in modules if isinstance(module, Linear)]

    def _linear(self, i):
        return Linear(*self.sizes[i:][:2], init="zeros", dtype=self.dtype)

    def _hidden_layer(self, i):
        """The modules of a hidden layer."""
        activation, (rate, seed, stream), n_units = self.activations[i], self._dropout[i], self.sizes[i + 1]
        modules = [self._linear(i)]
        if self.normalization is not None:
            modules.append(NORMS[self.normalization](n_units, dtype=self.dtype))
        modules.append(activation.copied() if isinstance(activation, Activation) else ACTIVATION_LAYERS[activation]())
        if rate:
            dropout = Dropout(rate, seed)
            dropout.stream = stream
            modules.append(dropout)
        return modules

    def up_to_hidden(self, layer):
        modules = [module for each in self._hidden[: layer + 1] for module in each]
        return HiddenPart(Sequential(*modules).eval(), self.dtype)

    def _forward(self, rows, outputs, n_threads):
        self._model.set_n_threads(n_threads)
        hidden = self._before_last.forward(_dense(one_matrix(*rows, self.sizes[0])))
        last = self._params[self._layers[-2]["offset"] :]
        raw.network_forward(hidden, NO_INDICES, NO_INDICES, self._last, last, self._buffers[:0], outputs, n_threads)

    def _bound_forward(self, rows, outputs, n_threads, products):
        if products.bfloat16 or products.codes.size:
            raise ValueError("a network with an activation of your own predicts in float32 or float64, without another precision")
        return partial(self._forward, rows, outputs, n_threads)

    def _loss_gradient(self, data, alpha, clip, gradient, n_threads):
        self._model.set_n_threads(n_threads)
        loss = self._batch(_dense(data.rows), *data[3:6], alpha, clip, n_threads)
        gradient[...] = self._gradient
        return loss

    def _train_epochs(self, job, n_threads):
        unknown = [name for name, value in PLAIN.items() if getattr(job, name) != value]
        if unknown or job.validation_losses.size:
            raise ValueError(f"a network with an activation of your own trains without {unknown or ['validation']}")
        self._model.set_n_threads(n_threads)
        x, first_step = one_matrix(job.x, job.indices, job.indptr, self.sizes[0]), int(job.step[0])
        for epoch, order in enumerate(job.orders):
            loss_sum = 0.0
            for start in range(0, len(order), job.batch_size):
                rows = order[start : start + job.batch_size]
                labels, targets, weight = (v[rows] if v.size else v for v in (job.labels, job.targets, job.sample_weight))
                if job.smoothing:
                    labels, targets = labels[:0], self._smoothed(labels, targets, job.smoothing)
                for dropout in self._masks:
                    dropout.n_forwards = dropout.stream + int(job.step[0])
                loss_sum += len(rows) * self._batch(_dense(x[rows]), labels, targets, weight, job.alpha, job.clip, n_threads)
                job.step[0] += 1
                if not weight.size or weight.sum(dtype=np.float64):
                    self._update(job, int(job.step[0]), first_step, n_threads)
            job.losses[epoch] = loss_sum / len(order)

    def _batch_sums(self, job, first_row, sums, n_threads):
        raise ValueError("a network with an activation of your own cannot train in two halves")

    def _apply_sums(self, job, sums, n_threads):
        self._batch_sums(job, 0, sums, n_threads)

    def _smoothed(self, labels, targets, smoothing):
        if labels.size:
            targets = np.zeros((len(labels), self.sizes[-1]), self.dtype)
            targets[np.arange(len(labels)), labels] = 1
        n_classes = self.sizes[-1] if self.loss == "softmax_cross_entropy" else 2
        return ((1 - smoothing) * targets + smoothing / n_classes).astype(self.dtype)

    def _update(self, job, step, first_step, n_threads):
        slots = job.state[0], job.state[1] if len(job.state) > 1 else job.state[0, :0]
        hyper = job.hyper.copy()
        if job.rates.size:
            hyper[LR] *= job.rates[step - first_step - 1]
        if job.clip_norm:
            clip_grad_norm(self._model.parameters(), job.clip_norm)
        if job.exempt and hyper[WEIGHT_DECAY]:
            for weight in self._weights:
                weight.data *= self.dtype.type(1 - hyper[LR] * hyper[WEIGHT_DECAY])
            hyper[WEIGHT_DECAY] = 0
        raw.update(job.optimizer, self._params, self._gradient, *slots, hyper, step, n_threads)
        if job.average.size:
            new = (1 - job.ema_decay) / (1 - job.ema_decay**step)
            job.average[...] = self._params if new == 1 else job.average + self.dtype.type(new) * (self._params - job.average)

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


class HiddenPart(NamedTuple):
    """The layers up to a hidden one, which `up_to_hidden` returns in place of a `Network`."""

    model: Sequential
    dtype: np.dtype

    def forward(self, x, n_threads=1):
        """The activations of the last layer."""
        self.model.set_n_threads(n_threads)
        return self.model.forward(_dense(x).astype(self.dtype, copy=False))


def _dense(x):
    return x.toarray() if hasattr(x, "toarray") else x


def _softmax_loss(probs, labels, targets):
    if labels.size:
        return -np.log(probs[np.arange(len(labels)), labels])
    return -xlogy(targets, probs).sum(axis=1)


def _binary_loss(probs, labels, targets):
    return -(xlogy(targets, probs) + xlogy(1 - targets, 1 - probs)).sum(axis=1)


# The loss of each row as a function of probabilities, for losses that are reported for clipped probabilities.
CLIPPED = {"softmax_cross_entropy": _softmax_loss, "binary_cross_entropy": _binary_loss}

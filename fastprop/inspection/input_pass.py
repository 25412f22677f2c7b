"""A network's forward pass at prediction and backward pass to its inputs: each row of its layer table by public kernels."""

import numpy as np

from .. import kernels
from ..kernels.layer_table import buffer_views, parameter_views
from ..kernels.spec import ACTIVATIONS, KINDS, LINKS, codes
from ..nn import Module

KIND_NAMES, ACTIVATION_NAMES, LINK_NAMES = (
    {code: name for name, code in codes(table).items()} for table in (KINDS, ACTIVATIONS, LINKS)
)
FLOPS_PER_WEIGHT = 4  # forward and back to the inputs, for each row


class InputPass:
    """A forward pass of rows through a network, and a backward pass of a gradient to the rows.

    There is no dropout, and batch norm uses its running statistics.

    Parameters
    ----------
    network : Network
        May have any layers, including activations of the user's own. It is only read.
    n_threads : int
        Number of threads of each kernel.
    """

    def __init__(self, network, n_threads=1):
        self._layers, self._threads = network.layers, {"n_threads": n_threads}
        self._kinds = [KIND_NAMES[kind] for kind in self._layers["kind"].tolist()]
        self._params = parameter_views(self._layers, network.params)
        self._buffers = buffer_views(self._layers, network.buffers)
        linears = [i for i, kind in enumerate(self._kinds) if kind == "linear"]
        self._transposed = {i: np.ascontiguousarray(self._params[i][0].T) for i in linears}
        self._activations = self._activations_of(network)
        self._backwards = []

    def _activations_of(self, network):
        """The name of each row's activation, or a layer for this pass alone where it is the user's own."""
        rows = [i for i, kind in enumerate(self._kinds) if kind == "activation"]
        given = network.activation
        if given is None:
            given = [ACTIVATION_NAMES[code] for code in self._layers["code"][rows].tolist()]
        elif isinstance(given, str | Module):
            given = [given] * len(rows)
        return {i: each if isinstance(each, str) else each.copied().train() for i, each in zip(rows, given, strict=True)}

    def forward(self, x):
        """The outputs (n, n_out) of rows x (n, n_in), a C-contiguous array of the network's dtype."""
        values, self._backwards = [x], []
        for i, kind in enumerate(self._kinds):
            if kind == "add":
                y, backward = values[-1] + values[self._layers[i]["source"]], _same
            else:
                y, backward = getattr(self, f"_{kind}")(i, values[-1])
            values.append(y)
            self._backwards.append(backward)
        return values[-1]

    def backward(self, doutputs):
        """The gradient (n, n_in) with respect to the rows of the last forward, given that with respect to its outputs."""
        delta, branches = doutputs, {}  # gradients from later rows that have added a value
        for i in range(len(self._kinds) - 1, -1, -1):
            if self._kinds[i] == "add":
                source = int(self._layers[i]["source"])
                branches[source] = branches[source] + delta if source in branches else delta
            delta = self._backwards[i](delta)
            if i in branches:
                delta = delta + branches.pop(i)
        return delta

    # Each returns a row's output for x, and the function from the gradient with respect to this output to that with respect to x.

    def _linear(self, i, x):
        weight, bias = self._params[i]
        transposed, no_bias = self._transposed[i], np.zeros(len(weight), weight.dtype)
        # The product alone: `linear_backward` would compute the gradient of the weight, too.
        return (
            kernels.linear_forward(x, weight, bias, **self._threads),
            lambda dy: kernels.linear_forward(dy, transposed, no_bias, **self._threads),
        )

    def _activation(self, i, z):
        activation = self._activations[i]
        if isinstance(activation, str):
            return self._named_activation(activation, z)
        return activation.forward(z), activation.backward

    def _named_activation(self, name, z):
        a = kernels.activation_forward(z, name, **self._threads)
        saved = a if ACTIVATIONS[name].derivative == "a" else z
        return a, lambda da: kernels.activation_backward(da, saved, name, **self._threads)

    def _dropout(self, i, x):
        return x, _same

    def _layer_norm(self, i, x):
        gamma, beta = self._params[i]
        y, mean, rstd = kernels.layer_norm_forward(x, gamma, beta, float(self._layers[i]["epsilon"]), **self._threads)
        return y, lambda dy: kernels.layer_norm_backward(dy, x, gamma, mean, rstd, **self._threads)[0]

    def _batch_norm(self, i, x):
        (gamma, beta), (mean, variance) = self._params[i], self._buffers[i]
        epsilon, zeros = float(self._layers[i]["epsilon"]), np.zeros_like(mean)
        # Affine in x: the backward is the same function without the two shifts.
        return (
            kernels.batch_norm_inference(x, gamma, beta, mean, variance, epsilon, **self._threads),
            lambda dy: kernels.batch_norm_inference(dy, gamma, zeros, zeros, variance, epsilon, **self._threads),
        )

    def _link(self, i, logits):
        name = LINK_NAMES[int(self._layers[i]["code"])]
        if name == "softmax":
            probs = kernels.softmax_forward(logits, **self._threads)
            return probs, lambda dprobs: kernels.softmax_backward(dprobs, probs, **self._threads)
        if name == "exp":
            with np.errstate(over="ignore"):
                rates = np.exp(logits)
            return rates, lambda drates: drates * rates
        return self._named_activation(name, logits)


def _same(dy):
    return dy

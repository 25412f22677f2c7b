"""Gradient flow: how large the gradient is at each layer and step, and a warning where it explodes."""

import warnings

import numpy as np

# A norm this many times the median of the layer's earlier ones is a spike, once there are MIN_HISTORY of them.
SPIKE_FACTOR, MIN_HISTORY = 10.0, 5
# A norm this many times that of the last layer has exploded on its way back: 1000 is doubling at each of ten layers.
GROWTH_LIMIT = 1e3


class GradientWarning(UserWarning):
    """The gradient of a layer is not finite, has jumped, or has grown with depth; the message names the layer."""


class GradientFlow:
    """The norm of the gradient at each layer, step by step.

    Call `record` after every backward. A layer is what has parameters of its own, and its norm is the Euclidean norm of the
    gradients of all of them. `GradientFlowDisplay` draws it.

    Parameters
    ----------
    model : model of fastprop.nn
    spike_factor : float, default=10.0
        Warn where a norm is more than this times the median of the layer's earlier norms, from the sixth step on.
    growth_limit : float, default=1000.0
        Warn where a norm is more than this times the norm of the last layer.

    Attributes
    ----------
    layers : list of str
        The layers' names in the model, first layer first.
    norms : ndarray, shape (n_steps, n_layers)

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import GradientFlow
    >>> model, loss = nn.Sequential(nn.Linear(2, 4, random_state=0), nn.Sigmoid(), nn.Linear(4, 2, random_state=1)), nn.MSELoss()
    >>> flow = GradientFlow(model)
    >>> for _ in range(3):
    ...     _ = loss(model(np.ones((5, 2))), np.zeros((5, 2)))
    ...     _ = model.backward(loss.backward())
    ...     _ = flow.record()
    >>> flow.layers, flow.norms.shape
    (['0', '2'], (3, 2))
    """

    def __init__(self, model, spike_factor=SPIKE_FACTOR, growth_limit=GROWTH_LIMIT):
        self.spike_factor, self.growth_limit = spike_factor, growth_limit
        self._parameters = {}
        for name, parameter in model.named_parameters():
            self._parameters.setdefault(name.rpartition(".")[0], []).append(parameter)
        if not self._parameters:
            raise ValueError("the model has no parameters, so there are no gradients to record")
        self.layers = list(self._parameters)
        self._norms = []

    @property
    def norms(self):
        return np.array(self._norms).reshape(-1, len(self.layers))

    def record(self):
        """Record the norms of the gradients that the last backward left, and return them.

        Returns
        -------
        dict
            Layer's name -> norm.

        Raises
        ------
        ValueError
            A layer has no gradient, because there was no backward yet.

        Warns
        -----
        GradientWarning
            A norm is not finite, is a spike, or has grown too much on its way from the last layer.
        """
        norms = np.array([_norm(name, parameters) for name, parameters in self._parameters.items()])
        trouble = self._trouble(norms)
        self._norms.append(norms)
        if trouble:
            warnings.warn(f"step {len(self._norms)}: {trouble}", GradientWarning, stacklevel=2)
        return dict(zip(self.layers, norms.tolist(), strict=True))

    def ratio(self, step=-1):
        """The norm at the first layer divided by that at the last: below 1 the gradient vanishes with depth, above 1 it grows."""
        first, last = self.norms[step, [0, -1]]
        return float(first / last)

    def _trouble(self, norms):
        """What is wrong with the norms of a step, in words, or None."""
        finite = np.isfinite(norms)
        if not finite.all():
            # The backward begins at the last layer: that is where the first one that is not finite came from.
            layer = int(np.flatnonzero(~finite)[-1])
            return f"the gradient of layer '{self.layers[layer]}' is not finite; its norm is {norms[layer]}"
        if len(self._norms) >= MIN_HISTORY:
            usual = np.median(self.norms, axis=0)
            spikes = norms > self.spike_factor * usual
            if spikes.any() and usual.all():
                layer = int((norms / usual).argmax())
                return f"the gradient of layer '{self.layers[layer]}' spikes: norm {norms[layer]:.3g}, usually {usual[layer]:.3g}"
        layer = int(norms.argmax())
        if norms[layer] > self.growth_limit * norms[-1] > 0:
            return (
                f"the gradient explodes on its way back: norm {norms[-1]:.3g} at layer '{self.layers[-1]}', "
                f"{norms[layer]:.3g} at layer '{self.layers[layer]}'"
            )
        return None


def gradient_flow(model, loss, X, y, **options):
    """Run one forward and backward in the model's mode, and record the norms of the gradients.

    Parameters
    ----------
    model : model of fastprop.nn
        In training mode.
    loss : loss of fastprop.nn
    X, y : array-like
        A batch and its targets.
    **options
        Of `GradientFlow`.

    Returns
    -------
    GradientFlow
        With one step; ``record()`` adds more.
    """
    flow = GradientFlow(model, **options)
    loss(model(X), y)
    model.backward(loss.backward())
    flow.record()
    return flow


def _norm(layer, parameters):
    if any(parameter.grad is None for parameter in parameters):
        raise ValueError(f"layer '{layer}' has no gradient; record() comes after a backward")
    return np.linalg.norm([np.linalg.norm(parameter.grad.astype(np.float64)) for parameter in parameters])

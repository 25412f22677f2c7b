"""Gradient flow: how large the gradient is at each layer and step, and a warning where it explodes or vanishes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nn.arguments import check_model_and_loss
from .observation import observed, undisturbed

if TYPE_CHECKING:
    from ..nn import Loss, Module

Place: TypeAlias = Literal["parameters", "outputs"]

# A norm this many times the median of the layer's earlier ones is a spike, once there are MIN_HISTORY of them.
SPIKE_FACTOR, MIN_HISTORY = 10.0, 5
# A norm this many times that of the last layer has exploded on its way back: 1000 is doubling at each of ten layers.
GROWTH_LIMIT = 1e3
# A norm below this share of that of the last layer has vanished on its way back: halving at each of ten layers.
VANISHING_LIMIT = 1e-3


class GradientWarning(UserWarning):
    """The gradient of a layer is not finite, has jumped, has grown or vanished with depth; the message names the layer."""


class GradientFlow:
    """The norm of the gradient at each layer, step by step.

    Call `backward` in the place of the model's, or `record` after it, or give it to ``fit`` as ``flow``, which records once before
    each epoch. `GradientFlowDisplay` draws what was recorded.

    Parameters
    ----------
    model : Module
        The model to watch.
    at : {'parameters', 'outputs'}, default='parameters'
        The Euclidean norm of the gradients of all parameters of a layer, or of the gradient with respect to the layer's output. The
        second one shows how the gradient shrinks or grows on its way back, whatever the size of the activations.
    layers : list of str, optional
        The names of the layers to watch; by default all that have parameters of their own.
    spike_factor : float, default=10.0
        Warn where a norm is more than this times the median of the layer's earlier norms, from the sixth step on.
    growth_limit : float, default=1000.0
        Warn where a norm is more than this times the norm of the last layer.
    vanishing_limit : float, default=0.001
        Warn, once, where a norm is less than this times the norm of the last layer; 0 for never.

    Attributes
    ----------
    layers : list of str
        The names of the layers.
    norms : ndarray, shape (n_steps, n_layers)
        The recorded norms.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import GradientFlow
    >>> model, loss = nn.Sequential(nn.Linear(2, 4, random_state=0), nn.Sigmoid(), nn.Linear(4, 2, random_state=1)), nn.MSELoss()
    >>> flow = GradientFlow(model)
    >>> for _ in range(3):
    ...     _ = loss(model(np.ones((5, 2))), np.zeros((5, 2)))
    ...     _ = flow.backward(loss.backward())
    >>> flow.layers, flow.norms.shape
    (['0', '2'], (3, 2))
    """

    def __init__(
        self,
        model: Module,
        at: Place = "parameters",
        *,
        layers: Iterable[str] | None = None,
        spike_factor: float = SPIKE_FACTOR,
        growth_limit: float = GROWTH_LIMIT,
        vanishing_limit: float = VANISHING_LIMIT,
    ) -> None:
        if at not in ("parameters", "outputs"):
            raise ValueError(f"at must be 'parameters' or 'outputs'; got {at!r}")
        self.model, self.at, self.spike_factor, self.growth_limit = model, at, spike_factor, growth_limit
        self.vanishing_limit, self._has_vanished = vanishing_limit, False
        parameters = {}
        for name, parameter in model.named_parameters():
            parameters.setdefault(name.rpartition(".")[0], []).append(parameter)
        self.layers = list(parameters if layers is None else layers)
        unknown = [name for name in self.layers if name not in parameters]
        if unknown or not self.layers:
            raise ValueError(f"layers must be some of {list(parameters)}, which have parameters; got {self.layers}")
        self._parameters = {name: parameters[name] for name in self.layers}
        self._norms = []

    @property
    def norms(self) -> NDArray[np.float64]:
        """The norms, shape (n_steps, n_layers)."""
        return np.array(self._norms).reshape(-1, len(self.layers))

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Any:
        """Run the model's backward and record the norms.

        Parameters
        ----------
        dout : ndarray
            Gradient of the loss with respect to the model's output.
        accumulate : bool
            As in `fastprop.nn.Module.backward`.

        Returns
        -------
        ndarray
            What the model's backward returned.

        Raises
        ------
        ValueError
            The backward did not come to a layer.

        Warns
        -----
        GradientWarning
            A norm is not finite, is a spike, or has grown or shrunk too much on its way from the last layer.
        """
        with observed(self.model, "backward") as calls:
            dx = self.model.backward(dout, accumulate)
        if self.at == "parameters":
            self._append(self._parameter_norms())
        else:
            by_name = {call.name: _norm(call.inputs[:1]) for call in calls}
            missed = [name for name in self.layers if name not in by_name]
            if missed:
                raise ValueError(f"the backward must reach all layers; it did not reach {missed}")
            self._append([by_name[name] for name in self.layers])
        return dx

    def record(self) -> None:
        """Record the norms of the parameters' gradients that the last backward left.

        Raises
        ------
        ValueError
            A layer has no gradient, because there was no backward yet; or the flow is at the outputs, whose gradients are not kept.

        Warns
        -----
        GradientWarning
            As in `backward`.
        """
        if self.at == "outputs":
            raise ValueError("gradients by outputs are not kept: call backward() of this flow in the place of the model's")
        self._append(self._parameter_norms())

    def ratio(self, step: int = -1) -> float:
        """Divide the norm at the first layer by that at the last.

        Parameters
        ----------
        step : int, default=-1
            The number of the step, counted from 0; the last one by default.

        Returns
        -------
        float
            Below 1 the gradient vanishes with depth, above 1 it grows.
        """
        first, last = self.norms[step, [0, -1]]
        return float(first / last)

    def _parameter_norms(self):
        for name, parameters in self._parameters.items():
            if any(parameter.grad is None for parameter in parameters):
                raise ValueError(f"layer '{name}' has no gradient; record() comes after a backward")
        return [_norm([parameter.grad for parameter in parameters]) for parameters in self._parameters.values()]

    def _append(self, norms):
        norms = np.array(norms)
        trouble = self._trouble(norms)
        self._norms.append(norms)
        if trouble:
            warnings.warn(f"step {len(self._norms)}: {trouble}", GradientWarning, stacklevel=3)

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
        layer = int(norms.argmin())
        if norms[layer] < self.vanishing_limit * norms[-1] and not self._has_vanished:
            self._has_vanished = True
            return (
                f"the gradient vanishes on its way back: norm {norms[-1]:.3g} at layer '{self.layers[-1]}', "
                f"{norms[layer]:.3g} at layer '{self.layers[layer]}'"
            )
        return None


def gradient_flow(model: Module, loss: Loss, X: ArrayLike, y: ArrayLike, at: Place = "parameters", **options: Any) -> GradientFlow:
    """Run one forward and backward in training mode, and record the norms of the gradients.

    Afterwards model and loss are as before, except that the parameters' ``grad`` is that of this backward.

    Parameters
    ----------
    model : Module
        The model to watch.
    loss : Loss
        The loss for the model's outputs and y.
    X : array-like, shape (n, n_in)
        The rows of a batch.
    y : array-like
        Its targets.
    at : {'parameters', 'outputs'}, default='parameters'
        Which norms, see `GradientFlow`.
    **options
        As in `GradientFlow`.

    Returns
    -------
    GradientFlow
        With one step; its ``backward`` and ``record`` add more.
    """
    check_model_and_loss(model, loss)
    flow = GradientFlow(model, at, **options)
    with undisturbed(model, loss):
        loss(model.train()(X), y)
        flow.backward(loss.backward())
    return flow


def _norm(arrays):
    """The norm of all arrays together, in float64."""
    return float(np.linalg.norm([np.linalg.norm(array.astype(np.float64)) for array in arrays]))

"""Gradient flow: how large the gradient is at each layer and step, and a warning where it explodes or vanishes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nn.arguments import check_model_and_loss
from ..nn.errors import title
from ..nn.evaluation import inputs_of
from ..nn.summary import norm
from ..tables import Table, Tabular
from .bounds import INPUT, GradientBound, gradient_bound
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
    """The gradient of a layer is not finite, has jumped, or has grown or vanished with depth; the message names the layer.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import GradientWarning, gradient_flow
    >>> X, y = np.ones((6, 4)), np.array([0, 1, 0, 1, 0, 1])
    >>> model = nn.mlp([4, *[8] * 10, 2], "sigmoid", random_state=0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     flow = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, y)
    >>> [warning.category is GradientWarning for warning in caught]
    [True]
    """


class GradientFlow(Tabular):
    """The norm of the gradient at each layer, step by step. It prints as a table of the last step.

    Call `backward` in place of the model's, or `record` after the model's, or pass the flow to ``fit`` as ``flow``, which records
    once before each epoch. `GradientFlowDisplay` draws what was recorded.

    Parameters
    ----------
    model : Module
        The model to watch.
    at : {'parameters', 'outputs'}, default='parameters'
        The Euclidean norm of the gradients of all parameters of a layer, or of the gradient with respect to the layer's output. The
        second one shows how the gradient shrinks or grows in the backward, independently of the size of the activations.
    layers : list of str, optional
        The names of the layers to watch; by default all that have parameters of their own.
    spike_factor : float, default=10.0
        Warn if a norm is more than this times the median of the layer's earlier norms, from the sixth step on.
    growth_limit : float, default=1000.0
        Warn if a norm is more than this times the norm of the last layer.
    vanishing_limit : float, default=0.001
        Warn once if a norm is less than this times the norm of the last layer; 0 for never.

    Attributes
    ----------
    layers : list of str
        The names of the layers.
    norms : ndarray, shape (n_steps, n_layers)
        The recorded norms.
    input_norms : ndarray, shape (n_steps,)
        The norms of the gradient with respect to the model's input; NaN for steps from `record`, which does not know it.

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
        self._norms, self._input_norms = [], []

    @property
    def norms(self) -> NDArray[np.float64]:
        """The norms, shape (n_steps, n_layers)."""
        return np.array(self._norms).reshape(-1, len(self.layers))

    @property
    def input_norms(self) -> NDArray[np.float64]:
        """The norms of the gradient with respect to the input, shape (n_steps,)."""
        return np.array(self._input_norms, dtype=np.float64)

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
            If the backward did not reach a layer.

        Warns
        -----
        GradientWarning
            If a norm is not finite, is a spike, or has grown or shrunk too much on the way back from the last layer.
        """
        with observed(self.model, "backward") as calls:
            dx = self.model.backward(dout, accumulate)
        input_norm = np.nan if dx is None else norm(dx if isinstance(dx, tuple) else [dx])
        if self.at == "parameters":
            self._append(self._parameter_norms(), input_norm)
        else:
            by_name = {call.name: norm(call.inputs[:1]) for call in calls}
            missed = [name for name in self.layers if name not in by_name]
            if missed:
                raise ValueError(f"the backward must reach all layers; it did not reach {missed}")
            self._append([by_name[name] for name in self.layers], input_norm)
        return dx

    def record(self) -> None:
        """Record the norms of the parameters' gradients that the last backward left.

        Raises
        ------
        ValueError
            If a layer has no gradient because there was no backward yet, or if the flow is at the outputs, whose gradients are not
            kept.

        Warns
        -----
        GradientWarning
            As in `backward`.
        """
        if self.at == "outputs":
            raise ValueError("gradients with respect to outputs are not kept: call backward() of this flow in place of the model's")
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
            Below 1 the gradient vanishes with depth, above 1 it grows. NaN if both norms are 0.
        """
        return float(_relative(self.norms[step])[0])

    def bound(self) -> GradientBound:
        """Compare the norms of the last step with their upper bounds.

        In the backward, every layer multiplies the norm of the gradient by at most ``max |f'| |W|``: the largest derivative of the
        activation times the spectral norm of the weight. With L layers, the norm of the gradient with respect to the output of
        layer l is therefore at most the norm at layer L times ``(max |f'|)^(L - l)``, which is ``0.25^(L - l)`` for sigmoid, times
        the product of the ``|W|`` of the later layers, which is ``|W|^(L - l)`` if all are equal. The first factor makes gradients
        vanish, the second one can make them explode.

        Returns
        -------
        GradientBound
            A row for the input and each layer: both factors, the bound and the measured norm. It uses the present weights, so call
            it before the optimizer's step.

        Raises
        ------
        ValueError
            If the flow is not at the outputs, if nothing was recorded, or if the model is not a sequence of Linear layers,
            activations and dropout.

        References
        ----------
        Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks* (2013).
        """
        return gradient_bound(self)

    def _table(self) -> Table:
        place, n_steps = ("output" if self.at == "outputs" else "parameters"), len(self._norms)
        modules = dict(self.model.named_modules())
        names = [(INPUT, "", ""), *((name, title(modules[name]), f"{_size(p):,}") for name, p in self._parameters.items())]
        numbers = [("", "")] * len(names)
        if n_steps:
            norms = np.array([self._input_norms[-1], *self._norms[-1]])
            pairs = zip(norms, _relative(norms), strict=True)
            numbers = [("", "") if np.isnan(n) else (f"{n:.3g}", f"{r:.3g}") for n, r in pairs]
        step = f"step {n_steps}" if n_steps else "nothing recorded yet"
        return Table(
            ("layer", "module", "parameters", "norm", "/ last layer"),
            [(*name, *number) for name, number in zip(names, numbers, strict=True)],
            "<<>>>",
            caption=f"norm of the gradient with respect to the layer's {place}, {step}",
            footer=f"first / last layer: {self.ratio():.3g}" if n_steps else "",
        )

    def _parameter_norms(self):
        for name, parameters in self._parameters.items():
            if any(parameter.grad is None for parameter in parameters):
                raise ValueError(f"layer '{name}' has no gradient; record() comes after a backward")
        return [norm([parameter.grad for parameter in parameters]) for parameters in self._parameters.values()]

    def _append(self, norms, input_norm=np.nan):
        norms = np.array(norms)
        trouble = self._trouble(norms)
        self._norms.append(norms)
        self._input_norms.append(input_norm)
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
    X : array-like, shape (n, n_in), or tuple of array-like
        The rows of a batch. A tuple for a model with several inputs.
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

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import gradient_flow
    >>> X, y = np.ones((6, 4)), np.array([0, 1, 0, 1, 0, 1])
    >>> flow = gradient_flow(nn.mlp([4, 8, 8, 2], random_state=0), nn.SoftmaxCrossEntropy(), X, y)
    >>> flow.ratio() > 0.01
    True
    """
    check_model_and_loss(model, loss)
    flow = GradientFlow(model, at, **options)
    with undisturbed(model, loss):
        loss(model.train()(*inputs_of(X)), y)
        flow.backward(loss.backward())
    return flow


def _relative(norms):
    """The norms divided by the last one."""
    with np.errstate(divide="ignore", invalid="ignore"):  # of gradients that are 0
        return norms / norms[-1]


def _size(parameters):
    return sum(parameter.size for parameter in parameters)

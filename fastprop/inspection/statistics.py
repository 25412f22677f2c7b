"""Statistics of activations: how many values are saturated, and which units are dead."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import nn
from ..nn.activations import ACTIVATION_LAYERS
from ..nn.evaluation import inputs_of
from ..tables import NamedRows, Table
from .models import module_of
from .observation import observed, pre_activation, undisturbed, value_and_derivative

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from ..nn import Module

# A value whose derivative is below this fraction of the activation's largest one lets hardly any gradient through.
SATURATED = 0.05
# The points at which the largest derivative of an activation is looked for. Most have it at 0, some on one side of a kink there.
POINTS = np.concatenate([np.linspace(-8, 8, 16001), [-1e-9, 0.0, 1e-9]])[:, None]
NAMES = {cls: name for name, cls in ACTIVATION_LAYERS.items() if cls is not nn.Identity}


class LayerActivations(NamedTuple):
    """One row of the table of `activation_statistics`.

    Parameters
    ----------
    name : str
        The layer's name in the model.
    activation : str
        The name of the activation.
    n_units : int
        Number of units.
    mean : float
        Mean of all activations.
    std : float
        Standard deviation of all activations.
    saturated : float
        Fraction of the activations that are saturated.
    dead : ndarray of int
        Indices of the units that are saturated in every row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import activation_statistics
    >>> model = nn.mlp([4, 8, 2], "relu", random_state=0)
    >>> row = activation_statistics(model, np.random.default_rng(0).normal(size=(50, 4)))[0]
    >>> row.name, row.activation, row.n_units
    ('0', 'relu', 8)
    """

    name: str
    activation: str
    n_units: int
    mean: float
    std: float
    saturated: float
    dead: NDArray[np.intp]


class ActivationStatistics(NamedRows[LayerActivations]):
    """The result of `activation_statistics`: a row for each layer with an activation. It prints as a table.

    Parameters
    ----------
    rows : list of LayerActivations
        The rows, in the order of the layers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import activation_statistics
    >>> model = nn.mlp([4, 8, 2], "relu", random_state=0)
    >>> found = activation_statistics(model, np.random.default_rng(0).normal(size=(50, 4)))
    >>> found[0].n_units
    8
    """

    _lookup = "activations of layer"

    def __init__(self, rows: list[LayerActivations]) -> None:
        self.rows = rows

    def _table(self) -> Table:
        head = ("layer", "activation", "units", "mean", "std", "saturated", "dead units")
        lines = [
            (r.name, r.activation, str(r.n_units), f"{r.mean:.3g}", f"{r.std:.3g}", f"{r.saturated:.1%}", str(len(r.dead)))
            for r in self.rows
        ]
        return Table(head, lines, "<<>>>>>")


def activation_statistics(model: Module | BaseEstimator, X: ArrayLike) -> ActivationStatistics:
    """Compute how saturated the activations of a model are on some data, in evaluation mode.

    A value is saturated if the derivative of its activation there is below 5 % of the largest one, which counts as 1 for an
    `nn.Activation`: relu for z <= 0, sigmoid for ``|z| > 4.4``, tanh for ``|z| > 2.2``. A unit is dead if it is saturated in every
    row: no gradient, or hardly any, reaches its weights.

    Parameters
    ----------
    model : Module, MLPClassifier or MLPRegressor
        A module keeps its mode. A fitted estimator has the layers that `trace_forward` describes.
    X : array-like, shape (n, n_in), or tuple of array-like
        The rows to compute the activations for. A tuple for a model with several inputs.

    Returns
    -------
    ActivationStatistics
        A row for each Linear layer with an activation, and for each activation that is a layer.

    Raises
    ------
    TypeError
        If model is none of these.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import activation_statistics
    >>> model = nn.Sequential(nn.Linear(1, 2, activation="relu", random_state=0), nn.Linear(2, 1, random_state=1))
    >>> model[0].weight.data, model[0].bias.data = [[1.0, 1.0]], [0.0, -9.0]
    >>> activation_statistics(model, np.array([[-1.0], [1.0], [2.0], [3.0]]))["0"].dead
    array([1])
    """
    model = module_of(model)
    with undisturbed(model), observed(model, "forward") as calls:
        model.eval()(*inputs_of(X))
    return ActivationStatistics([_row(call, activation_name(call.module)) for call in calls if activation_name(call.module)])


def _row(call, activation):
    a = _rows(call.output)
    steepest = 1.0 if isinstance(call.module, nn.Activation) else steepest_named(activation)
    saturated = np.abs(_rows(_derivative(call, activation))) < SATURATED * steepest
    dead = np.flatnonzero(saturated.all(axis=0))
    return LayerActivations(call.name, activation, a.shape[1], float(a.mean()), float(a.std()), float(saturated.mean()), dead)


def _rows(array):
    """An array as a matrix; an array without two axes becomes one row, as for the activations."""
    return array if np.ndim(array) == 2 else np.reshape(array, (1, -1))


def activation_name(module):
    """The name of the activation of a layer, or None if it has none."""
    if isinstance(module, nn.Linear):
        return None if module.activation == "identity" else module.activation
    if isinstance(module, nn.Activation):
        return module.name
    return next((NAMES[cls] for cls in type(module).__mro__ if cls in NAMES), None)


def _derivative(call, activation):
    """f'(z) for all elements of a call of an activation."""
    if isinstance(call.module, nn.Linear):
        return value_and_derivative(ACTIVATION_LAYERS[activation](), pre_activation(call.module, *call.inputs))[1]
    return value_and_derivative(call.module, *call.inputs)[1]


def steepest(layer: Module) -> float:
    """The largest ``|f'|`` of a layer that works element by element."""
    return float(np.abs(value_and_derivative(layer, POINTS)[1]).max())


@functools.cache
def steepest_named(name: str) -> float:
    """The largest ``|f'|`` of one of the package's activations."""
    return steepest(ACTIVATION_LAYERS[name]())

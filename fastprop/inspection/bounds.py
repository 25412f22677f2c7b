"""How much a chain of layers can shrink or grow the gradient: slopes of activations times norms of weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import nn
from ..nn.errors import located
from ..tables import NamedRows, Table
from .statistics import activation_name, steepest, steepest_named

if TYPE_CHECKING:
    from .flow import GradientFlow

INPUT = "input"  # the name of the model's input, next to those of its layers


class LayerBound(NamedTuple):
    """One row of the table of `GradientFlow.bound`. At the last layer, the products have no factors and are 1.

    Parameters
    ----------
    name : str
        The layer's name in the model, or 'input'.
    slope : float
        The layer's own ``max |f'|``: the largest derivative of its activation; NaN for the input, which has none.
    weight_norm : float
        The layer's own ``|W|``: the spectral norm of its weight, by which it can stretch a vector; NaN for the input.
    slopes : float
        The product of the slopes of all later layers: 0.25^L for L layers with sigmoid.
    weight_norms : float
        The product of the weights' norms of all later layers: ``|W|^(L - l)`` where all are equal.
    bound : float
        The norm of the gradient at the last layer, times ``slopes``, times ``weight_norms``.
    norm : float
        The measured norm of the gradient with respect to the layer's output, which does not exceed the bound.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import gradient_flow
    >>> X, y = np.ones((6, 4)), np.array([0, 1, 0, 1, 0, 1])
    >>> model = nn.mlp([4, 8, 8, 2], "sigmoid", random_state=0)
    >>> bound = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, y, at="outputs").bound()
    >>> bound[1].slope, bound[1].slopes
    (0.25, 1.0)
    """

    name: str
    slope: float
    weight_norm: float
    slopes: float
    weight_norms: float
    bound: float
    norm: float


class GradientBound(NamedRows[LayerBound]):
    """The result of `GradientFlow.bound`: a row for the input and each layer. It prints as a table.

    Parameters
    ----------
    rows : list of LayerBound
        The rows, from the input to the last layer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import gradient_flow
    >>> X, y = np.ones((6, 4)), np.array([0, 1, 0, 1, 0, 1])
    >>> model = nn.mlp([4, 8, 8, 2], "sigmoid", random_state=0)
    >>> bound = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, y, at="outputs").bound()
    >>> bound[0].slope
    0.25
    """

    _lookup = "bound for"

    def __init__(self, rows: list[LayerBound]) -> None:
        self.rows = rows

    def _table(self) -> Table:
        head = ("layer", "max |f'|", "|W|", "product of max |f'|", "product of |W|", "bound", "norm")
        lines = [(row.name, *("" if math.isnan(number) else f"{number:.3g}" for number in row[1:])) for row in self.rows]
        caption = "gradients with respect to outputs; products over all later layers; bound = last norm x both products"
        return Table(head, lines, "<>>>>>>", caption=caption)


def gradient_bound(flow: GradientFlow) -> GradientBound:
    """The bound for the last step of a flow; see `GradientFlow.bound`."""
    if flow.at != "outputs":
        raise ValueError(f"the bound is for gradients with respect to outputs: make the flow with at='outputs'; got at={flow.at!r}")
    if not len(flow.norms):
        raise ValueError("the flow must have recorded a step; it has none")
    norms = dict(zip(flow.layers, flow.norms[-1], strict=True))
    own = _own_factors(flow)
    slopes, weight_norms, last, rows = 1.0, 1.0, norms[list(own)[-1]], []
    for name, (slope, weight_norm) in reversed(own.items()):
        rows.append(
            LayerBound(name, slope, weight_norm, slopes, weight_norms, float(last * slopes * weight_norms), float(norms[name]))
        )
        slopes, weight_norms = slopes * slope, weight_norms * weight_norm
    bound = float(last * slopes * weight_norms)
    rows.append(LayerBound(INPUT, math.nan, math.nan, slopes, weight_norms, bound, float(flow.input_norms[-1])))
    return GradientBound(rows[::-1])


def _own_factors(flow):
    """{name: (slope, norm of the weight)} of the layers of a flow, each with the modules between the layer before and itself."""
    own, slope, weight_norm = {}, 1.0, 1.0
    for name, its_slope, its_norm in _chain("", flow.model):
        slope, weight_norm = slope * its_slope, weight_norm * its_norm
        if name in flow.layers:
            own[name], slope, weight_norm = (slope, weight_norm), 1.0, 1.0
    return own


def _chain(name, module):
    """(name, slope, norm of the weight) of all modules from the input to the output."""
    if isinstance(module, nn.Sequential | nn.Checkpoint):
        for inner, child in module.named_children():
            yield from _chain(f"{name}.{inner}" if name else inner, child)
    elif isinstance(module, nn.Linear):
        slope = 1.0 if module.activation == "identity" else steepest_named(module.activation)
        yield name, slope, float(np.linalg.norm(module.weight.data.astype(np.float64), 2))
    elif isinstance(module, nn.Dropout):
        yield name, 1 / (1 - module.p), 1.0
    elif isinstance(module, nn.Identity):
        yield name, 1.0, 1.0
    elif activation_name(module) is not None:
        yield name, steepest(module), 1.0
    else:
        what = f"{located(name, module)}{',' if name else ''}"
        raise ValueError(f"the bound is that of Linear layers, activations and dropout in a row; {what} is none of them")

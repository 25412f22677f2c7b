"""The table of a model: its layers with their names, shapes, numbers of parameters, and norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..tables import Table
from .errors import title
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module


def summary(model: Module) -> Table:
    """A table with a row for each module; the model itself has a row only if it has parameters or if nothing is inside it."""
    modules = [(name, module) for name, module in model.named_modules() if name or own_parameters(module)] or [("", model)]
    caption = f"{type(model).__name__}, {model.n_parameters:,} parameters"
    head = ("layer", "module", "parameters", "shapes", "|parameters|", "|gradient|")
    return Table(head, [_row(name, module) for name, module in modules], "<<><>>", caption=caption)


def own_parameters(module: Module) -> dict[str, Parameter]:
    """The parameters that are attributes of the module itself, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Parameter)}


def norm(arrays) -> float:
    """The Euclidean norm of all arrays together, in float64."""
    return float(np.linalg.norm([np.linalg.norm(np.asarray(array, np.float64)) for array in arrays]))


def _row(name, module):
    own = own_parameters(module)
    if not own:
        return name, title(module), "", "", "", ""
    gradients = [parameter.grad for parameter in own.values()]
    shapes = ", ".join(f"{key} {parameter.shape}" for key, parameter in own.items())
    norms = f"{norm(p.data for p in own.values()):.3g}", "" if any(g is None for g in gradients) else f"{norm(gradients):.3g}"
    return name, title(module), f"{sum(p.size for p in own.values()):,}", shapes, *norms

"""A step tracer: one forward and one backward of a small model, with every array on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import nn
from .html import TraceTable
from .observation import observed, pre_activation, undisturbed

if TYPE_CHECKING:
    from ..nn import Loss, Module

# Modules that only pass arrays on: their lines would repeat those of the modules in them.
PLAIN_CONTAINERS = (nn.Sequential, nn.Checkpoint)


class TraceEntry(NamedTuple):
    """One array of a traced step.

    Parameters
    ----------
    stage : {'forward', 'loss', 'backward'}
        When it was computed.
    layer : str
        The layer's name in the model.
    name : str
        The array's name, such as 'z' or 'dweight'.
    value : ndarray
        A copy of the array.
    """

    stage: Literal["forward", "loss", "backward"]
    layer: str
    name: str
    value: NDArray[Any] | np.float64


class StepTrace(TraceTable):
    """The arrays of one forward and backward, in the order in which they were computed; printed, all of them with their shapes.

    Parameters
    ----------
    entries : list of TraceEntry
        The arrays.
    loss : float
        The value of the loss.
    titles : dict
        For each layer's name the heading of its arrays.
    loss_title : str
        The heading of the arrays of the loss.
    precision : int, default=4
        Digits after the point.
    """

    def __init__(
        self, entries: list[TraceEntry], loss: float, titles: Mapping[str, str], loss_title: str, precision: int = 4
    ) -> None:
        self.entries, self.loss = entries, loss
        self._titles, self._loss_title, self._precision = titles, loss_title, precision

    def __getitem__(self, key: tuple[str, str, str]) -> NDArray[Any] | np.float64:
        """The array of a (stage, layer, name), such as ``trace["backward", "0", "dweight"]``."""
        for entry in self.entries:
            if entry[:3] == tuple(key):
                return entry.value
        raise KeyError(f"nothing was traced as {key}; there are {[entry[:3] for entry in self.entries]}")

    def __str__(self) -> str:
        lines, place = [], (None, None)
        for entry in self.entries:
            if entry.stage != place[0]:
                lines.append(entry.stage)
            if entry[:2] != place:
                # The model itself has the empty name, as the loss has.
                lines.append(f"  {self._loss_title if entry.stage == 'loss' else self._titles[entry.layer]}")
            place = entry[:2]
            lines.append(self._line(entry))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<StepTrace: {len(self.entries)} arrays, loss {self.loss:.6g}>"

    def _line(self, entry):
        head = f"    {entry.name:<8} {entry.value.shape!s:<10} "
        text = np.array2string(entry.value, precision=self._precision, suppress_small=True, threshold=200)
        return head + text.replace("\n", "\n" + " " * len(head))


def trace_step(
    model: Module, loss: Loss, X: ArrayLike, y: ArrayLike, *, precision: int = 4, file: TextIO | None = None
) -> StepTrace:
    """Run one forward and one backward in training mode, and print every array on the way with its shape.

    Afterwards model and loss are as before, except that the parameters' ``grad`` is that of this backward.

    Of a `Linear` layer, z is shown too, although the kernel never writes it: bias and activation are one pass with the product.

    Parameters
    ----------
    model : Module
        A tiny one; of arrays with more than 200 numbers, only the corners are printed.
    loss : Loss
        The loss for the model's outputs and y.
    X : array-like, shape (n, n_in)
        A few rows.
    y : array-like
        Their targets.
    precision : int, default=4
        Digits after the point.
    file : file-like, optional
        Where to print; by default the standard output.

    Returns
    -------
    StepTrace
        All arrays, for instance ``trace["forward", "0", "a"]`` and ``trace["backward", "0", "dweight"]``.
    """
    X = np.asarray(X, dtype=np.float64) if not isinstance(X, np.ndarray) else X
    with undisturbed(model, loss):
        with observed(model, "forward") as forwards:
            outputs = model.train()(X)
        value = loss(outputs, y)
        dout = loss.backward()
        entries = [e for call in forwards for e in _forward_entries(call)]
        entries += [TraceEntry("loss", "", "loss", np.float64(value)), TraceEntry("loss", "", "dloss", dout.copy())]
        with observed(model, "backward") as backwards:
            model.backward(dout)
        entries += [e for call in backwards for e in _backward_entries(call)]
    titles = {name: f"{name} {_title(module)}".lstrip() for name, module in model.named_modules()}
    trace = StepTrace(entries, float(value), titles, type(loss).__name__, precision)
    print(trace, file=sys.stdout if file is None else file)
    return trace


def _title(module):
    return type(module).__name__ if list(module.named_children()) else repr(module)


def _forward_entries(call):
    """What went into a layer, its parameters, and what came out."""
    if isinstance(call.module, PLAIN_CONTAINERS):
        return
    for i, x in enumerate(call.inputs):
        yield TraceEntry("forward", call.name, "x" if len(call.inputs) == 1 else f"x_{i}", x.copy())
    for name, parameter in _own_parameters(call.module):
        yield TraceEntry("forward", call.name, name, parameter.data.copy())
    if isinstance(call.module, nn.Linear) and call.module.activation != "identity":
        yield TraceEntry("forward", call.name, "z", pre_activation(call.module, call.inputs[0]))
    yield TraceEntry("forward", call.name, "a", call.output.copy())


def _backward_entries(call):
    """What came back to a layer, the gradients of its parameters, and what it passed on."""
    if isinstance(call.module, PLAIN_CONTAINERS):
        return
    for dout in call.inputs:
        yield TraceEntry("backward", call.name, "da", dout.copy())
    for name, parameter in _own_parameters(call.module):
        if parameter.grad is not None:  # a backward may have forgotten it
            yield TraceEntry("backward", call.name, f"d{name}", parameter.grad.copy())
    dinputs = call.output if isinstance(call.output, tuple) else (call.output,)
    for i, dx in enumerate(dinputs):
        yield TraceEntry("backward", call.name, "dx" if len(dinputs) == 1 else f"dx_{i}", np.array(dx))


def _own_parameters(module):
    return [(name, value) for name, value in vars(module).items() if isinstance(value, nn.Parameter)]

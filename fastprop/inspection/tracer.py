"""A step tracer: one forward and one backward of a small model, with every array on the way.

Layers have the names of `Module.named_modules`. In every layer, x is the input, z the input of the activation, and a the output;
dx, dz and da are the gradients of the loss with respect to them. A layer without an activation has the identity: z is a.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import kernels, nn
from ..kernels.spec import ACTIVATIONS
from ..nn.activations import ACTIVATION_LAYERS
from ..nn.arguments import check_model_and_loss
from ..nn.errors import title
from ..nn.evaluation import inputs_of
from ..nn.summary import own_parameters
from ..tables import Table, Tabular
from .models import module_of
from .observation import observed, pre_activation, undisturbed

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from ..nn import Loss, Module

# Of an array with more numbers than this, only the corners are shown.
THRESHOLD = 200
# Modules that only pass arrays on: their lines would repeat those of the modules in them.
PLAIN_CONTAINERS = (nn.Sequential, nn.Checkpoint)
# Modules that take the z of an activation as input.
ACTIVATION_MODULES = (nn.Softmax, nn.Activation, *ACTIVATION_LAYERS.values())


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

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import trace_step
    >>> model, loss = nn.mlp([4, 8, 2], random_state=0), nn.SoftmaxCrossEntropy()
    >>> trace = trace_step(model, loss, np.ones((6, 4)), [0, 1, 0, 1, 0, 1], file=io.StringIO())
    >>> entry = trace.entries[0]
    >>> entry.stage, entry.name
    ('forward', 'x')
    """

    stage: Literal["forward", "loss", "backward"]
    layer: str
    name: str
    value: NDArray[Any] | np.float64


class LayerTrace(dict[str, NDArray[Any]]):
    """The arrays of one layer in a traced step, by name and as attributes: ``trace[0]["dz"]`` is ``trace[0].dz``.

    * x, z, a: input, pre-activation, output. A layer without an activation, such as a norm, has ``z = a``; an activation that is a
      layer of its own has ``z = x``.
    * da, dz, dx: the gradients of the loss with respect to them. dz is the delta of textbooks.
    * weight, bias, dweight, dbias: the parameters, if there are any, and their gradients. Other parameters have names of their own.
      The gradients of a layer that is called several times are the sum over its calls.

    A layer with several inputs has x_0, x_1 and so on.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import trace_step
    >>> model, loss = nn.mlp([4, 8, 2], random_state=0), nn.SoftmaxCrossEntropy()
    >>> trace = trace_step(model, loss, np.ones((6, 4)), [0, 1, 0, 1, 0, 1], file=io.StringIO())
    >>> trace[0].dz.shape, trace[0]["dz"] is trace[0].dz
    ((6, 8), True)
    """

    def __getattr__(self, name: str) -> NDArray[Any]:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no array {name!r} of this layer; there are {list(self)}") from None


class StepTrace(Tabular):
    """The arrays of one forward and backward, in the order of computation. It prints all of them with shapes.

    ``trace[0]`` and ``trace["2.block.0"]`` are the arrays of a layer, see `LayerTrace`. The number or name is that in the model's
    `repr` and ``named_parameters``, and in warnings and displays. ``trace[-1]`` is the last layer with a number.
    ``trace["backward", "0", "dz"]`` is one array.

    Parameters
    ----------
    entries : list of TraceEntry
        The arrays, without those of modules that only pass arrays on, such as `nn.Sequential`.
    layers : dict of str to LayerTrace
        The arrays of all modules by the module's name, in the order in which the forward finished them. If a module was called
        again, the arrays of call 2 have the name ``"0, call 2"``.
    loss : float or None
        The value of the loss; None if there was only a forward.
    titles : dict
        The heading of each layer's arrays, by the layer's name.
    loss_title : str
        The heading of the arrays of the loss.
    precision : int, default=4
        Digits after the decimal point.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import trace_step
    >>> model, loss = nn.mlp([4, 8, 2], random_state=0), nn.SoftmaxCrossEntropy()
    >>> trace = trace_step(model, loss, np.ones((6, 4)), [0, 1, 0, 1, 0, 1], file=io.StringIO())
    >>> trace[1].z.shape, trace.loss > 0
    ((6, 2), True)
    """

    def __init__(
        self,
        entries: list[TraceEntry],
        layers: dict[str, LayerTrace],
        loss: float | None,
        titles: Mapping[str, str],
        loss_title: str = "",
        precision: int = 4,
    ) -> None:
        self.entries, self.layers, self.loss = entries, layers, loss
        self._titles, self._loss_title, self._precision = titles, loss_title, precision

    @overload
    def __getitem__(self, key: int | str) -> LayerTrace: ...
    @overload
    def __getitem__(self, key: tuple[str, str, str]) -> NDArray[Any] | np.float64: ...
    def __getitem__(self, key: Any) -> Any:
        """The arrays of a layer, by its number or name, or the array of a (stage, layer, name)."""
        if isinstance(key, tuple):
            for entry in self.entries:
                if entry[:3] == key:
                    return entry.value
            raise KeyError(f"nothing was traced as {key}; there are {[entry[:3] for entry in self.entries]}")
        numbers = [name for name in self.layers if name.isdigit()]
        name = numbers[key] if isinstance(key, int) and -len(numbers) <= key < 0 else str(key)
        if name not in self.layers:
            raise KeyError(f"no layer {key!r} was traced; there are {list(self.layers)}")
        return self.layers[name]

    def __str__(self) -> str:
        lines, place, shown = [], (None, None), {}
        width = max(8, *(len(entry.name) for entry in self.entries))
        for entry in self.entries:
            if entry.stage != place[0]:
                lines.append(entry.stage)
            if entry[:2] != place:
                # The model itself has the empty name, as the loss has.
                lines.append(f"  {self._loss_title if entry.stage == 'loss' else self._titles[entry.layer]}")
                shown = {}
            place = entry[:2]
            lines.append(self._line(entry, shown.setdefault(id(entry.value), entry.name), width))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<StepTrace: {len(self.entries)} arrays, {'forward only' if self.loss is None else f'loss {self.loss:.6g}'}>"

    def _table(self) -> Table:
        rows, place = [], ("", "")
        for entry in self.entries:
            # A stage and a layer are named once, where they begin.
            stage, layer = entry.stage if entry.stage != place[0] else "", entry.layer if entry[:2] != place else ""
            place = entry[:2]
            norm, numbers = f"{np.linalg.norm(entry.value):.3g}", self._numbers(entry)
            rows.append((stage, layer, entry.name, str(entry.value.shape), norm, numbers))
        head = ("stage", "layer", "array", "shape", "norm", "values")
        caption = f"{len(rows)} arrays" if self.loss is None else f"{len(rows)} arrays, loss {self.loss:.6g}"
        return Table(head, rows, "<<<<><", caption=caption)

    def _numbers(self, entry):
        return np.array2string(np.asarray(entry.value), precision=self._precision, suppress_small=True, threshold=THRESHOLD)

    def _line(self, entry, same_as, width):
        head = f"    {entry.name:<{width}} {entry.value.shape!s:<10} "
        if same_as != entry.name:
            return f"{head}= {same_as}"
        return head + self._numbers(entry).replace("\n", "\n" + " " * len(head))


def trace_step(
    model: Module, loss: Loss, X: ArrayLike, y: ArrayLike, *, precision: int = 4, file: TextIO | None = None
) -> StepTrace:
    """Run one forward and one backward in training mode, and print every array on the way with its shape.

    Afterwards model and loss are as before, except that the parameters' ``grad`` is that of this backward.

    For a `Linear` layer with an activation, z and dz are shown too, although the kernels never store them: they compute product,
    bias and activation in one pass.

    Parameters
    ----------
    model : Module
        A small model: only the corners are printed of arrays with more than 200 numbers.
    loss : Loss
        The loss for the model's outputs and y.
    X : array-like, shape (n, n_in), or tuple of array-like
        A few rows. A tuple for a model with several inputs.
    y : array-like
        Their targets.
    precision : int, default=4
        Digits after the decimal point.
    file : file-like, optional
        Where to print; by default the standard output.

    Returns
    -------
    StepTrace
        All arrays, for instance ``trace[0].a`` and ``trace[0].dz``; see `LayerTrace` for their names.

    Examples
    --------
    >>> from fastprop import nn
    >>> from fastprop.inspection import trace_step
    >>> model = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    >>> model[0].weight.data = [[1.0], [-0.5]]
    >>> trace = trace_step(model, nn.MSELoss(), [[1.0, 2.0]], [[1.0]])
    forward
      0 Linear(2, 1)
        x        (1, 2)     [[1. 2.]]
        weight   (2, 1)     [[ 1. ]
                             [-0.5]]
        bias     (1,)       [0.]
        z        (1, 1)     [[0.]]
        a        (1, 1)     = z
      1 Sigmoid()
        x        (1, 1)     [[0.]]
        z        (1, 1)     = x
        a        (1, 1)     [[0.5]]
    loss
      MSELoss
        loss     ()         0.25
        dloss    (1, 1)     [[-1.]]
    backward
      1 Sigmoid()
        da       (1, 1)     [[-1.]]
        dz       (1, 1)     [[-0.25]]
        dx       (1, 1)     = dz
      0 Linear(2, 1)
        da       (1, 1)     [[-0.25]]
        dz       (1, 1)     = da
        dweight  (2, 1)     [[-0.25]
                             [-0.5 ]]
        dbias    (1,)       [-0.25]
        dx       (1, 2)     [[-0.25   0.125]]
    >>> trace[0].dz
    array([[-0.25]])
    """
    check_model_and_loss(model, loss)
    with undisturbed(model, loss):
        outputs, record = _traced_forward(model.train(), X)
        value = loss(outputs, y)
        dout = loss.backward()
        record.entries += [TraceEntry("loss", "", "loss", np.float64(value)), TraceEntry("loss", "", "dloss", dout.copy())]
        with observed(model, "backward") as calls:
            model.backward(dout)
        record.backward(calls)
    trace = StepTrace(record.entries, record.layers, float(value), record.titles, type(loss).__name__, precision)
    print(trace, file=sys.stdout if file is None else file)
    return trace


def trace_forward(model: Module | BaseEstimator, X: ArrayLike, *, precision: int = 4) -> StepTrace:
    """Run one forward, and return z and a of every layer. Nothing is printed, and afterwards the model is as before.

    Parameters
    ----------
    model : Module, MLPClassifier or MLPRegressor
        A module is traced in its present mode, training or evaluation. A fitted estimator, also one of scikit-learn's, is traced as
        it predicts. It has the layers of an `nn.mlp` of its sizes, and after them its output activation, if it has one, as a layer
        of its own; with ``normalization``, the norm and the activation of each hidden layer are layers of their own too.
        Several quantiles are the network's own outputs, before `predict` sorts them.
    X : array-like, shape (n, n_in), or tuple of array-like
        The rows. A tuple for a module with several inputs.
    precision : int, default=4
        Digits after the decimal point, where the trace is printed.

    Returns
    -------
    StepTrace
        All arrays of the forward, for instance ``trace[0].z``; ``loss`` is None.

    Raises
    ------
    TypeError
        If model is none of these.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from fastprop import nn
    >>> from fastprop.inspection import trace_forward
    >>> model = nn.Sequential(nn.Linear(2, 2, init="zeros", activation="sigmoid"), nn.Linear(2, 1, init="zeros"))
    >>> trace = trace_forward(model, [[1.0, 2.0]])
    >>> trace
    <StepTrace: 10 arrays, forward only>
    >>> trace[0].z, trace[0].a, trace[1].a
    (array([[0., 0.]]), array([[0.5, 0.5]]), array([[0.]]))
    """
    module = module_of(model)
    with undisturbed(module):
        _, record = _traced_forward(module, X)
    return StepTrace(record.entries, record.layers, None, record.titles, precision=precision)


def _traced_forward(model, X):
    """The outputs, and a record of the forward."""
    inputs = [x if isinstance(x, np.ndarray) else np.asarray(x, np.float64) for x in inputs_of(X)]
    with observed(model, "forward") as calls:
        outputs = model(*inputs)
    record = _Record()
    record.forward(calls)
    return outputs, record


class _Record:
    """The entries and layers of a `StepTrace` while they are collected."""

    def __init__(self):
        self.entries, self.layers, self.titles, self._n_calls = [], {}, {}, Counter()

    def forward(self, calls):
        for call in calls:
            self._n_calls[call.name] += 1
            self._add("forward", call, _forward_arrays(call))

    def backward(self, calls):
        for call in calls:
            key = self._key(call)
            self._add("backward", call, _backward_arrays(call, self.layers[key]))
            # The last call of a module in the forward is the first in the backward.
            self._n_calls[call.name] = max(1, self._n_calls[call.name] - 1)

    def _key(self, call):
        n = self._n_calls[call.name]
        return call.name if n <= 1 else f"{call.name}, call {n}"

    def _add(self, stage, call, arrays):
        key = self._key(call)
        self.titles[key] = f"{key} {title(call.module)}".lstrip()
        self.layers.setdefault(key, LayerTrace()).update(arrays)
        if not isinstance(call.module, PLAIN_CONTAINERS):
            self.entries += [TraceEntry(stage, key, name, array) for name, array in arrays.items()]


def _forward_arrays(call):
    """The inputs, parameters and outputs of a layer, by name."""
    x, a, module = _numbered("x", call.inputs), _numbered("a", call.output), call.module
    parameters = {name: parameter.data.copy() for name, parameter in own_parameters(module).items()}
    if _has_activation(module):
        z = {"z": pre_activation(module, call.inputs[0])}
    else:
        z = {f"z{name[1:]}": array for name, array in (x if isinstance(module, ACTIVATION_MODULES) else a).items()}
    return x | parameters | z | a


def _backward_arrays(call, forward):
    """The gradients with respect to outputs, parameters and inputs of a layer, by name."""
    da, dx, module = _numbered("da", call.inputs), _numbered("dx", call.output), call.module
    # A backward may not have written a gradient.
    gradients = {f"d{name}": p.grad.copy() for name, p in own_parameters(module).items() if p.grad is not None}
    if _has_activation(module):
        saved = forward[ACTIVATIONS[module.activation].derivative]
        rows = (np.ascontiguousarray(np.atleast_2d(array), saved.dtype) for array in (da["da"], saved))
        dz = {"dz": kernels.activation_backward(*rows, module.activation).reshape(saved.shape)}
    else:
        dz = {f"dz{name[2:]}": array for name, array in (dx if isinstance(module, ACTIVATION_MODULES) else da).items()}
    return da | dz | gradients | dx


def _has_activation(module):
    """Whether one kernel computes the product and the activation."""
    return isinstance(module, nn.Linear) and module.activation != "identity"


def _numbered(name, arrays):
    """Copies of one array, or of several with numbers, by name."""
    arrays = arrays if isinstance(arrays, tuple) else (arrays,)
    return {name if len(arrays) == 1 else f"{name}_{i}": np.array(array) for i, array in enumerate(arrays) if array is not None}

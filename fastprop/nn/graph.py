"""Graph: values that go several ways and come together again.

The rule is one line of `Graph.backward`: the gradient with respect to a value is the sum of what comes back from everywhere that
it went.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from ..annotations import ArrayLike, Floats
from .arrays import like
from .errors import LayerError, ShapeError
from .module import Module, Node, checked_modules


class Value(Node):
    """A `Node` with arithmetic: ``+`` is `Add`, ``*`` is `Multiply`."""

    def applied(self, module: Module, inputs: tuple[Any, ...]) -> Value:
        if not all(isinstance(value, Node) for value in inputs):
            raise TypeError(f"{module!r} must be called with values of the graph alone; got {inputs!r}")
        return Value(module, inputs)

    def __add__(self, other: Value) -> Value:
        return Add()(self, other)

    def __mul__(self, other: Value) -> Value:
        return Multiply()(self, other)


class Input(Value):
    """An input of a `Graph`."""

    def __init__(self) -> None:
        super().__init__()


class Graph(Module):
    """A model from an expression: any function of inputs that modules, ``+`` and ``*`` make.

    Parameters
    ----------
    inputs : Input or sequence of Input
        The order in which the graph takes them.
    output : Value
        What a module, or ``+`` or ``*``, returned for inputs or for other such values.

    Examples
    --------
    >>> from fastprop import nn
    >>> x, y, z = nn.Input(), nn.Input(), nn.Input()
    >>> graph = nn.Graph([x, y, z], (x + y) * z)
    >>> float(graph(2.0, 3.0, 4.0))
    20.0
    >>> [float(gradient) for gradient in graph.backward(1.0)]
    [4.0, 4.0, 5.0]

    A residual block, in which x goes two ways:

    >>> x = nn.Input()
    >>> block = nn.Graph(x, nn.Linear(3, 3, activation="relu", random_state=0)(x) + x)
    """

    def __init__(self, inputs: Value | Iterable[Value], output: Value) -> None:
        inputs = [inputs] if isinstance(inputs, Node) else list(inputs)
        nodes = _in_order(output, inputs)
        index = {id(node): i for i, node in enumerate(nodes)}
        self._build(len(inputs), [(node.module, [index[id(i)] for i in node.inputs]) for node in nodes[len(inputs) :]])

    def _build(self, n_inputs, steps):
        self.steps = checked_modules(module for module, _ in steps)
        self._n_inputs, self._sources = n_inputs, [sources for _, sources in steps]

    def arguments(self) -> dict[str, Any]:
        return {"n_inputs": self._n_inputs, "steps": self.steps, "sources": self._sources}

    @classmethod
    def from_arguments(cls, n_inputs: int, steps: Iterable[Module], sources: Iterable[list[int]]) -> Self:
        """Make a graph from its steps.

        Parameters
        ----------
        n_inputs : int
            The number of inputs.
        steps : list of Module
            The modules, each after those whose outputs it takes.
        sources : list of list of int
            For each step the numbers of the values that it takes: inputs first, then the outputs of the steps.

        Returns
        -------
        Graph
            The graph whose output is that of the last step.
        """
        for i, numbers in enumerate(sources, start=n_inputs):
            if not all(isinstance(number, int) and 0 <= number < i for number in numbers):
                raise ValueError(f"step {i - n_inputs} can only take the values 0 to {i - 1}; got {numbers}")
        graph = cls.__new__(cls)
        graph._build(n_inputs, list(zip(steps, sources, strict=True)))
        return graph

    def forward(self, *inputs: ArrayLike) -> Floats:
        if len(inputs) != self._n_inputs:
            raise ShapeError(self, f"this graph has {self._n_inputs} inputs; got {len(inputs)}")
        values = list(inputs)
        for module, sources in zip(self.steps, self._sources, strict=True):
            values.append(module.forward(*(values[i] for i in sources)))
        self._saved = [np.shape(value) for value in inputs] if self.training else None
        return values[-1]

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Any:
        if self._saved is None:
            raise self.no_forward()
        gradients = [None] * (self._n_inputs + len(self.steps))
        gradients[-1] = dout
        try:
            for i in range(len(self.steps) - 1, -1, -1):
                back = self.steps[i].backward(gradients[self._n_inputs + i], accumulate)
                for source, gradient in zip(self._sources[i], back if isinstance(back, tuple) else (back,), strict=True):
                    gradients[source] = gradient if gradients[source] is None else gradients[source] + gradient
        except LayerError as error:
            raise error.located_in(self) from None
        pairs = zip(gradients[: self._n_inputs], self._saved, strict=True)
        dinputs = tuple(np.zeros(shape) if gradient is None else gradient for gradient, shape in pairs)
        return dinputs[0] if self._n_inputs == 1 else dinputs


def _in_order(output, inputs):
    """The nodes that the output depends on, each after those that it depends on; all inputs come first, the output last."""
    order, done = list(inputs), {id(node) for node in inputs}

    def visit(node):
        if id(node) in done:
            return
        if node.module is None:
            raise ValueError("the output depends on an Input that is not among the inputs of the graph")
        for source in node.inputs:
            visit(source)
        done.add(id(node))
        order.append(node)

    visit(output)
    return order


class _Joint(Module):
    """Several inputs of one shape, one output."""

    def forward(self, *inputs: ArrayLike) -> Floats:
        inputs = [np.asarray(x) for x in inputs]
        if len({x.shape for x in inputs}) > 1:
            raise ShapeError(self, f"all inputs must have one shape; got {[x.shape for x in inputs]}")
        self._saved = inputs if self.training else None
        return self._value(inputs)

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> tuple[Floats, ...]:
        if self._saved is None:
            raise self.no_forward()
        dout = np.asarray(dout)
        if dout.shape != self._saved[0].shape:
            raise ShapeError(self, f"dout must have shape {self._saved[0].shape}; got {dout.shape}")
        return tuple(self._gradients(dout, self._saved))


class Add(_Joint):
    """The sum of its inputs; every input receives the gradient of the output."""

    def _value(self, inputs):
        return sum(inputs[1:], start=inputs[0])

    def _gradients(self, dout, inputs):
        return [dout] * len(inputs)


class Multiply(_Joint):
    """``x * y``, element by element; the gradients are ``dout * y`` and ``dout * x``."""

    def forward(self, x: ArrayLike, y: ArrayLike) -> Floats:
        return super().forward(x, y)

    def _value(self, inputs):
        return inputs[0] * inputs[1]

    def _gradients(self, dout, inputs):
        return [dout * inputs[1], dout * inputs[0]]


class Concat(Module):
    """Its inputs (n, n_i) side by side, (n, sum of n_i); every input receives its columns of the gradient."""

    def forward(self, *inputs: ArrayLike) -> Floats:
        inputs = [np.asarray(x) for x in inputs]
        if any(x.ndim != 2 for x in inputs) or len({len(x) for x in inputs}) > 1:
            raise ShapeError(self, f"all inputs must have shape (n, any) with the same n; got {[x.shape for x in inputs]}")
        out = np.concatenate(inputs, axis=1)
        self._saved = (np.cumsum([x.shape[1] for x in inputs])[:-1], out.shape, out.dtype) if self.training else None
        return out

    def backward(self, dout: ArrayLike, accumulate: bool = False) -> tuple[Floats, ...]:
        if self._saved is None:
            raise self.no_forward()
        cuts, shape, dtype = self._saved
        return tuple(np.split(like(self, "dout", dout, shape, dtype), cuts, axis=1))

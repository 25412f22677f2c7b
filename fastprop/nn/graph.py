"""Graph: a model from an expression, in which a value may be used several times.

The rule is one line of `Graph.backward`: the gradient with respect to a value is the sum of the gradients from all its uses.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np

from ..annotations import ArrayLike, Floats
from .allocation import sized
from .errors import LayerError, NoForwardError, ShapeError
from .module import Module, checked_modules
from .parameter import Parameter
from .values import Constant, Input, Operand, Value, Weight, constant_text, in_order, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..inspection import GraphDisplay


class GraphNode(NamedTuple):
    """One value of a graph, as `Graph.nodes` lists them.

    Parameters
    ----------
    name : str
        The value's name; a number if it was not named.
    kind : {'input', 'constant', 'parameter', 'operation', 'module'}
        What it is. Operations, which include activations, have no parameters.
    symbol : str
        A short text for it, such as '+' or 'Linear'.
    formula : str
        How it is computed from the others, by their names.
    operands : list of int
        The positions of the nodes that it is computed from.
    value, grad : ndarray or None
        The value from the last forward in training mode, and the gradient from the last backward.
    """

    name: str
    kind: str
    symbol: str
    formula: str
    operands: list[int]
    value: Any
    grad: Any


class _Run:
    """What a forward saves: all values, and what modules that are used several times saved in each call; then the gradients."""

    def __init__(self, values, kept):
        self.values, self.kept, self.gradients = values, kept, None


class Graph(Module):
    """A model from an expression: any function of its inputs made with operators, `nn.functional` and modules.

    Inputs may be arrays of any shape, or numbers. A parameter or a module may be used several times; its gradients are added.

    Parameters
    ----------
    inputs : Input or sequence of Input
        The inputs, in the order in which the graph takes them. If only the output is given, they are all inputs that it depends on,
        in the order in which they were made.
    output : Value or sequence of Value
        What is computed. With a sequence the graph returns a tuple.

    Warns
    -----
    RuntimeWarning
        In a call, if a value becomes infinite or NaN, such as the logarithm of a negative number. The message says which value.

    Examples
    --------
    >>> from fastprop import nn
    >>> x, y, z = nn.Input("x"), nn.Input("y"), nn.Input("z")
    >>> q = (x + y).named("q")
    >>> graph = nn.Graph((q * z).named("f"))
    >>> graph
    Graph(x, y, z) -> f  # 0 parameters
      q = x + y
      f = q * z
    >>> float(graph(x=2, y=3, z=4))
    20.0
    >>> [float(gradient) for gradient in graph.backward()]
    [4.0, 4.0, 5.0]
    >>> float(graph.value("q")), float(graph.grad("q"))
    (5.0, 4.0)

    A residual block, in which x is used twice:

    >>> x = nn.Input()
    >>> block = nn.Graph(x, nn.Linear(3, 3, activation="relu", random_state=0)(x) + x)
    """

    @overload
    def __init__(self, output: Value | Iterable[Value], /) -> None: ...
    @overload
    def __init__(self, inputs: Value | Iterable[Value], output: Value | Iterable[Value] | None = None) -> None: ...
    def __init__(self, inputs: Any, output: Any = None) -> None:
        if output is None:
            inputs, output = None, inputs
        outputs = values_of("the output of a graph", output)
        if not outputs:
            raise ValueError("a graph needs at least one output; got none")
        given = None if inputs is None else values_of("the inputs of a graph", inputs)
        order = in_order(outputs, given or [])
        found = [value for value in order if isinstance(value, Input)]
        if given is None:
            given = sorted(found, key=lambda value: value.number)
        elif found:
            raise ValueError("the output depends on an Input that is not among the inputs of the graph")
        constants, weights = ([value for value in order if isinstance(value, kind)] for kind in (Constant, Weight))
        computed = [value for value in order if value.module is not None]
        names = {weight.parameter: None for weight in weights} | {w.parameter: w.name for w in weights if w.name is not None}

        number = {key: i for i, key in enumerate([*given, *constants, *names, *computed])}
        number |= {weight: number[weight.parameter] for weight in weights}
        steps = list(dict.fromkeys(value.module for value in computed))
        self._build(
            len(given),
            steps,
            [[number[source] for source in value.inputs] for value in computed],
            calls=[steps.index(value.module) for value in computed],
            outputs=number[output] if isinstance(output, Value) else [number[value] for value in outputs],
            names=[*(value.name for value in given), *names.values(), *(value.name for value in computed)],
            constants=[value.value for value in constants],
            parameters=list(names),
        )
        self._numbers = number

    def _build(self, n_inputs, steps, sources, calls, outputs, names, constants, parameters):
        self.steps = checked_modules(steps)
        self._n_inputs, self._sources, self._calls, self._constants = n_inputs, sources, calls, constants
        self._n_leaves, self._given_names, self._numbers = n_inputs + len(constants) + len(parameters), names, {}
        self._is_single = isinstance(outputs, int)
        self._outputs = [i % (self._n_leaves + len(calls)) for i in ([outputs] if self._is_single else outputs)]
        numbers = {"input": "x" if n_inputs == 1 else "x_{}", "parameter": "parameter_{}", "module": "{}"}
        kinds = [("input", n_inputs), ("parameter", len(parameters)), ("module", len(calls))]
        automatic = [numbers[kind].format(i) for kind, n in kinds for i in range(n)]
        names = [other if name is None else name for name, other in zip(names, automatic, strict=True)]
        for name, other in zip(names, automatic, strict=True):
            if not isinstance(name, str) or not name or "." in name or (name != other and name.isdigit()):
                raise ValueError(f"the name of a value must be a string without dots that is not a number; got {name!r}")
        if len({*names}) < len(names):
            raise ValueError(f"the names of the values must be unique; got {names}")
        shown = [constant_text(value) for value in constants]
        self._names = [*names[:n_inputs], *shown, *names[n_inputs:]]
        self._leaves = [self._place(p, name) for p, name in zip(parameters, names[n_inputs:], strict=False)]
        self._shared = self._shared_calls()

    def _place(self, parameter, name):
        """(module, attribute) of a parameter in the expression: in the step that has it, else (None, attribute of the graph)."""
        for step in self.steps:
            for module in step.modules():
                for key, value in vars(module).items():
                    if value is parameter:
                        return module, key
        if hasattr(self, name):
            raise ValueError(f"a parameter in a graph cannot have the name {name!r}, which is an attribute of Graph")
        setattr(self, name, parameter)
        return None, name

    def _shared_calls(self):
        """The numbers of the calls that share their module, or one of its parameters, with another place in the graph."""
        parts = [{self.steps[i], *self.steps[i].parameters()} for i in self._calls]
        places = Counter(part for call in [*parts, self._leaf_parameters()] for part in call)
        return {k for k, call in enumerate(parts) if any(places[part] > 1 for part in call)}

    def _leaf_parameters(self):
        return [getattr(self if module is None else module, name) for module, name in self._leaves]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        first = {i: k for k, i in reversed([*enumerate(self._calls)])}
        return ((self._names[self._n_leaves + first[i]], step) for i, step in enumerate(self.steps))

    # Stored

    def arguments(self) -> dict[str, Any]:
        of_steps = {p: path for path, p in _paths(self.steps)}
        return {
            "n_inputs": self._n_inputs,
            "steps": self.steps,
            "sources": self._sources,
            "calls": self._calls,
            "outputs": self._outputs[0] if self._is_single else self._outputs,
            "names": self._given_names,
            "constants": [[c.tolist(), c.dtype] for c in self._constants],
            "parameters": [of_steps.get(p) or [list(p.shape), p.dtype] for p in self._leaf_parameters()],
        }

    @classmethod
    def from_arguments(
        cls,
        n_inputs: int,
        steps: Iterable[Module],
        sources: Iterable[list[int]],
        calls: list[int] | None = None,
        outputs: int | list[int] = -1,
        names: list[str | None] | None = None,
        constants: Sequence[Any] = (),
        parameters: Sequence[Any] = (),
    ) -> Self:
        """Make a graph from its steps. The values are numbered: inputs, constants, parameters, then the results of the calls.

        Parameters
        ----------
        n_inputs : int
            The number of inputs.
        steps : list of Module
            The modules.
        sources : list of list of int
            For each call, the numbers of the values that it takes.
        calls : list of int, optional
            For each call, the number of its module; by default each module is called once, in order.
        outputs : int or list of int, default=-1
            The numbers of the outputs; by default the last value.
        names : list of str or None, optional
            The names of inputs, parameters and calls; None for one without a name.
        constants : list, optional
            For each constant, (array-like, dtype).
        parameters : list, optional
            For each parameter, (shape, dtype); or, if a step has it, the step's number and its name there, such as '0.weight'.

        Returns
        -------
        Graph
            The graph.
        """
        steps, sources = list(steps), [list(numbers) for numbers in sources]
        calls = list(range(len(steps))) if calls is None else list(calls)
        start = n_inputs + len(constants) + len(parameters)
        for i, numbers in enumerate(sources, start=start):
            if not all(isinstance(number, int) and 0 <= number < i for number in numbers):
                raise ValueError(f"step {i - start} can only take the values 0 to {i - 1}; got {numbers}")
        graph, n_values = cls.__new__(cls), start + len(sources)
        for what, numbers, n in (("outputs", np.ravel(outputs).tolist(), n_values), ("calls", calls, len(steps))):
            if not all(isinstance(number, int) and -1 <= number < n for number in numbers):
                raise ValueError(f"{what} must be numbers below {n}; got {numbers}")
        if len(calls) != len(sources):
            raise ValueError(f"there must be sources for each of {len(calls)} calls; got {len(sources)}")
        names = [None] * (n_values - len(constants)) if names is None else names
        known = dict(_paths(steps))
        made = [known[p] if isinstance(p, str) else Parameter(np.zeros(sized(*p[0]), p[1])) for p in parameters]
        graph._build(n_inputs, steps, sources, calls, outputs, names, [np.array(*c) for c in constants], made)
        return graph

    def __getstate__(self):
        return super().__getstate__() | {"_numbers": {}}  # a copy does not keep the expression

    # Forward and backward

    @overload
    def __call__(self, x: Value, /, *more: Operand) -> Value: ...
    @overload
    def __call__(self, *inputs: ArrayLike, **named: ArrayLike) -> Floats: ...
    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if named:
            missing = self._names[len(inputs) : self._n_inputs]
            if {*missing} != {*named}:
                raise TypeError(f"this graph takes the inputs {', '.join(self._names[: self._n_inputs])}; got {', '.join(named)}")
            inputs = [*inputs, *(named[name] for name in missing)]
        return super().__call__(*inputs)

    def forward(self, *inputs: ArrayLike) -> Any:
        """Compute the outputs.

        Parameters
        ----------
        *inputs : array-like
            In the order of the graph's inputs, or all in one tuple. A call of the graph also takes them by name.

        Returns
        -------
        ndarray, float or tuple of these
            The output; a tuple if there are several.
        """
        if len(inputs) == 1 and isinstance(inputs[0], tuple) and self._n_inputs > 1:
            inputs = inputs[0]
        if len(inputs) != self._n_inputs:
            raise ShapeError(self, f"this graph has {self._n_inputs} inputs; got {len(inputs)}")
        values = [*map(np.asarray, inputs), *self._constants, *(p.data for p in self._leaf_parameters())]
        kept, at = {}, []
        with self._reporting(at, "", 7):
            for k, (i, sources) in enumerate(zip(self._calls, self._sources, strict=True)):
                step, at[:] = self.steps[i], [k]
                value = step.forward(*(values[source] for source in sources))
                if isinstance(value, tuple):
                    raise ShapeError(step, f"a module in a graph must return one array; got {len(value)}")
                values.append(np.asarray(value))
                if k in self._shared:
                    kept[k] = [(module, module._saved) for module in step.modules()]
        self._saved = _Run(values, kept) if self.training else None
        outputs = tuple(_plain(values[i]) for i in self._outputs)
        return outputs[0] if self._is_single else outputs

    def backward(self, dout: Any = None, accumulate: bool = False) -> Any:
        """Run the backward of the last forward. Afterwards `grad` has the gradient of every value.

        Parameters
        ----------
        dout : array-like or sequence of array-like, optional
            The gradient with respect to the output. For several outputs, a sequence with a gradient or None (zero) for each. By
            default 1, if each output is a single number.
        accumulate : bool
            Add to the gradients of the parameters instead of overwriting them.

        Returns
        -------
        ndarray, float or tuple of these
            The gradient with respect to the input; a tuple if there are several.
        """
        if self._saved is None:
            raise self.no_forward()
        values, shared = self._saved.values, [self.steps[self._calls[k]] for k in self._shared]
        gradients = [None] * len(values)
        for i, gradient in self._seeds(dout):
            gradients[i] = gradient if gradients[i] is None else gradients[i] + gradient
        leaves = self._leaf_parameters()
        if not accumulate:
            for parameter in {*leaves, *(p for step in shared for p in step.parameters())}:
                parameter.grad_buffer()[...] = 0
        at = []
        try:
            with self._reporting(at, "the backward of ", 5):
                for k in range(len(self._calls) - 1, -1, -1):
                    step, i, at[:] = self.steps[self._calls[k]], self._n_leaves + k, [k]
                    for module, saved in self._saved.kept.get(k, ()):
                        module._saved = saved
                    dvalue = np.zeros_like(values[i]) if gradients[i] is None else gradients[i]
                    back = step.backward(dvalue, accumulate or k in self._shared)
                    for source, gradient in zip(self._sources[k], back if isinstance(back, tuple) else (back,), strict=True):
                        gradients[source] = gradient if gradients[source] is None else gradients[source] + gradient
        except LayerError as error:
            raise error.located_in(self) from None
        gradients = [np.zeros(v.shape) if g is None else np.asarray(g) for v, g in zip(values, gradients, strict=True)]
        for parameter, gradient in zip(leaves, gradients[self._n_leaves - len(leaves) :], strict=False):
            parameter.grad_buffer()[...] += gradient
        self._saved.gradients = gradients
        dinputs = tuple(map(_plain, gradients[: self._n_inputs]))
        return dinputs[0] if self._n_inputs == 1 else dinputs

    def _seeds(self, dout):
        """(position of an output, gradient with respect to it) for each output."""
        n = len(self._outputs)
        douts = [dout] * n if dout is None or self._is_single else list(dout)
        if len(douts) != n:
            raise ShapeError(self, f"dout must have a gradient for each of {n} outputs; got {len(douts)}")
        for i, gradient in zip(self._outputs, douts, strict=True):
            value = self._saved.values[i]
            if dout is None and value.size != 1:
                raise ShapeError(self, f"without dout, an output must be one number; {self._names[i]!r} has shape {value.shape}")
            gradient = np.ones_like(value) if dout is None else np.zeros_like(value) if gradient is None else np.asarray(gradient)
            if gradient.shape != value.shape:
                owner = self if i < self._n_leaves else self.steps[self._calls[i - self._n_leaves]]
                raise ShapeError(owner, f"dout must have shape {value.shape}; got {gradient.shape}").located_in(self)
            yield i, gradient

    def _reporting(self, at, prefix, stacklevel):
        """Report NumPy's warnings of infinities and NaN with the definition of the value; ``at`` holds the number of the call."""

        def warn(kind, _):
            message = f"{kind} encountered in {prefix}{self._definition(self._n_leaves + at[0])}"
            warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)

        return np.errstate(**{kind: "call" for kind, mode in np.geterr().items() if mode == "warn"}, call=warn)

    # What was computed

    def value(self, name: str | Value | Parameter) -> Any:
        """Return a value of the last forward in training mode.

        Parameters
        ----------
        name : str, Value or Parameter
            The value's name, or the value itself. The name of an unnamed value is its number, such as '0'.

        Returns
        -------
        ndarray or float
            The value.

        Raises
        ------
        KeyError
            If the graph has no such value.
        NoForwardError
            If there was no forward.
        """
        return self._recorded(self._position(name), "value")

    def grad(self, name: str | Value | Parameter) -> Any:
        """Return the gradient with respect to a value, of the last backward.

        Parameters
        ----------
        name : str, Value or Parameter
            The value's name, or the value itself.

        Returns
        -------
        ndarray or float
            The gradient, of the same shape as the value.

        Raises
        ------
        KeyError
            If the graph has no such value.
        NoForwardError
            If there was no backward.
        """
        return self._recorded(self._position(name), "grad")

    def _recorded(self, i, what):
        run = self._saved
        recorded = None if run is None else run.values if what == "value" else run.gradients
        if recorded is None:
            after = "forward in training mode" if what == "value" else "backward"
            raise NoForwardError(self, f"there is no {what} of {self._names[i]!r} before a {after}")
        return _plain(recorded[i])

    def _position(self, name):
        if isinstance(name, Value | Parameter):
            if name not in self._numbers:
                raise KeyError(f"{name!r} is not part of this graph")
            return self._numbers[name]
        constants = range(self._n_inputs, self._n_inputs + len(self._constants))
        found = [i for i, other in enumerate(self._names) if other == name and i not in constants]
        if not found:
            raise KeyError(f"no value of this graph has the name {name!r}; there are {self._names}")
        return found[0]

    @property
    def nodes(self) -> list[GraphNode]:
        """All values, each after those that it is computed from."""
        run, n = self._saved, self._n_inputs
        kinds = ["input"] * n + ["constant"] * len(self._constants) + ["parameter"] * len(self._leaves)
        symbols, operands = self._names[: self._n_leaves], [[] for _ in kinds] + self._sources
        for step in (self.steps[i] for i in self._calls):
            symbol = getattr(step, "symbol", None)
            kinds.append("operation" if symbol else "module")
            symbols.append(symbol or type(step).__name__)
        formulas = map(self._formula, range(len(kinds)))
        values = [None] * len(kinds) if run is None else map(_plain, run.values)
        grads = [None] * len(kinds) if run is None or run.gradients is None else map(_plain, run.gradients)
        return [GraphNode(*node) for node in zip(self._names, kinds, symbols, formulas, operands, values, grads, strict=True)]

    def draw(self, ax: Axes | None = None) -> GraphDisplay:
        """Draw the graph, with the values of the last forward and the gradients of the last backward.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw it with matplotlib. Without it, matplotlib is not used; notebooks show the result as SVG.

        Returns
        -------
        GraphDisplay
            The drawing, with ``save(path)`` and ``plot(ax)``.
        """
        from ..inspection import GraphDisplay

        display = GraphDisplay(self)
        return display if ax is None else display.plot(ax)

    def _formula(self, i):
        """How a value is computed: 'x + y'."""
        if i < self._n_leaves:
            return self._names[i]
        step = self.steps[self._calls[i - self._n_leaves]]
        operands = [self._shown(source) for source in self._sources[i - self._n_leaves]]
        if hasattr(step, "formula"):
            return step.formula(*operands)
        text = getattr(step, "symbol", None) or repr(step)
        if "\n" in text and text[-1] != ")":
            text = f"({text}\n)"
        return f"{text}({', '.join(operands)})"

    def _shown(self, i):
        return f"#{self._names[i]}" if i >= self._n_leaves and self._names[i].isdigit() else self._names[i]

    def _definition(self, i):
        return f"{self._shown(i)} = {self._formula(i)}"

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        outputs = ", ".join(map(self._shown, self._outputs))
        lines = [f"Graph({', '.join(self._names[: self._n_inputs])}) -> {outputs}  # {self.n_parameters:,} parameters"]
        lines += [f"  {name}: parameter {getattr(self, name).shape}" for module, name in self._leaves if module is None]
        lines += ["  " + self._definition(i).replace("\n", "\n  ") for i in range(self._n_leaves, len(self._names))]
        return "\n".join(lines)


def _plain(value):
    """The array itself, or its number if it has no axes."""
    return value if value.ndim else value[()]


def _paths(steps):
    """(path, parameter) of all parameters of steps; a path is the number of the step and the name in it."""
    return [(f"{k}.{name}", parameter) for k, step in enumerate(steps) for name, parameter in step.named_parameters()]

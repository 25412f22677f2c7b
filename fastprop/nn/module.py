"""Module: what all layers and containers share.

A layer computes ``forward(x)`` and ``backward(dout, accumulate=False)``. In training mode the forward saves in ``_saved`` what the
backward needs; in evaluation mode it saves nothing. A layer may keep its input and its output, without a copy, until the backward:
they must not be changed before. ``backward`` writes the gradients of the parameters and returns the gradient with respect to the
input.

Layers call the raw kernels. A layer knows the shapes of its own arrays, so only arrays from outside are checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any, Self, overload

import numpy as np

from .. import kernels
from ..annotations import ArrayLike, Floats
from ..tables import Table, Tabular
from . import storage
from .errors import LayerError, NoForwardError, described
from .parameter import Parameter, real_numbers, writeable
from .summary import own_parameters, summary
from .trainable import Trainable
from .values import Operand, Value

# Arguments of a layer that only affect the initial parameters.
BEGINNINGS = ("random_state", "init")


class Module(Trainable, Tabular):
    """Base of layers and containers; a class of your own needs ``forward`` and ``backward``.

    Attributes that are parameters, modules or lists of modules are found automatically; modules are not if the name begins with an
    underscore. The arguments of ``__init__`` should be attributes of the same names, because `save` and `repr` read them. Printing
    a model shows a table of its layers, and so does a notebook.

    An array that is assigned to an attribute that is a parameter is copied into the parameter; it must have the same shape.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode; set by `train` and `eval`.
    n_threads : int
        The number of threads for the kernels, 1 at first; set by `set_n_threads`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         self._saved = x
    ...         return x * self.factor.data
    ...     def backward(self, dout, accumulate=False):
    ...         self.factor.grad = (dout * self._saved).sum(keepdims=True).ravel()
    ...         return dout * self.factor.data
    >>> model = nn.Sequential(Scale(), nn.Linear(2, 1, random_state=0))
    >>> [name for name, parameter in model.named_parameters()]
    ['0.factor', '1.weight', '1.bias']
    """

    training: bool = True
    n_threads: int = 1
    recomputing: bool = False  # set by `Checkpoint`: repeat the last forward, with its random numbers
    least_rows: int = 1  # fewest rows of a batch in training mode
    buffers: tuple[str, ...] = ()  # names of arrays that belong to the state but have no gradient
    _saved: Any = None

    @overload
    def __call__(self, x: Value, /, *more: Operand) -> Value: ...
    @overload
    def __call__(self, x: ArrayLike, /, *more: ArrayLike) -> Floats: ...
    def __call__(self, *inputs: Any) -> Any:
        for x in inputs:
            if isinstance(x, Value):
                return Value(self, inputs)
        try:
            return self.forward(*inputs)
        except LayerError as error:
            raise error.located_in(self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; numbers for a parameter are copied into it, so that an optimizer and other references see them."""
        parameter = vars(self).get(name)
        if not isinstance(parameter, Parameter) or value is None or isinstance(value, Parameter):
            object.__setattr__(self, name, value)
            return
        try:
            parameter.data = value
        except (TypeError, ValueError) as error:
            raise type(error)(f"{type(self).__name__}.{name}: {error}") from None

    def forward(self, x: Any) -> Any:
        """Compute the output for an input; in training mode, save what `backward` needs.

        Parameters
        ----------
        x : array-like, shape (n, n_in)
            The rows. A module may take several inputs.

        Returns
        -------
        ndarray, shape (n, n_out)
            The output.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward; define forward(self, x), which returns the output")

    def backward(self, dout: Any, accumulate: bool = False) -> Any:
        """Run the backward of the last forward.

        Parameters
        ----------
        dout : ndarray
            Gradient of the loss with respect to the output, of the same shape.
        accumulate : bool
            Add to the gradients of the parameters instead of overwriting them, for instance over micro-batches.

        Returns
        -------
        ndarray
            The gradient with respect to the input; a tuple if there are several inputs.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no backward; define backward(self, dout, accumulate=False), "
            "which returns the gradient with respect to the input of forward"
        )

    def no_forward(self) -> NoForwardError:
        """Make the error for a backward without a forward.

        Returns
        -------
        NoForwardError
            The error, to be raised.
        """
        hint = "" if self.training else "; it is in evaluation mode, which keeps nothing: call train() first"
        return NoForwardError(self, f"backward needs a forward in training mode before it{hint}")

    # Modules, parameters and buffers inside

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the modules directly inside this one, in order.

        Yields
        ------
        name : str
            The name of the attribute, or the number in a list.
        module : Module
            The module.
        """
        for name, value in vars(self).items():
            if name.startswith("_"):
                continue
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((str(i), module) for i, module in enumerate(value) if isinstance(module, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Iterate over this module and all modules inside it.

        Parameters
        ----------
        prefix : str
            The name of this module; the names of the others begin with it.

        Yields
        ------
        name : str
            The path to the module, such as '2.block'.
        module : Module
            The module.
        """
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Iterate over the parameters of this module and of all modules inside it.

        Yields
        ------
        name : str
            The path to the parameter, such as '0.weight'.
        parameter : Parameter
            The parameter.
        """
        for prefix, module in self.named_modules():
            for name, parameter in own_parameters(module).items():
                yield f"{prefix}.{name}" if prefix else name, parameter

    def named_buffers(self) -> Iterator[tuple[str, Floats]]:
        """Iterate over the arrays that belong to the state but have no gradient, such as running means.

        Yields
        ------
        name : str
            The path to the array, such as '1.running_mean'.
        array : ndarray
            The array itself.
        """
        for prefix, module in self.named_modules():
            for name in module.buffers:
                yield f"{prefix}.{name}" if prefix else name, getattr(module, name)

    def modules(self) -> list[Module]:
        """List this module and all modules inside it, including unnamed ones that containers make for themselves.

        Returns
        -------
        list of Module
            Each module before those inside it.
        """
        return [self, *(module for _, child in self.named_children() for module in child.modules())]

    def parameters(self) -> list[Parameter]:
        """List all parameters, for an optimizer.

        Returns
        -------
        list of Parameter
            In the order of `named_parameters`. A parameter that is in several places is listed once.
        """
        return list(dict.fromkeys(parameter for _, parameter in self.named_parameters()))

    @property
    def n_parameters(self) -> int:
        """Number of floats that training changes."""
        return sum(parameter.size for parameter in self.parameters())

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of this module and all modules inside it.

        Parameters
        ----------
        mode : bool
            False for evaluation mode.

        Returns
        -------
        Module
            This one.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set the evaluation mode of this module and all modules inside it.

        In this mode `Dropout` does nothing, `BatchNorm1d` uses its running statistics, and nothing is saved for a backward.

        Returns
        -------
        Module
            This one.
        """
        return self.train(False)

    def set_n_threads(self, n_threads: int) -> Self:
        """Set the number of threads for the kernels of this module and all modules inside it.

        Parameters
        ----------
        n_threads : int
            At least 1.

        Returns
        -------
        Module
            This one.
        """
        n_threads = kernels.checks.threads(n_threads)
        for module in self.modules():
            module.n_threads = n_threads
        return self

    def forget(self) -> None:
        """Drop what the last forward saved for the backward, in this module and all modules inside it."""
        for module in self.modules():
            module._saved = None

    # State

    def state_dict(self) -> dict[str, Floats]:
        """Copy all parameters and buffers.

        Returns
        -------
        dict
            The copies by name, such as '0.weight'.
        """
        return {name: array.copy() for name, array in self._state()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy arrays into the parameters and buffers.

        Parameters
        ----------
        state : dict
            Arrays with the names and shapes of `state_dict`.

        Raises
        ------
        ValueError
            If names or shapes differ; nothing is changed then.
        TypeError
            If an array does not hold real numbers; nothing is changed then.
        """
        own = dict(self._state())
        missing, unknown = [n for n in own if n not in state], [n for n in state if n not in own]
        if missing or unknown:
            raise ValueError(f"the names in the state must be those of the model; missing {missing}, unknown {unknown}")
        state = {name: real_numbers(name, array) if own[name].dtype.kind in "fiub" else array for name, array in state.items()}
        shapes = {name: (array.shape, np.shape(state[name])) for name, array in own.items()}
        wrong = [f"{name} must have shape {expected}; got {got}" for name, (expected, got) in shapes.items() if got != expected]
        if wrong:
            raise ValueError("; ".join(wrong))
        for name, array in own.items():
            array[...] = state[name]

    def _state(self):
        yield from ((name, parameter.data) for name, parameter in self.named_parameters())
        yield from self.named_buffers()

    def save(self, path: str | PathLike[str]) -> None:
        """Write layers and parameters to a file that `load` reads.

        An existing file is replaced only when the new one is complete, so it is still there after an error or if the process is
        killed. The file has a checksum, which `load` verifies.

        Parameters
        ----------
        path : str or path
            The file. Its format is safetensors if the name ends with ".safetensors", else npz.
        """
        storage.save(self, path)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``__init__`` that make a module like this one.

        Returns
        -------
        dict
            The values of the arguments by name.
        """
        names = [name for name in inspect.signature(type(self)).parameters if name not in BEGINNINGS]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise AttributeError(f"a {type(self).__name__} must have its arguments as attributes to be saved; missing {missing}")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arguments(cls, **arguments: Any) -> Self:
        """Make a module from what `arguments` returned.

        Parameters
        ----------
        **arguments
            The arguments, by name.

        Returns
        -------
        Module
            A new module.
        """
        return cls(**arguments)

    def stored_name(self) -> str:
        """Return the name by which `load` finds the class, or the object, that makes such a module.

        Returns
        -------
        str
            By default the name of the class.
        """
        return type(self).__name__

    # What is saved for a backward holds whole batches, and does not belong in a file or a copy.

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_saved"}

    def __setstate__(self, state):
        vars(self).update(state)
        for name in self.buffers:
            setattr(self, name, writeable(getattr(self, name)))

    def __repr__(self) -> str:
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self._summary()})"
        head = f"{type(self).__name__}(  # {self.n_parameters:,} parameters"
        return "\n".join([head, *(_line(name, child) for name, child in children), ")"])

    def __str__(self) -> str:
        return str(self._table()) if any(self.named_children()) else repr(self)

    def _table(self) -> Table:
        return summary(self)

    def _summary(self):
        """The arguments in the `repr`: those without a default, then those that differ from it."""
        parameters = inspect.signature(type(self)).parameters
        try:
            arguments = self.arguments()
        except AttributeError:  # a user's class that cannot be saved still has a repr
            return "..."
        parts = []
        for name, value in arguments.items():
            default = parameters[name].default
            if default is inspect.Parameter.empty:
                parts.append(f"{value!r}")
            elif value != default:
                parts.append(f"{name}={np.dtype(value).name if name == 'dtype' else repr(value)}")
        return ", ".join(parts)


def _line(name, module):
    text = f"  ({name}): " + repr(module).replace("\n", "\n  ")
    own = [f"{key} {parameter.shape}" for key, parameter in own_parameters(module).items()]
    return f"{text}  # {module.n_parameters:,} parameters: {', '.join(own)}" if own else text


def checked_modules(modules: Iterable[Module]) -> list[Module]:
    """A list of the modules, if all are modules and none appears twice, by itself or inside another."""
    modules = list(modules)
    for i, module in enumerate(modules):
        if not isinstance(module, Module):
            raise TypeError(f"layer {i} must be a Module; got {described(module)}")
    seen = set()
    for i, module in enumerate(modules):
        for inner in module.modules():
            if id(inner) in seen:
                raise ValueError(f"layer {i}, {inner!r}, is in the model twice; each place needs its own layer")
            seen.add(id(inner))
    return modules

"""Module: what all layers and containers share.

A layer computes ``forward(x)`` and ``backward(dout, accumulate=False)``. In training mode the forward keeps in ``_saved`` what the
backward needs; in evaluation mode it keeps nothing. What a layer is given and what it returns may be kept until the backward, so it
must not be changed before. ``backward`` writes the gradients of the parameters, and returns the gradient by the input.

The layers call the raw kernels: a layer knows the shapes of its own arrays, so that only what comes from outside is checked.
"""

import inspect

import numpy as np

from .. import kernels
from ..network import FLOAT_DTYPES
from . import storage
from .errors import LayerError, NoForwardError, ShapeError
from .parameter import Parameter, real_numbers, writeable

raw = kernels.active.raw  # chosen once, when fastprop.kernels is imported
# Arguments of a layer that say how it began, not what it is.
BEGINNINGS = ("random_state", "init")


class Node:
    """A value in a `Graph`: what ``module`` gives for the values of other nodes, or without a module an input.

    A module that is called with nodes returns one. The arithmetic is in `graph`.
    """

    def __init__(self, module=None, inputs=()):
        self.module, self.inputs = module, inputs

    def applied(self, module, inputs):
        """The node of the module's output for these inputs, of which this node is one."""
        raise NotImplementedError


class Module:
    """Base of layers and containers; a class of your own needs ``forward`` and ``backward``.

    Attributes that are parameters or modules are found by themselves, and so are the modules of a list; names that begin with an
    underscore are left out. The arguments of ``__init__`` should be attributes under the same names: `save` and `repr` read them.

    Attributes
    ----------
    training : bool
        Set by `train` and `eval`.
    n_threads : int
        For the kernels, 1 at first; set by `set_n_threads`.
    """

    training = True
    n_threads = 1
    recomputing = False  # set by `Checkpoint`: repeat the last forward, random numbers and all
    buffers = ()  # names of arrays that belong to the state but have no gradient
    _saved = None

    def __call__(self, *inputs):
        if inputs and isinstance(inputs[0], Node):
            return inputs[0].applied(self, inputs)
        try:
            return self.forward(*inputs)
        except LayerError as error:
            raise error.located_in(self) from None

    def forward(self, x):
        """The output for the input x; in training mode, what `backward` needs is kept."""
        raise NotImplementedError

    def backward(self, dout, accumulate=False):
        """Backward of the last forward.

        Parameters
        ----------
        dout : ndarray
            Gradient of the loss by the output, shaped like it.
        accumulate : bool
            Add to the gradients of the parameters instead of overwriting them, for instance over micro-batches.

        Returns
        -------
        ndarray
            The gradient by the input; a tuple where there are several inputs.
        """
        raise NotImplementedError

    def no_forward(self):
        """The error for a backward without a forward."""
        hint = "" if self.training else "; it is in evaluation mode, which keeps nothing: call train() first"
        return NoForwardError(self, f"backward needs a forward in training mode before it{hint}")

    # What there is inside

    def named_children(self):
        """(name, module) of each module directly inside, in order."""
        for name, value in vars(self).items():
            if name.startswith("_"):
                continue
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((str(i), module) for i, module in enumerate(value) if isinstance(module, Module))

    def named_modules(self, prefix=""):
        """(name, module) of this module, whose name is empty, and of all inside, such as '2.block'."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self):
        """(name, parameter) of all parameters, such as '0.weight'."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_buffers(self):
        """(name, array) of what belongs to the state but has no gradient, such as running means."""
        for prefix, module in self.named_modules():
            for name in module.buffers:
                yield f"{prefix}.{name}" if prefix else name, getattr(module, name)

    def modules(self):
        """A list of this module and all inside, also of those without a name, which containers make for themselves."""
        return [self, *(module for _, child in self.named_children() for module in child.modules())]

    def parameters(self):
        """A list of all parameters, for an optimizer."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def n_parameters(self):
        """How many numbers training changes."""
        return sum(parameter.size for parameter in self.parameters())

    # Modes

    def train(self, mode=True):
        """Set the training mode of this module and all inside, and return it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Set the evaluation mode: Dropout does nothing, BatchNorm1d uses its running statistics, nothing is kept for backward."""
        return self.train(False)

    def set_n_threads(self, n_threads):
        """Let the kernels of this module and all inside use so many threads, and return it."""
        n_threads = kernels.checks.threads(n_threads)
        for module in self.modules():
            module.n_threads = n_threads
        return self

    def forget(self):
        """Drop what the last forward kept for backward, here and in all modules inside."""
        for module in self.modules():
            module._saved = None

    # State

    def state_dict(self):
        """A dict name -> copy of the array, of all parameters and buffers."""
        return {name: array.copy() for name, array in self._state()}

    def load_state_dict(self, state):
        """Copy arrays, named and shaped as in `state_dict`, into the parameters and buffers; nothing is changed on an error."""
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

    def save(self, path):
        """Write layers and parameters to a file that `load` reads: safetensors where the name ends so, else npz.

        An existing file is replaced as a whole at the end: after an error, or when the process is killed, it is still there. The
        file has a checksum, which `load` compares.
        """
        storage.save(self, path)

    def arguments(self):
        """The arguments of ``__init__`` that make a module like this one, by name."""
        names = [name for name in inspect.signature(type(self)).parameters if name not in BEGINNINGS]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise AttributeError(f"a {type(self).__name__} must have its arguments as attributes to be saved; missing {missing}")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arguments(cls, **arguments):
        """The inverse of `arguments`."""
        return cls(**arguments)

    def stored_name(self):
        """The name under which `load` finds what makes such a module."""
        return type(self).__name__

    # Caches hold whole batches, and nobody expects them in a file or a copy.

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_saved"}

    def __setstate__(self, state):
        vars(self).update(state)
        for name in self.buffers:
            setattr(self, name, writeable(getattr(self, name)))

    def __repr__(self):
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self._summary()})"
        head = f"{type(self).__name__}(  # {self.n_parameters:,} parameters"
        return "\n".join([head, *(_line(name, child) for name, child in children), ")"])

    def _summary(self):
        """The arguments in the `repr`: those without a default, then those that differ from it."""
        parameters = inspect.signature(type(self)).parameters
        try:
            arguments = self.arguments()
        except AttributeError:  # a class of the user's that cannot be saved has a name all the same
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
    own = [f"{key} {parameter.shape}" for key, parameter in vars(module).items() if isinstance(parameter, Parameter)]
    return f"{text}  # {module.n_parameters:,} parameters: {', '.join(own)}" if own else text


def checked_modules(modules):
    """A list of the modules, if all are modules and none is there twice, itself or inside another."""
    modules = list(modules)
    for i, module in enumerate(modules):
        if not isinstance(module, Module):
            raise TypeError(f"layer {i} must be a Module; got {type(module).__name__}")
    seen = set()
    for i, module in enumerate(modules):
        for inner in module.modules():
            if id(inner) in seen:
                raise ValueError(f"layer {i}, {inner!r}, is in the model twice; each place needs a layer of its own")
            seen.add(id(inner))
    return modules


def matrix(layer, name, array, n_columns, dtype):
    """The array as the kernels read it, (n, n_columns) in a dtype; it is only copied where it is not like that."""
    if type(array) is np.ndarray and array.dtype is dtype and array.shape[1:] == (n_columns,) and array.flags.carray:
        return array
    array = _floats(layer, name, array, dtype)
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ShapeError(layer, f"{name} must have shape (n, {n_columns}); got {array.shape}")
    return array


def like(layer, name, array, shape, dtype):
    """The array as the kernels read it, with a given shape and dtype; it is only copied where it is not like that."""
    if type(array) is np.ndarray and array.dtype is dtype and array.shape == shape and array.flags.carray:
        return array
    array = _floats(layer, name, array, dtype)
    if array.shape != shape:
        raise ShapeError(layer, f"{name} must have shape {shape}; got {array.shape}")
    return array


def any_matrix(layer, name, array):
    """The array as the kernels read it, (n, any): float32 stays, all other numbers become float64."""
    if type(array) is np.ndarray and array.ndim == 2 and array.dtype in FLOAT_DTYPES and array.flags.carray:
        return array
    array = _floats(layer, name, array, np.float32 if getattr(array, "dtype", None) == np.float32 else np.float64)
    if array.ndim != 2:
        raise ShapeError(layer, f"{name} must have shape (n, n_units); got {array.shape}")
    return array


def _floats(layer, name, array, dtype):
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise ShapeError(layer, f"{name} must be an array of real numbers; got dtype {array.dtype.name}")
    return np.require(array, dtype, ["C", "A", "E"])

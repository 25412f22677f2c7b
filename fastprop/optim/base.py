"""What all optimizers share: parameters, hyperparameters, one block of memory, and the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..annotations import ArrayLike, Floats
from ..kernels import active
from ..kernels.layer_table import parameter_spans
from ..kernels.spec import OPTIMIZER_CODES, OPTIMIZERS
from .adjacency import flat_run, follows

if TYPE_CHECKING:
    from ..network import Network
    from ..nn import Parameter

# Attributes that are derived from the others: a copy would not keep them as views.
DERIVED = ("_state", "_flat_slots", "_seen", "_runs")


class Optimizer:
    """Base of the optimizers.

    Parameters
    ----------
    params : iterable of Parameter, or Network
        What it updates: ``model.parameters()`` or some of them, or all parameters of a `fastprop.Network`.
    lr : float
        The learning rate, not negative; may be changed at any time.
    weight_decay : float
        Not negative; the subclass says what it does.

    Attributes
    ----------
    parameters : tuple of Parameter
        What `step` updates; empty for a Network, whose `train_epoch` does the steps.
    memory : ndarray, shape (n_slots, n)
        What the optimizer remembers: each row has a number for each of the n elements of the parameters, in their order.
    state : tuple of tuple of ndarray
        For every parameter, views of its part of each row, of its shape. Assigned values are copied into them.
    hyper : ndarray of float64
        The numbers that the kernels read, in the order of `kernels.spec.hyper_names`.
    t : int
        Number of steps done.

    Examples
    --------
    >>> from fastprop import nn
    >>> model = nn.mlp([4, 8, 2], random_state=0)
    >>> optimizer = nn.Adam(model.parameters(), lr=0.01)
    >>> isinstance(optimizer, nn.Optimizer), optimizer.t
    (True, 0)
    >>> optimizer.lr = 0.001  # from the next step on
    """

    name: ClassVar[Any]  # in `kernels.spec.OPTIMIZERS`
    decoupled: bool = False  # whether weight_decay shrinks the parameters instead of being part of their gradient
    n_threads: int = 1

    def __init__(self, params: Iterable[Parameter] | Network, lr: float, weight_decay: float) -> None:
        if hasattr(params, "layers") and hasattr(params, "params"):
            spans = parameter_spans(params.layers)
            self.parameters, self._shapes = (), tuple(shape for row in spans for _, shape in row)
            dtype = params.params.dtype
        else:
            self.parameters = tuple(params)
            if not self.parameters or not all(hasattr(p, "grad_buffer") for p in self.parameters):
                raise TypeError("params must be at least one Parameter, and nothing else, such as model.parameters()")
            self._shapes = tuple(p.shape for p in self.parameters)
            dtype = np.result_type(*(p.dtype for p in self.parameters))
        self.lr: float = lr
        self.weight_decay = float(weight_decay)
        if not self.lr >= 0 or not self.weight_decay >= 0:
            raise ValueError(f"lr and weight_decay must not be negative; got {lr} and {weight_decay}")
        self.t = 0
        self._own(np.zeros((self.n_slots, sum(map(math.prod, self._shapes))), dtype))

    def __setattr__(self, name, value):
        if name in ("parameters", "memory") and name in vars(self):
            raise AttributeError(f"{name} of an optimizer cannot be replaced: make another optimizer")
        super().__setattr__(name, value)

    def _own(self, memory):
        """Set the memory. It is not replaced in a step, so its views can be kept."""
        vars(self)["memory"] = memory
        self._state = self._flat_slots = None
        self._seen, self._runs = [], []

    def _make_views(self):
        dtypes = [p.dtype for p in self.parameters] or [self.memory.dtype] * len(self._shapes)
        self._flat_slots, start = [], 0
        for shape, dtype in zip(self._shapes, dtypes, strict=True):
            stop = start + math.prod(shape)
            # If dtypes are mixed, a float32 parameter uses the first half of its part of a float64 block.
            self._flat_slots.append([row[start:stop].view(dtype)[: stop - start] for row in self.memory])
            start = stop
        views = zip(self._shapes, self._flat_slots, strict=True)
        self._state = tuple(tuple(slot.reshape(shape) for slot in slots) for shape, slots in views)

    @property
    def n_slots(self) -> int:
        """How many numbers it remembers for each element of a parameter."""
        return OPTIMIZERS[self.name].n_slots

    @property
    def state(self) -> tuple[tuple[Floats, ...], ...]:
        """For every parameter, the arrays that the optimizer remembers; assigned values are copied into them."""
        if self._state is None:
            self._make_views()
        return self._state

    @state.setter
    def state(self, values: Iterable[Iterable[ArrayLike]]) -> None:
        values = [[np.asarray(array) for array in slots] for slots in values]
        own, given = ([[array.shape for array in slots] for slots in state] for state in (self.state, values))
        if own != given:
            raise ValueError(f"state must hold arrays of the shapes {own}, a list for each parameter; got {given}")
        for mine, theirs in zip(self.state, values, strict=True):
            for array, new in zip(mine, theirs, strict=True):
                array[...] = new

    @property
    def hyper(self) -> NDArray[np.float64]:
        """The numbers that the kernels read, in the order of `kernels.spec.hyper_names`."""
        raise NotImplementedError

    def _hyper(self, *own):
        decays = (0.0, self.weight_decay) if self.decoupled else (self.weight_decay, 0.0)
        return np.array([self.lr, *decays, *own], np.float64)

    def step(self) -> None:
        """Update every parameter with its gradient; parameters without a gradient do not change.

        Parameters that are adjacent in one block, if their gradients are too, are updated by one kernel call.
        """
        if not self.parameters:
            raise TypeError("this optimizer was made for a Network, whose train_epoch does the steps")
        runs, code, hyper = self._current_runs(), OPTIMIZER_CODES[self.name], self.hyper
        self.t += 1
        for data, grad, slots in runs:
            active.raw.update(code, data, grad, *slots, hyper, self.t, self.n_threads)

    def _current_runs(self):
        """[(flat parameters, flat gradient, [slot, slot or empty])], made again if one of the arrays was replaced."""
        arrays = [array for parameter in self.parameters for array in (parameter.data, parameter.grad)]
        if len(arrays) != len(self._seen) or not all(map(is_, arrays, self._seen)):
            runs = []
            if self._flat_slots is None:
                self._make_views()
            for data, grad, slots in zip(arrays[::2], arrays[1::2], self._flat_slots, strict=True):
                group = data, grad, *slots
                if grad is None:
                    continue
                if runs and all(map(follows, group, runs[-1][-1])):
                    runs[-1].append(group)
                else:
                    runs.append([group])
            self._runs, self._seen = [_joined(run) for run in runs], arrays
        return self._runs

    def zero_grad(self) -> None:
        """Set all gradients to zero: only needed before ``backward(..., accumulate=True)``, as others overwrite them."""
        for parameter in self.parameters:
            parameter.grad_buffer()[...] = 0

    def attach(self, network: Network) -> None:
        """Continue with a network whose parameters were replaced; its dtype may differ, its shapes may not.

        Parameters
        ----------
        network : Network
            A network with the layer shapes that the optimizer was made for.
        """
        shapes = tuple(shape for row in parameter_spans(network.layers) for _, shape in row)
        if self._shapes != shapes:
            own, new = ([list(shape) for shape in each[::2]] for each in (self._shapes, shapes))
            raise ValueError(f"the optimizer was made for layers of shapes {own}; the network now has {new}")
        if self.memory.dtype != network.dtype:
            self._own(self.memory.astype(network.dtype))

    # Views do not survive a pickle or a deep copy as views.

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in DERIVED}

    def __setstate__(self, state):
        state = dict(state)
        if "state" in state:  # earlier versions stored arrays for each parameter
            arrays, parameters = state.pop("state"), tuple(state["parameters"])
            vars(self).update(state, parameters=parameters, _shapes=tuple(p.shape for p in parameters))
            dtype, n = np.result_type(*(p.dtype for p in parameters)), sum(map(math.prod, self._shapes))
            self._own(np.zeros((self.n_slots, n), dtype))
            self.state = arrays
            return
        memory = state.pop("memory")
        vars(self).update(state)
        # A memory map, which joblib may load, is read-only.
        self._own(np.require(memory, None, ["C", "A", "W", "E"]))

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if name not in ("parameters", "memory", "t") and name[0] != "_"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _joined(run):
    """(parameters, gradient, [slot, slot or empty]) of a run of groups of arrays that are adjacent in memory."""
    data, grad, *slots = map(flat_run, zip(*run, strict=True))
    return data, grad, slots if len(slots) == 2 else [*slots, data[:0]]

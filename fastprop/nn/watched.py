"""Watch epochs: record the gradient flow, and find and report where parameters stop being finite."""

import math
from typing import NamedTuple

import numpy as np

from .arrays import raw
from .errors import located
from .observation import observed


class State:
    """A copy of what training changes: parameters, running statistics, counters, and the optimizer's memory."""

    def __init__(self, model, optimizer):
        self._optimizer, self._memory, self._t = optimizer, optimizer.memory.copy(), optimizer.t
        self._parameters = [(parameter, parameter.data.copy()) for parameter in optimizer.parameters]
        modules = model.modules()
        buffers = [getattr(module, name) for module in modules for name in module.buffers]
        self._buffers = [(buffer, buffer.copy()) for buffer in buffers]
        self._counters = [(module, module.n_forwards) for module in modules if hasattr(module, "n_forwards")]

    def restore(self):
        """Restore everything that was copied."""
        self._optimizer.memory[...], self._optimizer.t = self._memory, self._t
        for parameter, values in self._parameters:
            parameter.data[...] = values
        for buffer, values in self._buffers:
            buffer[...] = values
        for module, n_forwards in self._counters:
            module.n_forwards = n_forwards


class Divergence(NamedTuple):
    """An epoch that left parameters that are not finite: where that began, what may help, and the state before the epoch."""

    where: str
    advice: str
    before: State


class WatchedEpochs:
    """A runner around another one, for `loop.run_epochs`.

    A call ends with the first epoch that leaves a parameter that is not finite; ``divergence`` then says where that began. A flow,
    if there is one, records the gradients of the first batch of each epoch.
    """

    def __init__(self, runner, make_layered, flow):
        self._runner, self._make_layered, self._flow, self._layered = runner, make_layered, flow, None
        self._model, self._optimizer = runner.model, runner.optimizer
        self.epochs_per_call = runner.epochs_per_call if flow is None else 1
        self.divergence = None

    def run(self, orders, losses):
        """Train for one epoch for each order of the rows; append the mean losses to a list."""
        if self._flow is not None:
            self._steps().record(self._flow, orders[0])
        before, done, n_validated = self._state(), [], len(self._runner.validation_losses)
        self.divergence = None
        try:
            self._runner.run(orders, done)
        finally:
            losses += done
        if first_infinite(self._model, self._optimizer) is None:
            return
        n_good, before = self._find_epoch(orders, before)
        del losses[len(losses) - len(done) + n_good + 1 :], self._runner.validation_losses[n_validated + n_good + 1 :]
        after = self._state()
        before.restore()
        self.divergence = Divergence(*_find_place(self._steps(), orders[n_good]), before)
        after.restore()

    def _find_epoch(self, orders, before):
        """(number of the epoch that left infinite parameters, state before it); model and optimizer have the state after it."""
        if len(orders) == 1:
            return 0, before
        before.restore()
        for i in range(len(orders)):
            before = self._state()
            self._runner.run(orders[i : i + 1], [])
            if first_infinite(self._model, self._optimizer) is not None:
                break
        return i, before

    def _state(self):
        return State(self._model, self._optimizer)

    def _steps(self):
        """Epochs layer by layer on the same data."""
        self._layered = self._layered or self._make_layered()
        return self._layered


def first_infinite(model, optimizer):
    """The name of the optimizer's first parameter that has an element that is not finite, or None."""
    wrong = next((p for p in optimizer.parameters if not raw.all_finite(p.data, 1)), None)
    return None if wrong is None else next((name for name, p in model.named_parameters() if p is wrong), "a parameter")


def _find_place(epochs, order):
    """Repeat an epoch until a parameter is not finite: (what was the first to be so in that step, what may help), as text."""
    model, optimizer = epochs.model, epochs.optimizer
    clip = "" if epochs.clip_norm else "clip_norm=1.0, "
    advice = f"Try a learning rate below {optimizer.lr:g}, {clip}or smaller numbers in X and y"
    name = first_infinite(model, optimizer)
    if name is not None:
        return f"{name} was not finite before", "Start from other parameters"
    with np.errstate(all="ignore"):
        for number, (rows, x, y) in enumerate(epochs.batches(order)):
            with observed(model, "forward") as forwards, observed(model, "backward") as backwards:
                value = epochs.step(x, y)
            name = first_infinite(model, optimizer)
            if name is not None:
                for array, text in ((x, "X"), (y, "y")):
                    if not _finite(array):
                        row = rows[int((~np.isfinite(array)).reshape(len(rows), -1).any(axis=1).argmax())]
                        return f"row {row} of {text} is not finite", "Leave out such rows, or fill in other values"
                place = _place(forwards, value, backwards) or f"the update of {name}"
                return f"the first value that is not finite, in batch {number}, is {place}", advice
    return "a parameter is not finite at its end", advice


def _place(forwards, value, backwards):
    """What is not finite in a step before its update, as text, or None."""
    for call in forwards:
        if not _finite(call.output):
            return f"the output of {located(call.name, call.module)}"
    if not math.isfinite(value):
        last = next(call for call in forwards if call.output is forwards[-1].output)
        return f"the loss, for outputs of {located(last.name, last.module)} up to {np.abs(last.output).max():.3g}"
    if not _finite(backwards[-1].inputs[0]):
        return "the gradient of the loss"
    for call in backwards:
        own = (p.grad for p in vars(call.module).values() if hasattr(p, "grad_buffer"))
        if not all(map(_finite, own)) or not _finite(call.output):
            return f"the gradient of {located(call.name, call.module)}"
    return None


def _finite(array):
    arrays = array if isinstance(array, tuple) else (array,)
    return all(a is None or np.asarray(a).dtype.kind != "f" or np.isfinite(a).all() for a in arrays)

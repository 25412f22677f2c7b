"""Whole epochs in compiled calls: the layer program of a model, and the calls of the training loop on the model's own arrays."""

import numpy as np

from .. import loop
from ..kernels import checks, n_buffers
from ..kernels.checks import NO_INDICES
from ..kernels.job import new_job
from ..kernels.layer_table import buffer_views, parameter_spans
from ..kernels.spec import KINDS, OPTIMIZER_CODES, Rows
from ..threads import FLOPS_PER_WEIGHT
from ..training_set import sparse_rows
from .arrays import matrix, raw
from .errors import NotPlain
from .parameter import one_block
from .program import Program

# About how many operations a row of the program other than a product costs for each value: an activation with its derivative, or a
# norm.
FLOPS_PER_VALUE = 20


def sizes_of_batches(n_rows, batch_size):
    """The numbers of rows that the batches of an epoch have, as a set."""
    return {min(batch_size, n_rows), n_rows % batch_size or batch_size} if n_rows else set()


class Lowered:
    """A model, a loss and an optimizer as the training loop takes them. Read for each call, because a callback may change them."""

    def __init__(self, model, loss, optimizer, shape, is_sparse, batch_size):
        _check_rules(model, loss, optimizer)
        self.program = Program(model, shape, optimizer.t, sizes_of_batches(shape[0], batch_size))
        self.program.module(model)
        parameters = model.parameters()
        if not _same(self.program.parameters, parameters):
            raise NotPlain("its parameters are not those of its layers, in their order")
        self.n_out = self.program.width
        try:
            self.layers = self.program.link(loss.kernel.link)
        except ValueError as reason:
            raise NotPlain(str(reason)) from None
        shapes = [shape for spans in parameter_spans(self.layers) for _, shape in spans]
        if shapes != [parameter.shape for parameter in parameters]:
            raise NotPlain("its parameters do not have the shapes of its layers")
        kinds = self.layers["kind"]
        if is_sparse and (kinds[0] != KINDS["linear"] or (self.layers["source"][kinds == KINDS["add"]] == 0).any()):
            raise NotPlain("X is sparse and goes into something else than a Linear layer")
        self.params = one_block(parameters)
        if self.params is None:
            raise NotPlain("its parameters differ in dtype or have elements in common")
        self.buffers = np.empty(n_buffers(self.layers), self.params.dtype)

    def read_statistics(self):
        """Copy the running statistics of the batch norms into the buffers."""
        for norm, views in self._statistics():
            for view, array in zip(views, norm.statistics(), strict=True):
                view[...] = array

    def advance(self, optimizer, n_updates):
        """Count updates that were done, and copy the running statistics back."""
        optimizer.t += n_updates
        for dropout in self.program.dropouts:
            dropout.n_forwards += n_updates
        for norm, (mean, variance) in self._statistics():
            norm.running_mean[...], norm.running_var[...] = mean, variance

    def _statistics(self):
        return zip(self.program.batch_norms, filter(None, buffer_views(self.layers, self.buffers)), strict=True)

    def flops(self, n_values):
        """(operations for each row, operations for each update), about; ``n_values`` are the numbers stored of a row of X."""
        n_weights = sum(parameter.size for parameter in self.program.parameters if len(parameter.shape) > 1)
        n_in, n_units = self.layers[["n_in", "n_out"]][0]
        first = (int(n_in) - n_values) * int(n_units) if self.layers["kind"][0] == KINDS["linear"] else 0
        per_row = FLOPS_PER_WEIGHT * (n_weights - first) + FLOPS_PER_VALUE * int(self.layers["n_out"].sum())
        return per_row, loop.FLOPS_PER_UPDATE * n_weights


class CompiledEpochs(loop.CompiledEpochs):
    """Epochs in compiled calls, on the arrays of the model and of the optimizer themselves."""

    def __init__(self, model, loss, optimizer, X, y, batch_size):
        is_sparse = hasattr(X, "tocsr")
        shape = np.shape(X) if not is_sparse else X.shape
        if len(shape) != 2 or not shape[1]:
            raise NotPlain(f"X is no matrix with columns; its shape is {shape}")
        self._problem = model, loss, optimizer
        self._size, self._n_threads = (shape, is_sparse, batch_size), 1
        lowered = self._lowered()
        dtype = lowered.params.dtype
        # With the checks of layer and loss, so that errors are the same with and without compilation.
        if is_sparse:
            x = sparse_rows("X", X, shape[1], lowered.params)[1]
        else:
            x = matrix(model, "X", X, shape[1], dtype), NO_INDICES, NO_INDICES
        labels, targets = loss.targets(y, (shape[0], lowered.n_out), dtype)
        self._rows = Rows(*x, labels, targets, np.empty(0, dtype))
        per_row, per_update = lowered.flops(x[0].size / max(1, shape[0]))
        super().__init__(optimizer, shape[0], batch_size, batch_size * per_row + per_update)

    def use_threads(self, n_threads):
        """How many threads `run` uses; 1 at first."""
        self._n_threads = n_threads

    def _lowered(self):
        return Lowered(*self._problem, *self._size)

    def train(self, orders, losses, rates):
        """A call of the training loop. After an interrupt too, everything that counts says how many updates were done."""
        lowered, (_, loss, optimizer) = self._lowered(), self._problem
        lowered.read_statistics()
        step = np.array([checks.integer("optimizer.t", optimizer.t, 0, checks.MAX_STEP)], np.intp)
        job = new_job(
            self._rows,
            lowered.params,
            orders=np.ascontiguousarray(orders, np.intp),
            layers=lowered.layers,
            buffers=lowered.buffers,
            loss=loss.kernel.code,
            gradient_scale=loss.gradient_scale(lowered.n_out),
            value_scale=loss.value_scale(lowered.n_out),
            optimizer=OPTIMIZER_CODES[optimizer.name],
            hyper=optimizer.hyper,
            state=optimizer.memory,
            step=step,
            batch_size=self.batch_size,
            losses=losses,
        )
        try:
            raw.train_epochs(job, self._n_threads)
        finally:
            lowered.advance(optimizer, int(step[0]) - optimizer.t)


def _check_rules(model, loss, optimizer):
    """Raise `NotPlain` unless loss and optimizer are fastprop's own, and the optimizer is for the model's parameters."""
    if not _is_own(loss, "nn") or loss.kernel is None:
        raise NotPlain(f"the loss is {loss!r}")
    if not _is_own(optimizer, "optim"):
        raise NotPlain(f"the optimizer is {optimizer!r}")
    if not _same(model.parameters(), optimizer.parameters):
        raise NotPlain("the optimizer is not for exactly the model's parameters, in their order")


def _is_own(thing, package):
    """Whether its class is one of a package of fastprop's, not derived from it elsewhere."""
    return type(thing).__module__.startswith(f"fastprop.{package}.")


def _same(some, others):
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))

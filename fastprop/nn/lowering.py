"""Run whole epochs in compiled calls: the layer program of a model, and the training loop on the model's own arrays."""

import numpy as np

from .. import loop
from ..kernels import active, checks, n_buffers
from ..kernels.checks import NO_INDICES
from ..kernels.job import new_job, raw_for
from ..kernels.layer_table import buffer_views, parameter_spans
from ..kernels.spec import KINDS, OPTIMIZER_CODES, Rows
from ..precision import rows_in_bfloat16, trains_in_bfloat16
from ..threads import FLOPS_PER_WEIGHT
from ..training_set import is_sparse, sparse_rows
from .arrays import matrix
from .errors import NotPlain
from .evaluation import of_validation_data
from .parameter import one_block
from .program import Program

# Approximate number of operations for each value in a row of the program that is not a product: an activation with its derivative,
# or a norm.
FLOPS_PER_VALUE = 20


def sizes_of_batches(n_rows, batch_size):
    """The set of the numbers of rows that batches of an epoch have."""
    return {min(batch_size, n_rows), n_rows % batch_size or batch_size} if n_rows else set()


class Lowered:
    """A model, a loss and an optimizer as the training loop takes them. Made for each call, because a callback may change them."""

    def __init__(self, model, loss, optimizer, shape, has_sparse_rows, batch_size):
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
        if has_sparse_rows and (kinds[0] != KINDS["linear"] or (self.layers["source"][kinds == KINDS["add"]] == 0).any()):
            raise NotPlain("X is sparse and goes into something other than a Linear layer")
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
        """Count the updates that were done, and copy the running statistics back."""
        optimizer.t += n_updates
        for dropout in self.program.dropouts:
            dropout.n_forwards += n_updates
        for norm, (mean, variance) in self._statistics():
            norm.running_mean[...], norm.running_var[...] = mean, variance

    def _statistics(self):
        return zip(self.program.batch_norms, filter(None, buffer_views(self.layers, self.buffers)), strict=True)

    def flops(self, n_values):
        """Approximate (operations for each row, operations for each update); a row of X has ``n_values`` stored numbers."""
        n_weights = sum(parameter.size for parameter in self.program.parameters if len(parameter.shape) > 1)
        n_in, n_units = self.layers[["n_in", "n_out"]][0]
        first = (int(n_in) - n_values) * int(n_units) if self.layers["kind"][0] == KINDS["linear"] else 0
        per_row = FLOPS_PER_WEIGHT * (n_weights - first) + FLOPS_PER_VALUE * int(self.layers["n_out"].sum())
        return per_row, loop.FLOPS_PER_UPDATE * n_weights


class CompiledEpochs(loop.CompiledEpochs):
    """Epochs in compiled calls, which work in place on the arrays of the model and of the optimizer."""

    def __init__(self, problem):
        X, validation_data = problem.X, problem.validation_data
        if isinstance(X, tuple):
            raise NotPlain(f"X has {len(X)} inputs")
        data = [X] if validation_data is None else [X, validation_data[0]]
        shape = np.shape(X) if not is_sparse(X) else X.shape
        if len(shape) != 2 or not shape[1]:
            raise NotPlain(f"X is not a matrix with columns; its shape is {shape}")
        self._problem, self.model = problem, problem.model
        self._size, self._n_threads = (shape, any(map(is_sparse, data)), problem.batch_size), 1
        lowered = self._lowered()
        problem.loss.hyper(lowered.n_out)
        self._rows, self._validation, self.validation_losses = self._checked(lowered, X, problem.y), None, []
        dtype = lowered.params.dtype
        self._bfloat16 = trains_in_bfloat16(problem.precision, lowered.layers, self._rows, dtype, problem.batch_size)
        if validation_data is not None:
            with of_validation_data():
                self._validation = self._checked(lowered, *validation_data)
            # The best parameters are not to be kept, so start from a loss that none is below.
            self._best = {"best": np.array([-np.inf, 0]), "best_params": np.empty_like(lowered.params)}
            self._best["best_buffers"] = np.empty_like(lowered.buffers)
        per_row, per_update = lowered.flops(self._rows.x.size / max(1, shape[0]))
        # A row of validation data, which only goes forward, costs about a third of a row of training data.
        n_evaluated = len(validation_data[1]) / 3 if validation_data is not None else 0
        per_update += per_row * n_evaluated * problem.batch_size / max(1, shape[0])
        if self._bfloat16:
            self._rows = rows_in_bfloat16(self._rows)
            self._validation = None if self._validation is None else rows_in_bfloat16(self._validation)
        super().__init__(problem.optimizer, shape[0], problem.batch_size, problem.batch_size * per_row + per_update)

    def use_threads(self, n_threads):
        """Set how many threads `run` uses; 1 at first."""
        self._n_threads = n_threads

    def _lowered(self):
        return Lowered(self.model, self._problem.loss, self._problem.optimizer, *self._size)

    def _checked(self, lowered, X, y):
        """Data as the kernels read them, checked by layer and loss: errors are the same with and without compilation."""
        n_in, dtype = self._size[0][1], lowered.params.dtype
        if is_sparse(X):
            n_rows, x = sparse_rows("X", X, n_in, lowered.params)
        else:
            x = matrix(self.model, "X", X, n_in, dtype), NO_INDICES, NO_INDICES
            n_rows = len(x[0])
        return Rows(*x, *self._problem.loss.targets(y, (n_rows, lowered.n_out), dtype), np.empty(0, dtype))

    def run(self, orders, losses):
        self._n_left = self.n_samples
        super().run(orders, losses)

    def train(self, orders, losses, rates):
        """Call the training loop. All counters match the updates that were done, even after an interrupt."""
        lowered, (_, loss, optimizer, *_) = self._lowered(), self._problem
        lowered.read_statistics()
        step = np.array([checks.integer("optimizer.t", optimizer.t, 0, checks.MAX_STEP)], np.intp)
        self._n_left -= orders.shape[1]
        validation_losses = np.empty(len(orders) if self._validation is not None and not self._n_left else 0)
        job = new_job(
            self._rows,
            lowered.params,
            bfloat16=self._bfloat16,
            orders=np.ascontiguousarray(orders, np.intp),
            layers=lowered.layers,
            buffers=lowered.buffers,
            loss=loss.kernel.code,
            loss_hyper=loss.hyper(lowered.n_out),
            gradient_scale=loss.gradient_scale(lowered.n_out),
            value_scale=loss.value_scale(lowered.n_out),
            optimizer=OPTIMIZER_CODES[optimizer.name],
            hyper=optimizer.hyper,
            clip_norm=self._problem.clip_norm,
            state=optimizer.memory,
            step=step,
            batch_size=self.batch_size,
            losses=losses,
            **self._validated(validation_losses),
        )
        try:
            raw_for(active, job).train_epochs(job, self._n_threads)
        finally:
            lowered.advance(optimizer, int(step[0]) - optimizer.t)
        self.validation_losses += validation_losses.tolist()

    def _validated(self, losses):
        """The fields of a job for the validation data, which is only used at the end of an epoch."""
        return {"validation": self._validation, "validation_losses": losses, **self._best} if losses.size else {}


def _check_rules(model, loss, optimizer):
    """Raise `NotPlain` unless loss and optimizer are fastprop's own, and the optimizer is for the model's parameters."""
    if not _is_own(loss, "nn") or loss.kernel is None:
        raise NotPlain(f"the loss is {loss!r}")
    if not _is_own(optimizer, "optim"):
        raise NotPlain(f"the optimizer is {optimizer!r}")
    if not _same(model.parameters(), optimizer.parameters):
        raise NotPlain("the optimizer is not for exactly the model's parameters, in their order")


def _is_own(thing, package):
    """Whether its class is defined in a package of fastprop, and not derived elsewhere."""
    return type(thing).__module__.startswith(f"fastprop.{package}.")


def _same(some, others):
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))

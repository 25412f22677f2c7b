"""Calls of the compiled training loop for one network, one set of data and one optimizer. Shared arguments are checked once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .annotations import Floats, Integers
from .kernels import checks
from .kernels.job import VALIDATION, new_job, raw_for
from .kernels.spec import CROSS_ENTROPIES, LOSS_CODES, OPTIMIZER_CODES, OPTIMIZERS, Job
from .optim import Optimizer
from .precision import Precision, rows_in_bfloat16, trains_in_bfloat16
from .training_set import TrainingSet

if TYPE_CHECKING:
    from .network import Network

# Positions in a job of the fields that change from call to call
ORDERS, HYPER, RATES, STEP, LOSSES = map(Job._fields.index, ("orders", "hyper", "rates", "step", "losses"))
NO_RATES, NO_ROWS = np.empty(0), np.empty(0, np.intp)


class TrainingCalls:
    """Calls of the training loop that share everything except the orders of the rows, the losses and the learning rates.

    Parameters
    ----------
    network : Network
        Its parameters are updated in place.
    data : TrainingSet
        From ``network.training_set``.
    optimizer : optim.Optimizer
        Made for the network. Its memory and step count are updated, too; its ``hyper`` is read in each call.
    batch_size : int
        The number of rows in a batch, at least 1.
    n_threads : int
        Number of threads.
    alpha, clip, smoothing, clip_norm, exempt, gradient_scale, value_scale, ema_decay, average, precision
        As in `Network.train_epochs`.
    """

    def __init__(
        self,
        network: Network,
        data: TrainingSet,
        optimizer: Optimizer,
        *,
        batch_size: int,
        n_threads: int = 1,
        alpha: float = 0.0,
        clip: float = 0.0,
        smoothing: float = 0.0,
        clip_norm: float = 0.0,
        exempt: bool = False,
        gradient_scale: float = 1.0,
        value_scale: float = 1.0,
        ema_decay: float = 0.0,
        average: Floats | None = None,
        precision: Precision = None,
    ) -> None:
        network._check_data(data)
        self._network, self._optimizer, self._n_threads = network, optimizer, checked_threads(n_threads)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an optimizer of fastprop.optim, such as optim.Adam(network); got {optimizer!r}")
        self._memory = optimizer.memory
        smoothing = checks.real("smoothing", smoothing, "rate")
        if smoothing and network.loss not in CROSS_ENTROPIES:
            raise ValueError(f"smoothing must be 0 for the loss {network.loss!r}, which is not a cross-entropy; got {smoothing!r}")
        ema_decay, self._average = checks.real("ema_decay", ema_decay, "rate"), np.empty(0, network.dtype)
        if average is not None:
            self._average = _block_apart("average", average, network._params, {"the optimizer's memory": self._memory})
        elif ema_decay:
            raise ValueError(f"average must be given if ema_decay is not 0; got None and {ema_decay!r}")
        self._bfloat16 = trains_in_bfloat16(precision, network._layers, data.arrays, network.dtype, batch_size)
        job = new_job(
            self._rows(data),
            network._params,
            bfloat16=self._bfloat16,
            orders=None,
            layers=network._layers,
            buffers=network._buffers,
            loss=LOSS_CODES[network.loss],
            loss_hyper=network._loss_hyper,
            gradient_scale=_finite("gradient_scale", gradient_scale),
            value_scale=_finite("value_scale", value_scale),
            smoothing=smoothing,
            clip=checks.real("clip", clip),
            alpha=checks.real("alpha", alpha),
            optimizer=OPTIMIZER_CODES[optimizer.name],
            hyper=None,
            exempt=checks.flag("exempt", exempt),
            clip_norm=checks.real("clip_norm", clip_norm, "l2"),
            state=_checked_state(network, optimizer.name, self._memory),
            step=None,
            ema_decay=ema_decay,
            average=self._average,
            batch_size=batch_size,
            losses=None,
        )
        self._fields = list(job)

    def validate(
        self,
        validation: TrainingSet,
        losses: NDArray[np.float64] | None,
        n_epochs: int,
        best: NDArray[np.float64] | None,
        best_params: Floats | None,
        best_buffers: Floats | None,
    ) -> None:
        """Let the next call, of n_epochs, compute validation losses; results without an array are discarded.

        Parameters
        ----------
        validation : TrainingSet
            From ``network.training_set``.
        losses : ndarray of float64, shape (n_epochs,)
            As in `Network.train_epochs`.
        n_epochs : int
            The number of epochs of the next call.
        best : ndarray of float64, shape (2,), optional
            As in `Network.train_epochs`.
        best_params : ndarray, optional
            As in `Network.train_epochs`.
        best_buffers : ndarray, optional
            As in `Network.train_epochs`.
        """
        network = self._network
        network._check_data(validation)
        losses = written("validation_losses", losses)
        if losses.shape != (n_epochs,):
            raise ValueError(f"validation_losses must have shape ({n_epochs},); got {losses.shape}")
        best = np.array([math.inf, 0]) if best is None else written("best", best)
        if best.shape != (2,):
            raise ValueError(f"best must have shape (2,); got {best.shape}")
        fields: dict[str, Any] = {"validation_losses": losses, "best": best}
        for name, block, own in (("best_params", best_params, network._params), ("best_buffers", best_buffers, network._buffers)):
            others = {"the average": self._average}
            fields[name] = np.empty_like(own) if block is None else _block_apart(name, block, own, others)
        fields |= zip(VALIDATION, self._rows(validation), strict=True)
        self._fields = list(Job._make(self._fields)._replace(**fields))

    def run(self, orders: Integers, losses: NDArray[np.float64], rates: NDArray[np.float64] | None = None) -> None:
        """Train for one epoch for each of the orders. Even after an interrupt, the optimizer's ``t`` is the number of steps done.

        Parameters
        ----------
        orders : ndarray of intp, shape (n_epochs, n_visits)
            Rows of the data, as `loop.shuffled_orders` makes them. They are not checked, and no other code may change them.
        losses : ndarray of float64, shape (n_epochs,)
            Overwritten, as in `Network.train_epochs`.
        rates : ndarray of float64, shape (n_steps,), optional
            As in `Network.train_epochs`.
        """
        job = self._job(orders, losses, rates)
        try:
            self._network._train_epochs(job, self._n_threads)
        finally:
            self._optimizer.t = int(job.step[0])

    def sums(self, order: Integers, first_row: int, sums: Floats) -> None:
        """Compute the first half of a step that several processes do together: sums over the rows of the batch in this process.

        Parameters
        ----------
        order : ndarray of intp, shape (n,)
            Rows of the data, as for `run`; there may be none. ``batch_size`` is not used.
        first_row : int
            The position of the first of these rows in the whole batch. With ``optimizer.t`` it decides the dropout masks, so that
            all processes together have the masks of one process with the whole batch.
        sums : ndarray, shape (n_parameters + 2,), C-contiguous, of the network's dtype
            Overwritten with the gradient of the sum of the losses, without L2 term and not clipped; this sum as it is reported,
            times ``value_scale``; and the number of rows, or the sum of their weights. Nothing else changes.

        Raises
        ------
        ValueError
            If the network has batch norms, which need the statistics of the whole batch.
        """
        first_row = checks.integer("first_row", first_row, 0, checks.MAX_STEP)
        job, sums = self._half(sums, order)
        self._network._batch_sums(job, first_row, sums, self._n_threads)

    def apply(self, sums: Floats, rate: float = 1.0) -> float:
        """Do the second half of the step: the update, which is the same in every process.

        Parameters
        ----------
        sums : ndarray, shape (n_parameters + 2,), C-contiguous, of the network's dtype
            The total of what `sums` wrote in each process.
        rate : float
            Factor of the optimizer's lr in this step.

        Returns
        -------
        float
            The mean loss of the batch with its L2 term, before the update. A batch with sample weights that sum to zero has loss 0,
            counts as a step, and changes nothing else.

        Raises
        ------
        ValueError
            If the network has batch norms.
        """
        job, sums = self._half(sums, NO_ROWS, np.array([_finite("rate", rate)]))
        try:
            self._network._apply_sums(job, sums, self._n_threads)
        finally:
            self._optimizer.t = int(job.step[0])
        return float(job.losses[0])

    def _rows(self, data):
        """The arrays of the data as the products read them, in bfloat16 if the products do."""
        return rows_in_bfloat16(data.arrays) if self._bfloat16 else data.arrays

    def _half(self, sums, order, rates=None):
        """The job of one batch, and a view of its sums."""
        params = self._network._params
        if self._network._buffers.size:
            raise ValueError("a network with batch norms cannot train in two halves: they need the statistics of the whole batch")
        sums = own_block("sums", sums, (len(params) + 2,), params.dtype)
        others = {"the network's own block": params, "the optimizer's memory": self._memory, "the average": self._average}
        _require_apart("sums", sums, others)
        return self._job(order[np.newaxis], np.empty(1), rates), sums

    def _job(self, orders, losses, rates=None):
        """The job that `run` runs; afterwards its ``step`` is the number of steps done."""
        optimizer, fields = self._optimizer, self._fields.copy()
        if optimizer.memory is not self._memory:
            raise ValueError("the optimizer's memory was replaced after training began; start training again")
        step = np.array([checks.integer("optimizer.t", optimizer.t, 0, checks.MAX_STEP)], np.intp)
        fields[ORDERS], fields[LOSSES], fields[STEP], fields[HYPER] = orders, losses, step, optimizer.hyper
        fields[RATES] = NO_RATES if rates is None else rates
        return Job._make(fields)


def run_together(calls: Sequence[TrainingCalls], arguments: Sequence[tuple[Any, ...]], n_threads: int) -> None:
    """Do `TrainingCalls.run` for several networks in one compiled call; they must not share anything that is written to.

    Parameters
    ----------
    calls : sequence of TrainingCalls
        Each trains on one thread; its own ``n_threads`` is not used.
    arguments : sequence of tuple
        The arguments of ``run`` for each of them.
    n_threads : int
        How many train at the same time. Results do not depend on it.
    """
    jobs = [each._job(*own) for each, own in zip(calls, arguments, strict=True)]
    try:
        for bfloat16 in (False, True):
            alike = [job for job in jobs if job.bfloat16 == bfloat16]
            if alike:
                raw_for(kernels.active, alike[0]).train_jobs(alike, checked_threads(n_threads))
    finally:
        for each, job in zip(calls, jobs, strict=True):
            each._optimizer.t = int(job.step[0])


def checked_threads(n_threads: int) -> int:
    """The number of threads, if it is in range."""
    if not 1 <= n_threads <= checks.MAX_THREADS:
        raise ValueError(f"n_threads must be from 1 to {checks.MAX_THREADS}; got {n_threads}")
    return n_threads


def _checked_state(network, name, memory):
    """A view of an optimizer's memory that fits a network."""
    state, shape = checks.own_view(memory), (OPTIMIZERS[name].n_slots, len(network._params))
    if state.shape != shape or state.dtype != network.dtype or not state.flags.carray:
        raise ValueError(
            f"the optimizer's memory must be a C-contiguous {network.dtype.name} array of shape {shape}, for the parameters of "
            f"this network; got {state.dtype.name}, {state.shape}"
        )
    return state


def own_block(name, array, shape, dtype):
    """A view of an array that a compiled call writes to."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array, because it is written to; got {array!r}")
    array = checks.own_view(array)
    if array.shape != shape or array.dtype != dtype or not array.flags.carray:
        raise ValueError(
            f"{name} must be a C-contiguous, writable {np.dtype(dtype).name} array of shape {shape}; "
            f"got {array.dtype.name}, {array.shape}"
        )
    return array


def _block_apart(name, array, own, others):
    """`own_block` like a block of the network, which must overlap neither that block nor ``others``, a dict name -> array."""
    array = own_block(name, array, own.shape, own.dtype)
    _require_apart(name, array, {"the network's own block": own} | others)
    return array


def _require_apart(name, array, others):
    for what, other in others.items():
        if np.may_share_memory(array, other):
            raise ValueError(f"{name} must not overlap {what}")


def written(name, array):
    """A view of a vector of float64 that a compiled call writes to."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array, because it is written to; got {array!r}")
    array = checks.own_view(array)
    if array.dtype != np.float64 or array.ndim != 1 or not array.flags.carray:
        raise ValueError(f"{name} must be a C-contiguous, writable float64 array; got {array.dtype.name}, {array.shape}")
    return array


def _finite(name, value):
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {value!r}")
    return float(value)

"""A round of training on partitions: the tasks, the mean of their results, and the step that the driver makes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import loop
from ..annotations import Floats
from ..network import Network
from ..optim import Optimizer
from .partitions import Part, in_place

# The number of results that one task averages; the averages are averaged again, and so on, always in the same order.
RESULTS_PER_MEAN = 8


class Job(NamedTuple):
    """What all tasks of a round have in common.

    The rounds of an epoch are numbered from 0; ``rates`` are factors for its ``n_steps`` steps, or None, and a batch has
    ``batch_size`` rows over all partitions. The order of rows follows from ``seed`` and the epoch, unless ``order`` is given
    for the only partition.
    """

    rule: type[Optimizer]
    rule_state: dict[str, Any]
    options: dict[str, Any]
    has_average: bool
    dropout: list[tuple[float, int, int]] | None
    rates: NDArray[np.float64] | None
    n_steps: int
    batch_size: int
    n_rows: int
    spares_single_rows: bool
    seed: int | None
    order: NDArray[np.intp] | None
    epoch: int
    number: int
    n_rounds: int


class Result(NamedTuple):
    """The result of one task or several: a block of weighted mean values, and the mean loss of the visited rows."""

    block: Floats
    weight: float
    loss: float
    n_rows: int
    n_steps: int


def block_views(block: Floats, network: Network, has_average: bool) -> tuple[Floats, Floats, Floats | None, Floats]:
    """Views of the parts of a block: the parameters, the optimizer's memory, the average or None, and the buffers."""
    n, n_buffers = len(network.params), len(network.buffers)
    n_slots = (len(block) - n_buffers) // n - 1 - has_average
    ends = np.cumsum([n, n_slots * n, n * has_average])
    params, memory, average, buffers = np.split(block, ends)
    return params, memory.reshape(n_slots, n), average if has_average else None, buffers


def batch_of(n_rows: int, job_batch_size: int, n_all: int) -> int:
    """The number of rows that a partition has in a batch, by its fraction of all rows."""
    return max(1, min(round(job_batch_size * n_rows / n_all), n_rows))


def run(part: Part, place: int, state: tuple[Floats, Job]) -> Result:
    """The task: train a copy of the network on a partition for a round."""
    (block, job), data = state, in_place(part.data)
    block, batch = block.copy(), batch_of(data.n_samples, job.batch_size, job.n_rows)
    order, rates, n_steps = _this_round(_order(job, place, data.n_samples, batch), batch, job)
    if not n_steps:
        return Result(block, 0.0, 0.0, 0, 0)
    network = part.network.astype(part.network.dtype)
    params, memory, average, buffers = block_views(block, network, job.has_average)
    network.params[:], network.buffers[:] = params, buffers
    rule = job.rule.__new__(job.rule)
    rule.__setstate__(job.rule_state | {"memory": memory})
    options = job.options | ({"average": average} if job.has_average else {})
    trained = network if job.dropout is None else network.sharing(dropout=_dropout(job.dropout, place))
    runner = loop.NetworkEpochs(trained, data, len(order), rule, lambda *_: rates, batch_size=batch, **options)
    losses: list[float] = []
    runner.run(order[np.newaxis], losses)
    params[:], memory[:], buffers[:] = network.params, rule.memory, network.buffers
    weight = data.sample_weight[order].sum(dtype=np.float64) if data.sample_weight.size else len(order)
    return Result(block, max(float(weight), 0.0), losses[0], len(order), n_steps)


def _order(job, place, n_rows, batch):
    """The order of a partition's rows in the epoch; batch norm leaves out a last batch of a single row."""
    if job.order is not None:
        order = job.order
    elif job.seed is None:
        order = np.arange(n_rows)
    else:
        order = np.random.default_rng((job.seed, place, job.epoch + 1)).permutation(n_rows)  # 0 would be as in `partitions.dealt`
    return order[: n_rows - (job.spares_single_rows and n_rows > 1 and n_rows % batch == 1)]


def _this_round(order, batch, job):
    """(order, factors of the learning rate or None, number of steps) of this round, for its part of the epoch's steps."""
    n_steps = -(-len(order) // batch)
    start, stop = n_steps * job.number // job.n_rounds, n_steps * (job.number + 1) // job.n_rounds
    rates = None if job.rates is None else job.rates[np.arange(start, stop) * job.n_steps // n_steps]
    return np.ascontiguousarray(order[start * batch : stop * batch]), rates, stop - start


def _dropout(given, place):
    """Dropout with different masks for each partition."""
    return [(rate, (seed + place) % 2**31, stream) for rate, seed, stream in given]


def mean(results: Sequence[Result]) -> Result:
    """The weighted mean of results, in their order. If only one has weight, it is exactly that result."""
    block, weight, loss, n_rows, n_steps = results[0]
    block = block.copy()
    for each in results[1:]:
        weight, n_rows, n_steps = weight + each.weight, n_rows + each.n_rows, max(n_steps, each.n_steps)
        if not each.weight:
            pass
        elif each.weight == weight:
            block[:] = each.block
        else:
            block += (each.block - block) * block.dtype.type(each.weight / weight)
        if each.n_rows:
            loss += (each.loss - loss) * (each.n_rows / n_rows)
    return Result(block, weight, loss, n_rows, n_steps)


class OuterStep:
    """The step from the parameters before a round to those after it: to their mean, and further with Nesterov's momentum.

    Parameters
    ----------
    momentum : float or 'auto'
        In [0, 1), see `momentum_for`.
    shares : sequence of float
        The fraction of all rows that each partition has.
    solver : str
        The estimator's solver.
    """

    def __init__(self, momentum: float | str, shares: Sequence[float], solver: str) -> None:
        self.momentum = momentum_for(shares, solver) if isinstance(momentum, str) else float(momentum)
        self.velocity: Floats | None = None

    def make(self, params: Floats, mean: Floats) -> None:
        """Change the parameters in place."""
        if not self.momentum:
            params[:] = mean
            return
        moved, momentum = mean - params, params.dtype.type(self.momentum)
        self.velocity = moved if self.velocity is None else momentum * self.velocity + moved
        params += moved + momentum * self.velocity


def momentum_for(shares: Sequence[float], solver: str) -> float:
    """1 - 1 / sqrt(P) for P partitions of equal size, or an effective P for unequal ones; 0 for SGD.

    A step's gradient is that of a partition's part of the batch, and its noise is sqrt(P) times that of the whole batch. Where
    noise prevails, solvers that divide by the root of the mean square then move sqrt(P) times less; with this momentum, the same
    number of rounds goes sqrt(P) times as far. SGD moves by the mean gradient, as it would with the whole batch.
    """
    return 0.0 if solver == "sgd" else 1 - math.sqrt(sum(share**2 for share in shares))

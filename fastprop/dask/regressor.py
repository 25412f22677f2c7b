"""DaskMLPRegressor."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from distributed import Client

from ..estimators import MLPRegressor
from .base import DaskMixin, SyncEvery, with_parameters_of


@with_parameters_of(MLPRegressor)
class DaskMLPRegressor(DaskMixin, MLPRegressor):
    """Multi-layer perceptron regressor that trains on the partitions of a Dask cluster.

    In each round a task for every partition trains a copy of the network on its rows, and the copies are averaged. A mini-batch is
    spread over the partitions: each takes ``batch_size`` times its share of the rows. The result depends on the data, the
    partitions and ``random_state``, not on the workers: if one dies, others compute the same, to the bit. A task has one thread,
    unless ``n_jobs`` says otherwise. One partition gives the bits of `MLPRegressor` with ``n_jobs=1``.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        None is the last one that was made.
    sync_every : int or 'epoch', default='epoch'
        A round is so many mini-batches, or an epoch.
    outer_momentum : float or 'auto', default='auto'
        Nesterov's momentum, in [0, 1), of the step from the parameters before a round to the mean of those after it. 'auto' is
        ``1 - 1 / sqrt(P)`` for P partitions of equal size, and 0 for 'sgd'.
    shuffle_partitions : bool or int, default=True
        Whether rows are first dealt at random into as many partitions, or into that many. Without it, partitions must be alike.
    round_timeout : float or None, default=None
        Seconds after which `fit` gives up a round. None is for ever.
    checkpoint : str, path or None, default=None
        A file that is replaced after each epoch. If it is there when `fit` begins, left by one that was killed, interrupted or
        failed, training goes on from it to the same result; when training has ended, it is removed. It must be of a fit with the
        same partitions and parameters, except for limits such as ``max_iter``.
    """

    _plain = MLPRegressor
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLPRegressor._parameter_constraints,
        **DaskMixin._parameter_constraints,
    }

    def __init__(
        self,
        *,
        client: Client | None = None,
        sync_every: SyncEvery = "epoch",
        outer_momentum: float | str = "auto",
        shuffle_partitions: bool | int = True,
        round_timeout: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        self.client, self.sync_every, self.outer_momentum = client, sync_every, outer_momentum
        self.shuffle_partitions, self.round_timeout, self.checkpoint = shuffle_partitions, round_timeout, checkpoint

"""The rows of a fit: all checked rows, and the rows of an epoch. `chunks` has rows that are not all in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import loop
from ..annotations import Floats
from ..training_set import TrainingSet, is_sparse
from .held_out import Rows, Validation, scorer_of, split_rows


class CheckedRows(Protocol):
    """The checked rows that a fit gets."""

    n_features: int
    """Number of columns of X."""
    dtype: np.dtype[Any]
    """The dtype for training."""
    example: NDArray[Any]
    """A row of y, as `BaseMLP._encoded` returns it."""
    given: Rows | None
    """Validation rows, if they were given."""

    def begin(self, estimator: Any, network: Any) -> EpochRows:
        """The rows to train a network on; early stopping holds out some of them, unless validation rows are given."""


class EpochRows(ABC):
    """The rows that `stochastic.train` trains on."""

    n_rows: int
    """Number of rows."""
    held_out: Rows | None
    """Validation rows."""
    left_by_split: NDArray[np.intp] | None = None
    """Indices of the given rows that remain for training; None for all."""
    speaks = True
    """Whether this process prints."""
    share = 1.0
    """Fraction of each mini-batch that this process computes."""

    @abstractmethod
    def epochs(
        self, network: Any, n_rows: int, optimizer: Any, rates: Callable[[int, int], Any], random_state: Any, **options: Any
    ) -> tuple[loop.Runner, Callable[[int], Any]]:
        """The arguments ``runner`` and ``orders`` of `loop.run_epochs`, for epochs of n_rows of the rows.

        A random state draws their order, or None keeps it; the other arguments are those of `loop.NetworkEpochs`.
        """

    def resume(self, network: Any, optimizer: Any, history: Any) -> None:  # noqa: B027 - most have nothing to continue from
        """Let a training that is about to begin continue from where an earlier one was lost, if there was one."""

    def validation(self, estimator: Any, judged: Any, history: Any, decides: bool, best_params: Floats) -> Validation:
        """The evaluation of a network on ``held_out``."""
        rows = self.held_out
        return Validation(judged, judged.training_set(*rows), scorer_of(estimator, rows, judged, history), decides, best_params)

    def run(self, *arguments: Any, **limits: Any) -> str:
        """`loop.run_epochs`."""
        return loop.run_epochs(*arguments, **limits)


class InMemory(NamedTuple):
    """Checked rows: X and y as from `BaseMLP._checked_input`, weights or None, and given validation `Rows` or None."""

    X: Any
    y: NDArray[Any]
    sample_weight: Floats | None
    given: Rows | None

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype for training."""
        return self.X.dtype

    @property
    def example(self) -> NDArray[Any]:
        """A row of y."""
        return self.y[:1]

    def taken(self, which: NDArray[np.intp]) -> InMemory:
        """Copies of some of the rows."""
        return InMemory(self.X[which], self.y[which], None if self.sample_weight is None else self.sample_weight[which], None)

    def begin(self, estimator, network):
        data, rows, held_out = network.training_set(*self[:3]), None, self.given
        if estimator.early_stopping and self.given is None:
            # Only two classes are stratified, as in scikit-learn.
            stratify = self.y if estimator._is_classifier and self.y.ndim == 2 and self.y.shape[1] == 1 else None
            rows, others = split_rows(data.n_samples, estimator.validation_fraction, estimator._random_state, stratify)
            held_out = Rows(data.rows[others], self.y[others], None if self.sample_weight is None else self.sample_weight[others])
        return RowsOfSet(data, rows, held_out)


def joined(parts: Sequence[InMemory]) -> InMemory:
    """The rows of parts, one after the other."""
    X, y, weight = zip(*(part[:3] for part in parts), strict=True)
    if is_sparse(X[0]):
        from scipy.sparse import vstack  # here, because importing it takes a while

        X = vstack(X, format="csr")
    else:
        X = np.concatenate(X)
    return InMemory(X, np.concatenate(y), None if weight[0] is None else np.concatenate(weight), None)


class RowsOfSet(EpochRows):
    """Rows of a `TrainingSet`."""

    def __init__(self, data: TrainingSet, rows: NDArray[np.intp] | None, held_out: Rows | None) -> None:
        self._data, self.left_by_split, self.held_out = data, rows, held_out
        self.n_rows = data.n_samples if rows is None else len(rows)

    def epochs(self, network, n_rows, optimizer, rates, random_state, **options):
        rows = np.arange(self.n_rows) if self.left_by_split is None else self.left_by_split
        runner = loop.NetworkEpochs(network, self._data, n_rows, optimizer, rates, **options)
        return runner, partial(_first_rows, loop.shuffled_orders(rows, random_state), n_rows)


def _first_rows(orders, n_rows, n_epochs):
    made = orders(n_epochs)
    return made if made.shape[1] == n_rows else np.ascontiguousarray(made[:, :n_rows])

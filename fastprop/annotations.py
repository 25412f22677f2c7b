"""Types that the annotations of public functions share; those of the kernels are in `kernels.annotations`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .kernels.annotations import ActivationName, FloatDType, Floats, Integers, LossName, Sparse

# A matrix, dense or sparse. A data frame is array-like.
MatrixLike: TypeAlias = ArrayLike | Sparse
# The same, or nested lists with strings and missing values.
TableLike: TypeAlias = MatrixLike | Sequence[Sequence[Any]]


class Chunks(Protocol):
    """A sequence of chunks (X, y) or (X, y, sample_weight)."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> tuple[Any, ...]: ...


# A source of chunks that can be read several times.
ChunkSource: TypeAlias = Chunks | Iterable[tuple[Any, ...]] | Callable[[], Iterable[tuple[Any, ...]]]
# Seeds and generators of fastprop.nn; the estimators, like scikit-learn's, do not take a Generator. A string, because NumPy imports
# numpy.random when it is first used.
RandomSource: TypeAlias = "int | np.integer[Any] | np.random.Generator | np.random.RandomState | None"


class AnyLoss(Protocol):
    """A loss of `fastprop.nn`, or a user's object with the same methods."""

    def __call__(self, outputs: Any, y: Any, /) -> Any:
        """The loss, a number."""

    def backward(self) -> Any:
        """The gradient of the last value with respect to the outputs."""


__all__ = [
    "ActivationName",
    "AnyLoss",
    "ArrayLike",
    "ChunkSource",
    "FloatDType",
    "Floats",
    "Integers",
    "LossName",
    "MatrixLike",
    "RandomSource",
    "Sparse",
    "TableLike",
]

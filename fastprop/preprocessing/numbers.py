"""Columns of numbers: scaling, piecewise linear encoding, and indicators of missing values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..annotations import Floats
from .encodings import Encoding
from .frames import Table

MAX = np.finfo(np.float64).max
# The largest distance of a scaled number from the median: there, `smooth_scaled` has long reached its limit of 3.
FARTHEST = 1e100


@dataclass
class ScaledNumber(Encoding):
    """z / sqrt(1 + (z / 3)^2) of z = (x - median) / scale."""

    kind: ClassVar[str] = "plain"
    n: ClassVar[int] = 1
    feature: int
    median: float
    scale: float

    @classmethod
    def fit(cls, feature: int, ordered: NDArray[np.float64]) -> Self:
        """From a column's sorted numbers, which are not all equal: the scale is the interquartile range, or half the whole range if
        that is 0."""
        low, median, high = quantiles(ordered, [0.25, 0.5, 0.75])
        with np.errstate(over="ignore"):
            middle, whole = np.minimum([high - low, ordered[-1] - ordered[0]], MAX)
        return cls(feature, float(median), float(middle or whole / 2 or whole))  # half of the smallest number is 0

    def names(self, features: list[str]) -> list[str]:
        return [features[self.feature]]

    def encode(self, table: Table, out: Floats) -> None:
        smooth_scaled(imputed(table[self.feature].numbers, self.median), self.median, self.scale, out)

    def slopes(self, table: Table) -> NDArray[np.float64]:
        x = table[self.feature].numbers[:, None]
        with np.errstate(over="ignore", under="ignore"):
            z = np.clip((x - self.median) / self.scale, -FARTHEST, FARTHEST)
            return np.where(np.isnan(x), 0, (1 + (z / 3) ** 2) ** -1.5 / self.scale)


@dataclass(eq=False)
class PiecewiseLinear(Encoding):
    """The bin of a number and its relative position in the bin, as one number from 0 to the number of bins."""

    kind: ClassVar[str] = "piecewise_linear"
    feature: int
    median: float
    edges: NDArray[np.float64]

    @classmethod
    def fit(cls, feature: int, ordered: NDArray[np.float64], n_bins: int) -> Self:
        """From a column's sorted numbers: edges near their quantiles, and half as many near quantiles of the distinct numbers, so
        that a column in which one number prevails has edges among the others, too. All edges except the first and the last are
        halfway between two neighbouring numbers."""
        distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
        near = [quantiles(values, np.arange(1, n) / n) for values, n in ((ordered, n_bins), (distinct, n_bins // 2)) if n > 1]
        right = np.clip(np.searchsorted(distinct, np.concatenate([*near, []])), 1, len(distinct) - 1)
        between = distinct[right - 1] / 2 + distinct[right] / 2
        return cls(feature, float(quantiles(ordered, [0.5])[0]), np.unique([*between, ordered[0], ordered[-1]]))

    @property
    def n(self) -> int:
        """The number of bins."""
        return len(self.edges) - 1

    def names(self, features: list[str]) -> list[str]:
        return [f"{features[self.feature]}_bin{i}" for i in range(self.n)]

    def encode(self, table: Table, out: Floats) -> None:
        piecewise_positions(imputed(table[self.feature].numbers, self.median), self.edges, out)

    def slopes(self, table: Table) -> NDArray[np.float64]:
        x, slopes = table[self.feature].numbers, np.zeros((len(table), self.n))
        inside = np.flatnonzero((x >= self.edges[0]) & (x <= self.edges[-1]))
        bins, widths = bins_of(x[inside], self.edges)
        slopes[inside, bins] = 1 / widths
        return slopes


@dataclass
class MissingIndicator(Encoding):
    """Whether a number is missing."""

    kind: ClassVar[str] = "one_hot"
    n: ClassVar[int] = 1
    feature: int

    def names(self, features: list[str]) -> list[str]:
        return [f"{features[self.feature]}_missing"]

    def encode(self, table: Table, out: Floats) -> None:
        out[...] = np.where(np.isnan(table[self.feature].numbers), 0, -1)

    def slopes(self, table: Table) -> NDArray[np.float64]:
        return np.zeros((len(table), 1))


def number_columns(
    feature: int, numbers: NDArray[np.float64], rows: slice | NDArray[np.intp], encoding: str, n_bins: int
) -> list[Encoding]:
    """The encodings of a column of numbers; quantiles are computed from the given rows."""
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        return []
    columns: list[Encoding] = []
    ends = present.min(), present.max()
    if ends[0] < ends[1]:
        sample = numbers[rows]
        ordered = np.sort(sample[~np.isnan(sample)])
        if len(ordered) < len(present):
            ordered = np.concatenate([ends[:1], ordered, ends[1:]])
        columns.append(ScaledNumber.fit(feature, ordered))
        if encoding == "piecewise_linear":
            columns.append(PiecewiseLinear.fit(feature, ordered, n_bins))
    return columns + [MissingIndicator(feature)] * (len(present) < len(numbers))


def smooth_scaled(x: NDArray[np.float64], median: float, scale: float, out: Floats) -> None:
    """z / sqrt(1 + (z / 3)^2) of z = (x - median) / scale, without overflow for any finite numbers."""
    with np.errstate(over="ignore", under="ignore"):
        z = np.clip((x - median) / scale, -FARTHEST, FARTHEST)
        out[...] = z / np.sqrt(1 + (z / 3) ** 2)


def piecewise_positions(x: NDArray[np.float64], edges: NDArray[np.float64], out: Floats) -> None:
    """The number of x's bin plus (x - left edge) / width; outside of all bins, 0 or the number of bins."""
    bins, widths = bins_of(x, edges)
    with np.errstate(over="ignore", under="ignore"):
        out[...] = bins + np.clip((x - edges[bins]) / widths, 0, 1)


def bins_of(x: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The bin of each number, and its width; the first or last bin for numbers outside of all."""
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    with np.errstate(over="ignore"):
        return bins, np.minimum(np.diff(edges), MAX)[bins]


def imputed(x: NDArray[np.float64], median: float) -> NDArray[np.float64]:
    """The numbers with the median where one is missing."""
    missing = np.isnan(x)
    return np.where(missing, median, x) if missing.any() else x


def quantiles(ordered: NDArray[np.float64], q) -> NDArray[np.float64]:
    """Quantiles of sorted numbers, by linear interpolation: exact between equal numbers, and without overflow."""
    places = np.asarray(q) * (len(ordered) - 1)
    left = places.astype(np.intp)
    a, b = ordered[left], ordered[np.minimum(left + 1, len(ordered) - 1)]
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(a + (places - left) * np.minimum(b - a, MAX), a, b)

"""Targets of regression on their way to the networks and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..annotations import ArrayLike, Floats

# Bound of the networks' targets, so that their squares do not overflow in float32.
FARTHEST = 1e9
# The least value of targets that must be positive; smaller ones would be 0 in float32.
LEAST = 1e-30


def require_no_gaps(y: ArrayLike) -> None:
    """Raise an error if targets are missing: None, NaN, or pandas' NA and NaT."""
    values = _as_given(y)
    if values.dtype.kind not in "fO":
        return
    gaps = np.isnan(values) if values.dtype.kind == "f" else np.vectorize(_is_gap, otypes=[bool])(values)
    if gaps.any():
        first = int(np.argmax(gaps.reshape(len(values), -1).any(axis=1)))
        raise ValueError(f"y must have no missing values (NaN, None); the first is in row {first}: leave such rows out")


def require_numbers(y: ArrayLike) -> None:
    """Raise an error if targets of a regression are not numbers, such as names of classes."""
    values = _as_given(y)
    if values.dtype.kind in "OUS" and not _are_numbers(values):
        row = next(i for i in range(len(values)) if not _are_numbers(values[i]))
        raise ValueError(f"y must be numbers; got {values[row]} in row {row}. TabularClassifier is for classes")


def _are_numbers(values):
    try:
        np.asarray(values).astype(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _as_given(y):
    """y, with the numbers and other things of a list as they are; an empty array where it is none of one or two dimensions."""
    try:
        values = np.asarray(y, None if hasattr(y, "dtype") else object)
    except ValueError:  # lists of different lengths, which the checks of y name
        return np.empty(0)
    return values if values.ndim in (1, 2) else np.empty(0)


def _is_gap(value):
    # pandas' NA has no truth value, even compared with itself.
    is_nan = isinstance(value, float | np.floating) and value != value
    return value is None or is_nan or type(value).__name__ in {"NAType", "NaTType"}


def near_one(sample_weight: Floats) -> Floats:
    """Weights, divided by a power of two so that the largest fits into float32; only their proportions count."""
    exponent = np.frexp(np.abs(sample_weight).max())[1]
    return np.ldexp(sample_weight, -exponent)


@dataclass(frozen=True)
class Scale:
    """y = size * (location + deviation * t) for each output, where the networks learn t; and the range of y in training data.

    ``size`` is the largest magnitude in y. Divided by it, all numbers are at most 1, so that nothing overflows or is rounded to 0.
    """

    size: Floats
    location: Floats
    deviation: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, y: Floats, sample_weight: Floats | None, positive: bool) -> Self:
        """From targets (n, n_outputs): mean and standard deviation, or 0 and the mean of ``positive`` ones."""
        if sample_weight is not None:
            counted = sample_weight != 0
            y, sample_weight = y[counted], near_one(np.abs(sample_weight[counted]))  # with negative ones their sum may be 0
        lowest, highest = y.min(axis=0), y.max(axis=0)
        size = np.maximum(np.abs(lowest), np.abs(highest))
        size[size == 0] = 1
        relative = y / size
        mean = np.average(relative, axis=0, weights=sample_weight)
        if positive:
            return cls(size, np.zeros_like(size), np.where(mean > 0, mean, 1), lowest, highest)
        deviation = np.sqrt(np.average((relative - mean) ** 2, axis=0, weights=sample_weight))
        # A deviation below the rounding errors of the mean counts as none.
        deviation[deviation < 1e-12] = 1
        return cls(size, mean, deviation, lowest, highest)

    def network_targets(self, y: Floats) -> Floats:
        """t of y."""
        with np.errstate(over="ignore"):  # validation rows may be far from what the scale was made of
            targets = (y / self.size - self.location) / self.deviation
        return np.clip(targets, -FARTHEST, FARTHEST)

    def mean_and_std(self, outputs: Iterable[Floats], weights: Floats) -> tuple[Floats, Floats]:
        """The weighted mean and standard deviation of y over several networks' t, each limited to the range of training data."""
        low, high = self.lowest / self.size, self.highest / self.size
        relative = np.stack([np.clip(self.location + self.deviation * t, low, high) for t in outputs])
        mean = np.average(relative, axis=0, weights=weights)
        std = np.sqrt(np.average((relative - mean) ** 2, axis=0, weights=weights))
        return np.clip(mean * self.size, self.lowest, self.highest), std * self.size

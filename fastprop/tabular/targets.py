"""Targets of regression on their way to the networks and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..annotations import Floats


@dataclass(frozen=True)
class Scale:
    """y = location + scale * t of each output, where the networks learn t; and the range of y in training data."""

    location: Floats
    scale: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, y: Floats, sample_weight: Floats | None, positive: bool) -> Self:
        """From targets (n, n_outputs): mean and standard deviation, or 0 and the mean of ``positive`` ones.

        Numbers that are all the same have the scale of their size.
        """
        lowest, highest = y.min(axis=0), y.max(axis=0)
        size = np.maximum(np.abs(lowest), np.abs(highest))
        size[size == 0] = 1
        # Divided by the largest number, nothing overflows.
        relative = y / size
        mean = np.average(relative, axis=0, weights=sample_weight)
        if positive:
            return cls(np.zeros_like(size), np.where(mean > 0, mean, 1) * size, lowest, highest)
        deviation = np.sqrt(np.average((relative - mean) ** 2, axis=0, weights=sample_weight))
        # What is below the rounding errors of the mean is none.
        deviation[deviation < 1e-12] = 1
        return cls(mean * size, deviation * size, lowest, highest)

    def network_targets(self, y: Floats) -> Floats:
        """t of y."""
        return (y - self.location) / self.scale

    def predictions(self, outputs: Floats) -> Floats:
        """y of t, within the range of training data."""
        with np.errstate(over="ignore"):
            return np.clip(self.location + self.scale * outputs, self.lowest, self.highest)

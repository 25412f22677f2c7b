"""Learning rates as functions of the step: factors of ``learning_rate_init``, for every stochastic solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Steps: TypeAlias = NDArray[np.float64]
ScheduleName: TypeAlias = Literal["constant", "invscaling", "adaptive", "cosine", "one_cycle", "coslog4"]

# PyTorch's defaults of OneCycleLR: the fraction of steps in which the rate rises; highest rate / first rate, first / last.
RISING, HIGHEST_OVER_FIRST, FIRST_OVER_LAST = 0.3, 25.0, 1e4


def _cosine(steps: Steps, n_steps: int) -> Steps:
    return (1 + np.cos(np.pi * steps / n_steps)) / 2


def _coslog4(steps: Steps, n_steps: int) -> Steps:
    return (1 - np.cos(2 * np.pi * np.log2(1 + 15 * steps / n_steps))) / 2


def _one_cycle(steps: Steps, n_steps: int) -> Steps:
    top, end = max(0.0, RISING * n_steps - 1), max(1.0, n_steps - 1)
    first = 1 / HIGHEST_OVER_FIRST
    rising = _annealed(first, 1.0, steps / max(top, 1.0))
    falling = _annealed(1.0, first / FIRST_OVER_LAST, (steps - top) / max(end - top, 1.0))
    return np.where(steps < top, rising, falling)


def _annealed(start, end, share):
    return end + (start - end) / 2 * (1 + np.cos(np.pi * share))


# name -> factors for the steps, counted from 0, of n_steps in all
SHAPES = {"cosine": _cosine, "one_cycle": _one_cycle, "coslog4": _coslog4}


class Schedule(NamedTuple):
    """Factors of the learning rate over a training of ``n_epochs``.

    ``shape`` is a name of `SHAPES`, a function of the fraction of steps done, or None for 1. The first fraction ``warmup`` of all
    steps is rounded to W steps: step k of them, from 0, has the factor (k + 1) / (W + 1). The shape covers the steps after them.
    """

    shape: str | Callable[[float], float] | None
    warmup: float
    n_epochs: int

    def factors(self, first_epoch: int, n_epochs: int, n_steps: int) -> Steps:
        """The factors for all steps of n_epochs epochs of n_steps each; epochs after the last one have its last factor."""
        n_all = self.n_epochs * n_steps
        steps = np.minimum(np.arange(first_epoch * n_steps, (first_epoch + n_epochs) * n_steps), n_all - 1)
        n_warm = round(self.warmup * n_all)
        is_warm = steps < n_warm
        shaped = self._shaped(np.maximum(steps - n_warm, 0).astype(np.float64), max(n_all - n_warm, 1))
        return np.where(is_warm, (steps + 1) / (n_warm + 1), shaped)

    def _shaped(self, steps, n_steps):
        if self.shape is None:
            return np.ones(len(steps))
        if isinstance(self.shape, str):
            return SHAPES[self.shape](steps, n_steps)
        return np.array([self._factor(share) for share in (steps / n_steps).tolist()])

    def _factor(self, share):
        factor = self.shape(share)
        is_number = np.ndim(factor) == 0 and np.asarray(factor).dtype.kind in "biuf"
        if not is_number or not 0 <= factor < math.inf:
            raise ValueError(f"learning_rate must return factors that are finite and not negative; got {factor!r} for {share}")
        return float(factor)


def schedule_of(learning_rate: ScheduleName | Callable[[float], float], warmup: float, n_epochs: int) -> Schedule | None:
    """The schedule for an estimator's parameters; None if scikit-learn's own schedules are enough."""
    shape = learning_rate if callable(learning_rate) or learning_rate in SHAPES else None
    return None if shape is None and warmup == 0 else Schedule(shape, warmup, n_epochs)

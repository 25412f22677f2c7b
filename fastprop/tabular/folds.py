"""Which rows each member holds out for validation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..annotations import Integers
from . import recipe


def held_out_rows(
    n_rows: int, fraction: float, n_members: int, classes: Integers | None, rotates: bool, random_state: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """The rows that each member holds out, a fraction ``fraction`` of all, with each class in proportion.

    If ``rotates`` is true, each member holds out the next rows of one order, so that most members train on any given row.
    Otherwise all hold out the same ones, at most `recipe.MOST_HELD_OUT`.
    """
    n_held_out = math.ceil(n_rows * fraction)
    if not 1 <= n_held_out < n_rows:
        raise ValueError(
            f"n_samples = {n_rows} with validation_fraction={fraction} leaves {n_held_out} rows to validate on and "
            f"{n_rows - n_held_out} to train on; both must be at least 1. Give more rows, X_val and y_val, or early_stopping=False"
        )
    if not rotates:
        n_held_out = min(n_held_out, recipe.MOST_HELD_OUT)
    order = random_state.permutation(n_rows)
    if classes is not None:
        order = order[np.argsort(_places(classes[order]), kind="stable")]
    starts = [member * n_held_out if rotates else 0 for member in range(n_members)]
    return [np.sort(order[(start + np.arange(n_held_out)) % n_rows]) for start in starts]


def _places(classes):
    """A position between 0 and 1 for each row, so that the rows of each class are evenly spread."""
    places, by_class = np.empty(len(classes)), np.argsort(classes, kind="stable")
    for rows in np.split(by_class, np.flatnonzero(np.diff(classes[by_class])) + 1):
        places[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return places

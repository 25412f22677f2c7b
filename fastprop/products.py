"""How a `Network` multiplies in predictions of lower precision than float32: bfloat16, or 8-bit codes with scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .annotations import ArrayLike, Floats
from .kernels import checks
from .kernels.int8 import NO_CODES, NO_SCALES, quantized, reads_int8
from .precision import PREDICTION_PRECISIONS, PredictionPrecision, has_many_weights
from .training_set import aligned

if TYPE_CHECKING:
    from .network import Network

# The number of calibration rows that go through a network at a time.
CALIBRATED_AT_ONCE = 4096


class Products(NamedTuple):
    """How the products of a prediction are computed, as `bind_forward` of the back ends takes it.

    Parameters
    ----------
    bfloat16 : bool
        Whether they use bfloat16.
    codes : ndarray of int8
        The codes that they use instead of weights; empty if they use the weights.
    scales : ndarray of float32
        The numbers that go with the codes, see `kernels.int8`.
    """

    bfloat16: bool = False
    codes: NDArray[Any] = NO_CODES
    scales: NDArray[Any] = NO_SCALES


def products_of(network: Network, precision: PredictionPrecision, calibration: ArrayLike | None) -> Products:
    """How a network computes its products in a precision.

    Parameters
    ----------
    network : Network
        The network, in float32 if there is a precision.
    precision : {'bfloat16', 'int8'} or None
        The precision that is allowed.
    calibration : array-like, shape (n, n_in), or None
        Rows from which the ranges of values are taken, only for int8.

    Returns
    -------
    Products
        The products; those of the weights themselves if bfloat16 would not be faster.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    checks.option("precision", precision, dict.fromkeys(PREDICTION_PRECISIONS))
    if precision != "int8" and calibration is not None:
        raise ValueError(f"calibration is only for precision='int8'; got precision={precision!r}")
    if precision is None or (precision == "bfloat16" and not has_many_weights(network.layers)):
        return Products()
    if precision == "bfloat16":
        return Products(bfloat16=True)
    rows = [i for i, layer in enumerate(network.layers) if reads_int8(layer)]
    ranges = [None] * len(rows) if calibration is None else _ranges(network, rows, _checked(calibration, network.sizes[0]))
    return Products(False, *quantized(network.layers, network.params, ranges))


def _checked(calibration, n_in) -> Floats:
    rows = aligned(calibration, np.dtype(np.float32))
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != n_in or not np.isfinite(rows).all():
        raise ValueError(f"calibration must have shape (n, {n_in}), at least one row, and finite numbers; got shape {rows.shape}")
    return rows


def _ranges(network, rows, calibration):
    """For each of these rows of the layer table, the lowest and the highest value of each input, (2, n_in)."""
    ranges = []
    for row in rows:
        below = network._first_rows(row) if row else None
        lows, highs = [], []
        for start in range(0, len(calibration), CALIBRATED_AT_ONCE):
            values = calibration[start : start + CALIBRATED_AT_ONCE]
            values = values if below is None else below.forward(values)
            lows.append(values.min(axis=0))
            highs.append(values.max(axis=0))
        ranges.append(np.stack([np.min(lows, axis=0), np.max(highs, axis=0)]))
    return ranges

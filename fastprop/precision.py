"""Products in lower precision: the names of the precisions, when bfloat16 is used, and the data for it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from .kernels import checks
from .kernels.annotations import Layers
from .kernels.bfloat16 import rounded_bits
from .kernels.spec import KINDS, Rows

Precision: TypeAlias = Literal["bfloat16"] | None
PRECISIONS = (None, "bfloat16")
PredictionPrecision: TypeAlias = Literal["bfloat16", "int8"] | None
PREDICTION_PRECISIONS = (*PRECISIONS, "int8")

# Products in float32 may be faster if a network has fewer weights than this, or a batch fewer rows. Layers with fewer inputs or
# outputs than FEWEST_UNITS do not count. The rule does not use the processor, so that a model does not depend on it. See
# docs/tuning.md, where bfloat16 pays.
FEWEST_WEIGHTS, FEWEST_ROWS, FEWEST_UNITS = 1500, 32, 8


def trains_in_bfloat16(precision: Precision, layers: Layers, rows: Rows, dtype: np.dtype[Any], batch_size: int) -> bool:
    """Whether training uses bfloat16: it is allowed, and expected to be faster.

    Parameters
    ----------
    precision : {'bfloat16'} or None
        The precision that is allowed.
    layers : ndarray of `kernels.spec.LAYER`
        The network's layer table.
    rows : spec.Rows
        The rows to train on.
    dtype : dtype
        The dtype of the parameters.
    batch_size : int
        The number of rows in a mini-batch.

    Returns
    -------
    bool
        Whether products use bfloat16.

    Raises
    ------
    ValueError
        If there is no such precision, or if it is given for parameters that are not float32.
    """
    checks.option("precision", precision, dict.fromkeys(PRECISIONS))
    if precision is None:
        return False
    if dtype != np.float32:
        raise ValueError(f"precision={precision!r} is only for float32 networks; got {np.dtype(dtype).name}")
    # The product of sparse or encoded rows is never in bfloat16, so the first layer does not count then.
    return batch_size >= FEWEST_ROWS and has_many_weights(layers, int(_is_direct(rows)))


def has_many_weights(layers: Layers, first: int = 0) -> bool:
    """Whether a network, from one of its linear rows on, has enough weights for bfloat16 products to be faster.

    Parameters
    ----------
    layers : ndarray of `kernels.spec.LAYER`
        The network's layer table.
    first : int
        The first of its linear rows that counts.

    Returns
    -------
    bool
        Whether there are at least FEWEST_WEIGHTS.
    """
    linear = layers[layers["kind"] == KINDS["linear"]][first:]
    deep = np.minimum(linear["n_in"], linear["n_out"]) >= FEWEST_UNITS
    return int(linear["n_in"] @ (linear["n_out"] * deep)) >= FEWEST_WEIGHTS


def rows_in_bfloat16(rows: Rows) -> Rows:
    """The rows for products that use bfloat16: dense X is rounded; sparse and encoded X stay, as no such product uses them.

    Parameters
    ----------
    rows : spec.Rows
        The rows in float32.

    Returns
    -------
    spec.Rows
        The rows, with the same targets and weights.
    """
    return rows if _is_direct(rows) else rows._replace(x=rounded_bits(rows.x))


def _is_direct(rows):
    """Whether X is sparse or encoded."""
    return bool(rows.indices.size or rows.indptr.size)

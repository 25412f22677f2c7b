"""Settings of the estimators for tables that are not parameters, and defaults. See docs/tuning.md, networks for tables."""

from __future__ import annotations

from typing import Any

ACTIVATION = "silu"
LEARNING_RATE = 0.01
# The decay of the moving average of the weights, which is validated and kept; the decay of the squared gradients; the fraction of
# the epochs in which the learning rate rises; and after how many epochs without a lower validation loss training ends.
EMA_DECAY, BETA_2, WARMUP, PATIENCE = 0.97, 0.95, 1 / 16, 6
# A member's weight is its validation loss to minus this power.
POWER = 4.0

# With more rows than the first number, all members share one encoding and one order of rows, and hold out the same rows, at most as
# many as the second number: anything else would take more memory and gain little.
ROWS_OF_ONE_VIEW, MOST_HELD_OUT = 100_000, 50_000


def batch_size(n_rows: int) -> int:
    """128; with few rows, as many as give eight steps in an epoch, but at least 16."""
    return min(128, max(16, n_rows // 8))


# The parameters that `from_preset` sets.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"hidden_layer_sizes": (64, 64), "max_iter": 16, "learning_rate_init": 0.02},
    "accurate": {},
}

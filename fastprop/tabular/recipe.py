"""What the estimators for tables do where their parameters leave it open. docs/tuning.md has the experiments, tables of numbers."""

from __future__ import annotations

from typing import Any

ACTIVATION = "silu"
LEARNING_RATE = 0.01
# The decay of the moving average of the weights that is validated and kept; of squared gradients; the share of the epochs in which
# the learning rate rises; and after how many epochs without a lower validation loss training ends.
EMA_DECAY, BETA_2, WARMUP, PATIENCE = 0.97, 0.95, 1 / 16, 6
# A member's weight is its validation loss to minus this power.
POWER = 4.0

# With more rows all members have the same encoding and the same order of rows, and hold out the same ones, at most so many: more
# would take memory and gain little.
ROWS_OF_ONE_VIEW, MOST_HELD_OUT = 100_000, 50_000


def batch_size(n_rows: int) -> int:
    """128, but of few rows so many that an epoch has eight steps, and at least 16."""
    return min(128, max(16, n_rows // 8))


# What `from_preset` sets.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"hidden_layer_sizes": (64, 64), "max_iter": 16, "learning_rate_init": 0.02},
    "accurate": {},
}

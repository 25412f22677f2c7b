"""What the estimators for tables do where their parameters leave it open. docs/tuning.md has the experiments, tables of numbers."""

from __future__ import annotations

from typing import Any

ACTIVATION = "silu"
LEARNING_RATE = 0.01
BATCH_SIZE = 128
# The decay of the moving average of the weights that is validated and kept; of squared gradients; the share of the epochs in which
# the learning rate rises; and after how many epochs without a lower validation loss training ends.
EMA_DECAY, BETA_2, WARMUP, PATIENCE = 0.97, 0.95, 1 / 16, 6
# A member's weight is its validation loss to minus this power.
POWER = 4.0

# With more rows all members hold out the same ones and have the same encoding: several would take memory and gain little.
ROWS_OF_ONE_VIEW = 100_000

# What `from_preset` sets.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"hidden_layer_sizes": (64, 64), "max_iter": 16, "learning_rate_init": 0.02},
    "accurate": {},
}

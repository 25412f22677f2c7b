"""Networks for tables: `TabularClassifier` and `TabularRegressor`."""

from .classifier import TabularClassifier
from .regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]

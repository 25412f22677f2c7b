"""Networks for tables: `TabularClassifier` and `TabularRegressor`."""

from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
from .classifier import TabularClassifier
from .regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]

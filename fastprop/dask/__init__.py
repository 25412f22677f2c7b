"""Training on the partitions of a Dask cluster: `DaskMLPClassifier` and `DaskMLPRegressor`. Needs ``fastprop-mlp[dask]``."""

from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
from .classifier import DaskMLPClassifier
from .regressor import DaskMLPRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor"]

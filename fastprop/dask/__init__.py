"""Training on the partitions of a Dask cluster: `DaskMLPClassifier` and `DaskMLPRegressor`. Needs ``fastprop-mlp[dask]``."""

from .classifier import DaskMLPClassifier
from .regressor import DaskMLPRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor"]

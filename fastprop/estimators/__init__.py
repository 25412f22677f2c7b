"""scikit-learn's multi-layer perceptrons on the compiled core: same parameters, attributes, random stream and results."""

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

"""scikit-learn's multi-layer perceptrons on the compiled core: same parameters, attributes, random stream and results."""

from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

"""The estimators for subclasses that override scikit-learn's private methods under `patch_sklearn`; see `subclassing`.

Training and prediction run scikit-learn's code, with its optimizer. An estimator is stored as scikit-learn stores it.
"""

from typing import ClassVar

from sklearn.base import BaseEstimator
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils.validation import check_is_fitted

from ..scikit_learns import NAMES, scikit_learns_class
from .classifier import MLPClassifier
from .interop import fastprops_optimizer, scikit_learns_optimizer
from .regressor import MLPRegressor
from .weights import CURVES

THEIR_CLASSIFIER, THEIR_REGRESSOR = map(scikit_learns_class, NAMES)


class ScikitLearnsCode:
    """Must come before fastprop's estimator among the bases."""

    _runs_scikit_learn = True

    def _fit(self, X, y, sample_weight=None, incremental=False):
        self._check_scikit_learn_can(vars(self).pop("_validation_given", {}))
        return BaseMultilayerPerceptron._fit(self, X, y, sample_weight=sample_weight, incremental=incremental)

    def _outputs(self, X):
        check_is_fitted(self)
        return self._forward_pass_fast(X)

    def predictor(self, x, out, n_threads=1, *, precision=None, calibration=None):
        raise TypeError(f"{type(self).__name__} runs scikit-learn's code, which has no bare forward pass; use predict")

    def __getstate__(self):
        return BaseEstimator.__getstate__(self)

    def __setstate__(self, state):
        state = {name: value for name, value in state.items() if name != "_sklearn_version"}
        # The stored object may be of a subclass of the same name that ran fastprop's code.
        if isinstance(state.get("_optimizer"), dict):
            state["_optimizer"] = scikit_learns_optimizer(fastprops_optimizer(state["_optimizer"]))
        for name in CURVES:
            if state.get(name) is not None:
                state[name] = list(state[name])
        BaseEstimator.__setstate__(self, state)


class Classifier(ScikitLearnsCode, MLPClassifier):
    """MLPClassifier on scikit-learn's code."""

    _parameter_constraints: ClassVar[dict] = MLPClassifier._parameter_constraints | THEIR_CLASSIFIER._parameter_constraints
    predict, predict_proba = THEIR_CLASSIFIER.predict, THEIR_CLASSIFIER.predict_proba


class Regressor(ScikitLearnsCode, MLPRegressor):
    """MLPRegressor on scikit-learn's code."""

    _parameter_constraints: ClassVar[dict] = MLPRegressor._parameter_constraints | THEIR_REGRESSOR._parameter_constraints
    predict = THEIR_REGRESSOR.predict

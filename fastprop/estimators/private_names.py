"""scikit-learn's private methods, which public code calls and overrides.

fastprop's own training and prediction are compiled and call none of them. They are the functions of the installed scikit-learn
itself, so their signatures and results are those of its version.
"""

from functools import wraps
from types import MethodType

from sklearn.metrics import accuracy_score, r2_score

from ..scikit_learns import scikit_learns_class
from .interop import scikit_learns_optimizer
from .scikit_learns_limits import check_scikit_learn_has

# The methods that fastprop's estimators have and never call -> the public alternative.
SET_WEIGHTS = "set coefs_ and intercepts_ and continue with partial_fit, or with fit and warm_start=True"
OWN_NETWORK = "pass an activation of your own as activation=, or train a fastprop.nn.Sequential with a loss of your own"
OWN_LOOP = "stop in a loop over partial_fit, or by a callback of scikit-learn's"
OWN_METHOD = "override fit, partial_fit or predict"
NEVER_CALLED = {
    "_backprop": OWN_NETWORK,
    "_compute_loss_grad": OWN_NETWORK,
    "_forward_pass": OWN_NETWORK,
    "_forward_pass_fast": OWN_NETWORK,
    "_loss_grad_lbfgs": OWN_NETWORK,
    "_fit_stochastic": OWN_NETWORK,
    "_fit_lbfgs": OWN_NETWORK,
    "_init_coef": SET_WEIGHTS,
    "_initialize": SET_WEIGHTS,
    "_unpack": SET_WEIGHTS,
    "_update_no_improvement_count": OWN_LOOP,
    "_score": OWN_LOOP,
    "_score_with_function": OWN_LOOP,
    "_validate_input": OWN_METHOD,
    "_predict": OWN_METHOD,
}


class TheirMethod:
    """The function of the same name in scikit-learn's class. It is looked up when it is used, as fastprop does not import that
    module.

    Called for an estimator, it raises an error if a parameter that it does not know would change its result.
    """

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, estimator, cls):
        function = getattr(scikit_learns_class(cls._scikit_learns_name()), self._name)
        if estimator is None:
            return function

        @wraps(function)
        def checked(estimator, *arguments, **options):
            check_scikit_learn_has(estimator, self._name)
            return function(estimator, *arguments, **options)

        return MethodType(checked, estimator)


class PrivateNamesMixin:
    """Needs scikit-learn's parameters and, once fitted, scikit-learn's attributes."""

    _backprop = TheirMethod()
    _compute_loss_grad = TheirMethod()
    _forward_pass = TheirMethod()
    _forward_pass_fast = TheirMethod()
    _loss_grad_lbfgs = TheirMethod()
    _fit_lbfgs = TheirMethod()
    _init_coef = TheirMethod()
    _initialize = TheirMethod()
    _unpack = TheirMethod()
    _update_no_improvement_count = TheirMethod()
    _score_with_function = TheirMethod()
    _validate_input = TheirMethod()
    _predict = TheirMethod()

    # The originals of these two would not run: one needs scikit-learn's optimizer, the other an instance of scikit-learn's class.

    def _fit_stochastic(self, X, y, sample_weight, activations, deltas, coef_grads, intercept_grads, layer_units, incremental):
        check_scikit_learn_has(self, "_fit_stochastic")
        if "_optimizer" in vars(self):
            self._optimizer = scikit_learns_optimizer(self._optimizer)
        fit = scikit_learns_class(self._scikit_learns_name())._fit_stochastic
        fit(self, X, y, sample_weight, activations, deltas, coef_grads, intercept_grads, layer_units, incremental)

    def _score(self, X, y, sample_weight=None):
        score = accuracy_score if self._is_classifier else r2_score
        # An overridden `_score_with_function` is not called, as in scikit-learn.
        return vars(PrivateNamesMixin)["_score_with_function"].__get__(self, type(self))(X, y, sample_weight, score)

    # Called by fastprop too

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError(f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic.")
        return True

    @classmethod
    def _scikit_learns_name(cls):
        return "MLPClassifier" if cls._is_classifier else "MLPRegressor"

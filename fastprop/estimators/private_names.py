"""scikit-learn's private methods, which public code calls and overrides.

fastprop's own training and prediction are compiled and call none of them. They are the functions of the installed scikit-learn
itself, so their signatures and results are those of its version.
"""

from functools import wraps

from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron

from ..interop import scikit_learns_optimizer

# The methods that fastprop's estimators have and never call -> what does the same in public.
SET_WEIGHTS = "set coefs_ and intercepts_ and go on with partial_fit, or with fit and warm_start=True"
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


class PrivateNamesMixin:
    """Needs scikit-learn's parameters and fitted attributes; `_validate_input`, `_predict` and `_score` are in the classes."""

    _backprop = BaseMultilayerPerceptron._backprop
    _compute_loss_grad = BaseMultilayerPerceptron._compute_loss_grad
    _forward_pass = BaseMultilayerPerceptron._forward_pass
    _forward_pass_fast = BaseMultilayerPerceptron._forward_pass_fast
    _loss_grad_lbfgs = BaseMultilayerPerceptron._loss_grad_lbfgs
    _fit_lbfgs = BaseMultilayerPerceptron._fit_lbfgs
    _init_coef = BaseMultilayerPerceptron._init_coef
    _initialize = BaseMultilayerPerceptron._initialize
    _unpack = BaseMultilayerPerceptron._unpack
    _update_no_improvement_count = BaseMultilayerPerceptron._update_no_improvement_count
    _score_with_function = BaseMultilayerPerceptron._score_with_function
    _check_solver = BaseMultilayerPerceptron._check_solver

    @wraps(BaseMultilayerPerceptron._fit_stochastic)
    def _fit_stochastic(self, *arguments, **options):
        if "_optimizer" in vars(self):
            self._optimizer = scikit_learns_optimizer(self._optimizer)
        return BaseMultilayerPerceptron._fit_stochastic(self, *arguments, **options)

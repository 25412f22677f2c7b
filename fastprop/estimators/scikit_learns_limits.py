"""Parameters, or values of them, that scikit-learn's code does not have, so that it would compute something else."""

import inspect
from functools import cache

import numpy as np
from sklearn.utils._param_validation import make_constraint

from ..scikit_learns import is_patched, scikit_learns_class
from .interop import class_of_ours

NETWORK = ("activation", "normalization")
GRADIENT = (*NETWORK, "loss", "dropout", "label_smoothing", "class_weight")
# fastprop's parameters that the results of scikit-learn's private methods depend on; None for all. Other methods depend on none.
MATTERS = {
    "_forward_pass": NETWORK,
    "_forward_pass_fast": NETWORK,
    "_predict": (*NETWORK, "quantile"),
    "_score_with_function": (*NETWORK, "quantile"),
    "_update_no_improvement_count": ("scoring",),
    "_backprop": GRADIENT,
    "_compute_loss_grad": GRADIENT,
    "_loss_grad_lbfgs": GRADIENT,
    "_init_coef": ("activation",),
    "_initialize": (*NETWORK, "loss"),
    "_fit_stochastic": None,
    "_fit_lbfgs": None,
}


def check_scikit_learn_has(estimator, method):
    """Raise an error if the result of scikit-learn's private method depends on a parameter that its code does not know."""
    names = MATTERS.get(method, ())
    found = beyond_scikit_learn(estimator, names)
    if names is not None and not getattr(estimator, "_has_quantiles", False):
        found.pop("quantile", None)  # outputs that are not sorted are predicted as they are
    if found:
        raise ValueError(f"{method} is scikit-learn's own code, which does not have {listed(found)}")


def beyond_scikit_learn(estimator, names=None):
    """{name: value} of the parameters that scikit-learn's code does not know; with ``names``, only among these."""
    cls, ours = type(estimator), class_of_ours(type(estimator))
    theirs = scikit_learns_class(cls._scikit_learns_name())
    defaults, found = _defaults(ours), {}
    # Code for scikit-learn's class may have its own parameters with the names of fastprop's.
    redefined = cls._get_param_names() if (is_patched() or cls._runs_scikit_learn) and cls.__init__ is not ours.__init__ else ()
    for name in [name for name in defaults if names is None or name in names]:
        value = getattr(estimator, name)
        if name in theirs._parameter_constraints:
            # If scikit-learn's code runs anyway, it has checked its own parameters.
            is_ours = not cls._runs_scikit_learn and _satisfies(ours, name, value) and not _satisfies(theirs, name, value)
        else:
            is_ours = name not in redefined and np.any(value != defaults[name])
        if is_ours:
            found[name] = value
    return found


def listed(parameters):
    """Parameters for a message."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


@cache
def _defaults(cls):
    """{name: default} of the parameters that affect results."""
    return {name: p.default for name, p in inspect.signature(cls.__init__).parameters.items() if name not in ("self", "n_jobs")}


def _satisfies(cls, name, value):
    return any(make_constraint(each).is_satisfied_by(value) for each in cls._parameter_constraints[name])

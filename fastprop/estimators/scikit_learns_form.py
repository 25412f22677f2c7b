"""The parts of an estimator that scikit-learn's class can have: its parameters, and weights with the norms folded in."""

from __future__ import annotations

import numpy as np

from .learning_rates import SHAPES
from .stopping import HISTORY, OPTIONAL
from .weights import LOSSES, NORMS, SCIKIT_LEARNS_ACTIVATIONS

# Attributes that scikit-learn's estimators do not have
OWN_ATTRIBUTES = (*(HISTORY[name] for name in OPTIONAL), *NORMS)
SCIKIT_LEARNS_SOLVERS = ("lbfgs", "sgd", "adam")


def scikit_learns_parameters(estimator, names):
    """The parameters of these names; a TypeError names one that scikit-learn's class cannot express."""
    _check_expressible(estimator)
    given = {name: getattr(estimator, name) for name in names}
    one = _one_activation(estimator.activation)
    given["activation"] = one if one in SCIKIT_LEARNS_ACTIVATIONS else "relu"  # if there is no hidden layer
    given["solver"] = estimator.solver if estimator.solver in SCIKIT_LEARNS_SOLVERS else "adam"
    if callable(estimator.learning_rate) or estimator.learning_rate in SHAPES:
        given["learning_rate"] = "constant"
    if "loss" in given:  # of a regressor: scikit-learn's loss with the same link
        given["loss"] = LOSSES[estimator._out_activation()]
    return given


def folded_weights(network):
    """(coefs, intercepts) of a network, with batch norms at prediction folded into the layers before them."""
    coefs, intercepts = list(network.coefs), list(network.intercepts)
    epsilons = network.layers["epsilon"][network.layers["epsilon"] > 0]
    norms = zip(network.norms, network.statistics, epsilons, strict=True)
    for i, ((gamma, beta), (mean, variance), epsilon) in enumerate(norms):
        scale = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
        coefs[i] = (coefs[i] * scale).astype(network.dtype)
        intercepts[i] = ((intercepts[i] - mean) * scale + beta).astype(network.dtype)
    return coefs, intercepts


def _check_expressible(estimator):
    activation, has_hidden = estimator.activation, estimator._has_hidden_layers()
    one = _one_activation(activation)
    if has_hidden and one not in SCIKIT_LEARNS_ACTIVATIONS:
        is_own = not isinstance(one, (str, list, tuple))
        can = "cannot have an activation of your own" if is_own else f"has one activation, of {list(SCIKIT_LEARNS_ACTIVATIONS)}"
        raise TypeError(f"scikit-learn's class {can}; got activation={activation!r}")
    if estimator._norms() == "layer":
        raise TypeError("layer norm cannot be folded into the weights of scikit-learn's class; got normalization='layer'")
    if getattr(estimator, "_has_quantiles", False) and len(estimator.quantile) > 1:
        raise TypeError(f"scikit-learn's class does not sort its outputs; got quantile={estimator.quantile!r}")


def _one_activation(activation):
    """The activation of all hidden layers, or the parameter itself if they have different ones."""
    if not isinstance(activation, (list, tuple)):
        return activation
    different = list(dict.fromkeys(activation)) or ["relu"]
    return different[0] if len(different) == 1 else activation

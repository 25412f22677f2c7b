"""Fitted estimators: which ones the inspection accepts, and their networks as layers of `fastprop.nn`."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import nn
from ..estimators import MLPClassifier, MLPRegressor
from ..estimators.base import BaseMLP
from ..nn.activations import ACTIVATION_LAYERS
from ..nn.errors import described
from ..nn.layered import NORMS
from ..scikit_learns import scikit_learns_class
from .models import MODELS

# What follows the last Linear layer of an estimator, by its out_activation_.
OUTPUT_LAYERS = {
    "identity": lambda: [],
    "softmax": lambda: [nn.Softmax()],
    "logistic": lambda: [nn.Sigmoid()],
    "exp": lambda: [nn.Activation(np.exp, np.exp)],
}


def own_estimator(estimator, expected):
    """A fitted estimator of fastprop, from one of fastprop or of scikit-learn.

    ``expected`` begins the message of the TypeError for anything else, such as "estimator must be an MLPClassifier".
    """
    for ours in (MLPClassifier, MLPRegressor):
        if type(estimator) is scikit_learns_class(ours.__name__):
            estimator = ours.from_sklearn(estimator)
    if not isinstance(estimator, BaseMLP):
        raise TypeError(f"{expected}; got {described(estimator)}")
    check_is_fitted(estimator)
    return estimator


def layers_of(estimator):
    """A fitted estimator as a `Sequential` in evaluation mode; see `models.module_of`."""
    estimator = own_estimator(estimator, f"model must be {MODELS}")
    network = estimator._current_network()
    modules = [module for i in range(len(network.coefs) - 1) for module in _hidden_layer(network, i)]
    return nn.Sequential(*modules, _linear(network, -1), *OUTPUT_LAYERS[estimator.out_activation_]()).eval()


def _hidden_layer(network, i):
    activation = network.activations[i]
    is_named = isinstance(activation, str)
    if is_named and network.normalization is None:
        return [_linear(network, i, activation)]
    norm = [] if network.normalization is None else [_norm(network, i)]
    return [_linear(network, i), *norm, ACTIVATION_LAYERS[activation]() if is_named else activation.copied()]


def _linear(network, i, activation="identity"):
    weight, bias = network.coefs[i], network.intercepts[i]
    layer = nn.Linear(*weight.shape, activation=activation, init="zeros", dtype=network.dtype)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def _norm(network, i):
    gamma, beta = network.norms[i]
    layer = NORMS[network.normalization](len(gamma), dtype=network.dtype)
    layer.weight.data, layer.bias.data = gamma, beta
    if network.statistics:
        layer.running_mean, layer.running_var = (array.copy() for array in network.statistics[i])
    return layer

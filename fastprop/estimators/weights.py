"""The link between an estimator's ``coefs_`` and ``intercepts_`` and the `Network` that computes with them.

After training the two lists hold views of the network's block. What a user puts there instead counts: a changed element changes
the block itself, and other arrays in the lists, or other lists, are noticed by identity at the next call and copied into a new
network. The arrays that were there before stay as they are, because the user may have kept them.
"""

from operator import is_
from typing import Literal, TypeAlias

import numpy as np

from ..interop import state_from_sklearn
from ..network import Network
from ..training import optimizer_from_dict

# scikit-learn's names for the output activations and for those of the kernels
LOSSES = {"softmax": "softmax_cross_entropy", "logistic": "binary_cross_entropy", "identity": "squared_error", "exp": "poisson"}
ActivationName: TypeAlias = Literal["identity", "logistic", "tanh", "relu"]
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
# Lists of numbers, one for each epoch; they are stored as arrays, as skops takes hundreds of bytes for an element of a list.
CURVES = ("loss_curve_", "validation_scores_")


def network_type(activation):
    """(the class of the network, the activation as it takes it) for an estimator's parameter `activation`."""
    if isinstance(activation, str):
        return Network, ACTIVATIONS[activation]
    from ..nn.layered import LayeredNetwork  # here, because an estimator without an activation of the user's does without nn

    return LayeredNetwork, activation


class WeightsMixin:
    """Needs ``activation`` and, once fitted, ``coefs_``, ``intercepts_`` and ``out_activation_``."""

    def _current_network(self):
        """The network with the estimator's present weights, for reading: nothing of the estimator changes."""
        network = self.__dict__.get("_network")
        (make, activation), loss = network_type(self.activation), LOSSES[self.out_activation_]
        if (
            network is not None
            and len(self.coefs_) == len(network.coefs)
            and len(self.intercepts_) == len(network.intercepts)
            and all(map(is_, self.coefs_, network.coefs))
            and all(map(is_, self.intercepts_, network.intercepts))
            and network.activation == activation
            and network.loss == loss
        ):
            return network
        return make.from_arrays(self.coefs_, self.intercepts_, activation, loss)

    def _trainable_network(self):
        """The network with the estimator's present weights, of which ``coefs_`` and ``intercepts_`` are views from here on."""
        network = self._current_network()
        if network is not self.__dict__.get("_network"):
            self._use_network(network)
        return network

    def _use_network(self, network):
        """Let ``coefs_`` and ``intercepts_`` be views of a network's parameters. New lists, as the old ones may be shared."""
        self._network = network
        self.coefs_, self.intercepts_ = list(network.coefs), list(network.intercepts)

    # The state holds each weight once, in the two lists, and the optimizer as a dict, so that there are only Python's, NumPy's and
    # scikit-learn's objects in it; views and optimizer are made again after loading, copying or unpickling.

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_network", None)
        if "_optimizer" in state:
            state["_optimizer"] = state["_optimizer"].as_dict()
        for name in CURVES:
            if isinstance(state.get(name), list):
                state[name] = np.array(state[name], dtype=np.float64)
        return state

    def __setstate__(self, state):
        if "_sklearn_version" in state:  # of scikit-learn's own class, loaded under `patch_sklearn`
            state = state_from_sklearn(type(self), state)
        super().__setstate__(state)
        if "_optimizer" in state:
            self._optimizer = optimizer_from_dict(state["_optimizer"])
        for name in CURVES:
            if isinstance(state.get(name), np.ndarray):
                setattr(self, name, state[name].tolist())
        if hasattr(self, "coefs_") and hasattr(self, "out_activation_"):
            best_is_current = getattr(self, "_best_coefs", None) is self.coefs_
            self._use_network(self._current_network())
            if best_is_current:
                self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_

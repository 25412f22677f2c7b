"""The link between an estimator's ``coefs_`` and ``intercepts_`` and the `Network` that computes with them.

After training the two lists hold views of the network's block. What a user puts there instead counts: a changed element changes
the block itself, and other arrays in the lists, or other lists, are noticed by identity at the next call and copied into a new
network. The arrays that were there before stay as they are, because the user may have kept them.
"""

from contextlib import suppress
from operator import is_
from typing import Literal, TypeAlias

import numpy as np

from ..network import Network
from .interop import fastprops_optimizer, state_from_sklearn

# scikit-learn's names for the output activations and for those of the kernels
LOSSES = {"softmax": "softmax_cross_entropy", "logistic": "binary_cross_entropy", "identity": "squared_error", "exp": "poisson"}
ActivationName: TypeAlias = Literal["identity", "logistic", "tanh", "relu"]
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
# Lists of numbers, one for each epoch; they are stored as arrays, because skops needs much more memory for the elements of a list.
CURVES = ("loss_curve_", "validation_scores_")


class NoKernelError(ValueError):
    """An activation has no kernel: scikit-learn predicts with each of its activations at each place."""


def network_type(activation):
    """(the class of the network, the activation as it takes it) for an estimator's parameter `activation`."""
    if isinstance(activation, str):
        return Network, ACTIVATIONS[activation]
    from ..nn.layered import LayeredNetwork  # here, because only an estimator with an activation of the user's needs nn

    return LayeredNetwork, activation


class WeightsMixin:
    """Needs ``activation`` and, once fitted, ``coefs_``, ``intercepts_`` and ``out_activation_``."""

    def _current_network(self):
        """The network with the estimator's present weights, for reading: nothing of the estimator changes."""
        network = self.__dict__.get("_network")
        if (
            network is not None
            and network.made_for == (self.activation, self.out_activation_, self.__dict__.get("n_layers_"))
            and len(self.coefs_) == len(network.coefs)
            and len(self.intercepts_) == len(network.intercepts)
            and all(map(is_, self.coefs_, network.coefs))
            and all(map(is_, self.intercepts_, network.intercepts))
        ):
            return network
        if isinstance(self.activation, str) and self.activation not in ACTIVATIONS:
            raise NoKernelError(f"activation must be one of {list(ACTIVATIONS)}; got {self.activation!r}")
        if self.out_activation_ not in LOSSES:
            raise NoKernelError(f"out_activation_ must be one of {list(LOSSES)}; got {self.out_activation_!r}")
        n = getattr(self, "n_layers_", len(self.coefs_) + 1) - 1
        if min(len(self.coefs_), len(self.intercepts_)) < n:
            raise ValueError(
                f"coefs_ and intercepts_ must have the weights and biases of {n} consecutive layers, as n_layers_ is {n + 1}; "
                f"got {len(self.coefs_)} and {len(self.intercepts_)}"
            )
        make, activation = network_type(self.activation)
        # Fewer layers than there are weights: scikit-learn gives the outputs of a hidden layer then.
        return make.from_arrays(self.coefs_[:n], self.intercepts_[:n], activation, LOSSES[self.out_activation_])

    def _trainable_network(self):
        """The network with the estimator's present weights; ``coefs_`` and ``intercepts_`` become views of them."""
        network = self._current_network()
        if network is not self.__dict__.get("_network"):
            self._use_network(network)
        return network

    def _use_network(self, network):
        """Let ``coefs_`` and ``intercepts_`` be views of a network's parameters. New lists, as the old ones may be shared."""
        self._network = network
        network.made_for = self.activation, self.out_activation_, self.__dict__.get("n_layers_")
        self.coefs_, self.intercepts_ = list(network.coefs), list(network.intercepts)

    # The state holds each weight once, in the two lists, and the optimizer as a dict, so that there are only Python's, NumPy's and
    # scikit-learn's objects in it; views and optimizer are made again after loading, copying or unpickling.

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_network", None)
        if "_optimizer" in state:
            state["_optimizer"] = fastprops_optimizer(state["_optimizer"]).as_dict()
        for name in CURVES:
            if isinstance(state.get(name), list):
                state[name] = np.array(state[name], dtype=np.float64)
        return state

    def __setstate__(self, state):
        if "_sklearn_version" in state:  # of scikit-learn's own class, loaded under `patch_sklearn`
            state = state_from_sklearn(type(self), state)
        super().__setstate__(state)
        if "_optimizer" in state:
            self._optimizer = fastprops_optimizer(state["_optimizer"])
        for name in CURVES:
            if isinstance(state.get(name), np.ndarray):
                setattr(self, name, state[name].tolist())
        # Weights set by hand that do not make a network are left as they are.
        with suppress(AttributeError, ValueError):
            network = self._current_network()
            if len(network.coefs) < len(self.coefs_):
                return
            best_is_current = getattr(self, "_best_coefs", None) is self.coefs_
            self._use_network(network)
            if best_is_current:
                self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_

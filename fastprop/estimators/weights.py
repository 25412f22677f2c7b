"""The link between an estimator's ``coefs_`` and ``intercepts_`` and the `Network` that computes with them.

After training the two lists hold views of the network's block. A user may change them: a changed element changes the block itself,
and other arrays in the lists, or other lists, are detected by identity at the next call and copied into a new network. The arrays
that were there before are not changed, because the user may have kept them.
"""

from contextlib import suppress
from operator import is_
from typing import Literal, TypeAlias, get_args

import numpy as np

from ..annotations import LossName
from ..network import Network
from .interop import fastprops_optimizer, state_from_sklearn

# scikit-learn's name of the output activation -> the loss of the network
LOSSES: dict[str, LossName] = {
    "softmax": "softmax_cross_entropy",
    "logistic": "binary_cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}
ActivationName: TypeAlias = Literal[
    "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus"
]
SCIKIT_LEARNS_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
ACTIVATIONS = {name: {"logistic": "sigmoid"}.get(name, name) for name in get_args(ActivationName)}
# Lists with a number for each epoch. They are stored as arrays, because skops needs much more memory for the elements of a list.
CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_", "learning_rate_curve_")
# The attributes with the arrays of norms -> where a network stores them
NORMS = {
    "norm_weights_": ("norms", 0),
    "norm_biases_": ("norms", 1),
    "running_means_": ("statistics", 0),
    "running_vars_": ("statistics", 1),
}


class NoKernelError(ValueError):
    """An activation has no kernel. scikit-learn can predict with each of its activations in each place."""


def kernel_activation(activation):
    """The parameter `activation` of an estimator, or an element of it, in the form that a network takes."""
    if not isinstance(activation, str):
        return activation
    try:
        return ACTIVATIONS[activation]
    except KeyError:
        raise NoKernelError(f"activation must be one of {list(ACTIVATIONS)}; got {activation!r}") from None


def network_type(activation):
    """(the class of the network, the activation in the form that it takes) for an estimator's parameter `activation`."""
    is_one = isinstance(activation, str) or not hasattr(activation, "__iter__")
    each = [activation] if is_one else list(activation)
    named = kernel_activation(activation) if is_one else [kernel_activation(one) for one in each]
    if all(isinstance(one, str) for one in each):
        return Network, named
    from ..nn.layered import LayeredNetwork  # here, because only an estimator with an activation of the user's needs nn

    return LayeredNetwork, named


class WeightsMixin:
    """Needs ``activation``, ``normalization`` and, once fitted, ``coefs_``, ``intercepts_`` and ``out_activation_``.

    Once fitted, the arrays show which norms there are; the parameter may have changed since.
    """

    def _has_hidden_layers(self):
        """Whether the trained network has any; before training, whether the new network will have any."""
        return len(self.coefs_) > 1 if "coefs_" in self.__dict__ else np.size(self.hidden_layer_sizes) > 0

    def _norms(self):
        """The norms of the trained network, as a value of ``normalization``; before training, those of the new network."""
        own = self.__dict__
        if "coefs_" not in own:
            return self.normalization if self._has_hidden_layers() else None
        if "norm_weights_" not in own:
            return None
        return "batch" if "running_means_" in own else "layer"

    def _check_norms(self):
        """Raise an error if training cannot continue because ``normalization`` has changed."""
        if self._has_hidden_layers() and self.normalization != self._norms():
            raise ValueError(
                f"normalization={self.normalization!r} is for new weights, and these were trained with {self._norms()!r}. Fit with "
                "warm_start=False, or fit a clone"
            )

    def _current_network(self):
        """The network with the estimator's present weights, for reading: the estimator is not changed."""
        network = self.__dict__.get("_network")
        if network is not None and network.made_for == self._network_key() and self._holds(network):
            return network
        if self.out_activation_ not in LOSSES:
            raise NoKernelError(f"out_activation_ must be one of {list(LOSSES)}; got {self.out_activation_!r}")
        n = getattr(self, "n_layers_", len(self.coefs_) + 1) - 1
        if min(len(self.coefs_), len(self.intercepts_)) < n:
            raise ValueError(
                f"coefs_ and intercepts_ must have the weights and biases of {n} consecutive layers, as n_layers_ is {n + 1}; "
                f"got {len(self.coefs_)} and {len(self.intercepts_)}"
            )
        make, activation = network_type(self.activation)
        # If there are fewer layers than weights, scikit-learn returns the outputs of a hidden layer.
        activation = activation[: n - 1] if isinstance(activation, list) else activation
        loss, hyper = self._loss_of_network()
        network = make.from_arrays(self.coefs_[:n], self.intercepts_[:n], activation, loss, hyper, self._norms())
        for name, own in norms_of(network).items():
            given = getattr(self, name)
            if [np.shape(array) for array in given[: len(own)]] != [array.shape for array in own]:
                expected, got = [array.shape for array in own], [np.shape(array) for array in given]
                raise ValueError(f"{name} must hold arrays of shapes {expected}; got {got}")
            for array, values in zip(own, given, strict=False):
                array[...] = values
        return network

    def _network_key(self):
        """The parameters that the layers of the network depend on."""
        own = self.__dict__
        return self.activation, self._norms(), self.out_activation_, own.get("n_layers_")

    def _holds(self, network):
        """Whether the estimator's lists have exactly the arrays of a network."""
        own = self.__dict__
        return (
            len(self.coefs_) == len(network.coefs)
            and len(self.intercepts_) == len(network.intercepts)
            and all(map(is_, self.coefs_, network.coefs))
            and all(map(is_, self.intercepts_, network.intercepts))
            and (not network.norms or all(all(map(is_, own.get(name, ()), arrays)) for name, arrays in norms_of(network).items()))
        )

    def _loss_of_network(self):
        """(the loss, its parameters or None) of the network."""
        return LOSSES[self.out_activation_], None

    def _trainable_network(self):
        """The network with the estimator's present weights and loss; ``coefs_`` and ``intercepts_`` become views of them."""
        network = self._current_network()
        loss, hyper = self._loss_of_network()
        if loss != network.loss or hyper is not None:
            wanted = network.sharing(loss=loss, loss_hyper=hyper)
            network = network if (wanted.loss, wanted.loss_hyper) == (network.loss, network.loss_hyper) else wanted
        if network is not self.__dict__.get("_network"):
            self._use_network(network)
        return network

    def _use_network(self, network):
        """Set ``coefs_`` and ``intercepts_`` to views of a network's parameters, in new lists, as the old ones may be shared."""
        self._network = network
        self.coefs_, self.intercepts_ = list(network.coefs), list(network.intercepts)
        norms = norms_of(network)
        for name in NORMS:
            if name in norms:
                setattr(self, name, norms[name])
            else:
                self.__dict__.pop(name, None)
        network.made_for = self._network_key()

    # The state holds each weight once, in the two lists, and the optimizer as a dict, so that it has only objects of Python, NumPy
    # and scikit-learn. Views and optimizer are made again after loading, copying or unpickling.

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
        # Weights set by hand that do not fit together are left as they are.
        with suppress(AttributeError, ValueError):
            network = self._current_network()
            if len(network.coefs) < len(self.coefs_):
                return
            best_is_current = getattr(self, "_best_coefs", None) is self.coefs_
            self._use_network(network)
            if best_is_current:
                self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_


def norms_of(network):
    """The attributes with the arrays of a network's norms: name -> list of arrays, one for each hidden layer."""
    found = {name: [pair[i] for pair in getattr(network, pairs)] for name, (pairs, i) in NORMS.items()}
    return {name: arrays for name, arrays in found.items() if arrays}

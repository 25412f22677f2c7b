"""Conversion between fastprop's estimators and scikit-learn's own: `to_sklearn`, `from_sklearn`, and the stored state.

Both classes have the same parameters and fitted attributes, so a conversion copies the attributes. Only the optimizer's memory is
kept in two forms: here as one block like the network's parameters, there as a list of arrays.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..scikit_learns import scikit_learns_class
from .schedules import SLOTS, from_dict

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

# Attributes that an estimator shares with its copies, as with `sklearn.clone`: a callback knows where it reports to.
SHARED = ("_skl_callbacks",)
# Attributes that scikit-learn may store as NumPy scalars; a list of those takes much more memory than a list of floats.
NUMBERS = ("loss_", "best_loss_", "best_validation_score_", "loss_curve_", "validation_scores_")

# Makes the object that deep copies in this context have in place of an estimator of fastprop.
_replacement: ContextVar[Callable[[InteropMixin], Any] | None] = ContextVar("replacement", default=None)


@contextmanager
def replaced_in_copies(replacement: Callable[[InteropMixin], Any]) -> Iterator[None]:
    """In this block and thread, a deep copy has ``replacement(estimator)`` in place of each of fastprop's estimators."""
    token = _replacement.set(replacement)
    try:
        yield
    finally:
        _replacement.reset(token)


class InteropMixin:
    """For estimators that have scikit-learn's attributes, and besides these only `_network` and `_optimizer`."""

    def to_sklearn(self) -> Any:
        """Convert this estimator to scikit-learn's own class, for tools that require it.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            An estimator with copies of all parameters that scikit-learn has and of everything that was learnt, including the
            optimizer's state: it predicts the same, and its `partial_fit` continues from the same point. Batch norms are folded
            into the weights. Callbacks are shared. If training used features that scikit-learn does not have, such as dropout, a
            schedule or 'adamw', further training of the result goes without them: it uses the nearest parameter of scikit-learn's
            and a new optimizer.

        Raises
        ------
        TypeError
            If scikit-learn's class cannot express the network: several activations, an activation that scikit-learn does not have,
            layer norm, or several quantiles.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastprop import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> theirs = MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0).fit(X, y).to_sklearn()
        >>> type(theirs).__module__
        'sklearn.neural_network._multilayer_perceptron'
        >>> theirs.predict(X[:3])
        array([0, 0, 0])
        """
        return self._to_sklearn({})

    def _to_sklearn(self, memo):
        """`to_sklearn` as part of a deep copy; the result is entered in ``memo`` before its attributes are copied."""
        from .scikit_learns_form import OWN_ATTRIBUTES, folded_weights, scikit_learns_parameters

        scikit_learns = scikit_learns_class(self._scikit_learns_name())
        names = scikit_learns._get_param_names()
        parameters = scikit_learns_parameters(self, names)
        theirs = memo[id(self)] = scikit_learns()
        # fastprop's parameters that scikit-learn does not have, and those of a subclass
        others = {*class_of_ours(type(self))._get_param_names(), *self._get_param_names()} - {*names}
        left_out = {"_network", "_optimizer", *OWN_ATTRIBUTES, *others}
        state = {name: value for name, value in vars(self).items() if name not in left_out}
        vars(theirs).update(copied(state | parameters, memo))
        network = self._current_network() if "coefs_" in state and self._norms() == "batch" else None
        if network is not None and network.norms:
            theirs.coefs_, theirs.intercepts_ = folded_weights(network)
            if "_best_coefs" in state:
                theirs._best_coefs, theirs._best_intercepts = theirs.coefs_, theirs.intercepts_
        elif "_optimizer" in vars(self) and (optimizer := scikit_learns_optimizer(self._optimizer)) is not None:
            theirs._optimizer = optimizer
        return theirs

    def __reduce_ex__(self, protocol):
        # copy.deepcopy calls it wherever it finds the estimator. Unlike __deepcopy__, scikit-learn's FrozenEstimator does not
        # delegate it.
        replacement = _replacement.get()
        return super().__reduce_ex__(protocol) if replacement is None else (partial(_itself, replacement(self)), ())

    @classmethod
    def from_sklearn(cls, estimator: BaseEstimator) -> Self:
        """Convert an estimator of scikit-learn's own class to this class.

        Parameters
        ----------
        estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
            An instance of the class of the same name, not of a subclass: the changes of a subclass would be lost.

        Returns
        -------
        MLPClassifier or MLPRegressor
            An estimator with copies of all parameters and of everything that was learnt, including the optimizer's state: it
            predicts the same, and its `partial_fit` continues from the same point. Callbacks are shared.

        Raises
        ------
        TypeError
            If the estimator is of another class.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.neural_network import MLPClassifier
        >>> import fastprop
        >>> X, y = load_iris(return_X_y=True)
        >>> theirs = MLPClassifier((5,), solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> fastprop.MLPClassifier.from_sklearn(theirs).predict(X[:3])
        array([0, 0, 0])
        """
        name = cls._scikit_learns_name()
        if type(estimator) is not scikit_learns_class(name):
            given = type(estimator)
            raise TypeError(
                f"{cls.__name__}.from_sklearn needs an instance of sklearn.neural_network.{name} itself; "
                f"got {given.__module__}.{given.__qualname__}"
            )
        ours = cls.__new__(cls)
        ours.__setstate__(copied(state_from_sklearn(cls, vars(estimator))))
        return ours

    def drop_optimizer_state(self) -> Self:
        """Delete the state that only further training needs: the optimizer's moments and its step count.

        That is two numbers for each weight with 'adam' and one with 'sgd', so a stored estimator is then little larger than its
        weights. Predictions do not change. `partial_fit` still continues from the present weights, but with a new optimizer made
        from the present parameters, so the next updates differ from those of an estimator that kept its state. `fit` makes a new
        optimizer anyway.

        Returns
        -------
        self
            This estimator.
        """
        vars(self).pop("_optimizer", None)
        return self


def state_from_sklearn(cls, state):
    """The state for ``cls.__setstate__`` from the attributes or the pickled state of scikit-learn's estimator."""
    own_defaults = {name: p.default for name, p in inspect.signature(cls.__init__).parameters.items() if p.default is not p.empty}
    state = {**class_of_ours(cls)().get_params(deep=False), **own_defaults, **state}
    state.pop("_sklearn_version", None)
    if cls._is_classifier:  # there `loss` is not a parameter; __init__ sets it
        state.pop("loss", None)
    for name in NUMBERS:
        if state.get(name) is not None:
            state[name] = np.asarray(state[name], np.float64).tolist()
    return state


def is_ours(cls):
    """Whether a class is fastprop's own, and not a user's subclass."""
    return cls.__module__.startswith("fastprop.")


def class_of_ours(cls):
    """fastprop's estimator class that a class is, or is derived from."""
    return next(filter(is_ours, cls.__mro__))


def copied(state, memo=None):
    # In one call, so that objects that the values share, such as a RandomState, stay shared.
    shared = {name: state[name] for name in SHARED if name in state}
    return copy.deepcopy({name: value for name, value in state.items() if name not in shared}, memo) | shared


def _itself(made):
    return made


def fastprops_optimizer(optimizer):
    """fastprop's optimizer, from itself, its `as_dict`, or an optimizer of scikit-learn."""
    if isinstance(optimizer, dict):
        return from_dict(optimizer)
    return optimizer if hasattr(optimizer, "as_dict") else from_dict(_fields(optimizer))


def scikit_learns_optimizer(ours):
    """A copy of an estimator's optimizer as scikit-learn's; None if scikit-learn does not have this kind."""
    from sklearn.neural_network import _stochastic_optimizers

    if not hasattr(ours, "as_dict"):
        return copy.deepcopy(ours)
    if ours.rule.name not in ("adam", "sgd"):
        return None
    slots = {slot: [array.copy() for array in arrays] for slot, arrays in ours.slots().items()}
    make = getattr(_stochastic_optimizers, f"{type(ours).__name__}Optimizer")
    theirs = make(next(iter(slots.values())), **{name: getattr(ours, name) for name in ours.parameters})
    if ours.rule.name == "adam":  # scikit-learn's SGD does not count its updates
        theirs.t = ours.t
    theirs.learning_rate = ours.learning_rate
    vars(theirs).update(slots)
    return theirs


def _fields(theirs):
    """scikit-learn's optimizer in the form of `ScheduledOptimizer.as_dict`."""
    fields = {name: value for name, value in vars(theirs).items() if name != "params"}  # scikit-learn 0.24 kept the weights there
    name = "adam" if "ms" in fields else "sgd"
    slots = [fields.pop(slot) for slot in SLOTS[name]]
    n_layers = len(slots[0]) // 2
    sizes = [len(slots[0][0]), *(bias.size for bias in slots[0][n_layers:])]
    pairs = [array.ravel() for arrays in slots for pair in zip(arrays[:n_layers], arrays[n_layers:], strict=True) for array in pair]
    memory = np.concatenate(pairs).reshape(len(slots), -1)
    # scikit-learn's SGD does not count its updates, and nothing depends on their number.
    numbers = {key: float(fields[key]) for key in ("learning_rate_init", "learning_rate")}
    return {"t": 0, **fields, **numbers, "name": name, "sizes": sizes, "memory": memory}

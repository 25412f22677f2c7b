"""How to handle a subclass, or an object, that replaces a private method which the compiled code does not call.

The replacement would silently have no effect. So fastprop's own classes raise an error, and under `patch_sklearn`, where the code
was written for scikit-learn, scikit-learn's code runs instead of the compiled code.
"""

import re
import warnings
from functools import cache
from typing import Any

from ..scikit_learns import is_patched, scikit_learns_class
from .interop import class_of_ours, is_ours
from .private_names import NEVER_CALLED
from .scikit_learns_limits import beyond_scikit_learn, listed

# If these are replaced on an object, or on a class after its creation, a prediction would not call the replacement.
FOR_PREDICTION = {"_predict", "_forward_pass_fast"}


class SubclassingMixin:
    """Checks each subclass when it is created, and each object when it is fitted."""

    _runs_scikit_learn = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if is_ours(cls) or cls._runs_scikit_learn:
            return
        names = _overridden(cls, NEVER_CALLED)
        if is_patched():
            names += _overridden(cls, sorted(_own_names(class_of_ours(cls)) | {"_network"}))
        if not names:
            return
        if not is_patched():
            raise TypeError(_refusal(cls, names))
        _insert_scikit_learns_code(cls)
        warnings.warn(_consequence(cls, names), stacklevel=2)

    def _replaced(self):
        """The names that were replaced on this object, or on its class after the class was created."""
        names, never_called = [], NEVER_CALLED.keys()
        for base in type(self).__mro__:
            if not never_called.isdisjoint(base.__dict__.keys()):
                names += sorted(never_called & base.__dict__.keys())
            if is_ours(base):
                break
        taken = never_called | _own_names(base) if is_patched() else never_called
        return names if taken.isdisjoint(self.__dict__.keys()) else names + sorted(taken & self.__dict__.keys())

    def _check_scikit_learn_can(self, given):
        """Raise an error if scikit-learn's code would run with parameters, or arguments of ``fit``, that it does not have."""
        found = ", ".join(filter(None, [listed(beyond_scikit_learn(self)), *given]))
        if found:
            raise ValueError(f"{type(self).__name__} runs scikit-learn's code, which does not have {found}")

    def _fit_as_scikit_learn(self, replaced, *arguments):
        if not is_patched() or FOR_PREDICTION.intersection(replaced):
            raise TypeError(_refusal(type(self), replaced))
        warnings.warn(_consequence(type(self), replaced), stacklevel=5)
        return scikit_learns_class(self._scikit_learns_name())._fit(self, *arguments)


@cache
def _own_names(cls):
    """The private names of fastprop's class that scikit-learn's class does not have."""
    names = {name for base in cls.__mro__ if is_ours(base) for name in vars(base) if re.match("_(?!sklearn)", name)}
    return names - set(dir(scikit_learns_class(cls._scikit_learns_name())))


def _overridden(cls, names):
    owners = {name: next((base for base in cls.__mro__ if name in vars(base)), None) for name in names}
    return [name for name, owner in owners.items() if owner is not None and not is_ours(owner)]


def _insert_scikit_learns_code(cls):
    """Insert the class that runs scikit-learn's code after all of the user's classes and before the compiled one."""
    from . import scikit_learns_code

    ours = class_of_ours(cls)
    theirs = scikit_learns_code.Classifier if cls._is_classifier else scikit_learns_code.Regressor
    bases = [theirs if base is ours else base for base in cls.__bases__]
    if theirs not in bases:
        last = max(i for i, base in enumerate(bases) if issubclass(base, ours))
        bases.insert(last + 1, theirs)
    cls.__bases__ = tuple(bases)


def _consequence(cls, names):
    return (
        f"{cls.__name__} replaces {', '.join(names)}, with which fastprop's compiled code cannot run: "
        "scikit-learn's own code runs instead, at scikit-learn's speed"
    )


def _refusal(cls, names):
    ways = dict.fromkeys(NEVER_CALLED[name] for name in names if name in NEVER_CALLED)
    return (
        f"{cls.__name__} replaces {', '.join(names)}, but fastprop's compiled {cls._scikit_learns_name()} does not call "
        f"{'them' if names[1:] else 'it'}. "
        + "".join(f"You can {way}. " for way in ways)
        + f"To replace private methods, derive from sklearn.neural_network.{cls._scikit_learns_name()}"
    )

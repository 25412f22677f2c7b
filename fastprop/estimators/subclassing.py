"""What becomes of a subclass, or an object, that replaces a private method which the compiled code does not call.

In silence the replacement would have no effect. So fastprop's own classes refuse it, and under `patch_sklearn`, where the code was
written for scikit-learn, scikit-learn's code runs instead of the compiled code.
"""

import warnings

from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron

from ..patch import is_patched, scikit_learns_class
from .private_names import NEVER_CALLED

# Where these are replaced on an object, or on a class after its creation, a prediction would not notice.
FOR_PREDICTION = {"_predict", "_forward_pass_fast"}


class SubclassingMixin:
    """Looks at each subclass when it is created, and at each object when it is fitted."""

    _never_called = None  # {name: function} of the methods in `NEVER_CALLED`
    _own_names = frozenset()  # the private names that are ours and not scikit-learn's
    _runs_scikit_learn = False

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if _is_ours(cls):
            if hasattr(cls, "_predict"):  # a complete estimator
                cls._never_called = {name: getattr(cls, name) for name in NEVER_CALLED}
                cls._own_names = _private_names(cls) - set(dir(scikit_learns_class(scikit_learns_name(cls))))
            return
        if cls._runs_scikit_learn or cls._never_called is None:
            return
        names = _overridden(cls, NEVER_CALLED)
        if is_patched():
            names += _overridden(cls, cls._own_names | {"_network"})
        if not names:
            return
        if not is_patched():
            raise TypeError(_refusal(cls, names))
        _insert_scikit_learns_code(cls)
        warnings.warn(_consequence(cls, names), stacklevel=2)

    def _replaced(self):
        """The names that were replaced on this object, or on its class after the creation of that."""
        cls = type(self)
        names = [name for name, ours in cls._never_called.items() if getattr(cls, name) is not ours]
        taken = NEVER_CALLED.keys() | cls._own_names if is_patched() else NEVER_CALLED.keys()
        return names + [name for name in vars(self) if name in taken]

    def _fit_as_scikit_learn(self, replaced, *arguments):
        if not is_patched() or FOR_PREDICTION.intersection(replaced):
            raise TypeError(_refusal(type(self), replaced))
        warnings.warn(_consequence(type(self), replaced), stacklevel=4)
        return BaseMultilayerPerceptron._fit(self, *arguments)


def scikit_learns_name(cls):
    """The name of scikit-learn's class for one of fastprop's or a subclass of that."""
    return "MLPClassifier" if cls._is_classifier else "MLPRegressor"


def _is_ours(cls):
    return cls.__module__.partition(".")[0] == "fastprop"


def _private_names(cls):
    names = {name for base in cls.__mro__ if _is_ours(base) for name in vars(base)}
    return frozenset(name for name in names if name.startswith("_") and not name.startswith("__"))


def _overridden(cls, names):
    owners = {name: next((base for base in cls.__mro__ if name in vars(base)), None) for name in names}
    return [name for name, owner in owners.items() if owner is not None and not _is_ours(owner)]


def _insert_scikit_learns_code(cls):
    """Put the class that runs scikit-learn's code behind all classes of the user's and before the compiled one."""
    from . import scikit_learns_code

    ours = next(base for base in cls.__mro__ if _is_ours(base))
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
        f"{cls.__name__} replaces {', '.join(names)}, but fastprop's compiled {scikit_learns_name(cls)} does not call "
        f"{'them' if names[1:] else 'it'}. "
        + "".join(f"You can {way}. " for way in ways)
        + f"To replace private methods, derive from sklearn.neural_network.{scikit_learns_name(cls)}"
    )

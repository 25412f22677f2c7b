"""fastprop: multi-layer perceptrons on compiled kernels.

Three ways in:

* ``from fastprop import MLPClassifier``: scikit-learn's estimator with its results, several times as fast;
* ``from fastprop import nn``: layers, losses and optimizers to compose;
* ``from fastprop import kernels``: plain functions on arrays, for your own training loop. `Network` is in between: a plain
  network in one flat block of parameters, with the compiled training loop.
"""

import importlib

__version__ = "0.1.0"

# Loaded at first use, so that the kernels alone do not import scikit-learn. Type checkers and editors, which do not run this, read
# the names in __init__.pyi.
_HOMES = {
    "LossCurveDisplay": ".inspection",
    "MLPClassifier": ".estimators",
    "MLPRegressor": ".estimators",
    "Network": ".network",
    "TabularClassifier": ".tabular",
    "TabularRegressor": ".tabular",
    "fit_many": ".many",
    "patch_sklearn": ".patch",
    "show_config": ".config",
    "to_sklearn": ".composites",
    "unpatch_sklearn": ".patch",
}

_PACKAGES = ("collective", "export", "inspection", "kernels", "nn", "optim", "preprocessing")

# Likewise, but not for `from fastprop import *`: they need packages that fastprop does not require.
_WITH_EXTRAS = ("dask", "onnx")

# Names that need scikit-learn.
_ON_SCIKIT_LEARN = {
    "MLPClassifier",
    "MLPRegressor",
    "TabularClassifier",
    "TabularRegressor",
    "export",
    "preprocessing",
    "to_sklearn",
}

__all__ = [*_HOMES, *_PACKAGES]


def __getattr__(name):
    if name in _PACKAGES or name in _WITH_EXTRAS:
        return _loaded(f".{name}")
    if name in _HOMES:
        return getattr(_loaded(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _loaded(module):
    try:
        return importlib.import_module(module, __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.kernels":
            raise
        # In a folder of sources that are not installed, Python finds these before the installed package.
        raise ImportError(
            f"Python has imported fastprop from its sources in {__path__[0]}, where it cannot run: start Python in another folder, "
            "or install the sources with pip install --editable"
        ) from error


def __dir__():
    """The names that can be imported here; help() loads all of them."""
    from importlib.util import find_spec  # here, as it imports more than this whole module

    missing = set() if find_spec("sklearn") else _ON_SCIKIT_LEARN
    return sorted({*globals(), *__all__} - missing)

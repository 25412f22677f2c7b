"""scikit-learn's own two classes: where they are, and how to get them while they are patched."""

import importlib
import threading

NAMES = ("MLPClassifier", "MLPRegressor")
# Modules with scikit-learn's two classes: the public one, and the one that defines them, in which pickles look for them.
MODULES = ("sklearn.neural_network", "sklearn.neural_network._multilayer_perceptron")

lock = threading.RLock()
originals = {}  # (module name, class name) -> scikit-learn's class, while there is a patch


def scikit_learns_class(name):
    """scikit-learn's own class, whether or not it is patched."""
    with lock:
        return originals.get((MODULES[1], name)) or getattr(importlib.import_module(MODULES[1]), name)


def is_patched():
    """Whether a patch is in force."""
    return bool(originals)

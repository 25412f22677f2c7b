"""What ``fastprop/__init__.py`` loads when it is asked for, for those who do not run it: type checkers and editors."""

from . import collective as collective
from . import export as export
from . import inspection as inspection
from . import kernels as kernels
from . import nn as nn
from . import optim as optim
from . import preprocessing as preprocessing
from .composites import to_sklearn as to_sklearn
from .config import show_config as show_config
from .estimators import MLPClassifier as MLPClassifier
from .estimators import MLPRegressor as MLPRegressor
from .inspection import LossCurveDisplay as LossCurveDisplay
from .many import fit_many as fit_many
from .network import Network as Network
from .patch import patch_sklearn as patch_sklearn
from .patch import unpatch_sklearn as unpatch_sklearn
from .tabular import TabularClassifier as TabularClassifier
from .tabular import TabularRegressor as TabularRegressor

__version__: str
__all__ = [
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "Network",
    "TabularClassifier",
    "TabularRegressor",
    "collective",
    "export",
    "fit_many",
    "inspection",
    "kernels",
    "nn",
    "optim",
    "patch_sklearn",
    "preprocessing",
    "show_config",
    "to_sklearn",
    "unpatch_sklearn",
]

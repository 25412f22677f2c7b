"""The types that the annotations of the public functions share."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

# float32 or float64, all arrays of a call of one dtype
Floats: TypeAlias = NDArray[np.floating[Any]]
# The bits of bfloat16. Type checkers take arrays of the package ml_dtypes for any arrays.
BFloat16: TypeAlias = NDArray[np.uint16]
Values = TypeVar("Values", Floats, BFloat16)
Integers: TypeAlias = NDArray[np.integer[Any]]
# A layer table, see `layer_table`: an array of `spec.LAYER`.
Layers: TypeAlias = NDArray[np.void]

ActivationName: TypeAlias = Literal[
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus"
]
LinkName: TypeAlias = Literal["identity", "sigmoid", "softmax", "exp"]
LossName: TypeAlias = Literal[
    "softmax_cross_entropy",
    "binary_cross_entropy",
    "squared_error",
    "poisson",
    "absolute_error",
    "huber",
    "quantile",
    "gamma",
    "tweedie",
]
OptimizerName: TypeAlias = Literal["sgd", "adam", "momentum", "rmsprop", "adamw"]


class Sparse(Protocol):
    """A sparse array or matrix of SciPy."""

    def tocsr(self, copy: bool = ...) -> Any:
        """The matrix in CSR form."""


FloatDType: TypeAlias = type[np.float32] | type[np.float64] | np.dtype[Any] | Literal["float32", "float64"]


class Hyper(TypedDict, total=False):
    """The hyperparameters of the optimizers in `train_epoch`."""

    lr: float
    l2: float
    weight_decay: float
    alpha: float
    momentum: float
    nesterov: bool
    beta_1: float
    beta_2: float
    epsilon: float


class LossHyper(TypedDict, total=False):
    """The parameters of losses in the kernels of networks."""

    delta: float
    quantile: float | Sequence[float] | NDArray[np.floating[Any]]
    power: float

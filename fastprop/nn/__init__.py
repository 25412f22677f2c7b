"""Layers, losses and optimizers to build networks from: a thin interface to the kernels.

Every layer has its own ``forward`` and ``backward``; there is no tape. Start with ``help(nn.Sequential)`` and ``help(nn.Module)``,
from which every model inherits ``fit`` and ``predict``.

* Models: `mlp`, `Sequential`, `Module` and `Parameter`; `load` reads a file that ``save`` wrote.
* Layers: `Linear`, `Dropout`, `BatchNorm1d`, `LayerNorm`; `init` has the initializers.
* Activations: `Identity`, `ReLU`, `LeakyReLU`, `ELU`, `SELU`, `GELU`, `SiLU`, `Mish`, `Softplus`, `Sigmoid`, `Tanh`, `Softmax`,
  and `Activation` for one of your own.
* Blocks: `Residual`, `Highway`, `DenseConcat`, `Checkpoint`.
* Graphs: `Graph` and `Input`, formulas of `Value`, functions in `functional`; the modules `Add`, `Multiply`, `Concat`.
* Losses: `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MSELoss`, `L1Loss`, `HuberLoss`, `QuantileLoss`, `PoissonLoss`, `GammaLoss`,
  `TweedieLoss`; `ElementwiseLoss` for one of your own, with the base `Loss`.
* Optimizers: `SGD`, `Adam`, `AdamW`, `RMSprop`, with the base `Optimizer`; to call before a step: `clip_grad_norm`,
  `clip_grad_value`.
* Errors: `LayerError`, `ShapeError`, `NoForwardError`.

Random numbers: an integer as ``random_state`` is a seed, which gives the same numbers in every run. A Generator or RandomState is
used as it is. None makes a new Generator, which differs in every run; ``np.random.seed`` does not affect it. To make a whole script
reproducible, create one ``rng = np.random.default_rng(0)`` and pass it to all layers and to ``fit``.
"""

from ..optim import SGD, Adam, AdamW, Optimizer, RMSprop
from . import functional, init
from .activations import ELU, GELU, SELU, Identity, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .blocks import DenseConcat, Highway, Residual
from .clipping import clip_grad_norm, clip_grad_value
from .containers import Checkpoint, Sequential, mlp
from .dropout import Dropout
from .errors import LayerError, NoForwardError, ShapeError
from .functions import Activation, ElementwiseLoss
from .graph import Graph
from .linear import Linear
from .loading import load
from .losses import (
    BinaryCrossEntropy,
    GammaLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    PoissonLoss,
    QuantileLoss,
    SoftmaxCrossEntropy,
    TweedieLoss,
)
from .module import Module
from .normalization import BatchNorm1d, LayerNorm
from .operations import Add, Concat, Multiply
from .parameter import Parameter
from .values import Input, Value

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Add",
    "BatchNorm1d",
    "BinaryCrossEntropy",
    "Checkpoint",
    "Concat",
    "DenseConcat",
    "Dropout",
    "ElementwiseLoss",
    "GammaLoss",
    "Graph",
    "Highway",
    "HuberLoss",
    "Identity",
    "Input",
    "L1Loss",
    "LayerError",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MSELoss",
    "Mish",
    "Module",
    "Multiply",
    "NoForwardError",
    "Optimizer",
    "Parameter",
    "PoissonLoss",
    "QuantileLoss",
    "RMSprop",
    "ReLU",
    "Residual",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Tanh",
    "TweedieLoss",
    "Value",
    "clip_grad_norm",
    "clip_grad_value",
    "functional",
    "init",
    "load",
    "mlp",
]

"""Layers, losses and optimizers to compose networks from, thin over the kernels.

Every layer has ``forward`` and ``backward``; there is no tape. Start with ``help(nn.Sequential)`` and ``help(nn.Module)``, whose
``fit`` and ``predict`` every model has.

* Models: `mlp`, `Sequential`, `Module` and `Parameter`; `load` reads what ``save`` has written.
* Layers: `Linear`, `Dropout`, `BatchNorm1d`, `LayerNorm`; weights by `init`.
* Activations: `Identity`, `ReLU`, `LeakyReLU`, `ELU`, `SELU`, `GELU`, `SiLU`, `Mish`, `Softplus`, `Sigmoid`, `Tanh`, `Softmax`,
  and `Activation` for one of your own.
* Blocks: `Residual`, `Highway`, `DenseConcat`, `Checkpoint`.
* Graphs: `Graph` and `Input`, formulas of `Value`, with `functional`; the modules `Add`, `Multiply`, `Concat`.
* Losses: `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MSELoss`, `L1Loss`, `HuberLoss`, `QuantileLoss`, `PoissonLoss`, `GammaLoss`,
  `TweedieLoss`; `ElementwiseLoss` for one of your own, with the base `Loss`.
* Optimizers: `SGD`, `Adam`, `AdamW`, `RMSprop`, with the base `Optimizer`; before their step `clip_grad_norm`, `clip_grad_value`.
* Errors: `LayerError`, `ShapeError`, `NoForwardError`.

Random numbers: a number as ``random_state`` gives the same ones in every run; a Generator or RandomState is drawn from. None draws
from a new Generator, which is different in every run and which ``np.random.seed`` does not change. To have a whole script
reproducible, make one ``rng = np.random.default_rng(0)`` and give it to all layers and to ``fit``.
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

"""Layers, losses and optimizers to compose networks from, thin over the kernels.

Every layer has ``forward`` and ``backward``; there is no tape. Start with ``help(nn.Sequential)`` and ``help(nn.Module)``.
"""

from ..optim import SGD, Adam, AdamW, Optimizer, RMSprop
from . import init
from .activations import ELU, GELU, SELU, Identity, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .blocks import DenseConcat, Highway, Residual
from .clipping import clip_grad_norm, clip_grad_value
from .containers import Checkpoint, Sequential, mlp
from .dropout import Dropout
from .errors import LayerError, NoForwardError, ShapeError
from .functions import Activation, ElementwiseLoss
from .graph import Add, Concat, Graph, Input, Multiply
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
from .parameter import Parameter

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
    "clip_grad_norm",
    "clip_grad_value",
    "init",
    "load",
    "mlp",
]

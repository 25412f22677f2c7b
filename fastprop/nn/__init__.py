"""Layers, losses and optimizers to compose networks from, thin over the kernels.

Every layer has ``forward`` and ``backward``; there is no tape. Start with ``help(nn.Sequential)`` and ``help(nn.Module)``.
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
from .losses import BinaryCrossEntropy, Loss, MSELoss, PoissonLoss, SoftmaxCrossEntropy
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
    "Graph",
    "Highway",
    "Identity",
    "Input",
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
    "Value",
    "clip_grad_norm",
    "clip_grad_value",
    "functional",
    "init",
    "load",
    "mlp",
]

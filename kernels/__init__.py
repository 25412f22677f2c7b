"""The kernels of fastprop: plain functions on NumPy arrays, computed by the best back end that runs on this machine.

Forward and backward come in pairs; nothing keeps state. Start with ``help(kernels.linear_forward)``; what holds for all arrays
is in ``help(kernels.Kernels)``. ``load("numba")`` gives the same functions on another back end.
"""

from .checks import CopyWarning
from .dispatch import active, available, describe, load, unavailable
from .encoded import EncodedRows
from .layer_table import LayerProgram, layer_table, layer_views, n_buffers, n_parameters
from .public import Kernels

# Layers
linear_forward = active.linear_forward
linear_backward = active.linear_backward
activation_forward = active.activation_forward
activation_backward = active.activation_backward
dropout_forward = active.dropout_forward
dropout_backward = active.dropout_backward
layer_norm_forward = active.layer_norm_forward
layer_norm_backward = active.layer_norm_backward
batch_norm_forward = active.batch_norm_forward
batch_norm_backward = active.batch_norm_backward
batch_norm_inference = active.batch_norm_inference
softmax_forward = active.softmax_forward
softmax_backward = active.softmax_backward

# Losses, fused with their links
softmax_cross_entropy_forward = active.softmax_cross_entropy_forward
softmax_cross_entropy_backward = active.softmax_cross_entropy_backward
binary_cross_entropy_forward = active.binary_cross_entropy_forward
binary_cross_entropy_backward = active.binary_cross_entropy_backward
squared_error_forward = active.squared_error_forward
squared_error_backward = active.squared_error_backward
poisson_forward = active.poisson_forward
poisson_backward = active.poisson_backward
absolute_error_forward = active.absolute_error_forward
absolute_error_backward = active.absolute_error_backward
huber_forward = active.huber_forward
huber_backward = active.huber_backward
quantile_forward = active.quantile_forward
quantile_backward = active.quantile_backward
gamma_forward = active.gamma_forward
gamma_backward = active.gamma_backward
tweedie_forward = active.tweedie_forward
tweedie_backward = active.tweedie_backward

# Updates
sgd_update = active.sgd_update
momentum_update = active.momentum_update
rmsprop_update = active.rmsprop_update
adam_update = active.adam_update
adamw_update = active.adamw_update

# Whole networks in one flat block of parameters
network_forward = active.network_forward
network_loss_gradient = active.network_loss_gradient
train_epoch = active.train_epoch

__all__ = [
    "CopyWarning",
    "EncodedRows",
    "Kernels",
    "LayerProgram",
    "absolute_error_backward",
    "absolute_error_forward",
    "activation_backward",
    "activation_forward",
    "active",
    "adam_update",
    "adamw_update",
    "available",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_forward",
    "describe",
    "dropout_backward",
    "dropout_forward",
    "gamma_backward",
    "gamma_forward",
    "huber_backward",
    "huber_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "layer_table",
    "layer_views",
    "linear_backward",
    "linear_forward",
    "load",
    "momentum_update",
    "n_buffers",
    "n_parameters",
    "network_forward",
    "network_loss_gradient",
    "poisson_backward",
    "poisson_forward",
    "quantile_backward",
    "quantile_forward",
    "rmsprop_update",
    "sgd_update",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "squared_error_backward",
    "squared_error_forward",
    "train_epoch",
    "tweedie_backward",
    "tweedie_forward",
    "unavailable",
]

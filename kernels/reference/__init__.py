"""The kernels in plain NumPy: the shortest correct code, the oracle of the tests and the baseline of the benchmarks.

Every function has the raw signature that all back ends share (`spec.RAW`): inputs, then scalars, then outputs, then ``n_threads``
(ignored here). Arrays are C-contiguous and of one real dtype, which is also the dtype of the arithmetic: the tests pass float64 to
get an oracle. Nothing is checked; the checked functions are in ``public.py``. Activations, losses and optimizers are numbers of
`spec`; one that is not there is a ValueError, in every back end.

An array that is not given is an empty one: ``labels`` (0,), ``targets`` (0, 0), ``sample_weight`` (0,); an output that is not
wanted too: ``dx`` (0, 0), the ``outputs`` of a loss (0, 0). Those ``outputs`` may be the ``logits`` themselves, and ``dlogits``
may be the ``outputs``; the outputs of `activation_forward`, `activation_backward`, `dropout` and `batch_norm_inference` may be
their first inputs; no other two arrays overlap. The rows X of a network are dense, ``x`` (n, n_in), with empty ``indices``
and ``indptr``; or sparse in CSR form, ``x`` (1, n_entries) with ``indices`` and ``indptr`` both int32 or both int64: then the first
row of the layer table is linear, and no other adds X. Or they are encoded, ``x`` (n, n_columns) with a table of their columns as
``indices`` and an empty ``indptr``: likewise; see `..encoded`.

Formulas: Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections 6.2 and 6.5; `activations` and `updates` name theirs; Ba,
Kiros, Hinton, *Layer normalization* (2016); Ioffe and Szegedy, *Batch normalization* (2015).
"""

from ..plain import all_finite, shuffle_orders
from .activations import activation_backward, activation_forward, linear_backward, linear_forward
from .dropout import dropout
from .losses import loss_backward, loss_forward, softmax_backward, softmax_forward
from .network import bind_forward, network_forward, network_loss_gradient
from .normalization import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    layer_norm_backward,
    layer_norm_forward,
)
from .training import apply_sums, batch_sums, train_epochs, train_jobs
from .updates import update

__all__ = [
    "activation_backward",
    "activation_forward",
    "all_finite",
    "apply_sums",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "batch_sums",
    "bind_forward",
    "dropout",
    "layer_norm_backward",
    "layer_norm_forward",
    "linear_backward",
    "linear_forward",
    "loss_backward",
    "loss_forward",
    "network_forward",
    "network_loss_gradient",
    "shuffle_orders",
    "softmax_backward",
    "softmax_forward",
    "train_epochs",
    "train_jobs",
    "update",
]

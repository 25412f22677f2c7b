"""The raw kernels in Numba: the functions of `reference`, by the same names, with the same parameters and meaning.

They can be called from Python and from a user's own jitted code::

    @njit(nogil=True)
    def hidden_and_outputs(x, weight_1, bias_1, hidden, weight_2, bias_2, logits):
        linear_forward(x, weight_1, bias_1, RELU, hidden, 1)
        linear_forward(hidden, weight_2, bias_2, IDENTITY, logits, 1)

All run without the GIL, in float32 or float64 as their arrays are, and neither check nor copy arrays; an unknown
activation, loss, optimizer, link or kind of layer is a ValueError before anything is written.

Files: ``tile`` (the micro-kernel, in LLVM code) < ``gemm`` (the three products of a layer) < ``linear``; ``vmath`` (functions of a
number) < ``activations`` < ``losses``; ``dropout``; ``normalization``; ``optimizers``; ``program`` (the rows of a layer table)
< ``network`` (a whole network's outputs) < ``batch`` (the gradient of some rows) < ``training`` (whole epochs in one call); ``jit``
(how all of them are compiled).

Compilation
    Tiles and activations are compiled for both dtypes when this folder is first imported, everything else at its first call with a
    dtype, and for read-only and writable inputs apart. Numba caches the results in ``__pycache__``, or where NUMBA_CACHE_DIR says.

Threads
    `linear_forward`, `linear_backward`, `network_forward`, `network_loss_gradient`, `train_epochs`, `batch_sums` and `apply_sums`
    share their work among ``n_threads`` of Numba's pool; the others run in the calling thread. The shares depend on ``n_threads``
    alone, not on the size of the pool, so neither do the bits of a result. The pool starts with the first call that asks for more
    than one thread, as does the compilation of the parallel code. Jitted callers get the calling thread only: they have prange
    themselves. With the threading layer "workqueue", which Numba takes where neither TBB nor OpenMP is installed, no two threads of
    a program may make calls with n_threads > 1 at the same time.
"""

from ..plain import all_finite, shuffle_orders
from .activations import activation_backward, activation_forward
from .dropout import dropout
from .linear import linear_backward, linear_forward
from .losses import loss_backward, loss_forward, softmax_backward, softmax_forward
from .network import bind_forward, network_forward
from .normalization import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    layer_norm_backward,
    layer_norm_forward,
)
from .optimizers import update
from .training import apply_sums, batch_sums, network_loss_gradient, train_epochs, train_jobs

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

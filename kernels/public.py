"""The checked public face of the kernels: class `Kernels`, whose methods are the functions of ``fastprop.kernels``.

One object is one back end, so that nothing here knows which back ends exist; `dispatch` makes the objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .annotations import Floats, Hyper, Integers, Layers, LossName, OptimizerName, Sparse
from .codes import CANONICAL_LINK, LINKS, LOSSES, N_STATE_SLOTS, OPTIMIZERS
from .public_layers import LayerKernels
from .public_losses import LossKernels
from .public_normalization import NormalizationKernels
from .public_updates import UpdateKernels

# scikit-learn's defaults (sklearn.neural_network.MLPClassifier) for what `train_epoch` is not given in `hyper`.
HYPER_DEFAULTS = {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


class Kernels(LayerKernels, NormalizationKernels, LossKernels, UpdateKernels):
    """Every public kernel, computed by one back end.

    Arrays are float32 or float64, all of a call of one dtype; labels and other indices are integers, which are always copied and
    then checked, so that another thread may change the caller's during the call. Other inputs that are not C-contiguous, aligned
    and in native byte order are copied, and a `CopyWarning` says so; outputs that are not are refused.
    Where no output is given, a new array is returned. Outputs must not overlap inputs, except where it says that they may be
    the same. Arrays without rows are valid: sums are 0. NaN and infinity propagate as in NumPy.

    Parameters
    ----------
    raw : module
        The unchecked functions, with the signatures of `reference`.
    backend : str
        The name of the back end, as in `dispatch`.
    isa : str or None
        The instruction set of a back end that is compiled for several.
    """

    def __init__(self, raw: Any, backend: str, isa: str | None) -> None:
        self.raw, self.backend, self.isa = raw, backend, isa

    def __repr__(self) -> str:
        return f"<Kernels: {self.backend}{f' {self.isa}' if self.isa else ''}>"

    def network_forward(
        self, x: Floats | Sparse, layers: Layers, params: Floats, out: Floats | None = None, n_threads: int = 1
    ) -> Floats:
        """The outputs of a plain stack of layers: ``a_0 = x``, ``a_l = f_l(a_(l-1) @ weight_l + bias_l)``.

        Parameters
        ----------
        x : ndarray or SciPy CSR array or matrix, shape (n, n_in), float32 or float64
            The rows. Sparse rows are never made dense.
        layers : ndarray of intp, shape (n_layers, 7)
            From `layer_table`; its dropout is for `train_epoch` alone.
        params : ndarray, shape (n_parameters(layers),), dtype of x
            All weights and biases; `layer_views` shows them.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the result. Must not overlap the inputs.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The last layer's link applied: probabilities, rates or predictions.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.
        """
        table, n_in, n_out, _ = checks.network(layers, params)
        n, rows, stored = checks.rows("x", x, n_in, params)
        n_threads = checks.threads(n_threads)
        outputs = checks.output("out", out, (n, n_out), params, stored | {"layers": layers, "params": params})
        if n:
            self.raw.network_forward(*rows, table, checks.c_order("params", params), outputs, n_threads)
        return outputs

    def network_loss_gradient(
        self,
        x: Floats | Sparse,
        targets: NDArray[Any],
        layers: Layers,
        params: Floats,
        loss: LossName,
        alpha: float = 0.0,
        sample_weight: Floats | None = None,
        clip: float = 0.0,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[float, Floats]:
        """Mean loss of a plain stack of layers and its gradient with respect to all parameters, with an L2 term.

        With S the number of rows, or the sum of the sample weights: ``loss_mean = (loss_sum + alpha / 2 * |weights|^2) / S`` and
        ``gradient = (gradient of loss_sum + alpha * weights) / S``. Biases are not penalised. Squared error follows scikit-learn:
        loss_sum is also divided by n_out, its gradient is not. Both are 0 where S is 0.

        Parameters
        ----------
        x : ndarray or SciPy CSR array or matrix, shape (n, n_in), float32 or float64
            The rows. Sparse rows are never made dense.
        targets : ndarray
            As in the forward kernel of the loss.
        layers : ndarray of intp, shape (n_layers, 7)
            From `layer_table`, with the loss's canonical link.
        params : ndarray, shape (n_parameters(layers),), dtype of x
            All weights and biases; `layer_views` shows them.
        loss : {'softmax_cross_entropy', 'binary_cross_entropy', 'squared_error', 'poisson'}
            Their links are softmax, sigmoid, identity and exp.
        alpha : float
            Factor >= 0 of the L2 term.
        sample_weight : ndarray, shape (n,), dtype of x, optional
            Finite; the loss of each row is multiplied by its weight.
        clip : float
            In [0, 0.5). Above 0, the two cross-entropies are reported as if of probabilities clipped to [clip, 1 - clip], as
            scikit-learn does with the dtype's epsilon; the gradient does not change.
        out : ndarray, shape and dtype of params, optional
            Overwritten with the gradient. Must not overlap the inputs.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_mean : float
            In nats.
        gradient : ndarray, shape (n_parameters(layers),)
            The gradient of loss_mean with respect to params: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5; scikit-learn, ``BaseMultilayerPerceptron._backprop``.
        """
        table, shape, rows, stored = self._check_problem(x, layers, params, loss)
        alpha, clip, n_threads = checks.real("alpha", alpha), checks.real("clip", clip), checks.threads(n_threads)
        labels, dense = checks.targets(loss, targets, shape, "params", params)
        weight = checks.sample_weight(sample_weight, shape[0], "params", params)
        inputs = stored | {"targets": targets, "sample_weight": sample_weight, "layers": layers, "params": params}
        gradient = checks.output("out", out, params.shape, params, inputs)
        problem = table, checks.c_order("params", params), LOSSES[loss], alpha, clip
        loss_mean = self.raw.network_loss_gradient(*rows, labels, dense, weight, *problem, gradient, n_threads)
        return loss_mean, gradient

    def train_epoch(
        self,
        x: Floats | Sparse,
        targets: NDArray[Any],
        order: Integers,
        layers: Layers,
        params: Floats,
        state: Floats,
        loss: LossName,
        optimizer: OptimizerName = "adam",
        hyper: Hyper | None = None,
        alpha: float = 0.0,
        batch_size: int = 200,
        step: int = 0,
        sample_weight: Floats | None = None,
        clip: float = 0.0,
        n_threads: int = 1,
    ) -> float:
        """One epoch of mini-batches, in place: for each, `network_loss_gradient` and then `sgd_update` or `adam_update`.

        Here, unlike there, hidden activations are dropped where ``layers`` says so.

        Parameters
        ----------
        x : ndarray or SciPy CSR array or matrix, shape (n, n_in), float32 or float64
            The rows of all batches. Sparse rows are never made dense.
        targets : ndarray
            As in the forward kernel of the loss.
        order : ndarray of int, shape (n_visits,)
            The rows to visit, such as a permutation; any may be left out or repeated.
        layers : ndarray of intp, shape (n_layers, 7)
            From `layer_table`, with the canonical link of the loss.
        params : ndarray, shape (n_parameters(layers),), dtype of x, C-contiguous
            Updated in place; by several threads fastest where it begins on a cache line, as ``Network.params`` does.
        state : ndarray, shape (n_slots, n_parameters(layers)), dtype of x, C-contiguous
            The memory of the optimizer, zeros before the first step: (velocity,) of sgd, (m, v) of adam. Updated in place.
        loss : {'softmax_cross_entropy', 'binary_cross_entropy', 'squared_error', 'poisson'}
            As in `network_loss_gradient`.
        optimizer : {'sgd', 'adam'}
            Whether `sgd_update` or `adam_update` changes the parameters.
        hyper : dict, optional
            'lr', 'momentum', 'nesterov' of sgd, 'lr', 'beta_1', 'beta_2', 'epsilon' of adam; what is missing has scikit-learn's
            default: 0.001, 0.9, True, 0.9, 0.999, 1e-8.
        alpha : float
            Factor >= 0 of the L2 term, as in `network_loss_gradient`.
        batch_size : int
            Rows in a mini-batch; the last may be shorter.
        step : int
            Number of steps done before this epoch. They also number the masks of dropout.
        sample_weight : ndarray, shape (n,), dtype of x, optional
            As in `network_loss_gradient`.
        clip : float
            As in `network_loss_gradient`.
        n_threads : int
            Number of threads.

        Returns
        -------
        float
            The mean of the batches' loss_mean, weighted by their numbers of rows, in nats; 0.0 where ``order`` is empty. A batch
            whose weights sum to 0 counts as loss 0 and changes nothing, but is a step.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.
        """
        table, shape, rows, stored = self._check_problem(x, layers, params, loss)
        code = checks.option("optimizer", optimizer, OPTIMIZERS)
        hyper = checks.hyper(optimizer, hyper, HYPER_DEFAULTS)
        batch_size, step = checks.integer("batch_size", batch_size, 1), checks.integer("step", step, 0, checks.MAX_STEP)
        alpha, clip, n_threads = checks.real("alpha", alpha), checks.real("clip", clip), checks.threads(n_threads)
        labels, dense = checks.targets(loss, targets, shape, "params", params)
        weight = checks.sample_weight(sample_weight, shape[0], "params", params)
        visits = checks.indices("order", order, shape[0])
        checks.like("state", state, (N_STATE_SLOTS[optimizer], len(params)), "params", params)
        inputs = stored | {"targets": targets, "sample_weight": sample_weight, "order": order, "layers": layers}
        raw_params = checks.output("params", params, params.shape, params, inputs)
        raw_state = checks.output("state", state, state.shape, params, inputs | {"params": params})
        if not visits.size:
            return 0.0
        problem = visits.reshape(1, -1), table, LOSSES[loss], code, hyper, alpha, clip, batch_size, np.array([step], np.intp)
        losses = np.empty(1)
        self.raw.train_epochs(*rows, labels, dense, weight, *problem, raw_params, raw_state, losses, n_threads)
        return float(losses[0])

    def _check_problem(self, x, layers, params, loss):
        """After checks that these four fit together: (layer table, shape (n, n_out) of the outputs, rows, stored), see `checks`."""
        checks.option("loss", loss, LOSSES)
        table, n_in, n_out, link = checks.network(layers, params)
        if link != LINKS[CANONICAL_LINK[loss]]:
            has = next(name for name, code in LINKS.items() if code == link)
            raise ValueError(f"layers must have the link {CANONICAL_LINK[loss]!r} for the loss {loss!r}; got {has!r}")
        n, rows, stored = checks.rows("x", x, n_in, params)
        return table, (n, n_out), rows, stored

"""The checked public face of the kernels: class `Kernels`, whose methods are the functions of ``fastprop.kernels``.

One object is one back end, so that nothing here knows which back ends exist; `dispatch` makes the objects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .annotations import Floats, Hyper, Integers, Layers, LossHyper, LossName, OptimizerName, Sparse
from .job import new_job
from .public_layers import LayerKernels
from .public_normalization import NormalizationKernels
from .public_regression import RegressionLossKernels
from .public_updates import UpdateKernels
from .spec import LINKS, LOSS_CODES, LOSSES, OPTIMIZER_CODES, OPTIMIZERS, Rows


class Kernels(LayerKernels, NormalizationKernels, RegressionLossKernels, UpdateKernels):
    """Every public kernel, computed by one back end.

    Arrays are float32 or float64, all of a call of one dtype. Labels and other indices are integers, which are always copied and
    then checked, so that another thread may change the caller's during the call. Other inputs that are not C-contiguous, aligned
    and in native byte order are copied, and a `CopyWarning` says so; for such outputs an error is raised. Of a CSR array the
    ``indptr`` is copied, the ``indices`` are not: where they change during the call, the result is wrong.
    Where no output is given, a new array is returned. Outputs must not overlap inputs, unless a docstring says that the two may
    be the same array. Arrays without rows are valid: sums are 0. NaN and infinity propagate as in NumPy.

    Parameters
    ----------
    raw : module
        The unchecked functions, with the signatures of `reference`.
    backend : str
        The name of the back end, as in `dispatch`.
    isa : str or None
        The instruction set of a back end that is compiled for several.
    load_bfloat16 : callable, optional
        Without arguments; returns the module for bfloat16. Without it, there is none but ``raw``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import kernels
    >>> reference = kernels.load("reference")
    >>> x = np.array([[-1.0, 2.0]])
    >>> np.array_equal(reference.activation_forward(x, "relu"), kernels.active.activation_forward(x, "relu"))
    True
    """

    def __init__(self, raw: Any, backend: str, isa: str | None, load_bfloat16: Callable[[], Any] | None = None) -> None:
        self.raw, self.backend, self.isa, self._load_bfloat16 = raw, backend, isa, load_bfloat16

    @cached_property
    def bfloat16(self) -> Any:
        """The unchecked functions for arrays and jobs of bfloat16; few need them, so the module is imported when asked for."""
        return self.raw if self._load_bfloat16 is None else self._load_bfloat16()

    def __repr__(self) -> str:
        return f"<Kernels: {self.backend}{f' {self.isa}' if self.isa else ''}>"

    def network_forward(
        self,
        x: Floats | Sparse,
        layers: Layers,
        params: Floats,
        out: Floats | None = None,
        n_threads: int = 1,
        buffers: Floats | None = None,
    ) -> Floats:
        """The outputs of a network: the rows of its layer table one after the other, without dropout.

        Parameters
        ----------
        x : ndarray or SciPy CSR array or matrix, shape (n, n_in), float32 or float64
            The rows. Sparse rows are never made dense.
        layers : ndarray of `spec.LAYER`, shape (n_rows,)
            From `layer_table` or `LayerProgram`; its dropout is for `train_epoch` alone.
        params : ndarray, shape (n_parameters(layers),), dtype of x
            All weights and biases; `layer_views` shows them.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the result. Must not overlap the inputs.
        n_threads : int
            Number of threads.
        buffers : ndarray, shape (n_buffers(layers),), dtype of x, optional
            The running statistics of batch norms, which must be given where there are some.

        Returns
        -------
        ndarray, shape (n, n_out)
            The last layer's link applied: probabilities, rates or predictions.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> layers = kernels.layer_table([3, 4, 2], link="softmax")
        >>> params = np.zeros(kernels.n_parameters(layers))
        >>> kernels.network_forward(np.ones((1, 3)), layers, params)
        array([[0.5, 0.5]])
        """
        table, n_in, n_out, _, statistics = checks.network(layers, params, buffers)
        n, rows, stored = checks.rows("x", x, n_in, params, table)
        n_threads = checks.threads(n_threads)
        inputs = stored | {"layers": layers, "params": params, "buffers": buffers}
        outputs = checks.output("out", out, (n, n_out), params, inputs)
        if n:
            blocks = checks.c_order("params", params), checks.c_order("buffers", statistics)
            self.raw.network_forward(*rows, table, *blocks, outputs, n_threads)
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
        loss_hyper: LossHyper | None = None,
    ) -> tuple[float, Floats]:
        """Mean loss of a network and its gradient with respect to all parameters, with an L2 term.

        With S the number of rows, or the sum of the sample weights: ``loss_mean = (loss_sum + alpha / 2 * |weights|^2) / S`` and
        ``gradient = (gradient of loss_sum + alpha * weights) / S``. Biases and norms are not penalised. Squared error follows
        scikit-learn: loss_sum is also divided by n_out, its gradient is not. Both are 0 where S is 0. Batch norms take the
        statistics of these rows.

        Parameters
        ----------
        x : ndarray or SciPy CSR array or matrix, shape (n, n_in), float32 or float64
            The rows. Sparse rows are never made dense.
        targets : ndarray
            As in the forward kernel of the loss.
        layers : ndarray of `spec.LAYER`, shape (n_rows,)
            From `layer_table`, with the loss's canonical link.
        params : ndarray, shape (n_parameters(layers),), dtype of x
            All weights and biases; `layer_views` shows them.
        loss : str
            A name of `spec.LOSSES`, which also has its link.
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
        loss_hyper : dict, optional
            The parameters of the loss: 'delta' of huber, 'quantile' of quantile (a number, or one for each output), 'power' of
            tweedie. They mean what they do in its kernels, and the defaults are those of `spec.LOSSES`.

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

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> layers = kernels.layer_table([3, 4, 2], link="softmax")
        >>> params = np.zeros(kernels.n_parameters(layers))
        >>> x, labels = np.ones((2, 3)), np.array([0, 1])
        >>> loss, gradient = kernels.network_loss_gradient(x, labels, layers, params, "softmax_cross_entropy")
        >>> round(loss, 4), gradient.shape
        (0.6931, (26,))
        """
        table, shape, rows, stored, _ = self._check_problem(x, layers, params, loss, needs_buffers=False)
        parameters = checks.loss_hyper(LOSSES[loss], loss_hyper, shape[1])
        alpha, clip, n_threads = checks.real("alpha", alpha), checks.real("clip", clip), checks.threads(n_threads)
        labels, dense = checks.targets(loss, targets, shape, "params", params)
        weight = checks.sample_weight(sample_weight, shape[0], "params", params)
        inputs = stored | {"targets": targets, "sample_weight": sample_weight, "layers": layers, "params": params}
        gradient = checks.output("out", out, params.shape, params, inputs)
        problem = table, checks.c_order("params", params), LOSS_CODES[loss], parameters, alpha, clip
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
        buffers: Floats | None = None,
        loss_hyper: LossHyper | None = None,
    ) -> float:
        """One epoch of mini-batches, in place: for each, `network_loss_gradient` and then the optimizer's update.

        Unlike in `network_loss_gradient`, dropout applies where ``layers`` has it, and batch norms move their running statistics.

        Parameters
        ----------
        x : ndarray or SciPy CSR array or matrix, shape (n, n_in), float32 or float64
            The rows of all batches. Sparse rows are never made dense.
        targets : ndarray
            As in the forward kernel of the loss.
        order : ndarray of int, shape (n_visits,)
            The rows to visit, such as a permutation; any may be left out or repeated.
        layers : ndarray of `spec.LAYER`, shape (n_rows,)
            From `layer_table`, with the canonical link of the loss.
        params : ndarray, shape (n_parameters(layers),), dtype of x, C-contiguous
            Updated in place; by several threads fastest where it begins on a cache line, as ``Network.params`` does.
        state : ndarray, shape (n_slots, n_parameters(layers)), dtype of x, C-contiguous
            The memory of the optimizer, zeros before the first step: (velocity,) of sgd and momentum, (square_avg,) of rmsprop,
            (m, v) of adam and adamw. Updated in place.
        loss : str
            As in `network_loss_gradient`.
        optimizer : {'sgd', 'adam', 'momentum', 'rmsprop', 'adamw'}
            The optimizer; its update changes the parameters, for instance `sgd_update`.
        hyper : dict, optional
            'lr', 'l2' and 'weight_decay' of every optimizer, 'momentum' and 'nesterov' of sgd and momentum, 'beta_1', 'beta_2' and
            'epsilon' of adam and adamw, 'alpha' and 'epsilon' of rmsprop. They mean what they do in the optimizer's update; l2 and
            weight_decay act on all parameters. The defaults are those of `spec.OPTIMIZERS`, 0.001 for lr, and 0 for l2 and
            weight_decay.
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
        buffers : ndarray, shape (n_buffers(layers),), dtype of x, C-contiguous, optional
            The running statistics of batch norms, which must be given where there are some. Updated in place.
        loss_hyper : dict, optional
            As in `network_loss_gradient`.

        Returns
        -------
        float
            The mean of the batches' loss_mean, weighted by their numbers of rows, in nats; 0.0 where ``order`` is empty. A batch
            whose weights sum to 0 counts as loss 0 and changes nothing, but is a step.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 2))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> layers = kernels.layer_table([2, 8, 2], link="softmax")
        >>> params = rng.normal(scale=0.5, size=kernels.n_parameters(layers))
        >>> state = np.zeros((2, len(params)))  # Adam's two moments
        >>> options = dict(batch_size=50, hyper=dict(lr=0.01))
        >>> losses = []
        >>> for epoch in range(20):
        ...     order = rng.permutation(300)
        ...     problem = x, y, order, layers, params, state, "softmax_cross_entropy"
        ...     losses.append(kernels.train_epoch(*problem, step=6 * epoch, **options))
        >>> losses[-1] < 0.5 * losses[0]
        True
        """
        table, shape, rows, stored, statistics = self._check_problem(x, layers, params, loss, buffers)
        parameters = checks.loss_hyper(LOSSES[loss], loss_hyper, shape[1])
        code = checks.option("optimizer", optimizer, OPTIMIZER_CODES)
        hyper = checks.hyper(optimizer, hyper)
        batch_size, step = checks.integer("batch_size", batch_size, 1), checks.integer("step", step, 0, checks.MAX_STEP)
        alpha, clip, n_threads = checks.real("alpha", alpha), checks.real("clip", clip), checks.threads(n_threads)
        labels, dense = checks.targets(loss, targets, shape, "params", params)
        weight = checks.sample_weight(sample_weight, shape[0], "params", params)
        visits = checks.indices("order", order, shape[0])
        checks.like("state", state, (OPTIMIZERS[optimizer].n_slots, len(params)), "params", params)
        inputs = stored | {"targets": targets, "sample_weight": sample_weight, "order": order, "layers": layers}
        raw_params = checks.output("params", params, params.shape, params, inputs)
        raw_state = checks.output("state", state, state.shape, params, inputs | {"params": params})
        raw_buffers = checks.output("buffers", statistics, statistics.shape, params, inputs | {"params": params, "state": state})
        if not visits.size:
            return 0.0
        losses = np.empty(1)
        job = new_job(
            Rows(*rows, labels, dense, weight),
            raw_params,
            orders=visits.reshape(1, -1),
            layers=table,
            buffers=raw_buffers,
            loss=LOSS_CODES[loss],
            loss_hyper=parameters,
            clip=clip,
            alpha=alpha,
            optimizer=code,
            hyper=hyper,
            state=raw_state,
            step=np.array([step], np.intp),
            batch_size=batch_size,
            losses=losses,
        )
        self.raw.train_epochs(job, n_threads)
        return float(losses[0])

    def _check_problem(self, x, layers, params, loss, buffers=None, needs_buffers=True):
        """Check that these fit together. Returns (layer table, (n, n_out) of the outputs, rows, stored, buffers): see `checks`."""
        checks.option("loss", loss, LOSS_CODES)
        table, n_in, n_out, link, buffers = checks.network(layers, params, buffers, needs_buffers)
        if link != LINKS[LOSSES[loss].link]:
            has = next(name for name, code in LINKS.items() if code == link)
            raise ValueError(f"layers must have the link {LOSSES[loss].link!r} for the loss {loss!r}; got {has!r}")
        n, rows, stored = checks.rows("x", x, n_in, params, table)
        return table, (n, n_out), rows, stored, buffers

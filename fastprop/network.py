"""Network: layer sizes, one flat block of parameters, and the compiled calls on it.

It knows the kernels and nothing above them. Data are checked once, when a `TrainingSet` is made; calls with a `TrainingSet` go
straight to the raw kernels of the active back end.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .annotations import ActivationName, ArrayLike, FloatDType, Floats, Integers, LossName, MatrixLike
from .kernels import checks
from .kernels.annotations import Layers, LossHyper
from .kernels.checks import NO_INDICES, NO_LABELS
from .kernels.job import raw_for
from .kernels.layer_table import NORMS, buffer_views, n_spanned, parameter_spans, views_of
from .kernels.spec import KINDS, LINKS, LOSS_CODES, LOSSES, Job
from .optim import Optimizer
from .precision import Precision, PredictionPrecision
from .products import products_of
from .training_calls import TrainingCalls, checked_threads, own_block, written
from .training_set import FLOAT_DTYPES, TrainingSet, aligned, checked_indices, float_dtype, is_sparse, sparse_rows

CACHE_LINE = 64  # bytes
# If rows have to be converted for a prediction, this many numbers are converted at a time.
CONVERTED_AT_ONCE = 2**20
# Attributes of a Network that are fixed by its layer table and its block of parameters.
FIXED = ("sizes", "activation", "normalization", "loss", "coefs", "intercepts", "norms", "statistics")


class Network:
    """A plain stack of Linear layers in one flat block of parameters; `from_layers` makes other networks.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of units, from the inputs to the outputs.
    activation : str or sequence of str
        The activation of every hidden layer, or one for each: names that `kernels.activation_forward` takes.
    loss : str
        A name in `kernels.spec.LOSSES`. It decides the link that turns the last layer's logits into outputs: softmax, sigmoid,
        identity or exp.
    dtype : {float32, float64}
        The dtype of the parameters; data are converted to it.
    loss_hyper : dict, optional
        The parameters of the loss, as in `kernels.network_loss_gradient`.
    normalization : {'batch', 'layer'}, optional
        The norm between each hidden layer and its activation.

    Attributes
    ----------
    layers : ndarray of `kernels.spec.LAYER`, shape (n_rows,)
        The table that the kernels read, see `kernels.layer_table`; read-only.
    params : ndarray, shape (n_parameters,)
        All weights and biases, zeros at first. Write into it, or into its views below; it cannot be replaced.
    coefs : tuple of ndarray
        Views of each layer's weight (n_in, n_out).
    intercepts : tuple of ndarray
        Views of each layer's bias (n_out,).
    norms : tuple of (ndarray, ndarray)
        Views of each norm's gamma and beta, both (n_units,).
    statistics : tuple of (ndarray, ndarray)
        Views of each batch norm's running mean and variance in ``buffers``, both (n_units,).
    buffers : ndarray, shape (n_buffers,)
        The running means, 0 at first, and variances, 1 at first, of batch norms; a plain stack has none.
    n_weights : int
        The number of weights without the biases. For one row, a weight takes 2 operations in the forward pass, and 6 in the forward
        and backward pass together.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import Network
    >>> network = Network([2, 3, 1], activation="tanh", loss="binary_cross_entropy")
    >>> network.initialize(np.random.RandomState(0))
    >>> network.forward(np.zeros((4, 2))).shape
    (4, 1)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: ActivationName | Sequence[ActivationName] = "relu",
        loss: LossName = "softmax_cross_entropy",
        dtype: FloatDType = np.float64,
        loss_hyper: LossHyper | None = None,
        normalization: Literal["batch", "layer"] | None = None,
    ) -> None:
        checks.option("loss", loss, LOSSES)
        self.sizes = tuple(checks.integer("sizes", size) for size in sizes)
        self.activation, self.loss, self.normalization = activation, loss, normalization
        self._use(self._layer_table(), dtype, loss_hyper)

    def sharing(
        self,
        *,
        params: Floats | None = None,
        dropout: Sequence[tuple[float, int, int]] | None = None,
        loss: LossName | None = None,
        loss_hyper: LossHyper | None = None,
    ) -> Self:
        """Make a network of the same layers that shares parameters and statistics with this one: training one changes the other.

        Parameters
        ----------
        params : ndarray, shape of `params`, optional
            Other parameters, used without a copy; by default those of this network. The running statistics are shared either way.
        dropout : sequence of (rate, seed, stream), optional
            Dropout after each hidden layer, as in `kernels.layer_table`. Copies of the network do not have it.
        loss : str, optional
            Another loss; by default the loss of this network with its parameters.
        loss_hyper : dict, optional
            The parameters of ``loss``.

        Returns
        -------
        Network
            A network of the same class.

        Raises
        ------
        TypeError
            If this network was made by `from_layers`.
        """
        if self.activation is None:
            raise TypeError("a network made by from_layers cannot be shared: it has no sizes and activations")
        network = object.__new__(type(self))
        network.sizes, network.activation, network.normalization = self.sizes, self.activation, self.normalization
        network.loss, loss_hyper = (self.loss, self.loss_hyper) if loss is None else (loss, loss_hyper)
        params = self._params if params is None else own_block("params", params, self._params.shape, self.dtype)
        network._use(network._layer_table(dropout), self.dtype, loss_hyper, params, self._buffers)
        return network

    def up_to_hidden(self, layer: int) -> Network:
        """Make a network that shares the parameters of this one and ends with a hidden layer.

        Parameters
        ----------
        layer : int
            The number of the hidden layer, from 0.

        Returns
        -------
        Network
            Its outputs are the activations of that layer.
        """
        (activations,) = np.nonzero(self._layers["kind"] == KINDS["activation"])
        return self._first_rows(activations[layer] + 1)

    def _first_rows(self, n):
        """A network of the first rows of the table, which shares the parameters of this one."""
        rows, link = self._layers[:n], self._layers[-1:].copy()
        link["n_in"] = link["n_out"] = rows[-1]["n_out"]
        link["code"] = LINKS["identity"]
        table = np.concatenate([rows, link])
        params, buffers = self._params[: kernels.n_parameters(table)], self._buffers[: kernels.n_buffers(table)]
        return Network.from_layers(table, "squared_error", params=params, buffers=buffers)

    def _use(self, layers, dtype, loss_hyper, params=None, buffers=None):
        """Set the layer table, the parameters of the loss, and the given blocks of parameters and buffers, or new ones."""
        self._loss_hyper = checks.loss_hyper(LOSSES[self.loss], loss_hyper, int(layers[-1]["n_out"]))
        if np.dtype(dtype) not in FLOAT_DTYPES:
            raise TypeError(f"dtype must be float32 or float64; got {np.dtype(dtype).name}")
        self._layers = layers
        self._layers.setflags(write=False)
        spans = parameter_spans(layers)
        self._params = aligned_zeros(n_spanned(spans), np.dtype(dtype)) if params is None else params
        self._buffers = np.zeros(kernels.n_buffers(layers), dtype) if buffers is None else buffers
        self.statistics: tuple[tuple[Floats, Floats], ...] = tuple(filter(None, buffer_views(layers, self._buffers)))
        if buffers is None:
            for _, variance in self.statistics:
                variance[...] = 1
        linears, norms = [], []
        for kind, views in zip(layers["kind"].tolist(), views_of(spans, self._params), strict=True):
            linears += [views] if kind == KINDS["linear"] else []
            norms += [views] if kind in NORMS else []
        if params is None:
            for gamma, _ in norms:
                gamma[...] = 1
        self.coefs: tuple[Floats, ...]
        self.intercepts: tuple[Floats, ...]
        self.coefs, self.intercepts = zip(*linears, strict=True)
        self.norms: tuple[tuple[Floats, Floats], ...] = tuple(norms)
        self.n_weights = sum(weight.size for weight in self.coefs)

    def __setattr__(self, name, value):
        if name in FIXED and name in vars(self):
            raise AttributeError(f"{name} of a Network cannot be replaced: write into its arrays, or make a new Network")
        super().__setattr__(name, value)

    def _layer_table(self, dropout=None):
        return kernels.layer_table(self.sizes, self.activation, LOSSES[self.loss].link, dropout, self.normalization)

    @classmethod
    def from_arrays(
        cls,
        coefs: Sequence[ArrayLike],
        intercepts: Sequence[ArrayLike],
        activation: ActivationName | Sequence[ActivationName] = "relu",
        loss: LossName = "softmax_cross_entropy",
        loss_hyper: LossHyper | None = None,
        normalization: Literal["batch", "layer"] | None = None,
    ) -> Self:
        """Make a network with copies of the given weights and biases.

        Parameters
        ----------
        coefs : sequence of array-like, shapes (n_in, n_out)
            The weights of consecutive layers.
        intercepts : sequence of array-like, shapes (n_out,)
            Their biases.
        activation : str or sequence of str
            The activation of every hidden layer, or one for each: names that `kernels.activation_forward` takes.
        loss : str
            As in `Network`.
        loss_hyper : dict, optional
            As in `Network`.
        normalization : {'batch', 'layer'}, optional
            As in `Network`; the parameters and statistics of the norms are new.

        Returns
        -------
        Network
            The network, in float32 if all arrays can be cast to it safely, else in float64.

        Raises
        ------
        ValueError
            If the shapes are not those of consecutive layers.
        """
        coefs, intercepts = [np.asarray(w) for w in coefs], [np.asarray(b) for b in intercepts]
        sizes = [w.shape[0] if w.ndim == 2 else -1 for w in coefs] + [w.shape[-1] if w.ndim else -1 for w in coefs[-1:]]
        shapes = list(pairwise(sizes))
        if not coefs or [w.shape for w in coefs] != shapes or [b.shape for b in intercepts] != [shape[1:] for shape in shapes]:
            raise ValueError(
                "coefs and intercepts must be the weights (n_in, n_out) and biases (n_out,) of consecutive layers; "
                f"got shapes {[w.shape for w in coefs]} and {[b.shape for b in intercepts]}"
            )
        network = cls(sizes, activation, loss, float_dtype(*coefs, *intercepts), loss_hyper, normalization)
        for own, given in zip(network.coefs + network.intercepts, coefs + intercepts, strict=True):
            own[...] = given
        return network

    @classmethod
    def from_layers(
        cls,
        layers: Layers,
        loss: LossName = "softmax_cross_entropy",
        dtype: FloatDType = np.float64,
        params: Floats | None = None,
        buffers: Floats | None = None,
        loss_hyper: LossHyper | None = None,
    ) -> Self:
        """Make a network of any layers.

        Parameters
        ----------
        layers : ndarray of `kernels.spec.LAYER`, shape (n_rows,)
            From `kernels.LayerProgram`, with the link of the loss.
        loss : str
            As in `Network`.
        dtype : {float32, float64}
            The dtype of new parameters; not used if ``params`` are given.
        params : ndarray, shape (n_parameters(layers),), C-contiguous, optional
            The parameters, used without a copy. By default new ones: zeros, and ones for the gamma of norms.
        buffers : ndarray, shape (n_buffers(layers),), dtype of params, C-contiguous, optional
            The running statistics, used without a copy; by default new ones.
        loss_hyper : dict, optional
            As in `Network`.

        Returns
        -------
        Network
            The network. Its ``activation`` and ``normalization`` are None; ``sizes``, ``coefs`` and ``intercepts`` are those of the
            linear rows.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        checks.option("loss", loss, LOSSES)
        dtype = getattr(params, "dtype", dtype)
        table, n_params, n_buffers = checks.layer_table(layers)
        if table[-1]["code"] != LINKS[LOSSES[loss].link]:
            raise ValueError(f"layers must have the link {LOSSES[loss].link!r} for the loss {loss!r}")
        params, buffers = (
            None if block is None else own_block(name, block, (n,), dtype)
            for name, block, n in (("params", params, n_params), ("buffers", buffers, n_buffers))
        )
        network = cls.__new__(cls)
        widths = table["n_out"][table["kind"] == KINDS["linear"]].tolist()
        network.sizes, network.loss = (int(table[0]["n_in"]), *widths), loss
        network.activation = network.normalization = None
        network._use(table, dtype, loss_hyper, params, buffers)
        return network

    # These return views, so that setting the shape of a result does not change the network's array.

    @property
    def layers(self) -> Layers:
        """The layer table that the kernels read; read-only."""
        return self._layers[...]

    @property
    def params(self) -> Floats:
        """All weights and biases in one flat block."""
        return self._params[...]

    @property
    def buffers(self) -> Floats:
        """The running statistics of batch norms in one flat block."""
        return self._buffers[...]

    @property
    def loss_hyper(self) -> LossHyper:
        """The parameters of the loss; a sequence if each output has its own."""
        loss = LOSSES[self.loss]
        values = self._loss_hyper.reshape(len(loss.hyper), -1).tolist() if loss.hyper else []
        named = {name: each if loss.per_output else each[0] for name, each in zip(loss.hyper, values, strict=True)}
        return cast(LossHyper, named)

    @property
    def activations(self) -> tuple[Any, ...]:
        """The activation of each hidden layer; None if it is not known, as in networks made by `from_layers`."""
        given = self.activation
        return tuple(given) if isinstance(given, (list, tuple)) else (given,) * (len(self.sizes) - 2)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters, float32 or float64."""
        return self._params.dtype

    def __repr__(self) -> str:
        loss = f"loss={self.loss!r}, " + (f"loss_hyper={self.loss_hyper}, " if self.loss_hyper else "")
        if self.activation is None:
            return f"Network.from_layers({len(self._layers)} rows, {loss}dtype={self.dtype.name})"
        norm = f"normalization={self.normalization!r}, " if self.normalization else ""
        return f"Network({list(self.sizes)}, activation={self.activation!r}, {loss}{norm}dtype={self.dtype.name})"

    # A pickle or a deep copy does not keep views as views, so only the blocks are kept.

    def __getstate__(self):
        common = {"loss": self.loss, "loss_hyper": self.loss_hyper, "params": self._params, "buffers": self._buffers}
        if self.activation is None:
            return {"layers": self._layers} | common
        return {"sizes": self.sizes, "activation": self.activation, "normalization": self.normalization} | common

    def __setstate__(self, state):
        params, loss_hyper = state["params"], state.get("loss_hyper")
        if "layers" in state:
            new = self.from_layers(state["layers"], state["loss"], params.dtype, loss_hyper=loss_hyper)
            vars(self).update(vars(new))
        else:
            options = params.dtype, loss_hyper, state.get("normalization")
            self.__init__(state["sizes"], state["activation"], state["loss"], *options)
        self._params[:] = params
        self._buffers[:] = state.get("buffers", self._buffers)

    def astype(self, dtype: FloatDType) -> Self:
        """Copy the network into another dtype.

        Parameters
        ----------
        dtype : {float32, float64}
            The dtype of the copy.

        Returns
        -------
        Network
            The copy, with its own block of parameters.
        """
        if self.activation is None:
            network = self.from_layers(self._layers, self.loss, dtype, loss_hyper=self.loss_hyper)
        else:
            network = type(self)(self.sizes, self.activation, self.loss, dtype, self.loss_hyper, self.normalization)
        network._params[:] = self._params
        network._buffers[:] = self._buffers
        return network

    def initialize(self, random_state: np.random.RandomState | np.random.Generator) -> None:
        """Draw all parameters from the uniform distribution that scikit-learn uses, in its order.

        For each layer first the weights, then the biases, both in ``[-b, b]`` with ``b = sqrt(F / (n_in + n_out))``; F is 2 for a
        layer with a sigmoid and 6 otherwise (Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
        networks*, 2010, equation 16). For the last layer, the activation of the layer before it decides. The parameters of norms
        do not change.

        Parameters
        ----------
        random_state : RandomState or Generator
            The generator to draw from.
        """
        last = (self.activations or (self.activation,))[-1]
        for weight, bias, name in zip(self.coefs, self.intercepts, (*self.activations, last), strict=True):
            factor = 2.0 if name == "sigmoid" else 6.0
            bound = math.sqrt(factor / sum(weight.shape))
            weight[...] = random_state.uniform(-bound, bound, weight.shape)
            bias[...] = random_state.uniform(-bound, bound, bias.shape)

    def forward(self, x: MatrixLike, n_threads: int = 1) -> Floats:
        """Compute the outputs for some rows.

        Parameters
        ----------
        x : array-like or SciPy sparse matrix, shape (n, n_in)
            The rows. They are converted to the network's dtype, large arrays in parts.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The outputs after the link of the loss: probabilities, rates or predictions.
        """
        is_large = isinstance(x, np.ndarray) and x.size > CONVERTED_AT_ONCE and x.shape[1:] == self.sizes[:1]
        if is_large and (x.dtype != self.dtype or not x.flags.c_contiguous):
            size = max(1, CONVERTED_AT_ONCE // x.shape[1])
            parts = (aligned(x[start : start + size], self.dtype) for start in range(0, len(x), size))
            return np.concatenate([self.forward(part, n_threads) for part in parts])
        n, rows = self._rows(x)
        outputs = np.empty((n, self.sizes[-1]), self.dtype)
        if n:
            self._forward(rows, outputs, checked_threads(n_threads))
        return outputs

    def predictor(
        self,
        x: Floats,
        out: Floats,
        n_threads: int = 1,
        *,
        precision: PredictionPrecision = None,
        calibration: ArrayLike | None = None,
    ) -> Callable[[], None]:
        """Make a function without arguments that computes `forward` for the rows that x holds when it is called.

        The parameters are copied, in the order in which the kernels read them, so that few rows of a large network take less time
        than in `forward`. Everything is checked here and nothing in a call; a call is safe, but does not notice NaN or infinity.

        Parameters
        ----------
        x : ndarray, shape (n, n_in), C-contiguous, of the network's dtype, or of float32 with a precision
            The rows, at least one. Write the next rows into this array.
        out : ndarray, shape (n, n_out), C-contiguous, of the dtype of x
            Overwritten with the outputs in a call. Must not overlap x or the parameters.
        n_threads : int
            Number of threads of each call.
        precision : {'bfloat16', 'int8'}, optional
            Allow the products of layers to use numbers with fewer bits, which takes less time; all else is float32, even in a
            float64 network. 'bfloat16' rounds values and weights, as in `train_epochs`. 'int8' converts them to 8-bit integers,
            with a scale of the weights for each output, and a range of the values for each row. Layers with fewer than 32 inputs,
            fewer than 16 outputs or more than 65,536 inputs still use float32. A row of x with NaN or infinity gives NaN.
            `fastprop.inspection.compare_precisions` shows how much predictions change.
        calibration : array-like, shape (n_rows, n_in), optional
            Only with 'int8': training data, from which the range of each input of each layer is taken. Without it, columns of x
            that have a much larger range than others, or are far from zero, leave few bits for the others.

        Returns
        -------
        callable
            The function. Later changes of ``params`` do not affect it. Threads that call it at the same time write into the same
            ``out``: make a function for each thread.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import Network
        >>> network = Network([2, 1], loss="squared_error")
        >>> network.coefs[0][...] = [[1], [2]]
        >>> x, out = np.empty((1, 2)), np.empty((1, 1))
        >>> predict = network.predictor(x, out)
        >>> x[0] = 3, 4
        >>> predict()
        >>> out
        array([[11.]])
        """
        network = self.astype(self.dtype if precision is None else np.float32)
        n, rows = network._rows(x)
        if not n or not isinstance(x, np.ndarray) or rows[0].ctypes.data != x.ctypes.data:
            raise ValueError(f"x must be a C-contiguous, aligned {network.dtype.name} array with rows, because it is read in place")
        out = checks.output("out", checks.own_view(out), (n, self.sizes[-1]), network._params, {"x": x, "params": self._params})
        return network._bound_forward(rows, out, checked_threads(n_threads), products_of(network, precision, calibration))

    def training_set(self, x: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> TrainingSet:
        """Check and convert data once, for any number of calls of `train_epoch` and `loss_gradient`.

        Parameters
        ----------
        x : array-like or SciPy sparse matrix, shape (n, n_in)
            The rows.
        y : array-like
            Softmax: class numbers (n,), or distributions (n, n_out). Other losses: targets (n, n_out), or (n,) if n_out is 1;
            from 0 to 1 for binary_cross_entropy, not negative for poisson and tweedie, positive for gamma.
        sample_weight : array-like, shape (n,), optional
            Finite; the loss of each row is multiplied by its weight.

        Returns
        -------
        TrainingSet
            Float arrays that already have the right form are not copied, nor are the ``indices`` of a CSR array; they may be memory
            maps. Class numbers and the ``indptr`` of a CSR array are always copied.
        """
        n, rows = self._rows(x)
        labels, targets, weight = NO_LABELS, np.empty((0, 0), self.dtype), np.empty(0, self.dtype)
        y = np.asarray(y)
        if self.loss == "softmax_cross_entropy" and y.ndim == 1:
            labels = checked_indices("y", y, (n,), self.sizes[-1])
        else:
            shape = (n, self.sizes[-1])
            if y.shape != shape and not (y.shape == shape[:1] and shape[1] == 1):
                raise ValueError(f"y must have shape {shape}; got {y.shape}")
            targets = aligned(y.reshape(shape), self.dtype)
            checks.in_domain(self.loss, "y", targets)
        if sample_weight is not None:
            weight = aligned(sample_weight, self.dtype)
            if weight.shape != (n,) or not np.isfinite(weight).all():
                raise ValueError(f"sample_weight must be {n} finite numbers; got shape {weight.shape}")
        return TrainingSet(*rows, labels, targets, weight, self._problem)

    def loss_gradient(self, data: TrainingSet, alpha: float = 0.0, clip: float = 0.0, n_threads: int = 1) -> tuple[float, Floats]:
        """Compute the mean loss over a `TrainingSet` and its gradient; see `kernels.network_loss_gradient`.

        Parameters
        ----------
        data : TrainingSet
            From `training_set`.
        alpha : float
            Factor of the L2 term, at least 0.
        clip : float
            In [0, 0.5): probabilities are clipped to [clip, 1 - clip] for the reported loss.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_mean : float
            The mean loss; in nats for the cross-entropies.
        gradient : ndarray, shape (n_parameters,)
            The gradient with respect to `params`.
        """
        self._check_data(data)
        alpha, clip, gradient = checks.real("alpha", alpha), checks.real("clip", clip), np.empty_like(self._params)
        return self._loss_gradient(data, alpha, clip, gradient, checked_threads(n_threads)), gradient

    def train_epoch(
        self,
        data: TrainingSet,
        order: Integers,
        optimizer: Optimizer,
        *,
        batch_size: int,
        alpha: float = 0.0,
        clip: float = 0.0,
        n_threads: int = 1,
    ) -> float:
        """Pass once over the rows ``order`` of a `TrainingSet` in mini-batches, updating the parameters in place.

        Parameters
        ----------
        data : TrainingSet
            From `training_set`.
        order : ndarray of int, shape (n_visits,)
            The numbers of the rows, at least one, in any order.
        optimizer : optim.Optimizer
            Such as ``optim.Adam(network)``; its memory and step count are updated, too.
        batch_size : int
            The number of rows in a batch; the last batch may have fewer.
        alpha : float
            Factor of the L2 term, at least 0.
        clip : float
            In [0, 0.5): probabilities are clipped to [clip, 1 - clip] for the reported loss.
        n_threads : int
            Number of threads.

        Returns
        -------
        float
            The mean loss of the batches, weighted by their numbers of rows; each is computed before its update.
        """
        orders, losses = checked_indices("order", order, (len(order),), data.n_samples).reshape(1, -1), np.empty(1)
        self.train_epochs(data, orders, optimizer, losses, batch_size=batch_size, alpha=alpha, clip=clip, n_threads=n_threads)
        return float(losses[0])

    def train_epochs(
        self,
        data: TrainingSet,
        orders: Integers,
        optimizer: Optimizer,
        losses: NDArray[np.float64],
        *,
        batch_size: int,
        alpha: float = 0.0,
        clip: float = 0.0,
        rates: NDArray[np.float64] | None = None,
        smoothing: float = 0.0,
        clip_norm: float = 0.0,
        exempt: bool = False,
        gradient_scale: float = 1.0,
        value_scale: float = 1.0,
        ema_decay: float = 0.0,
        average: Floats | None = None,
        precision: Precision = None,
        validation: TrainingSet | None = None,
        validation_losses: NDArray[np.float64] | None = None,
        best: NDArray[np.float64] | None = None,
        best_params: Floats | None = None,
        best_buffers: Floats | None = None,
        n_threads: int = 1,
    ) -> None:
        """Run `train_epoch` several times in one call, with more options.

        Even after an interrupt, ``optimizer.t`` is the number of updates done.

        Parameters
        ----------
        data : TrainingSet
            From `training_set`.
        orders : ndarray of int, shape (n_epochs, n_visits)
            The rows of each epoch.
        optimizer : optim.Optimizer
            Such as ``optim.Adam(network)``; its memory and step count are updated, too.
        losses : ndarray of float64, shape (n_epochs,), C-contiguous
            Overwritten with the mean loss of each epoch, as `train_epoch` returns it.
        batch_size : int
            The number of rows in a batch; the last batch of an epoch may have fewer.
        alpha : float
            Factor of the L2 term, at least 0.
        clip : float
            In [0, 0.5): probabilities are clipped to [clip, 1 - clip] for the reported losses.
        rates : ndarray of float64, shape (n_steps,), optional
            Factors of the optimizer's lr for each step of the call.
        smoothing : float
            Label smoothing in [0, 1); it must be 0 unless the loss is a cross-entropy. In training only, targets y become
            (1 - smoothing) y + smoothing / K, where K is ``n_out``, or 2 for the binary cross-entropy.
        clip_norm : float
            The gradient of a batch is multiplied by ``min(1, clip_norm / (norm + 1e-6))``; 0 means no clipping.
        exempt : bool
            Whether biases and the parameters of norms are exempt from decoupled weight decay.
        gradient_scale : float
            Factor of the gradient of the loss; it does not apply to the L2 term.
        value_scale : float
            Factor of the loss in the reported losses.
        ema_decay : float
            The decay d of ``average``, in [0, 1); it must be 0 without ``average``.
        average : ndarray, shape of `params`, optional
            The exponential moving average of the parameters, updated in place: in update s, after which ``optimizer.t`` is s, it
            moves by ``(1 - d) / (1 - d**s) * (params - average)``. So it is the mean of the parameters after updates i = 1, ..., s
            with weights ``d**(s - i)``, and its values before the first update do not matter. A batch with sample weights that sum
            to zero does not change it; if the first batch may be one, set it to the parameters first.
        precision : {'bfloat16'}, optional
            Allow the products of layers to use numbers rounded to bfloat16: the rows, the values between layers, the weights and
            the gradients with respect to values. This takes less time if the processor has the instructions (``fastprop info`` says
            whether it has). Sums, parameters, optimizer, norms and losses stay float32. Only for float32 networks. Networks and
            batches that would not be faster train in float32.
        validation : TrainingSet, optional
            From `training_set`: the rows for ``validation_losses``. If ``average`` is given, it is used instead of the parameters.
        validation_losses : ndarray of float64, shape (n_epochs,), C-contiguous
            Required with ``validation``. Overwritten with the loss of its rows after each epoch, without L2 term and smoothing, in
            the precision of training.
        best : ndarray of float64, shape (2,), optional
            The lowest validation loss so far, infinity at first, and the number of steps when it was reached; updated in place.
        best_params : ndarray, shape of `params`, optional
            Overwritten with the parameters at that step, or with ``average`` if it is given.
        best_buffers : ndarray, shape of `buffers`, optional
            Overwritten with the running statistics at that step.
        n_threads : int
            Number of threads.
        """
        losses = written("losses", losses)
        orders = checked_indices("orders", orders, (len(losses), orders.shape[-1]), data.n_samples)
        batch_size = operator.index(batch_size)
        if batch_size < 1 or not orders.shape[1]:
            raise ValueError(f"batch_size and the rows of an epoch must be at least 1; got {batch_size} and {orders.shape[1]}")
        options = {"alpha": alpha, "clip": clip, "smoothing": smoothing, "clip_norm": clip_norm, "exempt": exempt}
        options |= {"gradient_scale": gradient_scale, "value_scale": value_scale, "ema_decay": ema_decay, "average": average}
        options |= {"precision": precision, "n_threads": n_threads}
        calls = TrainingCalls(self, data, optimizer, batch_size=batch_size, **options)
        if rates is not None:
            rates = np.array(rates, np.float64)
            shape = (len(losses) * -(-orders.shape[1] // batch_size),)
            if rates.shape != shape:
                raise ValueError(f"rates must have shape {shape}, one for each step; got {rates.shape}")
        if validation is not None:
            calls.validate(validation, validation_losses, len(losses), best, best_params, best_buffers)
        calls.run(orders, losses, rates)

    # The compiled calls, on checked arguments

    def _forward(self, rows, outputs, n_threads):
        kernels.active.raw.network_forward(*rows, self._layers, self._params, self._buffers, outputs, n_threads)

    def _bound_forward(self, rows, outputs, n_threads, products):
        raw = kernels.active.bfloat16 if products.bfloat16 else kernels.active.raw
        return raw.bind_forward(rows[0], self._layers, self._params, self._buffers, *products, outputs, n_threads)

    def _loss_gradient(self, data, alpha, clip, gradient, n_threads):
        problem = self._layers, self._params, LOSS_CODES[self.loss], self._loss_hyper, alpha, clip
        return kernels.active.raw.network_loss_gradient(*data.arrays, *problem, gradient, n_threads)

    def _train_epochs(self, job: Job, n_threads):
        raw_for(kernels.active, job).train_epochs(job, n_threads)

    def _batch_sums(self, job: Job, first_row, sums, n_threads):
        raw_for(kernels.active, job).batch_sums(job, first_row, sums, n_threads)

    def _apply_sums(self, job: Job, sums, n_threads):
        raw_for(kernels.active, job).apply_sums(job, sums, n_threads)

    def _rows(self, x):
        """(n, (x, indices, indptr)): the number of rows, and the rows in the form of the raw kernels."""
        if isinstance(x, kernels.EncodedRows):
            return checks.rows("x", x.astype(self.dtype), self.sizes[0], self._params, self._layers)[:2]
        if not is_sparse(x):
            x = aligned(x, self.dtype)
            if x.ndim != 2 or x.shape[1] != self.sizes[0]:
                raise ValueError(f"x must have shape (n, {self.sizes[0]}); got {x.shape}")
            return len(x), (x, NO_INDICES, NO_INDICES)
        return sparse_rows("x", x, self.sizes[0], self._params)

    @property
    def _problem(self):
        return self.loss, self.sizes[0], self.sizes[-1], self.dtype

    def _check_data(self, data):
        if data.problem != self._problem:
            raise ValueError("data must come from the training_set() of a network with the same loss, dtype, inputs and outputs")


def aligned_zeros(n, dtype):
    """np.zeros that starts on a cache line, so that several threads can write parameters past the caches."""
    memory = np.zeros(n * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + n * dtype.itemsize].view(dtype)

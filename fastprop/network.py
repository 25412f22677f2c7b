"""Network: layer sizes, one flat block of parameters, and the compiled calls on it. Half of this long file is docstrings.

Knows the kernels and nothing above them. Data are checked once, when a `TrainingSet` is made; the calls on it go straight to the
raw kernels of the active back end.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .annotations import ActivationName, ArrayLike, FloatDType, Floats, Integers, LossName, MatrixLike
from .kernels import checks
from .kernels.annotations import Layers
from .kernels.checks import MAX_THREADS, NO_INDICES, NO_LABELS
from .kernels.codes import ACTIVATIONS, CANONICAL_LINK, LOSSES, N_STATE_SLOTS, OPTIMIZERS

if TYPE_CHECKING:
    from .training import SGD, Adam

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
CACHE_LINE = 64  # bytes
# Attributes of a Network that are built into its layer table and its block of parameters.
FIXED = ("sizes", "activation", "loss", "coefs", "intercepts")


class TrainingSet(NamedTuple):
    """Checked data in the form of the raw kernels: C-contiguous, one dtype, an empty array for what is not given.

    Made by `Network.training_set`. Dense X is ``x`` (n, n_in); sparse X is ``x`` (1, n_entries) with ``indices`` and ``indptr`` of
    its CSR form. Of ``labels`` (n,) and ``targets`` (n, n_out) one is empty; ``problem`` is what a network
    must have in common with the one that the data were checked for. All integers are read-only copies of what was given.
    """

    x: Floats
    indices: NDArray[Any]
    indptr: NDArray[Any]
    labels: NDArray[np.intp]
    targets: Floats
    sample_weight: Floats
    problem: tuple[Any, ...]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The arrays, without the problem."""
        return self[:6]

    @property
    def n_samples(self) -> int:
        """The number of rows."""
        return len(self.indptr) - 1 if self.indptr.size else len(self.x)

    @property
    def rows(self):
        """X as one object, a matrix or a SciPy CSR array."""
        return one_matrix(self.x, self.indices, self.indptr, self.problem[1])


class Network:
    """A plain stack of Linear layers in one flat block of parameters.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of units from the inputs to the outputs.
    activation : {'identity', 'relu', 'sigmoid', 'tanh'} or sequence of these
        Of every hidden layer, or one for each.
    loss : {'softmax_cross_entropy', 'binary_cross_entropy', 'squared_error', 'poisson'}
        Decides the link that turns the last layer's logits into outputs: softmax, sigmoid, identity, exp.
    dtype : {float32, float64}
        Of the parameters; data are converted to it.

    Attributes
    ----------
    layers : ndarray of intp, shape (n_layers, 7)
        The table that the kernels read, see `kernels.layer_table`; read-only.
    params : ndarray, shape (n_parameters,)
        All weights and biases, zeros at first. Write into it, also through its views below; it cannot be replaced.
    coefs : tuple of ndarray
        Views of each layer's weight (n_in, n_out).
    intercepts : tuple of ndarray
        Views of each layer's bias (n_out,).
    n_weights : int
        The number of weights without the biases: 2 operations each for a row's way forward, 6 for forward and backward.

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
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; got {loss!r}")
        if np.dtype(dtype) not in FLOAT_DTYPES:
            raise TypeError(f"dtype must be float32 or float64; got {np.dtype(dtype).name}")
        self.sizes = tuple(checks.integer("sizes", size) for size in sizes)
        self.n_weights = sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))
        self.activation, self.loss = activation, loss
        self._layers = self._layer_table()
        self._layers.setflags(write=False)
        self._params = _zeros(kernels.n_parameters(self._layers), np.dtype(dtype))
        self.coefs: tuple[Floats, ...]
        self.intercepts: tuple[Floats, ...]
        self.coefs, self.intercepts = zip(*kernels.layer_views(self._layers, self._params), strict=True)

    def __setattr__(self, name, value):
        if name in FIXED and name in vars(self):
            raise AttributeError(f"{name} of a Network cannot be replaced: write into its arrays, or make another Network")
        super().__setattr__(name, value)

    def _layer_table(self):
        link = CANONICAL_LINK[self.loss]
        if isinstance(self.activation, str):
            return kernels.layer_table(self.sizes, self.activation, link)
        layers = kernels.layer_table(self.sizes, "identity", link)
        layers[:-1, 2] = [ACTIVATIONS[name] for name in self.activation]
        return layers

    @classmethod
    def from_arrays(
        cls,
        coefs: Sequence[ArrayLike],
        intercepts: Sequence[ArrayLike],
        activation: ActivationName | Sequence[ActivationName] = "relu",
        loss: LossName = "softmax_cross_entropy",
    ) -> Self:
        """Make a network with copies of the given weights and biases.

        Parameters
        ----------
        coefs : sequence of array-like, shapes (n_in, n_out)
            The weights of consecutive layers.
        intercepts : sequence of array-like, shapes (n_out,)
            Their biases.
        activation : {'identity', 'relu', 'sigmoid', 'tanh'} or sequence of these
            Of every hidden layer, or one for each.
        loss : {'softmax_cross_entropy', 'binary_cross_entropy', 'squared_error', 'poisson'}
            Decides the link, see `Network`.

        Returns
        -------
        Network
            In float32 if all arrays fit into it, else in float64.

        Raises
        ------
        ValueError
            If the shapes do not fit together.
        """
        coefs, intercepts = [np.asarray(w) for w in coefs], [np.asarray(b) for b in intercepts]
        sizes = [w.shape[0] if w.ndim == 2 else -1 for w in coefs] + [w.shape[-1] if w.ndim else -1 for w in coefs[-1:]]
        shapes = list(pairwise(sizes))
        if not coefs or [w.shape for w in coefs] != shapes or [b.shape for b in intercepts] != [shape[1:] for shape in shapes]:
            raise ValueError(
                "coefs and intercepts must be the weights (n_in, n_out) and biases (n_out,) of consecutive layers; "
                f"got shapes {[w.shape for w in coefs]} and {[b.shape for b in intercepts]}"
            )
        network = cls(sizes, activation, loss, float_dtype(*coefs, *intercepts))
        for own, given in zip(network.coefs + network.intercepts, coefs + intercepts, strict=True):
            own[...] = given
        return network

    # Views, so that whoever sets the shape of what he gets does not set it here.

    @property
    def layers(self) -> Layers:
        """The layer table that the kernels read; read-only."""
        return self._layers[...]

    @property
    def params(self) -> Floats:
        """All weights and biases in one flat block."""
        return self._params[...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters, float32 or float64."""
        return self._params.dtype

    def __repr__(self) -> str:
        return f"Network({list(self.sizes)}, activation={self.activation!r}, loss={self.loss!r}, dtype={self.dtype.name})"

    # Views do not survive a pickle or a deep copy as views, so only the block is kept.

    def __getstate__(self):
        return {"sizes": self.sizes, "activation": self.activation, "loss": self.loss, "params": self._params}

    def __setstate__(self, state):
        params = state["params"]
        self.__init__(state["sizes"], state["activation"], state["loss"], params.dtype)
        self._params[:] = params

    def astype(self, dtype: FloatDType) -> Self:
        """Copy the network into another dtype.

        Parameters
        ----------
        dtype : {float32, float64}
            The dtype of the copy.

        Returns
        -------
        Network
            With its own block of parameters.
        """
        network = type(self)(self.sizes, self.activation, self.loss, dtype)
        network._params[:] = self._params
        return network

    def initialize(self, random_state: np.random.RandomState | np.random.Generator) -> None:
        """Draw all parameters from the uniform distribution that scikit-learn uses, in its order.

        For each layer first the weights, then the biases, both within ``sqrt(F / (n_in + n_out))``; F is 2 for a network with
        sigmoid hidden layers and 6 otherwise (Glorot and Bengio, *Understanding the difficulty of training deep feedforward
        neural networks*, 2010, equation 16).

        Parameters
        ----------
        random_state : RandomState or Generator
            What draws the numbers.
        """
        factor = 2.0 if self.activation == "sigmoid" else 6.0
        for weight, bias in zip(self.coefs, self.intercepts, strict=True):
            bound = math.sqrt(factor / sum(weight.shape))
            weight[...] = random_state.uniform(-bound, bound, weight.shape)
            bias[...] = random_state.uniform(-bound, bound, bias.shape)

    def forward(self, x: MatrixLike, n_threads: int = 1) -> Floats:
        """Compute the outputs for some rows.

        Parameters
        ----------
        x : array-like or SciPy sparse matrix, shape (n, n_in)
            Converted to the network's dtype.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The link of the loss applied: probabilities, rates or predictions.
        """
        n, rows = self._rows(x)
        outputs = np.empty((n, self.sizes[-1]), self.dtype)
        if n:
            self._forward(rows, outputs, _checked_threads(n_threads))
        return outputs

    def predictor(self, x: Floats, out: Floats, n_threads: int = 1) -> Callable[[], None]:
        """The bare compiled forward pass with the present parameters: each call computes what `forward` does for what is in x then.

        The parameters are copied, into the order in which they will be read: few rows of a large network take less time than in
        `forward`. Everything is checked here and nothing in a call, so that a call is safe, but does not notice NaN or infinity.

        Parameters
        ----------
        x : ndarray, shape (n, n_in), C-contiguous, of the network's dtype
            The rows; write the next ones into it. At least one.
        out : ndarray, shape (n, n_out), C-contiguous, of the network's dtype
            What a call overwrites with the outputs. Must not overlap x or the parameters.
        n_threads : int
            Number of threads of each call.

        Returns
        -------
        callable
            Without arguments. Later changes of ``params`` do not reach it. Threads that call it at once write into the same
            ``out``; make one for each.

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
        n, rows = self._rows(x)
        if not n or not isinstance(x, np.ndarray) or rows[0].ctypes.data != x.ctypes.data:
            raise ValueError(f"x must be a C-contiguous, aligned {self.dtype.name} array with rows, as it is read where it lies")
        out = checks.output("out", checks.own_view(out), (n, self.sizes[-1]), self._params, {"x": x, "params": self._params})
        return self.astype(self.dtype)._bound_forward(rows, out, _checked_threads(n_threads))

    def training_set(self, x: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> TrainingSet:
        """Check and convert data once, for any number of calls of `train_epoch` and `loss_gradient`.

        Parameters
        ----------
        x : array-like or SciPy sparse matrix, shape (n, n_in)
            The rows.
        y : array-like
            Softmax: class numbers (n,), or distributions (n, n_out). Other losses: targets (n, n_out), or (n,) if n_out is 1;
            0 and 1 for binary_cross_entropy, not negative for poisson.
        sample_weight : array-like, shape (n,), optional
            Finite; the loss of each row is multiplied by its weight.

        Returns
        -------
        TrainingSet
            Arrays of floats that already fit are not copied. Class numbers, and where the entries of a sparse X are, always are.
        """
        n, rows = self._rows(x)
        labels, targets, weight = NO_LABELS, np.empty((0, 0), self.dtype), np.empty(0, self.dtype)
        y = np.asarray(y)
        if self.loss == "softmax_cross_entropy" and y.ndim == 1:
            labels = _checked_indices("y", y, (n,), self.sizes[-1])
        else:
            shape = (n, self.sizes[-1])
            if y.shape != shape and not (y.shape == shape[:1] and shape[1] == 1):
                raise ValueError(f"y must have shape {shape}; got {y.shape}")
            targets = _aligned(y.reshape(shape), self.dtype)
            if self.loss == "poisson" and (targets < 0).any():
                raise ValueError(f"y must not be negative for the loss 'poisson'; got {targets.min()}")
        if sample_weight is not None:
            weight = _aligned(sample_weight, self.dtype)
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
            Factor of the L2 term.
        clip : float
            Probabilities are clipped to [clip, 1 - clip] for the reported loss.
        n_threads : int
            Number of threads.

        Returns
        -------
        loss_mean : float
            In nats for the cross-entropies.
        gradient : ndarray, shape (n_parameters,)
            With respect to `params`, shaped like it.
        """
        self._check_data(data)
        gradient = np.empty_like(self._params)
        return self._loss_gradient(data, alpha, clip, gradient, _checked_threads(n_threads)), gradient

    def train_epoch(
        self,
        data: TrainingSet,
        order: Integers,
        optimizer: SGD | Adam,
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
            Any rows in any order, at least one.
        optimizer : training.Adam or training.SGD
            Its state is updated too.
        batch_size : int
            The last batch may be shorter.
        alpha : float
            Factor of the L2 term.
        clip : float
            Probabilities are clipped to [clip, 1 - clip] for the reported loss.
        n_threads : int
            Number of threads.

        Returns
        -------
        float
            The mean loss of the batches, weighted by their numbers of rows; each is computed before its update.
        """
        orders, losses = _checked_indices("order", order, (len(order),), data.n_samples).reshape(1, -1), np.empty(1)
        self._train_in_order(data, orders, optimizer, losses, batch_size, alpha, clip, n_threads)
        return float(losses[0])

    def train_epochs(
        self,
        data: TrainingSet,
        orders: Integers,
        optimizer: SGD | Adam,
        losses: NDArray[np.float64],
        *,
        batch_size: int,
        alpha: float = 0.0,
        clip: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        """Run `train_epoch` several times in one call.

        After an interrupt ``optimizer.t`` still says how many updates were done.

        Parameters
        ----------
        data : TrainingSet
            From `training_set`.
        orders : ndarray of int, shape (n_epochs, n_visits)
            The rows of each epoch.
        optimizer : training.Adam or training.SGD
            Its state is updated too.
        losses : ndarray of float64, shape (n_epochs,), C-contiguous
            Written: what `train_epoch` returns, of each epoch.
        batch_size : int
            The last batch of an epoch may be shorter.
        alpha : float
            Factor of the L2 term.
        clip : float
            Probabilities are clipped to [clip, 1 - clip] for the reported losses.
        n_threads : int
            Number of threads.
        """
        losses = checks.own_view(losses)
        orders = _checked_indices("orders", orders, (len(losses), orders.shape[-1]), data.n_samples)
        if losses.dtype != np.float64 or not losses.flags.carray:
            raise ValueError(f"losses must be a C-contiguous, writable float64 array; got {losses.dtype.name}")
        self._train_in_order(data, orders, optimizer, losses, batch_size, alpha, clip, n_threads)

    def _train_in_order(self, data, orders, optimizer, losses, batch_size, alpha, clip, n_threads):
        """`train_epochs` in checked orders."""
        self._check_data(data)
        batch_size = operator.index(batch_size)
        if batch_size < 1 or not orders.shape[1]:
            raise ValueError(f"batch_size and the length of order must be at least 1; got {batch_size} and {orders.shape[1]}")
        state = self._checked_state(optimizer)
        step = np.array([checks.integer("optimizer.t", optimizer.t, 0, checks.MAX_STEP)], np.intp)
        try:
            self._train_epochs(data, orders, optimizer, state, batch_size, alpha, clip, step, losses, _checked_threads(n_threads))
        finally:
            if step[0] > optimizer.t:
                optimizer.advance(int(step[0]) - optimizer.t)

    # The compiled calls, on checked arguments

    def _forward(self, rows, outputs, n_threads):
        kernels.active.raw.network_forward(*rows, self._layers, self._params, outputs, n_threads)

    def _bound_forward(self, rows, outputs, n_threads):
        return kernels.active.raw.bind_forward(rows[0], self._layers, self._params, outputs, n_threads)

    def _loss_gradient(self, data, alpha, clip, gradient, n_threads):
        problem = self._layers, self._params, LOSSES[self.loss], alpha, clip
        return kernels.active.raw.network_loss_gradient(*data.arrays, *problem, gradient, n_threads)

    def _train_epochs(self, data, orders, optimizer, state, batch_size, alpha, clip, step, losses, n_threads):
        problem = orders, self._layers, LOSSES[self.loss], OPTIMIZERS[optimizer.name], optimizer.hyper
        arrays = step, self._params, state, losses
        kernels.active.raw.train_epochs(*data.arrays, *problem, alpha, clip, batch_size, *arrays, n_threads)

    def _rows(self, x):
        """(n, (x, indices, indptr)): the number of rows, and the rows in the form of the raw kernels."""
        if not hasattr(x, "tocsr"):
            x = _aligned(x, self.dtype)
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

    def _checked_state(self, optimizer):
        shape = N_STATE_SLOTS[optimizer.name], len(self._params)
        state = checks.own_view(optimizer.state)
        if state.shape != shape or state.dtype != self._params.dtype or not state.flags.carray:
            raise ValueError(
                f"the optimizer's state must be a C-contiguous {self.dtype.name} array of shape {shape}; "
                f"got {state.dtype.name}, {state.shape}"
            )
        return state


def float_dtype(*arrays_or_dtypes):
    """The dtype, of the two that the kernels know, in which arrays of these dtypes are computed together."""
    dtype = np.result_type(*(getattr(a, "dtype", a) for a in arrays_or_dtypes))
    return np.dtype(np.float32) if np.can_cast(dtype, np.float32) else np.dtype(np.float64)


def _zeros(n, dtype):
    """As np.zeros, from the start of a cache line: there several threads may write parameters past their caches."""
    memory = np.zeros(n * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + n * dtype.itemsize].view(dtype)


def _aligned(array, dtype):
    """A plain, C-contiguous, aligned array of a dtype in native byte order: a view of the given one where it is that already."""
    array = checks.own_view(array)
    if type(array) is np.ndarray and array.dtype == dtype and (flags := array.flags).c_contiguous and flags.aligned:
        return array  # `np.require` takes longer to see this than a small network takes for a row
    return np.require(array, dtype, ["C", "A", "E"])


def one_matrix(x, indices, indptr, n_in):
    """Rows in the form of the raw kernels as one object, a matrix or a SciPy CSR array."""
    if not indptr.size:
        return x
    from scipy.sparse import csr_array  # here, because importing it takes a while

    return csr_array((x[0], indices, indptr), shape=(len(indptr) - 1, n_in))


def sparse_rows(name, x, n_in, params):
    """(n, rows) of sparse X (n, n_in) of any format and dtype, in the form of the raw kernels; see `checks.rows`."""
    from scipy.sparse import coo_array, csc_array, issparse  # here, because importing it takes a while

    x = (x if issparse(x) else x.tocsr()).astype(params.dtype, copy=False)
    # SciPy converts by the integers that it finds, without a look at them: it gets checked ones that nobody can change.
    if x.format == "csc":
        shape, (_, (data, indices, indptr), _) = x.shape, checks.rows(name, x.T, x.shape[0], params)
        x = csc_array((data[0], indices, indptr), shape=shape)
    elif x.format == "coo":
        x = coo_array((x.data, (checks.private(x.row), checks.private(x.col))), shape=x.shape)  # checks them
    return checks.rows(name, x.tocsr(), n_in, params)[:2]


def _checked_indices(name, values, shape, end):
    """Integers in [0, end) as a private intp array."""
    values = checks.private(np.asarray(values))
    if values.shape != shape or values.dtype.kind not in "iub":
        raise ValueError(f"{name} must be integers of shape {shape}; got shape {values.shape}, dtype {values.dtype.name}")
    checks.in_range(name, values, end)
    return checks.as_intp(values)


def _checked_threads(n_threads):
    if not 1 <= n_threads <= MAX_THREADS:
        raise ValueError(f"n_threads must be from 1 to {MAX_THREADS}; got {n_threads}")
    return n_threads

"""Network: the layer sizes and one flat block of parameters, with the compiled calls that train and evaluate it.

Knows the kernels and nothing above them. Data are checked once, when a `TrainingSet` is made; the calls on it go straight to the
raw kernels of the active back end.
"""

import math
import operator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from . import kernels
from .kernels.checks import MAX_THREADS, NO_INDICES, features, integer, output, raw_features
from .kernels.codes import ACTIVATIONS, CANONICAL_LINK, LOSSES, N_STATE_SLOTS, OPTIMIZERS

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
CACHE_LINE = 64  # bytes


class TrainingSet(NamedTuple):
    """Checked data in the form of the raw kernels: C-contiguous, one dtype, an empty array for what is not given.

    Made by `Network.training_set`. Dense X is ``x`` (n, n_in); sparse X is ``x`` (1, n_entries) with ``indices`` and ``indptr`` of
    its CSR form. Of ``labels`` (n,) and ``targets`` (n, n_out) one is empty; ``problem`` is what a network
    must have in common with the one that the data were checked for.
    """

    x: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray
    problem: tuple

    @property
    def arrays(self):
        return self[:6]

    @property
    def n_samples(self):
        return len(self.indptr) - 1 if self.indptr.size else len(self.x)


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

    Attributes
    ----------
    layers : ndarray of intp, shape (n_layers, 7)
        The table that the kernels read, see `kernels.layer_table`; read-only.
    params : ndarray, shape (n_parameters,)
        All weights and biases, zeros at first. Write into it, also through its views below; it cannot be replaced.
    coefs, intercepts : tuple of ndarray
        Views of each layer's weight (n_in, n_out) and bias (n_out,).
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

    def __init__(self, sizes, activation="relu", loss="softmax_cross_entropy", dtype=np.float64):
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; got {loss!r}")
        if np.dtype(dtype) not in FLOAT_DTYPES:
            raise TypeError(f"dtype must be float32 or float64; got {np.dtype(dtype).name}")
        self.sizes = tuple(integer("sizes", size) for size in sizes)
        self.n_weights = sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))
        self.activation, self.loss = activation, loss
        self._layers = self._layer_table()
        self._layers.setflags(write=False)
        self._params = _zeros(kernels.n_parameters(self._layers), np.dtype(dtype))
        self.coefs, self.intercepts = zip(*kernels.layer_views(self._layers, self._params), strict=True)

    def _layer_table(self):
        link = CANONICAL_LINK[self.loss]
        if isinstance(self.activation, str):
            return kernels.layer_table(self.sizes, self.activation, link)
        layers = kernels.layer_table(self.sizes, "identity", link)
        layers[:-1, 2] = [ACTIVATIONS[name] for name in self.activation]
        return layers

    @classmethod
    def from_arrays(cls, coefs, intercepts, activation="relu", loss="softmax_cross_entropy"):
        """A network with copies of the given weights and biases, float32 if all of them fit into it, else float64."""
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

    @property
    def layers(self):
        return self._layers

    @property
    def params(self):
        return self._params

    @property
    def dtype(self):
        return self._params.dtype

    def __repr__(self):
        return f"Network({list(self.sizes)}, activation={self.activation!r}, loss={self.loss!r}, dtype={self.dtype.name})"

    # Views do not survive a pickle or a deep copy as views, so only the block is kept.

    def __getstate__(self):
        return {"sizes": self.sizes, "activation": self.activation, "loss": self.loss, "params": self._params}

    def __setstate__(self, state):
        params = state["params"]
        self.__init__(state["sizes"], state["activation"], state["loss"], params.dtype)
        self._params[:] = params

    def astype(self, dtype):
        """A copy with its own block of parameters in another dtype."""
        network = type(self)(self.sizes, self.activation, self.loss, dtype)
        network._params[:] = self._params
        return network

    def initialize(self, random_state):
        """Draw all parameters from the uniform distribution that scikit-learn uses, in its order.

        For each layer first the weights, then the biases, both within ``sqrt(F / (n_in + n_out))``; F is 2 for a network with
        sigmoid hidden layers and 6 otherwise (Glorot and Bengio, *Understanding the difficulty of training deep feedforward
        neural networks*, 2010, equation 16).

        Parameters
        ----------
        random_state : numpy.random.RandomState or Generator
        """
        factor = 2.0 if self.activation == "sigmoid" else 6.0
        for weight, bias in zip(self.coefs, self.intercepts, strict=True):
            bound = math.sqrt(factor / sum(weight.shape))
            weight[...] = random_state.uniform(-bound, bound, weight.shape)
            bias[...] = random_state.uniform(-bound, bound, bias.shape)

    def forward(self, x, n_threads=1):
        """The outputs, shape (n, n_out), for rows ``x`` (n, n_in), dense or sparse, converted to the network's dtype."""
        n, rows = self._rows(x)
        outputs = np.empty((n, self.sizes[-1]), self.dtype)
        if n:
            self._forward(rows, outputs, _checked_threads(n_threads))
        return outputs

    def predictor(self, x, out, n_threads=1):
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
        if rows[0] is not x or not n:
            raise ValueError(f"x must be a C-contiguous, aligned {self.dtype.name} array with rows, as it is read where it lies")
        out = output("out", out, (n, self.sizes[-1]), self._params, {"x": x, "params": self._params})
        return self.astype(self.dtype)._bound_forward(rows, out, _checked_threads(n_threads))

    def training_set(self, x, y, sample_weight=None):
        """Check and convert data once, for any number of calls of `train_epoch` and `loss_gradient`.

        Parameters
        ----------
        x : array-like or SciPy sparse matrix, shape (n, n_in)
        y : array-like
            Softmax: class numbers (n,), or distributions (n, n_out). Other losses: targets (n, n_out), or (n,) if n_out is 1;
            0 and 1 for binary_cross_entropy, not negative for poisson.
        sample_weight : array-like, shape (n,), optional

        Returns
        -------
        TrainingSet
            Arrays that already fit are not copied, except class numbers.
        """
        n, rows = self._rows(x)
        labels, targets, weight = np.empty(0, np.intp), np.empty((0, 0), self.dtype), np.empty(0, self.dtype)
        y = np.asarray(y)
        if self.loss == "softmax_cross_entropy" and y.ndim == 1:
            # A copy: labels that change after the check could lead the kernels out of their arrays.
            labels = _checked_indices("y", y.copy(), (n,), self.sizes[-1])
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

    def loss_gradient(self, data, alpha=0.0, clip=0.0, n_threads=1):
        """The mean loss over a `TrainingSet` and its gradient, shaped like `params`; see `kernels.network_loss_gradient`."""
        self._check_data(data)
        gradient = np.empty_like(self._params)
        return self._loss_gradient(data, alpha, clip, gradient, _checked_threads(n_threads)), gradient

    def train_epoch(self, data, order, optimizer, *, batch_size, alpha=0.0, clip=0.0, n_threads=1):
        """Pass once over the rows ``order`` of a `TrainingSet` in mini-batches, updating the parameters in place.

        Parameters
        ----------
        data : TrainingSet
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

        Returns
        -------
        float
            The mean loss of the batches, weighted by their numbers of rows; each is computed before its update.
        """
        order = _checked_indices("order", order, (len(order),), data.n_samples)
        options = {"batch_size": batch_size, "alpha": alpha, "clip": clip, "n_threads": n_threads}
        losses = np.empty(1)
        self.train_epochs(data, order.reshape(1, -1), optimizer, losses, **options)
        return float(losses[0])

    def train_epochs(self, data, orders, optimizer, losses, *, batch_size, alpha=0.0, clip=0.0, n_threads=1):
        """The same for several epochs in one call.

        After an interrupt ``optimizer.t`` still says how many updates were done.

        Parameters
        ----------
        orders : ndarray of int, shape (n_epochs, n_visits)
            The rows of each epoch.
        losses : ndarray of float64, shape (n_epochs,), C-contiguous
            Written: what `train_epoch` returns, of each epoch.
        data, optimizer, batch_size, alpha, clip, n_threads
            As in `train_epoch`.
        """
        self._check_data(data)
        orders = _checked_indices("orders", orders, (len(losses), orders.shape[-1]), data.n_samples)
        batch_size = operator.index(batch_size)
        if batch_size < 1 or not orders.shape[1]:
            raise ValueError(f"batch_size and the length of order must be at least 1; got {batch_size} and {orders.shape[1]}")
        if losses.dtype != np.float64 or not losses.flags.carray:
            raise ValueError(f"losses must be a C-contiguous, writable float64 array; got {losses.dtype.name}")
        self._check_state(optimizer)
        step = np.array([optimizer.t], np.intp)
        try:
            self._train_epochs(data, orders, optimizer, batch_size, alpha, clip, step, losses, _checked_threads(n_threads))
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

    def _train_epochs(self, data, orders, optimizer, batch_size, alpha, clip, step, losses, n_threads):
        problem = orders, self._layers, LOSSES[self.loss], OPTIMIZERS[optimizer.name], optimizer.hyper
        arrays = step, self._params, optimizer.state, losses
        kernels.active.raw.train_epochs(*data.arrays, *problem, alpha, clip, batch_size, *arrays, n_threads)

    def _rows(self, x):
        """(n, (x, indices, indptr)): the number of rows, and the rows in the form of the raw kernels."""
        if not hasattr(x, "tocsr"):
            x = _aligned(x, self.dtype)
            if x.ndim != 2 or x.shape[1] != self.sizes[0]:
                raise ValueError(f"x must have shape (n, {self.sizes[0]}); got {x.shape}")
            return len(x), (x, NO_INDICES, NO_INDICES)
        x = x.tocsr().astype(self.dtype, copy=False)
        return features("x", x, self.sizes[0], self._params), raw_features("x", x)

    @property
    def _problem(self):
        return self.loss, self.sizes[0], self.sizes[-1], self.dtype

    def _check_data(self, data):
        if data.problem != self._problem:
            raise ValueError("data must come from the training_set() of a network with the same loss, dtype, inputs and outputs")

    def _check_state(self, optimizer):
        shape = N_STATE_SLOTS[optimizer.name], len(self._params)
        state = optimizer.state
        if state.shape != shape or state.dtype != self._params.dtype or not state.flags.carray:
            raise ValueError(
                f"the optimizer's state must be a C-contiguous {self.dtype.name} array of shape {shape}; "
                f"got {state.dtype.name}, {state.shape}"
            )


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
    """A plain, C-contiguous, aligned array of a dtype in native byte order: the given one where it is that already."""
    if type(array) is np.ndarray and array.dtype == dtype and (flags := array.flags).c_contiguous and flags.aligned:
        return array  # `np.require` takes longer to see this than a small network takes for a row
    return np.require(array, dtype, ["C", "A", "E"])


def _checked_indices(name, values, shape, end):
    """Integers in [0, end) as intp."""
    values = np.asarray(values)
    if values.shape != shape or values.dtype.kind not in "iub":
        raise ValueError(f"{name} must be integers of shape {shape}; got shape {values.shape}, dtype {values.dtype.name}")
    values = _aligned(values, np.intp)
    if values.size and not 0 <= values.min() <= values.max() < end:
        raise ValueError(f"{name} must be in [0, {end}); got values from {values.min()} to {values.max()}")
    return values


def _checked_threads(n_threads):
    if not 1 <= n_threads <= MAX_THREADS:
        raise ValueError(f"n_threads must be from 1 to {MAX_THREADS}; got {n_threads}")
    return n_threads

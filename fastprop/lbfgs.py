"""Training of a `Network` with SciPy's L-BFGS-B: the parameters as a vector in scikit-learn's order, loss and gradient."""

import math
import time
from itertools import pairwise

import numpy as np

from . import interrupts, loop
from .kernels import layer_views
from .kernels.checks import private
from .warn import warn

# Each part of the data costs several passes over the gradient, in addition to 6 operations for each weight and row.
MIN_ROWS_PER_PART = 64


def pack(network, block):
    """A block shaped like the network's parameters in scikit-learn's order: all weights, then all biases."""
    weights, biases = zip(*layer_views(network.layers, block), strict=True)
    return np.concatenate([array.ravel() for array in weights + biases])


def unpack(network, packed):
    """Write a vector in the order of `pack` into the network's parameters."""
    start = 0
    weights, biases = zip(*layer_views(network.layers, network.params), strict=True)
    for array in weights + biases:
        array[...] = packed[start : start + array.size].reshape(array.shape)
        start += array.size


def packed_spans(network):
    """The layout of `pack`: (start, end, shape) of each weight, (start, end) of each bias."""
    ends = np.cumsum([0] + [array.size for array in network.coefs + network.intercepts]).tolist()
    spans = list(pairwise(ends))
    n = len(network.coefs)
    return [(*span, coef.shape) for span, coef in zip(spans[:n], network.coefs, strict=True)], spans[n:]


def packed_loss_gradient(packed, network, data, alpha, clip=0.0, n_threads=1):
    """The loss and its gradient with respect to the packed parameters; the network has these parameters afterwards."""
    unpack(network, packed)
    loss, gradient = network.loss_gradient(data, alpha, clip, n_threads)
    return loss, pack(network, gradient)


def train_lbfgs(network, data, *, alpha, max_iter, max_fun, tol, clip=0.0, n_threads=1, observer=None, time_limit=None):
    """Minimise the loss with SciPy's L-BFGS-B, all data at once, and return SciPy's result.

    ``result.halted`` says whether the observer or the time limit, in seconds, stopped it. The limit is checked after each
    iteration.

    The loss is computed in the network's dtype, because SciPy rounds the parameters that it passes to the dtype of the start; its
    own arithmetic and the result, in the order of `pack`, are float64. Afterwards the network has the parameters that were tried
    last, or after an exception such as Ctrl-C, the best that were tried. An ``observer`` is called as in `train`, around each
    iteration.
    """
    from scipy.optimize import minimize  # here, because importing it takes a while and the other solvers do without

    start = pack(network, network.params)
    parts, best, overflowed, halted = _parts(network, data), (math.inf, start), None, False
    end = math.inf if time_limit is None else time.monotonic() + time_limit

    def loss_gradient(packed):
        nonlocal best, overflowed
        if observer is not None and not observer.running:
            observer.begin()
        loss = gradient = 0.0
        for share, part in parts:
            # The kernel divides the L2 term by the sum of the part's weights, so each part adds an equal share of it.
            interrupts.check()
            part_loss, part_gradient = packed_loss_gradient(packed, network, part, alpha / len(parts), clip, n_threads)
            loss += share * part_loss
            part_gradient *= share
            gradient = part_gradient if part is parts[0][1] else np.add(gradient, part_gradient, out=gradient)
        if loss < best[0]:
            best = loss, packed  # SciPy passes a copy
        if not math.isfinite(loss) and np.isfinite(packed).all():  # SciPy's own steps can be NaN too
            overflowed = loss
        return loss, gradient

    def iteration_ends(intermediate_result):  # SciPy reads the parameter's name
        nonlocal halted
        if observer is not None:
            unpack(network, intermediate_result.x)
            halted = observer.end(intermediate_result.fun)
        if halted or time.monotonic() >= end:
            halted = True
            raise StopIteration

    try:
        result = minimize(
            loss_gradient,
            start,
            method="L-BFGS-B",
            jac=True,
            callback=None if observer is None and time_limit is None else iteration_ends,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    except BaseException:
        unpack(network, best[1])
        raise
    if overflowed is not None:
        warn(
            f"Overflow in training: L-BFGS tried parameters whose loss is {overflowed}. X or y may have values that are too large "
            "and need to be scaled.",
            RuntimeWarning,
        )
    result.halted = halted
    return result


def _parts(network, data):
    """A `TrainingSet` cut into [(share of the weight, rows)] of about `FLOPS_PER_CALL` each; Ctrl-C is noticed between them."""
    n = data.n_samples
    n_rows = max(MIN_ROWS_PER_PART, int(loop.FLOPS_PER_CALL // max(1, loop.flops_per_row(network, data))))
    weight = data.sample_weight if data.sample_weight.size else np.ones(n)
    if n <= n_rows or weight.min() < 0:  # with negative weights, a part's sum can be zero although its rows count
        return [(1.0, data)]
    cuts = [slice(start, start + n_rows) for start in range(0, n, n_rows)]
    sums = [float(weight[cut].sum(dtype=np.float64)) for cut in cuts]
    return [(part / sum(sums), _rows_of(data, cut)) for part, cut in zip(sums, cuts, strict=True) if part > 0]


def _rows_of(data, cut):
    """Consecutive rows of a `TrainingSet`."""
    part = data._replace(labels=data.labels[cut], targets=data.targets[cut], sample_weight=data.sample_weight[cut])
    if not data.indptr.size:
        return part._replace(x=data.x[cut])
    indptr = data.indptr[cut.start : cut.stop + 1]
    entries = slice(indptr[0], indptr[-1])
    return part._replace(x=data.x[:, entries], indices=data.indices[entries], indptr=private(indptr - indptr[0]))

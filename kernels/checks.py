"""The checks of the public kernels before the raw ones run. All messages have one form: the array, what was expected, what it has.

Every check is a plain attribute test, and a message is only built when it fails, so the checks of a call with valid arrays take
2 to 3 microseconds. Each function either returns or raises; nothing that the caller owns is changed here.

The values of floating-point arrays are not checked (NaN and infinity propagate as in NumPy), except where a bad value would give a
wrong result silently: sample weights must be finite, and targets in the domain of the loss.
"""

import math
import numbers
import operator
import sys
import warnings

import numpy as np

from .encoded import EncodedRows
from .spec import ACTIVATION_CODES, COMMON_HYPER, KINDS, LAYER, LINKS, LOSSES, OPTIMIZERS, hyper_names, n_loss_hyper

# dtype.char, which does not depend on the byte order -> the dtype in which the raw kernels compute.
FLOATS = {"f": np.dtype(np.float32), "d": np.dtype(np.float64)}
INTP = np.dtype(np.intp)
# Each thread takes memory and an entry in a system table until the process ends, and a huge number is surely a mistake.
MAX_THREADS = 1024
# The largest number of updates before a call, so that counting cannot overflow during the call.
MAX_STEP = 2**62
# Name -> (lower bound, upper bound, brackets that say whether each is included). scikit-learn's ranges, but lr = 0 is allowed.
SCALARS = {
    "lr": (0.0, math.inf, "[)"),
    "momentum": (0.0, 1.0, "[]"),
    "beta_1": (0.0, 1.0, "[)"),
    "beta_2": (0.0, 1.0, "[)"),
    "decay": (0.0, 1.0, "[)"),
    "weight_decay": (0.0, math.inf, "[)"),
    "rate": (0.0, 1.0, "[)"),
    "epsilon": (sys.float_info.min, math.inf, "[)"),
    "l2": (0.0, math.inf, "[)"),
    "alpha": (0.0, math.inf, "[)"),
    "clip": (0.0, 0.5, "[)"),
    "scale": (-sys.float_info.max, math.inf, "[)"),
    "delta": (0.0, math.inf, "()"),
    "quantile": (0.0, 1.0, "()"),
    "power": (1.0, 2.0, "()"),
}


class CopyWarning(UserWarning):
    """An input was copied because it is not a C-contiguous, aligned array in this machine's byte order.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from fastprop import kernels
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     y = kernels.activation_forward(np.ones((2, 3)).T, "relu")
    >>> caught[0].category.__name__
    'CopyWarning'
    """


# Scalars


def option(name, value, codes):
    """The code of a named choice, such as an activation."""
    try:
        return codes[value]
    except (KeyError, TypeError):
        raise ValueError(f"{name} must be one of {list(codes)}; got {value!r}") from None


def integer(name, value, minimum=-sys.maxsize - 1, maximum=sys.maxsize):
    """A Python or NumPy integer in [minimum, maximum], as an int."""
    if type(value) is not int:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} must be an integer; got {value!r}")
        value = operator.index(value)
    if not minimum <= value <= maximum:
        limit = f"at least {minimum}" if value < minimum else f"at most {maximum}"
        raise ValueError(f"{name} must be {limit}; got {value}")
    return value


def threads(n_threads):
    """The number of threads, as an int."""
    return integer("n_threads", n_threads, 1, MAX_THREADS)


def real(name, value, bounds=None):
    """A number within its range in `SCALARS`, as a float; ``bounds`` is the range's name if it differs from the number's."""
    if type(value) is not float and (isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real)):
        raise TypeError(f"{name} must be a real number; got {value!r}")
    low, high, (left, right) = SCALARS[bounds or name]
    if not (low < value < high or (left == "[" and value == low) or (right == "]" and value == high)):
        raise ValueError(f"{name} must be in {left}{low:g}, {high:g}{right}; got {value!r}")
    return float(value)


def flag(name, value):
    """True or False, as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def hyper(optimizer, given):
    """The array `hyper` of the training loop from a dict name -> value, with defaults for names that are not in it."""
    names, defaults = hyper_names(optimizer), COMMON_HYPER | OPTIMIZERS[optimizer].hyper
    given = {} if given is None else given
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"hyper of {optimizer!r} must only contain {list(names)}; got {unknown}")
    values = {name: given.get(name, defaults[name]) for name in names}
    bounds = {"alpha": "decay"}
    checked = [flag(k, v) if k == "nesterov" else real(k, v, bounds.get(k)) for k, v in values.items()]
    return np.array(checked, dtype=np.float64)


def loss_hyper(loss, given, n_out):
    """The array `loss_hyper` of a `spec.Loss` from a dict name -> value, with defaults for names that are not in it.

    If each output has its own parameters, a value is one number for all outputs, or a sequence with one for each.
    """
    given = {} if given is None else given
    unknown = [name for name in given if name not in loss.hyper]
    if unknown:
        raise ValueError(f"loss_hyper must only contain {list(loss.hyper)} for this loss; got {unknown}")
    found = []
    for name, default in loss.hyper.items():
        value = given.get(name, default)
        values = list(value) if loss.per_output and np.ndim(value) else [value]
        if len(values) not in (1, n_out if loss.per_output else 1):
            raise ValueError(f"{name} must be one number, or one for each of {n_out} outputs; got {len(values)}")
        found += [real(name, each) for each in values] * (n_loss_hyper(loss, n_out) // len(loss.hyper) // len(values))
    return np.array(found, np.float64)


# Inputs


def own_view(array):
    """A view of an array, so that no other code can change the shape, strides or dtype that the checks find."""
    return array[...] if type(array) is np.ndarray else array


def floats(name, array):
    """An array of float32 or float64, of any shape."""
    _require_ndarray(name, array)
    if array.dtype.char not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64; got {array.dtype.name}")


def matrix(name, array):
    """The shape of the first array of a call: two-dimensional, float32 or float64."""
    if type(array) is not np.ndarray or array.dtype.char not in FLOATS:
        floats(name, array)
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional; got shape {array.shape}")
    return array.shape


def classes(name, array):
    """The shape of the first array of a call in which every row is about at least one class."""
    shape = matrix(name, array)
    if shape[1] == 0:
        raise ValueError(f"{name} must have at least one class; got shape {shape}")
    return shape


def normalized(name, array, axis):
    """The shape of the first array of a call that takes the mean over an axis, which must not be empty."""
    shape = matrix(name, array)
    if shape[axis] == 0:
        raise ValueError(f"{name} must have at least one {('row', 'column')[axis]}; got shape {shape}")
    return shape


def loss_shape(loss, name, array):
    """The shape of the logits or outputs of a loss."""
    return (classes if loss == "softmax_cross_entropy" else matrix)(name, array)


def like(name, array, shape, first_name, first):
    """An array of a given shape and of the dtype of the call's first array."""
    if type(array) is not np.ndarray or array.dtype.char != first.dtype.char:
        _require_same_dtype(name, array, first_name, first)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {array.shape}")


def columns(name, array, n_rows, first_name, first):
    """The number of columns of a matrix, which may be any, after a check of its rows and that it has the first array's dtype."""
    if type(array) is not np.ndarray or array.dtype.char != first.dtype.char:
        _require_same_dtype(name, array, first_name, first)
    if array.ndim != 2 or len(array) != n_rows:
        raise ValueError(f"{name} must have shape ({n_rows}, any); got {array.shape}")
    return array.shape[1]


def _require_same_dtype(name, array, first_name, first):
    floats(name, array)
    if array.dtype.char != first.dtype.char:
        raise TypeError(
            f"{name} must have the dtype of {first_name}; got {name} {array.dtype.name}, {first_name} {first.dtype.name}"
        )


def _require_ndarray(name, array):
    if type(array) is np.ndarray:
        return
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array; got {type(array).__name__}")


def c_order(name, array):
    """The array itself if the raw kernels can read it, else a copy that they can read, with a `CopyWarning`."""
    flags = array.flags
    if not ((flags.carray or (flags.c_contiguous and flags.aligned)) and array.dtype.isnative):
        what = "C-contiguous" if not flags.c_contiguous else "aligned" if not flags.aligned else "in native byte order"
        message = f"{name} is copied because it is not {what}; got strides {array.strides}, dtype {array.dtype.str!r}"
        warnings.warn(message, CopyWarning, stacklevel=_callers_level())
        return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", subok=False)
    return array if type(array) is np.ndarray else np.asarray(array)


def _callers_level():
    """The stacklevel, seen from the caller of this function, of the first frame outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back
    return level


def sample_weight(weight, n_samples, first_name, first):
    """(n_samples,) finite weights in C order; an empty array if none are given."""
    if weight is None:
        return np.empty(0, FLOATS[first.dtype.char])
    like("sample_weight", weight, (n_samples,), first_name, first)
    finite = np.isfinite(weight)
    if not finite.all():
        where = int(finite.argmin())
        raise ValueError(f"sample_weight must be finite; got {weight[where]} at position {where}")
    return c_order("sample_weight", weight)


def private(array):
    """A read-only copy in C order and native byte order: indices are checked where no other code can change them.

    The kernels run without the GIL, so that another thread may change the caller's array at any time after its check.
    """
    dtype = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    copy = np.array(array, dtype, order="C", subok=False)
    copy.setflags(write=False)
    return copy


def _read_only(array):
    """A read-only view of an array, or of a copy if it is not in C order and native byte order."""
    view = np.require(array, array.dtype.newbyteorder("="), ["C", "A", "E"]).view()
    view.setflags(write=False)
    return view


def private_columns(columns, n_in):
    """A private copy of the checked columns of a CSR array, in [0, n_in) even if they were changed since the check."""
    return np.clip(columns, 0, min(n_in - 1, np.iinfo(columns.dtype).max))


# Arrays that mean "not given" to the raw kernels. Read-only, like arrays that are given, because Numba's types depend on it.
NO_INDICES, NO_LABELS = private(np.empty(0, np.int32)), private(np.empty(0, INTP))


def in_range(name, values, n_values):
    """Raise an error that gives the first integer that is not in [0, n_values)."""
    # Viewed as unsigned, negative integers are the largest, so one pass finds both kinds.
    limit = min(n_values, 1 << 8 * values.itemsize - (values.dtype.kind == "i"))
    unsigned = values.view(f"u{values.itemsize}")
    if values.size and unsigned.max() >= limit:
        where = tuple(map(int, np.unravel_index((unsigned >= limit).argmax(), values.shape)))
        position = where[0] if values.ndim == 1 else where
        raise ValueError(f"{name} must be in [0, {n_values}); got {values[where]} at position {position}")


def as_intp(values):
    """Private integers as private intp ones, without a copy if they have that dtype already."""
    converted = values.astype(INTP, copy=False)
    converted.setflags(write=False)
    return converted


def indices(name, values, n_values, length=None):
    """A vector of integers in [0, n_values), as a private intp array."""
    _require_ndarray(name, values)
    values = private(values)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers; got {values.dtype.name}")
    if values.ndim != 1 or length not in (None, len(values)):
        raise ValueError(f"{name} must have shape ({'n' if length is None else length},); got {values.shape}")
    in_range(name, values, n_values)
    return as_intp(values)


def targets(loss, values, shape, first_name, first):
    """The targets of a loss as (labels, dense) for the raw kernels. One of them is empty, which means "not given"."""
    _require_ndarray("targets", values)
    native = FLOATS[first.dtype.char]
    meant_as_labels = values.ndim == 1 or values.dtype.kind in "iub"
    if loss == "softmax_cross_entropy" and meant_as_labels:
        return indices("targets", values, shape[1], shape[0]), np.empty((0, 0), native)
    if loss == "binary_cross_entropy" and shape[1] == 1 and meant_as_labels:
        labels = values.astype(np.intp) if values.dtype.kind == "b" else values
        return NO_LABELS, indices("targets", labels, 2, shape[0]).astype(native)[:, None]
    like("targets", values, shape, first_name, first)
    in_domain(loss, "targets", values)
    return NO_LABELS, c_order("targets", values)


def in_domain(loss, name, values):
    """Raise an error that gives the first target that is not in the domain of a loss; NaN passes."""
    domain = LOSSES[loss].targets
    if domain == "any":
        return
    outside = values < 0 if domain == "not negative" else values <= 0
    if outside.any():
        where = tuple(map(int, np.unravel_index(outside.argmax(), values.shape)))
        must = "must not be negative" if domain == "not negative" else "must be positive"
        raise ValueError(f"{name} {must} for the loss {loss!r}; got {values[where]} at position {where}")


# Rows of features


def rows(name, x, n_in, params, layers=None):
    """(n, rows, stored) of X (n, n_in), a matrix, a SciPy CSR array or `EncodedRows`, of the dtype of params.

    ``rows`` is X in the form of the raw kernels, (x, indices, indptr), and ``stored`` a dict name -> array of the caller's arrays
    that hold it, which an output must not overlap. With a layer table, raise an error if the network cannot take X in its form.
    """
    encoded = isinstance(x, EncodedRows)
    if not encoded and getattr(x, "format", None) != "csr":
        x = own_view(x)
        n = matrix(name, x)[0]
        like(name, x, (n, n_in), "params", params)
        return n, (c_order(name, x), NO_INDICES, NO_INDICES), {name: x}
    if layers is not None and (layers[0]["kind"] != KINDS["linear"] or 0 in layers["source"][layers["kind"] == KINDS["add"]]):
        form = "an encoded" if encoded else "a sparse"
        raise ValueError(f"{form} {name} needs a network with a linear first row that does not add {name} to a later value")
    if encoded:
        columns, numbers = private(x.columns), own_view(x.x)
        like(f"{name}.x", numbers, (len(numbers), len(columns)), "params", params)
        if columns["n"].sum() != n_in:
            raise ValueError(f"{name} must have shape (n, {n_in}); got {x.shape}")
        return len(numbers), (c_order(f"{name}.x", numbers), columns, NO_INDICES), {f"{name}.x": x.x}
    # Each attribute is read once, because another thread may replace the arrays of the matrix.
    shape, parts = x.shape, {f"{name}.{part}": getattr(x, part) for part in ("data", "indices", "indptr")}
    for part, array in parts.items():
        _require_ndarray(part, array)
    return shape[0], _compressed_rows(name, shape, *parts.values(), n_in, params), parts


def _compressed_rows(name, shape, data, columns, starts, n_in, params):
    """The arrays of X in CSR form, checked, for the raw kernels.

    The starts of rows, which decide how much memory is needed, are a private copy. The columns, which are as many as the values,
    are not copied: the kernels keep each one below n_in when they read it.
    """
    data, columns, starts = data.view(np.ndarray), _read_only(columns), private(starts)
    like(f"{name}.data", data, (data.size,), "params", params)
    if len(shape) != 2 or shape[1] != n_in:
        raise ValueError(f"{name} must have shape (n, {n_in}); got {shape}")
    if starts.dtype != columns.dtype or starts.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise TypeError(f"{name}.indptr and {name}.indices must both be int32 or both int64; got {starts.dtype}, {columns.dtype}")
    if columns.shape != data.shape:
        raise ValueError(f"{name}.indices must have shape {data.shape}, as {name}.data; got {columns.shape}")
    if starts.shape != (shape[0] + 1,):
        raise ValueError(f"{name}.indptr must have shape ({shape[0] + 1},); got {starts.shape}")
    # Neighbours are compared, not subtracted: a difference may overflow.
    if starts[0] != 0 or starts[-1] != len(columns) or (falls := starts[1:] < starts[:-1]).any():
        has = f"{starts[0]} to {starts[-1]}"
        if starts[0] == 0 and starts[-1] == len(columns):
            where = int(falls.argmax())
            has = f"{starts[where]} before {starts[where + 1]} at position {where + 1}"
        raise ValueError(f"{name}.indptr must rise from 0 to {len(columns)}, the number of {name}.indices; got {has}")
    in_range(f"{name}.indices", columns, n_in)
    return c_order(f"{name}.data", data)[None], columns, starts


# Outputs


def output(name, out, shape, first, inputs, in_place_of=None):
    """The array to write to: a new one if ``out`` is None, else ``out``, which must not overlap any of the inputs.

    ``inputs`` is a dict name -> array of the caller's arrays as they were given, not of copies. Only the one named by
    ``in_place_of`` may be ``out`` itself.
    """
    dtype = FLOATS.get(first.dtype.char, first.dtype)  # in native byte order
    if out is None:
        return np.empty(shape, dtype)
    _require_ndarray(name, out)
    if out.dtype != dtype:
        raise TypeError(f"{name} must be {dtype.name} in native byte order; got {out.dtype.name} ({out.dtype.str!r})")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {out.shape}")
    if not out.flags.carray:
        flags = out.flags
        has = "a strided" if not flags.c_contiguous else "a read-only" if not flags.writeable else "an unaligned"
        raise ValueError(f"{name} must be C-contiguous, aligned and writeable; got {has} array")
    for other, array in inputs.items():
        if array is not None and np.shares_memory(out, array) and not (other == in_place_of and _same_memory(out, array)):
            raise ValueError(f"{name} must not overlap {other}; they share memory")
    return out if type(out) is np.ndarray else np.asarray(out)


def _same_memory(a, b):
    return a.__array_interface__["data"] == b.__array_interface__["data"] and a.strides == b.strides and a.dtype == b.dtype


def updated(arrays, first, inputs):
    """The arrays that an update changes in place, flat: all like ``first``, none overlapping any other."""
    flat, others = [], dict(inputs)
    for name, array in arrays.items():
        _require_ndarray(name, array)  # so that `output` never allocates here
        flat.append(output(name, array, first.shape, first, others).reshape(-1))
        others[name] = array
    return flat


# Networks


def network(layers, params, buffers=None, needs_buffers=True):
    """(table, n_in, n_out, link code, raw buffers) of a network given as a layer table and its flat blocks.

    The table is a private copy. If buffers are not given, because there are none or they are not needed, they are empty.
    """
    table, end, n_buffers = layer_table(layers)
    floats("params", params)
    if params.shape != (end,):
        raise ValueError(f"params must have shape ({end},) for these layers; got {params.shape}")
    if buffers is None:
        if n_buffers and needs_buffers:
            raise ValueError(f"buffers must be given: layers has batch norms, with {n_buffers} running statistics")
        buffers = np.empty(0, FLOATS[params.dtype.char])
    else:
        like("buffers", buffers, (n_buffers,), "params", params)
    return table, int(table[0]["n_in"]), int(table[-1]["n_out"]), int(table[-1]["code"]), buffers


def layer_table(layers):
    """(a private copy of a layer table, the number of its parameters, the number of its running statistics)."""
    _require_ndarray("layers", layers)
    table = private(layers)
    if table.dtype != LAYER or table.ndim != 1 or len(table) < 2:
        raise ValueError(
            f"layers must be an array of spec.LAYER with at least two rows, as layer_table() returns it; "
            f"got {table.dtype}, shape {table.shape}"
        )
    widths, end, n_buffers = [int(table[0]["n_in"])], 0, 0
    for i, row in enumerate(table):
        kind, n_in, n_out, offset = (int(row[name]) for name in ("kind", "n_in", "n_out", "offset"))
        last = i == len(table) - 1
        wrong = (
            kind not in KINDS.values()
            or (kind == KINDS["link"]) != last
            or n_in < 1
            or n_out < 1
            or n_in != widths[-1]
            or (n_out != n_in and kind != KINDS["linear"])
            or (kind in _USES and not _USES[kind](row, widths, n_buffers))
            or (kind in _N_PARAMETERS and offset != end)
        )
        if wrong:
            raise ValueError(
                f"layers row {i} must be one that layer_table() makes, with n_in = {widths[-1]} and parameters from {end} on; got "
                f"{dict(zip(LAYER.names, row.tolist(), strict=True))}"
            )
        end += _N_PARAMETERS.get(kind, lambda n_in, n_out: 0)(n_in, n_out)
        n_buffers += 2 * n_in if kind == KINDS["batch_norm"] else 0
        widths.append(n_out)
    if KINDS["linear"] not in table["kind"] or end > sys.maxsize:
        raise ValueError(f"layers must have a linear row, and at most {sys.maxsize} parameters; got {end}")
    return table, end, n_buffers


# For each kind: what a row must have besides its sizes, and how many parameters it has.
_USES = {
    KINDS["activation"]: lambda row, widths, n_buffers: row["code"] in ACTIVATION_CODES.values(),
    KINDS["dropout"]: lambda row, widths, n_buffers: 0 <= row["rate"] < 1,
    KINDS["layer_norm"]: lambda row, widths, n_buffers: 0 < row["epsilon"] < math.inf,
    KINDS["batch_norm"]: lambda row, widths, n_buffers: (
        0 < row["epsilon"] < math.inf and 0 <= row["momentum"] <= 1 and row["buffers"] == n_buffers
    ),
    KINDS["add"]: lambda row, widths, n_buffers: 0 <= row["source"] < len(widths) and widths[row["source"]] == row["n_in"],
    KINDS["link"]: lambda row, widths, n_buffers: row["code"] in LINKS.values(),
}
_N_PARAMETERS = {
    KINDS["linear"]: lambda n_in, n_out: (n_in + 1) * n_out,
    KINDS["layer_norm"]: lambda n_in, n_out: 2 * n_in,
    KINDS["batch_norm"]: lambda n_in, n_out: 2 * n_in,
}

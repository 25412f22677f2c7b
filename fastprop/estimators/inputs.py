"""Input that is plain numbers, converted without scikit-learn's validation, which is slow compared with a small network's
prediction.

Each function returns None if scikit-learn's validation must look at the input, because there is something to warn about, to convert
by its rules or to refuse: it handles everything that is unusual, and all messages are its own.
"""

import sys

import numpy as np

from ..kernels import active
from ..threads import FLOPS_OF_A_CALL, n_threads_of_call
from ..training_set import FLOAT_DTYPES, float_dtype

# dtype.kind of numbers
NUMBERS, INTEGERS = "biuf", "biu"


def plain_rows(X, n_features, names):
    """X as an array of numbers, shape (n, n_features), with n > 0; ``names`` are the features' names from the fit, or None."""
    if type(X) is not np.ndarray:
        X = _array_of(X, names)
        if X is None:
            return None
    elif names is not None:
        return None
    shape = X.shape
    return X if len(shape) == 2 and shape[0] and shape[1] == n_features and X.dtype.kind in NUMBERS else None


def finite_rows(X, dtype, n_jobs):
    """X, from `plain_rows`, as a C-contiguous array of finite numbers, in the kernels' common dtype of X and ``dtype``."""
    flags = X.flags
    if X.dtype == dtype and flags.c_contiguous and flags.aligned:
        rows = X
    else:
        rows = np.require(X, float_dtype(X, dtype), ["C", "A"])
        if X.dtype.kind in INTEGERS:
            return rows
    n_threads = n_threads_of_call(n_jobs, *rows.shape) if rows.size > FLOPS_OF_A_CALL else 1
    return rows if active.raw.all_finite(rows, n_threads) else None


def plain_training_data(X, y, n_features, names, n_jobs):
    """(X, y) for training: `finite_rows` in the dtype that scikit-learn would choose, and y as a vector of finite numbers or of
    strings."""
    X, y = plain_rows(X, n_features, names), _plain_vector(y)
    if X is None or y is None or len(X) != len(y):
        return None
    X = finite_rows(X, X.dtype if X.dtype in FLOAT_DTYPES else FLOAT_DTYPES[1], n_jobs)
    return None if X is None else (X, y)


def _plain_vector(y):
    if type(y) is not np.ndarray:
        pandas = sys.modules.get("pandas")
        if pandas is None or type(y) is not pandas.Series or not isinstance(y.dtype, np.dtype):
            return None
        y = y.to_numpy()
    if y.ndim != 1 or y.dtype.kind not in "biufU" or (y.dtype.kind == "f" and not np.isfinite(y).all()):
        return None
    return y


def _array_of(X, names):
    """The array of a frame with these names, or of nested lists of numbers."""
    if type(X) is list:
        return None if names is not None else _array_of_lists(X)
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and type(X) is pandas.DataFrame:
        plain = all(isinstance(dtype, np.dtype) for dtype in X.dtypes)
    else:
        plain = polars is not None and type(X) is polars.DataFrame
    return X.to_numpy() if plain and _has_names(X, names) else None


def _array_of_lists(X):
    try:
        return np.asarray(X)
    except (TypeError, ValueError):  # rows of different lengths
        return None


def _has_names(frame, names):
    """Whether a frame has exactly these names; without names in the fit, none of its labels may be a string."""
    labels = list(frame.columns)
    return labels == names.tolist() if names is not None else not any(isinstance(label, str) for label in labels)

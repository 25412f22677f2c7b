"""Data in the form of the raw kernels: `TrainingSet`, and the conversions and checks on the way to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .annotations import Floats
from .kernels import EncodedRows, checks
from .kernels.encoded import is_encoded
from .kernels.spec import Rows

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class TrainingSet(NamedTuple):
    """Checked data in the form of the raw kernels: C-contiguous, of one dtype, with an empty array for anything not given.

    Made by `Network.training_set`. Dense X is ``x`` (n, n_in); sparse X is ``x`` (1, n_entries) with ``indices`` and ``indptr`` of
    its CSR form; encoded X is ``x`` (n, n_columns) with its table of columns as ``indices``. One of ``labels`` (n,) and ``targets``
    (n, n_out) is empty; ``problem`` is what a network must have in common with the one that the data were checked for. All integers
    are read-only: copies of what was given, except the columns of sparse X, which the kernels check again when they read them.
    """

    x: Floats
    indices: NDArray[Any]
    indptr: NDArray[Any]
    labels: NDArray[np.intp]
    targets: Floats
    sample_weight: Floats
    problem: tuple[Any, ...]

    @property
    def arrays(self) -> Rows:
        """The arrays, without the problem."""
        return Rows(*self[:6])

    @property
    def n_samples(self) -> int:
        """The number of rows."""
        return len(self.indptr) - 1 if self.indptr.size else len(self.x)

    @property
    def rows(self):
        """X as one object, a matrix, a SciPy CSR array or `EncodedRows`."""
        return one_matrix(self.x, self.indices, self.indptr, self.problem[1])


def float_dtype(*arrays_or_dtypes):
    """The dtype, float32 or float64, in which the kernels compute with arrays of these dtypes together."""
    dtype = np.result_type(*(getattr(a, "dtype", a) for a in arrays_or_dtypes))
    return np.dtype(np.float32) if np.can_cast(dtype, np.float32) else np.dtype(np.float64)


def aligned(array, dtype):
    """A plain, C-contiguous, aligned array of a dtype in native byte order; not a copy if the given one is that already."""
    array = checks.own_view(array)
    if type(array) is np.ndarray and array.dtype == dtype and (flags := array.flags).c_contiguous and flags.aligned:
        return array  # `np.require` needs longer to check this than a small network needs for a row
    return np.require(array, dtype, ["C", "A", "E"])


def is_sparse(x):
    """Whether X is one of SciPy's sparse arrays and matrices."""
    return hasattr(x, "tocsr")


def one_matrix(x, indices, indptr, n_in):
    """Rows in the form of the raw kernels as one object: a matrix, a SciPy CSR array or `EncodedRows`.

    SciPy follows the column indices of a sparse array without checking them, so it gets private copies.
    """
    if is_encoded(indices, indptr):
        return EncodedRows(x, indices)
    if not indptr.size:
        return x
    from scipy.sparse import csr_array  # here, because importing it takes a while

    return csr_array((x[0], checks.private_columns(indices, n_in), indptr), shape=(len(indptr) - 1, n_in))


def sparse_rows(name, x, n_in, params):
    """(n, rows) of sparse X (n, n_in) of any format and dtype, in the form of the raw kernels; see `checks.rows`."""
    from scipy.sparse import coo_array, csc_array, issparse  # here, because importing it takes a while

    x = (x if issparse(x) else x.tocsr()).astype(params.dtype, copy=False)
    # SciPy converts without checking indices: it gets private copies that are checked.
    if x.format == "csc":
        shape, (_, (data, indices, indptr), _) = x.shape, checks.rows(name, x.T, x.shape[0], params)
        x = csc_array((data[0], checks.private_columns(indices, shape[0]), indptr), shape=shape)
    elif x.format == "coo":
        x = coo_array((x.data, (checks.private(x.row), checks.private(x.col))), shape=x.shape)  # checks them
    return checks.rows(name, x.tocsr(), n_in, params)[:2]


def checked_indices(name, values, shape, end):
    """Integers in [0, end) as a private intp array."""
    values = checks.private(np.asarray(values))
    if values.shape != shape or values.dtype.kind not in "iub":
        raise ValueError(f"{name} must be integers of shape {shape}; got shape {values.shape}, dtype {values.dtype.name}")
    checks.in_range(name, values, end)
    return checks.as_intp(values)

"""X of any kind, as a table whose columns are read when they are needed.

pandas, polars and pyarrow are not imported here: a user who passes one of their frames has imported them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data

from .columns import CodedColumn, Column, column_of, objects_of

# Options of scikit-learn's `check_array` that leave checks to the columns
OPTIONS = {"dtype": None, "ensure_all_finite": False, "accept_sparse": "csc"}


class Table:
    """X as columns.

    Parameters
    ----------
    labels : sequence
        Names of the columns, or their numbers.
    n_rows : int
        Number of rows.
    read : callable
        Function of a column's label and number that returns its `Column`.
    is_frame : bool
        Whether X is a frame, in which dtypes say what is categorical.
    """

    def __init__(self, labels: Sequence[Any], n_rows: int, read: Callable[[Any, int], Column], is_frame: bool) -> None:
        self.labels, self.shape, self.is_frame, self._read = list(labels), (n_rows, len(labels)), is_frame, read
        self.names: NDArray[Any] | None = None
        self._order: Sequence[int] = range(len(labels))
        self._last: tuple[int, Column] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def name_features(self, estimator: Any) -> None:
        """Set `n_features_in_`, and `feature_names_in_` if all names are strings, as scikit-learn does."""
        estimator.n_features_in_ = self.shape[1]
        vars(estimator).pop("feature_names_in_", None)
        if self.names is not None:
            estimator.feature_names_in_ = self.names

    def __getitem__(self, number: int) -> Column:
        """A column. Only the last one is kept, so that reading one after the other takes little memory."""
        if self._last is None or self._last[0] != number:
            place = self._order[number]
            self._last = number, self._read(self.labels[place], place)
        return self._last[1]

    def take(self, rows: NDArray[np.intp]) -> Table:
        """The table with these rows."""
        table = Table(self.labels, len(rows), lambda label, place: self._read(label, place).take(rows), self.is_frame)
        table._order = self._order
        return table

    def reorder(self, names: Sequence[str]) -> None:
        """Take the columns in the order of these names."""
        places = {name: i for i, name in enumerate(self.labels)}
        self._order = [places[name] for name in names]


def read_table(X: Any, estimator: Any, reset: bool) -> Table:
    """X as a table, checked with scikit-learn's messages, which name ``estimator``.

    With ``reset`` it may have any columns. Otherwise it must have those of the estimator's `feature_names_in_`, in any order, or
    as many as its `n_features_in_`. The estimator is not changed.
    """
    table = _frame(X)
    if table is None:
        X = host_array(as_objects_if_mixed(X))
        if reset:
            X = check_array(X, estimator=estimator, input_name="X", **OPTIONS)
        else:
            X = validate_data(estimator, X, reset=False, **OPTIONS)
        return _array_table(X)
    if reset:
        names = BaseEstimator()
        validate_data(names, X, skip_check_array=True)
        table.names = getattr(names, "feature_names_in_", None)
    else:
        names = getattr(estimator, "feature_names_in_", None)
        if names is not None and len(names) == len(table.labels) and set(names) == set(table.labels):
            table.reorder(names)
        else:
            validate_data(estimator, X, reset=False, skip_check_array=True)
    # An array of X's shape that takes no memory: the check is that there are rows and columns.
    check_array(np.broadcast_to(np.int8(0), table.shape), estimator=estimator, input_name="X", **OPTIONS)
    return table


def host_array(X):
    """A tensor of another library as a NumPy array."""
    return X if isinstance(X, np.ndarray) or not hasattr(X, "__dlpack__") else np.asarray(X)


def as_objects_if_mixed(X):
    """Nested lists with strings as an array of objects, so that NumPy does not turn the numbers in them into strings."""
    if not isinstance(X, list | tuple):
        return X
    try:
        array = np.asarray(X)
        return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array
    except (TypeError, ValueError):  # rows of different lengths, which scikit-learn refuses
        return X


def _frame(X):
    """The table of a frame, or None."""
    for library, reader in READERS.items():
        module = sys.modules.get(library)
        if module is not None and (table := reader(X, module)) is not None:
            return table
    return None


def _array_table(X):
    def read(label, number):
        if hasattr(X, "tocsc"):
            values = np.zeros(X.shape[0], dtype=X.dtype)
            stored = slice(*X.indptr[number : number + 2])
            np.add.at(values, X.indices[stored], X.data[stored])
            return column_of(label, values)
        return column_of(label, X[:, number])

    return Table(range(X.shape[1]), X.shape[0], read, is_frame=False)


def _pandas_table(X, pandas):
    def read(label, number):
        return pandas_column(label, X.iloc[:, number], pandas)

    return Table(X.columns, len(X), read, is_frame=True) if isinstance(X, pandas.DataFrame) else None


def _polars_table(X, polars):
    if isinstance(X, polars.LazyFrame):
        raise TypeError("X must be a DataFrame; got a LazyFrame: call its collect() first")

    def read(label, number):
        return polars_column(label, X.to_series(number), polars)

    return Table(X.columns, X.height, read, is_frame=True) if isinstance(X, polars.DataFrame) else None


def _pyarrow_table(X, pyarrow):
    def read(label, number):
        return pyarrow_column(label, X.column(number), pyarrow)

    return Table(X.column_names, X.num_rows, read, is_frame=True) if isinstance(X, pyarrow.Table) else None


def pandas_column(label, series, pandas) -> Column:
    """A column of pandas: with NumPy's dtypes, nullable ones, those of pyarrow, or categories."""
    dtype, kind = series.dtype, series.dtype.kind
    if isinstance(dtype, pandas.CategoricalDtype):
        distinct = pandas_column(label, series.cat.categories.to_series(), pandas)
        return CodedColumn(label, series.cat.codes.to_numpy(np.intp), distinct, dtype=dtype, is_category=True)
    if isinstance(dtype, np.dtype):
        return column_of(label, series.to_numpy())
    if isinstance(dtype, pandas.ArrowDtype):
        pyarrow = sys.modules["pyarrow"]
        return pyarrow_column(label, pyarrow.array(series.array), pyarrow)
    if isinstance(dtype, pandas.StringDtype):
        codes, distinct = series.factorize()
        return CodedColumn(label, codes, column_of(label, np.asarray(distinct, dtype=object), dtype=dtype))
    if kind == "f":
        return column_of(label, series.to_numpy(np.float64, na_value=np.nan), dtype=dtype)
    if kind in "iub":
        values = series.to_numpy({"i": np.int64, "u": np.uint64, "b": np.bool_}[kind], na_value=0)
        return column_of(label, values, series.isna().to_numpy(), dtype=dtype)
    if kind in "mM":
        unit = {"m": "timedelta64[us]", "M": "datetime64[us]"}[kind]
        return column_of(label, series.to_numpy(unit, na_value=np.array("NaT", dtype=unit)[()]), dtype=dtype)
    return column_of(label, np.asarray(series, dtype=object), dtype=dtype)


def polars_column(label, series, polars) -> Column:
    """A column of polars."""
    dtype = series.dtype
    if dtype.is_numeric() or dtype == polars.Boolean:
        missing = series.is_null().to_numpy() if series.null_count() else None
        series = series.cast(polars.Float64) if dtype.is_decimal() else series
        return column_of(label, series.fill_null(False if dtype == polars.Boolean else 0).to_numpy(), missing, dtype=dtype)
    if dtype in (polars.Date, polars.Datetime, polars.Duration):
        return column_of(label, series.to_numpy(), dtype=dtype)
    is_category = dtype in (polars.Categorical, polars.Enum)
    return column_of(label, objects_of(series.to_list()), dtype=dtype, is_category=is_category)


def pyarrow_column(label, column, pyarrow) -> Column:
    """A column of pyarrow, a ChunkedArray or an Array."""
    column = pyarrow.chunked_array([column]) if isinstance(column, pyarrow.Array) else column
    types, dtype = pyarrow.types, column.type
    if types.is_float16(dtype) or types.is_decimal(dtype):
        column = column.cast(pyarrow.float64())
    is_dictionary = types.is_dictionary(dtype)
    if is_dictionary or types.is_string(dtype) or types.is_large_string(dtype):
        array = (column if is_dictionary else column.dictionary_encode()).combine_chunks()  # has one dictionary
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
        distinct = pyarrow_column(label, array.dictionary, pyarrow) if is_dictionary else None
        distinct = distinct or column_of(label, objects_of(array.dictionary.to_pylist()), dtype=dtype)
        return CodedColumn(label, codes, distinct, dtype=dtype, is_category=is_dictionary)
    if types.is_integer(dtype) or types.is_floating(column.type) or types.is_boolean(dtype):
        missing = column.is_null().to_numpy() if column.null_count else None
        column = column.fill_null(pyarrow.scalar(0, column.type) if not types.is_boolean(dtype) else False)
        return column_of(label, column.to_numpy(), missing, dtype=dtype)
    if types.is_timestamp(dtype) or types.is_date(dtype) or types.is_duration(dtype):
        return column_of(label, column.to_numpy(), dtype=dtype)
    return column_of(label, objects_of(column.to_pylist()), dtype=dtype)


# Library -> the function that makes a table of X, if X is one of its frames.
READERS: dict[str, Callable[[Any, Any], Table | None]] = {
    "pandas": _pandas_table,
    "polars": _polars_table,
    "pyarrow": _pyarrow_table,
}


def categorical_mask(table: Table, categorical_features: Any) -> NDArray[np.bool_] | None:
    """Whether each column is categorical by the parameter; None if dtypes decide. Errors are those of HistGradientBoosting."""
    n_features = table.shape[1]
    mask = np.zeros(n_features, dtype=bool)
    if categorical_features is None:
        return mask
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        return None
    given = np.asarray(categorical_features)
    if given.size == 0:
        return mask
    wrong = given.dtype.name if given.dtype.kind not in "ibUO" else None
    if given.dtype.kind == "O" and (types := {type(each) for each in given}) != {str}:
        wrong = ", ".join(sorted(t.__name__ for t in types))
    if wrong:
        raise ValueError(f"categorical_features must be an array-like of bool, int or str, got: {wrong}.")
    if given.dtype.kind == "b":
        if given.shape != mask.shape:
            raise ValueError(f"categorical_features set as a boolean mask must have shape (n_features,), got: {given.shape}")
        return given
    if given.dtype.kind == "i":
        if given.max() >= n_features or given.min() < 0:
            raise ValueError("categorical_features set as integer indices must be in [0, n_features - 1]")
        mask[given] = True
        return mask
    return _mask_of_names(table, given.tolist())


def _mask_of_names(table, names):
    if not table.is_frame:
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a boolean mask when the model is fitted on data "
            "without feature names."
        )
    for name in names:
        if name not in table.labels:
            raise ValueError(
                f"categorical_features has an item value '{name}' which is not a valid feature name of the training data. "
                f"Observed feature names: {table.labels}"
            )
    return np.array([label in names for label in table.labels])

"""TabularEncoder."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._param_validation import Options as Choices
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ..annotations import ArrayLike, FloatDType, Floats, Integers, TableLike
from ..decorators import fits
from ..kernels import EncodedRows
from ..kernels.encoded import columns_of
from ..training_set import FLOAT_DTYPES
from .categories import category_columns
from .columns import NOTHING
from .encodings import Encoding
from .frames import Table, categorical_mask, read_table
from .numbers import number_columns

NumericEncoding: TypeAlias = Literal["piecewise_linear", "standard"]
CategoricalFeatures: TypeAlias = Literal["from_dtype"] | Sequence[bool] | Sequence[int] | Sequence[str] | Integers | None

# The most rows that quantiles are computed from: more rows take longer and hardly change them.
QUANTILE_ROWS = 200_000
# Kinds of columns that are accepted for each other: False is 0.
SAME_KIND = {"booleans": "numbers"}


class TabularEncoder(TransformerMixin, BaseEstimator):
    """Encode numbers, categories, dates and missing values of a table as features that suit a network.

    A number x becomes ``z / sqrt(1 + (z / 3)^2)`` with ``z = (x - median) / (q75 - q25)`` (half the range where the quartiles are
    equal), and in addition a piecewise linear encoding (Gorishniy, Rubachev, Babenko, *On Embeddings for Numerical Features in
    Tabular Deep Learning*, 2022): ``clip((x - e_i) / (e_{i+1} - e_i), 0, 1) - 1/2`` for each bin between edges e_i, which are
    halfway between neighbouring numbers at quantiles of the numbers and of the distinct ones; the first and the last are the lowest
    and the highest number. A missing x is replaced by the median, and an additional feature says so if the training data had
    missing values. Dates and durations are converted to seconds.

    Categories are one-hot encoded. Rare ones are merged, and missing is a category of its own if the training data had missing
    values. A category that was not in the training data counts as a rare one if there were any; otherwise all its features are 0.
    Two categories become one feature, -1/2 or 1/2. Constant columns are dropped.

    Parameters
    ----------
    categorical_features : 'from_dtype', array-like of bool, int or str, or None, default='from_dtype'
        Which columns are categorical: a mask, indices or names. 'from_dtype': in a frame, columns with a dtype of categories,
        strings, booleans, or objects that are not numbers; in an array, none. None: no column.
    numeric_encoding : {'piecewise_linear', 'standard'}, default='piecewise_linear'
        'standard' is z alone, without the piecewise linear encoding.
    n_bins : int, default=16
        Number of bins between quantiles of the numbers. Edges near quantiles of the distinct numbers add up to half as many bins.
    min_frequency : int, default=10
        Categories with fewer rows are rare.
    dtype : {np.float32, np.float64}, default=np.float32
        Dtype of the result.

    Attributes
    ----------
    columns_ : list
        Encodings of the columns, in their order.
    is_categorical_ : ndarray of bool, shape (`n_features_in_`,)
        Which columns are categorical.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the columns, if all are strings. The columns of later frames are found by name, in any order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop.preprocessing import TabularEncoder
    >>> X = np.array([[1.0, 0], [2.0, 1], [np.nan, 2], [5.0, 1]])
    >>> encoder = TabularEncoder(categorical_features=[1], n_bins=2, min_frequency=1).fit(X)
    >>> encoder.get_feature_names_out().tolist()
    ['x0', 'x0_bin0', 'x0_bin1', 'x0_missing', 'x1_0.0', 'x1_1.0', 'x1_2.0']
    >>> print(encoder.transform(X[:2]).round(2))
    [[-0.49 -0.5  -0.5   0.    1.    0.    0.  ]
     [ 0.    0.5  -0.36  0.    0.    1.    0.  ]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "numeric_encoding": [StrOptions({"piecewise_linear", "standard"})],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "dtype": [Choices(type, {np.float32, np.float64}), StrOptions({"float32", "float64"}), np.dtype],
    }

    def __init__(
        self,
        *,
        categorical_features: CategoricalFeatures = "from_dtype",
        numeric_encoding: NumericEncoding = "piecewise_linear",
        n_bins: int = 16,
        min_frequency: int = 10,
        dtype: FloatDType = np.float32,
    ) -> None:
        self.categorical_features = categorical_features
        self.numeric_encoding = numeric_encoding
        self.n_bins = n_bins
        self.min_frequency = min_frequency
        self.dtype = dtype

    @fits
    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Learn scales, edges and categories.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, array-like or sparse matrix, shape (n_samples, n_features)
            The table. None, NaN, NaT and NA are missing values.
        y : None
            Ignored.

        Returns
        -------
        TabularEncoder
            This encoder.

        Raises
        ------
        ValueError
            If a number is infinite, if there is a string in a column of numbers, or if ``categorical_features`` does not fit X.
        TypeError
            If a column has values of several kinds.
        """
        if np.dtype(self.dtype) not in FLOAT_DTYPES:
            raise ValueError(f"dtype must be float32 or float64; got {self.dtype!r}")
        table = read_table(X, self, reset=True)
        self._fit_table(table)
        table.name_features(self)
        return self

    def _fit_table(self, table: Table) -> None:
        """`fit`, without the number and the names of the columns."""
        mask = categorical_mask(table, self.categorical_features)
        n, n_features = table.shape
        rows: Any = slice(None)
        if n > QUANTILE_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(n, QUANTILE_ROWS, replace=False))
        columns: list[Encoding] = []
        is_categorical, kinds = np.zeros(n_features, dtype=bool), []
        for i in range(n_features):
            column = table[i]
            is_categorical[i] = table.is_frame and column.is_categorical if mask is None else mask[i]
            if is_categorical[i]:
                columns += category_columns(i, column, self.min_frequency)
            else:
                columns += number_columns(i, column.numbers, rows, self.numeric_encoding, self.n_bins)
            kinds.append(NOTHING if column.is_empty else column.kind)
        self.columns_, self.is_categorical_, self._kinds = columns, is_categorical, kinds

    def encode(self, X: TableLike) -> EncodedRows:
        """Encode the rows in compact form.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, array-like or sparse matrix, shape (n_samples, n_features)
            A table with the columns of `fit`.

        Returns
        -------
        EncodedRows
            One number per encoding and row, for networks that read them without the wide matrix of all features. Its
            ``toarray()`` makes this matrix.
        """
        check_is_fitted(self)
        return self._encode_table(read_table(X, self, reset=False))

    def _encode_table(self, table: Table) -> EncodedRows:
        """The features of a table, whose columns are those of `fit`, in compact form."""
        columns = self.columns_
        x = np.empty((len(table), len(columns)), dtype=self.dtype)
        encodings: list[list[Any]] = [[] for _ in range(table.shape[1])]
        for column, out in zip(columns, x.T, strict=True):
            encodings[column.feature].append((column, out))
        for i, pairs in enumerate(encodings):
            self._check_kind(table, i)
            for column, out in pairs:
                column.encode(table, out)
        return EncodedRows(x, columns_of([column.kind for column in columns], [column.n for column in columns]))

    def _check_kind(self, table, number):
        """Raise an error if a column holds values of another kind than in `fit`."""
        column, before = table[number], self._kinds[number]
        if column.is_empty or before == NOTHING:
            return
        if SAME_KIND.get(column.kind, column.kind) != SAME_KIND.get(before, before):
            now = f"{column.kind} (dtype {column.dtype})"
            raise ValueError(f"Column {column.label!r} of X held {before} in fit, and now holds {now}")
        if not self.is_categorical_[number]:
            column.numbers  # noqa: B018 (fails where one is infinite)

    def transform(self, X: TableLike) -> Floats:
        """Encode the rows as a matrix of features.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, array-like or sparse matrix, shape (n_samples, n_features)
            A table with the columns of `fit`.

        Returns
        -------
        ndarray, shape (n_samples, n_features_out)
            The features; a frame after `set_output`.

        Raises
        ------
        ValueError
            If X has other columns than in `fit`, or if a column holds values of another kind, for example numbers instead of
            strings.
        """
        return self.encode(X).toarray()

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the names of the features.

        ``'age'``, ``'age_bin0'``, ... and ``'age_missing'`` for a column of numbers, ``'city_Paris'``, ..., ``'city_infrequent'``
        and ``'city_missing'`` for one of categories; with ``'_'`` appended if a name exists already.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None: those of `fit`, or ``'x0'``, ``'x1'``, ...

        Returns
        -------
        ndarray of str
            A name for each feature.
        """
        check_is_fitted(self)
        features = _check_feature_names_in(self, input_features).tolist()
        names: dict[str, None] = {}
        for column in self.columns_:
            for name in column.names(features):
                while name in names:
                    name += "_"
                names[name] = None
        return np.array([*names], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags

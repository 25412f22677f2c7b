"""A column of a table: what it holds, as numbers or as categories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from numbers import Number
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Kinds of values in a column, with their types if they are Python objects. Booleans count as numbers, too.
KINDS = {
    "booleans": (bool, np.bool_),
    "numbers": (Number,),
    "strings": (str,),
    "dates": (date, np.datetime64),
    "durations": (timedelta, np.timedelta64),
}
DTYPE_KINDS = {"b": "booleans", "i": "numbers", "u": "numbers", "f": "numbers", "M": "dates", "m": "durations"}
NOTHING = "nothing"
# Values that may not equal themselves: NaN and NaT
MAYBE_NAN = (float, np.floating, Decimal, np.datetime64, np.timedelta64)


class Column(ABC):
    """A column: its name or number, its dtype in words, and whether this dtype is one of categories."""

    def __init__(self, label: Any, dtype: Any, is_category: bool = False) -> None:
        self.label, self.dtype, self.is_category = label, str(dtype), is_category

    @property
    @abstractmethod
    def kind(self) -> str:
        """One of KINDS; NOTHING if all values are missing and the dtype does not tell the kind; or other words."""

    @property
    @abstractmethod
    def missing(self) -> NDArray[np.bool_]:
        """Where values are missing: None, NaN, NaT or NA."""

    @property
    @abstractmethod
    def numbers(self) -> NDArray[np.float64]:
        """All values as numbers, with seconds for dates and durations; NaN where missing."""

    @property
    @abstractmethod
    def coded(self) -> tuple[NDArray[np.intp], list[Any]]:
        """The number of each value's category, -1 where it is missing; and the categories, strings or numbers."""

    @abstractmethod
    def take(self, rows: NDArray[np.intp]) -> Column:
        """The column with these rows."""

    @property
    def _about(self):
        return {"dtype": self.dtype, "is_category": self.is_category}

    @property
    def is_categorical(self) -> bool:
        """Whether a column of a frame is categorical by default."""
        return self.is_category or self.kind not in ("numbers", "dates", "durations")

    @cached_property
    def is_empty(self) -> bool:
        """Whether all values are missing."""
        return bool(self.missing.all())


class ArrayColumn(Column):
    """Numbers, booleans, dates or durations in an array of such a dtype; ``missing`` marks others besides NaN and NaT."""

    def __init__(self, label, values, missing=None, **about):
        super().__init__(label, **{"dtype": values.dtype} | about)
        self._values, self._missing = values, missing

    def take(self, rows):
        missing = None if self._missing is None else self._missing[rows]
        return ArrayColumn(self.label, self._values[rows], missing, **self._about)

    @property
    def kind(self):
        return DTYPE_KINDS[self._values.dtype.kind]

    @cached_property
    def missing(self):
        values = self._values
        missing = np.isnan(values) if values.dtype.kind == "f" else np.isnat(values) if values.dtype.kind in "mM" else None
        if missing is None or self._missing is None:
            return next((m for m in (missing, self._missing) if m is not None), np.zeros(len(values), bool))
        return missing | self._missing

    @cached_property
    def numbers(self):
        values = seconds(self._values) if self._values.dtype.kind in "mM" else self._values
        with np.errstate(over="ignore"):  # of long double
            numbers = values.astype(np.float64)
        if self._missing is not None:
            numbers[self._missing] = np.nan
        if values.dtype.kind == "f":
            refuse_infinity(numbers, self.label)
        return numbers

    @cached_property
    def coded(self):
        values = self.numbers if self._values.dtype.kind in "mMf" else self._values
        codes = np.full(len(values), -1, dtype=np.intp)
        categories, codes[~self.missing] = np.unique(values[~self.missing], return_inverse=True)
        return codes, categories.tolist()


class ObjectColumn(Column):
    """Python objects in an array of objects."""

    def __init__(self, label, values, **about):
        super().__init__(label, **{"dtype": values.dtype} | about)
        self._values = values

    def take(self, rows):
        return ObjectColumn(self.label, self._values[rows], **self._about)

    @cached_property
    def missing(self):
        values = self._values.tolist()
        types = set(map(type, values))
        none = tuple(t for t in types if t is NoneType or t.__name__ in ("NAType", "NaTType"))
        nan = tuple(t for t in types if issubclass(t, MAYBE_NAN) and t not in none)
        if not none and not nan:
            return np.zeros(len(values), dtype=bool)
        return np.array([isinstance(v, none) or (isinstance(v, nan) and bool(v != v)) for v in values])

    @cached_property
    def _present(self):
        return self._values[~self.missing].tolist()

    @cached_property
    def _types(self):
        return set(map(type, self._present))

    @cached_property
    def kind(self):
        kinds = {next((kind for kind, types in KINDS.items() if issubclass(t, types)), t.__name__) for t in self._types}
        if kinds == {"booleans", "numbers"}:
            return "numbers"
        return " and ".join(sorted(kinds)) or NOTHING

    @cached_property
    def numbers(self):
        numbers = np.full(len(self._values), np.nan)
        if self.kind in ("dates", "durations"):
            numbers[~self.missing] = seconds(np.array([numpys(value) for value in self._present]))
            return numbers
        try:
            numbers[~self.missing] = np.array(self._present, dtype=object).astype(np.float64)
        except (TypeError, ValueError) as error:
            message = f"X must hold numbers; its column {self.label!r} of dtype {self.dtype} does not: {error}"
            raise (ValueError if isinstance(error, ValueError) else TypeError)(message) from error
        refuse_infinity(numbers, self.label)
        return numbers

    @cached_property
    def coded(self):
        if self.kind in ("dates", "durations"):
            return ArrayColumn(self.label, self.numbers).coded
        table: dict[Any, int] = {}
        codes = np.full(len(self._values), -1, dtype=np.intp)
        codes[~self.missing] = [table.setdefault(value, len(table)) for value in self._categories()]
        return codes, list(table)

    def _categories(self):
        """The values as strings or numbers; objects of one other type become strings by `str`."""
        if self.kind in ("booleans", "numbers"):
            refuse_infinity(self.numbers, self.label)
            plain = {int, float, bool}
            return (v if type(v) in plain else v.item() if isinstance(v, np.generic) else float(v) for v in self._present)
        if self.kind == "strings":
            return self._present
        if len(self._types) > 1 or any(t.__hash__ is None for t in self._types):
            raise TypeError(
                "Encoders require their input argument must be uniformly strings or numbers. "
                f"Got {sorted(t.__qualname__ for t in self._types)} in column {self.label!r} of X"
            )
        return map(str, self._present)


class CodedColumn(Column):
    """Values as indices into another, short column; -1 stands for a missing value."""

    def __init__(self, label, codes, distinct, **about):
        super().__init__(label, **{"dtype": distinct.dtype} | about)
        self._codes, self._distinct = codes, distinct

    def take(self, rows):
        return CodedColumn(self.label, self._codes[rows], self._distinct, **self._about)

    @property
    def kind(self):
        return self._distinct.kind

    @cached_property
    def missing(self):
        return np.append(self._distinct.missing, True)[self._codes]

    @cached_property
    def numbers(self):
        return np.append(self._distinct.numbers, np.nan)[self._codes]

    @cached_property
    def coded(self):
        codes, categories = self._distinct.coded
        return np.append(codes, -1)[self._codes], categories


def column_of(label: Any, values: NDArray[Any], missing: NDArray[np.bool_] | None = None, **about: Any) -> Column:
    """The column with an array's values; ``missing`` marks missing values that its dtype cannot represent."""
    if values.dtype.kind in DTYPE_KINDS:
        return ArrayColumn(label, values, missing, **about)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\nColumn {label!r} of X has dtype {values.dtype}")
    objects = values if values.dtype.kind == "O" else values.astype(object)
    return ObjectColumn(label, objects, **{"dtype": values.dtype} | about)


def objects_of(values: list[Any]) -> NDArray[Any]:
    """A vector of Python objects, which may be sequences."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def refuse_infinity(numbers, label):
    """Raise scikit-learn's error if a number is infinite."""
    if np.isinf(numbers).any():
        raise ValueError(f"Input X contains infinity or a value too large for dtype('float64'): column {label!r}.")


def numpys(value):
    """A date (in UTC if it has a time zone) or a duration as NumPy's type."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, timedelta) and not isinstance(value, np.timedelta64):
        return np.timedelta64(value, "us")
    return np.datetime64(value, "us") if isinstance(value, date) else value


def seconds(values):
    """Dates (since 1970) and durations as seconds; NaN for NaT."""
    if values.dtype.kind == "M":
        values = values - np.datetime64(0, "s")
    return values / np.timedelta64(1, "s")

"""One-hot encoding of categorical columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..annotations import Floats
from .columns import Column
from .encodings import Encoding
from .frames import Table


@dataclass
class Coding:
    """A number for each category of a column: first the frequent ones, sorted, then one for all others, then one for missing.

    ``frequencies`` has the fraction of training rows with each number.
    """

    categories: list[Any]
    has_infrequent: bool
    has_missing: bool
    frequencies: list[float]

    @classmethod
    def fit(cls, column: Column, min_frequency: int) -> Self:
        """From a column; categories with fewer rows than ``min_frequency`` are infrequent."""
        codes, categories = column.coded
        n_missing, *counts = np.bincount(codes + 1, minlength=len(categories) + 1).tolist()
        count_of = {category: count for category, count in zip(categories, counts, strict=True) if count >= min_frequency}
        frequent = sorted(count_of)
        n_infrequent = sum(count for count in counts if count < min_frequency)
        n_rows = [count_of[category] for category in frequent] + [count for count in (n_infrequent, n_missing) if count]
        return cls(frequent, n_infrequent > 0, n_missing > 0, [count / len(codes) for count in n_rows])

    @property
    def names(self) -> list[str]:
        """The name of what each number stands for."""
        return [*map(str, self.categories), *["infrequent"] * self.has_infrequent, *["missing"] * self.has_missing]

    def __len__(self) -> int:
        return len(self.categories) + self.has_infrequent + self.has_missing

    @property
    def of_others(self) -> int:
        """The number of a category that is not frequent or was not in training data; -1 if there is none."""
        return len(self.categories) if self.has_infrequent else -1

    @property
    def of_missing(self) -> int:
        """The number of a missing value; -1 if there is none."""
        return len(self) - 1 if self.has_missing else -1

    def numbers(self, column: Column) -> NDArray[np.intp]:
        """The number of each row: unseen categories count as infrequent, and -1 stands for values without a number."""
        codes, categories = column.coded
        known = {category: i for i, category in enumerate(self.categories)}
        numbers = [known.get(category, self.of_others) for category in categories]
        return np.array([*numbers, self.of_missing], dtype=np.intp)[codes]

    def differences(self, column: Column) -> NDArray[np.float64]:
        """One-hot rows minus their mean in training data; 0 for values without a number."""
        numbers = self.numbers(column)[:, None]
        return np.where(numbers < 0, 0, (numbers == np.arange(len(self))) - np.array(self.frequencies))


@dataclass
class OneHot(Encoding):
    """The number of a row's category, or -1 for none."""

    kind: ClassVar[str] = "one_hot"
    feature: int
    coding: Coding

    @property
    def n(self) -> int:
        """Number of categories."""
        return len(self.coding)

    def names(self, features: list[str]) -> list[str]:
        return [f"{features[self.feature]}_{name}" for name in self.coding.names]

    def encode(self, table: Table, out: Floats) -> None:
        out[...] = self.coding.numbers(table[self.feature])

    def slopes(self, table: Table) -> NDArray[np.float64]:
        return self.coding.differences(table[self.feature])


@dataclass
class TwoCategories(Encoding):
    """-1/2 for the first of two categories, 1/2 for the second, 0 for neither."""

    kind: ClassVar[str] = "plain"
    n: ClassVar[int] = 1
    feature: int
    coding: Coding

    def names(self, features: list[str]) -> list[str]:
        return [f"{features[self.feature]}_{self.coding.names[1]}"]

    def encode(self, table: Table, out: Floats) -> None:
        out[...] = np.array([-0.5, 0.5, 0.0])[self.coding.numbers(table[self.feature])]

    def slopes(self, table: Table) -> NDArray[np.float64]:
        return self.coding.differences(table[self.feature]) @ [[-0.5], [0.5]]


def category_columns(feature: int, column: Column, min_frequency: int) -> list[Encoding]:
    """The encodings of a column of categories; none if all rows are equal."""
    coding = Coding.fit(column, min_frequency)
    if len(coding) < 2:
        return []
    return [(TwoCategories if len(coding) == 2 else OneHot)(feature, coding)]

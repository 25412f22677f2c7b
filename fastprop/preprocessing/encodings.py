"""What the columns of a table become: the base of all encodings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..annotations import Floats
from .frames import Table


class Encoding(ABC):
    """What one column of a table, number ``feature``, is in encoded rows: one number a row, for ``n`` wide features.

    A new one is a class with ``fit``, which learns from the column, and is made where it is wanted: in `number_columns` or
    `category_columns`. It stands for features in one of the ways of `kernels.spec.ENCODINGS`, its ``kind``. Its nodes in ONNX are
    in `fastprop.onnx.encodings`, its C in `fastprop.export.c_encodings`, its Python in `fastprop.export.python_runtime`.
    """

    kind: ClassVar[str]
    feature: int
    n: int

    @abstractmethod
    def names(self, features: list[str]) -> list[str]:
        """A name for each wide feature, made of the names of the table's columns."""

    @abstractmethod
    def encode(self, table: Table, out: Floats) -> None:
        """Write the number of each row of a table into ``out``, shape (n_rows,), strided."""

    @abstractmethod
    def slopes(self, table: Table) -> NDArray[np.float64]:
        """How each wide feature changes with the column at each row of a table, shape (n_rows, n).

        It is the derivative by a number, and 0 where that is missing. For a category it is the feature's difference to its mean in
        training data, and 0 where the category has no number.
        """

"""The base of all encodings of a table's columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..annotations import Floats
from .frames import Table


class Encoding(ABC):
    """The encoding of one column of a table, number ``feature``: one number per row, which stands for ``n`` wide features.

    To add one, write a class with ``fit``, which learns from the column, and make it in `number_columns` or `category_columns`. Its
    ``kind`` is one of `kernels.spec.ENCODINGS`, which says how the number stands for features. Its ONNX nodes are in
    `fastprop.onnx.encodings`, its C in `fastprop.export.c_encodings`, its Python in `fastprop.export.python_runtime`.
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

        For a number it is the derivative, and 0 where the number is missing. For a category it is the feature minus its mean in
        training data, and 0 where the category has no number.
        """

"""Fitted estimators as source files that need no fastprop: C for small devices, Python that needs only NumPy."""

from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
from .c import to_c
from .python import to_numpy

__all__ = ["to_c", "to_numpy"]

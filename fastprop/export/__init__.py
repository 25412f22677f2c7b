"""Fitted estimators as source files that need no fastprop: C for small devices, Python with NumPy alone."""

from .c import to_c
from .python import to_numpy

__all__ = ["to_c", "to_numpy"]

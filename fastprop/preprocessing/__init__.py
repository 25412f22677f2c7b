"""Conversion of tables with numbers, categories and missing values to numbers that a network learns from."""

from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
from .encoder import TabularEncoder

__all__ = ["TabularEncoder"]

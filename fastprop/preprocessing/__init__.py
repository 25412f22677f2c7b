"""Tables of numbers, categories and gaps as numbers that a network learns from."""

from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
from .encoder import TabularEncoder

__all__ = ["TabularEncoder"]

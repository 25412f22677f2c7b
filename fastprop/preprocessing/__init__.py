"""Tables of numbers, categories and gaps as numbers that a network learns from."""

from .encoder import TabularEncoder

__all__ = ["TabularEncoder"]

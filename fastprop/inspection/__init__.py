"""Looking at what training did."""

from .loss_curve import LossCurveDisplay

__all__ = ["LossCurveDisplay"]

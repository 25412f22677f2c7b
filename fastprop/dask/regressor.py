"""DaskMLPRegressor."""

from __future__ import annotations

from ..estimators import MLPRegressor
from .base import DaskMixin, with_parameters_of


@with_parameters_of(MLPRegressor, "regressor")
class DaskMLPRegressor(DaskMixin, MLPRegressor):
    """See `base.DOCSTRING`."""

"""FirstLayerWeightsDisplay: the weights of each unit of the first layer, as an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..annotations import ArrayLike
from .drawing import axes_for, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from sklearn.base import BaseEstimator

    from ..network import Network
    from ..nn import Module


class FirstLayerWeightsDisplay:
    """The weights of the first layer, one image for each unit, side by side on one Axes.

    Make it with `from_model`. Red weights are positive, blue ones negative, white is 0, between the units it is grey; one scale
    holds for all units.

    Parameters
    ----------
    weight : ndarray, shape (n_in, n_units)
        The weight matrix, n_in the number of pixels.
    image_shape : (int, int), optional
        Rows and columns of an image; square by default.
    name : str, optional
        The title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of the Axes.
    image_ : matplotlib AxesImage
        All units, with a gap of one pixel (NaN) between them.
    colorbar_ : matplotlib Colorbar or None
        The scale of the weights.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastprop import MLPClassifier
    >>> from fastprop.inspection import FirstLayerWeightsDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier((16,), max_iter=100, random_state=0).fit(X / 16, y)  # doctest: +SKIP
    >>> FirstLayerWeightsDisplay.from_model(model)  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure
    image_: AxesImage
    colorbar_: Colorbar | None

    def __init__(self, weight: ArrayLike, image_shape: tuple[int, int] | None = None, *, name: str | None = None) -> None:
        self.weight = np.asarray(weight)
        if self.weight.ndim != 2:
            raise ValueError(f"weight must have shape (n_in, n_units); got {self.weight.shape}")
        n_in = len(self.weight)
        self.image_shape = (math.isqrt(n_in),) * 2 if image_shape is None else tuple(image_shape)
        if math.prod(self.image_shape) != n_in:
            raise ValueError(f"image_shape must hold {n_in} pixels, one for each row of weight; got {self.image_shape}")
        self.name = name

    @classmethod
    def from_model(
        cls,
        model: Module | Network | BaseEstimator,
        image_shape: tuple[int, int] | None = None,
        n_units: int | None = None,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        limit: float | None = None,
        colorbar: bool = True,
        image_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the first layer's weights of a model.

        Parameters
        ----------
        model : Module, MLPClassifier, MLPRegressor or Network
            Estimators may be fastprop's or scikit-learn's. Of a model of `fastprop.nn`, the first two-dimensional parameter is
            drawn.
        image_shape : (int, int), optional
            Rows and columns of an image; square by default.
        n_units : int, optional
            How many units, from the first on; all by default.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        name : str, optional
            The title.
        limit : float, optional
            The weight of the strongest colour; by default the largest one drawn. Give the same to several displays to compare.
        colorbar : bool, default=True
            Whether to draw the scale of the weights.
        image_kw : dict, optional
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        FirstLayerWeightsDisplay
            What was drawn.

        Raises
        ------
        TypeError
            The model has no weights that are known here.
        ValueError
            The number of inputs is not that of an image of this shape.
        ImportError
            matplotlib is not installed.
        """
        display = cls(first_weight(model)[:, :n_units], image_shape, name=name)
        return display.plot(ax, limit=limit, colorbar=colorbar, image_kw=image_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        limit: float | None = None,
        colorbar: bool = True,
        image_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            As in `from_model`.
        name : str, optional
            The title; by default the name of the display.
        limit : float, optional
            As in `from_model`.
        colorbar : bool, default=True
            As in `from_model`.
        image_kw : dict, optional
            As in `from_model`.

        Returns
        -------
        FirstLayerWeightsDisplay
            This one.
        """
        ax = axes_for(self, ax)
        picture = mosaic(self.weight, self.image_shape)
        limit = np.nanmax(np.abs(picture)) if limit is None else limit
        colours = pyplot(self).get_cmap("RdBu_r").with_extremes(bad="0.6")
        style = {"cmap": colours, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
        self.image_ = ax.imshow(picture, **style | (image_kw or {}))
        ax.set_axis_off()
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=ax, label="weight", shrink=0.8) if colorbar else None
        name = self.name if name is None else name
        if name is not None:
            ax.set_title(name)
        return self


def first_weight(model):
    """The weights (n_in, n_units) of the first layer of a model."""
    for name in ("coefs_", "coefs"):
        if hasattr(model, name):
            return getattr(model, name)[0]
    if hasattr(model, "named_parameters"):
        for _, parameter in model.named_parameters():
            if len(parameter.shape) == 2:
                return parameter.data
    raise TypeError(f"model must be of fastprop.nn with a Linear layer, or a fitted MLP; got {type(model).__name__}")


def mosaic(weight, image_shape):
    """(n_in, n_units) as one image: about as many rows of units as columns, NaN between them."""
    height, width = image_shape
    n_units = weight.shape[1]
    n_columns = math.ceil(math.sqrt(n_units))
    n_rows = math.ceil(n_units / n_columns)
    picture = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for unit in range(n_units):
        top, left = unit // n_columns * (height + 1), unit % n_columns * (width + 1)
        picture[top : top + height, left : left + width] = weight[:, unit].reshape(image_shape)
    return picture

"""FirstLayerWeightsDisplay: the weights of each unit of the first layer, as an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

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


Choice: TypeAlias = Literal["largest", "first"]

# Inches that a new figure has at least for each weight, and inches for the title and the scale.
INCHES_PER_WEIGHT, MARGIN = 0.02, 1.6


class FirstLayerWeightsDisplay:
    """The weights of the first layer, one image for each unit, side by side on one Axes.

    Make it with `from_model`, or with `compare` for several moments of one training. Positive weights are red, negative ones
    blue, 0 is white, and the gaps between units are grey. All units share one scale. The title says how many of the units are
    shown.

    Parameters
    ----------
    weight : ndarray, shape (n_in, n_units)
        The weight matrix; n_in is the number of pixels.
    image_shape : (int, int), optional
        Rows and columns of an image; square by default.
    name : str, optional
        The first line of the title.
    units : sequence of int, optional
        Indices of the units to draw; all by default.

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

    def __init__(
        self,
        weight: ArrayLike,
        image_shape: tuple[int, int] | None = None,
        *,
        name: str | None = None,
        units: Sequence[int] | NDArray[np.intp] | None = None,
    ) -> None:
        self.weight = np.asarray(weight)
        if self.weight.ndim != 2:
            raise ValueError(f"weight must have shape (n_in, n_units); got {self.weight.shape}")
        n_in, n_units = self.weight.shape
        self.image_shape = (math.isqrt(n_in),) * 2 if image_shape is None else tuple(image_shape)
        if math.prod(self.image_shape) != n_in:
            raise ValueError(f"image_shape must hold {n_in} pixels, one for each row of weight; got {self.image_shape}")
        self.units = np.arange(n_units) if units is None else np.asarray(units)
        if not len(self.units) or self.units.min() < 0 or self.units.max() >= n_units:
            raise ValueError(f"units must be numbers from 0 to {n_units - 1}, at least one; got {self.units}")
        self.name = name

    @classmethod
    def from_model(
        cls,
        model: Module | Network | BaseEstimator,
        image_shape: tuple[int, int] | None = None,
        n_units: int | None = None,
        ax: Axes | None = None,
        *,
        choice: Choice = "largest",
        name: str | None = None,
        limit: float | None = None,
        colorbar: bool = True,
        image_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the first layer's weights of a model.

        Parameters
        ----------
        model : Module, MLPClassifier, MLPRegressor or Network
            Estimators may be fastprop's or scikit-learn's; a batch norm after the layer is not folded in. For a model of
            `fastprop.nn`, the first two-dimensional parameter is drawn.
        image_shape : (int, int), optional
            Rows and columns of an image; square by default.
        n_units : int, optional
            Number of units to draw; all by default.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure, large enough to see each weight.
        choice : {'largest', 'first'}, default='largest'
            Which units to draw, if not all: those with the largest norms of their weights, or the first ones. They keep the layer's
            order.
        name : str, optional
            The first line of the title.
        limit : float, optional
            The weight that has the strongest colour; by default the largest one drawn. Pass the same limit to several displays to
            compare them.
        colorbar : bool, default=True
            Whether to draw the scale of the weights.
        image_kw : dict, optional
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        FirstLayerWeightsDisplay
            The new display.

        Raises
        ------
        TypeError
            If the model is none of these.
        ValueError
            If the number of inputs is not the number of pixels of an image.
        ImportError
            If matplotlib is not installed.
        """
        weight = first_weight(model)
        display = cls(weight, image_shape, name=name, units=_chosen(weight, n_units, choice))
        return display.plot(ax, limit=limit, colorbar=colorbar, image_kw=image_kw)

    @classmethod
    def compare(
        cls,
        weights: Mapping[str, ArrayLike],
        image_shape: tuple[int, int] | None = None,
        n_units: int | None = None,
        axes: Sequence[Axes] | NDArray[Any] | None = None,
        *,
        choice: Choice = "largest",
        image_kw: dict[str, Any] | None = None,
    ) -> list[Self]:
        """Draw the same units of several weight matrices side by side, with one scale for all.

        Parameters
        ----------
        weights : dict
            From titles, such as 'epoch 5', to weight matrices (n_in, n_units) of one shape: copies that were made during training.
        image_shape : (int, int), optional
            Rows and columns of an image; square by default.
        n_units : int, optional
            Number of units to draw; all by default.
        axes : sequence of matplotlib Axes, optional
            Where to draw, one for each matrix; by default a new figure.
        choice : {'largest', 'first'}, default='largest'
            As in `from_model`; 'largest' refers to the last matrix.
        image_kw : dict, optional
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        list of FirstLayerWeightsDisplay
            What was drawn, in the order of ``weights``. The last one has the colour bar.

        Raises
        ------
        ValueError
            If the matrices differ in shape, if they do not fit images of this shape, or if there are not as many Axes as matrices.
        ImportError
            If matplotlib is not installed.
        """
        arrays = [np.asarray(weight) for weight in weights.values()]
        if not arrays or len({array.shape for array in arrays}) > 1:
            raise ValueError(f"weights must be matrices of one shape, at least one; got {[array.shape for array in arrays]}")
        units = _chosen(arrays[-1], n_units, choice)
        displays = [cls(array, image_shape, name=name, units=units) for name, array in zip(weights, arrays, strict=True)]
        if axes is None:
            width, height = displays[0]._figsize()
            plt = pyplot(displays[0])
            _, axes = plt.subplots(1, len(arrays), figsize=(len(arrays) * (width - MARGIN) + MARGIN, height), layout="constrained")
        axes = np.ravel(np.asarray(axes, dtype=object))
        if len(axes) != len(arrays):
            raise ValueError(f"axes must be {len(arrays)} Axes, one for each matrix; got {len(axes)}")
        limit = max(np.abs(array[:, units]).max() for array in arrays)
        for display, ax in zip(displays, axes, strict=True):
            display.plot(ax, limit=limit, colorbar=False, image_kw=image_kw)
        displays[-1]._draw_colorbar(list(axes))
        return displays

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
            This display.
        """
        ax = axes_for(self, ax, self._figsize())
        picture = mosaic(self.weight[:, self.units], self.image_shape)
        limit = np.nanmax(np.abs(picture)) if limit is None else limit
        colours = pyplot(self).get_cmap("RdBu_r").with_extremes(bad="0.6")
        style = {"cmap": colours, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
        self.image_ = ax.imshow(picture, **style | (image_kw or {}))
        ax.set_axis_off()
        self.colorbar_ = None
        if colorbar:
            self._draw_colorbar(ax)
        lines = [] if name is None and self.name is None else [self.name if name is None else name]
        if len(self.units) < self.weight.shape[1]:
            lines.append(f"{len(self.units)} of {self.weight.shape[1]} units")
        ax.set_title("\n".join(lines))
        return self

    def _draw_colorbar(self, axes):
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=axes, label="weight", shrink=0.8)

    def _figsize(self):
        """Width and height of a new figure, at least matplotlib's defaults."""
        rows, columns = _grid(len(self.units))
        height, width = (n * (size + 1) * INCHES_PER_WEIGHT for n, size in zip((rows, columns), self.image_shape, strict=True))
        return max(6.4, width + MARGIN), max(4.8, height + MARGIN / 2)


def _chosen(weight, n_units, choice):
    """Indices of the units to draw, in the layer's order."""
    if choice not in ("largest", "first"):
        raise ValueError(f"choice must be 'largest' or 'first'; got {choice!r}")
    order = np.arange(weight.shape[1])
    if choice == "largest":
        order = np.argsort(-np.linalg.norm(weight, axis=0), kind="stable")
    return np.sort(order[:n_units])


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


def _grid(n_units):
    """About as many rows of units as columns."""
    n_columns = math.ceil(math.sqrt(n_units))
    return math.ceil(n_units / n_columns), n_columns


def mosaic(weight, image_shape):
    """(n_in, n_units) as one image, NaN between the units."""
    height, width = image_shape
    n_rows, n_columns = _grid(weight.shape[1])
    picture = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for unit in range(weight.shape[1]):
        top, left = unit // n_columns * (height + 1), unit % n_columns * (width + 1)
        picture[top : top + height, left : left + width] = weight[:, unit].reshape(image_shape)
    return picture

"""What all displays share: matplotlib, imported when one of them draws and not before, and the Axes to draw on."""


def pyplot(display):
    """Return ``matplotlib.pyplot``, or fail with the name of the display and what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        name = type(display).__name__
        raise ImportError(f"{name} needs matplotlib, which cannot be imported: pip install 'fastprop-mlp[plot]'") from error
    return plt


def axes_for(display, ax, figsize=None):
    """The given Axes, or those of a new figure; the display remembers them as ``ax_`` and ``figure_``."""
    plt = pyplot(display)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def pair_of_axes_for(display, axes):
    """The two given Axes, or two side by side in a new figure; the display remembers them as ``axes_`` and ``figure_``."""
    plt = pyplot(display)
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
    if len(axes) != 2:
        raise ValueError(f"axes must be two Axes; got {len(axes)}")
    display.axes_, display.figure_ = axes, axes[0].figure
    return axes


def whole_numbers(axis):
    """Ticks at whole numbers only: for epochs, steps and layers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


# A figure with room for a legend beside the Axes, in inches.
WITH_LEGEND = (8.0, 4.8)
# Where a legend beside the Axes would leave less width than this, it is below, in inches.
NARROW = 2.0


def legend_beside(ax, second=None, lowest=None):
    """A legend to the right of the Axes and of their second y axis, where it covers nothing; below where that is too narrow.

    A user's figure without a layout engine makes no room for it: there it is inside, above the lines of both axes. ``lowest`` is
    the Axes with the labels of the x axis, if it is not ``ax``. Returns the height that the legend takes from the Axes, in pixels.
    """
    from matplotlib import rcParams

    lowest, entries = lowest or ax, ax.get_legend_handles_labels()
    for other in {ax, second, lowest} - {None}:
        if other.get_legend() is not None:
            other.get_legend().remove()
    if ax.figure.get_layout_engine() is None:
        (ax if second is None else second).legend(*entries, loc="best" if second is None else "center right")
        return 0
    letter = rcParams["font.size"] / 72 * ax.figure.dpi
    right = letter + (0 if second is None else second.yaxis.get_tightbbox().x1 - second.bbox.x1)
    legend = _legend_outside(ax, entries, (1, 1), (right, 0))
    if _full_width(ax) - right - legend.get_window_extent().width >= NARROW * ax.figure.dpi:
        return 0
    legend.remove()
    legend = _legend_outside(lowest, entries, (0, 0), (0, lowest.xaxis.get_tightbbox().y0 - lowest.bbox.y0 - letter / 2))
    # Where the figure is too low for it and the margin above is too small, the layout takes from the height of the Axes.
    return max(0, -legend.get_window_extent().y0 - (ax.figure.bbox.y1 - ax.bbox.y1))


def _legend_outside(ax, entries, corner, shift):
    """A legend whose upper left corner is at a corner of the Axes, shifted by (x, y) in pixels."""
    from matplotlib.transforms import ScaledTranslation

    x, y = shift
    to_corner = ax.transAxes + ScaledTranslation(x / ax.figure.dpi, y / ax.figure.dpi, ax.figure.dpi_scale_trans)
    place = {"bbox_to_anchor": corner, "bbox_transform": to_corner, "borderaxespad": 0}
    return ax.legend(*entries, loc="upper left", handlelength=3, **place)


def _full_width(ax):
    """The width in pixels that an Axes has before a layout engine makes room for other things."""
    cell = ax.get_subplotspec()
    return (ax.get_position() if cell is None else cell.get_position(ax.figure)).width * ax.figure.bbox.width


def legend_below(ax):
    """A legend below the Axes and their labels, where it covers nothing; inside, where the figure makes no room for it."""
    has_room = ax.figure.get_layout_engine() is not None
    ax.legend(**{"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2} if has_room else {})

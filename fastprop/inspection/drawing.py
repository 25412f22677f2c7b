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

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


# A figure with room for a legend beside the Axes, in inches.
WITH_LEGEND = (8.0, 4.8)


# The room that the labels of a second axis take beside the Axes, in widths of a letter.
SECOND_AXIS = 6


def legend_beside(ax, second=None):
    """A legend to the right of the Axes and of their second y axis, where it covers nothing.

    A user's figure without a layout engine makes no room for it: there it is inside, above the lines of both axes.
    """
    from matplotlib import rcParams
    from matplotlib.transforms import ScaledTranslation

    entries = ax.get_legend_handles_labels()
    if ax.figure.get_layout_engine() is None:
        if second is not None and ax.get_legend() is not None:
            ax.get_legend().remove()
        (ax if second is None else second).legend(*entries, loc="best" if second is None else "center right")
        return
    gap = (1 if second is None else SECOND_AXIS) * rcParams["font.size"] / 72  # inches
    place = {"bbox_to_anchor": (1, 1), "bbox_transform": ax.transAxes + ScaledTranslation(gap, 0, ax.figure.dpi_scale_trans)}
    ax.legend(*entries, loc="upper left", borderaxespad=0, handlelength=3, **place)


def legend_below(ax):
    """A legend below the Axes and their labels, where it covers nothing; inside, where the figure makes no room for it."""
    has_room = ax.figure.get_layout_engine() is not None
    ax.legend(**{"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2} if has_room else {})

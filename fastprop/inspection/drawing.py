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


def legend_beside(ax, gap=1):
    """A legend to the right of the Axes, where it covers nothing; ``gap``, in widths of a letter, is for a second axis' labels."""
    from matplotlib import rcParams
    from matplotlib.transforms import ScaledTranslation

    shift = ScaledTranslation(gap * rcParams["font.size"] / 72, 0, ax.figure.dpi_scale_trans)
    place = {"bbox_to_anchor": (1, 1), "bbox_transform": ax.transAxes + shift, "loc": "upper left", "borderaxespad": 0}
    return ax.legend(*ax.get_legend_handles_labels(), handlelength=3, **place)

"""The Axes around that of the losses: a second y axis for scores, and a small Axes below for learning rates."""

import textwrap

# The height of the Axes of learning rates, as a fraction of the height of both.
RATES_HEIGHT = 0.25
# Attributes by which the Axes of losses keeps the others, so that the next model is drawn on them, too.
SCORES, RATES = "_fastprop_scores", "_fastprop_rates"


def score_axes_of(ax):
    """The second y axis that earlier models on this Axes have, or None."""
    return _present(ax, SCORES)


def score_axes(ax):
    """The second y axis of earlier models on this Axes, or a new one."""
    return score_axes_of(ax) or _remember(ax, SCORES, ax.twinx())


def rate_axes(ax):
    """The Axes of learning rates below this one, of earlier models or new."""
    return _present(ax, RATES) or _remember(ax, RATES, _split(ax))


def lowest_axes(ax):
    """The one with the numbers and the label of the x axis."""
    return _present(ax, RATES) or ax


def label_y(ax, text, taken=0):
    """Label the y axis, on as many lines as the height of the Axes requires; ``taken`` pixels of the height are not free."""
    from matplotlib.textpath import text_to_path

    font = ax.yaxis.label.get_fontproperties()
    width = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    room = max(0, ax.bbox.height - taken) / ax.figure.dpi * 72  # points, as the width
    ax.set_ylabel(text if width <= room else _wrapped(text, int(len(text) * room / width)))


def _wrapped(text, n_letters):
    """Lines of at most ``n_letters`` letters, if the words allow it, and of about the same length."""
    by_width = [textwrap.wrap(text, width, break_long_words=False) for width in range(1, max(2, n_letters + 1))]
    return "\n".join(next(lines for lines in by_width if len(lines) == len(by_width[-1])))


def y_label(ax):
    """The label of the y axis on one line."""
    return ax.get_ylabel().replace("\n", " ")


def _present(ax, name):
    other = getattr(ax, name, None)
    return other if other in ax.figure.axes else None


def _remember(ax, name, other):
    setattr(ax, name, other)
    return other


def _split(ax):
    """Shrink this Axes, and what is in the same place, to the upper part of it; return a new one in the lower part."""
    figure, cell, place = ax.figure, ax.get_subplotspec(), _place(ax)
    stack = [other for other in figure.axes if _place(other) == place]
    if cell is None:
        x, y, width, height = place
        below = figure.add_axes((x, y, width, RATES_HEIGHT * height), sharex=ax)
        for other in stack:
            other.set_position((x, y + 1.2 * RATES_HEIGHT * height, width, (1 - 1.2 * RATES_HEIGHT) * height))
    else:
        upper, lower = cell.subgridspec(2, 1, height_ratios=[1 - RATES_HEIGHT, RATES_HEIGHT])
        below = figure.add_subplot(lower, sharex=ax)
        for other in stack:
            other.set_subplotspec(upper)
        figure.align_ylabels([ax, below])
    below.update_datalim([(1, 0)], updatex=False)  # the axis begins at 0
    ax.tick_params(labelbottom=False)
    ax.set_xlabel("")
    for other in (ax, score_axes_of(ax)):
        if other is not None:
            label_y(other, y_label(other))
    return below


def _place(ax):
    return ax.get_subplotspec() or ax.get_position(original=True).bounds

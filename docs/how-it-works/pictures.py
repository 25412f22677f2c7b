"""Draw the pictures of "How it works": `python docs/how-it-works/pictures.py [FOLDER]`, by default into this folder.

They are narrow, so that their text can be read on a telephone.
"""

import os
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

HERE = Path(__file__).parent
INK, FRAME = "#1f2937", "#64748b"
BLUE, GREEN, AMBER, GREY = "#dbeafe", "#dcfce7", "#fef3c7", "#f1f5f9"
WIDTH = 5.0  # inches; a unit of the axes is a tenth


def canvas(height):
    """A figure and its axes, in tenths of an inch."""
    figure = Figure(figsize=(WIDTH, height / 10))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 10 * WIDTH), ylim=(0, height))
    ax.axis("off")
    return figure, ax


def box(ax, left, bottom, width, height, text, colour=GREY, size=10, **style):
    """A box with a text in its middle."""
    frame = FancyBboxPatch(
        (left, bottom), width, height, "round,pad=0,rounding_size=0.6", facecolor=colour, edgecolor=FRAME, lw=0.8
    )
    ax.add_patch(frame)
    ax.text(left + width / 2, bottom + height / 2, text, ha="center", va="center", size=size, color=INK, **style)


def arrow(ax, start, end, **style):
    """An arrow between two points."""
    options = {"arrowstyle": "-|>", "color": FRAME, "lw": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11} | style
    ax.annotate("", end, start, arrowprops=options)


def note(ax, x, y, text, **style):
    """A text without a box."""
    ax.text(x, y, text, **{"size": 9.5, "color": INK, "va": "center"} | style)


def packages():
    """Who calls whom."""
    figure, ax = canvas(40)
    box(ax, 1, 33, 15, 6, "estimators\nMLP, tabular", BLUE)
    box(ax, 17.5, 33, 15, 6, "nn: layers,\ngraphs, losses", BLUE)
    box(ax, 34, 33, 15, 6, "your own\nloop", BLUE)
    box(ax, 1, 23, 31.5, 6, "loop.py: epochs, stopping, callbacks, Ctrl-C\noptim, threads, training_set", GREEN, size=9)
    for x in (8.5, 25):
        arrow(ax, (x, 33), (x, 29))
    arrow(ax, (41.5, 33), (41.5, 19))
    arrow(ax, (16.75, 23), (16.75, 19))
    box(ax, 1, 13, 48, 6, "kernels: checked functions on arrays\na layer table says what a network is, a job what to train", GREEN)
    for x, text in (
        (1, "Cython and C\none module for each\ninstruction set"),
        (17.5, "Numba\nno compiler needed"),
        (34, "NumPy\nthe definition"),
    ):
        box(ax, x, 2, 15, 7, text, AMBER, size=9)
        arrow(ax, (x + 7.5, 13), (x + 7.5, 9))
    return figure


def epoch():
    """The data flow of an epoch."""
    figure, ax = canvas(66)
    box(ax, 8, 60, 34, 5, "order of the rows, shuffled for each epoch", BLUE)
    arrow(ax, (25, 60), (25, 57.5))
    box(ax, 8, 52.5, 34, 5, "batch: the next rows of the order", BLUE)
    arrow(ax, (25, 52.5), (25, 50))
    box(ax, 8, 45, 34, 5, "part of a thread, in chunks that fit the caches", BLUE)
    ax.add_patch(Rectangle((2.5, 17), 44, 26.5, fill=False, edgecolor=FRAME, linestyle="--", lw=0.9))
    note(ax, 3.5, 42, "for each chunk", size=9, color=FRAME)
    arrow(ax, (25, 45), (25, 41))
    steps = [
        "gather rows, make float32, float64 or bfloat16",
        "forward, layer by layer: a = f(x W + b)",
        "loss, and the gradient of the outputs",
        "backward: dz = da f'(z),  dW += x$^T$ dz,  dx = dz W$^T$",
    ]
    for i, text in enumerate(steps):
        box(ax, 4.5, 36 - 6 * i, 40, 4.6, text, GREEN)
        if i:
            arrow(ax, (25, 42 - 6 * i), (25, 40.6 - 6 * i))
    arrow(ax, (25, 18), (25, 14.5))
    box(ax, 8, 9.5, 34, 5, "sum of the parts' gradients, over the rows", AMBER)
    arrow(ax, (25, 9.5), (25, 7))
    box(ax, 8, 2, 34, 5, "optimizer's step: the parameters, in place", AMBER)
    ax.plot([42, 47.8, 47.8, 42], [4.5, 4.5, 55, 55], color=FRAME, lw=1.2, solid_joinstyle="round")
    arrow(ax, (43, 55), (42, 55))
    note(ax, 49.3, 30, "next batch", rotation=90, ha="center", size=9, color=FRAME)
    return figure


def schedules():
    """What two threads do in a step, for both schedules."""
    figure, ax = canvas(46)

    def rows(top, title, lanes, barriers):
        note(ax, 1, top, title, weight="bold", size=10)
        for i, parts in enumerate(lanes):
            y = top - 7.5 - 6.5 * i
            note(ax, 1, y + 2.25, f"thread {i + 1}", size=9)
            for left, width, text, colour in parts:
                box(ax, left, y, width, 4.5, text, colour, size=9)
        for x, text in barriers:
            ax.plot([x, x], [top - 16, top - 1.8], color="#b91c1c", lw=1.6)
            note(ax, x, top - 17.3, text, ha="center", size=8.5, color="#b91c1c")

    rows(
        44,
        "shared: two barriers in a step",
        [
            [(9, 18, "gradient of part 1", GREEN), (30, 11, "update,\nhalf 1", AMBER), (43.5, 6, "next", GREY)],
            [(9, 16, "gradient of part 2", GREEN), (30, 12, "update,\nhalf 2", AMBER), (43.5, 6, "next", GREY)],
        ],
        [(28.5, "barrier"), (42.8, "barrier")],
    )
    rows(
        21,
        "replicated: one barrier, each thread has all parameters",
        [
            [(9, 18, "gradient of part 1", GREEN), (30, 12.5, "update of all,\nown copy", AMBER), (43.5, 6, "next", GREY)],
            [(9, 16, "gradient of part 2", GREEN), (30, 12.5, "update of all,\nown copy", AMBER), (43.5, 6, "next", GREY)],
        ],
        [(28.5, "barrier")],
    )
    return figure


def tile():
    """What is in registers while a product is made."""
    figure, ax = canvas(33)
    box(ax, 1, 5, 14, 10, "A\nrows of x, one\nnumber at a time", BLUE, size=9)
    box(ax, 18, 20, 12, 12, "B\na panel of W,\ncopied so that it\nlies in one piece", BLUE, size=9)
    box(ax, 18, 5, 12, 10, "C\na block of sums\nin registers", GREEN, size=9)
    arrow(ax, (15, 10), (18, 10))
    arrow(ax, (24, 20), (24, 15))
    arrow(ax, (30, 10), (34, 10))
    box(ax, 34, 5, 15, 10, "bias before,\nactivation after,\nthen stored once", AMBER, size=9)
    note(ax, 33, 26, "for each k:\nbroadcast A(i, k),\nmultiply by B(k, j),\nadd to C(i, j)", size=9)
    note(ax, 1, 2, "AVX-512: 32 registers, AVX2: 16; the same C code for each", size=9, color=FRAME)
    return figure


PICTURES = {"packages": packages, "epoch": epoch, "schedules": schedules, "tile": tile}


def main(folder=HERE):
    """Draw all; the same script gives the same files."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    matplotlib.rcParams["svg.hashsalt"] = "fastprop"
    for name, draw in PICTURES.items():
        draw().savefig(Path(folder, f"{name}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])

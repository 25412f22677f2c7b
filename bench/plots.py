"""The pictures of the report, as matplotlib figures; matplotlib is needed here alone."""

import io
from itertools import groupby

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from .results import distinct, select

COLOURS = {
    "fastprop": "#1b6ca8",
    "scikit-learn": "#e08214",
    "PyTorch": "#c7402d",
    "JAX": "#5a8f3d",
    "PyTorch compiled": "#8d3b72",
    "skorch": "#7f7f7f",
}
# (dtype, n_threads is 1) -> colour and line
LINES = {
    ("float32", True): {"color": "#1b6ca8", "linestyle": "-"},
    ("float32", False): {"color": "#1b6ca8", "linestyle": "--"},
    ("float64", True): {"color": "#c7402d", "linestyle": "-"},
    ("float64", False): {"color": "#c7402d", "linestyle": "--"},
}


def svg(figure):
    """The figure as text for a page."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "fastprop"}):  # the same figure gives the same text
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def speedups(cases):
    """How many times as long each peer takes for an epoch of fit, by configuration; None where there is nothing to show."""
    bars = [case for case in select(cases, family="fit") if case.fastprop_times_faster and case.contender != "fastprop"]
    panels = sorted({(case.n_threads, case.dtype) for case in bars})
    if not panels:
        return None
    figure = Figure(figsize=(11, 1.2 + 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for ax, (n_threads, dtype) in zip(axes, panels, strict=True):
        shown = select(bars, n_threads=n_threads, dtype=dtype)
        names, peers = distinct(shown, "configuration"), distinct(shown, "contender")
        width = 0.8 / len(peers)
        for i, peer in enumerate(peers):
            found = {case.configuration: case.fastprop_times_faster for case in select(shown, contender=peer)}
            at = [k + (i - (len(peers) - 1) / 2) * width for k, name in enumerate(names) if name in found]
            drawn = ax.bar(at, [found[name] for name in names if name in found], width * 0.92, label=peer, color=COLOURS.get(peer))
            ax.bar_label(drawn, fmt="%.3g", fontsize=7, padding=1)
        ax.axhline(1, color="black", linewidth=0.8)
        logarithmic(ax.yaxis)
        ax.margins(y=0.15)
        ax.set_xticks(range(len(names)), names)
        ax.set_title(f"{dtype}, {_threads(n_threads)}", fontsize=10, loc="left")
        ax.set_ylabel("times fastprop's")
        ax.spines[["top", "right"]].set_visible(False)
    peers = {label: bar for ax in axes for bar, label in zip(*ax.get_legend_handles_labels(), strict=True)}  # of any panel
    figure.legend(peers.values(), peers, loc="outside lower center", fontsize=8, ncols=len(peers), frameon=False)
    figure.suptitle("An epoch of fit: how many times as long as with fastprop", fontsize=12)
    return figure


def summary(cases):
    """The same in one panel, for the README: the peers of every configuration, with the most threads of the run."""
    fits = select(cases, family="fit", n_threads=max(case.n_threads for case in select(cases, family="fit")))
    names = distinct(fits, "configuration")[::-1]
    peers = [name for name in list(COLOURS)[1:4] if select(fits, contender=name)]
    figure = Figure(figsize=(7.5, 1.2 + 0.42 * len(names)), layout="constrained")
    ax = figure.subplots()
    for i, peer in enumerate(peers):
        for dtype, filled in (("float32", True), ("float64", False)):
            # Of several contests of a configuration the first, as in the table.
            found = {case.configuration: case for case in reversed(select(fits, contender=peer, dtype=dtype))}
            at = [names.index(name) + 0.22 * ((len(peers) - 1) / 2 - i) for name in found]
            face = COLOURS[peer] if filled else "white"
            ratios = [case.fastprop_times_faster for case in found.values()]
            ax.plot(ratios, at, "o", markersize=6, color=COLOURS[peer], markerfacecolor=face, label=f"{peer}, {dtype}")
    ax.axvline(1, color="black", linewidth=1)
    for at in range(1, len(names)):
        ax.axhline(at - 0.5, color="#dddddd", linewidth=0.7)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    logarithmic(ax.xaxis)
    ax.grid(alpha=0.3, axis="x", linewidth=0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"times as long as fastprop, {_threads(fits[0].n_threads)}; left of 1 the other is faster")
    ax.set_title("An epoch of training", fontsize=11, loc="left")
    ax.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", fontsize=8, ncols=max(1, len(peers)), frameon=False)
    return figure


def roofline(cases, limits):
    """Left, what multiplies: GFLOP/s by operations a byte. Right, what does not: GB/s by bytes; with the measured limits."""
    kernels = [case for case in select(cases, family="kernel") if case.contender != "reference" and case.gigabytes]
    best = [case for case in kernels if case.contender == distinct(kernels, "contender")[0]]
    if not best or not limits:
        return None
    figure = Figure(figsize=(12, 5), layout="constrained")
    products, passes = figure.subplots(1, 2)
    for (dtype, one), style in LINES.items():
        shown = [case for case in best if case.dtype == dtype and (case.n_threads == 1) == one]
        if not shown:
            continue
        n_threads, label = shown[0].n_threads, f"{dtype}, {_threads(shown[0].n_threads)}"
        limit, filled = limits[str(n_threads)], {"markerfacecolor": style["color"] if one else "none"}
        peak, memory = limit["gflops"][dtype], limit["gigabytes"][max(limit["gigabytes"], key=int)]
        multiplied = [case for case in shown if case.intensity]
        at = [case.intensity for case in multiplied]
        products.plot(at, [case.gflops for case in multiplied], "o", markersize=5, color=style["color"], label=label, **filled)
        roof = [min([1.0, *at]), peak / memory, max([1000.0, *at])]
        products.plot(roof, [min(peak, memory * x) for x in roof], linewidth=1, **style)
        rest = [case for case in shown if not case.intensity]
        sizes = [case.gigabytes * case.median * 1e9 for case in rest]
        passes.plot(sizes, [case.gigabytes for case in rest], "o", markersize=4, color=style["color"], **filled)
        if dtype == "float32":
            reading = sorted((int(size), rate) for size, rate in limit["gigabytes"].items())
            line = {"color": "black", "linestyle": style["linestyle"], "label": f"reading, {_threads(n_threads)}"}
            passes.plot(*zip(*reading, strict=True), **line)
    for ax, x, y in ((products, "operations a byte", "GFLOP/s"), (passes, "bytes read and written", "GB/s")):
        ax.set(xlabel=x, ylabel=y)
        logarithmic(ax.xaxis, subdivided=False)
        logarithmic(ax.yaxis)
        ax.grid(alpha=0.3, which="both", linewidth=0.5)
        ax.legend(fontsize=8, frameon=False)
    products.set_title("Kernels with products; lines: multiply-add peak, memory bandwidth", fontsize=10)
    passes.set_title("Kernels that pass over arrays; lines: reading, by size", fontsize=10)
    figure.suptitle(f"Roofline: {best[0].contender}", fontsize=12)
    return figure


def scaling(cases):
    """Time for each operation against what is varied: flat where the cost grows as the work."""
    cases = select(cases, family="scaling")
    dimensions = distinct(cases, "dimension")
    if not dimensions:
        return None
    n_rows = -(-len(dimensions) // 3)
    figure = Figure(figsize=(12, 3.2 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, 3, squeeze=False).ravel()
    for ax, dimension in zip(axes, dimensions, strict=False):
        shown = select(cases, dimension=dimension)
        numbers = all(isinstance(case.value, int) for case in shown)
        for (dtype, n_threads), line in groupby(sorted(shown, key=_line), key=_line):
            points = list(line)
            points = sorted(points, key=lambda case: case.value) if numbers else points
            style, label = LINES[dtype, n_threads == 1], f"{dtype}, {_threads(n_threads)}"
            values = [case.value for case in points], [case.picoseconds_per_flop for case in points]
            ax.plot(*values, marker=".", linewidth=1.2, label=label, **style)
        ax.set(xlabel=dimension, ylabel="ps an operation")
        logarithmic(ax.yaxis)
        if numbers:
            logarithmic(ax.xaxis, subdivided=False)
        ax.grid(alpha=0.3, which="both", linewidth=0.5)
    axes[0].legend(fontsize=7, frameon=False)
    for ax in axes[len(dimensions) :]:
        ax.set_visible(False)
    figure.suptitle("An epoch's time for each floating-point operation of its products", fontsize=12)
    return figure


def changes(comparison):
    """What moved, function by function, with the limit beyond which it is marked."""
    shown = comparison.functions[:40][::-1]
    if not shown:
        return None
    figure = Figure(figsize=(11, 1.2 + 0.24 * len(shown)), layout="constrained")
    ax = figure.subplots()
    at = range(len(shown))
    colours = [{"slower": "#c7402d", "faster": "#5a8f3d", "": "#9a9a9a"}[change.word] for change in shown]
    ax.barh(at, [100 * change.limit * 2 for change in shown], left=[-100 * c.limit for c in shown], color="#e6e6e6")
    ax.scatter([100 * change.log_ratio for change in shown], at, c=colours, s=26, zorder=3)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(at, [change.name for change in shown], fontsize=7)
    ax.set_xlabel("100 log(after / before): about percent, more than 0 is slower; grey: noise")
    ax.set_title("What changed, by function", fontsize=12)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def logarithmic(axis, subdivided=True):
    """A logarithmic axis with plain numbers, also where it spans less than a decade."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if subdivided else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _line(case):
    return case.dtype, case.n_threads


def _threads(n):
    return "1 thread" if n == 1 else f"{n} threads"

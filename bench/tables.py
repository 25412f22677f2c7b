"""Tables in Markdown."""

import statistics

from .results import distinct, select

# The signs that the tables have for "times as long" and for nothing.
TIMES, NONE = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
PEERS = ("scikit-learn", "PyTorch", "JAX", "PyTorch compiled", "skorch", "onnxruntime")
# How many times as fast as a peer fastprop is meant to be on two threads of an AVX-512 processor:
# configuration -> contender -> (float32, float64).
GOALS = {
    "iris-like": {"scikit-learn": (30, 20), "JAX": (8, 6), "PyTorch": (20, 20)},
    "digits": {"scikit-learn": (15, 10), "JAX": (5, 4.5), "PyTorch": (8, 8)},
    "tabular-small": {"scikit-learn": (30, 20), "JAX": (10, 8), "PyTorch": (14, 14)},
    "tabular-deep": {"scikit-learn": (12, 8), "JAX": (4.5, 3.4), "PyTorch": (5.5, 5.5)},
    "mnist": {"scikit-learn": (5, 4), "JAX": (1.8, 1.9), "PyTorch": (3, 3)},
    "mnist-deep": {"scikit-learn": (4, 3.3), "JAX": (1.4, 1.6), "PyTorch": (2.5, 2.5)},
    "wide": {"scikit-learn": (3.2, 2.6), "JAX": (1.25, 1.4), "PyTorch": (2.3, 2.3)},
}

# A peer that takes less than this many times as long as fastprop is as good a choice.
CLOSE = 1.1
# What a call of a layer may take for each module that it goes through, and Sequential.fit in epochs of the estimator's.
CALL_AIM, NN_AIM = 5e-6, 1.1
NN_ROWS = ("fastprop nn", "fastprop nn, layer by layer")


def duration(seconds):
    """With three significant digits and a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds * 1e9)} ns"


def _three_digits(x):
    return f"{x:.{max(0, 2 - len(str(int(x))) + 1)}f}"


def table(header, rows):
    """Lines of a Markdown table; the columns after the first are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def fit_table(cases, goals=True):
    """An epoch of fit, fastprop's time and limit, and the peers' times as multiples of it."""
    fits = select(cases, family="fit")
    peers = [name for name in PEERS if select(fits, contender=name)]
    rows = []
    for ours in select(fits, contender="fastprop"):
        cell = {"configuration": ours.configuration, "dtype": ours.dtype, "n_threads": ours.n_threads}
        theirs = {case.contender: case for case in select(fits, **cell) if case.group == ours.group}
        if len(theirs) == 1 and peers and _is_told_elsewhere(fits, ours):
            continue
        ratios = [_ratio(ours, theirs.get(peer), goals) for peer in peers]
        rows.append([f"{ours.configuration} {ours.dtype} {ours.n_threads}T", _time(ours), _limit(ours), _ping_pong(ours), *ratios])
    if not rows:
        return ""
    return table(["configuration", "fastprop", "GFLOP/s (of peak)", "ping-pong", *(f"{TIMES} {peer}" for peer in peers)], rows)


def summary_table(fits, n_threads, label):
    """A row for each configuration: fastprop's epochs and the peers' factors, in float32 / float64."""
    peers = [name for name in PEERS[:3] if select(fits, contender=name)]
    rows = []
    for name in distinct(fits, "configuration"):
        cells = {}
        for case in select(fits, configuration=name, n_threads=n_threads):
            told = duration(case.median) if case.contender == "fastprop" else f"{case.fastprop_times_faster:.1f}"
            cells.setdefault((case.contender, case.dtype), told)
        found = [[cells.get((who, dtype), NONE) for dtype in ("float32", "float64")] for who in ("fastprop", *peers)]
        rows.append([label(name), *(" / ".join(pair) for pair in found)])
    return table(["configuration", "fastprop", *(f"{TIMES} {peer}" for peer in peers)], rows)


def _is_told_elsewhere(fits, ours):
    same = select(fits, configuration=ours.configuration, dtype=ours.dtype, n_threads=ours.n_threads, contender="fastprop")
    return len(same) > 1


def _time(case):
    """Median and the distance of the quartiles in percent."""
    return f"{duration(case.median)} ± {case.spread / 2:.0%}" + (" noisy" if case.noisy else "")


def _limit(case):
    if case.fraction_of_limit is None:
        return NONE if case.gflops is None else f"{case.gflops:.0f}"
    return f"{case.gflops:.0f} ({case.fraction_of_limit:.0%})"


def _ping_pong(case):
    known = [seconds for seconds in case.ping_pong or () if seconds]
    return f"{statistics.median(known) * 1e9:.0f} ns" if known else NONE


def _ratio(ours, theirs, goals):
    """How many times as long a peer takes, its time, and a goal that was missed."""
    if theirs is None:
        return NONE
    ratio = theirs.fastprop_times_faster or theirs.median / ours.median
    aim = aim_of(theirs) if goals else None
    missed = f", aim {aim:g}" if aim and ratio < aim else ""
    return f"{ratio:.1f}{missed} ({duration(theirs.median)})"


def aim_of(theirs):
    """How many times as long a peer's case is meant to take, or None."""
    goal = GOALS.get(theirs.configuration, {}).get(theirs.contender) if theirs.n_threads > 1 else None
    return goal and goal[theirs.dtype == "float64"]


def ratio_table(cases, family, title):
    """Any family in which contenders took turns: a row is a group."""
    cases = select(cases, family=family)
    peers = [name for name in distinct(cases, "contender") if name != "fastprop"]
    rows = []
    for group in dict.fromkeys(case.group for case in cases):
        found = {case.contender: case for case in cases if case.group == group}
        ours = found.get("fastprop")
        if ours is not None:
            rows.append([group, _time(ours), *(_ratio(ours, found.get(peer), goals=False) for peer in peers)])
    return table([title, "fastprop", *(f"{TIMES} {peer}" for peer in peers)], rows) if rows else ""


def nn_table(cases):
    """`Sequential.fit` on a plain stack, compiled and layer by layer, in epochs of the estimator's."""
    rows = []
    for ours in select(cases, family="nn", contender="fastprop"):
        found = {case.contender: case for case in cases if case.group == ours.group}
        ratios = [found[name].fastprop_times_faster if name in found else None for name in NN_ROWS]
        missed = f", aim {NN_AIM:g}" if ratios[0] and ratios[0] > NN_AIM else ""
        cells = [NONE if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        rows.append([f"{ours.configuration} {ours.dtype} {ours.n_threads}T", _time(ours), cells[0] + missed, cells[1]])
    return table(["an epoch of fit", "MLPClassifier", f"{TIMES} Sequential", f"{TIMES} layer by layer"], rows) if rows else ""


def layer_table(cases):
    """What a call of each layer takes on an array of a few numbers, and where that is more than it is meant to."""
    cases = [case for case in select(cases, family="layer call") if case.n_modules]
    rows = []
    for name in distinct(cases, "contender"):
        found = {case.configuration: case for case in select(cases, contender=name)}
        rows.append([name.removeprefix("fastprop "), *(_call(found.get(direction)) for direction in ("forward", "backward"))])
    return table(["a call of a layer", "forward", "backward"], rows) if rows else ""


def _call(case):
    if case is None:
        return NONE
    aim = CALL_AIM * case.n_modules
    return duration(case.median) + (f", aim {duration(aim)}" if case.median > aim else "")


def limit_table(cases, family):
    """Kernels or epochs: the time of each back end and its fraction of what the hardware allows."""
    cases = select(cases, family=family)
    names = distinct(cases, "contender")
    rows = []
    for group in dict.fromkeys(case.group for case in cases):
        found = {case.contender: case for case in cases if case.group == group}
        rows.append([group, *(_time_and_fraction(found.get(name)) for name in names)])
    return table(["", *names], rows) if rows else ""


def _time_and_fraction(case):
    if case is None:
        return NONE
    rate = f", {case.gflops:.0f} GFLOP/s" if case.gflops else f", {case.gigabytes:.1f} GB/s" if case.gigabytes else ""
    fraction = f" ({case.fraction_of_limit:.0%})" if case.fraction_of_limit is not None else ""
    return duration(case.median) + rate + fraction


def single_table(cases, family, title):
    """Families with one time a row."""
    rows = [[case.contender, _time(case)] for case in select(cases, family=family)]
    return table([title, "time"], rows) if rows else ""


def fact_table(facts):
    rows = [[each["what"], each["name"], f"{each['value']:.1f} {each['unit']}"] for each in facts]
    return table(["what", "of", "value"], rows) if rows else ""


def noisy_line(cases):
    """How many cases were noisy, and the worst, or nothing."""
    noisy = sorted((case for case in cases if case.noisy), key=lambda case: -case.spread)
    if not noisy:
        return ""
    worst = ", ".join(f"{case.group}: {case.contender} ({case.spread:.0%})" for case in noisy[:3])
    return f"{len(noisy)} of {len(cases)} cases had quartiles more than 10 % apart; the worst: {worst}"


def losses(cases):
    """Where a peer was faster than fastprop, or `CLOSE` to it: (group, contender, ratio), the worst first."""
    found = [(case.group, case.contender, case.fastprop_times_faster) for case in compared(cases)]
    for case in select(cases, family="kernel", contender="reference"):
        best = min((other.median for other in cases if other.group == case.group and other is not case), default=None)
        if best:
            found.append((case.group, "NumPy", case.median / best))
    return sorted((each for each in found if each[2] < CLOSE), key=lambda each: each[2])


def compared(cases):
    """The peers' cases that took turns with fastprop's."""
    return [
        case
        for family in ("fit", "data", "convergence", "predict", "search")
        for case in select(cases, family=family)
        if case.fastprop_times_faster is not None and not case.contender.startswith("fastprop")
    ]

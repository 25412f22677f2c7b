"""What moved between two runs by more than the noise.

A case that took turns with a control (plain NumPy, scikit-learn: what a change of fastprop cannot change) is judged by its ratio
to it in the same rounds, which a busy machine changes little; another one by its time, less what all controls have in common. The
noise of a case is how far its rounds scatter in both runs or how far the cases of one function (a kernel on one back end, a
configuration) scatter around each other, whichever is more; of a case without a control also how far the controls moved apart.
Limits are set so that of a thousand pairs of runs of the same code one would have anything marked, were the noise normal. It is
not, so that a case by itself is marked only from twice its limit on, and if its minimum moved with its median. What counts is the
function: the median of its cases. Where the controls themselves scatter by more than `MOST_NOISE`, nothing is marked.
"""

import math
import statistics
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

MARK_PROBABILITY = 0.001
# A smaller change is never marked.
SMALLEST_CHANGE = 0.05
# Fewer controls say nothing about the machine.
MIN_CONTROLS = 8
# Where controls scatter by more, the machine did other things too, and nothing is said of fastprop.
MOST_NOISE = 0.3
# Scatter from run to run that is assumed where there are too few controls.
ASSUMED_NOISE = 0.04
# The limit of a case by itself, in limits of normal noise.
CASE_FACTOR = 2
# A function's cases are taken one after the other, so that their errors are alike: more than so many are no more certain.
MAX_INDEPENDENT = 12
# Of a normal distribution: between the quartiles; the standard error of a median, times the root of the number.
QUARTILES_PER_SIGMA, MEDIAN_ERROR = 1.349, 1.2533


@dataclass(frozen=True)
class Change:
    """A case or a function in both runs; ``log_ratio`` is the log of after / before, without what the controls did too."""

    name: str
    n_cases: int
    log_ratio: float
    limit: float
    marked: bool

    @property
    def percent(self):
        return math.expm1(self.log_ratio)

    @property
    def word(self):
        return ("slower" if self.log_ratio > 0 else "faster") if self.marked else ""


@dataclass(frozen=True)
class Comparison:
    """All changes, the largest first; ``drift`` is what the controls have in common, ``noise`` how they scatter around it."""

    functions: list
    cases: list
    drift: float
    noise: float
    n_controls: int
    missing: list

    @property
    def is_restless(self):
        """Whether the controls, which cannot have changed, moved so differently that nothing can be told."""
        return self.noise > MOST_NOISE

    @property
    def marked(self):
        return [] if self.is_restless else [change for change in self.functions + self.cases if change.marked]


def compare(before, after):
    """The `Comparison` of two lists of `results.Case`."""
    old = {case.name: case for case in before}
    pairs = [(old[case.name], case) for case in after if case.name in old]
    controls = [math.log(b.median / a.median) for a, b in pairs if not is_ours(b)]
    drift, scatter = _location_and_scale(controls) if len(controls) >= MIN_CONTROLS else (0.0, ASSUMED_NOISE)
    moves = sorted((_paired_move(a, b) or _lone_move(a, b, drift, scatter) for a, b in pairs if is_ours(b)), key=_function_of)
    by_function = [list(members) for _, members in groupby(moves, key=_function_of)]
    noise = _scatter_within(by_function)
    cases = [_case_change(move, noise, n=len(moves)) for move in moves]
    functions = [_function_change(members, noise, n=len(by_function)) for members in by_function if len(members) > 1]
    missing = sorted({case.name for case in before} ^ {case.name for case in after})
    largest_first = [sorted(changes, key=lambda c: (not c.marked, -abs(c.log_ratio))) for changes in (functions, cases)]
    return Comparison(*largest_first, drift, scatter, len(controls), missing)


def is_ours(case):
    """Whether a change of fastprop can change the case."""
    return (case.contender or "").partition(" ")[0] in ("fastprop", "cython", "numba")


class _Move(NamedTuple):
    """How a case moved: the log of after / before of its median and of its minimum, and the standard deviation of the former."""

    case: object
    median: float
    minimum: float
    sigma: float


def _paired_move(a, b):
    """Of the ratio to the control in the same contest, round by round; None without one in both runs."""
    if not (a.to_control and b.to_control):
        return None
    medians = [statistics.median(case.to_control) for case in (a, b)]
    minima = [min(case.to_control) for case in (a, b)]
    sigma = math.hypot(*(_spread(case.to_control) for case in (a, b)))
    return _Move(b, math.log(medians[1] / medians[0]), math.log(minima[1] / minima[0]), sigma)


def _lone_move(a, b, drift, scatter):
    """Of the time itself, less what all controls have in common."""
    sigma = max(math.hypot(a.spread, b.spread) / QUARTILES_PER_SIGMA, scatter)
    return _Move(b, math.log(b.median / a.median) - drift, math.log(b.min / a.min) - drift, sigma)


def _spread(ratios):
    """A standard deviation of the logarithms that outliers do not spoil."""
    return _location_and_scale([math.log(ratio) for ratio in ratios])[1]


def _location_and_scale(moves):
    """Median, and the standard deviation as the median absolute deviation estimates it, at least 1 %."""
    center = statistics.median(moves)
    return center, max(0.01, 1.4826 * statistics.median(abs(move - center) for move in moves))


def _scatter_within(by_function):
    """How far cases are from the median of their function's, where there are enough of them."""
    residuals = []
    for members in by_function:
        center = statistics.median(move.median for move in members)
        residuals += [move.median - center for move in members] if len(members) >= MIN_CONTROLS else []
    return _location_and_scale(residuals)[1] if residuals else 0.0


def _limit(sigma, n):
    """What a change must exceed to be marked, where n are looked at (Bonferroni)."""
    return max(math.log1p(SMALLEST_CHANGE), statistics.NormalDist().inv_cdf(1 - MARK_PROBABILITY / 2 / n) * sigma)


def _case_change(move, noise, n):
    case, limit = move.case, CASE_FACTOR * _limit(max(move.sigma, noise), n)
    # Half of the limit: a minimum has noise of its own.
    marked = abs(move.median) > limit and move.minimum * math.copysign(1, move.median) > limit / 2
    return Change(f"{case.group}: {case.contender}", 1, move.median, limit, marked)


def _function_of(move):
    case = move.case
    subject = case.kernel or case.configuration or case.dimension or ""
    return f"{case.family} {subject}: {case.contender}".replace("  ", " ")


def _function_change(members, noise, n):
    median = statistics.median(move.median for move in members)
    of_one = max(statistics.median(move.sigma for move in members), noise)
    limit = _limit(MEDIAN_ERROR * of_one / math.sqrt(min(len(members), MAX_INDEPENDENT)), n)
    return Change(_function_of(members[0]), len(members), median, limit, abs(median) > limit)

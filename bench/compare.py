"""What moved between two runs by more than the noise.

The noise of a case is the largest of three: the distance of its quartiles in both runs; how far the controls scatter, which are
cases that cannot have changed, those of peers and of plain NumPy; how far the cases of one function (a kernel on one back end, a
configuration) scatter around each other. What all controls have in common, such as another clock, is taken out. Limits are set so
that of a thousand pairs of runs of the same code one would have anything marked, were the noise normal. It is not, quite: a case is
marked only if its minimum moved with its median, and a function by the median of its cases.
"""

import math
import statistics
from dataclasses import dataclass
from itertools import groupby

MARK_PROBABILITY = 0.001
# A smaller change is never marked.
SMALLEST_CHANGE = 0.05
# Fewer controls say nothing about the machine.
MIN_CONTROLS = 8
# Scatter from run to run that is assumed where there are too few controls.
ASSUMED_NOISE = 0.04
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
    def marked(self):
        return [change for change in self.functions + self.cases if change.marked]


def compare(before, after):
    """The `Comparison` of two lists of `results.Case`."""
    old = {case.name: case for case in before}
    pairs = [(old[case.name], case) for case in after if case.name in old]
    moves = [(a, b, math.log(b.median / a.median)) for a, b in pairs if a.median > 0 and b.median > 0]
    controls = [move for _, b, move in moves if not is_ours(b)]
    drift, noise = _location_and_scale(controls) if len(controls) >= MIN_CONTROLS else (0.0, ASSUMED_NOISE)
    ours = sorted(((a, b, move - drift) for a, b, move in moves if is_ours(b)), key=_function_of)
    by_function = [list(members) for _, members in groupby(ours, key=_function_of)]
    noise = max(noise, _scatter_within(by_function))
    # The drift is known no better than the median of the controls.
    of_drift = MEDIAN_ERROR * noise / math.sqrt(max(len(controls), MIN_CONTROLS))
    cases = [_case_change(*each, noise, drift, n=len(ours)) for each in ours]
    functions = [_function_change(members, noise, of_drift, n=len(by_function)) for members in by_function if len(members) > 1]
    missing = sorted({case.name for case in before} ^ {case.name for case in after})
    largest_first = [sorted(changes, key=lambda c: (not c.marked, -abs(c.log_ratio))) for changes in (functions, cases)]
    return Comparison(*largest_first, drift, noise, len(controls), missing)


def is_ours(case):
    """Whether a change of fastprop can change the case."""
    return (case.contender or "").partition(" ")[0] in ("fastprop", "cython", "numba")


def _location_and_scale(moves):
    """Median, and the standard deviation as the median absolute deviation estimates it, at least 1 %."""
    center = statistics.median(moves)
    return center, max(0.01, 1.4826 * statistics.median(abs(move - center) for move in moves))


def _scatter_within(by_function):
    """How far cases are from the median of their function's, where there are enough of them."""
    residuals = []
    for members in by_function:
        center = statistics.median(move for _, _, move in members)
        residuals += [move - center for _, _, move in members] if len(members) >= MIN_CONTROLS else []
    return _location_and_scale(residuals)[1] if residuals else 0.0


def _sigma(a, b, noise):
    """The standard deviation of a case's change."""
    return max(math.hypot(a.spread, b.spread) / QUARTILES_PER_SIGMA, noise)


def _limit(sigma, n):
    """What a change must exceed to be marked, where n are looked at (Bonferroni)."""
    return max(math.log1p(SMALLEST_CHANGE), statistics.NormalDist().inv_cdf(1 - MARK_PROBABILITY / 2 / n) * sigma)


def _case_change(a, b, move, noise, drift, n):
    limit = _limit(_sigma(a, b, noise), n)
    by_minimum = math.log(b.min / a.min) - drift if a.min > 0 and b.min > 0 else move
    marked = abs(move) > limit and by_minimum * math.copysign(1, move) > limit / 2
    return Change(f"{b.group}: {b.contender}", 1, move, limit, marked)


def _function_of(each):
    case = each[1]
    subject = case.kernel or case.configuration or case.dimension or ""
    return f"{case.family} {subject}: {case.contender}".replace("  ", " ")


def _function_change(members, noise, of_drift, n):
    move = statistics.median(move for _, _, move in members)
    of_one = statistics.median(_sigma(a, b, noise) for a, b, _ in members)
    of_all = MEDIAN_ERROR * of_one / math.sqrt(min(len(members), MAX_INDEPENDENT))
    limit = _limit(math.hypot(of_all, of_drift), n)
    return Change(_function_of(members[0]), len(members), move, limit, abs(move) > limit)

"""What the cases of bench_tabular.py come to: ratios to LightGBM, mean ranks, how sure both are; as tables in Markdown."""

import math
import statistics
from typing import NamedTuple

from scipy.stats import rankdata

from .compare import is_ours
from .results import distinct, select
from .tables import NONE, table

# In whose units the others are: the first one that a run has.
BASES = ("LightGBM, 500 rounds", "HistGradientBoosting")
OURS = "fastprop accurate"
CPU = "CPU time"
# By whether it is a classification: the measures, of which lower is better, and by the first of them contenders are ranked.
MEASURES = {True: ("log-loss", "error", "1 - AUC"), False: ("RMSE",)}
TITLES = {True: "classification", False: "regression"}


class Estimate(NamedTuple):
    """A mean over tables, and its standard error, None of a single one."""

    value: float
    error: float | None

    def __str__(self):
        digits = 2 if self.value < 10 else 1
        return f"{self.value:.{digits}f}" + ("" if self.error is None else f" ± {self.error:.{digits}f}")


def kinds_of(cases):
    """The cases by whether they are classifications; only of tables on which the base has a result."""
    cases = select(cases, family="tabular")
    known = {case.configuration for case in select(cases, contender=base_of(cases))}
    kinds = {kind: [case for case in select(cases, is_classification=kind) if case.configuration in known] for kind in MEASURES}
    return {kind: found for kind, found in kinds.items() if found}


def base_of(cases):
    """The contender in whose units the others are, or None."""
    return next((name for name in BASES if select(cases, family="tabular", contender=name)), None)


def mean_of(case, measure):
    """The mean over splits. What is below half a test row is that: of small tables all rows may be right."""
    if measure == CPU:
        return statistics.fmean(case.cpu)
    found = statistics.fmean(case.scores[measure])
    return max(found, 0.5 / case.n_test) if case.is_classification else found


def geometric_means(cases, measure):
    """The geometric mean over tables of each contender's ratios to the base, by contender."""
    base = {case.configuration: mean_of(case, measure) for case in select(cases, contender=base_of(cases))}
    means = {}
    for name in distinct(cases, "contender"):
        logs = [math.log(mean_of(case, measure) / base[case.configuration]) for case in select(cases, contender=name)]
        mean, error = _mean_and_error(logs) if name != base_of(cases) else (0.0, None)
        means[name] = Estimate(math.exp(mean), None if error is None else math.exp(mean) * error)
    return means


def mean_ranks(cases, measure):
    """The mean over tables of each contender's rank, 1 for the best, among those that have a result."""
    ranks = {name: [] for name in distinct(cases, "contender")}
    for name in distinct(cases, "configuration"):
        here = select(cases, configuration=name)
        for case, rank in zip(here, rankdata([mean_of(case, measure) for case in here]), strict=True):
            ranks[case.contender].append(float(rank))
    return {name: Estimate(*_mean_and_error(found)) for name, found in ranks.items()}


def _mean_and_error(values):
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


# Markdown


def summary_table(cases, kind):
    """Ratios and ranks of each contender; cases are of one kind."""
    measures = (*MEASURES[kind], CPU)
    columns = {measure: geometric_means(cases, measure) for measure in measures}
    columns["rank"] = mean_ranks(cases, measures[0])
    n_tables, rows = len(distinct(cases, "configuration")), []
    for name in distinct(cases, "contender"):
        n = len(select(cases, contender=name))
        label = name if n == n_tables else f"{name} ({n} of {n_tables})"
        rows.append([label, *(found[name] for found in columns.values())])
    return table([f"{TITLES[kind]}, {n_tables} table{'s' if n_tables > 1 else ''}", *columns], rows)


def detail_table(cases, kind):
    """The first measure of each contender on each table, the best one in bold; cases are of one kind."""
    measure, names = MEASURES[kind][0], distinct(cases, "contender")
    rows = []
    for name in distinct(cases, "configuration"):
        found = {case.contender: case for case in select(cases, configuration=name)}
        values = {contender: mean_of(case, measure) for contender, case in found.items()}
        best = min(values.values())
        cells = [_cell(values.get(contender), best) for contender in names]
        rows.append([f"{name} ({next(iter(found.values())).n_rows:,} rows)", *cells])
    return table([measure, *names], rows)


def _cell(value, best):
    if value is None:
        return NONE
    return f"**{value:.4g}**" if value == best else f"{value:.4g}"


def losses_text(cases):
    """On which tables a peer predicts better than ours, the farthest first."""
    found, n_tables = [], 0
    for kind, of_kind in kinds_of(cases).items():
        for ours in select(of_kind, contender=OURS):
            measure, n_tables = MEASURES[kind][0], n_tables + 1
            here = [case for case in select(of_kind, configuration=ours.configuration) if not is_ours(case)]
            best = min(here, key=lambda case: mean_of(case, measure))
            ratio = mean_of(best, measure) / mean_of(ours, measure)
            if ratio < 1:
                found.append((ratio, f"{ours.configuration} ({best.contender} has {ratio:.2f} of its {measure})"))
    if not n_tables:
        return ""
    where = f": {', '.join(text for _, text in sorted(found))}" if found else ""
    return f"On {len(found)} of {n_tables} tables a peer has a lower log-loss or RMSE than {OURS}{where}."


def sections(cases):
    """Paragraphs and tables in Markdown; none where a run has no tables."""
    kinds = kinds_of(cases)
    if not kinds:
        return []
    n_splits = len(next(iter(kinds.values()))[0].cpu)
    about = (
        f"Geometric means over tables of ratios to {base_of(cases)}, with standard errors over tables: below 1 is better. "
        f"CPU time is that of `fit` and prediction on one thread. Each figure of a table is the mean of {n_splits} random "
        f"split{'s' if n_splits > 1 else ''}: 60 % of the rows to learn from, 20 % to stop early, 20 % to test. Ranks are by "
        "log-loss or RMSE, 1 for the lowest. 1 - AUC is the mean over classes, one against the rest."
    )
    summaries = [summary_table(found, kind) for kind, found in kinds.items()]
    details = [detail_table(found, kind) for kind, found in kinds.items()]
    return [about, *summaries, losses_text(cases), *details]

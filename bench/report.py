"""From the JSON file of a run to a page, tables and the README's section; from two of them to what changed.

Run as::

    python -m bench.report run.json                         # report.html and report.md
    python -m bench.report run.json --readme                # docs/performance.md and .svg, and the section of README.md;
                                                            # of tables docs/tables.md and .svg
    python -m bench.report before.json after.json           # prints what moved, and writes both pages
"""

import argparse
import html
import re
import statistics
import sys
import textwrap
from pathlib import Path

from fastprop.files import save_figure, write_text

from . import tables, tabular_summary
from .compare import compare
from .results import read, select
from .workloads import CONFIGURATIONS

README = Path(__file__).parents[1] / "README.md"
SECTION = re.compile(r"(?<=<!-- performance: begin -->\n).*?(?=<!-- performance: end -->)", re.DOTALL)
# Beside the README: the same markers, for everything; the picture of both.
PERFORMANCE, PICTURE = Path("docs", "performance.md"), Path("docs", "performance.svg")
TABLES, TABLES_PICTURE = Path("docs", "tables.md"), Path("docs", "tables.svg")
README_WIDTH = 132
# An aim that takes a larger share of the multiply-add peak counts as out of reach.
NEAR_PEAK = 0.9
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1150px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0 } td, th { padding: 2px 10px; border-bottom: 1px solid #ddd }
td + td, th + th { text-align: right } svg { max-width: 100%; height: auto } summary { cursor: pointer; font-weight: 600 }
code { background: #f3f3f3 }
"""


def main(argv=None):
    """Run the command and return its exit status: 0, 1 where a comparison marks something, 2 for what cannot be read or judged."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN.json", help="one file of pytest bench --benchmark-json, or two to compare")
    parser.add_argument("--output", default="report", metavar="NAME", help="write NAME.html and NAME.md (default: report)")
    parser.add_argument("--plots", metavar="FOLDER", help="also write the pictures there, as PNG files")
    parser.add_argument(
        "--readme", nargs="?", const=README, metavar="FILE", help="rewrite the section of this README, and docs/ beside it"
    )
    arguments = parser.parse_args(argv)
    if len(arguments.runs) > 2:
        parser.error("give one run, or two to compare")
    try:
        runs = [read(path) for path in arguments.runs]
        if arguments.readme:
            publish(Path(arguments.readme), runs[-1])
            return 0
    except (OSError, ValueError) as error:
        print(f"bench.report: {error}", file=sys.stderr)
        return 2
    comparison = compare(runs[0].cases, runs[1].cases) if len(runs) == 2 else None
    figures = draw(runs[-1], comparison)
    sections = markdown_sections(runs, comparison)
    write(Path(arguments.output), runs[-1], sections, figures)
    if arguments.plots:
        Path(arguments.plots).mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, Path(arguments.plots, f"{name}.png"), dpi=110)
    if comparison is not None:
        print(comparison_text(comparison))
    if comparison is None:
        return 0
    return 2 if comparison.is_restless else int(bool(comparison.marked))


def draw(run, comparison=None):
    """The figures that there is data for, by name."""
    from . import plots, tabular_plot  # matplotlib is needed for the pages alone

    figures = {
        "changes": plots.changes(comparison) if comparison else None,
        "speedups": plots.speedups(run.cases),
        "roofline": plots.roofline(run.cases, run.machine.get("limits")),
        "scaling": plots.scaling(run.cases),
        "tables": tabular_plot.quality_and_cost(run.cases),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


# Text


def headline(run):
    """Processor, date, versions, state of the code."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return f"{_where(run)} {versions}."


def _where(run):
    cores, processor = run.machine.get("n_cores", "?"), run.machine.get("processor", "unknown processor")
    backend = run.machine.get("backend", "?")
    cores = f"{cores} core{'' if cores == 1 else 's'}"
    return f"Measured on {run.date}, {processor}, {cores}, back end {backend}, commit {run.commit}."


def limits_text(run):
    """The measured limits of the processor in a sentence, or nothing."""
    limits = run.machine.get("limits") or {}
    said = []
    for n_threads, limit in limits.items():
        memory = limit["gigabytes"][max(limit["gigabytes"], key=int)]
        peaks = " and ".join(f"{gflops:.0f} GFLOP/s {dtype}" for dtype, gflops in limit["gflops"].items())
        said.append(f"{n_threads} thread{'s' if n_threads != '1' else ''}: multiply-adds {peaks}, memory {memory:.0f} GB/s")
    return "This processor's limits, measured in the same run: " + "; ".join(said) + "." if said else ""


def losses_text(cases, longest=None):
    """Where a peer was as good a choice, as a list; all of it is counted, but only the ``longest`` first lines are said."""
    if not tables.compared(cases) and not select(cases, family="kernel", contender="reference"):
        return ""
    found = tables.losses(cases)
    if not found:
        return "In no case of this run was a peer faster, or less than 10 % slower."
    lines = [f"* {group}: {peer} took {ratio:.2f} of fastprop's time" for group, peer, ratio in found[:longest]]
    more = len(found) - len(lines)
    return "\n".join([*lines, *([f"* and {more} more, in the report"] if more else [])])


def verdict(cases):
    """What the table of epochs says against fastprop, in sentences."""
    return " ".join(filter(None, [close_text(cases), aims_text(cases)]))


def close_text(cases):
    """In which cells of the table of epochs a peer was as good a choice, and where the advantage is least and most."""
    fits = tables.compared(select(cases, family="fit"))
    if not fits:
        return ""
    close = sorted((case for case in fits if case.fastprop_times_faster < tables.CLOSE), key=lambda c: c.fastprop_times_faster)
    ratios = {}
    for case in fits:
        ratios.setdefault(case.configuration, []).append(case.fastprop_times_faster)
    by_gain = sorted((statistics.median(of_one), name) for name, of_one in ratios.items())
    return (
        f"Where fastprop is not the best choice: in {len(close)} of the run's {len(fits)} comparisons of epochs a peer was faster, "
        f"or less than 10 % slower{': ' if close else ''}{', '.join(map(_cell_and_ratio, close))}. "
        f"The advantage is least for {_shape(by_gain[0][1])}, where the median of the ratios is {by_gain[0][0]:.2f}, and most for "
        f"{_shape(by_gain[-1][1])}, with {by_gain[-1][0]:.1f}."
    )


def aims_text(cases):
    """How many of the factors that were aimed at were missed."""
    fits = tables.compared(select(cases, family="fit"))
    shares = [(case.fastprop_times_faster / aim, aim, case) for case in fits if (aim := tables.aim_of(case))]
    missed = [each for each in shares if each[0] < 1]
    if not missed:
        return ""
    _, aim, case = min(missed, key=lambda each: each[0])
    said = f"Of {len(shares)} aims {len(missed)} were missed, farthest by {_cell_and_ratio(case)} instead of {aim:g}."
    peaks = [share for _, aim, case in missed if (share := _share_of_peak(cases, case, aim)) is not None]
    if beyond := sum(share > NEAR_PEAK for share in peaks):
        said += (
            f" To reach {beyond} of them fastprop would have to run at more than {100 * NEAR_PEAK:.0f} % of this processor's "
            "multiply-add peak."
        )
    return said


def _share_of_peak(cases, theirs, aim):
    """The fraction of the multiply-add peak at which fastprop would be `aim` times as fast as a peer, or None."""
    (ours,) = select(cases, group=theirs.group, contender="fastprop")
    if ours.fraction_of_limit is None:
        return None
    return ours.fraction_of_limit * aim / theirs.fastprop_times_faster


def _cell_and_ratio(case):
    cell = f"{case.configuration} {case.dtype} {case.n_threads}T"
    return f"{case.contender} on {cell} ({tables.TIMES} {case.fastprop_times_faster:.2f})"


def _shape(name):
    """A configuration's name, and its layers where they are known."""
    known = CONFIGURATIONS.get(name)
    return f"{name} ({'-'.join(map(str, known.sizes))})" if known else name


def comparison_text(comparison):
    """What moved, in lines."""
    lines = [
        f"{len(comparison.cases)} cases in both runs; {comparison.n_controls} controls moved by {comparison.drift:+.1%} and "
        f"scatter by {comparison.noise:.1%}; where a case took turns with one, the ratio is compared."
    ]
    if comparison.is_restless:
        return "\n".join([*lines, "The machine was too restless to tell what moved: measure again while it does nothing else."])
    if comparison.functions:
        least = statistics.median(change.limit for change in comparison.functions)
        lines.append(f"In most functions a change of {least:.0%} or more would have been marked.")
    if comparison.missing:
        lines.append(f"{len(comparison.missing)} cases are in one run alone.")
    lines += [
        f"{change.word}: {change.name}, {change.percent:+.0%} (noise up to {change.limit:.0%}"
        + (f", {change.n_cases} cases)" if change.n_cases > 1 else ")")
        for change in comparison.marked
    ] or ["Nothing moved by more than the noise."]
    return "\n".join(lines)


def markdown_sections(runs, comparison):
    """(title, Markdown, figure or None) of each section that has something to show."""
    run = runs[-1]
    cases = run.cases
    sections = []
    if comparison is not None:
        text = f"Before: {headline(runs[0])}\n\n" + "\n".join(f"* {line}" for line in comparison_text(comparison).splitlines())
        sections.append(("What changed", text, "changes"))
    sections += [
        ("Training, an epoch of fit", tables.fit_table(cases), "speedups"),
        ("Where fastprop is not the best choice", "\n\n".join(filter(None, [verdict(cases), losses_text(cases)])), None),
        ("Data sets, an epoch of fit", tables.ratio_table(cases, "data", ""), None),
        ("Fit to convergence", tables.ratio_table(cases, "convergence", ""), None),
        ("Prediction", tables.ratio_table(cases, "predict", ""), None),
        ("`nn.Sequential.fit` on a plain stack", tables.nn_table(cases), None),
        ("Layers of nn", tables.layer_table(cases), None),
        ("Searches in parallel", tables.ratio_table(cases, "search", ""), None),
        ("Import in a fresh process", tables.single_table(cases, "import", ""), None),
        ("First result of a fresh process", tables.single_table(cases, "first result", ""), None),
        ("Tables", "\n\n".join(tabular_summary.sections(cases)), "tables"),
        ("Memory and size", tables.fact_table(run.facts), None),
        ("An epoch against NumPy", tables.limit_table(cases, "epoch"), None),
        ("Scaling", "A flat curve is a cost that grows as the work." if select(cases, family="scaling") else "", "scaling"),
        ("Kernels", tables.limit_table(cases, "kernel"), "roofline"),
        ("Noise", tables.noisy_line(cases) or "No case had quartiles more than 10 % apart.", None),
    ]
    return [section for section in sections if section[1]]


def write(path, run, sections, figures):
    """The page and the Markdown file."""
    about = [headline(run), limits_text(run)]
    text = "\n\n".join(["# fastprop: benchmarks", *about, *(f"## {title}\n\n{body}" for title, body, _ in sections)])
    write_text(path.with_suffix(".md"), text + "\n")
    write_text(path.with_suffix(".html"), page(about, sections, figures))


def page(about, sections, figures):
    """One HTML page with everything in it."""
    from . import plots

    parts = [f"<p>{html.escape(line)}</p>" for line in about if line]
    for title, body, figure in sections:
        parts.append(f"<h2>{html.escape(title)}</h2>")
        if figure in figures:
            parts.append(plots.svg(figures[figure]))
        content = to_html(body)
        # A table of hundreds of rows is folded.
        folded = body.count("\n") > 60
        parts.append(f"<details><summary>the table</summary>{content}</details>" if folded else content)
    head = f'<meta charset="utf-8"><title>fastprop: benchmarks</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body><h1>fastprop: benchmarks</h1>{''.join(parts)}</body></html>"


def to_html(markdown):
    """The little Markdown that is made here: tables, lists, paragraphs."""
    parts = []
    for block in markdown.split("\n\n"):
        lines = [html.escape(line) for line in block.splitlines()]
        if block.startswith("| "):
            header, _, *rows = [line[2:-2].split(" | ") for line in lines]
            parts.append(f"<table>{_html_row(header, 'th')}{''.join(_html_row(row, 'td') for row in rows)}</table>")
        elif block.startswith("* "):
            parts.append("<ul>" + "".join(f"<li>{line[2:]}</li>" for line in lines) + "</ul>")
        else:
            parts.append(f"<p>{' '.join(lines)}</p>")
    return "".join(parts)


def _html_row(cells, tag):
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


# README and docs/performance.md


def performance_section(run):
    """What stands between the markers of docs/performance.md: the figures, and what they do not show."""
    noisy = tables.noisy_line(run.cases)
    return _section(
        f"{headline(run)} {limits_text(run)}",
        "Training: an epoch of `fit`, medians, half the distance of the quartiles, and how many times as long the others take; "
        'losses were compared before times. ReLU, Adam, random data, every batch used. "Of peak" is the multiply-add peak as '
        "measured in the same rounds. `aim` marks a factor that was missed; the aims are for two threads with AVX-512.",
        tables.fit_table(run.cases),
        verdict(run.cases),
        tables.ratio_table(run.cases, "predict", "`predict_proba`, float32"),
        tables.ratio_table(run.cases, "convergence", "a whole `fit`"),
        *_as_good(run.cases),
        f"{noisy}." if noisy else "",
    )


def readme_section(run):
    """What stands between the markers of the README: a row for each configuration, and in which of them others are as good."""
    fits = select(run.cases, family="fit")
    n_threads = max(case.n_threads for case in fits)
    threads = "one thread" if n_threads == 1 else f"{n_threads} threads"
    return _section(
        f"{_where(run)} An epoch of `fit` with {threads}, in float32 / float64, and how many times as long the others take for the "
        "same work:",
        tables.summary_table(fits, n_threads, _shape),
        close_text(run.cases),
    )


def _as_good(cases):
    found = losses_text([case for case in cases if case.family != "fit"], longest=15)
    return ("Other cases in which a peer is as good a choice, or a better one:", found) if found else ()


def _section(*parts):
    return "\n\n".join(_wrapped(part) for part in parts if part) + "\n"


def _wrapped(part):
    """Prose in lines of the README's width; tables and lists as they are."""
    return part if part.startswith(("| ", "* ", "![")) else textwrap.fill(part, README_WIDTH, break_on_hyphens=False)


def tables_section(run):
    """What stands between the markers of docs/tables.md."""
    return _section(headline(run), *tabular_summary.sections(run.cases))


def publish(readme, run):
    """Rewrite what is between the markers of the pages of which the run has the figures, and their pictures.

    Epochs of fit are on the README and on docs/performance.md beside it, tables on docs/tables.md.

    Raises
    ------
    ValueError
        If the run has neither, or a file not the markers; nothing is written then.
    """
    from . import plots, tabular_plot

    sections, pictures = {}, {}
    if select(run.cases, family="fit", contender="fastprop"):
        sections |= {readme: readme_section(run), readme.parent / PERFORMANCE: performance_section(run)}
        pictures[readme.parent / PICTURE] = plots.summary(run.cases)
    if tabular_summary.kinds_of(run.cases):
        sections[readme.parent / TABLES] = tables_section(run)
        pictures[readme.parent / TABLES_PICTURE] = tabular_plot.quality_and_cost(run.cases)
    if not sections:
        raise ValueError("the run has no epochs of fit and no tables; make it with pytest bench, or pytest bench -m table")
    texts = {}
    for path, section in sections.items():
        text = path.read_text(encoding="utf-8")
        if len(SECTION.findall(text)) != 1:
            raise ValueError(f"{path} must have the markers 'performance: begin' and 'performance: end' once")
        texts[path] = SECTION.sub(lambda _, section=section: section, text)
    drawn = {path: plots.svg(figure) for path, figure in pictures.items()}
    for path, text in (texts | drawn).items():
        write_text(path, text)


if __name__ == "__main__":
    sys.exit(main())

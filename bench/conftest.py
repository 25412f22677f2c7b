"""Options, tables and fixtures of ``pytest bench``."""

import os
import statistics
import sys
from pathlib import Path

import pytest

# At the end: the installed fastprop goes first.
sys.path.append(str(Path(__file__).parents[1]))

from bench import contenders, tables, tabular_summary
from bench.contest import QUICK, Arena, Effort
from bench.limits import limits_or_none
from bench.results import cases_of
from bench.rounds import NOISY, Replay, ratios, spread
from bench.tabular_contenders import TABLE_CONTENDERS
from fastprop import __version__, kernels
from fastprop.config import processor_name
from fastprop.threads import available_cores

# pytest-benchmark reads these when it is configured, which is after this file. Given on the command line, they are not touched.
DISPLAY = {"benchmark_sort": "median", "benchmark_columns": ["median", "iqr", "min", "rounds"]}
REPLAY = Replay()
# What a change of fastprop cannot change: of a contest, the ratios to the first of these that takes part are kept.
CONTROLS = ("reference", "scikit-learn")
LIMITS = limits_or_none()
FACTS = []  # figures that are no times, of the cases that ran: dicts of what, name, value, unit


def thread_counts():
    """One, and as many as there are cores; or what FASTPROP_BENCH_THREADS lists, such as "1,2"."""
    given = os.environ.get("FASTPROP_BENCH_THREADS")
    return [int(n) for n in given.split(",")] if given else sorted({1, available_cores()})


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="bench: a part of the cases, each measured shortly: about two minutes")
    parser.addoption(
        "--tables", metavar="FOLDER", help="bench_tabular.py: the .csv and .parquet files there, in place of its tables"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "long: left out by --quick")
    config.addinivalue_line("markers", "table: a cell of the table of fit epochs against the peers")
    given = " ".join([*config.invocation_params.args, os.environ.get("PYTEST_ADDOPTS", "")])
    for option, value in DISPLAY.items():
        if "--" + option.replace("_", "-") not in given:
            setattr(config.option, option, value)


def pytest_collection_modifyitems(config, items):
    """--quick leaves out what is marked long, and what a module's ``is_quick(**params)`` does not want.

    What runs on one thread comes first, then what runs on several: a process for either is started once.
    """
    items.sort(key=lambda item: item.callspec.params.get("n_threads", 0) if hasattr(item, "callspec") else 0)
    if not config.option.quick:
        return
    kept, left_out = [], []
    for item in items:
        is_quick = getattr(item.module, "is_quick", lambda **params: True)
        params = item.callspec.params if hasattr(item, "callspec") else {}
        (left_out if item.get_closest_marker("long") or not is_quick(**params) else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def pytest_generate_tests(metafunc):
    if "n_threads" in metafunc.fixturenames:
        metafunc.parametrize("n_threads", thread_counts(), ids=lambda n: f"{n}T")


# Fixtures


@pytest.fixture(scope="session")
def quick(request):
    return request.config.option.quick


@pytest.fixture(scope="session")
def arena():
    arena = Arena()
    yield arena
    arena.close()


@pytest.fixture(scope="session")
def outcomes():
    """Outcomes of contests, by what was measured: the first contender's case runs it for all."""
    return {}


@pytest.fixture
def finish(benchmark):
    """finish(**facts): what the report needs of a case, after its time was taken; limits as a fraction of what is possible."""

    def note(family, contender, dtype, n_threads, flops=0, n_bytes=0, **facts):
        info = {"family": family, "contender": contender, "dtype": dtype, "n_threads": n_threads, **facts}
        if benchmark.stats is not None:  # None with --benchmark-disable
            median, iqr = benchmark.stats["median"], benchmark.stats["iqr"]
            info.setdefault("noisy", spread(median, iqr) > NOISY)
            if flops:
                info["gflops"] = flops / median / 1e9
            if n_bytes:
                info["gigabytes"] = n_bytes / median / 1e9
            if LIMITS and (flops or n_bytes):
                info["fraction_of_limit"] = LIMITS.seconds(dtype, n_threads, flops, n_bytes) / median
            if flops and n_bytes:
                info["intensity"] = flops / n_bytes
        benchmark.extra_info.update(info)

    return note


@pytest.fixture
def contest(request, benchmark, outcomes, quick, finish):
    """contest(hold, contender, group, family, dtype, n_threads, ...): replay what a contender took in its contest.

    ``hold(names, effort)`` returns the `Outcome` for all contenders that were selected and ``takes_part(name)`` lets in; it is
    called once for all their cases.
    """

    def run(hold, contender, group, family, dtype, n_threads, *, effort=None, takes_part=bool, flops=0, n_bytes=0, **facts):
        if (why := obstacle(contender)) is not None:
            pytest.skip(why)
        if group not in outcomes:
            names = [name for name in _selected(request) if takes_part(name)]
            outcomes[group] = hold(names, QUICK if quick else effort or Effort())
        outcome = outcomes[group]
        if outcome.wrong.get(contender):
            # Through the fixture, which warns where it was not used, and leaves out what raised.
            benchmark.pedantic(_fail, args=(f"{contender}: {outcome.wrong[contender]}",))
        benchmark.group, benchmark.name = group, contender
        samples = outcome.samples[contender]
        facts |= outcome.facts.get(contender, {})
        REPLAY.hand_over(benchmark, samples)
        if "fastprop" in outcome.samples:
            facts["fastprop_times_faster"] = statistics.median(ratios(samples, outcome.samples["fastprop"]))
        control = next((name for name in CONTROLS if name in outcome.samples), contender)
        if control != contender:
            facts["to_control"] = ratios(samples, outcome.samples[control])
        if outcome.peak:
            facts |= {"ping_pong": outcome.ping_pong, "peak_gflops": [peak / 1e9 for peak in outcome.peak]}
        finish(family, contender, dtype, n_threads, flops, n_bytes, **facts)
        if flops and outcome.peak and benchmark.stats is not None:
            # Of the peak measured in the same rounds.
            benchmark.extra_info["fraction_of_limit"] = flops / benchmark.stats["median"] / statistics.median(outcome.peak)

    return run


def _fail(message):
    raise AssertionError(message)


def obstacle(contender):
    """Why a contender cannot run here, or None; the back ends that are asked for are there."""
    from bench.predictors import PREDICTORS

    known = {**PREDICTORS, **TABLE_CONTENDERS, **contenders.CONTENDERS}.get(contender)
    return known and known.obstacle()


def _selected(request):
    """The contenders of the selected cases that differ from this one in the contender alone, and can run."""
    mine = request.node.callspec.params
    same = [item for item in request.session.items if getattr(item, "function", None) is request.function]
    rest = {name: value for name, value in mine.items() if name != "contender"}
    params = [item.callspec.params for item in same]
    names = [other["contender"] for other in params if {k: v for k, v in other.items() if k != "contender"} == rest]
    return [name for name in names if obstacle(name) is None]


@pytest.fixture
def fact():
    """fact(what, name, value, unit): a figure that is no time."""
    return lambda what, name, value, unit: FACTS.append({"what": what, "name": name, "value": value, "unit": unit})


# What the JSON file and the terminal say beside the times


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastprop"] = {
        "version": __version__,
        "backend": " ".join(filter(None, (kernels.active.backend, kernels.active.isa))),
        "processor": processor_name(),
        "n_cores": available_cores(),
        "versions": contenders.versions(),
        "limits": LIMITS.describe(thread_counts()) if LIMITS else {},
    }


def pytest_benchmark_update_json(config, benchmarks, output_json):
    output_json["facts"] = FACTS


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    done = [bench.as_dict(include_data=False) for bench in session.benchmarks if not bench.has_error] if session else []
    cases = cases_of(done)
    sections = {
        "fit, seconds an epoch": tables.fit_table(cases),
        "nn.Sequential.fit": tables.nn_table(cases),
        "layers of nn": tables.layer_table(cases),
        "tables, beside boosted trees": "\n\n".join(tabular_summary.sections(cases)),
        "figures that are no times": tables.fact_table(FACTS),
        "noisy cases": tables.noisy_line(cases),
    }
    for title, text in sections.items():
        if text:
            terminalreporter.section(title)
            terminalreporter.write_line(text)

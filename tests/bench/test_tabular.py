"""bench_tabular.py: its data, its checks, what is made of its figures, and a small run from files to page and picture."""

import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from bench import report, tabular_contenders, tabular_data, tabular_summary, tabular_trials
from bench.results import Case, Run
from bench.tabular_contenders import TABLE_CONTENDERS
from fastprop.files import save_figure

pd = pytest.importorskip("pandas")

CHECKOUT = Path(report.__file__).parents[1]
BASE = "LightGBM, 500 rounds"
FAST = "fastprop fast"


# Data


@pytest.mark.parametrize("name", tabular_data.TABLES)
def test_tables(name):
    problem = tabular_data.problem_named(name)
    assert len(problem.X) == len(problem.y)
    assert problem.name == name
    if problem.is_classification:
        assert min(np.bincount(problem.y)) >= tabular_data.FEWEST_ROWS_OF_CLASS
    np.testing.assert_array_equal(problem.y, tabular_data.problem_named(name).y)
    pd.testing.assert_frame_equal(problem.X, tabular_data.problem_named(name).X)
    assert all(dtype == "category" or dtype == np.float64 for dtype in problem.X.dtypes)


def test_what_the_tables_cover():
    problems = {name: tabular_data.problem_named(name) for name in tabular_data.TABLES}
    assert np.bincount(problems["imbalanced"].y)[1] < 0.06 * len(problems["imbalanced"].y)
    assert len(np.unique(problems["letters"].y)) == 26
    places = problems["categories"].X["x0"]
    assert len(places.cat.categories) == 300
    assert places.isna().any()
    assert problems["categories"].X["x3"].isna().any()
    assert problems["outliers"].X.abs().max().max() > 1e4


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a:b": rng.random(60), "target": np.arange(60) % 3, "place": rng.choice(["x", "y"], 60)})
    frame["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(60), unit="D")
    frame.loc[[3, 4], "a:b"] = np.nan
    frame.loc[7, "place"] = None
    return frame


@pytest.fixture(params=["csv", "parquet"])
def write(request, tmp_path):
    """write(frame): the folder with the frame in a file, and the file's name."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")

    def call(frame):
        path = tmp_path / f"some.{request.param}"
        frame.to_csv(path, index=False) if request.param == "csv" else frame.to_parquet(path)
        return tmp_path, path.name

    return call


def test_a_users_table(frame, write):
    folder, name = write(frame)
    (folder / "notes.txt").write_text("no table")
    assert tabular_data.files_in(folder) == [name]
    problem = tabular_data.problem_named(name, folder)
    assert problem.is_classification
    assert sorted(np.bincount(problem.y)) == [20, 20, 20]
    assert [str(dtype) for dtype in problem.X.dtypes] == ["float64", "category", "category" if name.endswith("csv") else "float64"]
    assert problem.X.isna().sum().tolist() == [2, 1, 0]


def test_the_target_is_the_last_column_if_none_has_the_name(frame, write):
    frame = frame.rename(columns={"target": "class"})[["a:b", "class", "place"]]
    problem = tabular_data.problem_named(write(frame)[1], write(frame)[0])
    assert problem.is_classification
    assert len(problem.y) == 59  # one is missing
    problem = tabular_data.problem_named(*reversed(write(frame[["class", "place", "a:b"]])))
    assert not problem.is_classification
    np.testing.assert_allclose(np.sort(problem.y), np.sort(frame["a:b"].dropna()))


def test_rare_classes_and_too_many_rows_are_left_out(frame, write, monkeypatch):
    frame.loc[:4, "target"] = 9
    assert set(np.bincount(tabular_data.problem_named(*reversed(write(frame))).y)) == {18, 19}
    monkeypatch.setattr(tabular_data, "MOST_ROWS", 50)
    assert len(tabular_data.problem_named(*reversed(write(frame))).y) <= 50


def test_folders_without_tables(tmp_path):
    with pytest.raises(ValueError, match=r"must name a folder with .csv or .parquet files"):
        tabular_data.files_in(tmp_path)
    (tmp_path / "one.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"one.csv must have at least two columns; it has 1"):
        tabular_data.problem_named("one.csv", tmp_path)


# Contenders


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in TABLE_CONTENDERS if name not in ("RealMLP-TD-S", "TabM")])
def test_contenders_read_categories_and_gaps(name):
    if why := TABLE_CONTENDERS[name].obstacle():
        pytest.skip(why)
    problem = tabular_data.problem_named("categories")
    small = problem._replace(X=problem.X[:600], y=problem.y[:600])
    *given, X, y = tabular_trials.split(small, 0)
    seconds, predicted = tabular_trials.fit_and_predict(TABLE_CONTENDERS[name](True), given, X)
    assert seconds > 0
    scores = tabular_trials.scored(True, y, predicted)
    assert 0 < scores["log-loss"] < 1


def test_absent_peers_say_why(monkeypatch):
    monkeypatch.setattr(tabular_contenders.LightGBM, "modules", ("nothing_of_this_name",))
    assert TABLE_CONTENDERS[BASE].obstacle() == "nothing_of_this_name not installed"


# Checks and scores


def test_splits_have_all_classes_and_share_no_rows():
    parts = tabular_trials.split(tabular_data.problem_named("wine"), 0)
    frames, targets = parts[::2], parts[1::2]
    assert [len(frame) for frame in frames] == [106, 36, 36]
    assert len(set().union(*(frame.index for frame in frames))) == 178
    assert all(len(np.unique(y)) == 3 for y in targets)


def test_scores():
    y, p = np.array([0, 1, 1, 0]), np.array([0.2, 0.6, 0.7, 0.65])
    scores = tabular_trials.scored(True, y, np.column_stack([1 - p, p]))
    assert scores["error"] == 0.25
    assert scores["1 - AUC"] == pytest.approx(0.25)
    assert scores["log-loss"] == pytest.approx(-np.log([0.8, 0.6, 0.7, 0.35]).mean())
    assert tabular_trials.scored(False, np.array([1.0, 5.0]), np.array([4.0, 1.0])) == {"RMSE": pytest.approx(math.sqrt(12.5))}
    for wrong in (p, np.full((4, 2), np.nan), np.ones((4, 2))):
        with pytest.raises(AssertionError):
            tabular_trials.scored(True, y, wrong)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("table", ["wine", "prices"])
def test_wrong_members_are_not_timed(monkeypatch, table):
    problem = tabular_data.problem_named(table)
    contender = TABLE_CONTENDERS[FAST](problem.is_classification)
    tabular_trials.check_members(contender, problem)
    right = tabular_trials.kernels.load("reference")

    class Wrong:
        network_forward = right.network_forward

        @staticmethod
        def network_loss_gradient(*arguments):
            loss, gradient = right.network_loss_gradient(*arguments)
            gradient[0] += 0.001 * np.abs(gradient).max()
            return loss, gradient

    monkeypatch.setattr(tabular_trials.kernels, "load", lambda backend: Wrong)
    with pytest.raises(AssertionError):
        tabular_trials.check_members(contender, problem)
    make = contender.make
    monkeypatch.setattr(contender, "make", lambda n_jobs, **options: make(n_jobs=n_jobs, **options | {"random_state": n_jobs}))
    with pytest.raises(AssertionError, match="1 and 2 threads"):
        tabular_trials.check_members(contender, problem)


def test_what_fails_does_not_take_the_others_along(monkeypatch):
    class Broken(tabular_contenders.HistGradientBoosting):
        def predict(self, X):
            return np.full(len(X), np.inf)

    monkeypatch.setitem(TABLE_CONTENDERS, "broken", Broken)
    monkeypatch.setattr(tabular_trials, "warm_up", lambda *arguments: None)
    outcome = tabular_trials.time_table("diabetes", None, 2, ["HistGradientBoosting", "broken"])
    assert "0% finite" in outcome.wrong["broken"]
    assert list(outcome.samples) == ["HistGradientBoosting"]
    facts = outcome.facts["HistGradientBoosting"]
    assert facts["cpu"] == outcome.samples["HistGradientBoosting"]
    assert len(facts["scores"]["RMSE"]) == 2
    assert facts["n_test"] == 2 * 89


# Means, ranks, text


def case(table, contender, scores, cpu, is_classification=True, n_test=100):
    facts = {"family": "tabular", "configuration": table, "contender": contender, "scores": scores, "cpu": cpu, "n_rows": 1000}
    return Case(table, table, 1, 0, 1, 1, 1, facts | {"is_classification": is_classification, "n_test": n_test})


def classified(table, contender, log_loss, cpu, error=0.1):
    scores = {"log-loss": [log_loss - 0.1, log_loss + 0.1], "error": [error, error], "1 - AUC": [0.1, 0.1]}
    return case(table, contender, scores, [cpu / 2, cpu * 3 / 2])


@pytest.fixture
def cases():
    return [
        classified("a", BASE, 0.4, 1.0),
        classified("a", "fastprop accurate", 0.2, 2.0, error=0.0),
        classified("a", "CatBoost", 0.4, 10.0),
        classified("b", BASE, 0.3, 1.0),
        classified("b", "fastprop accurate", 0.6, 8.0),
        classified("b", "CatBoost", 0.2, 10.0),
        case("c", BASE, {"RMSE": [20.0]}, [1.0], False),
        case("c", "fastprop accurate", {"RMSE": [10.0]}, [4.0], False),
        case("not learnt by the base", "CatBoost", {"RMSE": [1.0]}, [1.0], False),
    ]


def test_means_of_ratios(cases):
    kinds = tabular_summary.kinds_of(cases)
    ours = tabular_summary.geometric_means(kinds[True], "log-loss")["fastprop accurate"]
    assert ours.value == pytest.approx(1)  # of 1/2 and 2
    assert ours.error == pytest.approx(math.log(2))  # of logarithms that are log 2 from their mean
    assert tabular_summary.geometric_means(kinds[True], tabular_summary.CPU)["fastprop accurate"].value == pytest.approx(4)
    # No error at all counts as half a row of 100.
    assert tabular_summary.geometric_means(kinds[True], "error")["fastprop accurate"].value == pytest.approx(math.sqrt(0.05))
    assert tabular_summary.geometric_means(kinds[False], "RMSE") == {BASE: (1, None), "fastprop accurate": (0.5, None)}


def test_mean_ranks(cases):
    ranks = tabular_summary.mean_ranks(tabular_summary.kinds_of(cases)[True], "log-loss")
    expected = {BASE: (2.25, 0.25), "fastprop accurate": (2, 1), "CatBoost": (1.75, 0.75)}
    assert ranks == {name: pytest.approx(estimate) for name, estimate in expected.items()}


def test_text(cases):
    text = "\n\n".join(tabular_summary.sections(cases))
    assert "| fastprop accurate | 1.00 ± 0.69 | 0.22 ± 0.33 | 1.00 ± 0.00 | 4.00 ± 2.77 | 2.00 ± 1.00 |" in text
    assert "| c (1,000 rows) | 20 | **10** |" in text
    assert (
        "On 1 of 3 tables a peer has a lower log-loss or RMSE than fastprop accurate: b (CatBoost has 0.33 of its log-loss)."
        in text
    )
    assert tabular_summary.sections([]) == []
    without = [each for each in cases if each.contender != BASE]
    assert tabular_summary.base_of(without) is None
    assert tabular_summary.sections(without) == []


# Picture and page


def test_labels_cover_nothing(cases, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.text import Text

    from bench import tabular_plot

    crowd = [classified("a", f"{name} {k}", 0.4 + k / 1000, 1 + k / 100) for k, name in enumerate(["CatBoost", "fastprop"] * 4)]
    figure = tabular_plot.quality_and_cost(cases + crowd)
    save_figure(figure, tmp_path / "tables.png", dpi=figure.dpi)
    renderer, ax = figure.canvas.get_renderer(), figure.axes[0]
    boxes = [Text.get_window_extent(text, renderer) for text in ax.texts]  # without the lines to their points
    assert len(boxes) == 11
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 for box in boxes)
    assert [ax.get_xscale(), ax.get_yscale()] == ["log", "log"]
    assert "LightGBM, 500 rounds = 1" in ax.get_xlabel()
    assert tabular_plot.quality_and_cost([]) is None


@pytest.fixture
def page(tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / report.TABLES
    page.write_text("<!-- performance: begin -->\n<!-- performance: end -->\n")
    return page


@pytest.mark.filterwarnings("ignore")
def test_from_a_contest_to_the_page(page):
    pytest.importorskip("matplotlib")
    names = ["fastprop fast", "HistGradientBoosting"]
    outcome = tabular_trials.time_table("wine", None, 1, names)
    assert not outcome.wrong
    known = {name: {"family": "tabular", "configuration": "wine", "contender": name} | outcome.facts[name] for name in names}
    cases = [Case(name, "wine", 1, 0, 1, 1, 1, facts) for name, facts in known.items()]
    report.publish(page.parents[1] / "README.md", Run(cases, [], "2026-11-22", "0123", {"processor": "a processor"}))
    text = page.read_text()
    for said in ("a processor", "| fastprop fast |", "| HistGradientBoosting | 1.00 |", "wine (178 rows)"):
        assert said in text
    ET.fromstring((page.parents[1] / report.TABLES_PICTURE).read_text())


@pytest.mark.full
def test_a_small_run_of_a_folder(frame, tmp_path, page):
    """From a file to the page, as a user does it."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("pytest_benchmark")
    frame.to_csv(tmp_path / "mine.csv", index=False)
    run = tmp_path / "run.json"
    command = [sys.executable, "-m", "pytest", str(CHECKOUT / "bench" / "bench_tabular.py"), "--quick", f"--tables={tmp_path}"]
    command += ["-k", "HistGradientBoosting or fast]", f"--benchmark-json={run}", "-p", "no:cacheprovider"]
    # pytest-benchmark does not run beside others, and this run is one by itself.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert report.main([str(run), "--readme", str(tmp_path / "README.md")]) == 0
    text = page.read_text()
    assert json.loads(run.read_text())["machine_info"]["fastprop"]["processor"] in text
    assert "mine.csv (60 rows)" in text

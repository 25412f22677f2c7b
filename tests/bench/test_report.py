"""From a JSON file to tables, page and README: on a small file made here."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from bench import report, tables
from bench.results import cases_of, read, select


def benchmark(group, contender, median, family, iqr=0.0, **facts):
    """A row as pytest-benchmark stores it."""
    stats = {"median": median, "iqr": iqr, "q1": median - iqr / 2, "q3": median + iqr / 2, "min": median * 0.98}
    facts = {"family": family, "contender": contender, "dtype": "float32", "n_threads": 1} | facts
    return {"fullname": f"{group}[{contender}-{facts.get('value')}]", "group": group, "stats": stats, "extra_info": facts}


def fits(configuration, ours, **peers):
    """Rows of a cell of the table."""
    common = {"family": "fit", "configuration": configuration, "n_threads": 2}
    facts = {"gflops": 100.0, "fraction_of_limit": 0.5, "ping_pong": [1e-7, 2e-7, 3e-7], "fastprop_times_faster": 1.0}
    rows = [benchmark(f"fit {configuration}", "fastprop", ours, **common, **facts)]
    for name, median in peers.items():
        contender = {"sklearn": "scikit-learn", "torch": "PyTorch"}[name]
        rows.append(benchmark(f"fit {configuration}", contender, median, **common, fastprop_times_faster=median / ours))
    return rows


@pytest.fixture
def stored():
    """What a file of a run has."""
    kernels = {"family": "kernel", "kernel": "linear_forward", "gigabytes": 20.0, "fraction_of_limit": 0.4}
    scaling = {"family": "scaling", "dimension": "width"}
    return {
        "datetime": "2026-11-22T10:00:00",
        "commit_info": {"id": "0123456789abcdef", "dirty": True},
        "machine_info": {
            "fastprop": {
                "version": "9.9",
                "backend": "cython avx2",
                "processor": "a processor",
                "n_cores": 2,
                "versions": {"numpy": "2.0"},
                "limits": {"1": {"gflops": {"float32": 100.0, "float64": 50.0}, "gigabytes": {"16384": 200.0, "268435456": 20.0}}},
            }
        },
        "facts": [{"what": "size", "name": "fastprop", "value": 1.5, "unit": "MB"}],
        "benchmarks": [
            *fits("digits", 1e-3, sklearn=16e-3, torch=5e-3),
            *fits("wide", 0.2, sklearn=0.15),
            benchmark("linear_forward", "cython avx2", 1e-4, intensity=30.0, gflops=50.0, **kernels),
            benchmark("linear_forward", "reference", 2e-4, intensity=30.0, gflops=25.0, **kernels),
            benchmark("softmax", "cython avx2", 1e-4, iqr=5e-5, noisy=True, **kernels),
            benchmark("epoch by width", "fastprop", 1e-4, value=10, picoseconds_per_flop=20.0, **scaling),
            benchmark("epoch by width", "fastprop", 2e-4, value=20, picoseconds_per_flop=15.0, **scaling),
            {"fullname": "foreign", "group": None, "stats": {}, "extra_info": {}},
        ],
    }


@pytest.fixture
def path(stored, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(stored))
    return path


def test_reading(path):
    run = read(path)
    assert len(run.cases) == 10
    assert run.date == "2026-11-22"
    assert run.commit == "0123456789, with changes"
    assert run.versions == {"fastprop": "9.9", "numpy": "2.0"}
    assert select(run.cases, contender="reference")[0].gflops == 25


@pytest.mark.parametrize("text", ["", "[]", '{"benchmarks": 3}'])
def test_other_files_are_an_error(text, tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert report.main([str(path)]) == 2
    assert "is no file of pytest --benchmark-json" in capsys.readouterr().err
    assert report.main([str(tmp_path / "missing.json")]) == 2


def test_durations():
    seconds = [1.5, 0.0123456, 9.99e-6, 2.5e-9, 1234.5]
    assert [tables.duration(s) for s in seconds] == ["1.50 s", "12.3 ms", "9.99 µs", "2.50 ns", "1234 s"]


def test_the_table_of_fits(path):
    text = tables.fit_table(read(path).cases)
    header, _, digits, wide = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines())
    assert header[3:] == ["ping-pong", "\N{MULTIPLICATION SIGN} scikit-learn", "\N{MULTIPLICATION SIGN} PyTorch"]
    assert digits == ["digits float32 2T", "1.00 ms ± 0%", "100 (50%)", "200 ns", "16.0 (16.0 ms)", "5.0, aim 8 (5.00 ms)"]
    assert wide[4:] == ["0.7, aim 3.2 (150 ms)", "\N{EN DASH}"]


def test_what_is_slower_than_a_peer_is_said(path):
    (lost,) = tables.losses(read(path).cases)
    assert lost[:2] == ("fit wide", "scikit-learn")
    assert lost[2] == pytest.approx(0.75)
    assert "scikit-learn took 0.75 of fastprop's time" in report.losses_text(read(path).cases)
    assert "1 of 10 cases" in tables.noisy_line(read(path).cases)


def test_page_and_pictures(path, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = [str(path), "--output", str(tmp_path / "page"), "--plots", str(tmp_path / "plots")]
    assert report.main(arguments) == 0
    assert {png.name for png in (tmp_path / "plots").iterdir()} == {"speedups.png", "roofline.png", "scaling.png"}
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 3
    assert not re.search(r"""(src|href)=["']http""", page)  # everything is in the page
    for svg in page.split("<svg")[1:]:
        ET.fromstring("<svg" + svg.partition("</svg>")[0] + "</svg>")
    text = (tmp_path / "page.md").read_text()
    for said in ("a processor", "numpy 2.0", "100 GFLOP/s float32", "memory 20 GB/s", "## Scaling", "size | fastprop | 1.5 MB"):
        assert said in text


@pytest.mark.full
def test_two_runs(path, stored, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    output = ["--output", str(tmp_path / "page")]
    assert report.main([str(path), str(path), *output]) == 0
    assert "Nothing moved by more than the noise." in capsys.readouterr().out
    for row in stored["benchmarks"][:7]:
        if row["extra_info"]["contender"] == "fastprop":
            row["stats"] = {name: 2 * value for name, value in row["stats"].items()}
    after = tmp_path / "after.json"
    after.write_text(json.dumps(stored))
    assert report.main([str(path), str(after), *output]) == 1
    said = capsys.readouterr().out
    assert "slower: fit digits: fastprop, +100%" in said
    assert "softmax" not in said
    assert "What changed" in (tmp_path / "page.html").read_text()


MARKERS = "before\n<!-- performance: begin -->\nold\n<!-- performance: end -->\nafter\n"


@pytest.fixture
def readme(tmp_path):
    """A README with docs/performance.md beside it."""
    pytest.importorskip("matplotlib")
    (tmp_path / "docs").mkdir()
    for name in ("README.md", report.PERFORMANCE):
        (tmp_path / name).write_text(MARKERS)
    return tmp_path / "README.md"


def published(readme):
    """The texts of README and docs/performance.md with single spaces, and the picture."""
    files = readme, readme.parent / report.PERFORMANCE, readme.parent / report.PICTURE
    return [" ".join(path.read_text().split()) for path in files]


def test_readme_and_performance_page(path, stored, readme, capsys):
    assert report.main([str(path), "--readme", str(readme)]) == 0
    short, long, picture = published(readme)
    for text in (short, long):
        assert text.startswith("before <!-- performance: begin --> Measured on 2026-11-22, a processor, 2 cores")
        assert text.endswith("<!-- performance: end --> after")
        assert "old" not in text
        lost = "scikit-learn on wide float32 2T (\N{MULTIPLICATION SIGN} 0.75)"
        assert f"in 1 of the run's 3 comparisons of epochs a peer was faster, or less than 10 % slower: {lost}." in text
        assert "least for wide (256-1024-1024-10), where the median of the ratios is 0.75, and most for digits (64-100-10)" in text
    for said in ("digits float32 2T", "aim 8", "1 of 10 cases had quartiles"):
        assert said in long
        assert said not in short
    assert f"Of 3 aims 2 were missed, farthest by {lost} instead of 3.2." in long
    assert "To reach 1 of them fastprop would have to run at more than 90 % of this processor's multiply-add peak." in long
    assert "| digits (64-100-10) | 1.00 ms / \N{EN DASH} | 16.0 / \N{EN DASH} | 5.0 / \N{EN DASH} |" in short
    ET.fromstring(picture)
    assert all(len(line) <= 132 for line in readme.read_text().splitlines() if line[:1] not in "|*!")
    assert report.main([str(path), "--readme", str(readme)]) == 0
    assert published(readme) == [short, long, picture]


def test_nothing_is_published_by_halves(path, stored, readme, capsys):
    page = readme.parent / report.PERFORMANCE
    page.write_text("no markers")
    assert report.main([str(path), "--readme", str(readme)]) == 2
    assert "performance.md must have the markers" in capsys.readouterr().err
    page.write_text(MARKERS)
    stored["benchmarks"] = []
    path.write_text(json.dumps(stored))
    assert report.main([str(path), "--readme", str(readme)]) == 2
    assert "the run has no epochs of fit" in capsys.readouterr().err
    assert readme.read_text() == page.read_text() == MARKERS
    assert not (readme.parent / report.PICTURE).exists()


def test_published_from_the_table_alone(path, stored, readme):
    """As `pytest bench -m table` leaves it: fits, and nothing else."""
    stored["benchmarks"] = [row for row in stored["benchmarks"] if row["extra_info"].get("family") == "fit"]
    stored["facts"] = []
    path.write_text(json.dumps(stored))
    assert report.main([str(path), "--readme", str(readme)]) == 0
    short, long, _ = published(readme)
    for said in ("a processor", "2026-11-22", "fastprop is not the best choice"):
        assert said in short
        assert said in long
    assert "numpy 2.0" in long
    assert "numpy 2.0" not in short
    assert "5.0, aim 8" in long
    assert "None" not in short + long
    assert "Other cases" not in short + long


def test_the_tables_of_nn():
    fit = {"family": "nn", "configuration": "digits", "n_threads": 2}
    rows = [
        benchmark("fit nn", "fastprop", 1e-3, **fit),
        benchmark("fit nn", "fastprop nn", 1.2e-3, **fit, fastprop_times_faster=1.2),
        benchmark("forward", "fastprop ReLU", 2e-6, family="layer call", configuration="forward", n_modules=1),
        benchmark("forward", "fastprop Highway", 16e-6, family="layer call", configuration="forward", n_modules=3),
        benchmark("forward", "reference", 1e-6, family="layer call", configuration="forward"),
    ]
    cases = cases_of(rows)
    assert "| digits float32 2T | 1.00 ms ± 0% | 1.20, aim 1.1 | \N{EN DASH} |" in tables.nn_table(cases)
    lines = tables.layer_table(cases).splitlines()[2:]
    assert lines == ["| ReLU | 2.00 µs | \N{EN DASH} |", "| Highway | 16.0 µs, aim 15.0 µs | \N{EN DASH} |"]
    assert tables.nn_table([]) == tables.layer_table([]) == ""


def test_the_checkout_has_what_is_published():
    root = report.README.parent
    for path in (report.README, root / report.PERFORMANCE, root / report.TABLES):
        assert len(report.SECTION.findall(path.read_text(encoding="utf-8"))) == 1
    for picture in (report.PICTURE, report.TABLES_PICTURE):
        assert (root / picture).stat().st_size < 150_000

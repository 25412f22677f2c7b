"""The command ``fastprop``: its output, its exit status, and what it says when something is missing."""

import builtins
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastprop
from fastprop import cli, demo, kernels, progress


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(demo, "ROUNDS", 1)


@pytest.fixture
def missing(monkeypatch):
    """missing("name", ...): imports of these fail as if they were not installed."""

    def hide(*names):
        real = builtins.__import__

        def importer(name, *args, **kwargs):
            if name.partition(".")[0] in names:
                raise ImportError(f"No module named {name!r}")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", importer)

    return hide


def test_console_script():
    script = Path(sysconfig.get_path("scripts")) / ("fastprop.exe" if sys.platform == "win32" else "fastprop")
    result = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"fastprop {fastprop.__version__}"


def test_info(capsys):
    assert cli.main(["info"]) == 0
    output = capsys.readouterr().out
    assert kernels.active.backend in output
    assert kernels.describe()["why"] in output
    for why in kernels.unavailable().values():
        assert why in output
    for word in ("OMP_NUM_THREADS", "processor", "numpy", "scikit-learn", "numba", "Python"):
        assert word in output
    assert fastprop.show_config() is None
    assert capsys.readouterr().out == output


@pytest.mark.parametrize("command", [["info"], ["demo", "--epochs=1"]], ids=" ".join)
def test_a_reader_that_has_seen_enough(command):
    """Such as head: there is nobody to print to, which is no fault."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        result = subprocess.run([sys.executable, "-m", "fastprop", *command], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 0
    assert "BrokenPipe" not in result.stderr


def test_info_names_what_was_forced():
    environment = os.environ | {"FASTPROP_BACKEND": "reference", "OMP_NUM_THREADS": "3"}
    environment.pop("FASTPROP_ISA", None)
    code = "import fastprop; fastprop.show_config()"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "reference (forced by FASTPROP_BACKEND=reference)" in result.stdout
    assert "OMP_NUM_THREADS is 3" in result.stdout


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_demo(dtype, quick, capsys):
    assert cli.main(["demo", "--epochs", "3", "--dtype", dtype]) == 0
    output = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in output.splitlines() if "x " in line or line.endswith("x")}
    assert set(rows) == {"scikit-learn", "fastprop", "NumPy"}
    for name in ("fastprop", "NumPy"):
        assert 0 < float(rows[name][-1]) < {"float32": 1e-4, "float64": 1e-12}[dtype]
    assert "Processor: " in output
    assert f"Back end: {kernels.active.backend}" in output
    assert "Threads: 1 each" in output


def test_demo_fails_when_the_weights_differ(quick, capsys, monkeypatch):
    class Wrong(fastprop.MLPClassifier):
        def fit(self, X, y):
            super().fit(X, y)
            self.coefs_[0][0, 0] += 1e-6
            return self

    monkeypatch.setattr(demo, "MLPClassifier", Wrong)
    assert cli.main(["demo", "--epochs", "1"]) == 1
    captured = capsys.readouterr()
    assert "the weights differ from scikit-learn's by" in captured.err
    assert "weights differ by" in captured.out, "the table is printed nevertheless"


def test_plot(quick, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "losses.png"
    assert cli.main(["demo", "--epochs", "2", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "message"), [("no/such/folder/a.png", "No such file"), ("a.xyz", "cannot draw a .xyz"), ("a", "ending")]
)
def test_plot_is_refused_before_training(path, message, capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "_train", None)
    assert cli.main(["demo", "--plot", str(tmp_path / path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_plot_leaves_what_is_there(capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.png"
    path.write_text("old")
    demo._check_plot(path)
    assert path.read_text() == "old"


def test_plot_without_matplotlib(capsys, missing, monkeypatch):
    missing("matplotlib")
    monkeypatch.setattr(demo, "_train", None)
    assert cli.main(["demo", "--plot", "a.png"]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", ["", "train", "demo --epochs 0", "demo --epochs x", "demo --dtype float16", "demo --threads -1", "info --plot a"]
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments.split())
    assert stop.value.code == 2
    assert "usage: fastprop" in capsys.readouterr().err


@pytest.mark.parametrize("hidden", [(), ("tqdm",), ("tqdm", "rich")], ids=["all", "no tqdm", "plain"])
def test_progress(hidden, missing, capsys):
    missing(*hidden)
    with progress.progress(3, "steps") as advance:
        advance(0, "begun")
        advance(1, "going")
        advance(2, "done")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err
    assert "done" in captured.err

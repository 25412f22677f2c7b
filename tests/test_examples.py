"""The examples: each runs as a reader would run it, saves its pictures, and finds what it says that it finds; and as a notebook."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastprop import kernels

EXAMPLES = Path(__file__).parents[1] / "examples"
HEADERS = Path(kernels.__file__).parent / "cython_backend"
if not EXAMPLES.exists():
    pytest.skip("the examples are only in a checkout", allow_module_level=True)
matplotlib = pytest.importorskip("matplotlib", reason="the examples draw with matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
# What an example needs beside matplotlib.
NEEDS = {
    "dask_cluster": "distributed",
    "kernels_cython": "Cython",
    "kernels_njit": "numba",
    "mpi_training": "mpi4py",
    "pytorch_gradients": "torch",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs an example, checks that it saved these pictures in the current folder, and returns its names."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)

    def run(name, pictures=None):
        found = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(pictures or [f"{name}.png"])
        assert all(plt.imread(path).std() > 0.01 for path in tmp_path.iterdir())
        return found

    yield run
    plt.close("all")


@pytest.fixture(scope="module")
def python_loop():
    """What the loop on the kernels in Python arrives at: the other two must arrive at the same."""
    sys.path.insert(0, str(EXAMPLES))
    import kernels_python

    x, labels, params = kernels_python.initial_problem()
    losses = kernels_python.train(x, labels, params)
    sys.path.remove(str(EXAMPLES))
    return losses, params


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_example_is_a_script_with_a_story(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.startswith('# %% [markdown]\n"""\n# ')
    assert text.count("\n# %%\n") >= 2  # cells of code


def test_the_list_of_examples_is_complete():
    text = (EXAMPLES / "README.md").read_text()
    assert sorted(re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \| .+ \|$", text, re.MULTILINE)) == SCRIPTS


@pytest.mark.full
def test_as_a_reader_runs_it(tmp_path):
    """From the command line, into the current folder."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / "lesson_information.py")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the loss is the mean of H(p, q): 0.9455" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["lesson_information.png"]


def notebook(name):
    """An example as the command in the README makes it."""
    jupytext = pytest.importorskip("jupytext", reason="jupytext makes the notebooks")
    return jupytext.read(EXAMPLES / f"{name}.py", fmt="py:percent")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_example_is_a_notebook(name):
    cells = notebook(name).cells
    assert [cell.cell_type for cell in cells][:2] == ["markdown", "code"]
    assert re.match(r"# .+\n\n", cells[0].source)
    assert all(cell.source and not cell.source.startswith('"""') for cell in cells)
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    whole = ast.parse((EXAMPLES / f"{name}.py").read_text()).body
    texts = [node for node in whole if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    assert len(texts) == sum(cell.cell_type == "markdown" for cell in cells)
    assert ast.unparse(ast.parse(code)) == ast.unparse(ast.Module([node for node in whole if node not in texts], []))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's own packages
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("kernels_python", "lesson_network", "lesson_training") else pytest.param(name, marks=pytest.mark.nightly)
        for name in SCRIPTS
    ],
)
def test_every_notebook_runs(name, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient runs the notebooks")
    pytest.importorskip("ipykernel", reason="ipykernel runs the notebooks")
    pytest.importorskip(NEEDS.get(name, "fastprop"))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))  # for what the kernels' examples have in common
    monkeypatch.delenv("MPLBACKEND", raising=False)  # with it, no figure is shown in the notebook
    book = notebook(name)
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert list(tmp_path.glob("*.png"))


def test_lesson_graphs(run, capsys):
    found = run("lesson_graphs")
    assert (found["f"], found["df"]) == (20, (4, 4, 5))
    assert (found["twice"].grad("x"), found["chain"].value("q"), found["chain"].grad("x")) == (6, 5, 10)
    assert found["trace"][0].a.item() == pytest.approx(0.5498339973, abs=1e-10)
    assert found["loss"] == pytest.approx((0.5498339973 - 0.8) ** 2, rel=1e-8)
    np.testing.assert_allclose(found["dw"], found["by_differences"], rtol=1e-8)
    weight, bias = found["layer"][0].weight.grad, found["layer"][0].bias.grad
    np.testing.assert_allclose([*weight[:, 0], *bias], [*found["dw"], found["db"]], rtol=1e-12)
    assert found["check"].verdict == "correct"
    assert found["first"] == pytest.approx(0.25)
    assert found["by_input"] == pytest.approx({"x": 1.0, "w1": 2.0, "b1": 2.0, "w2": 0.6, "b2": 1.0, "y": -1.0})
    assert found["trained"] < 0.01
    assert found["network"].value("prediction") == pytest.approx(1, abs=0.1)
    printed = capsys.readouterr().out
    assert "  q = x + y\n" in printed
    assert "dweight  (3, 1)" in printed


def test_lesson_network(run):
    found = run("lesson_network")
    assert found["worked"] == pytest.approx(np.log(1 + np.exp(-1) + np.exp(-2)), rel=1e-14)
    assert found["right"].verdict == "correct"
    assert 1e-6 <= found["best"] <= 1e-4
    assert found["errors"][0] > 1e-5 < found["errors"][-1]
    assert found["named"] == {
        "FactorN": ["factor n"],
        "WrongSign": ["wrong sign"],
        "Transposed": ["transposed gradient"],
        "NoBatchSum": ["missing batch sum"],
        "Stale": ["stale cache"],
        "WrongPlace": ["derivative at the wrong place"],
    }
    said = ("x must have shape (n, 4); got (6, 3)", "backward needs a forward", "y must be in [0, 2]; got")
    for message, part in zip(found["messages"], said, strict=True):
        assert part in message


def test_lesson_deep(run):
    found = run("lesson_deep", ["lesson_deep.png", "lesson_deep_bound.png"])
    assert [layer for layer in found["trace"].layers if layer] == list("01234")
    ratios = {name: flow.ratio() for name, flow in found["flows"].items()}
    assert max(ratios["sigmoid"], ratios["sigmoid, layer norm"]) < 1e-3
    for name in ("ReLU, He", "SELU, LeCun", "sigmoid, residual", "sigmoid, batch norm", "sigmoid, dense"):
        assert 0.1 < ratios[name] < 10, name
    assert ratios["sigmoid, highway"] > 0.01
    assert ratios["ReLU, 3 x He"] > 1e3
    warned = {name: messages[0] for name, messages in found["messages"].items() if messages}
    assert list(warned) == ["sigmoid", "ReLU, 3 x He", "sigmoid, layer norm"]
    assert "vanishes on its way back" in warned["sigmoid"]
    assert "explodes on its way back" in warned["ReLU, 3 x He"]
    before, after = found["clipped"]
    assert before > 1e3
    assert after == pytest.approx(1, rel=1e-5)
    assert found["largest"] == 0.01
    assert found["dropped"].mean() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(found["dx"], found["same"])
    assert found["checkpointed"] < 0.5 * found["all_kept"]


def test_lesson_information(run):
    found = run("lesson_information")
    parts = found["parts"]
    np.testing.assert_allclose(parts["H(p, q)"], parts["H(p)"] + parts["KL(p || q)"], rtol=1e-12)
    assert found["mean"] == pytest.approx(parts["H(p, q)"].mean())
    np.testing.assert_allclose(found["by_differences"], found["J"], atol=1e-9)
    np.testing.assert_allclose(found["dz"], found["q"][2] - found["p"], rtol=1e-12)
    np.testing.assert_allclose(found["curvature"], found["J"], atol=1e-6)
    assert found["eigenvalues"].min() > -1e-12
    np.testing.assert_allclose(found["of_weights"], found["expected"], atol=1e-6)
    assert found["meeting"][0] == pytest.approx(found["meeting"][1], rel=1e-8)


def test_lesson_training(run, capsys):
    found = run("lesson_training", [f"lesson_training_{part}.png" for part in ("curves", "weights", "xor")])
    np.testing.assert_allclose(found["losses"], found["losses_of_fit"], rtol=1e-12)
    assert found["difference"] < 1e-12
    np.testing.assert_allclose(found["accumulated"], found["whole"], atol=1e-15)
    solved = found["solved"]
    assert len(solved) == 20
    assert all(n_dead for n_dead, right in zip(found["dead"], solved, strict=True) if not right)
    assert sum(solved) >= 10
    assert f"{sum(solved)} of 20 seeds learn all four points" in capsys.readouterr().out
    losses = found["history"]["loss"]
    assert len(losses) == len(found["accuracies"]) == 10
    assert losses[-1] < 0.1 * losses[0]
    assert found["accuracies"][-1] > 0.93
    spread = [found["weights"][f"epoch {epoch}"].std() for epoch in (0, 5, 10)]
    assert spread[0] < spread[1] < spread[2]
    assert found["refused"].startswith("the derivative of 'wrong swish' is wrong: at")
    assert found["check"].verdict == "correct"
    assert found["accuracy"] > 0.93
    assert found["kept"]["training"] > 18
    assert found["kept"]["evaluation"] < 0.1


def test_pytorch_gradients(run):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    found = run("pytorch_gradients")
    assert sorted(found["differences"]) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    assert max(found["differences"].values()) < 1e-12
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=1e-12)


def test_without_pytorch_it_says_so(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match="PyTorch is not installed"):
        run("pytorch_gradients")


def test_kernels_python(run):
    found = run("kernels_python")
    assert found["reached"] > 0.97
    assert found["losses"][-1] < 0.15 * found["losses"][0]


@pytest.mark.full
def test_the_guides_cython_code_is_cython(tmp_path):
    """It is translated to C, which checks it against api.pxi; the example compiles such code and runs it."""
    pytest.importorskip("setuptools")  # before Cython, which would else take the deprecated distutils
    build = pytest.importorskip("Cython.Build", reason="Cython is not installed")
    page = (EXAMPLES.parent / "docs/guide/kernels.md").read_text()
    (code,) = re.findall(r"^```cython\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    source = tmp_path / "users.pyx"
    source.write_text(code)
    build.cythonize(str(source), include_path=[str(HEADERS)], language_level=3, quiet=True)
    assert "KERNELS_f64.linear_forward(" in source.with_suffix(".c").read_text()


@pytest.mark.full
@pytest.mark.parametrize(("name", "needs"), [("kernels_njit", "numba"), ("kernels_cython", "Cython")])
def test_compiled_loops(run, python_loop, name, needs):
    pytest.importorskip(needs)
    if name == "kernels_cython" and not shutil.which(os.environ.get("CC", "cc")):
        pytest.skip("there is no C compiler")
    found = run(name)
    losses, params = python_loop
    np.testing.assert_allclose(found["losses"], losses, rtol=1e-9)
    for ours, theirs in zip(found["params"], params, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_mpi_training(run, capsys):
    pytest.importorskip("mpi4py", reason="the example trains over MPI")
    found = run("mpi_training")
    assert found["accuracy"] > 0.95
    assert "accuracy of the validation rows on 1 rank: " in capsys.readouterr().out


@pytest.mark.full
def test_dask_cluster(run, capsys):
    pytest.importorskip("distributed", reason="the example trains on a Dask cluster")
    found = run("dask_cluster")
    assert found["accuracy"] > 0.95
    assert "\nIteration 10, loss = " in capsys.readouterr().out

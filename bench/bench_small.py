"""Small things that a user meets first: import, the first result of a fresh process, memory, size on disk, searches in parallel."""

import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

import fastprop
from bench.conftest import REPLAY
from bench.contest import Effort
from bench.searches import time_searches
from fastprop import kernels

# contender -> (what must be importable, the import)
IMPORTS = {
    "nothing": ("sys", ""),
    "fastprop": ("fastprop", "import fastprop"),
    "fastprop estimators": ("fastprop", "from fastprop import MLPClassifier"),
    "scikit-learn": ("sklearn", "from sklearn.neural_network import MLPClassifier"),
    "onnxruntime": ("onnxruntime", "import onnxruntime"),
    "PyTorch": ("torch", "import torch"),
    "JAX": ("jax", "import jax.numpy"),
    "numpy": ("numpy", "import numpy"),
}
FIRST_RESULT = """
import warnings
import numpy as np
from {module} import MLPClassifier
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X, y = rng.standard_normal((1797, 64)), rng.integers(10, size=1797)
print(MLPClassifier(max_iter=10, random_state=0).fit(X, y).loss_)
"""
# contender -> (module, environment)
FIRSTS = {
    "fastprop": ("fastprop", {}),
    "fastprop on Numba": ("fastprop", {"FASTPROP_BACKEND": "numba"}),
    "scikit-learn": ("sklearn.neural_network", {}),
}
# Prints in bytes what a fit adds to the peak of resident memory, which Linux alone tells, and the size of data and parameters.
MEMORY = """
import sys
import warnings
import numpy as np
from {module} import MLPClassifier
sys.path.append({checkout!r})
from bench.workloads import problem_named
warnings.simplefilter("ignore")
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
configuration, X, y = problem_named({problem!r}, "float32")
make = lambda: MLPClassifier(configuration.hidden, max_iter=2, random_state=0)
make().fit(X[:400, :20], y[:400])  # whatever is set up once
before = peak()
model = make().fit(X, y)
size = X.data.nbytes + X.indices.nbytes if hasattr(X, "indices") else X.nbytes
print(peak() - before, size, sum(a.nbytes for a in model.coefs_ + model.intercepts_))
"""
DISTRIBUTIONS = ["scikit-learn", "numpy", "scipy", "torch", "jax", "jaxlib", "onnxruntime", "numba", "llvmlite"]
SEARCHES = [("loky", "processes"), ("threading", "threads")]
MB = 1e6


def is_quick(contender=None, **_):
    """Without what takes seconds to import."""
    return contender not in ("fastprop on Numba", "PyTorch", "JAX")


def run_python(code, tmp_path, **environment):
    """What the code prints in a fresh interpreter, away from the checkout."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("contender", IMPORTS)
def bench_import(benchmark, finish, tmp_path, quick, contender):
    """A fresh process that imports and ends; the row "nothing" is the interpreter alone."""
    module, code = IMPORTS[contender]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} not installed")
    run_python(code, tmp_path)  # reads the files from disk, writes bytecode
    benchmark.group, benchmark.name = "import in a fresh process", contender
    benchmark.pedantic(run_python, (code, tmp_path), rounds=2 if quick else 7)
    finish("import", contender, "", 1)


@pytest.mark.parametrize("contender", FIRSTS)
def bench_first_result(benchmark, finish, tmp_path, quick, contender):
    """From the start of the interpreter to the loss of 10 epochs on 1797 x 64; what is compiled lies in the cache."""
    module, environment = FIRSTS[contender]
    if contender == "fastprop on Numba" and ("numba", None) not in kernels.available():
        pytest.skip("numba not installed")
    truth = float(run_python(FIRST_RESULT.format(module="sklearn.neural_network"), tmp_path))
    code = FIRST_RESULT.format(module=module)
    assert float(run_python(code, tmp_path, **environment)) == pytest.approx(truth, rel=1e-6)
    benchmark.group, benchmark.name = "first result of a fresh process", contender
    benchmark.pedantic(run_python, (code, tmp_path), environment, rounds=2 if quick else 7)
    finish("first result", contender, "float64", 1)


@pytest.mark.long
@pytest.mark.parametrize("contender", ["fastprop", "scikit-learn"])
@pytest.mark.parametrize("problem", ["mnist", "word counts"])
def bench_memory(fact, tmp_path, problem, contender):
    """What a fit of float32 data adds to the peak of resident memory; an upper bound for our own is checked."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the peak")
    module = {"fastprop": "fastprop", "scikit-learn": "sklearn.neural_network"}[contender]
    code = MEMORY.format(module=module, checkout=str(Path(__file__).parents[1]), problem=problem)
    added, data, params = map(int, run_python(code, tmp_path).split())
    what = f"fit of {problem} adds to the peak memory; X has {data / MB:.0f} MB, the parameters {params / MB:.1f}"
    fact(what, contender, added / MB, "MB")
    if contender == "fastprop":
        assert added < 1.1 * data + 6 * params


def bench_size(fact):
    """On disk, of fastprop and of what it competes with, and of a wheel: the same files compressed."""
    folders = [Path(fastprop.__file__).parent, Path(kernels.__file__).parent]
    files = {path for folder in folders for path in folder.rglob("*") if is_shipped(path)}
    fact("size on disk", "fastprop", sum(path.stat().st_size for path in files) / MB, "MB")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(files):
            archive.write(path)
    fact("size of the wheel, about", "fastprop", len(buffer.getvalue()) / MB, "MB")
    for name in DISTRIBUTIONS:
        try:
            paths = [Path(path.locate()) for path in metadata.files(name) or ()]
        except metadata.PackageNotFoundError:
            continue
        fact("size on disk", name, sum(path.stat().st_size for path in paths if path.is_file()) / MB, "MB")


def is_shipped(path):
    """Whether a wheel has the file: neither what Python and Numba cached nor what a build left, which may vanish meanwhile."""
    return path.suffix != ".c" and "__pycache__" not in path.parts and path.is_file()


@pytest.mark.long
@pytest.mark.benchmark(timer=REPLAY.clock)
@pytest.mark.parametrize("contender", ["fastprop", "scikit-learn"])
@pytest.mark.parametrize(("backend", "kind"), SEARCHES, ids=[kind for _, kind in SEARCHES])
@pytest.mark.parametrize("all_jobs", [False, True], ids=["one-job", "all-jobs"])
def bench_search(contest, arena, n_threads, all_jobs, backend, kind, contender):
    """GridSearchCV with one job and with as many as there are cores: threads inside of jobs must not get in each other's way."""
    if n_threads == 1:
        pytest.skip("only where there are several cores")
    n_jobs = n_threads if all_jobs else 1
    group = f"GridSearchCV on digits, 16 fits, {kind}, n_jobs={n_jobs}"
    facts = {"configuration": kind, "n_jobs": n_jobs, "dtype": "float64", "n_threads": n_threads}
    hold = partial(arena.run, n_threads, time_searches, backend, n_jobs)
    contest(hold, contender, group, "search", effort=Effort(budget=2.0, max_rounds=5), **facts)

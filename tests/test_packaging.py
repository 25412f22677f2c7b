"""What is installed: metadata, console script, files, and what an import drags in."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fastprop
from fastprop import kernels

COMPILED = kernels.active.backend == "cython"
SETUP = Path(__file__).parents[1] / "setup.py"


def imported_by(code):
    """The top-level modules in sys.modules of a new process after the code."""
    script = f"import sys\n{code}\nprint('MODULES', *{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.rpartition("MODULES")[2].split())


def test_metadata():
    distribution = metadata.metadata("fastprop-mlp")
    assert distribution["Version"] == fastprop.__version__ == metadata.version("fastprop-mlp")
    assert distribution["License-Expression"] == "BSD-3-Clause"
    needed = {line.partition(">")[0] for line in metadata.requires("fastprop-mlp") if "extra ==" not in line}
    assert needed == {"numpy", "scipy", "scikit-learn"}


def test_ci_tests_the_oldest_versions_that_are_allowed():
    file = Path(__file__).parents[1] / ".ci" / "floor.txt"
    if not file.exists():
        pytest.skip("not a checkout")
    pins = dict(line.split("==") for line in file.read_text().splitlines() if not line.startswith("#"))
    for requirement in (line for line in metadata.requires("fastprop-mlp") if "extra ==" not in line):
        name, bound = requirement.split(">=")
        assert f"{pins[name]}.".startswith(f"{bound}."), requirement


def test_every_package_is_installed():
    if not SETUP.exists():
        pytest.skip("not a checkout")
    named = set(SETUP.with_name("setup.cfg").read_text().split("package_dir")[0].split())
    for root, prefix in (("fastprop", "fastprop"), ("kernels", "fastprop.kernels")):
        folder = SETUP.with_name(root)
        for file in folder.rglob("__init__.py"):
            assert ".".join([prefix, *file.parent.relative_to(folder).parts]) in named


def test_numba_is_an_extra():
    (numba,) = (line for line in metadata.requires("fastprop-mlp") if line.startswith("numba"))
    assert 'extra == "numba"' in numba


def test_console_script_is_declared():
    (script,) = (s for s in metadata.entry_points(group="console_scripts") if s.dist.name == "fastprop-mlp")
    assert script.name == "fastprop"
    assert callable(script.load())


def test_kernels_is_no_package_of_its_own(tmp_path):
    """The top-level name `kernels` belongs to another project."""
    assert kernels.__name__ == "fastprop.kernels"
    code = "import importlib.util, fastprop.kernels; assert importlib.util.find_spec('kernels') is None"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_what_a_users_own_cython_code_includes_is_installed():
    names = {path.name for path in Path(kernels.__file__).parent.joinpath("cython_backend").iterdir()}
    assert {"engine.h", "api.pxi"} <= names


def test_every_public_name_is_there():
    for name in fastprop.__all__:
        assert getattr(fastprop, name) is not None
    assert set(fastprop.__all__) <= set(dir(fastprop))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fastprop.nonsense


@pytest.mark.full
@pytest.mark.skipif(not COMPILED, reason="no compiled module here, so Numba may be needed")
def test_numba_is_not_imported_where_a_compiled_module_is():
    code = """
import warnings
import numpy as np
from fastprop import MLPClassifier, show_config
warnings.simplefilter("ignore")
MLPClassifier(max_iter=2).fit(np.eye(4), [0, 1, 0, 1]).predict(np.eye(4))
show_config()
"""
    assert not imported_by(code) & {"numba", "llvmlite"}


def test_import_of_fastprop_alone_imports_nothing():
    assert imported_by("import fastprop") - imported_by("import importlib") <= {"fastprop"}


@pytest.mark.full
@pytest.mark.skipif(not COMPILED, reason="no compiled module here")
def test_estimators_add_nothing_to_scikit_learns_import():
    ours = imported_by("from fastprop import MLPClassifier")
    theirs = imported_by("from sklearn.neural_network import MLPClassifier")
    # Cython's compiled modules register an entry each, named after their version.
    extra = {name for name in ours - theirs if not name.startswith("_cython")}
    assert extra <= {"fastprop"}


@pytest.mark.skipif(not SETUP.exists(), reason="not in a checkout")
def test_unknown_instruction_sets_are_refused():
    environment = os.environ | {"FASTPROP_BUILD_ISAS": "baseline,sse9"}
    command = [sys.executable, SETUP.name, "--name"]
    result = subprocess.run(command, cwd=SETUP.parent, env=environment, capture_output=True, text=True)
    assert result.returncode
    assert "FASTPROP_BUILD_ISAS must name some of" in result.stderr
    assert "sse9" in result.stderr


def test_sources_that_are_not_installed_say_so(tmp_path):
    """As in the folder of a checkout, which Python searches before what is installed: kernels/ is not in fastprop/ there."""
    shutil.copytree(Path(fastprop.__file__).parent, tmp_path / "fastprop", ignore=shutil.ignore_patterns("kernels", "__pycache__"))
    run = [sys.executable, "-S", "-c", "from fastprop import kernels"]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"ImportError: Python has imported fastprop from its sources in {tmp_path / 'fastprop'}, where it cannot run"
    )


def test_the_package_runs_as_a_module_and_loads_packages_with_extras(tmp_path):
    result = subprocess.run([sys.executable, "-m", "fastprop", "info"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("fastprop ")
    code = "import fastprop; fastprop.onnx.register_onnx_converters, fastprop.optim.Adam"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True)

"""Which back end runs: the choice, forcing it through the environment, and what is said of it."""

import os
import subprocess
import sys

import pytest

from fastprop import kernels
from fastprop.kernels import dispatch

COMPILED = [pair for pair in kernels.available() if pair[0] == "cython"]
WHICH = "from fastprop.kernels import active; print(active.backend, active.isa)"
# Makes modules whose names end so impossible to import.
WITHOUT = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.endswith({endings}):
            raise {error}
sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def python(tmp_path):
    """python(code, **environment): run it in a new interpreter, away from the source tree."""

    def run(code, **environment):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTPROP_")}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=kept | environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def test_the_active_back_end_is_the_first_available_or_the_forced_one():
    forced = [os.environ.get(name) or None for name in dispatch.ENVIRONMENT]
    fitting = [pair for pair in kernels.available() if forced[0] in (None, pair[0]) and forced[1] in (None, pair[1])]
    assert (kernels.active.backend, kernels.active.isa) == fitting[0]
    assert kernels.load() is kernels.active


def test_load_returns_the_same_object():
    for backend, isa in kernels.available():
        assert kernels.load(backend, isa) is kernels.load(backend, isa)
        assert (kernels.load(backend, isa).backend, kernels.load(backend, isa).isa) == (backend, isa)
    assert kernels.load("reference") is kernels.load("reference", None)


def test_every_candidate_is_available_or_has_a_reason():
    pairs = [candidate[:2] for candidate in dispatch.REGISTRY]
    assert sorted(map(str, pairs)) == sorted(map(str, [*kernels.available(), *kernels.unavailable()]))
    assert all(isinstance(why, str) and why for why in kernels.unavailable().values())
    assert ("reference", None) in kernels.available()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("numpy",), r"backend \(or FASTPROP_BACKEND\) must be one of \['cython', 'numba', 'reference'\]; got 'numpy'"),
        (("cython", "sse9"), r"isa \(or FASTPROP_ISA\) must be one of .*; got 'sse9'"),
        (("numba", dispatch.ISAS[0]), "is only for the back end cython"),
    ],
)
def test_unknown_names(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernels.load(*arguments)


@pytest.mark.parametrize("candidate", dispatch.REGISTRY, ids=str)
def test_forcing_works_or_fails_loudly(python, candidate):
    environment = {"FASTPROP_BACKEND": candidate.backend} | ({"FASTPROP_ISA": candidate.isa} if candidate.isa else {})
    done = python(WHICH, **environment)
    why = kernels.unavailable().get(candidate[:2])
    if why is None:
        assert done.stdout.split() == [candidate.backend, str(candidate.isa)]
        assert not done.stderr
    else:
        assert done.returncode
        assert "ImportError: cannot run here" in done.stderr
        assert why in done.stderr
        assert "Available: " in done.stderr
        assert "reference" in done.stderr


@pytest.mark.parametrize("environment", [{"FASTPROP_BACKEND": "fortran"}, {"FASTPROP_ISA": "mmx"}])
def test_forcing_what_does_not_exist_is_an_error(python, environment):
    done = python(WHICH, **environment)
    assert done.returncode
    assert "ValueError" in done.stderr
    assert "must be one of" in done.stderr


@pytest.mark.skipif(not COMPILED, reason="no compiled module")
def test_forcing_only_the_instruction_set(python):
    assert python(WHICH, FASTPROP_ISA=COMPILED[-1][1]).stdout.split() == ["cython", COMPILED[-1][1]]


@pytest.mark.skipif(not COMPILED, reason="no compiled module")
def test_numba_is_not_imported_on_the_default_path(python):
    questions = "import sys; from fastprop import kernels; kernels.available(); kernels.describe(); print('numba' in sys.modules)"
    done = python(questions)
    assert done.stdout.strip() == "False"
    assert not done.stderr


def without(*endings, error='ModuleNotFoundError("No module named " + repr(name), name=name)'):
    return WITHOUT.format(endings=endings, error=error)


def test_numbas_back_end_does_not_wait_for_scipys_sparse_matrices(python):
    pytest.importorskip("numba", reason="numba is not installed")
    code = "import sys; from fastprop import kernels; kernels.load('numba'); print('scipy.sparse' in sys.modules)"
    assert python(code).stdout.strip() == "False"


def test_without_compiled_modules_it_falls_back_and_says_so(python):
    compiled = tuple(candidate.module.rpartition(".")[2] for candidate in dispatch.REGISTRY if candidate.backend == "cython")
    numba = ("numba", None) in kernels.available()
    done = python(without(*compiled) + WHICH)
    assert done.stdout.split()[0] == ("numba" if numba else "reference")
    assert done.stderr.count("RuntimeWarning: fastprop: no compiled module can run") == 1
    assert ("running on Numba" if numba else "running on NumPy, which is slow") in done.stderr
    done = python(without(*compiled, "numba") + WHICH)
    assert done.stdout.split()[0] == "reference"
    assert "running on NumPy, which is slow" in done.stderr


@pytest.mark.parametrize("error", ["ModuleNotFoundError('no numba', name=name)", "RuntimeError('cannot cache function')"])
def test_forcing_numba_where_it_cannot_run(python, error):
    done = python(without("numba_backend", error=error) + WHICH, FASTPROP_BACKEND="numba")
    assert done.returncode
    assert "ImportError: cannot run here: numba: " in done.stderr


def test_a_processor_without_the_instructions_is_not_asked_to_run_them(monkeypatch):
    monkeypatch.setattr(dispatch, "cpu_features", frozenset)
    for candidate in dispatch.REGISTRY:
        if candidate.isa not in (None, "baseline"):
            with pytest.raises(ImportError, match=f"this processor lacks {candidate.isa}"):
                dispatch._import_raw(candidate.module)
    with pytest.raises(ImportError, match="this processor lacks avx512bf16"):
        dispatch._import_raw(".cython_backend._avx512bf16")


@pytest.mark.skipif(not COMPILED, reason="no compiled module")
def test_bfloat16_is_multiplied_by_what_the_processor_has(monkeypatch):
    for features in ({"avx512bf16", "avx512", "avx2"}, {"avx512", "avx2"}, {"avx512"}):
        if features.issubset(dispatch.cpu_features()):
            monkeypatch.setattr(dispatch, "cpu_features", lambda has=features: has)
            expected = next((isa for isa in ("avx512bf16", "avx2") if isa in features), "baseline")
            found = dispatch._import_bfloat16(dispatch.REGISTRY[0])
            assert found.__name__.endswith(f"_{expected}")
            monkeypatch.undo()
    for backend, isa in kernels.available():
        assert getattr(kernels.load(backend, isa).bfloat16, "ISA", None) in (isa, "avx512bf16", "avx2")


def test_describe():
    said = kernels.describe()
    assert (said["backend"], said["isa"]) == (kernels.active.backend, kernels.active.isa)
    assert said["unavailable"] == kernels.unavailable()
    assert said["why"]
    assert said["bfloat16"] == "avx512bf16" or said["bfloat16"].startswith("emulated (")
    assert said["int8"] in ("avx512vnni", "avxvnni", f"as 16 bits ({said['isa']})", "by NumPy, slow")
    assert said["n_cpus"] >= 1
    assert said["versions"]["numpy"]

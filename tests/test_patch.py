"""patch_sklearn, and ``python -m fastprop.patch``: what is replaced, for how long, and that a script runs as it does by itself."""

import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron
from sklearn.utils import TransformerTags

import fastprop
from fastprop import loop, patch_sklearn, unpatch_sklearn

MODULES = (sklearn.neural_network, _multilayer_perceptron)
THEIRS = sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor
OURS = fastprop.MLPClassifier, fastprop.MLPRegressor


@pytest.fixture(autouse=True)
def _unpatched():
    yield
    unpatch_sklearn()
    assert _in_place() == THEIRS


def _in_place():
    classes = {(module.MLPClassifier, module.MLPRegressor) for module in MODULES}
    assert len(classes) == 1
    return classes.pop()


def test_calls():
    patch_sklearn()
    patch_sklearn()
    assert _in_place() == OURS
    from sklearn.neural_network import MLPClassifier

    assert MLPClassifier is fastprop.MLPClassifier
    for _ in range(2):
        unpatch_sklearn()
        assert _in_place() == THEIRS


def test_blocks():
    with patch_sklearn() as patch:
        assert _in_place() == OURS
        with patch, patch_sklearn():
            assert _in_place() == OURS
        assert _in_place() == OURS
    assert _in_place() == THEIRS
    with patch:
        assert _in_place() == OURS
    assert _in_place() == THEIRS


def test_a_block_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), patch_sklearn():
        _ = 1 / 0
    assert _in_place() == THEIRS


def test_a_call_outlasts_a_block():
    patch_sklearn()
    with patch_sklearn():
        pass
    assert _in_place() == OURS
    unpatch_sklearn()
    with patch_sklearn():
        patch_sklearn()
    assert _in_place() == OURS


def test_unpatch_in_a_block():
    with patch_sklearn():
        unpatch_sklearn()
        assert _in_place() == THEIRS
    assert _in_place() == THEIRS


def test_tags():
    """Under the patch scikit-learn's; without it, the one that does not tell what the estimator can is different."""
    theirs = [cls().__sklearn_tags__() for cls in THEIRS]
    with patch_sklearn():
        assert [cls().__sklearn_tags__() for cls in OURS] == theirs
    theirs[1].target_tags.multi_output = True
    for cls, expected in zip(OURS, theirs, strict=True):
        expected.transformer_tags = TransformerTags(preserves_dtype=["float64", "float32"])
        assert cls().__sklearn_tags__() == expected


def test_what_was_there_before_comes_back(monkeypatch):
    class Other:
        pass

    monkeypatch.setattr(sklearn.neural_network, "MLPClassifier", Other)
    with patch_sklearn():
        assert sklearn.neural_network.MLPClassifier is fastprop.MLPClassifier
    assert sklearn.neural_network.MLPClassifier is Other
    assert _multilayer_perceptron.MLPClassifier is THEIRS[0]


def test_nothing_else_is_replaced():
    before = [dict(vars(module)) for module in MODULES]
    with patch_sklearn():
        for module, names in zip(MODULES, before, strict=True):
            assert {name for name, value in vars(module).items() if value is not names[name]} == {"MLPClassifier", "MLPRegressor"}
            assert list(vars(module)) == list(names)
    assert [dict(vars(module)) for module in MODULES] == before


def test_scikit_learns_objects_keep_working():
    theirs = THEIRS[0](max_iter=300, tol=1.0)
    with patch_sklearn():
        theirs.fit([[0.0], [1.0]], [0, 1]).predict([[1.0]])
        assert type(theirs) is THEIRS[0]


def test_threads():
    started, errors = threading.Barrier(4), []

    def work():
        started.wait()
        for _ in range(200):
            with patch_sklearn():
                if _in_place() != OURS:
                    errors.append("not patched in a block")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert _in_place() == THEIRS


def _warning_modules(cls, monkeypatch):
    """The warnings that scikit-learn's class gives too -> whether a filter for module="sklearn" silences each."""
    X, y = np.linspace(-1, 1, 40).reshape(20, 2), np.arange(20.0)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    def interrupted_fit():
        with monkeypatch.context() as patch:
            patch.setattr(loop.NetworkEpochs, "run", interrupted)
            cls(early_stopping=True).fit(X, y)

    calls = {
        "max_iter": lambda: cls(max_iter=2, random_state=0).fit(X, y),
        "lbfgs": lambda: cls(max_iter=2, random_state=0, solver="lbfgs").fit(X, y),
        "batch_size": lambda: cls(batch_size=30, tol=1e9, n_iter_no_change=1).fit(X, y),
        "column": lambda: cls(tol=1e9, n_iter_no_change=1).fit(X, y[:, None]),
        "interrupt": interrupted_fit,
    }
    silenced = {}
    for name, call in calls.items():
        for module in ("sklearn", "fastprop"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                warnings.filterwarnings("ignore", module=module)
                call()
            silenced[name, module] = not caught
    return silenced


def test_filters_by_module(monkeypatch):
    with patch_sklearn():
        silenced = _warning_modules(sklearn.neural_network.MLPRegressor, monkeypatch)
    assert {module for (_, module), is_silent in silenced.items() if is_silent} == {"sklearn"}
    assert sum(silenced.values()) == 5
    silenced = _warning_modules(fastprop.MLPRegressor, monkeypatch)
    assert {module for (_, module), is_silent in silenced.items() if is_silent} == {"fastprop"}
    assert sum(silenced.values()) == 5


# python -m fastprop.patch

full = pytest.mark.full  # each starts two processes that import scikit-learn

SCRIPT = """
import atexit, pickle, sys
from sklearn.neural_network import MLPClassifier, MLPRegressor
import beside

class Own:
    pass

def names():
    return sorted(name for name in globals() if name != "__annotations__")

print(sys.argv, sys.path[0], __file__, __name__, __spec__ and __spec__.name, __package__, __doc__)
print(type(pickle.loads(pickle.dumps(Own()))), sys.modules["__main__"].Own is Own, names())
atexit.register(lambda: print("at exit", type(pickle.loads(pickle.dumps(Own())))))
print(MLPClassifier.__module__, MLPRegressor.__module__, file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "script.py").write_text(SCRIPT)
    (tmp_path / "scripts" / "beside.py").write_text("")
    (tmp_path / "scripts" / "__main__.py").write_text("import sys, beside\nprint(sys.argv, sys.path[0], __name__)")
    (tmp_path / "link.py").symlink_to(tmp_path / "scripts" / "script.py")
    return tmp_path


def _run(folder, *arguments):
    return subprocess.run([sys.executable, "-W", "error", *arguments], cwd=folder, capture_output=True, text=True)


def _run_both(folder, *arguments, options=()):
    return _run(folder, *options, *arguments), _run(folder, *options, "-m", "fastprop.patch", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["scripts/script.py", "-m", "--x=1", "a b"],
        *(pytest.param([link], marks=full) for link in ("link.py", "scripts/../link.py")),
    ],
    ids=str,
)
def test_a_script_runs_as_by_itself(folder, arguments):
    alone, patched = _run_both(folder, *arguments)
    assert alone.returncode == patched.returncode == 0
    assert alone.stdout == patched.stdout
    assert alone.stderr.split() == ["sklearn.neural_network._multilayer_perceptron"] * 2
    assert patched.stderr.split() == ["fastprop.estimators.classifier", "fastprop.estimators.regressor"]


@pytest.mark.full
def test_a_module_runs_as_by_itself(folder):
    alone, patched = _run_both(folder / "scripts", "-m", "script", "-m", "1")
    assert alone.returncode == patched.returncode == 0
    assert alone.stdout == patched.stdout
    assert patched.stderr.split() == ["fastprop.estimators.classifier", "fastprop.estimators.regressor"]


@pytest.mark.full
@pytest.mark.parametrize("arguments", [["scripts", "1"], ["-m", "scripts", "2"]], ids=str)
def test_a_folder_runs_as_by_itself(folder, arguments):
    if arguments[0] == "-m":
        (folder / "scripts" / "__main__.py").write_text("import sys\nprint(sys.argv, sys.path[0], __name__, __package__)")
    alone, patched = _run_both(folder, *arguments)
    assert alone.stdout == patched.stdout != ""


@pytest.mark.full
def test_a_safe_path_stays_safe(folder):
    (folder / "safe.py").write_text("import sys; print(sys.path[:2])")
    alone, patched = _run_both(folder, "safe.py", options=["-P"])
    assert alone.stdout == patched.stdout != ""


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)",
        *(pytest.param(code, marks=full) for code in ("import sys; sys.exit('why')", "1 / 0", "x = ")),
    ],
    ids=str,
)
def test_exit_codes(folder, code):
    (folder / "ends.py").write_text(code)
    alone, patched = _run_both(folder, "ends.py")
    assert alone.returncode == patched.returncode
    assert alone.stderr.splitlines()[-1:] == patched.stderr.splitlines()[-1:]


def test_what_cannot_be_run(folder):
    for arguments, code, text in (
        (["missing.py"], 2, "can't open file"),
        (["-m", "missing_module"], 1, "No module named missing_module"),
        ([], 2, "usage:"),
        (["-m"], 2, "usage:"),
        (["--other"], 2, "usage:"),
    ):
        result = _run(folder, "-m", "fastprop.patch", *arguments)
        assert result.returncode == code, arguments
        assert text in result.stderr
        assert "Traceback" not in result.stderr
    result = _run(folder, "-m", "fastprop.patch", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage:")

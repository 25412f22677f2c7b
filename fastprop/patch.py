"""fastprop's estimators in place of scikit-learn's, for code that cannot be changed.

In new code, import ``fastprop.MLPClassifier``, so that readers see what runs. For other code::

    python -m fastprop.patch script.py [arguments]
    python -m fastprop.patch -m module [arguments]

runs a script or module as ``python`` would, with `patch_sklearn` in force.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import types
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager

from .scikit_learns import MODULES, NAMES, lock, originals

USAGE = "usage: python -m fastprop.patch script.py [arguments]\n       python -m fastprop.patch -m module [arguments]"

_in_force = set()  # the patches that nothing has ended yet


def patch_sklearn() -> AbstractContextManager[object]:
    """Replace scikit-learn's `MLPClassifier` and `MLPRegressor` by fastprop's, in the whole process.

    From the call on, ``from sklearn.neural_network import MLPClassifier`` imports fastprop's class, until `unpatch_sklearn` or the
    end of the block ``with patch_sklearn():``. Blocks may be nested, and may be open in several threads: scikit-learn's classes are
    back when the last of them ends. A second call without a block changes nothing.

    Returns
    -------
    context manager
        It ends this patch at the end of the block.

    Notes
    -----
    A subclass that overrides private methods, which fastprop's compiled code does not call, runs scikit-learn's own code; a warning
    says so when the class is defined. Warning filters for the module ``sklearn`` apply to the warnings of fastprop's estimators.

    Only the names in `sklearn.neural_network` and in its module ``_multilayer_perceptron`` are replaced. A module that imported
    a class earlier keeps it, and objects keep their class. While the patch is in force, an estimator of
    scikit-learn's own class cannot be pickled, as pickle does not find that class under its name, and a stored one is loaded
    as fastprop's. Processes that the ``spawn`` method of `multiprocessing` starts are not patched.

    `MLPRegressor` fits several outputs, and its tag ``target_tags.multi_output`` says so. scikit-learn's class does so too, but
    its tag is False, by which other packages decide to train one network for each output. While the patch is in force,
    fastprop's tag is scikit-learn's, so that they train the same models as without it.

    Examples
    --------
    >>> from fastprop import patch_sklearn
    >>> with patch_sklearn():
    ...     from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier.__module__.partition(".")[0]
    'fastprop'
    """
    patch = _Patch()
    patch._begin()
    return patch


def unpatch_sklearn() -> None:
    """Put scikit-learn's own classes back, everywhere; without a patch, do nothing.

    The names get back exactly what they referred to before the first `patch_sklearn`.

    Examples
    --------
    >>> from fastprop import patch_sklearn, unpatch_sklearn
    >>> patch = patch_sklearn()
    >>> unpatch_sklearn()
    >>> from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier.__module__.partition(".")[0]
    'sklearn'
    """
    with lock:
        _in_force.clear()
        _restore()


class _Patch:
    """One call of `patch_sklearn`: in force from then on or, in a with statement, until the end of the outermost block."""

    def __init__(self):
        self._depth = 0

    def _begin(self):
        with lock:
            if not originals:
                _replace()
            _in_force.add(self)

    def __enter__(self):
        with lock:
            self._begin()
            self._depth += 1
        return self

    def __exit__(self, *error):
        with lock:
            self._depth -= 1
            if not self._depth:
                _in_force.discard(self)
            if not _in_force:
                _restore()


def _replace():
    from . import estimators

    modules = [importlib.import_module(name) for name in MODULES]
    modules[1].BaseMultilayerPerceptron.register(estimators.base.BaseMLP)  # for isinstance; the base class is not replaced
    originals.update({(module.__name__, name): getattr(module, name) for module in modules for name in NAMES})
    for module in modules:
        for name in NAMES:
            setattr(module, name, getattr(estimators, name))


def _restore():
    for (module, name), original in originals.items():
        setattr(sys.modules[module], name, original)
    originals.clear()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script or module with the patch in force; see the module docstring. Its exit code and exceptions are passed on."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    is_module = arguments[0] == "-m"
    if arguments[0].startswith("-") and not (is_module and arguments[1:]):
        print(USAGE, file=sys.stderr)
        return 2
    sys.argv[:] = arguments[is_module:]
    if is_module:
        patch_sklearn()
        _run_module(sys.argv[0])
    elif os.path.exists(sys.argv[0]):
        patch_sklearn()
        _run_script(sys.argv[0])
    else:
        print(f"{sys.executable}: can't open file {sys.argv[0]!r}: no such file or directory", file=sys.stderr)
        return 2
    return 0


def _run_module(name):
    """What ``python -m name`` does, in this process."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(name + ".__main__")
    if spec is None:
        sys.exit(f"{sys.executable}: No module named {name}, or a package that cannot be run")
    sys.argv[0] = spec.origin
    _run_spec(spec)


def _run_script(path):
    """What ``python path`` does, in this process."""
    # Python puts the script's folder first on the path. `-m`, with which this module runs, puts the working directory there, and -P
    # nothing.
    if not sys.flags.safe_path:
        del sys.path[0]
    file = os.path.join(os.getcwd(), path)
    if os.path.isdir(path) or zipfile.is_zipfile(path):
        sys.path.insert(0, file)
        spec = importlib.machinery.PathFinder.find_spec("__main__", [file])
        if spec is None:
            sys.exit(f"{sys.executable}: can't find '__main__' module in {path!r}")
        _run_spec(spec)
        return
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    _run_as_main(code, __file__=file, __cached__=None)


def _run_spec(spec):
    names = {"__file__": spec.origin, "__cached__": spec.cached, "__package__": spec.parent, "__loader__": spec.loader}
    _run_as_main(spec.loader.get_code(spec.name), __spec__=spec, **names)


def _run_as_main(code, **names):
    # Not with runpy, which removes the module when the code ends: pickle, and code that runs later (threads, atexit), need it.
    module = types.ModuleType("__main__")
    vars(module).update(__builtins__=__builtins__, **names)
    sys.modules["__main__"] = module
    exec(code, vars(module))


if __name__ == "__main__":
    # The names in this copy of the module, which is called __main__, are not those of `import fastprop.patch`.
    from fastprop.patch import main

    sys.exit(main())

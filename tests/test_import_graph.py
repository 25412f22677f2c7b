"""No module of fastprop needs, directly or through others, to be imported before itself."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastprop
from fastprop import kernels

ROOTS = {"fastprop": Path(fastprop.__file__).parent, "fastprop.kernels": Path(kernels.__file__).parent}


def modules():
    """A dict from the dotted names of all modules to their files."""
    found = {}
    for package, folder in ROOTS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


def top_level_imports(name, path, known):
    """The modules of fastprop that a module imports when it is imported: not in functions, and not for type checkers."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _run_at_import(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(base + ([node.module] if node.module else []))
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        for each in names:
            while each in known and not f"{name}.".startswith(f"{each}."):  # with the packages that it is in and this one is not
                yield each
                each = each.rpartition(".")[0]


def _run_at_import(body):
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _run_at_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from _run_at_import(getattr(node, field, []))


def graph(files):
    return {name: set(top_level_imports(name, path, files)) for name, path in files.items()}


def test_no_module_imports_itself_through_others():
    files = modules()
    assert {
        "fastprop.loop",
        "fastprop.optim.base",
        "fastprop.estimators.base",
        "fastprop.nn.module",
        "fastprop.kernels.spec",
    } <= files.keys()
    edges = graph(files)
    assert "fastprop.optim" in edges["fastprop.network"]
    assert "fastprop.nn.storage" in edges["fastprop.nn.module"]
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from . import b", {"p.b"}),
        ("from .b import name", {"p.b"}),
        ("import p.b", {"p.b"}),
        ("try:\n    from .b import name\nexcept ImportError:\n    pass", {"p.b"}),
        ("class A:\n    from .b import name", {"p.b"}),
        ("def f():\n    from .b import name", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import name", set()),
    ],
)
def test_what_counts_as_an_import(tmp_path, source, expected):
    path = tmp_path / "a.py"
    path.write_text(source)
    assert set(top_level_imports("p.a", path, {"p.a": path, "p.b": path})) == expected


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("fastprop.kernels", ("fastprop.network", "fastprop.optim", "fastprop.loop", "fastprop.nn", "fastprop.estimators")),
        ("fastprop.optim", ("fastprop.network", "fastprop.loop", "fastprop.nn", "fastprop.estimators")),
        ("fastprop.preprocessing", ("fastprop.network", "fastprop.loop", "fastprop.nn", "fastprop.estimators")),
        ("fastprop.network", ("fastprop.loop", "fastprop.nn", "fastprop.estimators")),
        ("fastprop.loop", ("fastprop.network", "fastprop.nn", "fastprop.estimators")),
        ("fastprop.scikit_learns", ("fastprop.",)),
        ("fastprop.estimators", ("fastprop.patch", "fastprop.nn")),
        ("fastprop.nn", ("fastprop.estimators", "fastprop.patch")),
    ],
)
def test_the_arrow_of_dependency(lower, upper):
    """Also through others, without what a function imports when it runs."""
    edges = graph(modules())
    seen, queue = set(), [name for name in edges if name == lower or name.startswith(f"{lower}.")]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += edges[name]
    own = {name for name in seen if name == lower or name.startswith(f"{lower}.")}
    wrong = [name for name in seen - own if name.startswith(upper)]
    assert not wrong

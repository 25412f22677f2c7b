"""The public names of fastprop.inspection, and the examples in their docstrings."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from fastprop import inspection

MODULES = sorted(module.name for module in pkgutil.iter_modules(inspection.__path__, "fastprop.inspection."))


def test_contents_page():
    assert sorted(inspection.__all__) == inspection.__all__
    for name in inspection.__all__:
        value = getattr(inspection, name)
        assert inspect.getdoc(value), name
        assert value.__module__.startswith("fastprop.inspection.")


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0

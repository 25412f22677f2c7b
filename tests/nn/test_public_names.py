"""The public names of fastprop.nn, and the examples in their docstrings."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

from fastprop import nn
from fastprop.kernels.spec import ACTIVATIONS
from fastprop.nn.activations import ACTIVATION_LAYERS

MODULES = sorted(module.name for module in pkgutil.iter_modules(nn.__path__, "fastprop.nn."))


def test_contents_page():
    assert len(set(nn.__all__)) == len(nn.__all__)
    for name in nn.__all__:
        value = getattr(nn, name)
        assert inspect.getdoc(value), name


def test_the_index_of_help_has_each_name_once():
    assert sorted(re.findall(r"`(\w+)`", re.sub("``.*?``", "", nn.__doc__, flags=re.DOTALL))) == sorted(nn.__all__)


def test_each_activation_of_the_kernels_is_a_layer():
    assert ACTIVATION_LAYERS.keys() == ACTIVATIONS.keys()
    assert {cls.__name__ for cls in ACTIVATION_LAYERS.values()} <= set(nn.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", [name for name in nn.__all__ if inspect.isclass(getattr(nn, name))])
def test_arguments_are_documented(name):
    cls = getattr(nn, name)
    if issubclass(cls, Exception) or name == "Input":
        return
    text = "\n".join(inspect.getdoc(base) or "" for base in cls.__mro__[:-1])
    for argument in inspect.signature(cls).parameters:
        assert argument in text, argument

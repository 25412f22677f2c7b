"""Docstrings of public names pass numpydoc's validation, with an entry for each parameter, and their examples run."""

import doctest
import inspect
from importlib import import_module

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

from fastprop import MLPClassifier, MLPRegressor, nn

IGNORED = {
    "GL01",  # the summary stands on the line of the opening quotes, as PEP 257 allows
    "ES01",  # not everything needs an extended summary,
    "SA01",  # See Also
    "EX01",  # or, where it is not a public name by itself, an example
}
# A protocol has the parameters of typing's own __init__, which nobody calls.
EXCUSED = {("fastprop.collective.Group", "PR01"), ("fastprop.nn.functional.softmax", "SS05")}  # nor is a formula a verb
FUNCTIONS = [
    name for name, value in vars(nn.functional).items() if inspect.isfunction(value) and name[0] != "_" and name != "overload"
]
# Modules with their public names.
PACKAGES = {
    "fastprop": None,
    "fastprop.collective": None,
    "fastprop.dask": None,
    "fastprop.export": None,
    "fastprop.inspection": None,
    "fastprop.kernels": None,
    "fastprop.nn": None,
    "fastprop.nn.functional": FUNCTIONS,
    "fastprop.nn.init": sorted(nn.init.INITIALIZERS),
    "fastprop.optim": None,
    "fastprop.loop": ["run_epochs"],
    "fastprop.onnx": ["register_onnx_converters"],
    "fastprop.preprocessing": None,
}
# What the two estimators say differently, each of its own targets.
OWN = {"loss", "classes_", "loss_", "out_activation_", "validation_scores_"}


def _names(package):
    """The dotted names of what has a docstring of its own: functions, classes, their methods and properties."""
    module = import_module(package)
    for name in PACKAGES[package] or module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            yield f"{package}.{name}"
            for key, member in vars(value).items():
                if not key.startswith("_") and _is_documented(value, key, member):
                    yield f"{package}.{name}.{key}"
        elif inspect.isroutine(value):
            yield f"{package}.{name}"


def _is_documented(cls, name, member):
    if not isinstance(member, property) and not callable(getattr(cls, name)):
        return False  # a plain value; its class says what it is
    if name.startswith("set_") and name.endswith("_request"):
        return False  # made and documented by scikit-learn
    text = getattr(cls, name).__doc__
    # A method without a docstring needs a base class that has one.
    return text is not None or inspect.getdoc(getattr(cls, name)) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_numpydoc(package):
    if package == "fastprop.dask":
        pytest.importorskip("distributed", reason="dask and distributed are not installed")
    names = list(_names(package))
    assert names
    found = [(name, *error) for name in names for error in validate(name)["errors"]]
    errors = [f"{name} {code}: {text}" for name, code, text in found if code not in IGNORED and (name, code) not in EXCUSED]
    assert not errors, "\n".join(errors)


def _with_example(package):
    """The public names of a package that have a docstring: classes and functions."""
    module = import_module(package)
    for name in PACKAGES[package] or module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield name, value


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "fastprop.loop"])
def test_every_public_name_has_an_example(package):
    """It runs, unless it says that it needs a cluster, other processes, or a package that need not be here."""
    if package == "fastprop.dask":
        pytest.importorskip("distributed", reason="dask and distributed are not installed")
    runner = doctest.DocTestRunner()
    for name, value in _with_example(package):
        text = inspect.getdoc(value)
        example = doctest.DocTestParser().get_doctest(text, {}, f"{package}.{name}", None, None)
        assert "\nExamples\n--------\n" in text, name
        assert example.examples or "::" in text.partition("\nExamples\n")[2], name
        if package not in TESTED_BY_MODULE:
            runner.run(example)
    assert runner.summarize().failed == 0


# These have tests that run all of a module's docstrings, those of methods included.
TESTED_BY_MODULE = {"fastprop.nn", "fastprop.inspection"}


@pytest.mark.parametrize("module", ["estimators.interop", "preprocessing.encoder", "network"])
def test_examples_of_methods(module):
    assert doctest.testmod(import_module(f"fastprop.{module}")).failed == 0


def _entries(estimator):
    doc = NumpyDocString(inspect.getdoc(estimator))
    return {entry.name: (entry.type, entry.desc) for section in ("Parameters", "Attributes") for entry in doc[section]}


def test_the_two_estimators_say_the_same():
    """Their docstrings are static text, for editors; here they are kept from drifting."""
    ours, theirs = _entries(MLPClassifier), _entries(MLPRegressor)
    only_one = {"loss", "quantile", "huber_delta", "tweedie_power", "class_weight", "label_smoothing", "classes_"}
    assert ours.keys() ^ theirs.keys() == only_one
    for name in (ours.keys() & theirs.keys()) - OWN:
        assert ours[name] == theirs[name], name

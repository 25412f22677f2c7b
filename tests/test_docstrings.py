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
    "EX01",  # or an example
}
# A protocol has the parameters of typing's own __init__, which nobody calls.
EXCUSED = {("fastprop.collective.Group", "PR01")}
# Modules with their public names.
PACKAGES = {
    "fastprop": None,
    "fastprop.collective": None,
    "fastprop.dask": None,
    "fastprop.export": None,
    "fastprop.inspection": None,
    "fastprop.kernels": None,
    "fastprop.nn": None,
    "fastprop.nn.functional": ["concat", "exp", "relu", "tanh"],
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


# fastprop.nn and fastprop.inspection have such a test of their own.
@pytest.mark.parametrize(
    "module",
    [
        "network",
        "patch",
        "composites",
        "estimators.interop",
        "estimators.classifier",
        "estimators.regressor",
        "preprocessing.encoder",
        "export.c",
        "export.python",
    ],
)
def test_examples(module):
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

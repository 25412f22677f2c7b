"""The annotations cannot drift from the code: names, options and signatures are compared. `.ci/typing` runs the type checkers."""

import ast
import inspect
import runpy
import typing
from importlib import import_module
from pathlib import Path

import pytest

import fastprop
from fastprop import MLPClassifier, MLPRegressor, kernels, nn, precision
from fastprop.estimators import learning_rates, parameters, weights
from fastprop.inspection import flow, flow_display, gradients
from fastprop.kernels import annotations, dispatch, spec

HERE = Path(__file__).parent
PACKAGE = Path(fastprop.__file__).parent
OPTIONS = [
    (annotations.ActivationName, spec.ACTIVATIONS),
    (annotations.LinkName, spec.LINKS),
    (annotations.LossName, spec.LOSSES),
    (annotations.OptimizerName, spec.OPTIMIZERS),
    (dispatch.BackendName, dispatch.BACKENDS),
    (dispatch.IsaName, dispatch.ISAS),
    (weights.ActivationName, weights.ACTIVATIONS),
    (learning_rates.ScheduleName, {"constant", "invscaling", "adaptive", *learning_rates.SHAPES}),
    (typing.get_args(nn.init.Initializer)[0], nn.init.INITIALIZERS),
    (gradients.Verdict, gradients.VERDICTS),
    (typing.get_args(precision.Precision)[0], filter(None, precision.PRECISIONS)),
]


@pytest.mark.parametrize("path", sorted(HERE.glob("right_*.py")), ids=lambda path: path.stem)
def test_right_uses_run(path):
    runpy.run_path(str(path))


def test_annotations_are_shipped():
    assert (PACKAGE / "py.typed").exists()


def test_the_stub_has_the_names_that_are_loaded_when_asked_for():
    statements = ast.parse((PACKAGE / "__init__.pyi").read_text()).body
    homes = {
        alias.asname: f".{node.module or ''}"
        for node in statements
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert homes == fastprop._HOMES | dict.fromkeys(fastprop._PACKAGES, ".")
    (listed,) = (node.value for node in statements if isinstance(node, ast.Assign))
    assert ast.literal_eval(listed) == sorted(fastprop.__all__)


def test_options_are_those_that_exist():
    for literal, existing in OPTIONS:
        assert set(typing.get_args(literal)) == set(existing)
    assert set(typing.get_type_hints(annotations.Hyper)) == {name for o in spec.OPTIMIZERS for name in spec.hyper_names(o)}
    for alias, function in ((flow.Place, flow.GradientFlow), (flow_display.Kind, flow_display.GradientFlowDisplay.plot)):
        assert any(str(p.default) in typing.get_args(alias) for p in inspect.signature(function).parameters.values())


def test_options_of_the_estimators_are_those_that_are_accepted():
    for estimator in (MLPClassifier, MLPRegressor):
        hints = typing.get_type_hints(estimator.__init__, localns={"Activation": nn.Activation})
        for name, constraints in estimator._parameter_constraints.items():
            strings = {
                option for constraint in constraints for option in getattr(constraint, "options", ()) if isinstance(option, str)
            }
            arguments = [hints[name], *typing.get_args(hints[name])] if name in hints else []
            if str in arguments:  # any string, such as the names of scorers
                continue
            literals = [a for a in arguments if typing.get_origin(a) is typing.Literal]
            assert {option for literal in literals for option in typing.get_args(literal)} == strings, name


def test_the_estimators_have_the_parameters_of_their_base():
    annotated, shared = dict(vars(parameters.Parameters)["__annotations__"]), []
    del annotated["_parameter_constraints"]
    for estimator in (MLPClassifier, MLPRegressor):
        own = inspect.signature(estimator.__init__).parameters
        shared.append({name: parameter for name, parameter in own.items() if name in annotated})
        others = own.keys() - {"self", "loss", *annotated}
        assert all(own[name].default == vars(estimator)[name] for name in others)
        assert {name: own[name].annotation for name in annotated} == annotated
    assert shared[0] == shared[1]


def _functions():
    """(name, function) of all public functions and methods that are fastprop's own."""
    for package in (
        "fastprop",
        "fastprop.kernels",
        "fastprop.nn",
        "fastprop.nn.init",
        "fastprop.inspection",
        "fastprop.preprocessing",
    ):
        module = import_module(package)
        names = getattr(module, "__all__", None) or nn.init.INITIALIZERS
        for name, value in ((name, getattr(module, name)) for name in names):
            if inspect.isclass(value):
                for key, member in vars(value).items():
                    member = member.fget if isinstance(member, property) else inspect.unwrap(getattr(member, "__func__", member))
                    if inspect.isfunction(member) and (key == "__init__" or not key.startswith("_")):
                        yield f"{package}.{name}.{key}", member
            elif callable(value) and not inspect.ismodule(value) and not isinstance(value, kernels.Kernels):
                yield f"{package}.{name}", value


def test_everything_public_is_annotated():
    found = dict(_functions())
    assert {"fastprop.MLPClassifier.fit", "fastprop.nn.Parameter.data", "fastprop.kernels.linear_forward"} <= set(found)
    for name, function in found.items():
        signature = inspect.signature(function)
        missing = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
        assert not missing, f"{name}: {missing}"
        assert signature.return_annotation is not signature.empty, name

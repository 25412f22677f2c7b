"""to_numpy."""

from __future__ import annotations

import base64
import inspect
from os import PathLike
from typing import Any

import numpy as np

from .. import __version__
from ..files import write_text
from ..preprocessing.categories import OneHot, TwoCategories
from ..preprocessing.numbers import MissingIndicator, PiecewiseLinear, ScaledNumber
from . import python_runtime
from .steps import Model, model_of

ARRAY = """
def _array(text, dtype, shape):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
"""
# Task -> (name of a public function, its docstring, the expression that it returns)
FUNCTIONS = {
    "classes": [
        (
            "predict_proba",
            'Probabilities of the classes, (n, n_classes), in the order of MODEL["classes"].',
            "_probabilities(X)",
        ),
        ("predict", "The most probable class of each row, (n,).", "_decisions(X)"),
    ],
    "labels": [
        ("predict_proba", "Probabilities of the labels, (n, n_labels), in the order of fit.", "_probabilities(X)"),
        ("predict", "Whether each row has each label, 0 or 1, (n, n_labels).", "_decisions(X)"),
    ],
    "values": [("predict", "The targets of each row, (n,) or (n, n_outputs).", "_targets(X)")],
}
# Kind of encoding -> its name in `python_runtime`, and its numbers
ENCODINGS = {
    ScaledNumber: lambda each: ("scaled", each.feature, each.median, each.scale),
    PiecewiseLinear: lambda each: ("bins", each.feature, each.median, each.edges),
    MissingIndicator: lambda each: ("missing", each.feature),
    OneHot: lambda each: ("one_hot", each.feature, *_coding(each.coding), each.n),
    TwoCategories: lambda each: ("two", each.feature, *_coding(each.coding)),
}


def to_numpy(estimator: Any, *, path: str | PathLike[str] | None = None) -> str:
    """Write a fitted estimator as one Python file that needs only NumPy.

    The file has functions ``predict(X)`` and, for a classifier, ``predict_proba(X)``, which return the same as the estimator's
    methods. X is an array, or named columns: a dict of arrays, or a frame. Tables may hold strings, dates and missing values (NaN,
    NaT, None) as in ``fit``. X must have the columns of ``fit`` in their order, or their names.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or Pipeline
        A fitted estimator. In a pipeline, an MLP may be preceded by a `TabularEncoder` as the first step, and by `StandardScaler`.
    path : str or path, optional
        A file to write. An existing file is replaced only when the new one is complete.

    Returns
    -------
    str
        The text of the file.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is of another class, including subclasses, or if a label is neither a number nor a string.
    NotImplementedError
        If a part of it cannot be written in NumPy, such as an activation of your own or another step of a pipeline. The error
        names it.
    ValueError
        If weights are NaN or infinite. After an error, no file is written.

    Notes
    -----
    Weights keep the estimator's dtype and are written in base64, which takes four thirds of their size in memory. Results agree
    with the estimator's to rounding errors; they are float32 if the weights and X are.

    Examples
    --------
    >>> import types
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import MLPClassifier, export
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> iris = types.ModuleType("iris")  # what `import iris` makes of the file
    >>> exec(export.to_numpy(model), vars(iris))
    >>> bool((iris.predict(X) == model.predict(X)).all())
    True
    """
    model = model_of(estimator)
    doc, _, runtime = inspect.getsource(python_runtime).partition('"""\n\nimport math\n')
    assert doc
    before, after = runtime.split("\nMODEL = {}\n")
    head = f'"""{model.title}, written by fastprop {__version__}: prediction with NumPy alone."""\n\nimport base64\nimport math\n'
    functions = [f'def {name}(X):\n    """{text}"""\n    return {result}\n' for name, text, result in FUNCTIONS[model.task]]
    tables = f"\n{ARRAY}\n\nMODEL = {_literal(_tables(model))}\n"
    text = head + before + tables + after + "\n\n" + "\n\n".join(functions)
    if path is not None:
        write_text(path, text)
    return text


def _tables(model: Model) -> dict[str, Any]:
    """The `MODEL` of the runtime."""
    targets = model.targets
    return {
        "task": model.task,
        "columns": [column.name for column in model.inputs],
        "classes": None if model.classes is None else _labels(model.classes),
        "is_tabular": model.is_tabular,
        "features": model.feature_dtype.name,
        "encoders": [[_encoding(each) for each in encoder] for encoder in model.encoders],
        "standardizations": [tuple(each) for each in model.standardizations],
        "weights": [member.weight for member in model.members],
        "members": [(member.encoder, [_step(step, model.dtype) for step in member.steps]) for member in model.members],
        "targets": None if targets is None else tuple(vars(targets).values()),
        "ranks": None if model.ranks is None else model.ranks.tolist(),
    }


def _step(step, dtype):
    return step.kind, *(values.astype(dtype) if np.ndim(values) else values for values in step.numbers.values())


def _encoding(encoding):
    if type(encoding) not in ENCODINGS:
        raise NotImplementedError(f"{type(encoding).__name__} cannot be exported to NumPy")
    return ENCODINGS[type(encoding)](encoding)


def _coding(coding):
    return list(coding.categories), coding.of_others, coding.of_missing


class _Labels(list):
    """Class labels, which become an array of their dtype."""


def _labels(classes):
    found = [label for label in classes.tolist() if not isinstance(label, (str, int, float))]
    if found:
        raise TypeError(f"classes must be numbers or strings to be exported to NumPy; got {type(found[0]).__name__} {found[0]!r}")
    labels = _Labels(classes.tolist())
    labels.dtype = classes.dtype.str
    return labels


def _literal(value: Any) -> str:
    """An expression for a table, with arrays as little-endian bytes in base64."""
    if isinstance(value, np.ndarray):
        dtype = value.dtype.newbyteorder("<")
        text = base64.encodebytes(np.ascontiguousarray(value, dtype).tobytes()).decode()
        return f'_array("""\n{text}""", "{dtype.str}", {value.shape})'
    if isinstance(value, _Labels):
        return f"np.array({list(value)!r}, dtype={value.dtype!r})"
    if isinstance(value, dict):
        return "{\n" + "".join(f"    {key!r}: {_literal(each)},\n" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        items = ", ".join(map(_literal, value))
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    return repr(value)

"""The nodes of `TabularEncoder`. Needs skl2onnx and onnx.

Numbers are double here, whatever the inputs are, as they are when rows are encoded for `predict`.
"""

from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from ..preprocessing.categories import OneHot, TwoCategories
from ..preprocessing.numbers import FARTHEST, MAX, MissingIndicator, PiecewiseLinear, ScaledNumber

# Since this version of ONNX's operators Equal compares numbers that are not integers.
OLDEST_OPSET = 11


class Input(NamedTuple):
    """A column of a table in the graph.

    Parameters
    ----------
    name : str
        The variable, shape (n, 1).
    label : int or str
        The number or the name of the column, for messages.
    type : object
        skl2onnx's type of the input that it is in.
    """

    name: str
    label: Any
    type: Any

    @property
    def holds_strings(self):
        return isinstance(self.type, StringTensorType)

    @property
    def holds_integers(self):
        return not isinstance(self.type, StringTensorType | FloatTensorType | DoubleTensorType)


def encoded(graph, encoder, operator):
    """The features (n, n_features_out) of the inputs of an operator, in double; zeros (n, 1) where the fitted encoder has none."""
    if graph.opset < OLDEST_OPSET:
        name = type(operator.raw_operator).__name__
        raise ValueError(f"{name} needs target_opset of at least {OLDEST_OPSET} to be converted to ONNX; got {graph.opset}")
    columns, features = _Columns(graph, encoder, operator), []
    for encoding in encoder.columns_:
        formula = FORMULAS.get(type(encoding))
        if formula is None:
            raise ValueError(f"{type(encoding).__name__} has no converter to ONNX")
        features.append(formula(graph, encoding, columns[encoding.feature]))
    if not features:
        n = graph.node("Gather", [graph.node("Shape", [operator.inputs[0].full_name]), graph.constant("first", np.array([0]))])
        features.append(graph.node("ConstantOfShape", [graph.node("Concat", [n, graph.constant("one", np.array([1]))], axis=0)]))
        features = [graph.as_number(zeros) for zeros in features]
    return graph.node("Concat", features, axis=1)


class _Columns:
    """The columns of the inputs, by their numbers in `fit`: several inputs of one column by name where they have the names."""

    def __init__(self, graph, encoder, operator):
        self._graph, self._made = graph, {}
        inputs, n_features = list(operator.inputs), encoder.n_features_in_
        names = getattr(encoder, "feature_names_in_", range(n_features))
        if len(inputs) == n_features and {variable.raw_name for variable in inputs} == set(names):
            inputs.sort(key=lambda variable: list(names).index(variable.raw_name))
        widths = [variable.get_second_dimension() or (n_features if len(inputs) == 1 else 1) for variable in inputs]
        if sum(widths) != n_features:
            name = type(operator.raw_operator).__name__
            raise ValueError(f"{name} was fitted to {n_features} columns; the inputs to convert have {sum(widths)}")
        self._labels = list(names)
        self._places = [(variable, j, width) for variable, width in zip(inputs, widths, strict=True) for j in range(width)]

    def __getitem__(self, number):
        if number not in self._made:
            variable, j, width = self._places[number]
            name = variable.full_name
            if width > 1:
                name = self._graph.node("Gather", [name, self._graph.constant("column", np.array([j]))], axis=1)
            self._made[number] = Input(name, self._labels[number], variable.type)
        return self._made[number]


def _number(graph, column):
    """A column of numbers, as they are in the graph, and where they are NaN."""
    if column.holds_strings:
        raise ValueError(f"Column {column.label!r} held numbers in fit, so its input must be a tensor of numbers; got strings")
    x = graph.as_number(column.name)
    return x, graph.node("IsNaN", [x])


def _imputed(graph, encoding, column):
    x, missing = _number(graph, column)
    return graph.node("Where", [missing, graph.array("median", np.array([[encoding.median]])), x])


def _scaled_number(graph, encoding, column):
    z = graph.compute("Div", graph.compute("Sub", _imputed(graph, encoding, column), encoding.median), encoding.scale)
    z = graph.compute("Max", graph.compute("Min", z, FARTHEST), -FARTHEST)
    third = graph.compute("Div", z, 3)
    return graph.compute("Div", z, graph.compute("Sqrt", graph.compute("Add", graph.compute("Mul", third, third), 1)))


def _piecewise_linear(graph, encoding, column):
    left = graph.array("edges", encoding.edges[None, :-1])
    with np.errstate(over="ignore"):
        widths = graph.array("widths", np.minimum(np.diff(encoding.edges), MAX)[None])
    share = graph.compute("Div", graph.compute("Sub", _imputed(graph, encoding, column), left), widths)
    return graph.compute("Sub", graph.compute("Max", graph.compute("Min", share, 1), 0), 0.5)


def _missing_indicator(graph, encoding, column):
    return graph.as_number(_number(graph, column)[1])


def _one_hot(graph, encoding, column):
    coding = encoding.coding
    known, missing = (_strings if column.holds_strings else _values)(graph, coding.categories, column)
    parts = [known] if coding.categories else []
    if coding.has_infrequent:
        n_known = graph.node("MatMul", [known, graph.array("ones", np.ones((len(coding.categories), 1)))]) if parts else 0
        parts.append(graph.compute("Sub", graph.compute("Sub", 1, missing), n_known))
    if coding.has_missing:
        parts.append(missing)
    return graph.node("Concat", parts, axis=1)


def _two_categories(graph, encoding, column):
    return graph.node("MatMul", [_one_hot(graph, encoding, column), graph.array("halves", np.array([[-0.5], [0.5]]))])


def _strings(graph, categories, column):
    """Which of the categories each string is (n, n_categories), and whether it is missing (n, 1): empty, if that is no category."""
    if not all(isinstance(category, str) for category in categories):
        raise ValueError(f"Column {column.label!r} held numbers in fit, so its input must be a tensor of numbers; got strings")
    n = len(categories)
    keys = [*categories, *[""] * ("" not in categories)]
    options = {"keys_strings": [key.encode() for key in keys], "values_int64s": list(range(len(keys))), "default_int64": -1}
    code = graph.node("LabelEncoder", [column.name], op_domain="ai.onnx.ml", op_version=2, **options)
    is_each = [graph.node("Equal", [code, graph.constant("codes", codes)]) for codes in (np.arange(n)[None], np.array([[n]]))]
    return [graph.as_number(each) for each in is_each]


def _values(graph, categories, column):
    """Like `_strings`, for numbers; NaN is missing."""
    if any(isinstance(category, str) for category in categories):
        raise ValueError(f"Column {column.label!r} held strings in fit, so its input must be a tensor of strings; got numbers")
    x, missing = _number(graph, column)
    values = np.array(categories)[None] if categories else np.zeros((1, 0))
    if column.holds_integers and values.dtype.kind in "bi":
        x, values = graph.node("Cast", [column.name], to=TensorProto.INT64), graph.constant("categories", values.astype(np.int64))
    else:
        values = graph.array("categories", values)
    return graph.as_number(graph.node("Equal", [x, values])), graph.as_number(missing)


# Kind of encoding -> the function that adds the nodes for a column `Input` to a `Graph` and returns the name of its features
FORMULAS = {
    ScaledNumber: _scaled_number,
    PiecewiseLinear: _piecewise_linear,
    MissingIndicator: _missing_indicator,
    OneHot: _one_hot,
    TwoCategories: _two_categories,
}

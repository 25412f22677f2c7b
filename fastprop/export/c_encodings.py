"""`TabularEncoder` in C: a function from the columns, double, to the features, float."""

from __future__ import annotations

from ..preprocessing.categories import OneHot, TwoCategories
from ..preprocessing.numbers import MissingIndicator, PiecewiseLinear, ScaledNumber
from .c_text import doubles
from .steps import Model


def add_features(file, model: Model, encoder: int) -> None:
    """Add the function for an encoder, by its number."""
    lines, place = [], 0
    for encoding in model.encoders[encoder]:
        formula = FORMULAS.get(type(encoding))
        if formula is None:
            raise NotImplementedError(f"{type(encoding).__name__} cannot be exported to C")
        lines.append(formula(file, encoding, f"x[{encoding.feature}]", place, f"{encoder}_{encoding.feature}"))
        place += encoding.n
    declaration = f"void PREFIX_features_{encoder}(const double *x, float *features)"
    file.function(declaration, lines or ["(void)x;", "features[0] = 0.0f;"])


def check_categories(model: Model) -> None:
    """Raise an error if categories of a column cannot be represented as doubles."""
    for column in model.inputs:
        if column.categories and not isinstance(column.categories[0], str):
            inexact = [category for category in column.categories if float(category) != category]
            if inexact:
                raise NotImplementedError(f"column {column.name!r} cannot be exported to C: its category {inexact[0]} is no double")


def _scaled_number(file, encoding, x, place, label):
    return f"features[{place}] = {file.call('scaled', x, *doubles([encoding.median, encoding.scale]))};"


def _piecewise_linear(file, encoding, x, place, label):
    edges = file.table("double", f"edges_{label}", doubles(encoding.edges))
    return file.call("bins", x, *doubles([encoding.median]), encoding.n, edges, f"features + {place}") + ";"


def _missing_indicator(file, encoding, x, place, label):
    return f"features[{place}] = isnan({x}) ? 1.0f : 0.0f;"


def _one_hot(file, encoding, x, place, label):
    return file.call("one_hot", _number(file, encoding, x), encoding.n, f"features + {place}") + ";"


def _two_categories(file, encoding, x, place, label):
    return f"features[{place}] = {file.call('two', _number(file, encoding, x))};"


def _number(file, encoding, x):
    """The number of the category in x, or -1."""
    coding = encoding.coding
    categories, n = coding.categories, len(coding.categories)
    if not n or isinstance(categories[0], str):
        return file.call("code", x, n, coding.of_others, coding.of_missing)
    values = file.table("double", f"values_{encoding.feature}", doubles(categories))
    return file.call("find", x, n, values, coding.of_others, coding.of_missing)


# Kind of encoding -> the function that returns the line of C which writes its features from `place` on
FORMULAS = {
    ScaledNumber: _scaled_number,
    PiecewiseLinear: _piecewise_linear,
    MissingIndicator: _missing_indicator,
    OneHot: _one_hot,
    TwoCategories: _two_categories,
}

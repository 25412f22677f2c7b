"""Prediction with NumPy alone, from the tables of a `MODEL`: the exported Python file is this text with its own tables.

Nothing else of fastprop may be imported here, and nothing that Python 3.9 does not have: small containers may have that version.
"""

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np

MODEL = {}


def _erfc(x):
    return np.frompyfunc(math.erfc, 1, 1)(x).astype(x.dtype)


def _sigmoid(z):
    small = np.exp(-np.abs(z))
    return np.where(z < 0, small, 1) / (1 + small)


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _layer_norm(x, gamma, beta, epsilon):
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon) * gamma + beta


# Step of a network -> the function that computes it for rows x
STEPS = {
    "affine": lambda x, weight, bias: x @ weight + bias,
    "layer_norm": _layer_norm,
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "leaky_relu": lambda z: np.where(z > 0, z, z * 0.01),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: z * _erfc(-z * math.sqrt(0.5)) / 2,
    "silu": lambda z: z * _sigmoid(z),
    "mish": lambda z: z * np.tanh(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0)),
    "softplus": lambda z: np.where(z > 20, z, np.log1p(np.exp(np.minimum(z, 20)))),
    "exp": np.exp,
    "softmax": _softmax,
}


def _scaled(x, median, scale):
    z = np.clip((np.where(np.isnan(x), median, x) - median) / scale, -1e100, 1e100)
    return (z / np.sqrt(1 + (z / 3) ** 2))[:, None]


def _bins(x, median, edges):
    x = np.where(np.isnan(x), median, x)
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    widths = np.minimum(np.diff(edges), np.finfo(np.float64).max)
    places = (bins + np.clip((x - edges[bins]) / widths[bins], 0, 1)).astype(MODEL["features"])
    return np.clip(places[:, None] - np.arange(len(edges) - 1, dtype=places.dtype), 0, 1) - places.dtype.type(0.5)


def _is_missing(value):
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _codes(values, categories, others, missing):
    """The number of each value's category, -1 for none."""
    known = {category: i for i, category in enumerate(categories)}
    return np.array([missing if _is_missing(value) else known.get(value, others) for value in values.tolist()], dtype=np.intp)


def _one_hot(values, categories, others, missing, n):
    return _codes(values, categories, others, missing)[:, None] == np.arange(n)


def _two(values, categories, others, missing):
    return np.array([-0.5, 0.5, 0.0])[_codes(values, categories, others, missing)][:, None]


# Encoding -> the function that computes it from a column's numbers, or from its values
OF_NUMBERS = {"scaled": _scaled, "bins": _bins, "missing": lambda x: np.isnan(x)[:, None]}
OF_VALUES = {"one_hot": _one_hot, "two": _two}


def _values(X, i):
    """Column i of X; dates and durations become seconds."""
    X = np.array(X, dtype=object) if isinstance(X, (list, tuple)) else X
    values = X[:, i] if isinstance(X, np.ndarray) else X[MODEL["columns"][i]]
    # NumPy would turn gaps in pyarrow's dictionaries into categories, and NaN among strings into a string.
    values = values.to_pylist() if hasattr(values, "to_pylist") else values
    values = np.array(values, dtype=object) if isinstance(values, (list, tuple)) else np.asarray(values)
    if values.dtype.kind == "M":
        values = values - np.datetime64(0, "s")
    return values / np.timedelta64(1, "s") if values.dtype.kind == "m" else values


def _number(value):
    if _is_missing(value):
        return math.nan
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(timezone(timedelta(0))).replace(tzinfo=None)
    if isinstance(value, date):
        return (np.datetime64(value, "us") - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    return float(value)


def _numbers(values):
    if values.dtype.kind == "O":
        values = np.array([_number(value) for value in values.tolist()])
    return values.astype(np.float64)


def _encoded(X, encodings):
    columns, features = {}, []
    for kind, i, *arguments in encodings:
        if i not in columns:
            columns[i] = _values(X, i)
        if kind in OF_NUMBERS:
            features.append(OF_NUMBERS[kind](_numbers(columns[i]), *arguments))
        else:
            features.append(OF_VALUES[kind](columns[i], *arguments))
    if not features:  # a network has at least one input
        features.append(np.zeros((len(_values(X, 0)), 1)))
    return np.hstack([each.astype(MODEL["features"]) for each in features])


def _matrix(X):
    """X as float32 if it is float32, else as float64; an error if the estimator's predict would raise one."""
    n = len(MODEL["columns"])
    if not isinstance(X, (np.ndarray, list, tuple)):
        X = np.stack([np.asarray(X[name]) for name in MODEL["columns"]], axis=1)
    X = np.asarray(X)
    X = X if X.dtype == np.float32 else X.astype(np.float64)
    if X.ndim != 2 or X.shape[1] != n:
        raise ValueError(f"X must have shape (n, {n}); got {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite; it holds NaN or infinity")
    return X


@np.errstate(over="ignore", under="ignore")
def _outputs(X):
    """The outputs of each network, (n, n_outputs)."""
    features, outputs = {}, []
    for encoder, steps in MODEL["members"]:
        if encoder not in features:
            x = _encoded(X, MODEL["encoders"][encoder]) if MODEL["encoders"] else _matrix(X)
            for mean, scale in MODEL["standardizations"]:
                x = ((x - mean) / scale).astype(x.dtype)
            features[encoder] = x
        x = features[encoder]
        for kind, *arguments in steps:
            x = STEPS[kind](x, *arguments)
        outputs.append(x.astype(np.float64) if MODEL["is_tabular"] else x)
    return outputs


def _probabilities(X):
    """The probabilities of the classes or labels, (n, n_classes)."""
    outputs, n = _outputs(X), len(MODEL["classes"])
    mean = np.average(outputs, axis=0, weights=MODEL["weights"]) if MODEL["is_tabular"] else outputs[0]
    if MODEL["task"] == "classes" and mean.shape[1] == 1:
        mean = np.hstack([1 - mean, mean]) if n == 2 or not MODEL["is_tabular"] else np.ones_like(mean)
    return mean / mean.sum(axis=1, keepdims=True) if MODEL["is_tabular"] else mean


def _decisions(X):
    """The most probable class of each row (n,), or whether it has each label, 0 or 1 (n, n_labels)."""
    probabilities = _probabilities(X)
    if MODEL["task"] == "labels":
        return (probabilities > 0.5).astype(np.int64)
    return MODEL["classes"][probabilities[:, : len(MODEL["classes"])].argmax(axis=1)]


def _targets(X):
    """The targets (n,) or (n, n_outputs)."""
    outputs = _outputs(X)
    if MODEL["targets"] is None:
        values = outputs[0] if MODEL["ranks"] is None else np.sort(outputs[0], axis=1)[:, MODEL["ranks"]]
    else:
        size, location, deviation, lowest, highest = MODEL["targets"]
        relative = [np.clip(location + deviation * t, lowest / size, highest / size) for t in outputs]
        values = np.clip(np.average(relative, axis=0, weights=MODEL["weights"]) * size, lowest, highest)
    return values[:, 0] if values.shape[1] == 1 else values

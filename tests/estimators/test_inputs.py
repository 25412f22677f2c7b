"""Plain numbers in any form skip scikit-learn's validation, with its results; everything else gets its validation and messages."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils.validation import _get_feature_names

from fastprop import MLPClassifier, MLPRegressor
from fastprop.estimators import base, validation

NAMES = ["a", "b", "c"]
ROWS = np.arange(12.0).reshape(4, 3) % 5
FRAME = pd.DataFrame(ROWS, columns=NAMES)

UNNAMED = {
    "float64": ROWS,
    "float32": ROWS.astype(np.float32),
    "float16": ROWS.astype(np.float16),
    "int64": ROWS.astype(int),
    "uint8": ROWS.astype(np.uint8),
    "bool": ROWS > 2,
    "big-endian": ROWS.astype(">f8"),
    "Fortran order": np.asfortranarray(ROWS),
    "strided": np.repeat(ROWS, 2, axis=0)[::2],
    "reversed": ROWS[:, ::-1],
    "read-only": np.frombuffer(ROWS.tobytes()).reshape(4, 3),
    "lists": ROWS.tolist(),
    "lists of int": ROWS.astype(int).tolist(),
    "list of arrays": list(ROWS),
    "frame without names": pd.DataFrame(ROWS),
}
NAMED = {
    "frame": FRAME,
    "frame of int": FRAME.astype(int),
    "frame of int and float": FRAME.astype({"a": int, "b": np.float32}),
    "slice of a frame": FRAME.iloc[::2],
    "polars": pl.DataFrame(FRAME),
    "polars of int and float": pl.DataFrame(FRAME.astype({"a": int})),
}
if _get_feature_names(NAMED["polars"]) is None:  # scikit-learn 1.7 finds no names in newer polars frames, and warns
    NAMED = {name: frame for name, frame in NAMED.items() if "polars" not in name}
# What is out of the ordinary for a model that was fitted without names, and for one that was fitted with them.
ODD = {
    "NaN": np.full((1, 3), np.nan),
    "infinity": [[np.inf, 0, 0]],
    "one-dimensional": ROWS[0],
    "no rows": ROWS[:0],
    "two features": ROWS[:, :2],
    "complex": ROWS * 1j,
    "strings": [["1", "2", "3"]],
    "numbers as objects": ROWS.astype(object),
    "unequal rows": [[1, 2, 3], [1, 2]],
    "longdouble": ROWS.astype(np.longdouble),
    "masked": np.ma.masked_equal(ROWS, 1),
    "datetimes": ROWS.astype("M8[s]"),
    "tuples": tuple(map(tuple, ROWS)),
    "frame with names": FRAME,
    "polars with names": pl.DataFrame(FRAME),
}
ODD_NAMED = {
    "array": ROWS,
    "lists": ROWS.tolist(),
    "another order": FRAME[["b", "a", "c"]],
    "other names": FRAME.rename(columns={"a": "d"}),
    "a name is missing": FRAME[["a", "b"]],
    "nullable": FRAME.astype("Int64"),
    "missing value": FRAME.astype("Int64").mask(FRAME == 1),
    "category": FRAME.astype({"a": "category"}),
    "strings": FRAME.astype(str),
    "NaN": FRAME * np.nan,
    "polars with null": pl.DataFrame({"a": [1, None], "b": [1, 2], "c": [1, 2]}),
}


def _fitted(cls, X, dtype=float):
    y = np.arange(len(X)) % 3 if cls is MLPClassifier else np.arange(len(X)) / 3
    model = cls(hidden_layer_sizes=(5,), solver="sgd", max_iter=2, random_state=0, n_iter_no_change=np.inf)
    return model.fit(X.astype(dtype), y), y


@pytest.fixture(autouse=True)
def _unfinished_fits():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        yield


def _outcome(call):
    """What a call returns, or raises, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except Exception as error:
            result = type(error), str(error)
    return result, [(w.category, str(w.message)) for w in caught]


def _must_not_run(*args, **kwargs):
    raise AssertionError("scikit-learn's validation ran")


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("X", "inputs"), [(ROWS, UNNAMED), (FRAME, NAMED)], ids=["unnamed", "named"])
def test_plain_numbers_need_no_validation(cls, X, inputs, monkeypatch):
    for dtype in (np.float64, np.float32):
        model, y = _fitted(cls, X, dtype)
        for name, given in inputs.items():
            with monkeypatch.context() as without:
                without.setattr(base, "plain_rows", lambda *args: None)
                expected = model._outputs(given)
            with monkeypatch.context() as quick:
                quick.setattr(base, "validated", _must_not_run)
                outputs = model._outputs(given)
                model.score(given, y[: len(given)])
            assert outputs.dtype == expected.dtype, name
            np.testing.assert_array_equal(outputs, expected, err_msg=name)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("X", "inputs"), [(ROWS, ODD), (FRAME, ODD_NAMED)], ids=["unnamed", "named"])
def test_everything_else_gets_scikit_learns_messages(cls, X, inputs, monkeypatch):
    model, _ = _fitted(cls, X)
    for name, given in inputs.items():
        result, caught = _outcome(lambda given=given: model.predict(given))
        with monkeypatch.context() as without:
            without.setattr(base, "plain_rows", lambda *args: None)
            expected, expected_caught = _outcome(lambda given=given: model.predict(given))
        assert caught == expected_caught, name
        np.testing.assert_array_equal(result, expected, err_msg=name)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("X", "inputs"), [(ROWS, UNNAMED), (FRAME, NAMED)], ids=["unnamed", "named"])
def test_later_partial_fits_need_no_validation(cls, X, inputs, monkeypatch):
    for name, given in inputs.items():
        (model, y), (other, _) = _fitted(cls, X), _fitted(cls, X)
        y = y[: len(given)]
        with monkeypatch.context() as without:
            without.setattr(validation, "plain_training_data", lambda *args: None)
            other.partial_fit(given, y)
        with monkeypatch.context() as quick:
            quick.setattr(validation, "validated", _must_not_run)
            model.partial_fit(given, pd.Series(y) if "frame" in name else y)
        for ours, expected in zip(model.coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(ours, expected, err_msg=name)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    "y",
    [[0, 1, 2, 5], [0.0, np.nan, 1, 2], [0.5, 1, 2, 0], ["0", "1", "2", "1"], [0, 1, 2], np.zeros((4, 1)), np.zeros((4, 2)), None],
    ids=str,
)
def test_odd_targets_get_scikit_learns_messages(cls, y, monkeypatch):
    model, _ = _fitted(cls, ROWS)
    y = y if y is None else np.array(y)
    result, caught = _outcome(lambda: type(model.partial_fit(ROWS, y)))
    model, _ = _fitted(cls, ROWS)
    monkeypatch.setattr(validation, "plain_training_data", lambda *args: None)
    assert (result, caught) == _outcome(lambda: type(model.partial_fit(ROWS, y)))


def test_classes_that_are_strings(monkeypatch):
    y = np.array(["no", "yes", "perhaps", "yes"])
    model = MLPClassifier(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(ROWS, y)
    with monkeypatch.context() as quick:
        quick.setattr(validation, "validated", _must_not_run)
        model.partial_fit(ROWS, y)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        model.partial_fit(ROWS, np.array(["no", "yes", "never", "zebra"]))

"""Reading tables: arrays, lists and frames, columns by name, what is categorical, and what columns hold."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from fastprop.preprocessing import TabularEncoder
from fastprop.preprocessing.columns import column_of
from fastprop.preprocessing.frames import read_table

X = np.array([[1.0, 0, 3], [2, 1, 0], [4, 0, 0], [8, 1, 1], [np.nan, 2, 0]])
TWO = {"a": [1.0, 2.0, 4.0, 8.0], "b": ["x", "y", "x", "y"]}
MIXED = np.array([[1, "a", None], [2.5, "b", True], [None, "a", False], [4, "b", 3]], dtype=object)


def encoder(**parameters):
    return TabularEncoder(**{"min_frequency": 1} | parameters)


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        np.asfortranarray,
        lambda X: X.astype(np.float32),
        lambda X: X.astype(np.float16),
        lambda X: X.astype(object),
        lambda X: np.where(np.isnan(X), None, X),
        lambda X: np.where(np.isnan(X), None, X).tolist(),
        lambda X: X[::-1][::-1],
        sparse.csr_array,
        sparse.csc_matrix,
        sparse.coo_array,
    ],
)
def test_arrays(convert):
    np.testing.assert_array_equal(encoder().fit_transform(convert(X)), encoder().fit_transform(X))
    np.testing.assert_array_equal(encoder().fit(X).transform(convert(X)), encoder().fit_transform(X))


@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist])
def test_strings_in_arrays(convert):
    fitted = encoder(categorical_features=[1, 2]).fit(convert(MIXED))
    names = ["x0_missing", "x1_b", "x2_False", "x2_True", "x2_3", "x2_missing"]
    assert fitted.get_feature_names_out()[-6:].tolist() == names
    np.testing.assert_array_equal(fitted.transform(MIXED)[:, -5], [-0.5, 0.5, -0.5, 0.5])


def test_duplicates_in_sparse_matrices():
    twice = sparse.coo_array(([1.0, 2, 5], ([0, 0, 1], [0, 0, 0])), shape=(4, 1))
    np.testing.assert_array_equal(encoder().fit_transform(twice), encoder().fit_transform([[3.0], [5], [0], [0]]))


def test_columns_are_found_by_name(make_frame):
    fitted = encoder().fit(make_frame(TWO))
    turned = make_frame(dict(reversed(TWO.items())))
    np.testing.assert_array_equal(fitted.transform(turned), fitted.transform(make_frame(TWO)))


def test_other_names(make_frame):
    fitted = encoder().fit(make_frame(TWO))
    with pytest.raises(ValueError, match=r"should match those .*\nFeature names unseen at fit time:\n- c\n$"):
        fitted.transform(make_frame(TWO | {"c": [1, 2, 3, 4]}))
    with pytest.raises(ValueError, match=r"should match those .*\nFeature names seen at fit time, yet now missing:\n- b\n$"):
        fitted.transform(make_frame({"a": TWO["a"]}))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- B\nFeature names seen at fit time, yet now missing:\n- b\n$"):
        fitted.transform(make_frame({"a": TWO["a"], "B": TWO["b"]}))


def test_names_once_only(make_frame):
    one = {"a": TWO["a"]}
    with pytest.warns(UserWarning, match="X has feature names, but TabularEncoder was fitted without feature names"):
        encoder().fit(np.array([*one.values()]).T).transform(make_frame(one))
    with pytest.warns(UserWarning, match="X does not have valid feature names, but TabularEncoder was fitted with feature names"):
        encoder().fit(make_frame(one)).transform(np.array([*one.values()]).T)


def test_names_that_are_no_strings(pandas):
    frame = pandas.DataFrame(X)
    fitted = encoder().fit(frame)
    assert not hasattr(fitted, "feature_names_in_")
    np.testing.assert_array_equal(fitted.transform(frame), fitted.transform(X))


@pytest.mark.parametrize("chosen", [["b", "a"], [1, 0], [True, True], np.array(["a", "b"]), np.array([True, True])], ids=repr)
def test_chosen_categories(make_frame, chosen):
    fitted = encoder(categorical_features=chosen).fit(make_frame(TWO))
    assert fitted.get_feature_names_out().tolist() == ["a_1.0", "a_2.0", "a_4.0", "a_8.0", "b_y"]
    assert fitted.is_categorical_.tolist() == [True, True]


@pytest.mark.parametrize("chosen", [None, [], [False, False]], ids=str)
def test_no_categories(make_frame, chosen):
    fitted = encoder(categorical_features=chosen, numeric_encoding="standard").fit(
        make_frame({"a": TWO["a"], "b": [True, False] * 2})
    )
    assert fitted.get_feature_names_out().tolist() == ["a", "b"]
    assert fitted.is_categorical_.tolist() == [False, False]


def test_what_dtypes_say(pandas):
    frame = pandas.DataFrame({"x": [1, 2, 1, 2], "y": pandas.Categorical([1, 2, 1, 2])})
    assert encoder().fit(frame).is_categorical_.tolist() == [False, True]
    # Objects are what they are.
    frame = pandas.DataFrame(
        {"x": [1, None, 2.5, 3], "y": [True, None, False, True], "z": ["u", np.nan, "v", pandas.NA]}, dtype=object
    )
    fitted = encoder().fit(frame)
    assert fitted.is_categorical_.tolist() == [False, True, True]
    assert fitted.get_feature_names_out()[-4:].tolist() == ["y_missing", "z_u", "z_v", "z_missing"]


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ([1, 2, 3], ["a", "b", "c"], r"Column 'x' of X held numbers in fit, and now holds strings \(dtype .*\)"),
        (["a", "b", "c"], [1, 2, 3], r"Column 'x' of X held strings in fit, and now holds numbers \(dtype .*\)"),
        ([1, 2, 3], np.array([1, 2, 3], "M8[ms]"), "held numbers in fit, and now holds dates"),
        (np.array([1, 2, 3], "M8[ms]"), np.array([1, 2, 3], "m8[ms]"), "held dates in fit, and now holds durations"),
        ([True, False, True], ["a", "b", "a"], "held booleans in fit, and now holds strings"),
        ([3, 3, 3], ["a", "b", "a"], "held numbers in fit, and now holds strings"),
    ],
    ids=str,
)
def test_columns_that_changed(make_frame, before, now, words):
    with pytest.raises(ValueError, match=words):
        encoder().fit(make_frame({"x": before})).transform(make_frame({"x": now}))


@pytest.mark.parametrize(
    ("before", "now"),
    [([1, 2, 3], [None, None]), (["a", "b", "c"], [None, None]), ([True, False], [1, 0]), ([0, 1], [True]), ([None, None], ["a"])],
    ids=str,
)
def test_columns_that_did_not_change(make_frame, before, now):
    assert np.isfinite(encoder().fit(make_frame({"x": before})).transform(make_frame({"x": now}))).all()


def test_a_dtype_of_other_categories_without_values(pandas):
    fitted = encoder().fit(pandas.DataFrame({"x": ["a", "b", "c"]}))
    nothing = pandas.DataFrame({"x": pandas.Categorical([None], categories=[1, 2])})
    np.testing.assert_array_equal(fitted.transform(nothing), [[0, 0, 0]])


def test_categories_from_fit_are_categories(pandas):
    """Whatever the dtype is later."""
    frame = pandas.DataFrame({"x": pandas.Categorical([1, 2, 3])})
    fitted = encoder().fit(frame)
    np.testing.assert_array_equal(fitted.transform(pandas.DataFrame({"x": [3.0, 4.0]})), [[0, 0, 1], [0, 0, 0]])


def test_dictionaries_with_nulls_in_them():
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pyarrow.DictionaryArray.from_arrays([0, 1, None, 2], ["a", None, "b"])
    features = encoder().fit_transform(pyarrow.table({"x": column}))
    np.testing.assert_array_equal(features, np.eye(3)[[0, 2, 2, 1]])


PYARROW = ["float16", "float32", "uint64", "decimal128(21, 2)", "large_string", "date64", "time64(us)", "timestamp(s, UTC)"]


@pytest.mark.parametrize("dtype", PYARROW)
def test_types_of_pyarrow(dtype):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    name, _, arguments = dtype.rstrip(")").partition("(")
    arguments = [int(a) if a.isdigit() else a for a in arguments.split(", ") if a]
    column = pyarrow.array([1, None, 2, 4]).cast(getattr(pyarrow, name)(*arguments))
    features = encoder(numeric_encoding="standard").fit_transform(pyarrow.table({"x": column}))
    np.testing.assert_array_equal(features[:, -1], [0, 1, 0, 0])
    assert len(np.unique(features, axis=0)) == 4


def test_rows_of_a_table(frame):
    """Those taken are those of the features."""
    fitted = TabularEncoder().fit(frame)
    rows = np.array([5, 3, 3, 41])
    table = read_table(frame, fitted, reset=False).take(rows)
    assert len(table) == 4
    np.testing.assert_array_equal(fitted._encode_table(table).toarray(), fitted.transform(frame)[rows])


def test_objects_of_all_kinds():
    def kind(*values):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return column_of("x", array).kind

    assert kind(None, np.nan, np.datetime64("NaT")) == "nothing"
    assert kind(1, np.float32(2), None) == kind(True, 1) == "numbers"
    assert kind(np.nan, "a", np.str_("b")) == "strings"
    assert kind(np.datetime64(3, "s"), None) == "dates"
    assert kind(1, "a") == "numbers and strings"
    assert kind([1], [2]) == "list"


def test_no_library_of_frames_is_imported():
    code = "import sys, fastprop.preprocessing as p; p.TabularEncoder().fit_transform([[1.0], [2.0]]); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "polars" not in modules  # the others may be scikit-learn's

"""Bad input: in the words of scikit-learn and of HistGradientBoosting, with the column, and before anything is changed."""

import re

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils._param_validation import InvalidParameterError

from fastprop.preprocessing import TabularEncoder

NUMBERS = {"a": [1.0, 2.0, 3.0, 4.0], "b": [0, 1, 0, 1]}
Y = np.arange(4.0)


def error_of(call):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    return caught.type, str(caught.value)


def columns(library=dict, **changes):
    return library(NUMBERS | changes)


# make X from a pandas module; parameters
SAME = {
    "floats": (lambda pandas: columns(pandas.DataFrame), [0.5]),
    "mixed": (lambda pandas: columns(pandas.DataFrame), np.array([0, "a"], dtype=object)),
    "short mask": (lambda pandas: columns(pandas.DataFrame), [True]),
    "large index": (lambda pandas: columns(pandas.DataFrame), [2]),
    "negative index": (lambda pandas: np.ones((4, 2)), [-1]),
    "no such name": (lambda pandas: columns(pandas.DataFrame), ["z"]),
    "no names": (lambda pandas: np.ones((4, 2)), ["a"]),
    "string as parameter": (lambda pandas: np.ones((4, 2)), "a"),
    "one dimension": (lambda pandas: np.ones(4), "from_dtype"),
    "three dimensions": (lambda pandas: np.ones((4, 1, 1)), "from_dtype"),
    "no rows": (lambda pandas: columns(pandas.DataFrame).iloc[:0], "from_dtype"),
    "no columns": (lambda pandas: np.ones((4, 0)), "from_dtype"),
    "a series": (lambda pandas: pandas.Series(Y), "from_dtype"),
    "complex": (lambda pandas: np.ones((4, 2), dtype=complex), "from_dtype"),
    "ragged": (lambda pandas: [[1], [1, 2], [1], [1]], "from_dtype"),
    "some names are strings": (lambda pandas: pandas.DataFrame(NUMBERS).set_axis(["a", 1], axis=1), "from_dtype"),
    "strings": (lambda pandas: columns(pandas.DataFrame, a=list("wxyz")), None),
    "strings in an array": (lambda pandas: np.array([["x"]] * 4, dtype=object), "from_dtype"),
    "strings and numbers": (lambda pandas: columns(pandas.DataFrame, a=[1, 2, "x", "y"]), ["a"]),
    "categories of two kinds": (lambda pandas: pandas.DataFrame({"a": pandas.Categorical([1, "b", 1, 1])}), "from_dtype"),
    "lists": (lambda pandas: pandas.DataFrame({"a": [[1], [2], [3], [4]]}), ["a"]),
}


@pytest.mark.parametrize("case", SAME)
def test_words_of_hist_gradient_boosting(case, pandas):
    make, categorical_features = SAME[case]
    X = make(pandas)
    encoder = TabularEncoder(categorical_features=categorical_features)
    theirs = HistGradientBoostingRegressor(categorical_features=categorical_features)
    (ours, text), (other, words) = error_of(lambda: encoder.fit(X)), error_of(lambda: theirs.fit(X, Y))
    assert ours is other
    words = words.replace("HistGradientBoostingRegressor", "TabularEncoder").replace("has a item", "has an item")  # 1.7 has "a"
    assert words in text
    assert set(vars(encoder)) == set(encoder.get_params())


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinity(make_frame, infinity):
    bad = columns(make_frame, a=[1.0, 2.0, infinity, 3.0])
    words = "Input X contains infinity or a value too large for dtype('float64'): column 'a'."
    for parameters in ({}, {"categorical_features": ["a"]}):
        assert error_of(lambda p=parameters: TabularEncoder(**p).fit(bad)) == (ValueError, words)
    fitted = TabularEncoder().fit(columns(make_frame))
    assert error_of(lambda: fitted.transform(bad)) == (ValueError, words)
    # Columns that are left out are looked at, too.
    fitted = TabularEncoder().fit(columns(make_frame, a=[1.0] * 4))
    assert error_of(lambda: fitted.transform(bad)) == (ValueError, words)


def test_infinity_in_arrays():
    for dtype in (np.float32, np.float64, object):
        with pytest.raises(ValueError, match=re.escape("infinity or a value too large for dtype('float64'): column 1.")):
            TabularEncoder().fit(np.array([[1, 2], [3, np.inf]], dtype=dtype))
    with pytest.raises(ValueError, match="infinity or a value too large"):
        TabularEncoder().fit(np.array([[1], [np.finfo(np.longdouble).max]], dtype=np.longdouble))


def test_the_column_with_strings(make_frame):
    words = r"X must hold numbers; its column 'b' of dtype .* does not: could not convert string to float: 'x'$"
    with pytest.raises(ValueError, match=words):
        TabularEncoder(categorical_features=None).fit(columns(make_frame, b=["x", "y", None, "x"]))


def test_the_column_with_several_kinds(pandas):
    with pytest.raises(TypeError, match=re.escape("numbers. Got ['int', 'str'] in column 'b' of X")):
        TabularEncoder().fit(columns(pandas.DataFrame, b=[1, 2, None, "x"]))


def test_a_later_column_with_several_kinds(pandas):
    fitted = TabularEncoder().fit(columns(pandas.DataFrame))
    with pytest.raises(
        ValueError, match=r"Column 'b' of X held numbers in fit, and now holds numbers and strings \(dtype object\)"
    ):
        fitted.transform(columns(pandas.DataFrame, b=[1, 2, None, "x"]))


def test_number_of_columns():
    fitted = TabularEncoder().fit(np.ones((4, 2)))
    with pytest.raises(ValueError, match="X has 3 features, but TabularEncoder is expecting 2 features as input"):
        fitted.transform(np.ones((4, 3)))


def test_a_lazy_frame():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    with pytest.raises(TypeError, match=r"X must be a DataFrame; got a LazyFrame: call its collect\(\) first"):
        TabularEncoder().fit(polars.LazyFrame(NUMBERS))


def test_an_error_leaves_the_last_fit(make_frame):
    fitted = TabularEncoder().fit(columns(make_frame))
    before = fitted.transform(columns(make_frame))
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(columns(make_frame, c=[np.inf] * 4))
    np.testing.assert_array_equal(fitted.transform(columns(make_frame)), before)


@pytest.mark.parametrize(
    "parameters",
    [{"n_bins": 0}, {"n_bins": 1.5}, {"min_frequency": 0}, {"numeric_encoding": "quantile"}, {"categorical_features": 3}],
    ids=str,
)
def test_parameters(parameters):
    (name,) = parameters
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of TabularEncoder must be"):
        TabularEncoder(**parameters).fit(np.ones((4, 2)))


def test_dtype():
    for dtype in (np.int32, np.float16, "text", None):
        with pytest.raises(InvalidParameterError, match="The 'dtype' parameter of TabularEncoder must be"):
            TabularEncoder(dtype=dtype).fit(np.ones((4, 2)))
    with pytest.raises(ValueError, match=re.escape("dtype must be float32 or float64; got dtype('int64')")):
        TabularEncoder(dtype=np.dtype("int64")).fit(np.ones((4, 2)))
    for dtype in (np.float64, "float64", np.dtype(np.float64)):
        assert TabularEncoder(dtype=dtype).fit_transform([[1], [2]]).dtype == np.float64

"""C files: they compile without a warning and compute what predict and predict_proba give."""

import ctypes
import re
import subprocess

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastprop import MLPClassifier, MLPRegressor, export
from fastprop.export import c_text

# Of float32, in units of the range of each output: a few hundred roundings, of which most cancel.
BOUND = 1e-5
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def outputs_of(model, X):
    """(the function that writes them, predict_proba or predict as a matrix)."""
    function = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    return function, getattr(model, function)(X).reshape(len(X), -1)


def assert_close(got, expected, bound=BOUND):
    size = np.ptp(expected, axis=0)
    np.testing.assert_array_less(np.abs(got - expected) / np.where(size > 0, size, 1), bound)


def test_outputs_and_decisions(float_case, compiled):
    model, X = float_case
    function, expected = outputs_of(model, X)
    made = compiled(export.to_c(model), expected.shape[1])
    assert_close(made(function, X), expected)
    if not hasattr(model, "classes_"):
        assert (np.ptp(expected, axis=0) > 0).all()
        return
    got, decided = made("predict", X), model.predict(X)
    if decided.ndim == 2:
        sure = np.abs(expected - 0.5) > BOUND
    elif len(model.classes_) == 1:
        sure = slice(None)
    else:
        sure = np.diff(np.sort(expected, axis=1)[:, -2:])[:, 0] > BOUND
    decided = decided if decided.ndim == 2 else np.searchsorted(model.classes_, decided)
    np.testing.assert_array_equal(got[sure], decided[sure])


@pytest.mark.parametrize("kind", ["two", "three", "booleans", "strings"])
def test_table_of_labels(make_case, compiled, kind):
    model, _ = make_case(f"labels: {kind}")
    made = compiled(export.to_c(model), 3)
    c_type = re.search(r"^extern const (.*) model_classes\[\d\];$", made.text, re.MULTILINE)[1]
    types = {"int": ctypes.c_int, "long long": ctypes.c_longlong, "char *const": ctypes.c_char_p}
    labels = (types[c_type] * len(model.classes_)).in_dll(made.library, "model_classes")
    assert [each.decode() if isinstance(each, bytes) else each for each in labels] == model.classes_.tolist()


def test_categories_that_are_strings(compiled):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    n = 60
    city = np.array(["Oslo", "Rome", 'a "quote"'], dtype=object)[np.arange(n) % 3]
    city[::10] = None
    frame = pandas.DataFrame(
        {
            "size": np.arange(n) % 7 * 1.0,
            "city": city,
            "sold": pandas.Timestamp("2020-01-01") + np.arange(n) * pandas.Timedelta("1D"),
        }
    )
    from fastprop import TabularRegressor

    model = TabularRegressor(n_members=2, max_iter=3, hidden_layer_sizes=(8,), random_state=0).fit(frame, np.arange(n) % 3)
    text = export.to_c(model, name="price")
    assert "x[1]: 'city', the number of a category in price_categories_1; -1 is any other one" in text
    assert "x[2]: 'sold', a date, in seconds since 1970" in text
    made = compiled(text, 1, "price")
    categories = [each.decode() for each in (ctypes.c_char_p * 3).in_dll(made.library, "price_categories_1")]
    assert categories == ["Oslo", "Rome", 'a "quote"']
    frame.loc[3:5, "city"] = "Lima"
    numbers = {name: i for i, name in enumerate(categories)} | {None: np.nan, "Lima": -1}
    seconds = (frame["sold"] - pandas.Timestamp(0)) / pandas.Timedelta("1s")
    X = np.stack([frame["size"], [numbers[each if isinstance(each, str) else None] for each in frame["city"]], seconds], axis=1)
    assert_close(made("predict", X), model.predict(frame)[:, None])


def test_two_models_in_one_program(make_case, compiled):
    texts = [export.to_c(make_case(case)[0], name=name) for case, name in (("gelu", "a"), ("table: three", "b"))]
    made = compiled("\n".join(texts), 1, "a")
    model, X = make_case("gelu")
    assert_close(made("predict", X), model.predict(X)[:, None])


# int8


@pytest.mark.parametrize("calibrated", [False, True])
def test_int8_is_as_accurate_on_digits(compiled, calibrated):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.5, random_state=0)
    model = MLPClassifier(max_iter=40, random_state=0).fit(X, y)
    text = export.to_c(model, dtype="int8", X=X if calibrated else None)
    made = compiled(text, 10)
    proba = made("predict_proba", X_test)
    assert abs((made("predict", X_test) == y_test).mean() - model.score(X_test, y_test)) <= 0.005
    assert 1e-4 < np.abs(proba - model.predict_proba(X_test)).max() < 0.15
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert len(text) < 0.45 * len(export.to_c(model))


@pytest.mark.parametrize("name", ["layer norm", "encoder and scaler", "table: one output"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_int8_of_other_models(make_case, compiled, name, calibrated):
    model, X = make_case(name)
    function, expected = outputs_of(model, X)
    made = compiled(export.to_c(model, dtype="int8", X=X if calibrated else None), expected.shape[1])
    error = np.abs(made(function, X) - expected).max() / np.ptp(expected)
    assert 1e-6 < error < 0.1


def test_int8_by_hand(compiled):
    """Integers, scales and the cut of what is beyond the range of X."""
    model = MLPRegressor(hidden_layer_sizes=(), max_iter=1, random_state=0).fit(np.eye(2), [0.0, 1.0])
    model.coefs_, model.intercepts_ = [np.array([[1.0], [-0.5]])], [np.array([3.0])]
    X = np.array([[127.0, 1.4], [50.6, -254.0]])
    step, weights = 1 / 127, np.array([127, -64])  # -63.5 to the even one
    free = compiled(export.to_c(model, dtype="int8"), 1)("predict", X)[:, 0]
    np.testing.assert_allclose(free, [3 + step * weights @ [127, 1], 3 + 2 * step * weights @ [25, -127]], rtol=1e-6)
    fixed = compiled(export.to_c(model, dtype="int8", X=X[:1]), 1)("predict", X)[:, 0]
    np.testing.assert_allclose(fixed, [3 + step * weights @ [127, 1], 3 + step * weights @ [51, -127]], rtol=1e-6)


def test_int8_has_a_scale_for_each_output(compiled):
    model = MLPRegressor(hidden_layer_sizes=(), max_iter=1, random_state=0).fit(np.eye(3), np.eye(3)[:, :2])
    model.coefs_ = [np.array([[1.0, 900.0], [0.3, -100.0], [-0.6, 500.0]])]
    X = np.random.default_rng(0).normal(size=(50, 3))
    expected = model.predict(X)
    error = np.abs(compiled(export.to_c(model, dtype="int8"), 2)("predict", X) - expected) / np.ptp(expected, axis=0)
    assert error.max() < 0.02


def test_int8_of_zeros(compiled):
    model = MLPRegressor(hidden_layer_sizes=3, max_iter=1, random_state=0).fit(np.eye(2), [0.0, 1.0])
    model.coefs_[0][...] = 0
    zeros = np.zeros((1, 2))
    for X in (None, zeros):
        got = compiled(export.to_c(model, dtype="int8", X=X), 1)("predict", zeros)
        np.testing.assert_allclose(got[:, 0], model.predict(zeros), rtol=0.02)


# Numbers and names


def test_numbers_are_read_as_they_were():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 3000, dtype=np.uint32).view(np.float32)
    values = np.append(values[np.isfinite(values)], np.float32([0, -0.0, 1, 1e-45, 3.4028235e38, 16777216]))
    texts = c_text.floats(values, "values")
    assert all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?f", text) and ("." in text or "e" in text) for text in texts)
    np.testing.assert_array_equal(np.array([text[:-1] for text in texts], dtype=np.float32), values)
    assert [float(text) for text in c_text.doubles(values)] == values.tolist()


def test_a_compiler_reads_them_so_too(compiled):
    values = np.array([1e-45, 1.1754942e-38, 3.4028235e38, 1 / 3, 16777216, 0.1, -7e-5], np.float32)
    made = compiled(c_text.table("float", "model_values", c_text.floats(values, "values"), static=False), 1)
    got = (ctypes.c_float * len(values)).in_dll(made.library, "model_values")
    assert np.array(got, np.float32).tobytes() == values.tobytes()


@pytest.mark.parametrize("name", ["int", "while", "restrict", "1a", "_a", "a-b", "", "ä", "a b", "a\n"])
def test_names_that_c_does_not_take(make_case, name):
    with pytest.raises(ValueError, match=f"name must be an identifier of C.*got {re.escape(repr(name))}"):
        export.to_c(make_case("relu")[0], name=name)


def test_weights_that_are_set_count(make_case, compiled):
    model, X = make_case("relu")
    network = MLPRegressor().set_params(**model[-1].get_params())
    network.fit(X, model.predict(X))
    network.coefs_ = [2 * weight for weight in network.coefs_]
    assert_close(compiled(export.to_c(network), 1)("predict", X), network.predict(X)[:, None])


def test_large_numbers_of_inputs_overflow_nothing():
    from fastprop.export.quantization import MOST_INPUTS, quantized

    assert MOST_INPUTS * 127**2 < 2**31 <= (MOST_INPUTS + 1) * 127**2
    with pytest.raises(NotImplementedError, match=f"at most {MOST_INPUTS} inputs"):
        quantized(np.ones((MOST_INPUTS + 1, 1)))


def test_the_head_says_what_it_is(make_case):
    import fastprop

    text = export.to_c(make_case("table: three")[0], name="plants")
    head = text[: text.index("*/")]
    for part in (
        f"plants: TabularClassifier, 3 networks, float32; written by fastprop {fastprop.__version__}.",
        "   1: 7\n",
        "x[0]: 'x0', a number\n",
        "x[4]: 'x4', any number, which is not read\n",
        "NaN is a missing value.",
    ):
        assert part in head


MAIN = """
#include <stdio.h>
int main(void)
{
    %(in)s x[%(n)d];
    %(out)s out[%(width)d];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        model_%(function)s(x, out);
        if (fwrite(out, sizeof out, 1, stdout) != 1)
            return 1;
    }
    return 0;
}
"""


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_sanitizers_find_nothing(float_case, compiler, tmp_path, dtype):
    model, X = float_case
    function, expected = outputs_of(model, X)
    text = export.to_c(model, dtype=dtype)
    types = dict(zip(("in", "out"), re.search(rf"model_{function}\(const (\w+) \*x, (\w+) \*out\);", text).groups(), strict=True))
    main = MAIN % {**types, "n": X.shape[1], "width": expected.shape[1], "function": function}
    (tmp_path / "main.c").write_text(text + main)
    flags = (
        "-std=c99 -Wall -Wextra -pedantic -Werror -g -O1 -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"
    )
    subprocess.run([compiler, *flags.split(), "-o", "main", "main.c", "-lm"], cwd=tmp_path, check=True)
    numpy = {"float": np.float32, "double": np.float64}
    wild = np.full((6, X.shape[1]), [[np.nan], [np.inf], [-np.inf], [1e38], [-1e38], [0]])
    data = np.concatenate([X, wild]).astype(numpy[types["in"]])
    result = subprocess.run([tmp_path / "main"], input=data.tobytes(), capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    got = np.frombuffer(result.stdout, numpy[types["out"]]).reshape(len(data), -1)
    if dtype == "float32":
        assert_close(got[: len(X)], expected)

"""Python files: they need NumPy alone, and compute what predict and predict_proba give."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastprop import TabularClassifier, TabularRegressor, export

FRAMES = runpy.run_path(str(Path(__file__).parents[1] / "frames.py"))
frame, columns, pandas = (FRAMES[name] for name in ("frame", "columns", "pandas"))


def module_of(model, tmp_path):
    path = tmp_path / "exported.py"
    text = export.to_numpy(model, path=path)
    assert path.read_text() == text
    return runpy.run_path(str(path))


def assert_same(got, expected):
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
        return
    size = np.ptp(expected, axis=0)
    bound = 1e-5 if expected.dtype == np.float32 else 1e-6
    np.testing.assert_array_less(np.abs(got - expected) / np.where(size > 0, size, 1), bound)


def test_outputs_and_decisions(case, tmp_path):
    model, X = case
    made = module_of(model, tmp_path)
    assert_same(made["predict"](X), model.predict(X))
    assert hasattr(model, "predict_proba") == ("predict_proba" in made)
    if hasattr(model, "predict_proba"):
        assert_same(made["predict_proba"](X), model.predict_proba(X))


@pytest.mark.parametrize(
    "name", ["gelu in float64", "tanh in float64", "selu in float64", "mish in float64", "softplus in float64"]
)
def test_float64_is_float64(make_case, tmp_path, name):
    model, X = make_case(name)
    made = module_of(model, tmp_path)
    np.testing.assert_allclose(made["predict_proba"](X), model.predict_proba(X), rtol=1e-12)
    np.testing.assert_allclose(made["predict_proba"](3000 * X), model.predict_proba(3000 * X), rtol=1e-9, atol=1e-300)


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fastprop", "sklearn", "scipy", "pandas"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import numpy as np
import exported

for file in sys.argv[1:]:
    X = np.load(f"{file}.npy")
    np.save(f"{file}-out.npy", exported.predict(X))
assert not {"fastprop", "sklearn", "scipy"} & set(sys.modules)
"""


def test_it_needs_numpy_alone(make_case, tmp_path):
    model, X = make_case("table: two outputs")
    export.to_numpy(model, path=tmp_path / "exported.py")
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "run.py").write_text(BLOCKED)
    command = [sys.executable, "-W", "error", "run.py", "X"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert_same(np.load(tmp_path / "X-out.npy"), model.predict(X))


def tabular(frame, make=TabularRegressor):
    y = np.arange(60) % 7 - np.arange(60) % 3
    y = y if make is TabularRegressor else y > 1
    return make(n_members=2, n_bins=4, max_iter=2, hidden_layer_sizes=(8,), min_frequency=3, random_state=0).fit(frame, y)


def test_frames_of_every_library(frame, tmp_path):
    model = tabular(frame)
    assert_same(module_of(model, tmp_path)["predict"](frame), model.predict(frame))


def test_columns_by_name(pandas, columns, tmp_path):
    """A dict, a frame with its columns in another order, and categories that are new."""
    numbers = ["age", "rooms", "garden", "city", "street"]
    frame = pandas.DataFrame({name: columns[name] for name in numbers})
    model = tabular(frame, TabularClassifier)
    made = module_of(model, tmp_path)
    frame.loc[3:9, "city"], frame.loc[9:12, "street"], frame.loc[20:22, "age"] = "Lima", None, np.nan
    expected = model.predict_proba(frame)
    for X in (frame, frame[numbers[::-1]], {name: frame[name].to_numpy() for name in numbers}, frame.to_dict("list")):
        assert_same(made["predict_proba"](X), expected)
    rows = frame.to_numpy(dtype=object)
    for X in (rows, rows.tolist()):
        assert_same(made["predict_proba"](X), expected)


def test_rows_of_numbers_in_other_forms(make_case, tmp_path):
    model, X = make_case("scaler")
    made = module_of(model, tmp_path)
    X = np.round(X)
    assert_same(made["predict_proba"](X.astype(int)), model.predict_proba(X.astype(int)))
    assert_same(made["predict_proba"](X.tolist()), model.predict_proba(X.astype(np.float64)))
    by_name = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    assert_same(made["predict_proba"](by_name), model.predict_proba(X))


def test_errors(make_case, tmp_path):
    model, X = make_case("relu")
    made = module_of(model, tmp_path)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 6\); got \(60, 5\)"):
        made["predict"](X[:, :5])
    with pytest.raises(ValueError, match="X must be finite"):
        made["predict"](np.where(X > 1, np.nan, X))


def test_size(make_case):
    """Four thirds of the bytes of the weights, beside the functions."""
    small, large = make_case("no hidden layer")[0], make_case("three hidden layers")[0]
    functions = len(export.to_numpy(small))
    assert functions < 10_000
    assert abs(len(export.to_numpy(large)) - functions) < 2000

"""X and y of other kinds: tensors under scikit-learn's array API setting, and frames with columns that are no numbers."""

import contextlib
import warnings

import numpy as np
import pytest
import sklearn

from fastprop import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

X = np.random.default_rng(0).normal(size=(12, 3))
Y = (X[:, 0] > 0).astype(int)
FEW = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


class Tensor:
    """What of a tensor matters here; ``problem`` is what its library raises where it cannot give a NumPy array."""

    __array_namespace__ = __dlpack__ = __dlpack_device__ = None

    def __init__(self, values, problem=None):
        self.values, self.problem, self.shape = values, problem, values.shape

    def __array__(self, dtype=None, copy=None):
        if self.problem:
            raise self.problem
        return np.array(self.values, dtype)


@pytest.fixture(params=["a tensor", "torch"])
def tensor(request):
    if request.param == "a tensor":
        return Tensor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch").tensor


@pytest.fixture(params=[False, True], ids=["", "array_api_dispatch"])
def _dispatch(request, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(sklearn.config_context(array_api_dispatch=request.param))
        except (ImportError, RuntimeError) as error:  # an old SciPy
            pytest.skip(str(error))
        yield


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.parametrize("estimator", [MLPClassifier(**FEW), MLPRegressor(**FEW)], ids=repr)
def test_tensors_are_converted(estimator, tensor):
    weight = np.arange(1.0, 13)
    expected = estimator.fit(X, Y, weight).predict(X)
    ours = estimator.fit(tensor(X), tensor(Y), tensor(weight)).predict(tensor(X))
    assert type(ours) is np.ndarray
    np.testing.assert_array_equal(ours, expected)
    options = {"classes": tensor(np.arange(2))} if hasattr(estimator, "classes_") else {}
    estimator.partial_fit(tensor(X), tensor(Y), **options)
    if tensor is not Tensor:
        assert estimator.score(tensor(X), tensor(Y)) == estimator.score(X, Y)


@pytest.mark.usefixtures("_dispatch")
def test_a_tensor_that_cannot_be_converted_is_named():
    elsewhere = Tensor(X, TypeError("can't convert cuda:0 device type tensor to numpy"))
    estimator = MLPClassifier(**FEW)
    for name, arguments in [("X", (elsewhere, Y)), ("y", (X, elsewhere)), ("sample_weight", (X, Y, elsewhere))]:
        with pytest.raises(TypeError, match=f"^{name} cannot be converted to a NumPy array: can't convert cuda:0 device"):
            estimator.fit(*arguments)
    assert not hasattr(estimator, "n_features_in_")
    with pytest.raises(TypeError, match=r"^X cannot be converted"):
        estimator.fit(X, Y).predict(elsewhere)


def test_a_column_that_is_no_number_is_named():
    pd = pytest.importorskip("pandas")
    good = pd.DataFrame(X, columns=["a", "b", "c"])
    fitted = MLPClassifier(**FEW).fit(good, Y)
    for values, error, words in [
        (pd.date_range("2020", periods=12), TypeError, "of dtype datetime64.* has .*2020-01-01"),
        (pd.date_range("2020", periods=12, tz="UTC"), TypeError, "of dtype datetime64.* has Timestamp"),
        (pd.date_range("2020", periods=12).as_unit("ns"), TypeError, "of dtype datetime64.* has .*2020-01-01"),
        (pd.to_timedelta(np.arange(12), unit="D"), TypeError, "of dtype timedelta64"),
        (pd.Categorical(["u", "v"] * 6), ValueError, "of dtype category has 'u'"),
        ([1.5, None, 2, "u"] * 3, ValueError, "of dtype object has 'u'"),
        ([1.5, None, 2, pd.NA] * 3, TypeError, "of dtype object has <NA>"),
        (X[:, 0] * 1j, ValueError, "of dtype complex128 has "),
    ]:
        for frame in (good.assign(b=values), good.assign(b=values)[["b"]]):
            with pytest.raises(error, match=f"^X must hold numbers; its column 'b' {words}"):
                fitted.fit(frame, Y)
        with pytest.raises(error, match="column 'b'"):
            fitted.predict(good.assign(b=values))
        assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="NaN"):
        fitted.fit(good.assign(d=pd.array([1, None] * 6, dtype="Int64")), Y)
    fitted.predict(good)
    with pytest.raises(TypeError, match=r"^X must hold numbers; got dtype datetime64"):
        fitted.fit(X.astype("datetime64[s]"), Y)


def test_columns_of_polars():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": X[:, 0], "b": pl.Series(["u", "v"] * 6, dtype=pl.Categorical)})
    with pytest.raises(ValueError, match="column 'b' of dtype Categorical has 'u'"):
        MLPRegressor(**FEW).fit(frame, Y)


@pytest.mark.parametrize("sizes", [(8.0,), np.array([8.0]), 2 * [[3]], ("8",), (True,), np.array(8)], ids=repr)
def test_hidden_layer_sizes_that_are_no_integers(sizes):
    estimator = MLPRegressor(**FEW | {"hidden_layer_sizes": sizes})
    with pytest.raises(TypeError, match=r"^hidden_layer_sizes must be integers, got "):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "n_features_in_")

"""TabularEncoder: its features against a plain computation, their names, and what it does with categories and gaps."""

import datetime as dt
import pickle
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop.preprocessing import TabularEncoder


def midpoint(distinct, place):
    """Halfway between the two neighbours, of sorted numbers, that have a place between them."""
    return next((a + b) / 2 for a, b in pairwise(distinct) if place <= b)


def number_of(value):
    """A cell as a float."""
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=value.tzinfo or dt.UTC).timestamp()
    if isinstance(value, dt.date):
        return number_of(dt.datetime(value.year, value.month, value.day))
    return np.nan if value is None else float(value)


def numeric_features(train, values, n_bins=16):
    """The recipe, number by number: a list of features."""
    train = np.array([number_of(v) for v in train])
    known = train[~np.isnan(train)]
    median, scale = np.median(known), np.quantile(known, 0.75) - np.quantile(known, 0.25)
    near = [np.quantile(known, i / n_bins) for i in range(1, n_bins)]
    near += [np.quantile(np.unique(known), i / (n_bins // 2)) for i in range(1, n_bins // 2)]
    edges = sorted({known.min(), known.max(), *(midpoint(np.unique(known), place) for place in near)})
    rows = []
    for value in map(number_of, values):
        x = median if np.isnan(value) else value
        z = (x - median) / (scale or (known.max() - known.min()) / 2)
        bins = [np.clip((x - a) / (b - a), 0, 1) - 0.5 for a, b in pairwise(edges)]
        rows.append([z / np.sqrt(1 + (z / 3) ** 2), *bins, *([float(np.isnan(value))] if np.isnan(train).any() else [])])
    return np.array(rows).T


def categorical_features(train, values, min_frequency=10):
    known = [value for value in train if value is not None]
    frequent = sorted(value for value in set(known) if known.count(value) >= min_frequency)
    features = [[value == category for value in values] for category in frequent]
    if len(frequent) < len(set(known)):
        features.append([value is not None and value not in frequent for value in values])
    if len(known) < len(train):
        features.append([value is None for value in values])
    features = np.array(features, dtype=float)
    return (features[1:] - features[:1]) / 2 if len(features) == 2 else features


def expected(columns, chosen=slice(None)):
    """All features of the table in conftest.py."""
    features = []
    for values in columns.values():
        if isinstance(next((v for v in values if v is not None), ""), str | bool):
            if set(values) != {None}:
                features += [*categorical_features(values, values[chosen])]
        else:
            features += [*numeric_features(values, values[chosen])]
    return np.array(features).T


def test_features_of_a_frame(frame, columns):
    encoder = TabularEncoder(dtype=np.float64)
    features = encoder.fit_transform(frame)
    np.testing.assert_allclose(features, expected(columns), rtol=1e-9, atol=1e-9)
    assert features.dtype == np.float64
    assert len(encoder.get_feature_names_out()) == features.shape[1]
    assert encoder.feature_names_in_.tolist() == list(columns)
    assert encoder.n_features_in_ == len(columns)
    assert [name for name, flag in zip(columns, encoder.is_categorical_, strict=True) if flag][:4] == [
        "garden",
        "lift",
        "city",
        "street",
    ]


def test_one_frame_is_like_another(frame, columns, pandas):
    encoder = TabularEncoder().fit(pandas.DataFrame(columns))
    features = encoder.transform(frame)
    np.testing.assert_array_equal(features, TabularEncoder().fit_transform(frame))
    np.testing.assert_allclose(features, expected(columns), rtol=0, atol=3e-6)
    assert features.dtype == np.float32


@pytest.mark.parametrize("n_bins", [1, 2, 5, 16, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers(n_bins, dtype):
    rng = np.random.default_rng(n_bins)
    X = np.stack([rng.normal(size=300), rng.poisson(1, 300), np.where(rng.random(300) < 0.9, 0, rng.random(300))], axis=1)
    X[::11, 1] = np.nan
    other = np.concatenate([X * 1.3 - 0.2, [[np.nan, np.nan, np.nan]]])
    features = TabularEncoder(n_bins=n_bins, dtype=dtype).fit(X).transform(other)
    wanted = [numeric_features(a, b, n_bins) for a, b in zip(X.T, other.T, strict=True)]
    np.testing.assert_allclose(features, np.concatenate(wanted).T, atol=2e-5 if dtype == np.float32 else 1e-9)


def test_scaled_numbers_alone():
    X = np.random.default_rng(0).normal(size=(50, 2))
    encoder = TabularEncoder(numeric_encoding="standard", dtype=np.float64).fit(X)
    np.testing.assert_allclose(encoder.transform(X)[:, 1], numeric_features(X[:, 1], X[:, 1])[0], rtol=1e-12)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1"]


def test_categories():
    """Frequent, rare, unseen and missing ones."""
    train = ["b"] * 4 + ["a"] * 3 + ["rare", "odd", None]
    encoder = TabularEncoder(categorical_features=[0], min_frequency=3).fit(np.array(train, dtype=object)[:, None])
    assert encoder.get_feature_names_out().tolist() == ["x0_a", "x0_b", "x0_infrequent", "x0_missing"]
    some = np.array([["a"], ["b"], ["odd"], ["new"], [None], [np.nan]], dtype=object)
    assert encoder.transform(some).tolist() == np.eye(4)[[0, 1, 2, 2, 3, 3]].tolist()


def test_categories_without_rare_ones_and_gaps():
    encoder = TabularEncoder(categorical_features=[0], min_frequency=1).fit([["a"], ["b"], ["c"]])
    assert encoder.transform(np.array([["b"], ["new"], [None]], dtype=object)).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("train", "name", "values"),
    [
        (["a", "a", "b", "b"], "x0_b", {"a": -0.5, "b": 0.5, "new": 0, None: 0}),
        (["a", "a", "b", "c"], "x0_infrequent", {"a": -0.5, "b": 0.5, "new": 0.5, None: 0}),
        (["a", "a", None, None], "x0_missing", {"a": -0.5, "b": 0, None: 0.5}),
    ],
)
def test_two_categories_are_one_feature(train, name, values):
    encoder = TabularEncoder(categorical_features=[0], min_frequency=2).fit(np.array(train, dtype=object)[:, None])
    assert encoder.get_feature_names_out().tolist() == [name]
    assert encoder.transform(np.array([*values], dtype=object)[:, None]).ravel().tolist() == [*values.values()]


def test_columns_in_which_all_rows_are_alike(make_frame):
    columns = {"one": [3.0] * 4, "gaps": [None, 2.0, 2.0, 2.0], "same": ["a"] * 4, "none": [None] * 4, "x": [1, 2, 3, 4]}
    encoder = TabularEncoder(numeric_encoding="standard").fit(make_frame(columns))
    assert encoder.get_feature_names_out().tolist() == ["gaps_missing", "x"]
    later = {"one": [4.0], "gaps": [7.0], "same": ["b"], "none": ["anything"], "x": [1]}
    assert encoder.transform(make_frame(later)).tolist() == [[0, pytest.approx(-0.9487, abs=1e-4)]]


def test_no_feature_is_left():
    features = TabularEncoder().fit_transform(np.ones((3, 2)))
    assert features.shape == (3, 0)


@pytest.mark.parametrize(
    "values",
    [[2**53, 2**53 + 1, 2**53 + 2], [2**63, 2**64 - 1, 1], [True, False, None], [0.5, np.nan, -0.0], [Decimal(1), 2, 3.0]],
    ids=str,
)
def test_numbers_as_categories(values):
    """Large ones are not rounded."""
    X = np.array(values * 2, dtype=object)[:, None]
    for given in (X, np.array(values * 2)[:, None]):
        encoder = TabularEncoder(categorical_features=[True], min_frequency=1).fit(given)
        features = encoder.transform(given)
        np.testing.assert_array_equal(features[:3], features[3:])
        assert len(np.unique(features, axis=0)) == 3


def test_categories_that_are_no_strings(pandas):
    """Intervals, periods and others by what `str` makes of them."""
    x = pandas.Series(np.arange(30.0))
    for values, name in ((pandas.cut(x, 3), "x_(-0.029, 9.667]"), (pandas.period_range("2020", periods=30, freq="Y"), "x_2020")):
        encoder = TabularEncoder(min_frequency=1).fit(pandas.DataFrame({"x": values}))
        assert encoder.get_feature_names_out()[0] == name


def test_names(make_frame):
    columns = {"age": [1, 2, 3, None], "city": ["Paris", "Rome", "Oslo", "Rome"]}
    encoder = TabularEncoder(n_bins=2, min_frequency=2).fit(make_frame(columns))
    assert encoder.get_feature_names_out().tolist() == ["age", "age_bin0", "age_bin1", "age_missing", "city_infrequent"]
    encoder.set_params(min_frequency=1).fit(make_frame(columns))
    assert encoder.get_feature_names_out(["age", "city"])[4:].tolist() == ["city_Oslo", "city_Paris", "city_Rome"]
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        encoder.get_feature_names_out(["a", "b"])


def test_names_are_unique(make_frame):
    columns = {"a": ["missing", "missing", "b", None], "a_missing": ["c", "d", None, None]}
    encoder = TabularEncoder(min_frequency=1).fit(make_frame(columns))
    assert encoder.get_feature_names_out().tolist() == [
        "a_b",
        "a_missing",
        "a_missing_",
        "a_missing_c",
        "a_missing_d",
        "a_missing_missing",
    ]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_as_output(library, make_frame, columns):
    pytest.importorskip(library)
    frame = make_frame({name: columns[name] for name in ("rooms", "city")})
    encoder = TabularEncoder().set_output(transform=library)
    features = encoder.fit_transform(frame)
    assert type(features).__module__.startswith(library)
    assert list(features.columns) == encoder.get_feature_names_out().tolist()
    np.testing.assert_array_equal(features.to_numpy(), encoder.encode(frame).toarray())


def test_quantiles_of_large_data_are_those_of_some_rows():
    X = np.random.default_rng(0).normal(size=(400_000, 1))
    X[7] = 1e3
    X[X[:, 0] < -3] = np.nan
    encoder = TabularEncoder(n_bins=4).fit(X)
    scaled, bins, _ = encoder.columns_
    known = X[~np.isnan(X)]
    assert scaled.median == pytest.approx(np.median(known), abs=0.01)
    np.testing.assert_allclose(bins.edges[1:-1], np.quantile(known, [0.25, 0.5, 0.75]), atol=0.01)
    assert bins.edges[[0, -1]].tolist() == [known.min(), 1e3]
    np.testing.assert_array_equal(TabularEncoder(n_bins=4).fit(X).transform(X[:9]), encoder.transform(X[:9]))
    assert len(pickle.dumps(encoder)) < 3000


def test_copies(make_frame, columns):
    frame = make_frame({name: values for name, values in columns.items() if name != "price"})
    encoder = TabularEncoder(n_bins=4, categorical_features=["age", "city", "street"]).fit(frame)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(frame), encoder.transform(frame))
    fresh = clone(encoder)
    assert fresh.get_params() == encoder.get_params()
    assert repr(fresh) == "TabularEncoder(categorical_features=['age', 'city', 'street'], n_bins=4)"
    with pytest.raises(NotFittedError):
        fresh.transform(frame)


def test_a_second_fit_forgets_the_first(make_frame, columns):
    encoder = TabularEncoder().fit(make_frame({"age": columns["age"]}))
    X = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_array_equal(encoder.fit(X).transform(X), TabularEncoder().fit_transform(X))
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.n_features_in_ == 3


def test_in_a_pipeline(make_frame, columns):
    frame = make_frame({name: columns[name] for name in ("age", "street")})
    features = make_pipeline(TabularEncoder(), StandardScaler()).fit_transform(frame)
    assert np.isfinite(features).all()


def test_compact_form(frame):
    """It has one number for a column's bins, and one for its categories."""
    encoder = TabularEncoder().fit(frame)
    rows = encoder.encode(frame)
    assert rows.x.shape == (len(rows), len(encoder.columns_))
    assert rows.x.flags.c_contiguous
    assert rows.x.dtype == np.float32
    assert rows.shape[1] > 3 * rows.x.shape[1]
    np.testing.assert_array_equal(rows.toarray(), encoder.transform(frame))

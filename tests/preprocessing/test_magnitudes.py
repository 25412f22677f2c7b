"""Numbers of any size, the largest and the smallest of float64 among them, become finite features, without a warning."""

import numpy as np
import pytest

from fastprop.kernels.spec import ENCODINGS
from fastprop.preprocessing import TabularEncoder
from fastprop.preprocessing.numbers import quantiles

N = 200
MAX, SMALLEST = np.finfo(np.float64).max, 5e-324
rng = np.random.default_rng(0)
COLUMNS = {
    "small": 1e-9 * rng.normal(size=N),
    "large": 1e9 * rng.normal(size=N),
    "outlier": np.append(rng.normal(size=N - 1), 1e6),
    "beyond float32": 1e200 * rng.normal(size=N),
    "largest": rng.choice([MAX, -MAX, 0, 1], N),
    "one largest": np.append(np.full(N - 1, MAX), -MAX),
    "smallest": SMALLEST * rng.integers(0, 5, N),
    "one smallest": np.append(np.zeros(N - 1), SMALLEST),
    "subnormal": 1e-310 * rng.normal(size=N),
    "all magnitudes": 10 ** rng.uniform(-300, 300, N),
    "neighbours": rng.choice([1, np.nextafter(1, 2)], N),
    "small beside its mean": 1e9 + 1e-6 * rng.normal(size=N),
    "beyond 2^53": rng.integers(2**60, 2**63 - 1, N),
    "rare": np.append(np.zeros(N - 1), 1),
    "zeros of both signs": rng.choice([0.0, -0.0], N),
    "gaps": np.where(rng.random(N) < 0.5, np.nan, rng.normal(size=N)),
    "all missing": np.full(N, np.nan),
    "long double": rng.normal(size=N).astype(np.longdouble),
}
LATER = np.array([0, 1, -1, 0.5, MAX, -MAX, SMALLEST, -SMALLEST, 1e-310, 1e9, 1e300, -1e300, np.nan])
CONSTANT = {"zeros of both signs", "all missing"}


def check(rows):
    wide = rows.toarray()
    assert np.isfinite(wide).all()
    assert np.abs(wide).max(initial=0) <= 3
    for (kind, _, n), x in zip(rows.columns.tolist(), rows.x.T, strict=True):
        if kind == ENCODINGS["piecewise_linear"]:
            assert 0 <= x.min() <= x.max() <= n


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", COLUMNS)
def test_any_magnitude(name, dtype):
    X = COLUMNS[name][:, None]
    for n_bins in (1, 2, 16, 300):
        encoder = TabularEncoder(n_bins=n_bins, dtype=dtype).fit(X)
        assert bool(encoder.columns_) == (name not in CONSTANT)
        check(encoder.encode(X))
        check(encoder.encode(LATER[:, None]))


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in CONSTANT])
def test_features_follow_the_order_of_numbers(name):
    x = np.sort(COLUMNS[name])
    x = x[~np.isnan(x)]
    encoder = TabularEncoder(dtype=np.float64).fit(x[:, None])
    compact = encoder.encode(x[:, None]).x
    assert (np.diff(compact, axis=0) >= 0).all()
    # The ends are apart.
    assert compact[0, 1] == 0
    assert compact[-1, 1] == encoder.columns_[1].n


def test_all_columns_together():
    X = np.array([column.astype(np.float64) for column in COLUMNS.values()]).T
    encoder = TabularEncoder().fit(X)
    check(encoder.encode(X))
    check(encoder.encode(np.repeat(LATER[:, None], X.shape[1], axis=1)))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows(n):
    X = np.array([column[-n:].astype(np.float64) for column in COLUMNS.values()]).T
    check(TabularEncoder().fit(X).encode(X))


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_quantiles(n):
    x = np.sort(rng.normal(size=n))
    q = np.linspace(0, 1, 17)
    np.testing.assert_allclose(quantiles(x, q), np.quantile(x, q), rtol=1e-12)
    # Between equal numbers there is no other, or edges of no width would stay.
    assert set(quantiles(np.full(n, 0.1), q)) == {0.1}

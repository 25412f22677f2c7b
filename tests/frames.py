"""One table of every kind of column, as a frame of every library: fixtures of the conftest.py of more than one folder."""

import datetime as dt
from decimal import Decimal

import pytest
from sklearn.preprocessing import StandardScaler

N = 60
ZONE = dt.timezone(dt.timedelta(hours=2))


def gaps(values, every):
    return [None if i % every == 1 else value for i, value in enumerate(values)]


COLUMNS = {
    "age": [float(i * i % 37) for i in range(N)],
    "rooms": gaps([i % 5 for i in range(N)], 6),
    "garden": [i % 3 == 0 for i in range(N)],
    "lift": gaps([i % 4 == 0 for i in range(N)], 7),
    "city": [("Rome", "Oslo", "Paris")[i % 3] for i in range(N)],
    "street": gaps(["abc"[i * i % 7 % 3] for i in range(N)], 9),
    "built": [dt.datetime(2020, 1, 1, 6) + dt.timedelta(days=i * i) for i in range(N)],
    "sold": gaps([dt.date(2021, 1, 1) + dt.timedelta(days=i) for i in range(N)], 10),
    "seen": gaps([dt.datetime(2022, 3, 1, tzinfo=ZONE) + dt.timedelta(hours=i) for i in range(N)], 8),
    "wait": gaps([dt.timedelta(seconds=i % 11) for i in range(N)], 13),
    "price": [Decimal(25 * i).scaleb(-2) for i in range(N)],
    "empty": [None] * N,
}
STRINGS = ["city", "street"]


def pandas_frame(pandas):
    return pandas.DataFrame(COLUMNS)


def pandas_objects(pandas):
    return pandas.DataFrame(COLUMNS, dtype=object)


def pandas_nullable(pandas):
    return pandas.DataFrame(COLUMNS).convert_dtypes()


def pandas_categories(pandas):
    return pandas.DataFrame(COLUMNS).astype(dict.fromkeys(STRINGS, "category"))


def pandas_arrow(pandas):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return pyarrow.table(COLUMNS).to_pandas(types_mapper=pandas.ArrowDtype)


def polars_frame(polars):
    return polars.DataFrame(COLUMNS)


def polars_categories(polars):
    enum = polars.Enum(["b", "Oslo", "a", "Paris", "Rome", "c"])
    frame = polars.DataFrame(COLUMNS)
    return frame.with_columns(polars.col("city").cast(polars.Categorical), polars.col("street").cast(enum))


def pyarrow_table(pyarrow):
    return pyarrow.table(COLUMNS)


def pyarrow_dictionaries(pyarrow):
    """In two parts, whose dictionaries differ."""
    table = pyarrow.table(COLUMNS)
    parts = []
    for part in (table.slice(0, 7), table.slice(7)):
        for name in STRINGS:
            part = part.set_column(part.column_names.index(name), name, part[name].combine_chunks().dictionary_encode())
        parts.append(part)
    return pyarrow.concat_tables(parts)


FRAMES = {
    "pandas": pandas_frame,
    "pandas-objects": pandas_objects,
    "pandas-nullable": pandas_nullable,
    "pandas-categories": pandas_categories,
    "pandas-arrow": pandas_arrow,
    "polars": polars_frame,
    "polars-categories": polars_categories,
    "pyarrow": pyarrow_table,
    "pyarrow-dictionaries": pyarrow_dictionaries,
}


def installed(library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    some = module.table({"a": [1.0]}) if library == "pyarrow" else module.DataFrame({"a": [1.0]})
    if not hasattr(StandardScaler().fit(some), "feature_names_in_"):
        pytest.skip(f"this scikit-learn is too old to see the names of {library} {module.__version__}")
    return module


@pytest.fixture(params=FRAMES)
def frame(request):
    """A frame with COLUMNS."""
    return FRAMES[request.param](installed(request.param.partition("-")[0]))


@pytest.fixture
def pandas():
    return installed("pandas")


@pytest.fixture(params=["pandas", "polars", "pyarrow"])
def make_frame(request):
    """make_frame(columns): a frame of a library."""
    module = installed(request.param)
    return module.table if request.param == "pyarrow" else module.DataFrame


@pytest.fixture(scope="session")
def columns():
    """COLUMNS, a dict of lists."""
    return COLUMNS

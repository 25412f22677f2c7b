"""The tables of bench_tabular.py: those that come with scikit-learn, those that are made here, and the user's own.

What is made here covers kinds of tables on which either trees or networks are known to do well; each has a fixed seed. pandas is
imported where it is used, so that names can be listed without it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

# Of a file, more rows are left out at random, so that a run ends; and classes with fewer rows, as each part needs some.
MOST_ROWS, FEWEST_ROWS_OF_CLASS = 10_000, 10
# Whole numbers with at most so many different values are classes.
MOST_CLASSES = 30
SUFFIXES = (".csv", ".parquet")
TARGET = "target"


class Problem(NamedTuple):
    """A table: columns x0, x1, ... of float64 or category, and targets that are classes 0, 1, ... or numbers."""

    name: str
    is_classification: bool
    X: Any
    y: np.ndarray


def problem_named(name, folder=None):
    """The `Problem` of a name in `TABLES`, or of a file in a folder."""
    if folder is not None:
        return read_problem(Path(folder, name))
    is_classification, make = TABLES[name]
    return _problem(name, is_classification, *make(np.random.default_rng(0)))


def files_in(folder):
    """The names of the tables in a folder.

    Raises
    ------
    ValueError
        If there are none.
    """
    names = sorted(path.name for path in Path(folder).glob("*") if path.suffix in SUFFIXES)
    if not names:
        raise ValueError(f"--tables must name a folder with .csv or .parquet files; there are none in {folder}")
    return names


def read_problem(path):
    """A file: the column ``target``, or else the last one, is what to predict; rows without it are left out."""
    import pandas as pd

    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    if frame.shape[1] < 2:
        raise ValueError(f"{path.name} must have at least two columns; it has {frame.shape[1]}")
    target = TARGET if TARGET in frame.columns else frame.columns[-1]
    frame = frame[frame[target].notna()]
    frame = frame.sample(min(len(frame), MOST_ROWS), random_state=0)
    y, is_classification = frame.pop(target), False
    if not pd.api.types.is_float_dtype(y) or (y == y.round()).all():
        is_classification = not pd.api.types.is_numeric_dtype(y) or y.nunique() <= MOST_CLASSES
    if is_classification:
        is_kept = y.map(y.value_counts()).to_numpy() >= FEWEST_ROWS_OF_CLASS
        frame, y = frame[is_kept], np.unique(y[is_kept].astype(str), return_inverse=True)[1]
        if len(np.unique(y)) < 2:
            raise ValueError(f"{path.name} must have two classes with at least {FEWEST_ROWS_OF_CLASS} rows in column {target!r}")
    return _problem(path.name, is_classification, frame, y)


def _problem(name, is_classification, X, y):
    import pandas as pd

    X = pd.DataFrame(X).reset_index(drop=True)
    X.columns = [f"x{i}" for i in range(X.shape[1])]  # LightGBM refuses some names
    columns = {column: _column(X[column]) for column in X}
    return Problem(name, is_classification, pd.DataFrame(columns), np.asarray(y, np.intp if is_classification else np.float64))


def _column(column):
    """Numbers and dates as float64, everything else as categories, which every contender can be given."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return (column - column.min()).dt.total_seconds()
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.astype(np.float64)
    return column.astype(object).where(column.notna(), None).map(str, na_action="ignore").astype("category")


def _shipped(load):
    return lambda rng: load(return_X_y=True)


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _with_gaps(x, share, rng):
    return np.where(rng.random(len(x)) < share, np.nan, x)


def friedman(rng):
    """Smooth, with an interaction (Friedman, *Multivariate Adaptive Regression Splines*, 1991), half of the columns irrelevant."""
    X = rng.random((4000, 10))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return X, y + rng.normal(0, 1, len(X))


def steps(rng):
    """What trees are made for: thresholds on 6 columns of very different scales, two at a time, and 19 irrelevant columns."""
    X = rng.lognormal(0, 1.5, (5000, 25)) * 10.0 ** rng.integers(-3, 4, 25)
    ranks = X.argsort(axis=0).argsort(axis=0) / len(X)
    z = np.zeros(len(X))
    for _ in range(15):
        (a, b), (s, t) = rng.choice(6, 2, replace=False), rng.uniform(0.2, 0.8, 2)
        z += rng.normal() * (ranks[:, a] > s) * (ranks[:, b] > t)
    return X, rng.random(len(X)) < _sigmoid(4 * (z - np.median(z)))


def categories(rng):
    """300 places and 40 occupations with unequal shares, some without a name; numbers with gaps that say something too."""
    n = 8000
    place, job = (rng.choice(k, n, p=(p := 1 / np.arange(3, k + 3)) / p.sum()) for k in (300, 40))
    age, hours = rng.gamma(6, 7, n), rng.normal(38, 9, n)
    is_private = rng.random(n) < 0.3
    z = rng.normal(0, 1, 300)[place] + rng.normal(0, 1, 40)[job] - ((age - 45) / 20) ** 2 + (hours > 40) + 0.8 * is_private
    columns = {
        "place": np.where(rng.random(n) < 0.05, None, np.char.add("place ", place.astype(str))),
        "job": np.char.add("job ", job.astype(str)),
        "age": _with_gaps(age, 0.08, rng),
        "hours": np.where(is_private & (rng.random(n) < 0.6), np.nan, hours),
    }
    return columns, rng.random(n) < _sigmoid(z - 0.8)


def grades(rng):
    """Ordered classes, five grades of unequal shares, from six marks on scales of 5 to 10 and four measurements."""
    n = 4000
    quality = rng.normal(0, 1, (n, 2))
    marks = [
        np.clip(np.round(k / 2 + k / 5 * (quality @ rng.normal(0, 0.8, 2) + rng.normal(0, 0.7, n))), 1, k) for k in range(5, 11)
    ]
    measured = np.exp(quality @ rng.normal(0, 0.5, (2, 4)) + rng.normal(0, 0.4, (n, 4)))
    y = quality[:, 0] + 0.6 * np.abs(quality[:, 1]) + rng.normal(0, 0.4, n)
    return np.column_stack([*marks, measured]), np.digitize(y, np.quantile(y, [0.06, 0.3, 0.7, 0.94]))


def imbalanced(rng):
    """4 % of the rows are positive, by a curved boundary in 5 of 15 columns that depend on one another."""
    X = rng.normal(0, 1, (6000, 15)) @ (np.eye(15) + rng.normal(0, 0.3, (15, 15)))
    z = X[:, 0] * X[:, 1] + X[:, 2] - 0.5 * X[:, 3] ** 2 + np.abs(X[:, 4])
    return X, z + rng.logistic(0, 0.5, len(X)) > np.quantile(z, 0.965)


def letters(rng):
    """26 classes, each of two clouds, in 16 whole numbers from 0 to 15."""
    n, y = 4000, np.arange(4000) % 26
    centres = rng.uniform(3, 12, (26, 2, 16))
    spreads = rng.uniform(0.8, 2.8, (26, 2, 16))
    which = rng.integers(0, 2, n)
    return np.clip(np.round(centres[y, which] + spreads[y, which] * rng.normal(0, 1, (n, 16))), 0, 15), y


def regions(rng):
    """A map: 60 areas with levels and slopes of their own on two coordinates, and three columns of which one matters."""
    n, n_areas = 8000, 60
    at, centres = rng.random((n, 2)), rng.random((n_areas, 2))
    area = ((at[:, None] - centres) ** 2).sum(2).argmin(1)
    level, slopes = rng.normal(0, 1, n_areas), rng.normal(0, 2, (n_areas, 2))
    others = rng.gamma(2, 1, (n, 3))
    y = level[area] + (slopes[area] * (at - centres[area])).sum(1) + 0.4 * np.log(others[:, 0]) + rng.normal(0, 0.3, n)
    return np.column_stack([116 + 8 * at[:, 0], 32 + 10 * at[:, 1], others]), y


def outliers(rng):
    """A linear function of 12 columns, of whose numbers one in a hundred was written with the point in the wrong place."""
    X = rng.normal(0, 1, (3000, 12)) * 10.0 ** rng.integers(-2, 3, 12)
    y = (X / X.std(axis=0)) @ rng.normal(0, 1, 12) + rng.normal(0, 0.5, len(X))
    return np.where(rng.random(X.shape) < 0.01, X * 1000, X), y


def prices(rng):
    """A mixed table with gaps, and a target with a long tail: sizes, years, districts, kinds."""
    n = 5000
    area, built = 60 * rng.lognormal(0, 0.5, n), rng.integers(1880, 2024, n).astype(float)
    district, kind = rng.integers(0, 80, n), rng.choice(["flat", "house", "loft"], n, p=[0.7, 0.25, 0.05])
    z = 0.9 * np.log(area) + rng.normal(0, 0.3, 80)[district] + 0.2 * (built < 1919) + 0.25 * (built > 1990) * (kind != "house")
    columns = {
        "area": _with_gaps(area, 0.03, rng),
        "built": _with_gaps(built, 0.15, rng),
        "district": np.char.add("district ", district.astype(str)),
        "kind": kind,
        "garden": rng.random(n) < 0.2,
    }
    return columns, 1000 * np.exp(z + 0.15 * columns["garden"] + rng.normal(0, 0.15, n))


# name -> (whether it is a classification, what makes X and y)
TABLES = {
    "breast cancer": (True, _shipped(datasets.load_breast_cancer)),
    "wine": (True, _shipped(datasets.load_wine)),
    "digits": (True, _shipped(datasets.load_digits)),
    "steps": (True, steps),
    "categories": (True, categories),
    "grades": (True, grades),
    "imbalanced": (True, imbalanced),
    "letters": (True, letters),
    "diabetes": (False, _shipped(datasets.load_diabetes)),
    "friedman": (False, friedman),
    "regions": (False, regions),
    "outliers": (False, outliers),
    "prices": (False, prices),
}

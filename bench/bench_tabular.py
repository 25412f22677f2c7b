"""Tables: how well TabularClassifier and TabularRegressor predict, and in how much time, against boosted trees and other networks.

Every contender learns three random splits of each table on one thread; with ``--tables FOLDER`` of each file in a folder. Seconds
are CPU seconds of `fit` and `predict`. Before they are timed, every contender has run once, and members of ours have been compared
with the reference back end.
"""

import pytest

from bench.conftest import REPLAY
from bench.tabular_contenders import TABLE_CONTENDERS
from bench.tabular_data import TABLES, files_in
from bench.tabular_trials import time_table

N_SPLITS, QUICK_SPLITS = 3, 1
QUICK_TABLES = ("breast cancer", "grades", "diabetes", "friedman")
# Peers that take minutes for a table.
SLOW = ("RealMLP-TD-S", "TabM")

pytestmark = pytest.mark.benchmark(timer=REPLAY.clock)


def pytest_generate_tests(metafunc):
    folder = metafunc.config.option.tables
    try:
        metafunc.parametrize("table", list(TABLES) if folder is None else files_in(folder))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def is_quick(table, contender):
    return (table not in TABLES or table in QUICK_TABLES) and contender not in SLOW


@pytest.mark.parametrize("contender", TABLE_CONTENDERS)
def bench_table(request, contest, arena, quick, table, contender):
    def hold(names, effort):
        return arena.run(1, time_table, table, request.config.option.tables, n_splits, names)

    n_splits = QUICK_SPLITS if quick else N_SPLITS
    # Splits differ: that their times do is no noise.
    facts = {"configuration": table, "dtype": "float32", "n_threads": 1, "noisy": False}
    contest(hold, contender, f"table {table}, CPU seconds of fit and predict, 1T", "tabular", **facts)

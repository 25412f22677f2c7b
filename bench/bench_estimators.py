"""Training an estimator: an epoch, and a fit to convergence, against scikit-learn, PyTorch, JAX, skorch.

Seconds are those of one epoch of `fit`, everything included that every epoch costs; losses are compared first. ``-m table`` is the
table of the seven configurations alone.
"""

from functools import partial

import pytest

from bench.conftest import REPLAY
from bench.contenders import CONTENDERS, ESTIMATORS, NN, TABLE
from bench.contest import Effort
from bench.training import time_convergence, time_epochs
from bench.workloads import CONFIGURATIONS, mnist_source

DTYPES = ["float32", "float64"]
DATA_SETS = ["digits data", "word counts", "MNIST data"]
OTHERS = [name for name in CONTENDERS if name not in (*TABLE, *NN)]
QUICK_CONFIGURATIONS = ("iris-like", "digits", "tabular-small")

pytestmark = pytest.mark.benchmark(timer=REPLAY.clock)


def is_quick(configuration=None, data=None, dtype=None, **_):
    return dtype == "float32" and (configuration in QUICK_CONFIGURATIONS or data == "digits data")


def _fit(contest, arena, configuration, dtype, n_threads, contender, others=""):
    facts = {"configuration": configuration, "flops": CONFIGURATIONS[configuration].flops, "dtype": dtype, "n_threads": n_threads}
    hold = partial(arena.run, n_threads, time_epochs, configuration, dtype, n_threads)
    effort = Effort(budget=1.0, max_rounds=3) if others else Effort()
    contest(hold, contender, f"fit {configuration}, an epoch, {dtype}, {n_threads}T{others}", "fit", effort=effort, **facts)


@pytest.mark.table
@pytest.mark.parametrize("contender", TABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def bench_fit_epoch(contest, arena, n_threads, configuration, dtype, contender):
    _fit(contest, arena, configuration, dtype, n_threads, contender)


@pytest.mark.long
@pytest.mark.parametrize("contender", ["fastprop", *OTHERS])
@pytest.mark.parametrize("dtype", ["float32"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def bench_fit_epoch_others(contest, arena, n_threads, configuration, dtype, contender):
    """skorch, and compiled PyTorch, which takes long to warm up."""
    if n_threads == 1:
        pytest.skip("only with as many threads as there are cores")
    _fit(contest, arena, configuration, dtype, n_threads, contender, others=", others")


def takes_part(contender, data):
    return data != "word counts" or CONTENDERS[contender].takes_sparse


@pytest.mark.parametrize("contender", TABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", DATA_SETS)
def bench_fit_data(contest, arena, n_threads, data, dtype, contender):
    """On real data; MNIST is synthetic where there is no file and no cache, and says so."""
    if not takes_part(contender, data):
        pytest.skip(f"{contender} does not take sparse X")
    if data == "MNIST data" and dtype == "float64":
        pytest.skip("MNIST is stored as float32")
    source = mnist_source() if data == "MNIST data" else data
    facts = {"configuration": data, "source": source, "dtype": dtype, "n_threads": n_threads}
    facts["takes_part"] = partial(takes_part, data=data)
    hold = partial(arena.run, n_threads, time_epochs, data, dtype, n_threads)
    contest(hold, contender, f"fit {source}, an epoch, {dtype}, {n_threads}T", "data", **facts)


@pytest.mark.long
@pytest.mark.parametrize("contender", ESTIMATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["digits data", "word counts"])
def bench_fit_to_convergence(contest, arena, n_threads, data, dtype, contender):
    """With scikit-learn's defaults until its stopping rule ends it."""
    facts = {"configuration": data, "dtype": dtype, "n_threads": n_threads}
    hold = partial(arena.run, n_threads, time_convergence, data, dtype, n_threads)
    contest(hold, contender, f"fit {data} to convergence, {dtype}, {n_threads}T", "convergence", **facts)

"""``predict_proba`` of one row to 100,000, in float32, against scikit-learn, onnxruntime and PyTorch."""

from functools import partial

import pytest

from bench.conftest import REPLAY
from bench.contest import Effort
from bench.predictors import NETS, PREDICTORS, time_predictions

N_ROWS = [1, 16, 100, 10_000, 100_000]
# A service that is asked now and then: its threads sleep in between.
PAUSE, N_ROWS_AFTER_A_PAUSE = 0.05, 100
# More operations than this in a call are left out: they would take longer than all others together.
MOST_FLOPS = 5e10

pytestmark = pytest.mark.benchmark(timer=REPLAY.clock)


def is_quick(net, n_rows, n_threads, **_):
    return net == "64-100-10" and n_rows in (1, 100, 10_000)


@pytest.mark.parametrize("contender", PREDICTORS)
@pytest.mark.parametrize("n_rows", N_ROWS)
@pytest.mark.parametrize("net", NETS)
def bench_predict(contest, arena, n_threads, net, n_rows, contender):
    flops = 2 * n_rows * NETS[net].n_weights
    if flops > MOST_FLOPS:
        pytest.skip("too long for what it tells beside 10,000 rows")
    group = f"predict_proba {net}, {n_rows} rows, {n_threads}T"
    facts = {"configuration": net, "n_rows": n_rows, "flops": flops, "dtype": "float32", "n_threads": n_threads}
    hold = partial(arena.run, n_threads, time_predictions, net, n_rows, n_threads)
    contest(hold, contender, group, "predict", effort=Effort(budget=1.0), **facts)


@pytest.mark.long
@pytest.mark.parametrize("contender", PREDICTORS)
@pytest.mark.parametrize("net", NETS)
def bench_predict_after_a_pause(contest, arena, n_threads, net, contender):
    n_rows = N_ROWS_AFTER_A_PAUSE
    group = f"predict_proba {net}, {n_rows} rows after a pause of {1e3 * PAUSE:.0f} ms, {n_threads}T"
    facts = {"configuration": net, "n_rows": n_rows, "pause": PAUSE, "dtype": "float32", "n_threads": n_threads}
    hold = partial(arena.run, n_threads, partial(time_predictions, pause=PAUSE), net, n_rows, n_threads)
    contest(hold, contender, group, "predict", effort=Effort(budget=5.0, max_rounds=15), **facts)

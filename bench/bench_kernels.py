"""Every kernel of every back end, instruction set, dtype and number of threads against the same function in plain NumPy.

A table is one kernel at one shape (n, n_in, n_out), dtype and number of threads; the row "reference" is NumPy, its BLAS with as
many threads. Each result is checked against float64 before it is timed.
"""

from functools import partial

import pytest
from threadpoolctl import threadpool_limits

from bench import calls
from bench.conftest import REPLAY
from bench.contest import Effort, take_turns_checked
from fastprop import kernels

SHAPES = [(1, 20, 100), (32, 100, 10), (200, 20, 100), (200, 784, 128), (512, 1024, 1024), (4096, 1024, 1024)]
QUICK_CASES = ("linear_forward", "linear_backward", "softmax_cross_entropy_forward", "adam_update")
BACKENDS = {" ".join(filter(None, pair)): pair for pair in kernels.available()}
ACTIVE_AND_REFERENCE = (next(iter(BACKENDS)), "reference")
# With more operations than this, only those two are timed: the others would take longer than all the rest.
LARGE = 2e9
EFFORT = Effort(sample=0.003, budget=0.3, min_rounds=3, max_rounds=9)

pytestmark = pytest.mark.benchmark(timer=REPLAY.clock)


def is_quick(case, shape, dtype, contender, **_):
    is_one = shape == (200, 784, 128) and case.__name__ in QUICK_CASES and dtype == "float32"
    return is_one and contender in ACTIVE_AND_REFERENCE


def takes_part(contender, flops):
    return flops <= LARGE or contender in ACTIVE_AND_REFERENCE


@pytest.mark.parametrize("contender", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("case", calls.CASES, ids=lambda case: case.__name__)
def bench_kernel(contest, case, shape, dtype, contender, n_threads):
    name, flops = case.__name__, calls.n_flops(case.__name__, *shape)
    if not takes_part(contender, flops):
        pytest.skip("too long for what it tells: only on the active back end and the reference")

    def hold(names, effort):
        with threadpool_limits(n_threads, user_api="blas"):
            return take_turns_checked({each: prepared(each) for each in names}, effort)

    def prepared(each):
        backend = kernels.load(*BACKENDS[each])
        given = calls.cast(calls.arguments_and_truth(case, shape)[0], dtype) | {"n_threads": n_threads}
        function = getattr(backend, name)
        return (lambda: calls.check(case, shape, dtype, backend, n_threads)), (lambda: function(**given))

    n_bytes = calls.n_bytes(calls.cast(calls.arguments_and_truth(case, shape)[0], dtype))
    facts = {"flops": flops, "n_bytes": n_bytes, "kernel": name, "shape": list(shape), "dtype": dtype, "n_threads": n_threads}
    facts |= {"effort": EFFORT, "takes_part": partial(takes_part, flops=flops)}
    contest(hold, contender, f"{name} {shape} {dtype} {n_threads}T", "kernel", **facts)

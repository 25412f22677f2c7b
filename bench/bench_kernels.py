"""Every kernel of every back end, instruction set, dtype and number of threads against the same function in plain NumPy.

A table is one kernel at one shape (n, n_in, n_out), dtype and number of threads; the row "reference" is NumPy, its BLAS with as
many threads. Each result is checked against float64 before it is timed.
"""

import pytest
from threadpoolctl import threadpool_limits

from bench import calls
from fastprop import kernels

SHAPES = [(1, 20, 100), (32, 100, 10), (200, 20, 100), (200, 784, 128), (512, 1024, 1024), (4096, 1024, 1024)]
QUICK_SHAPES, QUICK_CASES = [(200, 784, 128)], ("linear_forward", "linear_backward", "softmax_cross_entropy_forward", "adam_update")
BACKENDS = kernels.available()
# A product with more multiply-adds is timed on the active back end and the reference alone.
LARGE = 10**9

pytestmark = pytest.mark.benchmark(max_time=0.03, min_rounds=3, warmup=False, disable_gc=True)


def is_quick(case, shape, dtype, backend, **_):
    return shape in QUICK_SHAPES and case.__name__ in QUICK_CASES and dtype == "float32" and backend in (BACKENDS[0], BACKENDS[-1])


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda pair: "-".join(filter(None, pair)))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("case", calls.CASES, ids=lambda case: case.__name__)
def bench_kernel(benchmark, finish, case, shape, dtype, backend, n_threads):
    name, flops = case.__name__, calls.n_flops(case.__name__, *shape)
    if flops > 2 * LARGE and backend not in (BACKENDS[0], BACKENDS[-1]):
        pytest.skip("too long for what it tells: only on the active back end and the reference")
    with threadpool_limits(n_threads, user_api="blas"):
        loaded = kernels.load(*backend)
        calls.check(case, shape, dtype, loaded, n_threads)
        given = calls.cast(calls.arguments_and_truth(case, shape)[0], dtype) | {"n_threads": n_threads}
        benchmark.group = f"{name} {shape} {dtype} {n_threads}T"
        benchmark.name = " ".join(filter(None, backend))
        function = getattr(loaded, name)
        benchmark(lambda: function(**given))
    finish("kernel", benchmark.name, dtype, n_threads, flops, calls.n_bytes(given), kernel=name, shape=list(shape))

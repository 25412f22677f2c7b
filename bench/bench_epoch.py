"""An epoch: the compiled loop of `kernels.train_epoch` against the same loop over NumPy kernels, at the seven configurations."""

from functools import lru_cache, partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench.agreement import assert_agrees
from bench.conftest import REPLAY
from bench.contest import Effort, take_turns_checked
from bench.workloads import ALPHA, CONFIGURATIONS, initial_layers, random_data
from fastprop import kernels

BACKENDS = {" ".join(filter(None, pair)): pair for pair in kernels.available()}
ACTIVE_AND_REFERENCE = (next(iter(BACKENDS)), "reference")
# Of the parameters after an epoch, relative to the largest: up to 100 updates, each of which carries the errors of all before.
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}
# Of configurations with more operations, only those two are timed.
LARGE = 1e10
EFFORT = Effort(sample=0.02, budget=0.5, min_rounds=3, max_rounds=7)

pytestmark = pytest.mark.benchmark(timer=REPLAY.clock)


def is_quick(configuration, dtype, contender, **_):
    return configuration in ("iris-like", "digits") and dtype == "float32" and contender in ACTIVE_AND_REFERENCE


def problem(configuration, dtype):
    """Arguments of `train_epoch` at the start."""
    random_state = np.random.RandomState(0)
    link = "softmax" if configuration.n_classes > 2 else "sigmoid"
    layers = kernels.layer_table(configuration.sizes, "relu", link)
    params = np.concatenate([array.ravel() for layer in initial_layers(configuration, random_state) for array in layer])
    X, y = random_data(configuration, dtype)
    return {
        "x": X,
        "targets": y,
        "order": random_state.permutation(configuration.n_samples),
        "layers": layers,
        "params": params.astype(dtype),
        "state": np.zeros((2, len(params)), dtype),
        "loss": "softmax_cross_entropy" if configuration.n_classes > 2 else "binary_cross_entropy",
        "batch_size": configuration.batch_size,
        "alpha": ALPHA,
        # scikit-learn's 1e-8 makes of the rounding errors of gradients that are nearly zero full steps.
        "hyper": {"epsilon": 1e-3},
    }


@lru_cache(maxsize=2)
def truth(name):
    """(loss, params) after an epoch of the reference in float64."""
    given = problem(CONFIGURATIONS[name], "float64")
    return kernels.load("reference").train_epoch(**given), given["params"]


def takes_part(contender, flops):
    return flops <= LARGE or contender in ACTIVE_AND_REFERENCE


@pytest.mark.parametrize("contender", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def bench_epoch(contest, configuration, dtype, contender, n_threads):
    shape = CONFIGURATIONS[configuration]
    if not takes_part(contender, shape.flops):
        pytest.skip("too long for what it tells: only on the active back end and the reference")

    def hold(names, effort):
        with threadpool_limits(n_threads, user_api="blas"):
            return take_turns_checked({each: prepared(each) for each in names}, effort)

    def prepared(each):
        backend, given = kernels.load(*BACKENDS[each]), problem(shape, dtype) | {"n_threads": n_threads}
        return (lambda: check(backend, configuration, given)), (lambda: backend.train_epoch(**given))

    facts = {"configuration": configuration, "flops": shape.flops, "dtype": dtype, "n_threads": n_threads}
    facts |= {"effort": EFFORT, "takes_part": partial(takes_part, flops=shape.flops)}
    contest(hold, contender, f"train_epoch {configuration} {dtype} {n_threads}T", "epoch", **facts)


def check(backend, configuration, given):
    """An epoch from the start, which is done to what is given, ends where the reference's ends."""
    tolerance = TOLERANCE[given["x"].dtype.name]
    loss, (expected_loss, expected) = backend.train_epoch(**given), truth(configuration)
    assert abs(loss - expected_loss) <= tolerance * expected_loss
    assert_agrees(given["params"], expected, tolerance, kinks=True)

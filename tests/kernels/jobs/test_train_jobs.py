"""Many jobs in one call."""

from itertools import cycle

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels import spec

N_IN, N_OUT = 9, 3
FORMS = ["softmax labels", "quantile", "tweedie", "squared error", "poisson"]


@pytest.fixture
def different_jobs(problem, rng, dtype):
    """Makers of jobs that have nothing in common but the dtype."""
    programs = [
        kernels.LayerProgram(N_IN).linear(20).layer_norm().activation("gelu").dropout(0.3, 5, 6).linear(N_OUT).link("softmax"),
        kernels.LayerProgram(N_IN).linear(N_OUT).link("softmax"),
    ]
    problems = [
        problem(form, optimizer, n_epochs=1 + i)
        for i, (form, optimizer) in enumerate(zip(cycle(FORMS), spec.OPTIMIZERS, strict=False))
    ]
    problems.append(problem("softmax labels", "adam", sparse=True, validation="dense weighted", smoothing=0.1, exempt=True))
    problems.append(problem("softmax labels", "adamw", validation="dense"))
    problems[-1] |= {"ema_decay": 0.9, "average": np.full_like(problems[-1]["params"], np.nan)}
    for layers in programs:
        params = rng.standard_normal(kernels.n_parameters(layers)).astype(dtype)
        problems.append(problem("softmax labels", "rmsprop") | {"layers": layers, "params": params})
    return problems


@pytest.mark.parametrize("n_threads", [1, 2, 3, 20])
def test_many_jobs_have_the_bits_of_one_after_another(backend, job_of, bits, different_jobs, n_threads):
    alone, together = ([job_of(given) for given in different_jobs] for _ in range(2))
    for job in alone:
        backend.raw.train_epochs(job, 1)
    backend.raw.train_jobs(together, n_threads)
    for i, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert bits(one) == bits(other), i
        assert not np.array_equal(one.params, different_jobs[i]["params"])


def test_no_jobs_and_one(backend, job_of, bits, different_jobs):
    backend.raw.train_jobs([], 2)
    one, other = (job_of(different_jobs[0]) for _ in range(2))
    backend.raw.train_jobs([one], 3)
    backend.raw.train_epochs(other, 1)
    assert bits(one) == bits(other)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_wrong_job_is_refused_before_any_begins(backend, job_of, bits, different_jobs, n_threads):
    for wrong in ({"optimizer": 99}, {"loss": -1}):
        for place in (0, 2, len(different_jobs) - 1):
            jobs = [job_of(given) for given in different_jobs]
            jobs[place] = jobs[place]._replace(**wrong)
            before = [bits(job) for job in jobs]
            with pytest.raises(ValueError, match=r"99|-1"):
                backend.raw.train_jobs(jobs, n_threads)
            assert [bits(job) for job in jobs] == before

"""What the comparison marks, on made-up runs with the noise of a restless machine."""

import numpy as np
import pytest

from bench import report
from bench.compare import compare, is_ours
from bench.results import Case

KERNELS = ["linear_forward", "softmax_forward", "adam_update", "sgd_update"]
CONTENDERS = ["cython avx2", "numba", "reference"]
N_ROUNDS = 9


def made_up_run(seed, slower=None, noise=0.03, drift=1.0, in_turns=False):
    """Cases as of bench_kernels; each time is off by so much, relative. ``slower`` is {kernel: factor}, of the first contender.

    In turns, a whole table may be slower by up to a half, and every case has its ratios to the reference.
    """
    rng, cases = np.random.default_rng(seed), []
    tables = [(kernel, shape, dtype) for kernel in KERNELS for shape in range(6) for dtype in ("float32", "float64")]
    for kernel, shape, dtype in tables:
        busy = rng.uniform(1, 1.5) if in_turns else 1.0
        for contender in CONTENDERS:
            factor = slower.get(kernel, 1.0) if slower and contender == CONTENDERS[0] else 1.0
            exact = 1e-5 * 2**shape * drift * busy * factor
            median, half = exact * np.exp(noise * rng.standard_normal()), exact * noise / 2
            info = {"family": "kernel", "kernel": kernel, "contender": contender, "dtype": dtype, "n_threads": 1}
            if in_turns and contender != "reference":
                info["to_control"] = list(factor / 4 * np.exp(noise * rng.standard_normal(N_ROUNDS)))
            name, group = f"{kernel}[{shape}-{dtype}-{contender}]", f"{kernel} {shape} {dtype}"
            cases.append(Case(name, group, median, 2 * half, median - half, median + half, median * 0.97, info))
    return cases


@pytest.fixture(params=[False, True], ids=["one by one", "in turns"])
def in_turns(request):
    return request.param


@pytest.fixture(params=[0.01, 0.03, 0.05])
def noise(request):
    return request.param


@pytest.mark.pairwise
@pytest.mark.parametrize("seed", range(8))
def test_two_runs_of_the_same_code_are_not_marked(seed, noise, in_turns):
    assert not compare(*(made_up_run(s, noise=noise, in_turns=in_turns) for s in (seed, seed + 100))).marked


@pytest.mark.pairwise
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("factor", "word"), [(1.2, "slower"), (1 / 1.2, "faster")])
def test_a_fifth_in_one_kernel_is_marked_and_nothing_else(seed, noise, factor, word, in_turns):
    changed = made_up_run(seed + 100, {"adam_update": factor}, noise, in_turns=in_turns)
    marked = compare(made_up_run(seed, noise=noise, in_turns=in_turns), changed).marked
    assert "kernel adam_update: cython avx2" in {change.name for change in marked}
    for change in marked:
        assert "adam_update" in change.name
        assert "cython avx2" in change.name
        assert change.word == word
    (function,) = (change for change in marked if change.name.startswith("kernel "))
    assert function.percent == pytest.approx(factor - 1, abs=0.02 + 2 * noise)


def test_what_the_controls_did_too_is_taken_out():
    comparison = compare(made_up_run(0), made_up_run(100, drift=1.3))
    assert comparison.drift == pytest.approx(np.log(1.3), abs=0.02)
    assert not comparison.marked


def test_on_a_restless_machine_nothing_is_said():
    restless = compare(made_up_run(0, noise=0.5), made_up_run(100, {"adam_update": 5}, noise=0.5))
    assert restless.is_restless
    assert not restless.marked
    assert any(change.marked for change in restless.functions)
    assert "too restless to tell" in report.comparison_text(restless)
    assert "slower" not in report.comparison_text(restless)


def test_without_controls_a_usual_noise_is_assumed():
    before, after = ([case for case in made_up_run(seed) if is_ours(case)] for seed in (0, 100))
    comparison = compare(before, after)
    assert comparison.n_controls == 0
    assert comparison.drift == 0
    assert not comparison.marked


def test_a_disturbed_case_is_not_marked_where_its_minimum_stood_still():
    before, after = made_up_run(0), made_up_run(100)
    disturbed = after[0]
    after[0] = Case(disturbed.name, disturbed.group, 3 * disturbed.median, 0.0, 0, 0, disturbed.min, disturbed.info)
    assert not compare(before, after).marked
    after[0] = Case(disturbed.name, disturbed.group, 3 * disturbed.median, 0.0, 0, 0, 3 * disturbed.min, disturbed.info)
    assert compare(before, after).marked


def test_cases_of_one_run_alone_are_named():
    comparison = compare(made_up_run(0)[1:], made_up_run(100))
    assert comparison.missing == ["linear_forward[0-float32-cython avx2]"]
    assert not compare([], []).marked


def test_only_ours_can_change():
    names = {"fastprop": True, "fastprop kernel": True, "cython avx2": True, "numba": True, "reference": False, "JAX": False}
    for name, ours in names.items():
        assert is_ours(Case("", "", 1, 0, 1, 1, 1, {"contender": name})) is ours

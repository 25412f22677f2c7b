"""What the comparison marks, on made-up runs with the noise of a restless machine."""

import numpy as np
import pytest

from bench.compare import compare, is_ours
from bench.results import Case

KERNELS = ["linear_forward", "softmax_forward", "adam_update", "sgd_update"]
SHAPES, DTYPES = range(6), ("float32", "float64")


def made_up_run(seed, slower=None, noise=0.03, drift=1.0):
    """Cases as of bench_kernels: each median is off by so much from run to run; ``slower`` is {kernel: factor}, of ours alone."""
    rng, cases = np.random.default_rng(seed), []
    for kernel in KERNELS:
        for shape in SHAPES:
            for dtype in DTYPES:
                for contender in ("cython avx2", "numba", "reference"):
                    median = 1e-5 * 2**shape * drift * np.exp(noise * rng.standard_normal())
                    if slower and contender == "cython avx2":
                        median *= slower.get(kernel, 1.0)
                    info = {"family": "kernel", "kernel": kernel, "contender": contender, "dtype": dtype, "n_threads": 1}
                    name, iqr = f"{kernel}[{shape}-{dtype}-{contender}]", noise * median
                    cases.append(Case(name, kernel, median, iqr, median - iqr / 2, median + iqr / 2, median * 0.97, info))
    return cases


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("seed", range(10))
def test_two_runs_of_the_same_code_are_not_marked(seed, noise):
    assert not compare(made_up_run(seed, noise=noise), made_up_run(seed + 100, noise=noise)).marked


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("factor", "word"), [(1.2, "slower"), (1 / 1.2, "faster")])
def test_a_fifth_in_one_kernel_is_marked_and_nothing_else(seed, noise, factor, word):
    changed = made_up_run(seed + 100, {"adam_update": factor}, noise)
    marked = compare(made_up_run(seed, noise=noise), changed).marked
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


def test_without_controls_a_usual_noise_is_assumed():
    before, after = ([case for case in made_up_run(seed) if is_ours(case)] for seed in (0, 100))
    comparison = compare(before, after)
    assert comparison.n_controls == 0
    assert comparison.drift == 0
    assert not comparison.marked


def test_a_disturbed_case_is_not_marked_where_its_minimum_stood_still():
    before, after = made_up_run(0), made_up_run(100)
    disturbed = after[0]
    after[0] = Case(disturbed.name, "", 3 * disturbed.median, 0.0, 0, 0, disturbed.min, disturbed.info)
    assert not compare(before, after).marked
    after[0] = Case(disturbed.name, "", 3 * disturbed.median, 0.0, 0, 0, 3 * disturbed.min, disturbed.info)
    assert compare(before, after).marked


def test_cases_of_one_run_alone_are_named():
    comparison = compare(made_up_run(0)[1:], made_up_run(100))
    assert comparison.missing == ["linear_forward[0-float32-cython avx2]"]
    assert not compare([], []).marked


def test_only_ours_can_change():
    names = {"fastprop": True, "fastprop kernel": True, "cython avx2": True, "numba": True, "reference": False, "JAX": False}
    for name, ours in names.items():
        assert is_ours(Case("", "", 1, 0, 1, 1, 1, {"contender": name})) is ours

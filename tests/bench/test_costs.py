"""bench/costs.py: what it compares is the same work, and it runs."""

import numpy as np
import pytest

from bench import costs, workloads
from fastprop import kernels
from fastprop.kernels import spec

SMALL = costs.Problem(70, 6, 3, (9, 7), 20)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(costs, "PROBLEMS", dict.fromkeys(costs.PROBLEMS, SMALL))
    monkeypatch.setattr(costs, "ROUNDS", 2)
    monkeypatch.setattr(costs, "SECONDS", 1e-4)
    monkeypatch.setattr(costs, "N_ESTIMATORS", 2 * costs.FOLDS)
    monkeypatch.setattr(costs, "GAIN_EPOCHS", dict.fromkeys(costs.GAIN_EPOCHS, 2))
    monkeypatch.setattr(costs, "NUMBA_PROBLEMS", ("tabular-deep",))


def test_it_measures_the_configurations_of_the_suite():
    for name, problem in costs.PROBLEMS.items():
        assert workloads.CONFIGURATIONS[name] == (name, *problem)


def test_programs_have_a_layer_of_the_kind_in_each_hidden_layer():
    for kind in costs.LAYER_LIMITS:
        for before in (True, False):
            kinds = costs.program(SMALL, "silu", kind, before)["kind"].tolist()
            both = [spec.KINDS[kind], spec.KINDS["activation"]][:: 1 if before else -1]
            assert kinds == [spec.KINDS["linear"], *both] * 2 + [spec.KINDS["linear"], spec.KINDS["link"]]
    assert len(costs.program(SMALL)) == 6


# Numba compiles for it what no other test needs.
PARTS = [pytest.param(part, marks=[pytest.mark.nightly] if part == "numba" else []) for part in costs.PARTS]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs(small, capsys, part):
    costs.main([part])
    said = capsys.readouterr().out
    names = {
        "activations": set(spec.ACTIVATIONS) - {"relu"},
        "layers": {"layer_norm before ReLU", "layer_norm after ReLU", "batch_norm before ReLU", "dropout after ReLU"},
        "numba": {"Numba"},
        "fit_many": {*costs.GAIN_EPOCHS, f"{costs.SEARCHED}, GridSearchCV"},
    }
    for name in names[part]:
        assert f"    {name} " in said or (part == "numba" and name in said)


def test_an_unknown_part_is_named():
    with pytest.raises(SystemExit, match="no part nonsense"):
        costs.main(["nonsense"])


def test_a_wrong_epoch_is_not_timed(small):
    class Wrong:
        class raw:
            @staticmethod
            def train_epochs(job, n_threads):
                kernels.load("reference").raw.train_epochs(job, n_threads)
                job.params[-1] += 0.01

    with pytest.raises(AssertionError):
        costs.Epochs(SMALL, "float32", costs.program(SMALL), Wrong)


def test_what_takes_twice_as_long_costs_two(monkeypatch):
    monkeypatch.setattr(costs, "ROUNDS", 4)
    assert costs.ratios({"unit": lambda: 0.5, "other": lambda: 1.0}, "unit") == {"other": [2.0] * 4}


def test_a_median_on_the_wrong_side_of_the_limit_is_marked(capsys):
    costs.show("one", [np.full(3, 1.2), np.full(3, 1.4)], 1.3)
    costs.show("two", [np.full(3, 1.2), np.full(3, 1.4)], 1.3, at_least=True)
    one, two = capsys.readouterr().out.splitlines()
    assert "1.20  (" in one
    assert "1.40! (" in one
    assert "1.20! (" in two
    assert "1.40  (" in two

"""bench/features.py: every parameter that scikit-learn does not have is timed, and what is compared is checked first."""

import numpy as np
import pytest

from bench import features
from fastprop.scikit_learns import scikit_learns_class

TINY = features.PROBLEM._replace(n_samples=120, n_features=6, hidden=(9,), batch_size=40)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(features, "PROBLEM", TINY)
    monkeypatch.setattr(features, "ROUNDS", 2)
    monkeypatch.setattr(features, "CHECKED_ROWS", 90)


def test_every_parameter_of_fastprops_is_timed():
    timed = {parameter for parameters in features.FEATURES.values() for parameter in parameters}
    own = {name for make in (features.MLPClassifier, features.MLPRegressor) for name in make._get_param_names()}
    theirs = {"n_jobs", "precision", "quantile", "huber_delta", "tweedie_power"}  # precision: bench/bfloat16.py
    scikit_learns = {name for make in ("MLPClassifier", "MLPRegressor") for name in scikit_learns_class(make)._get_param_names()}
    assert own - scikit_learns - theirs <= timed


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_all_features_are_fitted():
    for name in features.FEATURES:
        model, seconds = features.fitted(name, "float32", 1)
        assert model.n_iter_ == features.EPOCHS, name
        assert seconds > 0


def test_a_feature_that_computes_something_else_is_not_timed(monkeypatch):
    right = {"dropout=0.2": np.ones(3)}
    monkeypatch.setattr(features, "reference_weights", lambda names, problem: right)
    monkeypatch.setattr(features, "weights_of", lambda names, problem: {"dropout=0.2": np.array([1, 1, 1.001])})
    with pytest.raises(AssertionError, match="dropout"):
        features.main(["dropout=0.2"])


@pytest.mark.full
def test_it_runs(capsys):
    features.main(["ema_decay=0.99", "loss='gamma'"])
    lines = capsys.readouterr().out.splitlines()
    assert sum("ema_decay=0.99" in line for line in lines) == sum("loss='gamma'" in line for line in lines) == 2


def test_unknown_names():
    with pytest.raises(SystemExit, match="no feature nonsense"):
        features.main(["nonsense"])

"""X_val, y_val and sample_weight_val that `fit` refuses: each error names the argument and leaves the estimator as it was."""

import numpy as np
import pytest
from sklearn.base import clone

from fastprop import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

X = np.random.default_rng(0).normal(size=(24, 3))
VAL = X[:8]
THREE, LABELS, ONE, TWO = np.array(list("abc"))[np.arange(24) % 3], np.eye(3, dtype=int)[np.arange(24) % 3], X[:, 0], X[:, :2]
HOLED = np.where(np.arange(8)[:, None] == 3, np.nan, VAL)
# name -> (y, arguments, error, its words)
REFUSED = {
    "X_val alone": (THREE, {"X_val": VAL}, ValueError, "^X_val is provided, but y_val was not provided"),
    "y_val alone": (ONE, {"y_val": ONE[:8]}, ValueError, "^y_val is provided, but X_val was not provided"),
    "weights alone": (
        THREE,
        {"sample_weight_val": np.ones(8)},
        ValueError,
        "^sample_weight_val is provided, but X_val and y_val were",
    ),
    "columns": (
        ONE,
        {"X_val": VAL[:, :2], "y_val": ONE[:8]},
        ValueError,
        "^X_val: X has 2 features, but MLPRegressor is expecting 3",
    ),
    "a vector": (ONE, {"X_val": VAL[0], "y_val": ONE[:8]}, ValueError, "^X_val: Expected 2D array, got 1D array"),
    "no rows": (ONE, {"X_val": VAL[:0], "y_val": ONE[:0]}, ValueError, r"^X_val: Found array with 0 sample\(s\)"),
    "rows": (THREE, {"X_val": VAL, "y_val": THREE[:7]}, ValueError, r"^y_val: Found input variables with inconsistent .* \[8, 7\]"),
    "NaN in X_val": (ONE, {"X_val": HOLED, "y_val": ONE[:8]}, ValueError, "^X_val: Input X contains NaN"),
    "NaN in y_val": (ONE, {"X_val": VAL, "y_val": HOLED[:, 0]}, ValueError, "^y_val: Input y contains NaN"),
    "strings in X_val": (ONE, {"X_val": np.full((8, 3), "u"), "y_val": ONE[:8]}, ValueError, "^X_val: could not convert string"),
    "an unknown class": (THREE, {"X_val": VAL, "y_val": ["z"] * 8}, ValueError, r"^y_val: `y` has classes not in .*\['z'\]"),
    "numbers for strings": (THREE, {"X_val": VAL, "y_val": np.arange(8) % 2}, ValueError, "^y_val: `y` has classes not in"),
    "labels for classes": (
        THREE,
        {"X_val": VAL, "y_val": LABELS[:8]},
        ValueError,
        r"^y_val: must have shape \(8,\) .*got \(8, 3\)",
    ),
    "classes for labels": (
        LABELS,
        {"X_val": VAL, "y_val": np.arange(8) % 2},
        ValueError,
        r"^y_val: must have shape \(8, 3\) .*\(8,\)",
    ),
    "fewer labels": (
        LABELS,
        {"X_val": VAL, "y_val": LABELS[:8, :2]},
        ValueError,
        r"^y_val: must have shape \(8, 3\) .*got \(8, 2\)",
    ),
    "one output of two": (TWO, {"X_val": VAL, "y_val": ONE[:8]}, ValueError, r"^y_val: must have shape \(8, 2\) .*got \(8,\)"),
    "two outputs of one": (ONE, {"X_val": VAL, "y_val": TWO[:8]}, ValueError, r"^y_val: must have shape \(8,\) .*got \(8, 2\)"),
    "strings in y_val": (ONE, {"X_val": VAL, "y_val": THREE[:8]}, TypeError, "^y_val: y must be a dense array of numbers"),
    "few weights": (
        ONE,
        {"X_val": VAL, "y_val": ONE[:8], "sample_weight_val": np.ones(7)},
        ValueError,
        r"^sample_weight_val: .*\(7,\)",
    ),
    "no weight": (
        THREE,
        {"X_val": VAL, "y_val": THREE[:8], "sample_weight_val": np.zeros(8)},
        ValueError,
        "^sample_weight_val: .*non-zero",
    ),
}


@pytest.mark.parametrize("was_fitted", [False, True], ids=["", "fitted"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(case, was_fitted):
    y, arguments, error, words = REFUSED[case]
    estimator = (MLPRegressor if y.dtype.kind == "f" else MLPClassifier)(hidden_layer_sizes=(3,), max_iter=2, random_state=0)
    if was_fitted:  # to data of another kind
        estimator.fit(X[:, :2], np.arange(24) % 2, X_val=X[:, :2], y_val=np.arange(24) % 2)
    before = dict(vars(estimator))
    with pytest.raises(error, match=words):
        estimator.fit(X, y, **arguments)
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is value for name, value in before.items())


@pytest.mark.parametrize(("loss", "value"), [("poisson", -1.0), ("tweedie", -1.0), ("gamma", 0.0)])
def test_targets_out_of_the_losss_domain(loss, value):
    estimator = MLPRegressor(hidden_layer_sizes=(3,), loss=loss)
    with pytest.raises(ValueError, match=rf"^y_val: loss='{loss}' needs y to be"):
        estimator.fit(X, np.exp(ONE), X_val=VAL, y_val=np.full(8, value))
    assert not hasattr(estimator, "n_features_in_")


def test_several_quantiles_have_one_target():
    estimator = MLPRegressor(hidden_layer_sizes=(3,), loss="quantile", quantile=[0.1, 0.9])
    with pytest.raises(ValueError, match=r"^y_val: must have shape \(8,\) to go with y; got \(8, 2\)"):
        estimator.fit(X, ONE, X_val=VAL, y_val=TWO[:8])


@pytest.mark.parametrize("arguments", [{"X_val": VAL, "y_val": THREE[:8]}, {"sample_weight_val": np.ones(8)}], ids=str)
def test_lbfgs_has_no_epochs(arguments):
    estimator = MLPClassifier((3,), solver="lbfgs", max_iter=2)
    with pytest.raises(ValueError, match=r"^X_val and y_val need epochs: solver must be one of .*; got 'lbfgs'"):
        estimator.fit(X, THREE, **arguments)
    assert vars(estimator).keys() == vars(clone(estimator)).keys()
    estimator.fit(X, THREE)  # the arguments are forgotten


def test_an_unknown_solver_forgets_the_arguments():
    estimator = MLPClassifier((3,), solver="newton", max_iter=2)
    with pytest.raises(ValueError, match="The 'solver' parameter"):
        estimator.fit(X, THREE, X_val=VAL, y_val=THREE[:8])
    estimator.set_params(solver="adam").fit(X, THREE)
    assert estimator.validation_scores_ is None

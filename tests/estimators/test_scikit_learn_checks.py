"""scikit-learn's estimator checks on both classes: without exception on the defaults, and with the options that it does not have.

Several quantiles are left out: the checks want one prediction for each number of y.
"""

import os
from contextlib import suppress
from unittest import SkipTest

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from fastprop import MLPClassifier, MLPRegressor, nn
from fastprop.estimators.parameters import ONLY_STOCHASTIC

MARK = parametrize_with_checks([MLPClassifier(), MLPRegressor()]).mark
# scikit-learn 1.7 passes a generator, and pytest 9 warns of it, which is an error here.
(NAMES, CHECKS), KEYWORDS = MARK.args, MARK.kwargs

# Some checks train to the limit of 200 epochs.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(NAMES, list(CHECKS), **KEYWORDS)
def test_check(estimator, check):
    check(estimator)


def bent(z):
    return z + np.sin(z) / 2


def slope_of_bent(z):
    return 1 + np.cos(z) / 2


def falling(share):
    return 1 - share / 2


def hits(estimator, X, y, sample_weight=None):
    return estimator.score(X, y, sample_weight)


SIZES = (60, 20)
# Two rows of each class must be held out of ten, and schedules begin with low rates.
STOPPING = {"early_stopping": True, "validation_fraction": 0.4, "n_iter_no_change": 100}
NEW_ACTIVATIONS = ("leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus")
# In each group, alternatives: parameters to switch on
BOTH = [
    [{"activation": name} for name in NEW_ACTIVATIONS] + [{"activation": ["elu", "tanh"]}],
    [{"solver": "adamw"}, {"solver": "rmsprop"}, {"solver": "lbfgs", "max_iter": 50}],
    [{"learning_rate": shape} for shape in ("cosine", "one_cycle", "coslog4", falling)],
    [{"warmup": 0.2}],
    [{"dropout": 0.1}, {"dropout": [0.2, 0.0]}],
    [{"normalization": "batch"}, {"normalization": "layer"}],
    [{"weight_decay": 0.01}],
    [{"clip_norm": 1.0}],
    [{"ema_decay": 0.9}],
    [STOPPING],
    [{"max_time": 1e6}],
]
GROUPS = {
    MLPClassifier: [
        *BOTH,
        # A dict names classes, and those of the checks are different ones; check_class_weight_classifiers has its own.
        [{"class_weight": "balanced"}],
        [{"label_smoothing": 0.1}],
        [{"scoring": scoring, **STOPPING} for scoring in ("loss", "accuracy", hits)],
    ],
    MLPRegressor: [
        *BOTH,
        [{"loss": loss} for loss in ("absolute_error", "poisson", "gamma", "tweedie", "huber", "quantile")]
        + [{"loss": "tweedie", "tweedie_power": 1.1}, {"loss": "huber", "huber_delta": 0.3}]
        + [{"loss": "quantile", "quantile": quantile} for quantile in (0.6, [0.5])],
        [{"scoring": scoring, **STOPPING} for scoring in ("loss", "neg_mean_absolute_error", hits)],
    ],
}
OWN = {"activation": nn.Activation(bent, slope_of_bent), "max_iter": 30}
COMMON = {"hidden_layer_sizes": SIZES, "random_state": 0}
ALONE = [(make, given) for make, groups in GROUPS.items() for group in groups for given in group] + [(MLPClassifier, OWN)]
NO_PARTIAL_FIT = ("check_fit_score_takes_y", "check_n_features_in_after_fitting", "check_estimators_partial_fit_n_features")
WEIGHTS_LIKE_ROWS = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
AS_TRANSFORMER = tuple(f"check_transformer_{name}" for name in ("data_not_an_array", "general", "preserve_dtypes", "n_iter"))


def name_of(case):
    make, given = case
    return f"{make.__name__}-" + ", ".join(f"{name}={getattr(value, '__name__', value)}" for name, value in given.items())


def combination(make, number):
    """About half of what there is."""
    rng = np.random.default_rng([number, make is MLPRegressor])
    chosen = [group[rng.integers(len(group))] for group in GROUPS[make] if rng.random() < 0.5]
    given = {name: value for alternative in chosen for name, value in alternative.items()}
    if given.get("solver") == "lbfgs":
        refused = {"learning_rate", *ONLY_STOCHASTIC}
        given = {name: value for name, value in given.items() if name not in refused and value != "batch"}
    return given


def expected_failures(estimator):
    """The names of checks that an estimator with these parameters cannot pass -> why not."""
    found = {}
    if estimator.early_stopping and estimator.solver != "lbfgs":
        found |= dict.fromkeys(NO_PARTIAL_FIT, "partial_fit refuses early_stopping, as scikit-learn's does")
        found |= dict.fromkeys(WEIGHTS_LIKE_ROWS, "of rows that are there twice, others are held out than of rows that weigh twice")
        if estimator.scoring != "loss":
            found["check_class_weight_classifiers"] = "no score is better than the first without a miss of the heavy class"
    if np.any(estimator.dropout):
        found |= dict.fromkeys(WEIGHTS_LIKE_ROWS, "a row that is there twice has two masks")
    if estimator.normalization == "batch":
        found |= dict.fromkeys(WEIGHTS_LIKE_ROWS, "the statistics of a mini-batch count rows, not their weights")
        found["check_class_weight_classifiers"] = "rows without weight have a part in the statistics, and any class"
    if getattr(estimator, "loss", None) in ("poisson", "gamma", "tweedie"):
        found["check_regressor_multioutput"] = "its y has negative numbers, whatever the tags say"
        found["check_regressors_train"] = "it wants a small squared error, and these losses weigh small y more"
        if estimator.loss == "gamma":
            found |= dict.fromkeys(AS_TRANSFORMER, "their y has zeros, whatever the tags say")
    if getattr(estimator, "class_weight", None) == "balanced":
        if estimator.solver != "lbfgs":  # with which there is no partial_fit
            found |= dict.fromkeys(NO_PARTIAL_FIT, "partial_fit refuses 'balanced', as SGDClassifier's does")
        found |= dict.fromkeys(WEIGHTS_LIKE_ROWS, "compute_sample_weight counts the rows of a class, not their weights")
    return found


def pass_checks(make, given, first=0, step=1):
    """Fail unless an estimator passes the checks with every ``step``-th number from ``first`` on."""
    estimator = make(**COMMON | given)
    failing = expected_failures(estimator)
    for one, check in list(estimator_checks_generator(estimator))[first::step]:
        name = check.func.__name__
        if name not in failing:
            try:
                with suppress(SkipTest):
                    check(one)
            except Exception as error:
                error.add_note(f"{name} of {one!r}")
                raise


@pytest.mark.parametrize("number", range(len(ALONE)), ids=[name_of(case) for case in ALONE])
def test_share_of_the_checks_with_one_option(number):
    """Every option has a few of the checks, and every check some of the options."""
    pass_checks(*ALONE[number], number % 20, 20)


# All checks of all cases take half an hour: FASTPROP_ALL_CHECKS=1 runs them. Otherwise each case has one of so many parts.
PARTS = 1 if os.environ.get("FASTPROP_ALL_CHECKS") else 5


@pytest.mark.full
@pytest.mark.parametrize("number", range(len(ALONE)), ids=[name_of(case) for case in ALONE])
def test_part_of_the_checks_with_one_option(number):
    pass_checks(*ALONE[number], number % PARTS, PARTS)


@pytest.mark.full
@pytest.mark.parametrize("number", [*range(10), *(pytest.param(number, marks=pytest.mark.nightly) for number in range(10, 25))])
@pytest.mark.parametrize("make", GROUPS)
def test_part_of_the_checks_with_a_combination(make, number):
    pass_checks(make, combination(make, number), number % PARTS, PARTS)

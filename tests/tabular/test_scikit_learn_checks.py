"""scikit-learn's estimator checks on both classes, with the defaults of most parameters and with options.

Two members, which is not what the checks are about, take a quarter of the time of eight.
"""

from contextlib import suppress
from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastprop import TabularClassifier, TabularRegressor


@pytest.fixture
def _patience():
    """That of the recipe."""


def hits(estimator, X, y, sample_weight=None):
    return estimator.score(X, y, sample_weight)


BOTH = [
    {},
    {"early_stopping": False},
    {"refit": True},
    {"warm_start": True},
    {"scoring": hits},
    {"dropout": 0.1, "weight_decay": 0.01},
    {"categorical_features": [0]},
    {"numeric_encoding": "standard", "hidden_layer_sizes": 20, "batch_size": 16, "learning_rate_init": 0.02},
    {"max_time": 1e6, "n_jobs": 2},
]
OPTIONS = {
    TabularClassifier: [*BOTH, {"scoring": "accuracy"}, {"class_weight": "balanced"}, {"label_smoothing": 0.1}],
    TabularRegressor: [
        *BOTH,
        {"scoring": "r2"},
        {"loss": "quantile", "quantile": 0.5},
        *({"loss": loss} for loss in ("absolute_error", "huber", "poisson", "gamma")),
    ],
}
CASES = [(make, given) for make, options in OPTIONS.items() for given in options]
IDS = [f"{make.__name__}-{given}".partition(" at ")[0] for make, given in CASES]

# Of HistGradientBoosting, scikit-learn expects the same of these.
WEIGHTS_LIKE_ROWS = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")


def expected_failures(estimator):
    """The names of checks that an estimator with these parameters cannot pass -> why not."""
    found = dict.fromkeys(WEIGHTS_LIKE_ROWS, "the edges of bins, the rows held out and mini-batches count rows, not their weights")
    if estimator.warm_start:
        found["check_dtype_object"] = "the second X is compared with the first: it holds other things"
        found["check_supervised_y_2d"] = "the second fit goes on where the first one ended"
    heavy = "check_class_weight_classifiers"
    if not estimator.early_stopping:
        found[heavy] = "after a thousand epochs each row is classified right that can be, whatever it weighs"
    if estimator.scoring != "loss":
        found[heavy] = "no score is better than the first without a miss of the heavy class"
    if getattr(estimator, "loss", None) in ("poisson", "gamma"):
        found["check_regressor_multioutput"] = "its y has negative numbers, whatever the tags say"
    return found


def pass_checks(make, given, first=0, step=1):
    """Fail unless an estimator passes the checks with every ``step``-th number from ``first`` on."""
    estimator = make(n_members=2, **given)
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


@pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
def test_share_of_the_checks(number):
    """All of those with the defaults; of the others every option has a few, and every check some of the options."""
    make, given = CASES[number]
    pass_checks(make, given, *((number % 12, 12) if given else ()))


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
def test_all_checks(number):
    pass_checks(*CASES[number])


def test_what_scikit_learn_expects_of_hist_gradient_boosting():
    instance_generator = pytest.importorskip("sklearn.utils._test_common.instance_generator", reason="it is private")
    from sklearn.ensemble import HistGradientBoostingClassifier

    assert set(WEIGHTS_LIKE_ROWS) <= set(instance_generator._get_expected_failed_checks(HistGradientBoostingClassifier()))

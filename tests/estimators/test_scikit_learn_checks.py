"""scikit-learn's estimator checks on both classes, without exception."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastprop import MLPClassifier, MLPRegressor

MARK = parametrize_with_checks([MLPClassifier(), MLPRegressor()]).mark
# scikit-learn 1.7 passes a generator, and pytest 9 warns of it, which is an error here.
(NAMES, CHECKS), KEYWORDS = MARK.args, MARK.kwargs


# Some checks train to the limit of 200 epochs.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(NAMES, list(CHECKS), **KEYWORDS)
def test_check(estimator, check):
    check(estimator)

"""scikit-learn's estimator checks on both classes, without exception."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastprop import MLPClassifier, MLPRegressor


# Some checks train to the limit of 200 epochs.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_check(estimator, check):
    check(estimator)

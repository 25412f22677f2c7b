"""scikit-learn's estimator checks, without exception."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastprop.preprocessing import TabularEncoder

MARK = parametrize_with_checks(
    [TabularEncoder(), TabularEncoder(numeric_encoding="standard"), TabularEncoder(categorical_features=[0], min_frequency=2)]
).mark
# scikit-learn 1.7 passes a generator, and pytest 9 warns of it, which is an error here.
(NAMES, CHECKS), KEYWORDS = MARK.args, MARK.kwargs


@pytest.mark.parametrize(NAMES, list(CHECKS), **KEYWORDS)
def test_check(estimator, check):
    check(estimator)

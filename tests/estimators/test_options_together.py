"""What goes wrong, if at all, only where several options of the estimators meet."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from fastprop import MLPRegressor

FEW = {"hidden_layer_sizes": (6,), "max_iter": 3, "batch_size": 16, "learning_rate_init": 0.01, "random_state": 0}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


@pytest.mark.parametrize("quantile", [[0.3], [0.9, 0.1]], ids=str)
def test_score_of_a_list_of_quantiles(data, quantile):
    X, y = data("one output")
    regressor = MLPRegressor("quantile", quantile=quantile, **FEW).fit(X, y)
    expected = np.mean([r2_score(y, one) for one in regressor.predict(X).reshape(len(y), -1).T])
    for targets in (y, y.tolist(), y[:, None]):
        assert regressor.score(X, targets) == pytest.approx(expected, rel=1e-12)

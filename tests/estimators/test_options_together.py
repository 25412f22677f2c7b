"""What goes wrong, if at all, only where several options of the estimators meet, or change between calls."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from fastprop import MLPRegressor

FEW = {"hidden_layer_sizes": (6,), "max_iter": 3, "batch_size": 16, "learning_rate_init": 0.01, "random_state": 0}
NORMS = [None, "batch", "layer"]

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


def _weights(estimator):
    norms = [getattr(estimator, name, []) for name in ("norm_weights_", "norm_biases_", "running_means_", "running_vars_")]
    return np.concatenate([array.ravel() for arrays in (estimator.coefs_, estimator.intercepts_, *norms) for array in arrays])


@pytest.mark.parametrize("quantile", [[0.3], [0.9, 0.1]], ids=str)
def test_score_of_a_list_of_quantiles(data, quantile):
    X, y = data("one output")
    regressor = MLPRegressor("quantile", quantile=quantile, **FEW).fit(X, y)
    expected = np.mean([r2_score(y, one) for one in regressor.predict(X).reshape(len(y), -1).T])
    for targets in (y, y.tolist(), y[:, None]):
        assert regressor.score(X, targets) == pytest.approx(expected, rel=1e-12)


def test_other_quantiles_than_were_trained(data):
    X, y = data("one output")
    regressor = MLPRegressor("quantile", quantile=[0.1, 0.9], **FEW).fit(X, y)
    with pytest.raises(ValueError, match=r"quantile must have a number for each of the 2 outputs; got \[0.1, 0.5, 0.9\]"):
        regressor.set_params(quantile=[0.1, 0.5, 0.9]).predict(X)

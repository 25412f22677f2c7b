"""Right uses of the estimators: they run, and type checkers have nothing to say against them."""

from collections.abc import Callable
from typing import Any, assert_type

import numpy as np
from scipy.sparse import csr_array

import fastprop
from fastprop import (
    LossCurveDisplay,
    MLPClassifier,
    MLPRegressor,
    Network,
    TabularClassifier,
    TabularRegressor,
    nn,
    patch_sklearn,
    show_config,
    to_sklearn,
    unpatch_sklearn,
)
from fastprop.annotations import Floats
from fastprop.inspection import input_gradients, integrated_gradients
from fastprop.preprocessing import TabularEncoder

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 3)), np.arange(40) % 3

classifier = MLPClassifier((5,), solver="sgd", batch_size="auto", tol=1, random_state=np.random.RandomState(0))
assert_type(classifier.fit(X, y), MLPClassifier)
assert_type(classifier.fit(X.tolist(), ["abc"[i] for i in y], sample_weight=np.ones(40)), MLPClassifier)
assert_type(classifier.fit(csr_array(X), y), MLPClassifier)
assert_type(classifier.partial_fit(X, y, classes=[0, 1, 2]), MLPClassifier)
assert_type(classifier.predict_proba(X), Floats)
assert_type(classifier.coefs_, list[Floats])
assert_type(classifier.loss_curve_, list[float])
accuracy: float = classifier.score(X, y)
hits = (classifier.predict(X) == y).mean()
classifier.set_params(alpha=0.1).fit(X, y)

predict = classifier.predictor(np.empty((1, 3)), np.empty((1, 3)))
assert_type(predict, Callable[[], None])

sizes: list[int] = [5, 5]
regressor = MLPRegressor(
    loss="poisson", hidden_layer_sizes=sizes, solver="lbfgs", max_iter=1000, random_state=0, n_iter_no_change=np.inf
)
assert_type(regressor.fit(X, y).predict(X), Floats)
own = nn.Activation(np.sin, np.cos, "sine")
MLPRegressor(hidden_layer_sizes=4, activation=own, batch_size=10, tol=1.0, max_iter=200).fit(X, np.stack([y, y], axis=1))

assert_type(input_gradients(classifier, X), Floats)
assert_type(integrated_gradients(classifier, csr_array(X), output=2, baseline=[0.0, 0.0, 1.0], n_steps=10), Floats)

encoder = TabularEncoder(categorical_features=[2], n_bins=8, dtype="float32")
assert_type(encoder.fit(X), TabularEncoder)
assert_type(encoder.transform(X.tolist()), Floats)

tabular = TabularClassifier(n_members=2, hidden_layer_sizes=5, max_iter=1, class_weight="balanced", random_state=0)
assert_type(tabular.fit(X, y, X_val=X, y_val=y.tolist()), TabularClassifier)
assert_type(tabular.predict_proba(X), Floats)
assert_type(tabular.members_, list[Network])
assert_type(tabular.encoders_, list[TabularEncoder])
spread = TabularRegressor.from_preset("fast", n_members=2, max_iter=1).fit(csr_array(X), np.stack([y, y], axis=1))
assert_type(spread, TabularRegressor)
assert_type(spread.predict(X), Floats)
assert_type(spread.predict(X, return_std=True), tuple[Floats, Floats])
TabularRegressor(loss="quantile", quantile=0.9, categorical_features=["city"], hidden_layer_sizes=[8, 8], scoring="r2", max_time=60)
TabularRegressor(precision="bfloat16")
MLPClassifier(precision="bfloat16")

theirs: Any = to_sklearn([classifier])[0]
theirs = classifier.to_sklearn()
assert_type(MLPClassifier.from_sklearn(theirs), MLPClassifier)
with patch_sklearn():
    pass
unpatch_sklearn()
show_config()
version: str = fastprop.__version__
display: type[LossCurveDisplay] = LossCurveDisplay


class Shy(MLPClassifier):
    """A subclass with its own parameter list."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha, tol=1.0)


assert_type(Shy().fit(X, y), Shy)

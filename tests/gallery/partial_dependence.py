"""On what the prediction of a network depends, feature by feature (the network of scikit-learn's example plot_partial_dependence,
on its diabetes data)."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.inspection import partial_dependence
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

X, y = load_diabetes(return_X_y=True, as_frame=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.1, random_state=0)
network = MLPRegressor(hidden_layer_sizes=(30, 15), learning_rate_init=0.01, early_stopping=True, random_state=0)
pipeline = make_pipeline(QuantileTransformer(n_quantiles=100, random_state=0), network)
model = TransformedTargetRegressor(pipeline, transformer=StandardScaler()).fit(X_train, y_train)
print("test", repr(float(model.score(X_test, y_test))))
for feature in (2, 3, 8):
    curve = partial_dependence(model, X_train, [feature], grid_resolution=10, kind="average")["average"][0]
    print("feature", feature, *(repr(float(value)) for value in curve))
pairs = partial_dependence(model, X_train, [(2, 8)], grid_resolution=5, kind="average")["average"]
print("features 2 and 8", repr(float(np.min(pairs))), repr(float(np.max(pairs))))
print(type(model.regressor_[-1]).__module__)

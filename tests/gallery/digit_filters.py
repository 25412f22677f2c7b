"""What the first layer looks at in pictures of digits (scikit-learn's example plot_mnist_filters, on its small digits data)."""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0, test_size=0.7)
model = MLPClassifier(
    hidden_layer_sizes=(40,), max_iter=8, alpha=1e-4, solver="sgd", verbose=10, random_state=1, learning_rate_init=0.2
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    model.fit(X_train, y_train)
print("train", repr(float(model.score(X_train, y_train))))
print("test", repr(float(model.score(X_test, y_test))))
filters = model.coefs_[0].T.reshape(-1, 8, 8)
for number, picture in enumerate(filters[:16]):
    print("filter", number, repr(float(picture.min())), repr(float(picture.max())), repr(float(np.abs(picture).mean())))
print(type(model).__module__)

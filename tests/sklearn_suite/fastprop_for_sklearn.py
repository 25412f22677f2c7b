"""A pytest plugin, ``-p fastprop_for_sklearn``: scikit-learn's own MLP tests run on fastprop's classes.

It replaces the two names in `sklearn.neural_network` before the test module imports them.
"""

import sklearn.neural_network

import fastprop


def pytest_configure():
    sklearn.neural_network.MLPClassifier = fastprop.MLPClassifier
    sklearn.neural_network.MLPRegressor = fastprop.MLPRegressor

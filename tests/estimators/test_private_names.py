"""scikit-learn's private methods on estimators with parameters that scikit-learn's code does not know: errors that name them."""

import pickle

import numpy as np
import pytest
import sklearn.neural_network

import fastprop
from fastprop import nn, patch_sklearn

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

NETWORK_METHODS = ["_forward_pass_fast", "_forward_pass", "_predict", "_score", "_backprop", "_fit_stochastic", "_initialize"]


def _call(estimator, method, X, y):
    """A private method of scikit-learn's with arguments that fit."""
    n = len(estimator.coefs_)
    columns, shapes = np.reshape(y, (len(X), -1)), ([w.copy() for w in estimator.coefs_], [b.copy() for b in estimator.intercepts_])
    units = [X.shape[1], *(weight.shape[1] for weight in estimator.coefs_)]
    arguments = {
        "_forward_pass": ([X] + [None] * n,),
        "_forward_pass_fast": (X,),
        "_predict": (X,),
        "_score": (X, y),
        "_update_no_improvement_count": (True, X, y, None),
        "_backprop": (X, columns, None, [X] + [None] * n, [None] * n, *shapes),
        "_init_coef": (3, 2, X.dtype),
        "_initialize": (columns, units, X.dtype),
        "_fit_stochastic": (X, columns, None, [X] + [None] * n, [None] * n, *shapes, units, True),
        "_validate_input": (X, y, True, False),
    }
    return getattr(estimator, method)(*arguments[method])


@pytest.mark.parametrize(
    ("parameters", "named", "methods"),
    [
        ({"activation": "gelu"}, "activation='gelu'", [*NETWORK_METHODS, "_init_coef"]),
        ({"activation": ["relu", "relu"]}, "activation=['relu', 'relu']", NETWORK_METHODS),
        ({"activation": nn.Activation(np.sin, np.cos)}, "activation=Activation('sin', in Python)", NETWORK_METHODS),
        ({"normalization": "batch"}, "normalization='batch'", NETWORK_METHODS),
        ({"normalization": "layer", "dropout": 0.5}, "normalization='layer'", NETWORK_METHODS),
        ({"dropout": [0.5, 0.0]}, "dropout=[0.5, 0.0]", ["_backprop", "_fit_stochastic"]),
        ({"loss": "huber"}, "loss='huber'", ["_backprop", "_fit_stochastic", "_initialize"]),
        ({"loss": "quantile", "quantile": [0.1, 0.9]}, "quantile=[0.1, 0.9]", ["_predict", "_score", "_fit_stochastic"]),
        ({"solver": "rmsprop"}, "solver='rmsprop'", ["_fit_stochastic"]),
        ({"learning_rate": "cosine"}, "learning_rate='cosine'", ["_fit_stochastic"]),
        ({"max_time": 1000.0, "scoring": "loss"}, "scoring='loss'", ["_update_no_improvement_count", "_fit_stochastic"]),
    ],
    ids=str,
)
def test_private_methods_do_not_compute_without_what_they_do_not_know(data, parameters, named, methods):
    X, y = data("one output")
    estimator = fastprop.MLPRegressor(hidden_layer_sizes=(5, 4), max_iter=3, random_state=0).set_params(**parameters).fit(X, y)
    before = pickle.dumps(estimator)
    for method in methods:
        with pytest.raises(ValueError, match=rf"{method}\w* is scikit-learn's own code, which does not have ") as error:
            _call(estimator, method, X, y)
        assert named in str(error.value)
    assert pickle.dumps(estimator) == before
    assert len(_call(estimator, "_validate_input", X, y)) == 2
    outputs = {"_forward_pass_fast": lambda got: got, "_forward_pass": lambda got: got[-1], "_predict": lambda got: got}
    for method in outputs.keys() - {*methods}:
        got = outputs[method](_call(estimator, method, X, y)).reshape(len(X), -1)
        expected = estimator._outputs(X) if method.startswith("_forward") else estimator.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_what_scikit_learn_predicts_but_fastprop_does_not_has_no_norm(data):
    """An activation without a kernel is left to scikit-learn's code, which knows no norm."""
    X, y = data("one output")
    estimator = fastprop.MLPRegressor(**SMALL, normalization="batch").fit(X, y)
    estimator.activation = "softmax"
    with pytest.raises(ValueError, match="does not have normalization='batch'"):
        estimator.predict(X)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"activation": "silu"}, "activation='silu'"),
        ({"solver": "adamw", "weight_decay": 0.1}, "solver='adamw', weight_decay=0.1"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1"),
        ({"class_weight": "balanced"}, "class_weight='balanced'"),
    ],
    ids=str,
)
def test_a_replaced_method_on_an_object_under_the_patch(data, parameters, named):
    X, y = data("multiclass")
    with patch_sklearn():
        estimator = sklearn.neural_network.MLPClassifier(**SMALL, **parameters)
        estimator._init_coef = lambda fan_in, fan_out, dtype: (np.zeros((fan_in, fan_out)), np.zeros(fan_out))
        with pytest.raises(ValueError, match=f"runs scikit-learn's code, which does not have {named}"):
            estimator.fit(X, y)
    assert not hasattr(estimator, "coefs_")

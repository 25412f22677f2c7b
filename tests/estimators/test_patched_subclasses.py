"""Under `patch_sklearn`, a subclass that runs scikit-learn's code refuses what only fastprop's code has; others have all of it."""

import types
import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.base import clone

import fastprop
from fastprop import nn, patch_sklearn

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
OWN = {
    "dropout": 0.5,
    "normalization": "batch",
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "warmup": 0.1,
    "ema_decay": 0.9,
    "scoring": "loss",
    "max_time": 10.0,
}
OF_CLASSIFIERS = {"class_weight": "balanced", "label_smoothing": 0.1}
OF_REGRESSORS = {"quantile": 0.9, "huber_delta": 2.0, "tweedie_power": 1.2}
# Values that scikit-learn's parameters do not have
VALUES = {"solver": "adamw", "learning_rate": "cosine", "activation": "gelu"}


@pytest.fixture
def subclass():
    """subclass(name) -> a class that overrides a private method of scikit-learn's class of that name under the patch."""

    def subclass(name):
        with patch_sklearn(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*scikit-learn's own code runs instead")
            base = getattr(sklearn.neural_network, name)

            class Own(base):
                def _compute_loss_grad(self, *arguments):
                    return super()._compute_loss_grad(*arguments)

        return Own

    return subclass


def _cases(name):
    return OWN | (OF_CLASSIFIERS if name == "MLPClassifier" else OF_REGRESSORS)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_that_scikit_learns_code_does_not_have(data, subclass, name):
    X, y = data("multiclass" if name == "MLPClassifier" else "one output")
    make = subclass(name)
    with patch_sklearn():
        for parameter, value in _cases(name).items():
            ours = make(**SMALL, **{parameter: value})
            assert clone(ours).get_params()[parameter] == value
            for method in ("fit", "partial_fit"):
                arguments = {"classes": np.unique(y)} if method == "partial_fit" and name == "MLPClassifier" else {}
                if (parameter, method) == ("class_weight", "partial_fit"):
                    continue  # 'balanced' is refused before
                with pytest.raises(ValueError, match=f"^Own runs scikit-learn's code, which does not have {parameter}$"):
                    getattr(ours, method)(X, y, **arguments)
            assert not hasattr(ours, "coefs_")
        for parameter, value in VALUES.items():
            with pytest.raises(ValueError, match=f"The '{parameter}' parameter of Own must be a str among"):
                make(**SMALL, **{parameter: value}).fit(X, y)
        assert make(**SMALL).fit(X, y).n_iter_ == 3


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_validation_rows_that_scikit_learns_code_does_not_have(data, subclass, name):
    X, y = data("multiclass" if name == "MLPClassifier" else "one output")
    ours = subclass(name)(**SMALL)
    with patch_sklearn():
        with pytest.raises(ValueError, match=r"^Own runs scikit-learn's code, which does not have X_val, y_val$"):
            ours.fit(X, y, X_val=X, y_val=y)
        with pytest.raises(ValueError, match="does not have sample_weight_val"):
            ours.fit(X, y, sample_weight_val=np.ones(len(X)))
        assert not hasattr(ours, "coefs_")
        ours.fit(X, y)
        np.testing.assert_allclose(ours.transform(X), np.maximum(X @ ours.coefs_[0] + ours.intercepts_[0], 0), rtol=1e-12)


@pytest.mark.parametrize("loss", ["huber", "quantile", "gamma", "tweedie", "absolute_error"])
def test_losses_that_scikit_learns_code_does_not_have(data, subclass, loss):
    X, y = data("poisson")
    with patch_sklearn(), pytest.raises(ValueError, match="The 'loss' parameter of Own must be a str among"):
        subclass("MLPRegressor")(**SMALL, loss=loss).fit(X, y + 1)


def test_a_method_replaced_on_an_object(data):
    X, y = data("multiclass")
    with patch_sklearn():
        ours = sklearn.neural_network.MLPClassifier(**SMALL, dropout=0.5)
        ours._backprop = types.MethodType(lambda self, *arguments: type(self)._backprop(self, *arguments), ours)
        with pytest.raises(ValueError, match="MLPClassifier runs scikit-learn's code, which does not have dropout"):
            ours.fit(X, y)
        with pytest.raises(ValueError, match="which does not have dropout, X_val, y_val"):
            ours.fit(X, y, X_val=X, y_val=y)


def test_public_methods_alone_leave_everything_there(data):
    X, y = data("multiclass")
    with patch_sklearn():

        class Own(sklearn.neural_network.MLPClassifier):
            def fit(self, X, y, **others):
                return super().fit(X + 1, y, **others)

        square = nn.Activation(lambda z: z**2 / 4, lambda z: z / 2, name="square")
        parameters = SMALL | {"dropout": 0.2, "normalization": "layer", "early_stopping": True, "activation": square}
        ours = Own(**parameters).fit(X, y, X_val=X, y_val=y)
    theirs = fastprop.MLPClassifier(**parameters).fit(X + 1, y, X_val=X, y_val=y)
    assert ours.validation_scores_ == theirs.validation_scores_
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))

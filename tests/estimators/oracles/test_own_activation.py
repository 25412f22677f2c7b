"""Networks with an activation of the user's, which train layer by layer, against those with the activation by its name."""

import numpy as np
import pytest
from scipy.special import expit, ndtr

from fastprop import nn

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

GELU = nn.Activation(lambda z: z * ndtr(z), lambda z: ndtr(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), name="gelu")
SILU = nn.Activation(lambda z: z * expit(z), lambda z: expit(z) * (1 + z * (1 - expit(z))), name="silu")
OWN, NAMED = {"activation": (GELU, SILU)}, {"activation": ("gelu", "silu")}
# The gradient of a bias in front of a batch norm is 0 but for rounding errors, of which a small epsilon makes full steps.
NORM = {"epsilon": 1e-3}
COMMON_FEATURES = {
    "nothing": {},
    "dropout": {"dropout": (0.3, 0.5)},
    "batch norm": {"normalization": "batch", **NORM},
    "batch norm without a last row": {"normalization": "batch", "batch_size": 11, **NORM},
    "layer norm": {"normalization": "layer"},
    "clipping": {"clip_norm": 0.1, "solver": "sgd", "learning_rate_init": 0.1},
    "weight decay": {"weight_decay": 0.5, "solver": "sgd", "normalization": "layer"},
    "adamw": {"weight_decay": 0.5, "solver": "adamw"},
    "rmsprop": {"weight_decay": 0.5, "solver": "rmsprop"},
    "cosine": {"learning_rate": "cosine", "warmup": 0.1},
    "one_cycle": {"learning_rate": "one_cycle"},
    "coslog4": {"learning_rate": "coslog4", "solver": "adamw", "weight_decay": 0.2},
    "a function": {"learning_rate": lambda share: 1 - share, "solver": "sgd"},
    "average": {"ema_decay": 0.9},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3, "ema_decay": 0.5},
    "all together": {
        "dropout": 0.2,
        "normalization": "batch",
        "clip_norm": 0.5,
        "weight_decay": 0.2,
        "solver": "adamw",
        "learning_rate": "cosine",
        "ema_decay": 0.9,
        **NORM,
    },
}
CLASSES = {
    "smoothing": {"label_smoothing": 0.2},
    "class weights": {"class_weight": "balanced"},
    "both": {"class_weight": "balanced", "label_smoothing": 0.2},
}
LOSSES = {
    "squared_error": ("two outputs", COMMON_FEATURES["all together"]),
    "absolute_error": ("two outputs", {}),
    "huber": ("two outputs", {"huber_delta": 0.3}),
    "quantile": ("one output", {"quantile": (0.9, 0.2)}),
    "poisson": ("poisson", {}),
    "gamma": ("positive", {}),
    "tweedie": ("poisson", {"tweedie_power": 1.3}),
}


@pytest.fixture
def compare(problem, make, learnt, assert_learnt):
    """compare(target, weighted, **parameters): train both in 20 epochs and once more; all that they have agrees."""

    def compare(target, weighted=False, **parameters):
        X, y = problem(target)
        sample_weight = np.linspace(0.5, 2, len(X)) if weighted else None
        own, named = (make(target, **parameters | activation).fit(X, y, sample_weight) for activation in (OWN, NAMED))
        for _ in range(2):
            assert_learnt(own, learnt(named))
            for name in ("loss_curve_", "learning_rate_curve_", "validation_scores_", "validation_loss_curve_"):
                if getattr(named, name, None) is not None:
                    np.testing.assert_allclose(getattr(own, name), getattr(named, name), rtol=1e-8, err_msg=name)
            predict = [getattr(each, "predict_proba", each.predict) for each in (own, named)]
            np.testing.assert_allclose(predict[0](X), predict[1](X), rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(own.transform(X, 0), named.transform(X, 0), rtol=1e-7, atol=1e-9)
            if parameters.get("early_stopping") or parameters.get("class_weight"):
                break
            for each in (own, named):
                each.partial_fit(X, y, sample_weight)

    return compare


@pytest.mark.parametrize("feature", COMMON_FEATURES)
def test_features(compare, feature):
    compare("multiclass", **COMMON_FEATURES[feature])


@pytest.mark.pairwise
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("feature", CLASSES)
def test_features_of_classifiers(compare, target, feature, weighted):
    compare(target, weighted, **CLASSES[feature])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(compare, loss):
    target, parameters = LOSSES[loss]
    compare(target, True, loss=loss, **parameters)


def test_rows_for_validation(problem, make, assert_learnt, learnt):
    X, y = problem("multiclass")
    given = {"X_val": X[:15], "y_val": y[:15], "sample_weight_val": np.linspace(1, 2, 15)}
    options = {"early_stopping": True, "scoring": "loss", "normalization": "batch", "ema_decay": 0.8, **NORM}
    own, named = (make("multiclass", **options | activation).fit(X, y, **given) for activation in (OWN, NAMED))
    assert_learnt(own, learnt(named))
    assert own.best_iter_ == named.best_iter_
    np.testing.assert_allclose(own.validation_scores_, named.validation_scores_, rtol=1e-8)

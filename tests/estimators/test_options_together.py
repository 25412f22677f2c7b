"""What goes wrong, if at all, only where several options of the estimators meet, or change between calls."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score

from fastprop import MLPClassifier, MLPRegressor

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


@pytest.mark.parametrize("quantile", [[0.3], [0.9, 0.1]], ids=str)
def test_scoring_of_a_list_of_quantiles(data, quantile):
    """A scorer compares one prediction with each number of y."""
    X, y = data("one output")
    regressor = MLPRegressor("quantile", quantile=quantile, early_stopping=True, **FEW)
    for scoring in (None, "loss", lambda regressor, X, y: regressor.score(X, y)):
        assert np.isfinite(regressor.set_params(scoring=scoring).fit(X, y).validation_scores_).all()
    regressor.set_params(scoring="r2")
    if len(quantile) == 1:
        assert np.isfinite(regressor.fit(X, y).validation_scores_).all()
    else:
        with pytest.raises(ValueError, match="scoring must be None, 'loss' or a function where there are several quantiles"):
            regressor.fit(X, y)


# normalization, set after training: predictions are those of the network that was trained.


@pytest.mark.parametrize("later", NORMS)
@pytest.mark.parametrize("trained", NORMS)
def test_normalization_set_after_training(data, trained, later):
    X, y = data("multiclass")
    classifier = MLPClassifier(normalization=trained, warm_start=True, **FEW).fit(X, y)
    expected, before = classifier.predict_proba(X), _weights(classifier)
    classifier.set_params(normalization=later)
    for one in (classifier, pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(one.predict_proba(X), expected)
    if trained == "layer":
        with pytest.raises(TypeError, match="layer norm cannot be folded"):
            classifier.to_sklearn()
    else:
        np.testing.assert_allclose(classifier.to_sklearn().predict_proba(X), expected, rtol=1e-10)
    if later != trained:
        text = f"normalization={later!r} is for new weights, and these were trained with {trained!r}"
        for method in (classifier.fit, classifier.partial_fit):
            with pytest.raises(ValueError, match=text):
                method(X, y)
        np.testing.assert_array_equal(_weights(classifier), before)
    fresh = clone(classifier).fit(X, y)
    np.testing.assert_array_equal(_weights(classifier.set_params(warm_start=False).fit(X, y)), _weights(fresh))


@pytest.mark.parametrize("later", NORMS)
def test_there_is_nothing_to_normalize_without_hidden_layers(data, later):
    X, y = data("one output")
    regressor = MLPRegressor(normalization="batch", warm_start=True, **FEW | {"hidden_layer_sizes": ()}).fit(X, y)
    regressor.set_params(normalization=later).fit(X, y)
    np.testing.assert_allclose(regressor.to_sklearn().predict(X), regressor.predict(X), rtol=1e-10)


# to_sklearn


@pytest.mark.parametrize("options", [{"activation": "silu"}, {"normalization": "layer"}], ids=str)
def test_the_hidden_layers_of_the_network_count_not_of_the_parameter(data, options):
    X, y = data("one output")
    regressor = MLPRegressor(**FEW | options).fit(X, y).set_params(hidden_layer_sizes=())
    with pytest.raises(TypeError, match=r"activation='silu'|layer norm"):
        regressor.to_sklearn()


# Parameters that are set between calls


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_weight_decay_set_between_calls(data, weight_decay):
    """It counts at once, as alpha does, and never for biases."""
    X, y = data("one output")
    ours = MLPRegressor(solver="sgd", momentum=0, weight_decay=0.5, shuffle=False, **FEW | {"batch_size": 90}).partial_fit(X, y)
    plain = pickle.loads(pickle.dumps(ours)).set_params(weight_decay=0).partial_fit(X, y)
    coefs, intercepts = [coef.copy() for coef in ours.coefs_], plain.intercepts_
    ours.set_params(weight_decay=weight_decay).partial_fit(X, y)
    for after, without, before in zip(ours.coefs_, plain.coefs_, coefs, strict=True):
        np.testing.assert_allclose(after, without - 0.01 * weight_decay * before, rtol=0, atol=1e-15)
    for after, without in zip(ours.intercepts_, intercepts, strict=True):
        np.testing.assert_array_equal(after, without)


@pytest.mark.parametrize("options", [{"dropout": [0.1]}, {"activation": ["tanh"]}], ids=str)
def test_one_element_for_each_hidden_layer_that_there_is(data, options):
    X, y = data("one output")
    regressor = MLPRegressor(warm_start=True, **FEW | {"hidden_layer_sizes": (6, 5)}).fit(X, y)
    before = _weights(regressor)
    regressor.set_params(hidden_layer_sizes=(6,), **options)
    for method in (regressor.fit, regressor.partial_fit):
        with pytest.raises(ValueError, match="must have one element for each of 2 hidden layers"):
            method(X, y)
    np.testing.assert_array_equal(_weights(regressor), before)


# Early stopping


def test_a_score_that_is_no_number(data):
    """The weights from before training would be the best ones."""
    X, y = data("multiclass")
    classifier = MLPClassifier(scoring=lambda estimator, X, y: np.nan, early_stopping=True, **FEW)
    with pytest.raises(ValueError, match="early stopping needs a score of the validation rows, and scoring gives nan"):
        classifier.fit(X, y)
    classifier.set_params(early_stopping=False).fit(X, y, X_val=X, y_val=y)
    assert np.isnan(classifier.validation_scores_).all()


def test_batch_norm_with_one_row_to_train_on(data):
    X, y = data("one output")
    regressor = MLPRegressor(normalization="batch", early_stopping=True, validation_fraction=0.6, **FEW)
    with pytest.raises(ValueError, match="got n_samples = 3, of which 2 are held out, batch_size=16"):
        regressor.fit(X[:3], y[:3])
    assert not hasattr(regressor, "coefs_")
    regressor.set_params(batch_size=3).fit(X[:3], y[:3], X_val=X, y_val=y)


# What is said of bad values


@pytest.mark.parametrize("wrong", [-1, np.nan, np.inf, None, "fast", [1.0, 2.0]], ids=repr)
def test_what_a_learning_rate_may_return(data, wrong):
    X, y = data("one output")
    with pytest.raises(ValueError, match=r"learning_rate must return factors that are finite and not negative; got .+ for 0\.0"):
        MLPRegressor(learning_rate=lambda share: wrong, **FEW).fit(X, y)


@pytest.mark.parametrize(
    ("class_weight", "text"),
    [
        ({0: np.nan, 1: 1}, r"class_weight must have finite numbers; got \{0: nan, 1: 1\}"),
        ([{0: 1, 1: 2}], r"class_weight must be a dict or 'balanced', as a list is for several labels; got \[\{0: 1, 1: 2\}\]"),
    ],
)
def test_what_class_weight_may_be(data, class_weight, text):
    X, y = data("one output")
    classifier = MLPClassifier(class_weight=class_weight, **FEW)
    for fit in (classifier.fit, lambda X, y: classifier.partial_fit(X, y, classes=[0, 1])):
        with pytest.raises(ValueError, match=text):
            fit(X, (y > 0).astype(int))
        assert not hasattr(classifier, "coefs_")


# Storing


@pytest.mark.parametrize("options", [{"warmup": 0.5}, {"learning_rate": "cosine"}, {}], ids=str)
def test_stored_twice_before_training_goes_on(data, options):
    """The schedule goes on, also one that comes later."""
    X, y = data("one output")
    ours = MLPRegressor(**FEW | {"max_iter": 10} | options)
    for _ in range(3):
        ours.partial_fit(X, y)
    twice = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(ours))))
    for one in (ours, twice):
        one.set_params(learning_rate="one_cycle").partial_fit(X, y)
    assert twice.learning_rate_curve_ == ours.learning_rate_curve_
    np.testing.assert_array_equal(_weights(twice), _weights(ours))

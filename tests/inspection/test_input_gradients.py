"""Gradients with respect to the inputs against central differences of predictions, and integrated gradients, which add up."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sklearn.neural_network
from scipy.sparse import csc_matrix, csr_array
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

import fastprop
from fastprop import Network, kernels, nn
from fastprop.inspection import attribution_task, input_gradients, integrated_gradients
from fastprop.inspection.input_pass import InputPass
from fastprop.kernels.spec import ACTIVATIONS, LOSSES

TARGETS = ("binary", "multiclass", "multilabel", "one output", "two outputs", "poisson")
CLASSIFIED = TARGETS[:3]
N_FEATURES = 4
# Central differences with a step of 1e-5, of functions whose derivatives are of the order of 1.
CLOSE = {"rtol": 1e-7, "atol": 1e-9}
SINE = nn.Activation(np.sin, np.cos, "sine")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def problem(target, dtype=np.float64, n=40):
    """X and y; the classes are strings, so that none is its own number."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, N_FEATURES))
    signal = np.tanh(X @ rng.normal(size=(N_FEATURES, 3)))
    y = {
        "binary": np.array(["no", "yes"])[(signal[:, 0] > 0).astype(int)],
        "multiclass": np.array(["c", "a", "b"])[signal.argmax(axis=1)],
        "multilabel": (signal > 0).astype(int),
        "one output": signal[:, 0],
        "two outputs": signal[:, :2],
        "poisson": rng.poisson(np.exp(signal[:, 0])).astype(float),
    }[target]
    return X.astype(dtype), y.astype(dtype) if y.dtype.kind == "f" else y


def fitted(target, dtype=np.float64, module=fastprop, **parameters):
    """An estimator, and the rows it was fitted to."""
    X, y = problem(target, dtype)
    parameters = {"hidden_layer_sizes": (6, 5), "activation": "tanh", "max_iter": 10, "random_state": 0} | parameters
    if target == "poisson":
        parameters["loss"] = "poisson"
    make = module.MLPClassifier if target in CLASSIFIED else module.MLPRegressor
    return trained(make(learning_rate_init=0.02, **parameters), X, y), X


def trained(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


def outputs_of(estimator, X):
    """The outputs (n, n_outputs): probabilities of classes or labels, or predictions."""
    predict = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.predict
    return predict(X).reshape(X.shape[0], -1)


def choices(estimator, target):
    """What may be asked for, in the order of the columns of `outputs_of`."""
    return estimator.classes_ if target in CLASSIFIED else range(outputs_of(estimator, np.zeros((1, N_FEATURES))).shape[1])


def differences(f, X, h=1e-5):
    """The derivatives of each output of each row by its own inputs, shape (n_outputs, n, n_features)."""
    steps = h * np.eye(X.shape[1])
    return np.stack([(f(X + step) - f(X - step)) / (2 * h) for step in steps], axis=-1).transpose(1, 0, 2)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", SINE], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_each_output_against_differences(target, activation):
    estimator, X = fitted(target, activation=activation, max_iter=30)
    expected = differences(lambda X: outputs_of(estimator, X), X)
    assert len(expected) == {"binary": 2, "multiclass": 3, "multilabel": 3, "two outputs": 2}.get(target, 1)
    for output, derivatives in zip(choices(estimator, target), expected, strict=True):
        gradients = input_gradients(estimator, X, output)
        assert gradients.shape == X.shape
        np.testing.assert_allclose(gradients, derivatives, **CLOSE)
        assert np.abs(gradients).max() > 0.01


@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_by_default_it_is_the_class_that_is_predicted(target):
    estimator, X = fitted(target)
    predicted = estimator.predict(X)
    assert len(set(predicted)) > 1
    expected = np.empty_like(X)
    for label in estimator.classes_:
        expected[predicted == label] = input_gradients(estimator, X, label)[predicted == label]
    np.testing.assert_array_equal(input_gradients(estimator, X), expected)
    # A small step that way makes it more probable.
    step = 1e-3 * expected
    assert (outputs_of(estimator, X + step).max(axis=1) > outputs_of(estimator, X).max(axis=1)).all()


def test_two_classes_have_opposite_gradients_and_all_sum_to_zero():
    estimator, X = fitted("binary")
    np.testing.assert_array_equal(input_gradients(estimator, X, "no"), -input_gradients(estimator, X, "yes"))
    estimator, X = fitted("multiclass")
    total = sum(input_gradients(estimator, X, label) for label in estimator.classes_)
    np.testing.assert_allclose(total, 0, atol=1e-14)


def test_a_single_class():
    X, _ = problem("binary")
    estimator = trained(fastprop.MLPClassifier((3,), max_iter=2, random_state=0), X, np.zeros(len(X), int))
    expected = differences(lambda X: outputs_of(estimator, X), X)[0]
    np.testing.assert_allclose(input_gradients(estimator, X), expected, **CLOSE)


@pytest.mark.parametrize("target", ["one output", "poisson"])
def test_by_default_it_is_the_only_output(target):
    estimator, X = fitted(target)
    np.testing.assert_array_equal(input_gradients(estimator, X), input_gradients(estimator, X, np.int64(0)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_that_of_predictions(dtype):
    estimator, X = fitted("multiclass", dtype)
    exact = input_gradients(estimator, X.astype(np.float64), "a")
    assert exact.dtype == np.float64
    gradients = input_gradients(estimator, X, "a")
    assert gradients.dtype == estimator.predict_proba(X).dtype == dtype
    np.testing.assert_allclose(gradients, exact, rtol=0, atol=np.finfo(dtype).eps * 16)
    assert integrated_gradients(estimator, X, "a", baseline=np.ones(N_FEATURES), n_steps=3).dtype == dtype
    assert input_gradients(estimator, np.ones((2, N_FEATURES), int), "a").dtype == np.float64


@pytest.mark.parametrize("form", [csr_array, csc_matrix, np.asfortranarray, lambda X: X[::-1][::-1], list])
def test_forms_of_x(form):
    estimator, X = fitted("multiclass")
    X[X < 0] = 0
    gradients = input_gradients(estimator, form(X))
    assert type(gradients) is np.ndarray
    np.testing.assert_array_equal(gradients, input_gradients(estimator, X))
    np.testing.assert_array_equal(
        integrated_gradients(estimator, form(X), n_steps=4), integrated_gradients(estimator, X, n_steps=4)
    )


def test_frames():
    pandas = pytest.importorskip("pandas")
    X, y = problem("multiclass")
    frame = pandas.DataFrame(X, columns=list("wxyz"))
    of_frame, of_array = (trained(fastprop.MLPClassifier((5,), max_iter=5, random_state=0), data, y) for data in (frame, X))
    np.testing.assert_array_equal(input_gradients(of_frame, frame), input_gradients(of_array, X))
    with pytest.raises(ValueError, match="feature names"):
        input_gradients(of_frame, frame.rename(columns={"w": "v"}))


def test_a_pipeline_has_the_inputs_of_its_last_step():
    X, y = problem("multiclass")
    steps = StandardScaler(), PolynomialFeatures(2), fastprop.MLPClassifier((5,), "tanh", max_iter=20, random_state=0)
    pipeline = trained(make_pipeline(*steps), X, y)
    inputs = pipeline[:-1].transform(X)
    gradients = input_gradients(pipeline, X, "b")
    np.testing.assert_array_equal(gradients, input_gradients(pipeline[-1], inputs, "b"))
    assert gradients.shape == (len(X), 15)
    attributions = integrated_gradients(pipeline, X)
    np.testing.assert_array_equal(attributions, integrated_gradients(pipeline[-1], inputs))
    # Through the scaler, a derivative by X is that by its output divided by the scale.
    scaled = trained(make_pipeline(StandardScaler(), steps[-1]), 10 * X, y)
    expected = differences(lambda X: scaled.predict_proba(X), 10 * X)[0] * scaled[0].scale_
    np.testing.assert_allclose(input_gradients(scaled, 10 * X, "a"), expected, **CLOSE)


def test_pipelines_of_one_step_and_in_pipelines():
    X, y = problem("one output")
    inner = make_pipeline(StandardScaler(), fastprop.MLPRegressor(hidden_layer_sizes=5, max_iter=5, random_state=0))
    outer = trained(Pipeline([("half", FunctionTransformer(lambda X: X / 2)), ("none", "passthrough"), ("inner", inner)]), X, y)
    np.testing.assert_array_equal(input_gradients(outer, X), input_gradients(inner[-1], inner[0].transform(X / 2)))
    alone = Pipeline([("last", inner[-1])])
    np.testing.assert_array_equal(input_gradients(alone, X), input_gradients(inner[-1], X))


@pytest.mark.parametrize("target", TARGETS)
def test_scikit_learns_own_classes(target):
    theirs, X = fitted(target, module=sklearn.neural_network)
    expected = differences(lambda X: outputs_of(theirs, X), X)
    for output, derivatives in zip(choices(theirs, target), expected, strict=True):
        np.testing.assert_allclose(input_gradients(theirs, X, output), derivatives, **CLOSE)


def test_a_subclass_and_weights_set_by_hand():
    class Mine(fastprop.MLPRegressor):
        pass

    X, y = problem("one output")
    estimator = Mine(hidden_layer_sizes=(), max_iter=1, solver="lbfgs")
    trained(estimator, X, y).coefs_ = [np.arange(1.0, 5.0)[:, None]]
    np.testing.assert_array_equal(input_gradients(estimator, X), np.tile([1.0, 2.0, 3.0, 4.0], (len(X), 1)))


def test_parts_of_x(monkeypatch):
    estimator, X = fitted("multiclass", activation=SINE)
    whole, integrals = input_gradients(estimator, X), integrated_gradients(estimator, X, baseline=X[::-1], n_steps=3)
    seen = []
    forward = InputPass.forward
    monkeypatch.setattr(InputPass, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
    monkeypatch.setattr(attribution_task, "EVALUATION_ROWS", 16)
    np.testing.assert_allclose(input_gradients(estimator, X), whole, rtol=1e-13)
    assert seen == [16, 16, 8]
    np.testing.assert_allclose(integrated_gradients(estimator, csr_array(X), baseline=X[::-1], n_steps=3), integrals, rtol=1e-12)


def test_threads():
    """More threads in a call, and several calls at once for an activation of the user's own; the estimator stays as it is."""
    estimator, X = fitted("multiclass")
    expected = input_gradients(estimator, X)
    np.testing.assert_allclose(input_gradients(estimator.set_params(n_jobs=3), X), expected, rtol=1e-13)
    estimator, X = fitted("multiclass", activation=SINE)
    parts = [X[i : i + 1 + i % 7] for i in range(30)]
    expected, before = [input_gradients(estimator, part) for part in parts], estimator.predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        for found, gradients in zip(pool.map(lambda part: input_gradients(estimator, part), parts), expected, strict=True):
            np.testing.assert_array_equal(found, gradients)
    np.testing.assert_array_equal(estimator.predict_proba(X), before)


# Networks of any layers


def check_network(network, rng):
    """Compare each output's gradient of a float64 network, whose parameters are drawn here, with differences of its forward."""
    network.params[...] = rng.normal(size=network.params.shape) / 2
    network.buffers[...] = rng.uniform(0.5, 2, network.buffers.shape)
    x = rng.normal(size=(9, network.sizes[0]))
    through = InputPass(network)
    np.testing.assert_allclose(through.forward(x), network.forward(x), rtol=1e-13, atol=1e-15)
    for k, expected in enumerate(differences(network.forward, x)):
        doutputs = np.zeros((len(x), network.sizes[-1]))
        doutputs[:, k] = 1
        np.testing.assert_allclose(through.backward(doutputs), expected, **CLOSE)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation(activation, rng):
    check_network(Network([3, 8, 7, 2], activation, "squared_error"), rng)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss(loss, rng):
    check_network(Network([3, 5, 3], ["silu"], loss), rng)


def test_normalization_dropout_and_residual_blocks(rng):
    program = kernels.LayerProgram(3).linear(6)
    program.batch_norm(epsilon=0.1).activation("tanh").dropout(0.5, seed=1, stream=2)
    block = program.value
    program.layer_norm(epsilon=0.2).linear(6).activation("gelu").add(block)
    inner = program.value
    program.linear(6).batch_norm().activation("sigmoid").add(inner).add(block)  # a value that two rows add
    program.add(program.value)  # the last value to itself
    network = Network.from_layers(program.linear(2).link("softmax"))
    check_network(network, rng)


def test_a_residual_block_around_the_whole_network(rng):
    program = kernels.LayerProgram(3)
    program.layer_norm().linear(3).activation("elu").add(0)
    check_network(Network.from_layers(program.linear(1).link("sigmoid"), "binary_cross_entropy"), rng)


# Integrated gradients


@pytest.mark.parametrize("target", TARGETS)
def test_attributions_sum_up_to_the_change_of_the_output(target, rng):
    estimator, X = fitted(target)
    for baseline in (None, rng.normal(size=N_FEATURES), rng.normal(size=X.shape)):
        start = np.zeros_like(X) if baseline is None else np.broadcast_to(baseline, X.shape)
        changes = outputs_of(estimator, X) - outputs_of(estimator, start)
        for output, change in zip(choices(estimator, target), changes.T, strict=True):
            attributions = integrated_gradients(estimator, X, output, baseline=baseline)
            np.testing.assert_allclose(attributions.sum(axis=1), change, rtol=0, atol=1e-9)
            assert np.abs(change).max() > 0.1


def test_each_attribution_is_the_integral_for_its_feature(rng):
    estimator, X = fitted("multiclass")
    start = rng.normal(size=X.shape)
    n = 400  # midpoints, whose error is of the order of 1 / n^2
    gradients = [input_gradients(estimator, start + (k + 0.5) / n * (X - start), "b") for k in range(n)]
    expected = (X - start) * np.mean(gradients, axis=0)
    np.testing.assert_allclose(integrated_gradients(estimator, X, "b", baseline=start), expected, rtol=0, atol=1e-5)
    assert np.abs(expected).max() > 0.1


def test_the_class_is_that_predicted_at_the_end_of_the_path():
    estimator, X = fitted("multiclass", max_iter=30)
    predicted = estimator.predict(X)
    assert len(set(predicted)) == 3
    assert len(set(estimator.predict(X / 2) == predicted)) == 2  # on the way it may be another
    expected = np.empty_like(X)
    for label in estimator.classes_:
        expected[predicted == label] = integrated_gradients(estimator, X[predicted == label], label)
    np.testing.assert_allclose(integrated_gradients(estimator, X), expected, rtol=1e-12, atol=1e-15)


def test_one_point_is_enough_for_a_linear_model():
    estimator, X = fitted("one output", hidden_layer_sizes=())
    attributions = integrated_gradients(estimator, X, n_steps=1, baseline=np.ones(N_FEATURES))
    np.testing.assert_allclose(attributions, (X - 1) * estimator.coefs_[0].T, rtol=1e-13)


def test_more_points_are_closer(rng):
    """At kinks, too; and thousands of points are no trouble."""
    estimator, X = fitted("one output", activation="relu")
    change = estimator.predict(X) - estimator.predict(np.zeros((1, N_FEATURES)))
    errors = [np.abs(integrated_gradients(estimator, X, n_steps=n).sum(axis=1) - change).max() for n in (5, 50, 3000)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-3


def test_float32_sums_up_too():
    estimator, X = fitted("multiclass", np.float32)
    attributions = integrated_gradients(estimator, X, "a")
    probabilities, at_zero = estimator.predict_proba(X)[:, 0], estimator.predict_proba(np.zeros_like(X[:1]))[0, 0]
    np.testing.assert_allclose(attributions.sum(axis=1), probabilities - at_zero, rtol=0, atol=2e-6)


# Errors


@pytest.mark.parametrize("function", [input_gradients, integrated_gradients])
@pytest.mark.parametrize(
    ("target", "output", "message"),
    [
        ("binary", 0, r"output must be one of the classes \['no', 'yes'\], or None for .* predicted; got 0"),
        ("multiclass", ["a"], r"output must be one of the classes \['a', 'b', 'c'\], or None .*; got \['a'\]"),
        ("multiclass", np.array(["a", "b"]), "output must be one of the classes"),
        ("multilabel", None, "output must be the number of a label, from 0 to 2; got None"),
        ("multilabel", 3, "output must be the number of a label, from 0 to 2; got 3"),
        ("two outputs", None, "output must be the number of an output, from 0 to 1; got None"),
        ("two outputs", -1, "output must be the number of an output, from 0 to 1; got -1"),
        ("one output", 1, "output must be 0 or None, as there is one output; got 1"),
        ("poisson", "rate", "output must be 0 or None, as there is one output; got 'rate'"),
    ],
)
def test_there_is_no_such_output(function, target, output, message):
    estimator, X = fitted(target)
    with pytest.raises(ValueError, match=message):
        function(estimator, X, output)


@pytest.mark.parametrize("function", [input_gradients, integrated_gradients])
def test_what_is_no_fitted_estimator(function):
    X, y = problem("binary")
    tabular = "a TabularClassifier, a TabularRegressor, " if function is input_gradients else ""
    expected = f"estimator must be an MLPClassifier, an MLPRegressor, {tabular}or a Pipeline that ends in one; got "
    for other in (LogisticRegression().fit(X, y), make_pipeline(StandardScaler()).fit(X), nn.Linear(4, 1), fastprop.MLPClassifier):
        with pytest.raises(TypeError, match=expected):
            function(other, X)
    unfitted = fastprop.MLPClassifier()
    for estimator in (unfitted, make_pipeline(StandardScaler(), unfitted), sklearn.neural_network.MLPRegressor()):
        with pytest.raises(NotFittedError, match="is not fitted"):
            function(estimator, X)


def test_x_is_checked_as_in_predict():
    estimator, X = fitted("binary")
    for bad, message in ((X[:, 1:], "features"), (X * np.nan, "NaN"), (X[0], "2D"), (X[:0], "0 sample")):
        with pytest.raises(ValueError, match=message):
            input_gradients(estimator, bad)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"baseline": np.zeros(3)}, ValueError, r"baseline must have shape \(4,\), or \(40, 4\) for .* each row of X; got \(3,\)"),
        ({"baseline": np.zeros((1, 4))}, ValueError, r"baseline must have shape .* got \(1, 4\)"),
        ({"baseline": [0, 0, 0, np.inf]}, ValueError, "baseline must be finite"),
        ({"baseline": ["a", "b", "c", "d"]}, TypeError, "baseline must be an array of real numbers"),
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1; got 0"),
        ({"n_steps": 2.5}, TypeError, "n_steps must be an integer; got 2.5"),
    ],
)
def test_bad_baselines_and_numbers_of_points(options, error, message):
    estimator, X = fitted("binary")
    with pytest.raises(error, match=message):
        integrated_gradients(estimator, X, **options)

"""ONNX: what onnxruntime computes from a converted estimator is what predict and predict_proba give."""

import sys
import warnings

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

import fastprop
from fastprop import nn
from fastprop.estimators.weights import ACTIVATIONS
from fastprop.onnx import register_onnx_converters

try:
    with warnings.catch_warnings():
        # Other versions of these three packages may warn when they are imported, which says nothing about fastprop.
        warnings.simplefilter("ignore")
        import onnx
        import onnxruntime
        import skl2onnx
except ImportError as error:
    onnx = onnxruntime = None
    missing = str(error)
else:
    missing = ""

needs_onnx = pytest.mark.skipif(onnx is None, reason=f"skl2onnx, onnx and onnxruntime are needed: {missing}")
pytestmark = pytest.mark.usefixtures("no_convergence_warning")

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
LABELS = {
    "strings": np.array(["b", "aa", "ö"]),
    "objects": np.array(["b", "aa", "c"], dtype=object),
    "integers": np.array([5, -2, 7]),
    "small integers": np.array([5, 2, 7], dtype=np.int8),
    "floats": np.array([1.0, 0.0, 4.0]),
    "booleans": np.array([False, True]),
    "two strings": np.array(["yes", "no"]),
    "two integers": np.array([-1, 1]),
    "one class": np.array([3]),
}


def _fit(estimator, X, y, pipeline=True):
    return (make_pipeline(StandardScaler(), estimator) if pipeline else estimator).fit(X, y)


def _run(model, X, opset=None, **options):
    """The outputs in onnxruntime, after a check of the graph with its declared shapes."""
    register_onnx_converters()
    graph = skl2onnx.to_onnx(model, X[:1], options=options or None, target_opset=opset)
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"X": X})
    for output, declared in zip(outputs, session.get_outputs(), strict=True):
        if isinstance(output, np.ndarray):
            assert len(declared.shape) == output.ndim
            assert declared.shape[1:] == list(output.shape[1:])
    return outputs


def _assert_close(got, expected, dtype):
    assert got.dtype == dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * max(1, np.abs(expected).max()))


@pytest.mark.pairwise
@needs_onnx
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_classifier(data, target, activation, dtype):
    X, y = data(target, dtype=dtype)
    model = _fit(fastprop.MLPClassifier((6, 5), activation, solver="lbfgs", max_iter=20, random_state=0), X, y)
    labels, probabilities = _run(model, X, zipmap=False)
    _assert_close(probabilities, model.predict_proba(X), dtype)
    np.testing.assert_array_equal(labels, model.predict(X))


@pytest.mark.pairwise
@needs_onnx
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [(), (5,), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("target", ["one output", "two outputs", "poisson", "poisson, two outputs"])
def test_regressor(data, target, hidden, dtype):
    X, y = data(target.split(",")[0], dtype=dtype)
    y = np.stack([y, y + 1], axis=1) if "," in target else y
    loss = "poisson" if "poisson" in target else "squared_error"
    for pipeline in (True, False):
        model = _fit(fastprop.MLPRegressor(loss, hidden, max_iter=20, random_state=0), X, y, pipeline)
        (values,) = _run(model, X)
        _assert_close(values, model.predict(X).reshape(len(X), -1), dtype)


@needs_onnx
@pytest.mark.parametrize("kind", LABELS)
def test_labels(data, kind):
    X, _ = data("binary", dtype=np.float32)
    y = LABELS[kind][np.arange(len(X)) % len(LABELS[kind])]
    model = _fit(fastprop.MLPClassifier((5,), max_iter=10, random_state=0), X, y)
    labels, probabilities = _run(model, X, zipmap=False)
    assert labels.tolist() == model.predict(X).tolist()
    assert labels.dtype == (object if y.dtype.kind in "OU" else np.int64)
    _assert_close(probabilities, model.predict_proba(X), np.float32)


@needs_onnx
@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_options(data, target):
    X, y = data(target, dtype=np.float32)
    model = _fit(fastprop.MLPClassifier((5,), max_iter=10, random_state=0), X, y)
    classes, expected = model.classes_.tolist(), model.predict_proba(X)
    _, rows = _run(model, X)  # zipmap=True is skl2onnx's default: a dict for each row
    assert [list(row) for row in rows] == [classes] * len(X)
    np.testing.assert_allclose([list(row.values()) for row in rows], expected, atol=1e-5)
    labels, *columns = _run(model, X, zipmap="columns")
    assert labels.tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(np.stack(columns, axis=1), expected, atol=1e-5)
    labels, _ = _run(model, X, zipmap=False, nocl=True)
    assert labels.tolist() == expected.argmax(axis=1).tolist()
    assert _run(model, X, zipmap=False, output_class_labels=True)[2].tolist() == classes


@needs_onnx
def test_two_labels_are_not_two_classes(data):
    X, y = data("multilabel", dtype=np.float32)
    model = _fit(fastprop.MLPClassifier((5,), max_iter=10, random_state=0), X, y[:, :2])
    labels, probabilities = _run(model, X, zipmap=False)
    _assert_close(probabilities, model.predict_proba(X), np.float32)
    np.testing.assert_array_equal(labels, model.predict(X))


@needs_onnx
def test_integer_input_and_assigned_weights(data):
    X, y = data("multiclass")
    X = np.round(3 * X).astype(np.int64)
    model = _fit(fastprop.MLPClassifier((5,), max_iter=10, random_state=0), X, y, pipeline=False)
    model.coefs_ = [np.asfortranarray(2 * w) for w in model.coefs_]
    _, probabilities = _run(model, X, zipmap=False)
    _assert_close(probabilities, model.predict_proba(X), np.float32)


@needs_onnx
def test_scikit_learns_own_classes_keep_their_converters(data):
    X, y = data("multiclass", dtype=np.float32)
    theirs = _fit(fastprop.MLPClassifier((5,), max_iter=10, random_state=0), X, y, pipeline=False).to_sklearn()
    np.testing.assert_allclose(_run(theirs, X, zipmap=False)[1], theirs.predict_proba(X), atol=1e-5)


def _regressor(X, y, **parameters):
    """Its outputs have no bounds, so that nothing hides in them."""
    return fastprop.MLPRegressor(hidden_layer_sizes=(6, 5), max_iter=10, random_state=0).set_params(**parameters).fit(X, y)


@pytest.mark.pairwise
@needs_onnx
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_norms(data, activation, normalization, dtype):
    X, y = data("two outputs", dtype=dtype)
    model = _regressor(X, y, activation=activation, normalization=normalization)
    for far in (1, 30):
        (values,) = _run(model, dtype(far) * X)
        _assert_close(values, model.predict(dtype(far) * X), dtype)


@needs_onnx
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_an_activation_for_each_layer_on_old_and_new_operators(data, normalization):
    X, y = data("multiclass")
    hidden = {"hidden_layer_sizes": (5,) * len(ACTIVATIONS), "activation": list(ACTIVATIONS), "normalization": normalization}
    model = fastprop.MLPClassifier(**hidden, dropout=0.1, max_iter=20, random_state=0).fit(X, y)
    expected = model.predict_proba(X)
    assert np.ptp(expected) > 0.1
    for opset in (7, 9, 11, 13, 15, 18, 21, None):
        _, probabilities = _run(model, X, opset, zipmap=False)
        _assert_close(probabilities, expected, np.float64)
        _, probabilities = _run(model, X.astype(np.float32), opset, zipmap=False)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_arguments(activation, dtype):
    z = np.concatenate([np.linspace(-45, 45, 181), [-1e4, -1e3, -300, -100, 100, 300, 1e3, 1e4]]).astype(dtype)[:, None]
    model = _regressor(z, z[:, 0], hidden_layer_sizes=(1,), activation=activation)
    model.coefs_, model.intercepts_ = [np.ones((1, 1), dtype)] * 2, [np.zeros(1, dtype)] * 2
    (values,) = _run(model, z)
    expected = model.predict(z)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(values[:, 0], expected, rtol=TOLERANCE[dtype] / 10, atol=TOLERANCE[dtype] / 10)


@needs_onnx
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "gamma", "tweedie"])
def test_losses(data, loss, dtype):
    X, y = data("one output", dtype=dtype)
    model = _regressor(X, np.exp(y), loss=loss)
    (values,) = _run(model, X)
    _assert_close(values, model.predict(X)[:, None], dtype)


@needs_onnx
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_quantiles(data, dtype):
    X, y = data("one output", dtype=dtype)
    model = _regressor(X, y, loss="quantile", quantile=[0.9, 0.1, 0.5, 0.3])
    assert (np.diff(model._outputs(X)[:, [1, 3, 2, 0]]) < 0).any()  # so that it matters that they are sorted
    for opset in (7, 9, 10, 11, None):
        (values,) = _run(model, X, opset)
        assert (np.diff(values[:, [1, 3, 2, 0]]) >= 0).all()
        _assert_close(values, model.predict(X), dtype)


@needs_onnx
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_double_input_for_weights_in_float32(data, normalization):
    X, y = data("two outputs", dtype=np.float32)
    model, X = _regressor(X, y, normalization=normalization), X.astype(np.float64)
    (values,) = _run(model, X)
    _assert_close(values, model.predict(X), np.float64)


@needs_onnx
def test_an_activation_without_a_name(data):
    X, y = data("one output")
    model = _regressor(X, y, activation=["tanh", nn.Activation(np.sin, np.cos)])
    with pytest.raises(ValueError, match=r"cannot be converted to ONNX: activation must have a name .* got Activation"):
        _run(model, X)


@needs_onnx
def test_composites(data):
    X, y = data("one output", dtype=np.float32)
    small = fastprop.MLPRegressor(hidden_layer_sizes=(5,), max_iter=10, random_state=0)
    columns = make_column_transformer((StandardScaler(), [0, 2]), ("passthrough", [1]))
    for model in (
        make_pipeline(columns, make_pipeline(StandardScaler(), small)),
        GridSearchCV(make_pipeline(StandardScaler(), small), {"mlpregressor__alpha": [0.1]}, cv=2),
        StackingRegressor([("a", small), ("b", small)], make_pipeline(StandardScaler(), small), cv=2),
    ):
        (values,) = _run(model.fit(X, y), X)
        _assert_close(values, model.predict(X)[:, None], np.float32)
    X, y = data("binary", dtype=np.float32)
    model = CalibratedClassifierCV(fastprop.MLPClassifier((5,), max_iter=10, random_state=0), cv=2).fit(X, y)
    np.testing.assert_allclose(_run(model, X, zipmap=False)[1], model.predict_proba(X), atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_in_the_place_of_a_transformer(data, name):
    X, y = data("binary" if name == "MLPClassifier" else "one output", dtype=np.float32)
    middle, last = (getattr(fastprop, name)(hidden_layer_sizes=(3,), max_iter=5, random_state=0) for _ in range(2))
    for model in (
        make_pipeline(StandardScaler(), middle, last),
        make_pipeline(make_pipeline(StandardScaler(), middle), last),
        make_pipeline(make_union(middle, StandardScaler()), last),
        make_pipeline(make_column_transformer((middle, [0, 1])), last),
    ):
        with pytest.raises(ValueError, match=f"{name} must be the last step of what is converted to ONNX: its transform has no"):
            _run(model.fit(X, y), X)


def test_without_skl2onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"fastprop-mlp\[onnx\]"):
        register_onnx_converters()

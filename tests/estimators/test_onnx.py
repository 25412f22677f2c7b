"""ONNX: what onnxruntime computes from a converted estimator is what predict and predict_proba give."""

import sys
import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastprop
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


def _run(model, X, **options):
    """The outputs in onnxruntime, after a check of the graph with its declared shapes."""
    register_onnx_converters()
    graph = skl2onnx.to_onnx(model, X[:1], options=options or None)
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


def test_without_skl2onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"fastprop-mlp\[onnx\]"):
        register_onnx_converters()

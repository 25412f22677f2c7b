"""The bare compiled predictor: right, bound to its arrays, checked when it is made."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import NotFittedError

from fastprop import MLPClassifier, MLPRegressor, Network, nn

X, Y = make_classification(40, 6, n_informative=4, n_classes=3, random_state=0)


def fitted(dtype=np.float64, estimator=MLPClassifier, **parameters):
    return estimator(hidden_layer_sizes=(8,), tol=1e9, random_state=0, **parameters).fit(X.astype(dtype), Y)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_call_reads_x_and_writes_out(dtype, n, n_threads):
    classifier, rows = fitted(dtype), X.astype(dtype)
    x, out = np.empty((n, 6), dtype), np.empty((n, 3), dtype)
    predict = classifier.predictor(x, out, n_threads=n_threads)
    for start in (0, 20):
        x[...] = rows[start : start + n]
        assert predict() is None
        np.testing.assert_allclose(out, classifier.predict_proba(x), rtol=1e-6 if dtype is np.float32 else 1e-14)


def test_regressor():
    regressor, out = fitted(estimator=MLPRegressor), np.empty((40, 1))
    regressor.predictor(X, out)()
    np.testing.assert_array_equal(out[:, 0], regressor.predict(X))


def test_two_classes_have_one_output():
    classifier = MLPClassifier((4,), tol=1e9, random_state=0).fit(X, Y > 0)
    out = np.empty((40, 1))
    classifier.predictor(X, out)()
    np.testing.assert_array_equal(out[:, 0], classifier.predict_proba(X)[:, 1])


def test_an_activation_of_the_users():
    square = nn.Activation(lambda z: z**2, lambda z: 2 * z)
    classifier, out = fitted(activation=square), np.empty((40, 3))
    classifier.predictor(X, out)()
    np.testing.assert_array_equal(out, classifier.predict_proba(X))


@pytest.mark.parametrize("activation", ["relu", nn.Activation(np.sin, np.cos)], ids=["relu", "own"])
def test_it_keeps_the_weights_of_when_it_was_made(activation):
    classifier, out = fitted(activation=activation), np.empty((40, 3))
    before, predict = classifier.predict_proba(X), classifier.predictor(X, out)
    classifier.coefs_[0][...] *= 2
    predict()
    np.testing.assert_allclose(out, before, rtol=1e-14)
    classifier.predictor(X, out)()
    np.testing.assert_allclose(out, classifier.predict_proba(X), rtol=1e-14)
    classifier.coefs_[0] = np.zeros_like(classifier.coefs_[0])
    classifier.predictor(X, out)()
    np.testing.assert_allclose(out, classifier.predict_proba(X), rtol=1e-14)


def test_it_keeps_its_arrays_alive():
    network = Network([6, 3], loss="squared_error")
    network.intercepts[0][...] = 5
    out = np.empty((2, 3))
    predict = network.predictor(np.ones((2, 6)), out)
    del network
    predict()
    np.testing.assert_array_equal(out, np.full((2, 3), 5.0))


def read_only(array):
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    ("x", "out", "error", "message"),
    [
        (np.ones((2, 5)), np.ones((2, 3)), ValueError, r"x must have shape \(n, 6\); got \(2, 5\)"),
        (np.ones(6), np.ones((1, 3)), ValueError, r"x must have shape \(n, 6\); got \(6,\)"),
        (np.ones((0, 6)), np.ones((0, 3)), ValueError, "x must be a C-contiguous, aligned float64 array with rows"),
        (np.ones((2, 6), np.float32), np.ones((2, 3)), ValueError, "x must be a C-contiguous, aligned float64 array"),
        (np.ones((6, 2)).T, np.ones((2, 3)), ValueError, "x must be a C-contiguous, aligned float64 array"),
        ([[1.0] * 6], np.ones((1, 3)), ValueError, "x must be a C-contiguous, aligned float64 array"),
        (np.ones((2, 6)), np.ones((3, 3)), ValueError, r"out must have shape \(2, 3\); got \(3, 3\)"),
        (np.ones((2, 6)), np.ones((2, 3), np.float32), TypeError, "out must be float64"),
        (np.ones((2, 6)), np.ones((3, 2)).T, ValueError, "out must be C-contiguous, aligned and writeable; got a strided"),
        (np.ones((2, 6)), read_only(np.ones((2, 3))), ValueError, "out must be .*; got a read-only"),
    ],
)
def test_what_does_not_fit_is_refused(x, out, error, message):
    with pytest.raises(error, match=message):
        Network([6, 3]).predictor(x, out)


def test_what_would_be_overwritten_is_refused():
    network, block = Network([2, 2]), np.ones((2, 2))
    with pytest.raises(ValueError, match="out must not overlap x"):
        network.predictor(block, block)
    with pytest.raises(ValueError, match="out must not overlap params"):
        network.predictor(block, network.coefs[0])
    with pytest.raises(ValueError, match="n_threads must be from 1"):
        network.predictor(block, np.ones((2, 2)), n_threads=0)


# Fewer bits

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS, TRAIN, TEST = (DIGITS / 16).astype(np.float32), slice(1200), slice(1200, None)


@pytest.fixture(scope="module")
def of_digits():
    return MLPClassifier((100, 50), max_iter=60, tol=1e9, random_state=0, n_iter_no_change=30).fit(DIGITS[TRAIN], DIGIT[TRAIN])


def outputs_of(model, x, **options):
    out = np.empty((len(x), model.n_outputs_), np.float32)
    model.predictor(x, out, **options)()
    return out


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_fewer_bits_predict_nearly_the_same(of_digits, precision):
    expected = of_digits.predict_proba(DIGITS[TEST])
    for n_threads in (1, 2):
        found = outputs_of(of_digits, DIGITS[TEST], n_threads=n_threads, precision=precision)
        assert 0 < np.abs(found - expected).max() < 0.3
        right = found.argmax(axis=1) == DIGIT[TEST]
        assert right.mean() > of_digits.score(DIGITS[TEST], DIGIT[TEST]) - 0.005
    known = outputs_of(of_digits, DIGITS[TEST], precision="int8", calibration=DIGITS[TRAIN].astype(np.float64))
    assert np.abs(known - expected).mean() < 1.5 * np.abs(found - expected).mean()


def test_calibration_gives_small_columns_their_bits():
    """One column counts in thousands: without calibration the ranges of rows are its range."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 40)).astype(np.float32)
    y = x[:, :5].sum(axis=1)
    x[:, 39] += 5000
    network = Network([40, 16, 1], "identity", "squared_error", np.float32)
    network.coefs[0][:5, 0], network.coefs[1][0], network.intercepts[0][1:] = 1, 1, 1
    errors = []
    for calibration in (None, x[:400]):
        out = np.empty((400, 1), np.float32)
        network.predictor(x[400:], out, precision="int8", calibration=calibration)()
        errors.append(np.sqrt(np.mean((out[:, 0] - y[400:]) ** 2)))
    assert errors[1] < 0.1 < 2 < errors[0]


def test_fewer_bits_are_float32_whatever_the_network_is(of_digits):
    double = MLPClassifier((40,), tol=1e9, random_state=0).fit(DIGITS.astype(np.float64), DIGIT)
    assert double.coefs_[0].dtype == np.float64
    np.testing.assert_allclose(outputs_of(double, DIGITS, precision="int8"), double.predict_proba(DIGITS), atol=0.05)
    with pytest.raises(ValueError, match="x must be a C-contiguous, aligned float32 array"):
        double.predictor(DIGITS.astype(np.float64), np.empty((len(DIGITS), 10), np.float32), precision="int8")
    with pytest.raises(TypeError, match="out must be float32"):
        double.predictor(DIGITS, np.empty((len(DIGITS), 10)), precision="bfloat16")


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_small_network_reads_float32(precision):
    regressor, x, out = fitted(np.float32, MLPRegressor), X.astype(np.float32), np.empty((40, 1), np.float32)
    regressor.predictor(x, out, precision=precision)()
    np.testing.assert_array_equal(out[:, 0], regressor.predict(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision must be one of .*; got 'int4'"),
        ({"precision": None, "calibration": DIGITS}, "calibration is only for precision='int8'; got precision=None"),
        ({"precision": "bfloat16", "calibration": DIGITS}, "calibration is only for precision='int8'"),
        (
            {"precision": "int8", "calibration": DIGITS[:, 1:]},
            r"calibration must have shape .*\(n, 64\), .*got shape \(1797, 63\)",
        ),
        ({"precision": "int8", "calibration": DIGITS[:0]}, r"calibration must have .* at least one row, .*; got shape \(0, 64\)"),
        ({"precision": "int8", "calibration": np.full((2, 64), np.nan)}, "and finite numbers; got shape"),
    ],
)
def test_options_that_do_not_fit_are_refused(of_digits, options, message):
    with pytest.raises(ValueError, match=message):
        outputs_of(of_digits, DIGITS, **options)


def test_an_activation_of_the_users_has_no_fewer_bits():
    own = MLPClassifier((40, 40), activation=nn.Activation(np.sin, np.cos), tol=1e9, random_state=0).fit(DIGITS, DIGIT)
    with pytest.raises(ValueError, match="a network with an activation of your own predicts in float32 or float64"):
        outputs_of(own, DIGITS, precision="int8")


def test_not_fitted():
    with pytest.raises(NotFittedError):
        MLPClassifier().predictor(X, np.empty((40, 3)))

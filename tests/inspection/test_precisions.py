"""What predictions lose with fewer bits."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as ScikitLearns

from fastprop import MLPClassifier, MLPRegressor
from fastprop.inspection import compare_precisions

X, Y = load_digits(return_X_y=True)
X = X / 16


@pytest.fixture(scope="module")
def classifier():
    return MLPClassifier((40,), tol=1e9, random_state=0, n_iter_no_change=30).fit(X[:1200], Y[:1200])


def test_scores_and_differences_are_those_of_predictors(classifier):
    comparison = compare_precisions(classifier, X[1200:], Y[1200:], calibration=X[:1200])
    assert [row.name for row in comparison.rows] == ["float64", "float32", "bfloat16", "int8"]
    probabilities, x = classifier.predict_proba(X[1200:]), X[1200:].astype(np.float32)
    assert comparison["float64"] == ("float64", classifier.score(X[1200:], Y[1200:]), 0, 0)
    for name in ("bfloat16", "int8"):
        out = np.empty((len(x), 10), np.float32)
        classifier.predictor(x, out, precision=name, calibration=X[:1200] if name == "int8" else None)()
        score = (out.argmax(axis=1) == Y[1200:]).mean()
        expected = (score, comparison["float64"].score - score, np.abs(out - probabilities).max())
        np.testing.assert_allclose(comparison[name][1:], expected, rtol=1e-12)
    assert comparison["float32"].difference < 1e-5 < comparison["bfloat16"].difference
    text = str(comparison)
    assert text.splitlines()[0].split() == ["precision", "score", "lost", "largest", "difference"]
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["float64", "float32", "bfloat16", "int8"]


def test_weights_of_float32_have_three_rows():
    single = MLPClassifier((40,), tol=1e9, random_state=0).fit(X.astype(np.float32), Y)
    assert [row.name for row in compare_precisions(single, X.astype(np.float32), Y).rows] == ["float32", "bfloat16", "int8"]


def test_two_classes_several_labels_and_numbers():
    for y in (Y > 4, np.stack([Y > 4, Y % 2 == 0], axis=1).astype(int)):
        model = MLPClassifier((40,), tol=1e9, random_state=0).fit(X, y)
        comparison = compare_precisions(model, X, y)
        assert comparison["float64"].score == model.score(X, y)
        assert abs(comparison["int8"].lost) < 0.02
    X_diabetes, y = load_diabetes(return_X_y=True)
    model = MLPRegressor(hidden_layer_sizes=(40, 40), solver="lbfgs", max_iter=100, tol=1e9, random_state=0).fit(X_diabetes, y)
    assert compare_precisions(model, X_diabetes, y)["float64"].score == model.score(X_diabetes, y)


def test_an_estimator_of_scikit_learns():
    theirs = ScikitLearns((40,), tol=1e9, random_state=0).fit(X, Y)
    assert compare_precisions(theirs, X, Y)["float64"].score == theirs.score(X, Y)


def test_what_it_does_not_take_is_refused(classifier):
    with pytest.raises(TypeError, match="X must be dense"):
        compare_precisions(classifier, csr_array(X), Y)
    with pytest.raises(TypeError, match="estimator must be an MLPClassifier or an MLPRegressor; got 3"):
        compare_precisions(3, X, Y)
    with pytest.raises(NotFittedError):
        compare_precisions(MLPClassifier(), X, Y)
    with pytest.raises(ValueError, match=r"calibration must have shape .* and finite numbers"):
        compare_precisions(classifier, X, Y, X[:, 1:])

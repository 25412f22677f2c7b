"""What cannot be exported is named, and nothing is written."""

import copy

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier as ScikitLearns
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, export, nn
from fastprop.preprocessing import TabularEncoder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).normal(size=(40, 3))
CLASSES, Y = np.arange(40) % 3, X[:, 0]


class Subclass(MLPClassifier):
    pass


def network(make=MLPClassifier, **parameters):
    return make(hidden_layer_sizes=(4,), max_iter=2, random_state=0, **parameters)


def tabular(make=TabularRegressor):
    return make(n_members=2, max_iter=1, hidden_layer_sizes=(4,), random_state=0)


def own_activation():
    return network(activation=nn.Activation(np.sin, np.cos)).fit(X, CLASSES)


def with_number(name, value):
    model = network(normalization="layer").fit(X, CLASSES)
    getattr(model, name)[0][...] = value
    return model


def bad_scaler():
    model = make_pipeline(StandardScaler(), network()).fit(X, CLASSES)
    model[0].mean_[1] = np.nan
    return model


def two_outputs_for_two_classes():
    model = network().fit(X, CLASSES > 0)
    model.coefs_[-1], model.intercepts_[-1] = np.ones((4, 2)), np.zeros(2)
    model.n_outputs_ = 2
    return model


OF_ALL = {
    "another class": (
        lambda: LogisticRegression().fit(X, CLASSES),
        TypeError,
        "the estimator must be one of MLPClassifier, .* got Logi",
    ),
    "scikit-learn's": (
        lambda: ScikitLearns((2,), max_iter=2).fit(X, CLASSES),
        TypeError,
        "the estimator must be .* got MLPClassifier",
    ),
    "subclass": (lambda: Subclass(max_iter=2).fit(X, CLASSES), TypeError, "got Subclass"),
    "no estimator": (lambda: None, TypeError, "got NoneType"),
    "last step": (
        lambda: make_pipeline(StandardScaler()).fit(X),
        TypeError,
        "step 'standardscaler' of the pipeline must be one of",
    ),
    "not fitted": (network, NotFittedError, "not fitted"),
    "table not fitted": (tabular, NotFittedError, "not fitted"),
    "pipeline not fitted": (lambda: make_pipeline(StandardScaler(), network().fit(X, CLASSES)), NotFittedError, "StandardScaler"),
    "a step": (
        lambda: make_pipeline(PCA(2), network()).fit(X, CLASSES),
        NotImplementedError,
        "step 'pca' of the pipeline, PCA cannot",
    ),
    "encoder later": (
        lambda: make_pipeline(StandardScaler(), TabularEncoder(), network()).fit(X, CLASSES),
        NotImplementedError,
        "step 'tabularencoder' of the pipeline, TabularEncoder, which can only be the first step",
    ),
    "table in a pipeline": (
        lambda: make_pipeline(StandardScaler(), tabular()).fit(X, Y),
        NotImplementedError,
        "step 'standardscaler' of the pipeline, StandardScaler, cannot be exported before TabularRegressor",
    ),
    "own activation": (own_activation, NotImplementedError, "activation must have a name .* got Activation"),
    "NaN weight": (lambda: with_number("coefs_", np.nan), ValueError, "weights or norms hold NaN or infinity"),
    "infinite norm": (lambda: with_number("norm_weights_", np.inf), ValueError, "weights or norms hold NaN or infinity"),
    "NaN mean": (bad_scaler, ValueError, "its mean_ or scale_ holds NaN or infinity"),
    "two outputs for two classes": (two_outputs_for_two_classes, NotImplementedError, "an output for each of two classes"),
}


@pytest.mark.parametrize("to", [export.to_c, export.to_numpy])
@pytest.mark.parametrize("kind", OF_ALL)
def test_models(kind, to, tmp_path):
    make, error, message = OF_ALL[kind]
    model, path = make(), tmp_path / "model"
    path.write_text("as before")
    with pytest.raises(error, match=message):
        to(model, path=path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["as before"]


def test_what_only_c_does_not_take(tmp_path):
    path = tmp_path / "model.c"
    model = network().fit(X, CLASSES)
    for arguments, error, message in (
        ({"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'int8'; got 'float16'"),
        ({"X": X}, ValueError, "X is only for dtype='int8'.*got dtype='float32'"),
        ({"name": 3}, TypeError, "name must be a str; got 3"),
        ({"name": "for"}, ValueError, "name must be an identifier of C.*no keyword; got 'for'"),
        ({"X": X[:, :2], "dtype": "int8"}, ValueError, "X has 2 features"),
        ({"X": X[:0], "dtype": "int8"}, ValueError, "0 sample"),
    ):
        with pytest.raises(error, match=message):
            export.to_c(model, path=path, **arguments)
    model.coefs_[0][0, 0] = 1e39
    with pytest.raises(ValueError, match="weight_0_0 cannot be exported: a number is too large for float32"):
        export.to_c(model, path=path)
    assert not path.exists()
    assert "np.frombuffer" in export.to_numpy(model)


def test_numbers_that_are_no_double():
    categories = 2**53 + np.arange(40)[:, None] % 3
    model = TabularClassifier(n_members=1, max_iter=1, categorical_features=[0], random_state=0).fit(categories, CLASSES)
    with pytest.raises(
        NotImplementedError, match="column 'x0' cannot be exported to C: its category 9007199254740993 is no double"
    ):
        export.to_c(model)


def test_labels_of_other_types():
    model = network().fit(X, CLASSES)
    for labels, found in (([b"a", b"b", b"c"], "bytes b'a'"), ([1, "b", 2], "int 1")):
        other = copy.copy(model)
        other.classes_ = np.array(labels, dtype=object)
        with pytest.raises(TypeError, match=f"classes must be integers, numbers or strings .* got {found}"):
            export.to_c(other)
    other.classes_ = np.array(["a", "b", "c" * 5000])
    with pytest.raises(NotImplementedError, match="a label of more than 4095 bytes"):
        export.to_c(other)
    other.classes_ = np.array([0, 1, 2**64 - 1], np.uint64)
    with pytest.raises(NotImplementedError, match="too large for long long"):
        export.to_c(other)
    other.classes_ = np.array([b"a", b"b", b"c"])
    with pytest.raises(TypeError, match="got bytes b'a'"):
        export.to_numpy(other)


def test_an_activation_of_scikit_learns_at_another_place():
    model = network(MLPRegressor).fit(X, Y)
    model.out_activation_ = "tanh"
    with pytest.raises(NotImplementedError, match="out_activation_ must be one of"):
        export.to_c(model)


def test_another_encoding():
    model = tabular().fit(X, Y)

    class Encoding(type(model.encoders_[0].columns_[0])):
        pass

    vars(model.encoders_[0])["columns_"] = [Encoding(0, 0.0, 1.0), *model.encoders_[0].columns_[1:]]
    for to in (export.to_c, export.to_numpy):
        with pytest.raises(NotImplementedError, match="Encoding cannot be exported to"):
            to(model)

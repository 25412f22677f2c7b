"""`transform`: the hidden layers by themselves, against NumPy; its containers and names; the estimator as a step of a pipeline."""

import numpy as np
import pytest
import scipy.sparse
from scipy.special import erf, expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, MLPRegressor, nn

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SMALL = {"hidden_layer_sizes": (6, 5, 4), "max_iter": 4, "learning_rate_init": 0.02, "random_state": 0}
FORMULAS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "silu": lambda z: z * expit(z),
}
SQUARE = nn.Activation(lambda z: z**2 / 4, lambda z: z / 2, name="square")
# name -> (parameters, the functions of the hidden layers)
NETWORKS = {
    **{name: ({"activation": name}, [f] * 3) for name, f in FORMULAS.items()},
    "three": ({"activation": ["tanh", "relu", "gelu"]}, [FORMULAS[name] for name in ("tanh", "relu", "gelu")]),
    "batch norm": ({"normalization": "batch", "activation": "tanh"}, [np.tanh] * 3),
    "layer norm": ({"normalization": "layer", "activation": "silu"}, [FORMULAS["silu"]] * 3),
    "dropout": ({"dropout": 0.5}, [FORMULAS["relu"]] * 3),
    "average": ({"ema_decay": 0.9, "activation": "tanh"}, [np.tanh] * 3),
    "lbfgs": ({"solver": "lbfgs"}, [FORMULAS["relu"]] * 3),
    "one's own": ({"activation": SQUARE}, [lambda z: z**2 / 4] * 3),
    "one's own and a name": ({"activation": ["tanh", SQUARE, "relu"]}, [np.tanh, lambda z: z**2 / 4, FORMULAS["relu"]]),
}


def _hidden(estimator, X, functions):
    """The hidden layers' activations, in NumPy."""
    layers = []
    for i, f in enumerate(functions):
        X = X @ estimator.coefs_[i] + estimator.intercepts_[i]
        if estimator.normalization == "batch":
            X = (X - estimator.running_means_[i]) / np.sqrt(estimator.running_vars_[i] + 1e-5)
        elif estimator.normalization == "layer":
            X = (X - X.mean(axis=1, keepdims=True)) / np.sqrt(X.var(axis=1, keepdims=True) + 1e-5)
        if estimator.normalization:
            X = X * estimator.norm_weights_[i] + estimator.norm_biases_[i]
        X = f(X)
        layers.append(X)
    return layers


IN_FLOAT32 = ("relu", "batch norm", "lbfgs", "one's own")


@pytest.mark.parametrize(
    ("case", "dtype"), [*((case, "float64") for case in NETWORKS), *((case, "float32") for case in IN_FLOAT32)]
)
def test_the_layers_of_a_network(data, case, dtype):
    X, y = data("multiclass", dtype=dtype)
    parameters, functions = NETWORKS[case]
    ours = MLPClassifier(**SMALL | parameters).fit(X, y)
    expected = _hidden(ours, X, functions)
    for layer in (0, 1, 2, -1, -2, -3, np.int64(1)):
        hidden = ours.transform(X, layer=layer)
        assert hidden.dtype == np.result_type(X, ours.coefs_[0])
        np.testing.assert_allclose(hidden, expected[layer], rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)
    np.testing.assert_array_equal(ours.transform(X), ours.transform(X, layer=2))
    logits = ours.transform(X) @ ours.coefs_[-1] + ours.intercepts_[-1]
    np.testing.assert_array_equal(ours.classes_[logits.argmax(axis=1)], ours.predict(X))


def test_a_regressor_and_other_forms_of_rows(data):
    X, y = data("two outputs")
    ours = MLPRegressor(**SMALL).fit(X, y)
    expected = ours.transform(X)
    np.testing.assert_allclose(expected, _hidden(ours, X, [FORMULAS["relu"]] * 3)[-1], atol=1e-12)
    np.testing.assert_allclose(expected @ ours.coefs_[-1] + ours.intercepts_[-1], ours.predict(X), rtol=1e-12)
    for rows in (scipy.sparse.csr_array(X), scipy.sparse.csc_matrix(X), X.tolist(), np.asfortranarray(X)):
        np.testing.assert_allclose(ours.transform(rows), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.transform(X.astype(np.float32)), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(ours.transform(X[:1]), expected[:1])
    ours.coefs_[0][:] = 0  # weights of one's own count
    ours.intercepts_[0][:] = -1
    np.testing.assert_array_equal(ours.transform(X, layer=0), np.zeros((len(X), 6)))


def test_fit_transform_and_clone(data):
    X, y = data("multiclass")
    ours = MLPClassifier(**SMALL)
    features = ours.fit_transform(X, y)
    np.testing.assert_array_equal(features, clone(ours).fit(X, y).transform(X))
    weighted = clone(ours).fit_transform(X, y, sample_weight=np.linspace(0, 1, len(X)))
    assert (weighted != features).any()
    stopped = clone(ours).set_params(early_stopping=True)
    np.testing.assert_array_equal(stopped.fit_transform(X, y, X_val=X, y_val=y), stopped.transform(X))
    assert len(stopped.validation_loss_curve_) == stopped.n_iter_


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (3, ValueError, r"layer must be the number of one of 3 hidden layers, from -3 to 2; got 3"),
        (-4, ValueError, r"layer must be the number of one of 3 hidden layers, from -3 to 2; got -4"),
        (1.0, TypeError, r"layer must be an integer; got 1\.0"),
        (True, TypeError, r"layer must be an integer; got True"),
        ("last", TypeError, r"layer must be an integer; got 'last'"),
    ],
)
def test_no_such_layer(data, layer, error, words):
    X, y = data("multiclass")
    with pytest.raises(error, match=words):
        MLPClassifier(**SMALL).fit(X, y).transform(X, layer=layer)


def test_what_cannot_be_transformed(data):
    X, y = data("multiclass")
    ours = MLPClassifier(**SMALL)
    for method in (ours.transform, ours.get_feature_names_out):
        with pytest.raises(NotFittedError):
            method(X)
    ours.fit(X, y)
    with pytest.raises(ValueError, match="X has 6 features, but MLPClassifier is expecting 7"):
        ours.transform(X[:, :6])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        ours.transform(np.full((1, 7), np.nan))
    linear = MLPClassifier(**SMALL | {"hidden_layer_sizes": ()}).fit(X, y)
    for method in (linear.transform, linear.get_feature_names_out):
        with pytest.raises(ValueError, match="transform needs a hidden layer"):
            method(X)


@pytest.mark.parametrize("target", ["binary", "one output"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(data, target, library):
    frames = pytest.importorskip(library)
    X, y = data(target)
    ours = (MLPClassifier if target == "binary" else MLPRegressor)(**SMALL)
    table = frames.DataFrame({f"c{i}": column for i, column in enumerate(X.T)})
    plain = ours.fit(table, y).transform(table)
    assert type(plain) is np.ndarray
    ours.set_output(transform=library)
    name = type(ours).__name__.lower()
    for layer, width in ((-1, 4), (0, 6), (1, 5)):
        found = ours.transform(table, layer=layer)
        assert isinstance(found, frames.DataFrame)
        assert list(found.columns) == [f"{name}{i}" for i in range(width)]
        np.testing.assert_array_equal(
            found.to_numpy(), clone(ours).set_output(transform="default").fit(table, y).transform(table, layer)
        )
    assert ours.get_feature_names_out().tolist() == [f"{name}{i}" for i in range(4)]
    pipeline = make_pipeline(StandardScaler(), clone(ours)).set_output(transform=library)
    found = pipeline.fit_transform(table, y)
    assert isinstance(found, frames.DataFrame)
    assert list(found.columns) == list(pipeline.get_feature_names_out()) == [f"{name}{i}" for i in range(4)]
    if library == "pandas":
        table.index = np.arange(len(X)) + 100
        assert list(pipeline.transform(table).index) == list(table.index)
    assert ours.predict(table).shape == y.shape  # which is no transformation


def test_features_for_another_estimator(data):
    X, y = data("multiclass")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL), LogisticRegression())
    pipeline.fit(X, y)
    scaled = StandardScaler().fit_transform(X)
    network = clone(pipeline[1]).fit(scaled, y)
    logistic = LogisticRegression().fit(network.transform(scaled), y)
    np.testing.assert_array_equal(pipeline.predict_proba(X), logistic.predict_proba(network.transform(scaled)))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_[-1].coef_.shape == (4, 4)
    sparse = make_pipeline(MLPClassifier(**SMALL), LogisticRegression()).fit(scipy.sparse.csr_array(scaled), y)
    np.testing.assert_allclose(sparse.predict_proba(scipy.sparse.csr_array(scaled)), pipeline.predict_proba(X), rtol=1e-6)


def test_a_union_of_features(data):
    pytest.importorskip("pandas")
    X, y = data("multiclass")
    union = make_union(StandardScaler(), MLPClassifier(**SMALL), MLPRegressor(**SMALL)).fit(X, np.searchsorted(np.unique(y), y))
    found = union.transform(X)
    assert found.shape == (90, 7 + 4 + 4)
    for columns, (_, step) in zip(np.split(found, [7, 11], axis=1), union.transformer_list, strict=True):
        np.testing.assert_array_equal(columns, step.transform(X))
    names = union.get_feature_names_out()
    assert names[7] == "mlpclassifier__mlpclassifier0"
    named = FeatureUnion(union.transformer_list).set_output(transform="pandas").fit(X, np.searchsorted(np.unique(y), y))
    assert list(named.transform(X).columns) == list(names)


def test_a_subclass_has_its_own_names(data):
    class Features(MLPClassifier):
        pass

    X, y = data("binary")
    assert Features(**SMALL).fit(X, y).get_feature_names_out().tolist() == [f"features{i}" for i in range(4)]

"""Bad input: what HistGradientBoosting refuses is refused in its words, and what is refused beyond that says why."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score

from fastprop import TabularClassifier, TabularRegressor

N = 30
rng = np.random.default_rng(0)
X, Y, LABELS = rng.normal(size=(N, 3)), rng.normal(size=N), np.arange(N) % 3
SMALL = {"n_members": 2, "max_iter": 2}
PAIRS = {
    "regressor": (TabularRegressor, HistGradientBoostingRegressor),
    "classifier": (TabularClassifier, HistGradientBoostingClassifier),
}


def one(values, value):
    """Values of which one is another."""
    values = np.array(values)
    values[3] = value
    return values


def error_of(call):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    return caught.type, str(caught.value)


def words_of_both(kind, fit, parameters):
    """(ours, theirs): type and text of the error of ``fit(estimator)``, the name of the class left out."""
    ours, theirs = PAIRS[kind]
    found = []
    for estimator in (ours(**SMALL | parameters), theirs(**{"max_iter": 2, "early_stopping": True} | parameters)):
        error, text = error_of(lambda e=estimator: fit(e))
        found.append((error, text.replace(type(estimator).__name__, "NAME")))
    return found


OURS = object()  # where the message is not theirs
Y_AS_THEIRS = {
    "None": (None, None),
    "number": (1.0, 1.0),
    "infinity": (one(Y, np.inf), one(Y, np.inf)),
    "three dimensions": (Y[:, None, None], LABELS[:, None, None]),
    "too few": (Y[1:], LABELS[1:]),
    "complex": (Y + 1j, LABELS + 1j),
    "not of the kind": (OURS, Y),
    "words": (OURS, np.array([1, "a"] * 15, dtype=object)),
}
Y_OF_KINDS = [(kind, name) for name, both in Y_AS_THEIRS.items() for kind, y in zip(PAIRS, both, strict=True) if y is not OURS]


@pytest.mark.parametrize(("kind", "name"), Y_OF_KINDS)
def test_y(kind, name):
    y = Y_AS_THEIRS[name][kind == "classifier"]
    ours, theirs = words_of_both(kind, lambda model: model.fit(X, y), {})
    assert ours[0] is theirs[0]
    # What they check without the estimator does not have its name.
    assert ours[1].replace(" by NAME", "") == theirs[1].replace(" by NAME", "")


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, pd.NaT], ids=["None", "NaN", "NA", "NaT"])
def test_gaps_in_y(gap):
    """X may have some, so the message says that y must not; with None in a list theirs trains."""
    message = r"^y must have no missing values \(NaN, None\); the first is in row {}: leave such rows out$"
    for model, y in ((TabularRegressor, list(Y)), (TabularClassifier, ["a", "b"] * (N // 2))):
        y[5] = y[9] = gap
        for given in (y, np.array(y, object), pd.Series(y, dtype=object)):
            with pytest.raises(ValueError, match=message.format(5)):
                model(**SMALL).fit(X, given)
    for model in (TabularRegressor, TabularClassifier):
        with pytest.raises(ValueError, match=message.format(0)):
            model(**SMALL).fit(X, np.full(N, np.nan))
        with pytest.raises(ValueError, match=message.format(3).replace("^", "^y_val: ")):
            model(**SMALL).fit(X, LABELS, X_val=X, y_val=one(1.0 * LABELS, np.nan))


def test_text_in_y_of_a_regressor():
    y = ["1.5", 2] * (N // 2)
    TabularRegressor(**SMALL).fit(X, y)  # text of numbers, as theirs
    y[3] = "high"
    for given in (y, np.array(y), pd.Series(y)):
        with pytest.raises(ValueError, match=r"^y must be numbers; got high in row 3\. TabularClassifier is for classes$"):
            TabularRegressor(**SMALL).fit(X, given)


@pytest.mark.parametrize("targets", [np.c_[LABELS, LABELS], np.c_[LABELS > 0, LABELS > 1]], ids=["two columns", "indicators"])
def test_y_of_a_classifier_is_a_vector(targets):
    ours, theirs = words_of_both("classifier", lambda model: model.fit(X, targets), {})
    assert ours == theirs


WEIGHTS = {
    "too few": np.ones(N - 1),
    "two dimensions": np.ones((N, 2)),
    "NaN": one(Y, np.nan),
    "infinity": one(Y, np.inf),
    "words": ["a"] * N,
    "zeros": np.zeros(N),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(kind, name):
    y, weight = LABELS if kind == "classifier" else Y, WEIGHTS[name]
    ours, theirs = words_of_both(kind, lambda model: model.fit(X, y, weight), {})
    assert ours[0] is theirs[0]
    if name != "zeros":  # which scikit-learn before 1.8 does not look for here
        assert ours == theirs
    given = {"X_val": X, "y_val": y, "sample_weight_val": weight}
    (ours, text), _ = words_of_both(kind, lambda model: model.fit(X, y, **given), {})
    assert ours is theirs[0]
    assert text.startswith("sample_weight_val: ")
    assert theirs[1] in text


VALIDATION = {
    "no y_val": {"X_val": X},
    "no X_val": {"y_val": LABELS},
    "other columns": {"X_val": X[:, 1:], "y_val": LABELS},
    "too few targets": {"X_val": X, "y_val": LABELS[1:]},
    "a number": {"X_val": X, "y_val": 1},
    "two columns": {"X_val": X, "y_val": np.c_[LABELS, LABELS]},
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", VALIDATION)
def test_validation_rows(kind, name):
    """Ours say which argument it is, unless they do."""
    ours, theirs = words_of_both(kind, lambda model: model.fit(X, LABELS, **VALIDATION[name]), {})
    assert ours[0] is theirs[0]
    if (kind, name) == ("regressor", "two columns"):  # y may have two
        assert ours[1] == "y_val: must have shape (30,) to go with y; got (30, 2)"
    else:
        assert re.sub("^(X|y)_val: ", "", ours[1]) == theirs[1]
    assert re.match(r".*\b(X|y)_val\b", ours[1])


def test_unseen_labels_in_validation_rows():
    ours, theirs = words_of_both("classifier", lambda model: model.fit(X, LABELS, X_val=X, y_val=LABELS + 1), {})
    assert ours == (theirs[0], "y_val: " + theirs[1].replace("np.int64(3)", "3"))
    with pytest.raises(ValueError, match=re.escape("y_val: y contains previously unseen labels: ['a']")):
        TabularClassifier().fit(X, LABELS, X_val=X, y_val=["a"] * N)


@pytest.mark.parametrize("kind", PAIRS)
def test_validation_rows_without_early_stopping(kind):
    ours, theirs = words_of_both(kind, lambda model: model.fit(X, LABELS, X_val=X, y_val=LABELS), {"early_stopping": False})
    assert ours == (theirs[0], theirs[1].replace("fit,early", "fit, early").replace("either 'auto' or True", "True"))


def test_weights_of_no_validation_rows():
    with pytest.raises(ValueError, match="sample_weight_val is provided, but X_val and y_val were not provided"):
        TabularRegressor().fit(X, Y, sample_weight_val=np.ones(N))


# The same in every word, then those where theirs takes other values, too.
PARAMETERS = [
    {"max_iter": 0},
    {"random_state": -1},
    {"warm_start": 3},
    {"verbose": -1},
    {"categorical_features": 3},
    {"categorical_features": [0.5]},
    {"categorical_features": [7]},
    {"categorical_features": ["z"]},
    {"categorical_features": [True]},
    {"scoring": "bad"},
    {"scoring": accuracy_score},
]
OTHER_VALUES = [
    {"loss": "bad"},
    {"scoring": 3},
    {"validation_fraction": 0.0},
    {"validation_fraction": 1.5},
    {"early_stopping": "x"},
]


@pytest.mark.parametrize("parameters", [*PARAMETERS, *OTHER_VALUES], ids=lambda given: str(given).partition(" at ")[0])
@pytest.mark.parametrize("kind", PAIRS)
def test_parameters(kind, parameters):
    ours, theirs = words_of_both(kind, lambda model: model.fit(X, LABELS), parameters)
    assert ours[0] is theirs[0]
    if parameters in PARAMETERS:
        assert ours[1] == theirs[1]
    else:
        (name, value), *_ = parameters.items()
        for _, text in (ours, theirs):
            assert text.startswith(f"The '{name}' parameter of NAME must be ")
            assert text.endswith(f"Got {value!r} instead.")


def test_a_name_that_is_no_scorers_is_refused_where_no_score_is_needed():
    with pytest.raises(ValueError, match="'bad' is not a valid scoring value"):
        TabularRegressor(scoring="bad", early_stopping=False).fit(X, Y)


@pytest.mark.parametrize(
    ("loss", "quantile", "y"),
    [
        *(("quantile", quantile, Y) for quantile in (None, -1, 2, "a", 0, 1, 0.0, 1.0)),
        ("poisson", None, Y),
        ("poisson", None, 0 * Y),
        ("gamma", None, Y),
        ("gamma", None, one(np.abs(Y), 0)),
        ("squared_error", -1, Y),
    ],
)
def test_losses(loss, quantile, y):
    parameters = {"loss": loss, "quantile": quantile}
    ours, theirs = words_of_both("regressor", lambda model: model.fit(X, y), parameters)
    assert ours == theirs
    if loss in ("poisson", "gamma"):
        good = np.abs(Y) + 1
        (_, text), _ = words_of_both("regressor", lambda model: model.fit(X, good, X_val=X, y_val=y), parameters)
        assert text == "y_val: " + theirs[1]


@pytest.mark.parametrize(
    "class_weight",
    ["bad", {0: 1.0}, {0: 1, 1: 1, 2: 1, 7: 1}, [1, 1, 1], 3],
    ids=str,
)
def test_class_weight(class_weight):
    """What theirs does with these; a dict may leave classes out and have others."""
    calls = [
        lambda make=make, more=more: make(class_weight=class_weight, **more).fit(X, LABELS)
        for make, more in zip(PAIRS["classifier"], (SMALL, {"max_iter": 2}), strict=True)
    ]
    found = []
    for call in calls:
        try:
            found.append(bool(call()))
        except (ValueError, TypeError) as error:
            found.append((type(error), re.sub(r"\w+Classifier", "NAME", str(error))))
    assert found[0] == found[1]


def test_class_weights_that_are_no_weights():
    with pytest.raises(ValueError, match=r"class_weight must have finite numbers; got \{0: nan, 1: 1, 2: 1\}"):
        TabularClassifier(class_weight={0: np.nan, 1: 1, 2: 1}).fit(X, LABELS)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
        TabularClassifier(class_weight={0: 0, 1: 0, 2: 0}).fit(X, LABELS)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
        TabularClassifier(class_weight={0: 0, 1: 1, 2: 1}).fit(X, LABELS, LABELS == 0)


ROWS = {
    "other columns": X[:, :2],
    "one dimension": X[0],
    "three dimensions": X[:, :, None],
    "no rows": X[:0],
    "None": None,
    "complex": X + 1j,
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", ROWS)
def test_rows_to_predict(kind, name):
    ours, theirs = words_of_both(kind, lambda model: model.fit(X, LABELS).predict(ROWS[name]), {})
    assert ours == (theirs[0], theirs[1].replace("array=nan", "array=None"))


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_not_fitted(kind, method):
    ours, theirs = PAIRS[kind]
    if kind == "regressor" and method != "predict":
        assert not hasattr(ours(), method)
        return
    for estimator in (ours(), theirs()):
        if hasattr(estimator, method):
            with pytest.raises(NotFittedError, match=r"instance is not fitted yet\. Call 'fit' with appropriate arguments before"):
                getattr(estimator, method)(X)


OURS = [
    ({"n_members": 0}, "The 'n_members' parameter of TabularRegressor must be an int in the range [1, inf)."),
    ({"hidden_layer_sizes": [5, 0]}, "hidden_layer_sizes must be integers of at least 1; got [5, 0]"),
    ({"hidden_layer_sizes": [5.5]}, "hidden_layer_sizes must be integers of at least 1; got [5.5]"),
    ({"n_bins": 0}, "The 'n_bins' parameter of TabularRegressor must be an int in the range [1, inf) or an array-like."),
    ({"n_bins": [4, 0]}, "n_bins must be integers of at least 1; got [4, 0]"),
    ({"min_frequency": 0}, "The 'min_frequency' parameter of TabularRegressor must be an int in the range [1, inf)."),
    ({"numeric_encoding": "x"}, "The 'numeric_encoding' parameter of TabularRegressor must be a str among"),
    ({"batch_size": 0}, "The 'batch_size' parameter of TabularRegressor must be"),
    ({"learning_rate_init": 0.0}, "The 'learning_rate_init' parameter of TabularRegressor must be"),
    ({"weight_decay": -1.0}, "The 'weight_decay' parameter of TabularRegressor must be a float in the range [0.0, inf)."),
    ({"dropout": 1.0}, "The 'dropout' parameter of TabularRegressor must be a float in the range [0.0, 1.0)."),
    ({"refit": "x"}, "The 'refit' parameter of TabularRegressor must be"),
    ({"max_time": 0.0}, "The 'max_time' parameter of TabularRegressor must be a float in the range (0.0, inf) or None."),
    ({"n_jobs": 0}, "n_jobs == 0 has no meaning; pass None, -1 or the number of threads"),
    ({"n_jobs": 1.5}, "The 'n_jobs' parameter of TabularRegressor must be an instance of 'int' or None."),
]


@pytest.mark.parametrize(("parameters", "words"), OURS, ids=[str(given) for given, _ in OURS])
def test_parameters_of_ours(parameters, words):
    model = TabularRegressor(**parameters)
    with pytest.raises(ValueError, match=re.escape(words)):
        model.fit(X, Y)
    assert vars(model) == model.get_params()


def test_a_score_that_is_nan():
    words = "early stopping needs a score of the validation rows, and scoring gives nan for them"
    with pytest.raises(ValueError, match=words):
        TabularRegressor(scoring=lambda model, rows, y: np.nan).fit(X, Y)


def test_names_of_presets():
    with pytest.raises(ValueError, match=r"name must be one of \['fast', 'accurate'\]; got 'best'"):
        TabularClassifier.from_preset("best")

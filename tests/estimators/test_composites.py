"""fastprop.to_sklearn: pipelines, searches and ensembles with scikit-learn's estimators in the place of fastprop's."""

import copy
import functools
import operator
import pickle
import re
import threading
from collections import deque

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.neural_network import MLPClassifier as ScikitLearnsClassifier
from sklearn.neural_network import MLPRegressor as ScikitLearnsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

import fastprop
from fastprop import MLPClassifier, MLPRegressor, composites, nn, patch_sklearn
from fastprop.estimators.callbacks import SUPPORTED

PARAMETERS = {"hidden_layer_sizes": (5,), "max_iter": 8, "learning_rate_init": 0.02, "random_state": 0}
FOLDS = KFold(2)

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


def classifier(**parameters):
    return fastprop.MLPClassifier(**PARAMETERS | parameters)


def regressor(**parameters):
    return fastprop.MLPRegressor(**PARAMETERS | parameters)


def importance(estimator):
    return np.abs(estimator.coefs_[0]).sum(axis=1)


def selected(estimator):
    return SelectFromModel(estimator, importance_getter=importance, threshold="median")


# name -> (kind of targets, what makes a composite)
COMPOSITES = {
    "alone": ("multiclass", classifier),
    "pipeline": ("multiclass", lambda: make_pipeline(StandardScaler(), classifier(solver="sgd"))),
    "pipelines": ("one output", lambda: make_pipeline(StandardScaler(), make_pipeline("passthrough", regressor()))),
    "union": ("binary", lambda: make_pipeline(FeatureUnion([("a", "passthrough"), ("b", selected(classifier()))]), classifier())),
    "columns": (
        "one output",
        lambda: make_pipeline(ColumnTransformer([("a", selected(regressor()), [0, 1, 2]), ("b", "drop", [3])]), LinearRegression()),
    ),
    "search": ("multiclass", lambda: GridSearchCV(make_pipeline(classifier()), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=FOLDS)),
    "search of estimators": (
        "multiclass",
        lambda: GridSearchCV(make_pipeline(classifier()), {"mlpclassifier": [classifier(alpha=1.0), classifier()]}, cv=FOLDS),
    ),
    "calibrated": ("binary", lambda: CalibratedClassifierCV(classifier(), cv=FOLDS)),
    "transformed targets": ("one output", lambda: TransformedTargetRegressor(regressor(), func=np.arcsinh, inverse_func=np.sinh)),
    "stacking": ("one output", lambda: StackingRegressor([("a", regressor()), ("b", regressor(alpha=0.1))], regressor(), cv=FOLDS)),
    "stacking classes": ("multiclass", lambda: StackingClassifier([("a", classifier())], classifier(), cv=FOLDS, passthrough=True)),
    "voting": ("multiclass", lambda: VotingClassifier([("a", classifier()), ("b", classifier(alpha=0.1))], voting="soft")),
    "bagging": ("one output", lambda: BaggingRegressor(regressor(), n_estimators=3, random_state=0)),
    "bagging classes": ("multiclass", lambda: BaggingClassifier(classifier(), n_estimators=3, random_state=0)),
    "outputs": ("two outputs", lambda: MultiOutputRegressor(regressor())),
    "labels": ("multilabel", lambda: MultiOutputClassifier(classifier())),
    "chain": ("two outputs", lambda: RegressorChain(regressor())),
    "chain of labels": ("multilabel", lambda: ClassifierChain(classifier(), cv=FOLDS)),
    "one versus rest": ("multiclass", lambda: OneVsRestClassifier(classifier())),
}


def outputs(composite, X):
    found = composite.predict_proba(X) if hasattr(composite, "predict_proba") else composite.predict(X)
    return np.stack(found) if isinstance(found, list) else found


def assert_predicts_the_same(given, converted, X):
    expected = outputs(given, X)
    np.testing.assert_allclose(outputs(converted, X), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def inside(obj, cls):
    return [part for _, part in composites._parts(obj) if isinstance(part, cls)]


def assert_converted(given, converted):
    """Without anything of fastprop's, and with as many networks: one that stands in several places still is one."""
    assert b"fastprop" in pickle.dumps(given)
    assert b"fastprop" not in pickle.dumps(converted)
    theirs = inside(converted, ScikitLearnsClassifier | ScikitLearnsRegressor)
    assert len(theirs) == len(inside(given, fastprop.MLPClassifier | fastprop.MLPRegressor)) > 0


@pytest.mark.parametrize("name", COMPOSITES)
def test_fitted(data, name):
    target, make = COMPOSITES[name]
    X, y = data(target)
    composite = make().fit(X, y)
    before = pickle.dumps(composite)
    converted = fastprop.to_sklearn(composite)
    if name != "alone":
        assert type(converted) is type(composite)
    assert_converted(composite, converted)
    assert_predicts_the_same(composite, converted, X)
    converted.fit(X[:50], y[:50])
    assert pickle.dumps(composite) == before


@pytest.mark.parametrize("name", COMPOSITES)
def test_unfitted(data, name):
    """What was converted learns what the original learns."""
    target, make = COMPOSITES[name]
    X, y = data(target)
    composite = make()
    converted = fastprop.to_sklearn(composite)
    assert_converted(composite, converted)
    own = {*MLPClassifier._get_param_names(), *MLPRegressor._get_param_names()}
    different = clone(converted).get_params().keys() ^ composite.get_params().keys()
    assert {parameter.rpartition("__")[2] for parameter in different} <= own
    expected = outputs(composite.fit(X, y), X)
    np.testing.assert_allclose(outputs(converted.fit(X, y), X), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_partial_fit_goes_on(data):
    X, y = data("multilabel")
    composite = MultiOutputClassifier(classifier()).fit(X, y)
    converted = fastprop.to_sklearn(composite)
    for estimator in (composite, converted):
        estimator.partial_fit(X[:40], y[:40])
    np.testing.assert_allclose(outputs(converted, X), outputs(composite, X), rtol=0, atol=1e-9)


def test_what_cross_validate_returns(data):
    X, y = data("multiclass")
    found = cross_validate(
        make_pipeline(StandardScaler(), classifier()), X, y, cv=FOLDS, return_estimator=True, return_indices=True
    )
    converted = fastprop.to_sklearn(found)
    assert converted.keys() == found.keys()
    np.testing.assert_array_equal(converted["test_score"], found["test_score"])
    for given, theirs in zip(found["estimator"], converted["estimator"], strict=True):
        assert_converted(given, theirs)
        assert_predicts_the_same(given, theirs, X)


def test_containers():
    one, two = classifier(), regressor()
    converted = fastprop.to_sklearn(({"a": [one, one]}, (two,), np.array([one, 3], dtype=object), deque([two]), None))
    ((a, b), c, array, (d,)) = converted[0]["a"], converted[1][0], converted[2], converted[3]
    assert type(a) is ScikitLearnsClassifier
    assert type(c) is ScikitLearnsRegressor
    assert a is b is array[0]
    assert c is d
    assert fastprop.to_sklearn([]) == []


def test_what_is_shared_stays_shared(data):
    X, y = data("multiclass")
    stream = np.random.RandomState(0)
    voting = VotingClassifier([("a", classifier(random_state=stream)), ("b", classifier(random_state=stream))]).fit(X, y)
    converted = fastprop.to_sklearn(voting)
    for i, name in enumerate("ab"):
        assert converted.named_estimators_[name] is converted.estimators_[i]
        assert converted.named_estimators[name] is converted.estimators[i][1]
    first, second = (estimator for _, estimator in converted.estimators)
    assert first.random_state is second.random_state is not stream
    pipeline = fastprop.to_sklearn(make_pipeline(classifier()))
    assert pipeline.named_steps["mlpclassifier"] is pipeline[-1]


class Holder:
    """Keeps what it is given where only a copy finds it, or in an attribute of any name."""

    __slots__ = ("__dict__", "kept")


def test_any_depth():
    holder = Holder()
    holder.kept, holder.attribute = classifier(), functools.partial(operator.add, regressor())
    (converted,) = fastprop.to_sklearn([holder])
    assert type(converted.kept) is ScikitLearnsClassifier
    assert type(converted.attribute.args[0]) is ScikitLearnsRegressor
    assert type(holder.kept) is fastprop.MLPClassifier


def test_what_refers_to_itself():
    pipeline = make_pipeline(classifier())
    pipeline[-1].owner = pipeline
    converted = fastprop.to_sklearn(pipeline)
    assert type(converted[-1]) is ScikitLearnsClassifier
    assert converted[-1].owner is converted
    network = fastprop.to_sklearn(pipeline[-1])
    assert network.owner[-1] is network


def test_frozen(data):
    """It passes on attributes that it does not have, so that a copy could be one of what is inside."""
    X, y = data("binary")
    frozen = FrozenEstimator(classifier().fit(X, y))
    assert type(copy.deepcopy(frozen)) is FrozenEstimator
    converted = fastprop.to_sklearn(CalibratedClassifierCV(frozen).fit(X, y))
    assert type(converted.estimator) is FrozenEstimator
    assert type(converted.estimator.estimator) is ScikitLearnsClassifier


def test_nothing_to_convert(data):
    X, y = data("one output")
    for given in (LinearRegression().fit(X, y), make_pipeline(LinearRegression()).fit(X, y)):
        converted = fastprop.to_sklearn(given)
        assert converted is not given
        assert type(converted) is type(given)
        np.testing.assert_array_equal(converted.predict(X), given.predict(X))


def test_under_the_patch(data):
    X, y = data("multiclass")
    with patch_sklearn():
        from sklearn.neural_network import MLPClassifier

        pipeline = make_pipeline(StandardScaler(), MLPClassifier(**PARAMETERS)).fit(X, y)
        converted = fastprop.to_sklearn(pipeline)
        assert type(pipeline[-1]) is fastprop.MLPClassifier
        assert type(converted[-1]) is ScikitLearnsClassifier
        assert_predicts_the_same(pipeline, converted, X)


def test_subclasses():
    class Own(fastprop.MLPClassifier):
        pass

    assert type(fastprop.to_sklearn(make_pipeline(Own()))[-1]) is ScikitLearnsClassifier


@pytest.mark.skipif(not SUPPORTED, reason="sklearn.callback is new in scikit-learn 1.9")
def test_callbacks_are_shared():
    class Callback:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context, **arguments): ...

    callback = Callback()
    converted = fastprop.to_sklearn(make_pipeline(classifier().set_callbacks(callback)).set_callbacks(callback))
    assert converted._skl_callbacks == converted[-1]._skl_callbacks == [callback]


ACTIVATION = nn.Activation(np.sin, np.cos, "sine")


@pytest.mark.parametrize(
    ("obj", "place"),
    [
        (make_pipeline(StandardScaler(), regressor(activation=ACTIVATION)), "obj.steps[1][1]"),
        (
            VotingClassifier([("a", classifier()), ("b", make_pipeline(classifier(activation=ACTIVATION)))]),
            "obj.estimators[1][1].ste",
        ),
        ({"estimator": [classifier(), classifier(activation=ACTIVATION)]}, "obj['estimator'][1]"),
        ([np.array([[0, classifier(activation=ACTIVATION)]], dtype=object)], "obj[0][0, 1]"),
    ],
    ids=["pipeline", "voting", "dict", "array"],
)
def test_the_message_says_where(obj, place):
    with pytest.raises(TypeError, match=rf"activation of your own; got activation=.*sine.*; it is {re.escape(place)}"):
        fastprop.to_sklearn(obj)
    copy.deepcopy(obj)


def test_the_message_about_one_estimator_is_that_of_the_method():
    estimator = classifier(activation=ACTIVATION)
    with pytest.raises(TypeError) as of_the_method:
        estimator.to_sklearn()
    with pytest.raises(TypeError, match=f"^{re.escape(str(of_the_method.value))}$"):
        fastprop.to_sklearn(estimator)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (3, "an object of type int"),
        (None, "an object of type NoneType"),
        ("mlp", "an object of type str"),
        (fastprop.MLPClassifier, "the class MLPClassifier"),
        (nn.Linear(2, 3), "an object of type Linear"),
    ],
)
def test_what_is_no_estimator_is_refused(wrong, name):
    with pytest.raises(TypeError, match=f"obj must be an estimator, or a list, tuple or dict of estimators; got {name}"):
        fastprop.to_sklearn(wrong)


@pytest.mark.parametrize("name", ["TabularClassifier", "TabularRegressor"])
def test_estimators_for_tables_have_no_counterpart(name):
    estimator = getattr(fastprop, name)()
    with pytest.raises(TypeError, match=f"^scikit-learn has no estimator like {name}$"):
        fastprop.to_sklearn(estimator)
    for obj, place in (
        (make_pipeline(StandardScaler(), estimator), "steps[1][1]"),
        (GridSearchCV(make_pipeline(fastprop.MLPRegressor(), estimator), {}), "estimator.steps[1][1]"),
    ):
        with pytest.raises(TypeError, match=re.escape(f"scikit-learn has no estimator like {name}; it is obj.{place}")):
            fastprop.to_sklearn(obj)


def test_other_copies_are_not_converted():
    """Neither those of another thread during a conversion, nor those after one, even if it failed."""
    estimator, found = classifier(), []

    class Copying:
        def __deepcopy__(self, memo):
            thread = threading.Thread(target=lambda: found.append(copy.deepcopy(estimator)))
            thread.start()
            thread.join()
            raise OSError("of a part")

    with pytest.raises(OSError, match="of a part"):
        fastprop.to_sklearn([estimator, Copying()])
    found += [copy.deepcopy(estimator), copy.copy(estimator), clone(estimator), pickle.loads(pickle.dumps(estimator))]
    assert [type(each) for each in found] == [fastprop.MLPClassifier] * 5


def test_parts_that_copy_themselves_in_their_own_way():
    class Pickled:
        def __init__(self, estimator):
            self.estimator = estimator

        def __deepcopy__(self, memo):
            return Pickled(pickle.loads(pickle.dumps(self.estimator)))

    class Apart(Pickled):
        def __deepcopy__(self, memo):
            return Apart(copy.deepcopy(self.estimator))

    class Several:
        def __deepcopy__(self, memo):
            return [copy.deepcopy(classifier(alpha=alpha)) for alpha in range(5)]

    estimator = classifier()
    pickled, apart, several, masked, same = fastprop.to_sklearn(
        [Pickled(estimator), Apart(estimator), Several(), np.ma.MaskedArray([estimator], dtype=object), estimator]
    )
    assert type(same) is type(pickled.estimator) is ScikitLearnsClassifier
    assert apart.estimator is masked[0] is same
    assert [each.alpha for each in several] == [*range(5)]

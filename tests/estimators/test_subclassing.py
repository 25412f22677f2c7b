"""Subclasses, and the private names of scikit-learn's classes: nothing that a subclass overrides is ignored in silence."""

import inspect
import pickle
import types

import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from sklearn.base import clone
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron

import fastprop
from fastprop import patch_sklearn

THEIRS = {"MLPClassifier": sklearn.neural_network.MLPClassifier, "MLPRegressor": sklearn.neural_network.MLPRegressor}
# The names that scikit-learn 1.7.2, 1.8.0 and 1.9.1 define in their classes; all of the three have the same ones.
# fmt: off
RECORDED = [
    "_backprop", "_check_solver", "_compute_loss_grad", "_fit", "_fit_lbfgs", "_fit_stochastic", "_forward_pass",
    "_forward_pass_fast", "_init_coef", "_initialize", "_loss_grad_lbfgs", "_parameter_constraints", "_predict",
    "_score", "_score_with_function", "_unpack", "_update_no_improvement_count", "_validate_input", "fit",
    "partial_fit", "predict", "score", "get_params", "set_params", "get_metadata_routing", "set_fit_request",
    "set_partial_fit_request", "set_score_request",
]
# fmt: on
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}

pytestmark = pytest.mark.usefixtures("no_convergence_warning")


def _pinball(base):
    """Quantile regression in the way of public code: by the gradient of the last layer."""

    class Quantile(base):
        def __init__(self, quantile=0.8, hidden_layer_sizes=(5,), max_iter=200, random_state=None):
            super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=max_iter, random_state=random_state)
            self.quantile = quantile

        def _compute_loss_grad(self, layer, sw_sum, activations, deltas, coef_grads, intercept_grads):
            if layer == self.n_layers_ - 2:
                deltas[layer] = np.where(deltas[layer] > 0, 1 - self.quantile, -self.quantile)
            return super()._compute_loss_grad(layer, sw_sum, activations, deltas, coef_grads, intercept_grads)

    return Quantile


@pytest.fixture
def patched():
    """patched(define, name) -> what define(class) gives for scikit-learn's class under the patch, where it must warn once."""

    def patched(define, name="MLPRegressor"):
        with patch_sklearn(), pytest.warns(UserWarning, match="scikit-learn's own code runs instead") as caught:
            cls = define(getattr(sklearn.neural_network, name))
        assert len(caught) == 1
        assert caught[0].filename == __file__
        return cls

    return patched


@pytest.fixture
def quantile(patched):
    """A class at module level, so that it can be pickled."""
    cls = patched(_pinball)
    cls.__module__, cls.__qualname__ = __name__, "Quantile"
    globals()["Quantile"] = cls
    return cls


def test_an_overridden_gradient_under_the_patch(data, quantile):
    X, y = data("one output")
    expected = _pinball(THEIRS["MLPRegressor"])(**SMALL).fit(X, y).predict(X)
    assert issubclass(quantile, fastprop.MLPRegressor)
    estimator = quantile(**SMALL).fit(X, y)
    np.testing.assert_array_equal(estimator.predict(X), expected)
    np.testing.assert_array_equal(clone(estimator).fit(X, y).predict(X), expected)
    again = pickle.loads(pickle.dumps(estimator))
    for each in (estimator, again):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    assert type(estimator.to_sklearn()) is THEIRS["MLPRegressor"]
    with pytest.raises(TypeError, match="no bare forward pass"):
        estimator.predictor(X, np.empty((len(X), 1)))


def test_a_class_of_before_the_patch_stays_what_it_is(data):
    X, y = data("one output")
    before = _pinball(THEIRS["MLPRegressor"])
    expected = before(**SMALL).fit(X, y).predict(X)
    with patch_sklearn():
        np.testing.assert_array_equal(before(**SMALL).fit(X, y).predict(X), expected)


def _layers(base):
    """Overrides in a mixin and in a subclass of a subclass, around a public method that calls super()."""

    class Mixin:
        def _init_coef(self, fan_in, fan_out, dtype):
            weight, bias = super()._init_coef(fan_in, fan_out, dtype)
            return weight / 2, 0 * bias

    class Public(base):
        def predict(self, X):
            return super().predict(X)[::-1]

    class Derived(Mixin, Public):
        def _predict(self, X, check_input=True):
            return np.roll(super()._predict(X, check_input=check_input), 1)

        def _update_no_improvement_count(self, *arguments):
            super()._update_no_improvement_count(*arguments)
            self.n_calls_ = getattr(self, "n_calls_", 0) + 1

        def fit(self, X, y):
            return base.fit(self, X, y)

    class Further(Derived):
        pass

    return Further


def test_mixins_and_subclasses_of_subclasses(data, patched):
    for target, name in (("multiclass", "MLPClassifier"), ("two outputs", "MLPRegressor")):
        X, y = data(target)
        ours, theirs = (cls(**SMALL).fit(X, y) for cls in (patched(_layers, name), _layers(THEIRS[name])))
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        assert ours.n_calls_ == theirs.n_calls_ == 8
        if name == "MLPClassifier":
            np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


def test_public_methods_alone_stay_compiled(data):
    X, y = data("multiclass")

    def define(base):
        class Public(base):
            def fit(self, X, y):
                return super().fit(X, y)

            def predict(self, X):
                return super().predict(X)

            def score(self, X, y):
                return super().score(X, y)

            def _helper(self):
                return 3

        return Public

    with patch_sklearn():
        cls = define(sklearn.neural_network.MLPClassifier)
        estimator = cls(**SMALL).fit(X, y)
    assert hasattr(estimator, "_network")
    define(fastprop.MLPClassifier)


def test_names_of_ours_are_free_under_the_patch(data, patched):
    """What scikit-learn does not use, a subclass of its class may define for itself."""
    X, y = data("one output")

    def define(base):
        class Named(base):
            _network = _options = "mine"

        return Named

    assert patched(define)(**SMALL).fit(X, y)._options == "mine"
    with patch_sklearn():
        estimator = sklearn.neural_network.MLPRegressor(**SMALL)
        estimator._history = []
        with pytest.warns(UserWarning, match="replaces _history"):
            estimator.fit(X, y)


def test_fastprops_own_classes_refuse_it():
    with pytest.raises(TypeError, match=r"Quantile replaces _compute_loss_grad, .*fastprop\.nn\.Sequential.*derive from sklearn"):
        _pinball(fastprop.MLPRegressor)
    with pytest.raises(TypeError, match=r"Derived replaces .*_init_coef.* coefs_"):
        _layers(fastprop.MLPClassifier)


def test_methods_replaced_on_an_object_or_later(data, monkeypatch):
    X, y = data("one output")

    def zeros(self, fan_in, fan_out, dtype):
        return np.zeros((fan_in, fan_out)), np.zeros(fan_out)

    theirs = THEIRS["MLPRegressor"](**SMALL)
    theirs._init_coef = types.MethodType(zeros, theirs)
    ours = fastprop.MLPRegressor(**SMALL)
    ours._init_coef = types.MethodType(zeros, ours)
    with pytest.raises(TypeError, match="replaces _init_coef"):
        ours.fit(X, y)
    with patch_sklearn(), pytest.warns(UserWarning, match="replaces _init_coef") as caught:
        ours.fit(X, y)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(ours.predict(X), theirs.fit(X, y).predict(X))
    del ours._init_coef
    pickle.loads(pickle.dumps(ours)).partial_fit(X, y)
    monkeypatch.setattr(fastprop.MLPRegressor, "_predict", lambda self, X, check_input=True: None)
    with patch_sklearn(), pytest.raises(TypeError, match="replaces _predict"):
        clone(ours).fit(X, y)


# The private names


@pytest.mark.parametrize("name", THEIRS)
def test_all_names_exist_with_their_signatures(name):
    ours, theirs = getattr(fastprop, name), THEIRS[name]
    of_abc = {"_abc_impl", "__abstractmethods__", "__slots__"}
    assert {*dir(theirs), *RECORDED} - of_abc - {*dir(ours)} == set()
    for method in RECORDED:
        if method.startswith("_") and callable(getattr(theirs, method)):
            assert inspect.signature(getattr(ours, method)) == inspect.signature(getattr(theirs, method)), method
    with patch_sklearn():
        assert isinstance(ours(), BaseMultilayerPerceptron)


def _assert_close(ours, theirs):
    if np.asarray(theirs).dtype.kind == "U":
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def _private_results(estimator, X, y):
    """What the private methods give for a fitted estimator."""
    X_, y_ = estimator._validate_input(X, y, incremental=True, reset=False)
    y_ = y_.reshape(len(X), -1)
    n = len(estimator.coefs_)
    lists = [None] * n, [w.copy() for w in estimator.coefs_], [b.copy() for b in estimator.intercepts_]
    backward = estimator._backprop(X_, y_, None, [X_] + [None] * n, *lists)
    packed = np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])
    results = [y_, *estimator._forward_pass([X_] + [None] * n), estimator._forward_pass_fast(X), backward[0], *backward[1]]
    if estimator.solver == "lbfgs":
        results += estimator._loss_grad_lbfgs(0.5 * packed, X_, y_, np.ones(len(X)), [X_] + [None] * n, *lists)
        results += [estimator._predict(X)]  # with the parameters of the line before
    results += [estimator._score(X, y), *estimator._init_coef(3, 2, np.float32)]
    return results


@pytest.mark.parametrize(("target", "solver"), [("multiclass", "lbfgs"), ("binary", "adam"), ("two outputs", "lbfgs")])
def test_private_methods_give_what_scikit_learns_give(data, pair, target, solver):
    X, y = data(target)
    results = [_private_results(e.fit(X, y), X, y) for e in pair(target, solver=solver, **SMALL)]
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        _assert_close(ours, theirs)


def test_scikit_learns_training_and_ours_take_turns(data, pair, assert_same):
    """`_fit_stochastic` leaves an optimizer of scikit-learn's, ours takes it over, and the other way round."""
    X, y = data("one output")
    ours, theirs = (e.fit(X, y) for e in pair("one output", **SMALL))
    for estimator in (ours, theirs):
        lists = [None] * 2, [w.copy() for w in estimator.coefs_], [b.copy() for b in estimator.intercepts_]
        for _ in range(2):
            estimator._fit_stochastic(X, y[:, None], None, [X, None, None], *lists, [7, 5, 1], incremental=True)
            estimator.partial_fit(X, y)
    assert_same(ours, theirs)


# Parameters


class KeywordArguments(fastprop.MLPClassifier):
    def __init__(self, width=4, **options):
        super().__init__(hidden_layer_sizes=(width,), **options)
        self.width = width


class OwnInit(fastprop.MLPRegressor):
    """Sets scikit-learn's parameters, and does not call the constructor above."""

    def __init__(self, size=3, max_iter=4):
        for name, value in THEIRS["MLPRegressor"]().get_params().items():
            setattr(self, name, value)
        self.size, self.max_iter, self.hidden_layer_sizes = size, max_iter, (size,)


@pytest.mark.parametrize("cls", [KeywordArguments, OwnInit])
def test_constructors_of_subclasses(data, cls):
    X, y = data("multiclass" if cls is KeywordArguments else "one output")
    estimator = clone(cls().set_params(**{"width": 5} if cls is KeywordArguments else {"max_iter": 3})).fit(X, y)
    assert estimator.n_jobs is None
    assert cls.__name__ in repr(estimator) + estimator._repr_html_()
    theirs = estimator.to_sklearn()
    assert type(theirs) is THEIRS[cls.__mro__[1].__name__]
    assert not {"n_jobs", "width", "size"} & vars(theirs).keys()
    back = cls.from_sklearn(theirs)
    assert back.get_params().keys() == cls().get_params().keys()
    for each in (theirs, back):
        _assert_close(each.predict(X), estimator.predict(X))


def test_a_subclass_with_a_parameter_that_has_no_default():
    class Needs(fastprop.MLPClassifier):
        def __init__(self, width, alpha=0.1):
            super().__init__((width,), alpha=alpha)

    theirs = THEIRS["MLPClassifier"](alpha=0.3)
    assert Needs.from_sklearn(theirs).alpha == 0.3


def test_a_pickle_from_before_a_parameter_existed(data):
    X, y = data("binary")
    estimator = fastprop.MLPClassifier(**SMALL).fit(X, y)
    del estimator.n_jobs
    again = pickle.loads(pickle.dumps(estimator))
    assert again.get_params()["n_jobs"] is None
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    again.fit(X, y).to_sklearn()

"""scikit-learn's callbacks on the estimators: which tasks there are, what the hooks get, stopping, errors, and none at all."""

import builtins
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop import MLPClassifier, nn
from fastprop.estimators.callbacks import SUPPORTED
from fastprop.training_calls import TrainingCalls

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0}
WAYS = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "adaptive"},
    {"solver": "adam", "early_stopping": True},
    {"solver": "lbfgs"},
]
SQUARE = nn.Activation(lambda z: z**2 / 4, lambda z: z / 2, name="square")

pytestmark = pytest.mark.usefixtures("no_convergence_warning")
needs_callbacks = pytest.mark.skipif(not SUPPORTED, reason="sklearn.callback is new in scikit-learn 1.9")


class Recorder:
    """Remembers every hook; at the end of a subtask it may stop training or fail."""

    def __init__(self, stop_after=None, fail_after=None, error=OSError):
        self.calls, self.fitted, self.data, self.state = [], [], [], []
        self.stop_after, self.fail_after, self.error = stop_after, fail_after, error

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id, context.max_subtasks))
        if context.task_name not in ("epoch", "lbfgs-iter"):
            return False
        self.data.append((X, y, metadata))
        self.fitted.append(fitted_estimator)
        self.state.append((estimator.n_iter_, estimator.loss_))
        if len(self.data) == self.fail_after:
            raise self.error("of the callback")
        return len(self.data) == self.stop_after


class Everywhere(Recorder):
    """Set on a pipeline or a search, it goes to what is inside."""

    max_propagation_depth = None


def _calls(n_subtasks, name, n_at_most):
    inner = [(when, name, i, 0) for i in range(n_subtasks) for when in ("begin", "end")]
    return ["setup", ("begin", "fit", 0, n_at_most), *inner, ("end", "fit", 0, n_at_most), "teardown"]


def _weights(estimator):
    return [w.copy() for w in estimator.coefs_ + estimator.intercepts_]


@needs_callbacks
@pytest.mark.pairwise
@pytest.mark.parametrize("target", ["multiclass", "binary", "multilabel", "two outputs", "poisson"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tasks(data, pair, assert_same, target, way):
    X, y = data(target)
    ours, _ = pair(target, **SMALL | way)
    plain, recorder = clone(ours).fit(X, y), Recorder()
    assert ours.set_callbacks(recorder) is ours
    ours.fit(X, y)
    assert recorder.calls == _calls(ours.n_iter_, "lbfgs-iter" if way["solver"] == "lbfgs" else "epoch", 6)
    for a, b in zip(_weights(ours), _weights(plain), strict=True):
        np.testing.assert_array_equal(a, b)
    assert ours.loss_ == plain.loss_
    assert [n for n, _ in recorder.state] == list(range(1, ours.n_iter_ + 1))
    if way["solver"] == "lbfgs":
        assert (np.diff([loss for _, loss in recorder.state]) < 0).all()
    else:
        assert [loss for _, loss in recorder.state] == ours.loss_curve_
    assert vars(ours).keys() == vars(plain).keys() | {"_skl_callbacks"}


@needs_callbacks
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_fitted_estimator_is_what_a_stop_would_leave(data, pair, way):
    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL | way)
    recorder = Recorder()
    ours.set_callbacks(recorder).fit(X, y)
    for n in (1, 3, len(recorder.fitted)):
        stopped, fitted = clone(ours).set_callbacks(Recorder(stop_after=n)).fit(X, y), recorder.fitted[n - 1]
        assert stopped.n_iter_ == n == fitted.n_iter_
        assert stopped.loss_ == fitted.loss_
        assert getattr(stopped, "loss_curve_", None) == getattr(fitted, "loss_curve_", None)
        for a, b in zip(_weights(stopped), _weights(fitted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
        np.testing.assert_array_equal(stopped.predict(X), fitted.predict(X))


MORE_WAYS = [
    {"ema_decay": 0.8},
    {"normalization": "batch", "activation": "tanh"},
    {"normalization": "batch", "ema_decay": 0.7, "early_stopping": True},
    {"normalization": "layer", "dropout": 0.3, "learning_rate": "cosine"},
    {"scoring": "neg_log_loss", "early_stopping": True, "class_weight": "balanced"},
    {"activation": SQUARE},
    {"solver": "lbfgs", "normalization": "layer"},
]


@needs_callbacks
@pytest.mark.parametrize("way", MORE_WAYS, ids=str)
def test_the_fitted_estimator_predicts_as_after_a_stop(data, way):
    """With averages, norms and validation rows of the user's own, too."""
    X, y = data("multiclass")
    given = {} if way.get("solver") == "lbfgs" else {"X_val": X[:30], "y_val": y[:30]}
    ours, recorder = MLPClassifier(**SMALL | {"learning_rate_init": 0.2} | way), Recorder()
    plain = clone(ours).fit(X, y, **given)
    ours.set_callbacks(recorder).fit(X, y, **given)
    np.testing.assert_array_equal(ours.predict_proba(X), plain.predict_proba(X))
    all_rows = [np.shape(rows) == X.shape for rows, _, _ in recorder.data]
    assert all(all_rows)
    for n, fitted in enumerate(recorder.fitted, 1):
        stopped = clone(ours).set_callbacks(Recorder(stop_after=n)).fit(X, y, **given)
        assert stopped.n_iter_ == n == fitted.n_iter_
        np.testing.assert_allclose(fitted.predict_proba(X), stopped.predict_proba(X), rtol=1e-12)
        np.testing.assert_allclose(fitted.transform(X), stopped.transform(X), rtol=1e-12, atol=1e-14)
        for name in (
            "validation_scores_",
            "validation_loss_curve_",
            "best_iter_",
            "learning_rate_curve_",
            "best_validation_score_",
        ):
            assert getattr(fitted, name, None) == getattr(stopped, name, None), name
        for name in ("norm_weights_", "norm_biases_", "running_means_", "running_vars_"):
            assert hasattr(fitted, name) == hasattr(stopped, name)
            np.testing.assert_allclose(getattr(fitted, name, []), getattr(stopped, name, []), rtol=1e-12, atol=1e-14)


@needs_callbacks
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_callback_stops_training_without_a_warning(data, pair, way, recwarn):
    X, y = data("one output")
    ours, _ = pair("one output", **SMALL | way)
    recorder = Recorder(stop_after=2)
    ours.set_callbacks(recorder).fit(X, y)
    assert ours.n_iter_ == 2
    assert recorder.calls == _calls(2, "lbfgs-iter" if way["solver"] == "lbfgs" else "epoch", 6)
    assert not recwarn.list


@needs_callbacks
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_error_of_a_callback_comes_through(data, pair, way):
    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL | way)
    recorder = Recorder(fail_after=2)
    with pytest.raises(OSError, match="of the callback"):
        ours.set_callbacks(recorder).fit(X, y)
    assert recorder.calls[-1] == "teardown"
    assert ours.n_iter_ == 2
    assert ours.predict(X).shape == y.shape
    assert ours.set_callbacks().fit(X, y).n_iter_ == 6


@needs_callbacks
@pytest.mark.parametrize("way", WAYS[:3], ids=str)
def test_ctrl_c_in_a_callback_is_ctrl_c(data, pair, way):
    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL | way)
    recorder = Recorder(fail_after=2, error=KeyboardInterrupt)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.set_callbacks(recorder).fit(X, y)
    assert recorder.calls == _calls(2, "epoch", 6)
    assert ours.n_iter_ == 2


@needs_callbacks
def test_an_interrupted_task_ends(data, pair, monkeypatch):
    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL)
    recorder = Recorder()
    ours.set_callbacks(recorder)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingCalls, "run", interrupted)
    recorder.on_fit_task_end = lambda estimator, context, *, fitted_estimator=None: recorder.calls.append(
        ("end", context.task_name, fitted_estimator is None)
    )
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    assert recorder.calls[2:] == [("begin", "epoch", 0, 0), ("end", "epoch", True), ("end", "fit", False), "teardown"]


@needs_callbacks
def test_the_data_of_a_task(data, pair):
    X, y = data("multiclass")
    weight = np.linspace(1, 2, len(y))
    for way, n in (({}, len(y)), ({"early_stopping": True}, len(y) - 9), ({"solver": "lbfgs"}, len(y))):
        ours, _ = pair("multiclass", **SMALL | way)
        recorder = Recorder()
        ours.set_callbacks(recorder).fit(X, y, sample_weight=weight)
        for part_X, part_y, metadata in recorder.data:
            assert len(part_X) == len(part_y) == len(metadata["sample_weight"]) == n
            rows = np.searchsorted(weight, metadata["sample_weight"])
            np.testing.assert_array_equal(part_X, X[rows])
            np.testing.assert_array_equal(part_y, y[rows])
        assert ours.fit(X, y).predict(X).shape == y.shape
        assert recorder.data[-1][2] is None


@needs_callbacks
@pytest.mark.parametrize("kind", ["list", "csr", "csc", "coo", "pandas", "polars"])
def test_the_rows_left_by_validation_of_any_kind_of_data(data, pair, kind):
    X, y = data("multiclass")
    weight = np.linspace(1, 2, len(y))
    if kind == "list":
        given = X.tolist(), y.tolist(), weight.tolist()
    elif kind in ("pandas", "polars"):
        frames = pytest.importorskip(kind, reason=f"{kind} is not installed")
        given = frames.DataFrame(dict(zip("abcdefg", X.T, strict=True))), frames.Series(y), frames.Series(weight)
    else:
        given = scipy.sparse.coo_array(X).asformat(kind), y, weight
    ours, _ = pair("multiclass", early_stopping=True, **SMALL)
    recorder = Recorder()
    ours.set_callbacks(recorder).fit(given[0], given[1], sample_weight=given[2])
    part_X, part_y, metadata = recorder.data[0]
    rows = np.searchsorted(weight, np.asarray(metadata["sample_weight"]))
    np.testing.assert_array_equal(part_X.toarray() if scipy.sparse.issparse(part_X) else np.asarray(part_X), X[rows])
    np.testing.assert_array_equal(np.asarray(part_y), y[rows])


@needs_callbacks
def test_partial_fit(data, pair):
    X, y = data("one output")
    for solver, n in (("adam", 1), ("lbfgs", 3)):
        ours, _ = pair("one output", **SMALL | {"solver": solver, "max_iter": 3})
        recorder = Recorder()
        ours.set_callbacks(recorder)
        for _ in range(2):
            recorder.calls.clear()
            ours.partial_fit(X, y)
            assert recorder.calls == _calls(n, "lbfgs-iter" if solver == "lbfgs" else "epoch", n)


@needs_callbacks
def test_set_callbacks(pair):
    ours, _ = pair("multiclass")
    for wrong in (object(), Recorder):
        with pytest.raises(TypeError, match="FitCallback protocol"):
            ours.set_callbacks(wrong)
    recorder = Recorder()
    assert clone(ours.set_callbacks(recorder))._skl_callbacks == [recorder]
    assert not hasattr(ours.set_callbacks(), "_skl_callbacks")


@needs_callbacks
def test_inside_a_pipeline_and_a_search(data, pair):
    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL)
    everywhere, only_on_ours = Everywhere(), Recorder()
    pipeline = make_pipeline(StandardScaler(), ours.set_callbacks(only_on_ours)).set_callbacks(everywhere)
    pipeline.fit(X, y)
    name, n = "epoch", ours.n_iter_
    for recorder in (everywhere, only_on_ours):
        assert sum(call[:2] == ("end", name) for call in recorder.calls) == n
    assert not hasattr(ours, "_parent_callback_ctx")
    everywhere = Everywhere()
    search = GridSearchCV(ours.set_callbacks(), {"alpha": [0.1, 1.0]}, cv=2).set_callbacks(everywhere).fit(X, y)
    assert sum(call[:2] == ("end", name) for call in everywhere.calls) == 5 * n
    assert search.best_estimator_.n_iter_ == n


@needs_callbacks
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_scikit_learns_scoring_monitor(data, pair, way):
    from sklearn.callback import ScoringMonitor

    pandas = pytest.importorskip("pandas", reason="frames are the case that warns if names get lost")
    X, y = data("multiclass")
    X = pandas.DataFrame(X, columns=list("abcdefg"))
    ours, _ = pair("multiclass", **SMALL | way)
    monitor = ScoringMonitor(scoring="accuracy")
    ours.set_callbacks(monitor).fit(X, y)
    scores = [row["accuracy"] for row in monitor.get_logs().data if len(row["task_id_path"]) == 2]
    assert len(scores) == ours.n_iter_
    if not way.get("early_stopping"):
        assert scores[-1] == ours.score(X, y)


@needs_callbacks
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_scikit_learns_progress_bar(data, pair, way, capsys):
    pytest.importorskip("rich", reason="scikit-learn's progress bar needs rich")
    from sklearn.callback import ProgressBar

    X, y = data("multiclass")
    ours, _ = pair("multiclass", **SMALL | way)
    ours.set_callbacks(ProgressBar()).fit(X, y)
    assert "MLPClassifier - fit" in capsys.readouterr().out
    make_pipeline(StandardScaler(), ours.set_callbacks()).set_callbacks(ProgressBar()).fit(X, y)
    shown = capsys.readouterr().out
    assert "MLPClassifier - fit" in shown
    assert "100%" in shown


def test_without_callbacks_nothing_of_it_runs(data, pair, monkeypatch):
    """Neither do we import `sklearn.callback`; scikit-learn does so itself in every fit."""
    X, y = data("multiclass")
    importers = []

    def recording(name, namespace=None, *arguments, _import=builtins.__import__):
        if name.startswith("sklearn.callback"):
            importers.append((namespace or {}).get("__name__"))
        return _import(name, namespace, *arguments)

    def forbidden(*arguments):
        raise AssertionError("there is no callback")

    monkeypatch.setattr(builtins, "__import__", recording)
    monkeypatch.setattr("fastprop.estimators.callbacks.FitObserver.__init__", forbidden)
    for way in WAYS:
        estimator = pair("multiclass", **SMALL | way)[0].fit(X, y)
        assert "_skl_callbacks" not in vars(estimator)
    assert not [name for name in importers if name.startswith("fastprop")]


@pytest.mark.full
def test_older_versions_have_no_set_callbacks(pair):
    """What looks for callbacks asks whether there is a method for them."""
    for target in ("multiclass", "one output"):
        assert hasattr(pair(target)[0], "set_callbacks") is SUPPORTED
    hidden = (
        "import importlib.util, sys; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'sklearn.callback' else find(name, *rest)\n"
        "from fastprop import MLPClassifier\n"
        "assert not hasattr(MLPClassifier(), 'set_callbacks')\n"
        "MLPClassifier(max_iter=2, tol=10.0, n_iter_no_change=1).fit([[0.0], [1.0]], [0, 1])"
    )
    result = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr

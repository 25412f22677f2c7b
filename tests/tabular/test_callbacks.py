"""scikit-learn's callbacks on the estimators for tables: a task for the fit, in it one for each epoch of all members."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastprop.estimators.callbacks import SUPPORTED

KINDS = ["binary", "multiclass", "one output", "two outputs"]
WAYS = [{}, {"early_stopping": False}, {"scoring": "given"}, {"refit": True}, {"warm_start": True, "dropout": 0.1}]

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="sklearn.callback is new in scikit-learn 1.9")


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
        if context.task_name != "epoch":
            return False
        self.data.append((X, y, metadata))
        self.fitted.append(fitted_estimator)
        self.state.append((estimator.n_iter_, estimator.loss_curves_))
        if len(self.data) == self.fail_after:
            raise self.error("of the callback")
        return len(self.data) == self.stop_after


class Everywhere(Recorder):
    """Set on a pipeline or a search, it goes to what is inside."""

    max_propagation_depth = None


def _calls(n_epochs, n_at_most):
    inner = [(when, "epoch", i, 0) for i in range(n_epochs) for when in ("begin", "end")]
    return ["setup", ("begin", "fit", 0, n_at_most), *inner, ("end", "fit", 0, n_at_most), "teardown"]


@pytest.fixture
def a_way(make):
    """a_way(kind, way): the estimator, of 5 epochs."""

    def a_way(kind, way):
        if "scoring" in way:
            way = {"scoring": "accuracy" if kind in KINDS[:2] else "r2"}
        return make(kind, max_iter=5, **way)

    return a_way


@pytest.mark.pairwise
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tasks(data, a_way, assert_same, kind, way):
    X, y = data(kind)
    ours = a_way(kind, way)
    plain, recorder = clone(ours).fit(X, y), Recorder()
    assert ours.set_callbacks(recorder) is ours
    assert_same(ours.fit(X, y), plain, X)
    assert recorder.calls == _calls(ours.n_iter_, 5)
    assert [n for n, _ in recorder.state] == list(range(1, ours.n_iter_ + 1))
    for n, curves in recorder.state:
        assert curves == [curve[:n] for curve in ours.loss_curves_]
    assert vars(ours).keys() == vars(plain).keys() | {"_skl_callbacks"}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_fitted_estimator_is_what_a_stop_would_leave(data, a_way, assert_same, way, recwarn):
    X, y = data("multiclass")
    ours, recorder = a_way("multiclass", way), Recorder()
    ours.set_callbacks(recorder).fit(X, y)
    for n in (1, 3, len(recorder.fitted)):
        stopped = clone(ours).set_callbacks(Recorder(stop_after=n)).fit(X, y)
        assert stopped.n_iter_ == n
        for fitted, network in zip(recorder.fitted[n - 1].members_, stopped.members_, strict=True):
            np.testing.assert_array_equal(fitted.params, network.params)
        assert recorder.fitted[n - 1].best_iters_ == stopped.best_iters_
        np.testing.assert_array_equal(recorder.fitted[n - 1].predict_proba(X), stopped.predict_proba(X))
    assert not recwarn.list


def test_an_error_of_a_callback_comes_through(data, a_way, assert_same):
    """It leaves the estimator as it was, and callbacks are torn down."""
    X, y = data("multiclass")
    ours, same = (a_way("multiclass", {}).fit(X, y) for _ in range(2))
    for estimator in (ours, clone(ours)):
        recorder = Recorder(fail_after=2)
        with pytest.raises(OSError, match="of the callback"):
            estimator.set_callbacks(recorder).fit(X, y)
        assert recorder.calls[-1] == "teardown"
    assert not hasattr(estimator, "members_")
    assert_same(ours, same, X)
    assert_same(ours.set_callbacks().fit(X, y), same, X)


def test_bad_input_begins_no_task(data, make):
    X, y = data("multiclass")
    recorder = Recorder()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make("multiclass").set_callbacks(recorder).fit(X, y[1:])
    assert recorder.calls == []


def test_ctrl_c_in_a_callback_is_ctrl_c(data, a_way):
    X, y = data("multiclass")
    recorder = Recorder(fail_after=2, error=KeyboardInterrupt)
    ours = a_way("multiclass", {"refit": True}).set_callbacks(recorder)
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, y)
    assert recorder.calls == _calls(2, 5)
    assert ours.n_iter_ == 2


def test_the_data_of_a_task(data, a_way, pandas):
    X, y = data("multiclass")
    X, weight = pandas.DataFrame(X, columns=list("abcd")), np.linspace(1, 2, len(y))
    recorder = Recorder()
    a_way("multiclass", {}).set_callbacks(recorder).fit(X, y, sample_weight=weight)
    for part_X, part_y, metadata in recorder.data:
        assert part_X is X
        assert part_y is y
        assert metadata["sample_weight"] is weight


def test_set_callbacks(make):
    ours = make("multiclass")
    for wrong in (object(), Recorder):
        with pytest.raises(TypeError, match="FitCallback protocol"):
            ours.set_callbacks(wrong)
    recorder = Recorder()
    assert clone(ours.set_callbacks(recorder))._skl_callbacks == [recorder]
    assert not hasattr(ours.set_callbacks(), "_skl_callbacks")


def test_inside_a_pipeline_and_a_search(data, a_way):
    X, y = data("multiclass")
    everywhere, only_on_ours = Everywhere(), Recorder()
    ours = a_way("multiclass", {}).set_callbacks(only_on_ours)
    make_pipeline(StandardScaler(), ours).set_callbacks(everywhere).fit(X, y)
    for recorder in (everywhere, only_on_ours):
        assert sum(call[:2] == ("end", "epoch") for call in recorder.calls) == ours.n_iter_
    assert not hasattr(ours, "_parent_callback_ctx")
    everywhere = Everywhere()
    fewer = ours.set_callbacks().set_params(max_iter=2)
    search = GridSearchCV(fewer, {"n_members": [1, 2]}, cv=2).set_callbacks(everywhere).fit(X, y)
    assert sum(call[:2] == ("end", "epoch") for call in everywhere.calls) == 5 * 2
    assert search.best_estimator_.n_iter_ == 2


@pytest.mark.parametrize("way", WAYS[:3], ids=str)
def test_scikit_learns_scoring_monitor(data, a_way, way, pandas):
    from sklearn.callback import ScoringMonitor

    X, y = data("multiclass")
    X = pandas.DataFrame(X, columns=list("abcd"))
    monitor = ScoringMonitor(scoring="accuracy")
    ours = a_way("multiclass", way).set_callbacks(monitor).fit(X, y)
    scores = [row["accuracy"] for row in monitor.get_logs().data if len(row["task_id_path"]) == 2]
    assert len(scores) == ours.n_iter_
    assert scores[-1] == ours.score(X, y)


def test_scikit_learns_progress_bar(data, a_way, capsys):
    pytest.importorskip("rich", reason="scikit-learn's progress bar needs rich")
    from sklearn.callback import ProgressBar

    X, y = data("one output")
    a_way("one output", {}).set_callbacks(ProgressBar()).fit(X, y)
    assert "TabularRegressor - fit" in capsys.readouterr().out


def test_without_callbacks_nothing_of_it_runs(data, make, monkeypatch):
    def forbidden(*arguments):
        raise AssertionError("there is no callback")

    monkeypatch.setattr("fastprop.estimators.callbacks.FitObserver.__init__", forbidden)
    assert "_skl_callbacks" not in vars(make("multiclass").fit(*data("multiclass")))

"""LossCurveDisplay: what is drawn, where and with which words; several estimators on one plot; clear errors."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastprop
from fastprop import nn

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def draw():
    return fastprop.LossCurveDisplay.from_estimator


def _fitted(kind="MLPClassifier", module=fastprop, **options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] > 0).astype(int) if kind == "MLPClassifier" else np.exp(X[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return getattr(module, kind)(**SMALL | options).fit(X, y)


def _curve(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def _legend(display):
    axes = [display.ax_] if display.score_ax_ is None else [display.ax_, display.score_ax_]
    (legend,) = [ax.get_legend() for ax in axes if ax.get_legend() is not None]
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("kind", "options", "unit"),
    [
        ("MLPClassifier", {}, "nats"),
        ("MLPRegressor", {}, "half squared error"),
        ("MLPRegressor", {"loss": "poisson"}, "half Poisson deviance"),
    ],
)
@pytest.mark.parametrize("module", [fastprop, sklearn.neural_network], ids=["fastprop", "scikit-learn"])
def test_the_training_loss(draw, kind, options, unit, module):
    estimator = _fitted(kind, module, **options)
    display = draw(estimator)
    assert isinstance(display, fastprop.LossCurveDisplay)
    (line,) = display.lines_
    assert _curve(line) == ([1, 2, 3, 4, 5, 6], estimator.loss_curve_)
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == f"training loss ({unit})"
    assert display.score_ax_ is None
    assert display.figure_ is display.ax_.figure
    assert _legend(display) == [kind]


@pytest.mark.parametrize(("kind", "score"), [("MLPClassifier", "accuracy"), ("MLPRegressor", "R²")])
def test_the_validation_score(draw, kind, score):
    estimator = _fitted(kind, early_stopping=True)
    display = draw(estimator, name="stops early")
    loss, scores = display.lines_
    assert loss.axes is display.ax_
    assert scores.axes is display.score_ax_
    assert _curve(scores) == ([1, 2, 3, 4, 5, 6], estimator.validation_scores_)
    assert scores.get_color() == loss.get_color()
    assert (loss.get_linestyle(), scores.get_linestyle()) == ("-", "--")
    assert display.score_ax_.get_ylabel() == f"validation {score} (dashed, with dots)"
    assert _legend(display) == ["stops early"]


def test_several_estimators_on_one_plot(draw):
    a = draw(_fitted(early_stopping=True), name="a")
    b = draw(_fitted(), ax=a.ax_, name="b")
    c = draw(_fitted(module=sklearn.neural_network, early_stopping=True, solver="sgd"), ax=a.ax_, name="c")
    assert a.ax_ is b.ax_ is c.ax_
    assert a.score_ax_ is c.score_ax_
    assert b.score_ax_ is None
    assert len(a.figure_.axes) == 2
    assert len({line.get_color() for display in (a, b, c) for line in display.lines_}) == 3
    assert _legend(a) == ["a", "b", "c"]
    assert a.ax_.get_ylabel() == "training loss (nats)"
    d = draw(_fitted("MLPRegressor", early_stopping=True), ax=a.ax_)
    assert d.ax_.get_ylabel() == "training loss"
    assert d.score_ax_.get_ylabel() == "validation score (dashed, with dots)"


def test_the_second_axis_may_come_later(draw):
    a = draw(_fitted(), name="a")
    b = draw(_fitted(early_stopping=True), ax=a.ax_, name="b")
    assert _legend(b) == ["a", "b"]


def test_two_plots_do_not_share_a_second_axis(draw):
    figure, axes = plt.subplots(1, 2, sharex=True)
    a, b = (draw(_fitted(early_stopping=True), ax=ax) for ax in axes)
    assert a.score_ax_ is not b.score_ax_
    assert len(figure.axes) == 4


@pytest.mark.parametrize("n_estimators", [1, 3])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_nothing_is_cut_off(draw, n_estimators, early_stopping):
    ax = None
    for _ in range(n_estimators):
        display = draw(_fitted(early_stopping=early_stopping), ax=ax, name="an estimator with a name")
        ax = display.ax_
    display.figure_.canvas.draw()
    whole = display.figure_.bbox
    for axes in display.figure_.axes:
        box = axes.get_tightbbox()
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1


def test_a_pipeline_and_options(draw):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    with pytest.warns(ConvergenceWarning):
        pipeline = make_pipeline(StandardScaler(), make_pipeline(fastprop.MLPRegressor(early_stopping=True, **SMALL))).fit(
            X, X[:, 0]
        )
    display = draw(pipeline, loss_kw={"color": "black", "label": "mine"}, score_kw={"linestyle": ":"})
    assert [line.get_color() for line in display.lines_] == ["black", "black"]
    assert display.lines_[1].get_linestyle() == ":"
    assert _legend(display) == ["mine"]


@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_the_legend_covers_nothing(draw, early_stopping):
    ax = None
    for name in ("one", "two", "the third with a long name"):
        display = draw(_fitted(early_stopping=early_stopping), ax=ax, name=name)
        ax = display.ax_
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend().get_window_extent()
    for axes in display.figure_.axes:
        assert not legend.overlaps(axes.bbox)
        assert not legend.overlaps(axes.yaxis.get_tightbbox())


def test_the_legend_stays_in_a_figure_that_makes_no_room(draw):
    figure, ax = plt.subplots()
    draw(_fitted(), ax=ax, name="a")
    assert _legend(draw(_fitted(), ax=ax, name="b")) == ["a", "b"]
    display = draw(_fitted(early_stopping=True), ax=ax, name="c")
    assert _legend(display) == ["a", "b", "c"]
    figure.canvas.draw()
    box, whole = display.score_ax_.get_legend().get_window_extent(), ax.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1


def test_several_histories_have_a_colour_each(draw):
    ax, style = None, {"linewidth": 3}
    for name in ("a", "b"):
        display = fastprop.LossCurveDisplay.from_history({"loss": [2, 1], "val_loss": [3, 2]}, ax, name=name, loss_kw=style)
        ax = display.ax_
    lines = ax.get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 2
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color() == lines[3].get_color()
    assert {line.get_linewidth() for line in lines} == {3}
    assert _legend(display) == ["a", "b"]


def test_the_history_of_a_model_of_layers():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    model = nn.Sequential(nn.Linear(3, 4, activation="relu", random_state=0), nn.Linear(4, 2, random_state=1))
    options = {"loss": nn.SoftmaxCrossEntropy(), "optimizer": nn.SGD(model.parameters(), lr=0.1), "epochs": 3, "batch_size": 10}
    history = model.fit(X, y, validation_data=(X, y), random_state=0, **options)
    display = fastprop.LossCurveDisplay.from_history(
        history, name="mine", unit="nats", validation_scores=[0.4, 0.5, 0.6], score_name="accuracy"
    )
    loss, validation, scores = display.lines_
    assert _curve(loss) == ([1, 2, 3], history["loss"])
    assert _curve(validation) == ([1, 2, 3], history["val_loss"])
    assert _curve(scores) == ([1, 2, 3], [0.4, 0.5, 0.6])
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--", "--"]
    assert len({line.get_color() for line in display.lines_}) == 1
    assert display.ax_.get_ylabel() == "training loss, validation loss dashed (nats)"
    assert display.score_ax_.get_ylabel() == "validation accuracy (dashed, with dots)"
    assert _legend(display) == ["mine"]

    history = model.fit(X, y, random_state=0, **options)
    plain = fastprop.LossCurveDisplay.from_history(history)
    (line,) = plain.lines_
    assert _curve(line) == ([1, 2, 3], history["loss"])
    assert plain.ax_.get_ylabel() == "training loss"
    with pytest.raises(ValueError, match="the history is empty"):
        fastprop.LossCurveDisplay.from_history({"loss": []})


def test_plot_draws_again(draw):
    display = draw(_fitted(early_stopping=True))
    figure, ax = plt.subplots()
    assert display.plot(ax, name="again") is display
    assert display.figure_ is figure
    assert _legend(display) == ["again"]
    by_hand = fastprop.LossCurveDisplay([2.0, 1.0]).plot()
    assert _curve(by_hand.lines_[0]) == ([1, 2], [2.0, 1.0])
    assert by_hand.ax_.get_ylabel() == "training loss"
    assert by_hand.ax_.get_legend() is None


def test_one_epoch_is_a_dot_at_1(draw):
    display = draw(_fitted(max_iter=1))
    assert display.lines_[0].get_marker() == "o"
    display.figure_.canvas.draw()
    assert all(tick == round(tick) for tick in display.ax_.get_xticks())


@pytest.mark.parametrize("module", [fastprop, sklearn.neural_network], ids=["fastprop", "scikit-learn"])
def test_errors(draw, module):
    with pytest.raises(NotFittedError):
        draw(module.MLPClassifier())
    with pytest.raises(NotFittedError):
        draw(make_pipeline(StandardScaler(), module.MLPClassifier()))
    with pytest.raises(ValueError, match="this MLPRegressor has no loss curve: solver 'lbfgs' leaves none"):
        draw(_fitted("MLPRegressor", module, solver="lbfgs", tol=1.0))
    for other in (LogisticRegression(), KMeans(), None):
        with pytest.raises(TypeError, match="must be an MLPClassifier, an MLPRegressor, or a Pipeline"):
            draw(other)
    interrupted = _fitted(module=module)
    interrupted.loss_curve_ = []
    with pytest.raises(ValueError, match="is empty"):
        draw(interrupted)
    assert not plt.get_fignums()


@pytest.mark.full
def test_without_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from fastprop import LossCurveDisplay\n"
        "try:\n"
        "    LossCurveDisplay([1.0]).plot()\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LossCurveDisplay needs matplotlib" in result.stdout, result.stderr
    assert "fastprop-mlp[plot]" in result.stdout


@pytest.mark.full
def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, fastprop; fastprop.LossCurveDisplay; fastprop.MLPClassifier; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr

"""LossCurveDisplay: what is drawn, on which axis and with which words; several estimators on one plot; clear errors."""

import functools
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
RATES = [0.001, 0.002, 0.0015, 0.001, 0.0005, 0.0001]
RISING = [0.6, 0.7, 0.8, 0.9, 1.0, 1.1]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def draw():
    return fastprop.LossCurveDisplay.from_estimator


def _fitted(kind="MLPClassifier", module=fastprop, validation_losses=None, rates=None, **options):
    """A fitted estimator; one of fastprop's with this validation loss and these learning rates."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] > 0).astype(int) if kind == "MLPClassifier" else np.exp(X[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = getattr(module, kind)(**SMALL | options).fit(X, y)
    if module is fastprop:
        estimator.validation_loss_curve_, estimator.learning_rate_curve_ = validation_losses, rates
    return estimator


def _curve(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def _the_legend(display):
    (legend,) = [ax.get_legend() for ax in display.figure_.axes if ax.get_legend() is not None]
    return legend


def _legend(display):
    return [text.get_text() for text in _the_legend(display).get_texts()]


def _label(ax):
    return ax.get_ylabel().replace("\n", " ")


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


def test_validation_loss_and_learning_rate(draw):
    estimator = _fitted(early_stopping=True, validation_losses=RISING, rates=RATES)
    display = draw(estimator)
    loss, validation, scores, rates = display.lines_
    assert [line.axes for line in display.lines_] == [display.ax_, display.ax_, display.score_ax_, display.rate_ax_]
    assert _curve(validation) == ([1, 2, 3, 4, 5, 6], RISING)
    assert _curve(rates) == ([1, 2, 3, 4, 5, 6], RATES)
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--", "--", "-"]
    assert {line.get_color() for line in display.lines_} == {loss.get_color()}
    assert _curve(scores)[1] == estimator.validation_scores_
    assert _label(display.ax_) == "training loss, validation loss dashed (nats)"
    assert _label(display.rate_ax_) == "learning rate"
    assert _legend(display) == ["MLPClassifier"]


def test_the_learning_rate_is_below_and_shares_the_epochs(draw):
    display = draw(_fitted(early_stopping=True, rates=RATES))
    ax, below = display.ax_, display.rate_ax_
    display.figure_.canvas.draw()
    assert below.bbox.y1 < ax.bbox.y0
    assert (below.bbox.x0, below.bbox.x1) == pytest.approx((ax.bbox.x0, ax.bbox.x1))
    np.testing.assert_allclose(display.score_ax_.bbox.bounds, ax.bbox.bounds)
    assert (ax.get_xlabel(), below.get_xlabel()) == ("", "epoch")
    assert not any(label.get_visible() for label in ax.get_xticklabels())
    assert all(label.get_visible() for label in below.get_xticklabels())
    ax.set_xlim(2, 4)
    assert below.get_xlim() == (2, 4)
    assert below.get_ylim()[0] <= 0
    assert below.get_ylim()[1] >= max(RATES)
    below.set_yscale("log")
    assert below.get_ylim()[0] > 0


def test_some_estimators_have_scores_or_a_schedule(draw):
    a = draw(_fitted(), name="a")
    b = draw(_fitted(early_stopping=True, validation_losses=RISING, rates=RATES), ax=a.ax_, name="b")
    c = draw(_fitted(module=sklearn.neural_network), ax=a.ax_, name="c")
    d = draw(_fitted(rates=RATES[:3]), ax=a.ax_, name="d")
    assert (a.rate_ax_, c.rate_ax_) == (None, None)
    assert b.rate_ax_ is d.rate_ax_
    assert len(a.figure_.axes) == 3
    assert (a.ax_.get_xlabel(), b.rate_ax_.get_xlabel()) == ("", "epoch")
    assert _label(a.ax_) == "training loss, validation loss dashed (nats)"
    assert len({line.get_color() for display in (a, b, c, d) for line in display.lines_}) == 4
    assert _legend(d) == ["a", "b", "c", "d"]
    e = draw(_fitted("MLPRegressor"), ax=a.ax_)
    assert _label(e.ax_) == "training loss, validation loss dashed"


def test_the_same_schedule_twice_leaves_both_lines_seen(draw):
    first = draw(_fitted(rates=RATES))
    other = draw(_fitted(rates=RATES[::-1]), ax=first.ax_)
    width = first.lines_[-1].get_linewidth()
    assert other.lines_[-1].get_linewidth() == width
    again = draw(_fitted(rates=RATES[:4]), ax=first.ax_)
    assert first.lines_[-1].get_linewidth() > 2 * again.lines_[-1].get_linewidth() == 2 * width
    assert other.lines_[-1].get_linewidth() == width


@pytest.mark.parametrize(
    ("loss", "unit"),
    [
        ("absolute_error", "absolute error"),
        ("huber", "Huber"),
        ("quantile", "pinball"),
        ("gamma", "half gamma deviance"),
        ("tweedie", "half Tweedie deviance"),
    ],
)
def test_the_unit_is_that_of_the_loss(draw, loss, unit):
    estimator = _fitted("MLPRegressor")
    estimator.loss = loss
    display = draw(estimator)
    assert display.ax_.get_ylabel() == f"training loss ({unit})"


def costs(estimator, X, y):
    return 0.0


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        (None, "accuracy"),
        ("balanced_accuracy", "balanced accuracy"),
        ("r2", "R²"),
        (costs, "costs"),
        (lambda estimator, X, y: 0.0, "score"),
        (functools.partial(costs), "score"),
    ],
)
def test_the_name_of_the_score(draw, scoring, name):
    estimator = _fitted(early_stopping=True)
    estimator.scoring = scoring
    assert draw(estimator).score_ax_.get_ylabel() == f"validation {name} (dashed, with dots)"


def test_minus_the_loss_is_not_drawn_as_a_score(draw):
    estimator = _fitted(early_stopping=True, validation_losses=RISING)
    estimator.scoring = "loss"
    display = draw(estimator)
    assert display.score_ax_ is None
    assert [_curve(line)[1] for line in display.lines_] == [estimator.loss_curve_, RISING]


def test_a_pipeline_and_options(draw):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    with pytest.warns(ConvergenceWarning):
        pipeline = make_pipeline(StandardScaler(), make_pipeline(fastprop.MLPRegressor(early_stopping=True, **SMALL))).fit(
            X, X[:, 0]
        )
    estimator = pipeline[-1][-1]
    estimator.validation_loss_curve_, estimator.learning_rate_curve_ = None, RATES
    styles = {"loss_kw": {"color": "black", "label": "mine"}, "score_kw": {"linestyle": ":"}, "rate_kw": {"linewidth": 4}}
    display = draw(pipeline, **styles)
    assert [line.get_color() for line in display.lines_] == ["black"] * 3
    assert display.lines_[1].get_linestyle() == ":"
    assert display.lines_[2].get_linewidth() == 4
    assert _legend(display) == ["mine"]


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

    rates = fastprop.LossCurveDisplay.from_history({**history, "learning_rate": [0.3, 0.2, 0.1]}, rate_kw={"linewidth": 4})
    assert _curve(rates.lines_[-1]) == ([1, 2, 3], [0.3, 0.2, 0.1])
    assert rates.lines_[-1].axes is rates.rate_ax_
    assert rates.lines_[-1].get_linewidth() == 4

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
    curves = {"validation_losses": [3, 2], "learning_rates": [0.1, 0.2]}
    arrays = fastprop.LossCurveDisplay(np.array([2, 1]), **{name: np.array(curve) for name, curve in curves.items()}).plot()
    assert [_curve(line)[1] for line in arrays.lines_] == [[2, 1], [3, 2], [0.1, 0.2]]
    by_hand = fastprop.LossCurveDisplay([2.0, 1.0]).plot()
    assert _curve(by_hand.lines_[0]) == ([1, 2], [2.0, 1.0])
    assert by_hand.ax_.get_ylabel() == "training loss"
    assert by_hand.ax_.get_legend() is None


def test_one_epoch_is_a_dot_at_1(draw):
    display = draw(_fitted(max_iter=1, early_stopping=True, validation_losses=[2.0], rates=[0.1]))
    assert [line.get_marker() for line in display.lines_] == ["o"] * 4
    assert [line.get_fillstyle() for line in display.lines_] == ["full", "none", "full", "full"]
    assert [line.get_markevery() for line in display.lines_] == [None] * 4
    display.figure_.canvas.draw()
    assert all(tick == round(tick) for tick in display.ax_.get_xticks())


@pytest.mark.parametrize("module", [fastprop, sklearn.neural_network], ids=["fastprop", "scikit-learn"])
def test_errors(draw, module):
    with pytest.raises(NotFittedError):
        draw(module.MLPClassifier())
    with pytest.raises(NotFittedError):
        draw(make_pipeline(StandardScaler(), module.MLPClassifier()))
    with pytest.raises(ValueError, match="this MLPRegressor has no loss curve: solver 'lbfgs' does not record one"):
        draw(_fitted("MLPRegressor", module, solver="lbfgs", tol=1.0))
    for other in (LogisticRegression(), KMeans(), None):
        with pytest.raises(
            TypeError, match="must be an MLPClassifier, an MLPRegressor, a TabularClassifier, a TabularRegressor, or a P"
        ):
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

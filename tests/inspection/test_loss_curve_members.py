"""LossCurveDisplay of ensembles: the mean of the members as a line, their range as a band, a star at each best epoch."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastprop
from fastprop import LossCurveDisplay

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

TRAINING = [[1.0, 0.5, 0.25, 0.125], [2.0, 1.5], [3.0, 1.0, 0.75]]
VALIDATION = [[3.0, 2.0, 1.0, 1.5], [2.0, 2.5], [4.0, 3.0, 2.0]]
BEST = [3, 1, 3]
SMALL = {"n_members": 3, "max_iter": 2, "hidden_layer_sizes": (8,), "random_state": 0}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fitted(kind="TabularClassifier", **parameters):
    X = np.random.default_rng(0).normal(size=(90, 3))
    y = (X[:, 0] > 0).astype(int) if kind == "TabularClassifier" else np.exp(X[:, 0])
    return getattr(fastprop, kind)(**SMALL | parameters).fit(X, y)


def curve(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def ranges(band):
    """{epoch: (lowest, highest)} of a band."""
    x, y = band.get_paths()[0].vertices.T
    return {float(epoch): (float(y[x == epoch].min()), float(y[x == epoch].max())) for epoch in np.unique(x)}


def stars(display):
    (line,) = [line for line in display.ax_.get_lines() if line.get_marker() == "*"]
    return line


def legend(display):
    (found,) = [ax.get_legend() for ax in display.figure_.axes if ax.get_legend() is not None]
    return [text.get_text() for text in found.get_texts()]


def test_mean_and_range_of_the_members_that_still_run():
    display = LossCurveDisplay(TRAINING, validation_losses=VALIDATION, best_epochs=BEST, name="all").plot()
    training, validation = display.lines_
    assert curve(training) == ([1, 2, 3, 4], [2.0, 1.0, 0.5, 0.125])
    assert curve(validation) == ([1, 2, 3, 4], [3.0, 2.5, 1.5, 1.5])
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--"]
    assert ranges(display.bands_[0]) == {1: (1.0, 3.0), 2: (0.5, 1.5), 3: (0.25, 0.75), 4: (0.125, 0.125)}
    assert ranges(display.bands_[1]) == {1: (2.0, 4.0), 2: (2.0, 3.0), 3: (1.0, 2.0), 4: (1.5, 1.5)}
    assert curve(stars(display)) == ([3, 1, 3], [1.0, 2.0, 2.0])
    assert legend(display) == ["all"]
    assert display.ax_.get_ylabel() == "training loss, validation loss dashed"


def test_one_colour_for_each_ensemble():
    ax = None
    for name, style in {"a": {}, "b": {}, "c": {"color": "black"}}.items():
        display = LossCurveDisplay(TRAINING, validation_losses=VALIDATION, name=name).plot(ax, loss_kw=style)
        ax = display.ax_
        color = matplotlib.colors.to_rgb(display.lines_[0].get_color())
        assert display.lines_[1].get_color() == display.lines_[0].get_color()
        for band in display.bands_:
            assert tuple(band.get_facecolor()[0, :3]) == pytest.approx(color)
            assert band.get_facecolor()[0, 3] < 0.5
    assert len({tuple(band.get_facecolor()[0]) for band in ax.collections}) == 3
    assert legend(display) == ["a", "b", "c"]


def test_one_network_has_no_band():
    display = LossCurveDisplay(TRAINING[0], validation_losses=np.array(VALIDATION[0])).plot()
    assert display.bands_ == []
    display = LossCurveDisplay(TRAINING).plot(display.ax_)
    assert len(display.bands_) == 1


@pytest.mark.parametrize(
    ("kind", "options", "unit"),
    [
        ("TabularClassifier", {}, "nats"),
        ("TabularRegressor", {}, "half squared error of the scaled target"),
        ("TabularRegressor", {"loss": "poisson"}, "half Poisson deviance of the scaled target"),
    ],
)
def test_estimators_for_tables(kind, options, unit):
    model = fitted(kind, **options)
    display = LossCurveDisplay.from_estimator(make_pipeline(StandardScaler(), model))
    for line, curves in zip(display.lines_, (model.loss_curves_, model.validation_loss_curves_), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.mean(curves, axis=0))
    assert stars(display).get_xdata().tolist() == model.best_iters_
    assert display.ax_.get_ylabel().replace("\n", " ") == f"training loss, validation loss dashed ({unit})"
    assert legend(display) == [f"{kind}\n(mean and range of 3,\nbest epochs starred)"]


def test_without_validation_and_beside_an_mlp():
    model = fitted(early_stopping=False)
    display = LossCurveDisplay.from_estimator(model, name="mine")
    assert len(display.lines_) == len(display.bands_) == len(display.ax_.get_lines()) == 1
    with pytest.warns(UserWarning, match="reached"):
        other = fastprop.MLPClassifier((5,), max_iter=2, early_stopping=True).fit(np.eye(20), np.arange(20) % 2)
    both = LossCurveDisplay.from_estimator(other, ax=display.ax_)
    assert legend(both) == ["mine", "MLPClassifier"]
    assert both.bands_ == []
    assert legend(LossCurveDisplay.from_estimator(model)) == ["TabularClassifier\n(mean and range of 3)"]


def test_one_epoch_is_a_dot():
    display = LossCurveDisplay.from_estimator(fitted(max_iter=1))
    assert [line.get_marker() for line in display.lines_] == ["o", "o"]
    display.figure_.canvas.draw()


def test_errors():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(fastprop.TabularClassifier())
    model = fitted()
    model.loss_curves_ = [[], [], []]
    with pytest.raises(ValueError, match="the loss curve of this TabularClassifier is empty: training ended in the first epoch"):
        LossCurveDisplay.from_estimator(model)
    assert not plt.get_fignums()

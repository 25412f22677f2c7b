"""LossCurveDisplay: where Axes, labels and legend are, in figures of its own and of a user."""

import itertools

import numpy as np
import pytest

from fastprop import LossCurveDisplay

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

LOSSES = [1.0, 0.8, 0.7, 0.65, 0.6, 0.55]
SCORES = {"validation_scores": [0.5, 0.55, 0.6, 0.7, 0.65, 0.7], "score_name": "accuracy"}
VALIDATION = {"validation_losses": [0.9, 0.8, 0.75, 0.75, 0.8, 0.9]}
RATES = {"learning_rates": [0.001, 0.002, 0.0015, 0.001, 0.0005, 0.0001]}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def _drawn(ax=None, name=None, **curves):
    return LossCurveDisplay(LOSSES, **curves, name=name, unit="half squared error").plot(ax)


def _check_layout(display):
    """Nothing is cut off, and no Axes, label, number or legend covers another one."""
    display.figure_.canvas.draw()
    whole, axes = display.figure_.bbox, display.figure_.axes
    for ax in axes:
        box = ax.get_tightbbox()
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
        _check_apart(_tick_boxes(ax))
    places = list({ax.bbox.bounds: ax.bbox for ax in axes}.values())  # two y axes have one place
    axis = [axis for ax in axes for axis in (ax.xaxis, ax.yaxis)]
    legends = [ax.get_legend().get_window_extent() for ax in axes if ax.get_legend() is not None]
    _check_apart(places + legends)
    _check_apart([each.label.get_window_extent() for each in axis if each.label.get_text()] + legends)
    for box in (each.get_tightbbox() for each in axis):  # with its numbers
        if box is not None:
            _check_apart([box, *legends])


def _check_apart(boxes):
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def _tick_boxes(ax):
    return [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text() and label.get_visible()]


def _legend(display):
    (legend,) = [ax.get_legend() for ax in display.figure_.axes if ax.get_legend() is not None]
    return legend


@pytest.mark.pairwise
@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("scores", [{}, SCORES], ids=["", "scores"])
@pytest.mark.parametrize("rates", [{}, RATES], ids=["", "rates"])
@pytest.mark.parametrize("validation", [{}, VALIDATION], ids=["", "validation"])
def test_nothing_is_cut_off_or_covered(n_models, scores, rates, validation):
    ax = None
    for _ in range(n_models):
        display = _drawn(ax, "a model with a name", **scores, **rates, **validation)
        ax = display.ax_
    _check_layout(display)


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
def test_the_axes_of_a_user_keep_to_their_place(layout):
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout=layout, sharex="col")
    ax, neighbour = axes[0]
    _drawn(ax, "a", **SCORES)
    display, other = _drawn(ax, "b", **RATES), _drawn(axes[1, 0], **SCORES, **RATES)
    assert other.rate_ax_ is not display.rate_ax_
    assert len(figure.axes) == 8
    figure.canvas.draw()
    upper, lower = ax.get_tightbbox(), display.rate_ax_.get_tightbbox()
    assert upper.y0 > lower.y1 - 1
    assert lower.y0 > axes[1, 0].bbox.y1
    assert ax.bbox.x1 < neighbour.bbox.x0
    if layout is None:
        assert (display.rate_ax_.bbox.y0, ax.bbox.y1) == pytest.approx((neighbour.bbox.y0, neighbour.bbox.y1))


def test_axes_without_a_grid_keep_to_their_place():
    figure = plt.figure()
    ax = figure.add_axes((0.2, 0.1, 0.6, 0.8))
    _drawn(ax, "a", **SCORES)
    display = _drawn(ax, "b", **RATES)
    upper, lower = ax.get_position(), display.rate_ax_.get_position()
    assert (lower.x0, lower.y0, upper.x1, upper.y1) == pytest.approx((0.2, 0.1, 0.8, 0.9))
    assert upper.y0 > lower.y1
    assert {each.get_position().bounds for each in figure.axes} == {upper.bounds, lower.bounds}


def test_removed_axes_are_made_again():
    a = _drawn(**SCORES, **RATES)
    a.score_ax_.remove()
    a.rate_ax_.remove()
    b = _drawn(a.ax_, **SCORES, **RATES)
    assert a.figure_.axes == [a.ax_, b.score_ax_, b.rate_ax_]


@pytest.mark.parametrize("scores", [{}, SCORES], ids=["", "scores"])
def test_the_legend_is_beside_the_axes(scores):
    ax = None
    for name in ("one", "two", "the third with a long name"):
        display = _drawn(ax, name, **scores)
        ax = display.ax_
    _check_layout(display)
    assert _legend(display).get_window_extent().x0 > ax.bbox.x1


@pytest.mark.parametrize("rates", [{}, RATES], ids=["", "rates"])
def test_in_a_narrow_figure_the_legend_is_below_and_labels_have_more_lines(rates):
    _, ax = plt.subplots(figsize=(4, 4), layout="constrained")
    display = _drawn(ax, "one", **SCORES, **VALIDATION)
    assert "\n" not in display.score_ax_.get_ylabel()
    display = _drawn(ax, "another", **SCORES, **VALIDATION, **rates)
    assert ("\n" in display.score_ax_.get_ylabel()) == bool(rates)
    _check_layout(display)
    box = _legend(display).get_window_extent()
    assert box.x0 == pytest.approx(ax.bbox.x0)
    assert box.y1 < display.figure_.axes[-1].bbox.y0


@pytest.mark.parametrize("size", [(8, 4.8), (6, 4), (4, 4)], ids=str)
@pytest.mark.parametrize("rates", [{}, RATES], ids=["", "rates"])
def test_members(size, rates):
    _, ax = plt.subplots(figsize=size, layout="constrained")
    for name in ("an ensemble\n(mean and range of 2,\nbest epochs starred)", "another"):
        curves = {"validation_losses": [LOSSES[::-1], LOSSES[2:]], "best_epochs": [1, 4], "unit": "half squared error"}
        display = LossCurveDisplay([LOSSES, LOSSES[:4]], **curves, **rates, name=name).plot(ax)
    _check_layout(display)


def test_the_label_fits_beside_what_a_legend_below_leaves():
    _, (ax, _) = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
    display = LossCurveDisplay(LOSSES, **VALIDATION, unit="half loss", name="a\nb\nc").plot(ax)
    _check_layout(display)
    assert "\n" in ax.get_ylabel()


def test_in_a_narrow_figure_the_epochs_have_fewer_numbers():
    _, ax = plt.subplots(figsize=(2, 3), layout="constrained")
    display = LossCurveDisplay(np.arange(1, 5000)).plot(ax)
    _check_layout(display)
    assert len(_tick_boxes(ax)) > 1


def test_the_legend_stays_in_a_figure_that_makes_no_room():
    figure, ax = plt.subplots()
    for name, scores in {"a": {}, "b": SCORES, "c": {}}.items():
        display = _drawn(ax, name, **scores)
        assert _legend(display).get_texts()[-1].get_text() == name
    figure.canvas.draw()
    box, whole = _legend(display).get_window_extent(), ax.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1

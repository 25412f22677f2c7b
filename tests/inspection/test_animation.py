"""TrainingAnimation: which frames there are, that the file is there however the training ends, and what it shows."""

import ast
import re
from base64 import b64decode
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest

from fastprop import MLPClassifier, nn
from fastprop.estimators.callbacks import SUPPORTED
from fastprop.inspection import TrainingAnimation, animation

pytest.importorskip("matplotlib", reason="the animation is drawn with matplotlib")
Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 2))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(animation, "DPI", 40)


@pytest.fixture
def subplots():
    plt = pytest.importorskip("matplotlib.pyplot")
    yield plt.subplots
    plt.close("all")


def fitted(shown, loss=None, model=None, y=Y, **options):
    model = model or nn.mlp([2, 4, 2], "tanh", random_state=0)
    optimizer = nn.Adam(model.parameters(), lr=0.1)
    model.fit(X, y, loss or nn.SoftmaxCrossEntropy(), optimizer, callback=shown, random_state=0, **options)
    return model


def pictures(path):
    with Image.open(path) as image:
        found = []
        for i in range(image.n_frames):
            image.seek(i)
            found.append(np.asarray(image.convert("RGB"), float))
        return found, image.info


def test_a_boundary_as_a_gif(tmp_path):
    path = tmp_path / "boundary.gif"
    shown = TrainingAnimation(path, "boundary", X, Y, every=20, fps=4)
    model = fitted(shown, epochs=50)
    assert [n_epochs for n_epochs, _ in shown.frames] == [0, 20, 40, 50]
    found, info = pictures(path)
    assert len(found) == 4
    assert info["duration"] == 250
    assert all(np.abs(a - b).max() > 50 for a, b in pairwise(found))  # the title at least
    assert list(tmp_path.iterdir()) == [path]
    # Each point of the grid has the class that the model gives it, from the lower left corner on.
    regions, limits = shown.frames[-1][1], shown._limits()
    for row, column in ((0, 0), (0, -1), (-1, 0), (30, 70)):
        x = [np.linspace(*limits[0], animation.GRID)[column], np.linspace(*limits[1], animation.GRID)[row]]
        assert regions[row, column] == model.predict([x]).argmax()
    for (low, high), values in zip(limits, X.T, strict=True):
        assert low < values.min() < values.max() < high


def test_a_page_needs_no_other_file(tmp_path):
    path = tmp_path / "losses.html"
    shown = TrainingAnimation(path, every=2)
    fitted(shown, epochs=5, validation_data=(X, Y), metrics="accuracy")
    assert [n_epochs for n_epochs, _ in shown.frames] == [2, 4, 5]
    page = path.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "http" not in page
    (frames,) = re.findall(r"const frames = (\[.*\]),", page)
    found = [Image.open(BytesIO(b64decode(frame))) for frame in ast.literal_eval(frames)]
    assert [image.size for image in found] == [(200, 168)] * 3
    assert 'max="2"' in page


def test_curves_up_to_each_frame(tmp_path, monkeypatch, subplots):
    monkeypatch.setattr(TrainingAnimation, "save", lambda self: None)
    shown = TrainingAnimation(tmp_path / "losses.gif", every=2)
    for epochs in (3, 2):  # a later fit goes on
        fitted(shown, epochs=epochs, validation_data=(X, Y), metrics="accuracy")
    history = shown.history
    assert [n_epochs for n_epochs, _ in shown.frames] == [2, 3, 4, 5]
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert {len(values) for values in history.values()} == {5}
    axes = subplots(1, 1)[1]
    show = shown._draw_losses(axes)
    for n_epochs, data in shown.frames:
        show(n_epochs, data)
        lines = [line for ax in axes.figure.axes for line in ax.lines]
        for line, name in zip(lines, ("loss", "val_loss", "val_accuracy"), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), history[name][:n_epochs])


def test_weights_before_and_after(tmp_path):
    model = nn.mlp([2, 70, 2], random_state=0)
    before = model[0].weight.data.copy()
    shown = TrainingAnimation(tmp_path / "weights.gif", "weights", image_shape=(1, 2))
    fitted(shown, model=model, epochs=1)
    assert [n_epochs for n_epochs, _ in shown.frames] == [0, 1]
    np.testing.assert_allclose(shown.frames[0][1], before[:, :64], rtol=1e-6)
    np.testing.assert_allclose(shown.frames[1][1], model[0].weight.data[:, :64], rtol=1e-6)
    assert len(pictures(tmp_path / "weights.gif")[0]) == 2


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_a_model_with_one_output(tmp_path, threshold):
    shown = TrainingAnimation(tmp_path / "one.gif", "boundary", X, Y[:, None], threshold=threshold)
    model = nn.mlp([2, 4, 1], "tanh", random_state=0)
    shown.on_fit_begin(model)
    low = [limits[0] for limits in shown._limits()]
    assert shown.frames[0][1][0, 0] == (model.predict([low])[0, 0] > threshold)


def test_frames_are_bounded(tmp_path):
    shown, history = TrainingAnimation(tmp_path / "many.gif", max_frames=8), {"loss": []}
    shown.on_fit_begin(nn.mlp([2, 2]))
    for epoch in range(100):
        history["loss"].append(1.0)
        shown(epoch, history)
        assert len(shown.frames) <= 8
    assert [n_epochs for n_epochs, _ in shown.frames] == [16, 32, 48, 64, 80, 96]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_lost_when_training_is_interrupted(tmp_path, error):
    class Interrupted(nn.SoftmaxCrossEntropy):
        n_calls = 0

        def __call__(self, outputs, y):
            self.n_calls += 1
            if self.n_calls == 4:
                raise error
            return super().__call__(outputs, y)

    path = tmp_path / "boundary.gif"
    shown = TrainingAnimation(path, "boundary", X, Y)
    with pytest.raises(error) if error is RuntimeError else pytest.warns(match="interrupted by user"):
        fitted(shown, Interrupted(), epochs=9)
    assert [n_epochs for n_epochs, _ in shown.frames] == [0, 1, 2, 3]
    assert len(pictures(path)[0]) == 4


def test_no_frame_of_a_loss_that_is_not_finite(tmp_path):
    shown = TrainingAnimation(tmp_path / "weights.gif", "weights", image_shape=(1, 2))
    model = nn.mlp([2, 4, 2], random_state=0)
    rules = nn.SoftmaxCrossEntropy(), nn.SGD(model.parameters(), lr=1e300)
    with pytest.warns(RuntimeWarning, match="training stops in epoch 0"):
        model.fit(X, Y, *rules, batch_size=4, callback=shown, random_state=0)
    assert [n_epochs for n_epochs, _ in shown.frames] == [0]
    assert (tmp_path / "weights.gif").exists()
    model[0].weight.data[0, 0] = np.nan
    shown.on_fit_begin(model)
    shown(1, {"loss": [1.0, 1.0]})
    assert [n_epochs for n_epochs, _ in shown.frames] == [0]


@pytest.mark.skipif(not SUPPORTED, reason="sklearn.callback is new in scikit-learn 1.9")
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_estimators(tmp_path, solver):
    names = np.array(["no", "yes"])[Y]
    path = tmp_path / "boundary.gif"
    shown = TrainingAnimation(path, "boundary", X, names, every=3)
    model = MLPClassifier((4,), solver=solver, max_iter=5, random_state=0).set_callbacks(shown).fit(X, names)
    assert [n_epochs for n_epochs, _ in shown.frames] == [3, 5]
    assert shown.history["loss"][-1] == model.loss_
    low = [limits[0] for limits in shown._limits()]
    assert names[shown.frames[-1][1][0, 0] == Y][0] == model.predict([low])[0]
    assert len(pictures(path)[0]) == 2


def test_errors_before_the_training(tmp_path):
    path = tmp_path / "a.gif"
    cases = [
        ((path, "surface"), {}, "kind must be 'boundary', 'weights' or 'loss'; got 'surface'"),
        ((tmp_path / "a.png",), {}, r"path must be a file name that ends with \.gif or \.html in a folder that exists; got"),
        ((tmp_path / "none" / "a.gif",), {}, "in a folder that exists"),
        ((path,), {"every": 0}, "every and fps must be above 0, max_frames at least 2; got 0, 10.0 and 50"),
        ((path, "boundary"), {}, "kind 'boundary' needs X and y"),
        ((path, "boundary", RNG.normal(size=(5, 3)), np.zeros(5)), {}, r"X must have shape \(n, 2\), .*; got \(5, 3\)"),
        ((path, "boundary", X, Y[:-1]), {}, r"y must have a class for each row of X; got shapes \(24, 2\) and \(23,\)"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(ValueError, match=message):
            TrainingAnimation(*arguments, **options)
    assert not list(tmp_path.iterdir())
    TrainingAnimation(path).save()  # there are no frames
    assert not path.exists()

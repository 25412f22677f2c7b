"""TrainingAnimation: a callback that shows learning as a moving picture; matplotlib is imported when one is made."""

from __future__ import annotations

import math
import secrets
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..annotations import ArrayLike
from ..files import replacing, write_text
from ..nn.module import Module
from .drawing import pyplot
from .first_layer import FirstLayerWeightsDisplay, first_weight, mosaic
from .loss_curve import LossCurveDisplay

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Kind: TypeAlias = Literal["boundary", "weights", "loss"]

GRID = 120  # the plane of a boundary is classified at so many points along each side
MARGIN = 0.08  # of the range of the points, around them
SIZE, DPI = (5.0, 4.2), 100  # inches
PAGE = "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>Training</title></head><body>\n{}</body></html>\n"
PLAYER = """<div id="{id}"><img alt="A frame of the training"><br>
<button>pause</button> <input type="range" min="0" max="{last}" value="0" aria-label="frame"></div>
<script>
(() => {{
  const frames = {frames}, box = document.getElementById("{id}");
  const [image, button, slider] = ["img", "button", "input"].map(name => box.querySelector(name));
  let timer = null;
  const show = i => {{ slider.value = i; image.src = "data:image/png;base64," + frames[i]; }};
  const play = on => {{
    clearInterval(timer);
    timer = on ? setInterval(() => show((Number(slider.value) + 1) % frames.length), {milliseconds}) : null;
    button.textContent = on ? "pause" : "play";
  }};
  button.onclick = () => play(timer === null);
  slider.oninput = () => {{ play(false); show(Number(slider.value)); }};
  show(0);
  play(true);
}})();
</script>
"""


class TrainingAnimation:
    """Learning as a moving picture: a callback of ``fit`` that writes a GIF, or an HTML page that needs no other file.

    It is a callback of ``Module.fit``, and of the estimators' ``set_callbacks``. The file is written when the fit ends, also after
    Ctrl-C or an error, and again after a later fit that continues. Until then the data of the frames are in memory, not their
    pixels. A notebook shows the animation if it is the last expression of a cell.

    Parameters
    ----------
    path : str or path
        The file; its name ends with '.gif' or '.html'.
    kind : {'boundary', 'weights', 'loss'}
        'boundary': the regions of the classes in the plane of two features. 'weights': the weights of the first layer as images.
        'loss': the curves of the losses, and of a score or metric on validation data if there is one.
    X : array-like, shape (n, 2), optional
        The points to draw, for 'boundary'.
    y : array-like, shape (n,) or (n, n_classes), optional
        Their classes, or one-hot targets. For a model of `fastprop.nn` with several outputs, class indices.
    every : int, default=1
        Number of epochs between frames. There is also a frame from before the first epoch, if there are weights then, and one
        from the end.
    fps : float, default=10.0
        Frames per second.
    max_frames : int, default=50
        Maximum number of frames. When there are more, every second one is dropped and ``every`` is doubled. This bounds the memory
        and the size of the file.
    threshold : float, default=0.0
        For a model of `fastprop.nn` with one output: outputs above it are the second class. 0 for logits, 0.5 for probabilities.
    image_shape : (int, int), optional
        Rows and columns of an image of weights; square by default.
    n_units : int, default=64
        Maximum number of units whose weights are drawn.

    Attributes
    ----------
    frames : list of (int, ndarray or None)
        For each frame, the number of epochs done, and the classes on a grid or the weights.
    history : dict
        A list with a value per epoch for everything that the fits recorded, such as 'loss'.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import TrainingAnimation
    >>> X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> model = nn.mlp([2, 8, 2], "tanh", random_state=0)
    >>> animation = TrainingAnimation("xor.gif", "boundary", X, y, every=5)  # doctest: +SKIP
    >>> model.fit(
    ...     X, y, nn.SoftmaxCrossEntropy(), nn.Adam(model.parameters(), lr=0.1), epochs=100, callback=animation
    ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | PathLike[str],
        kind: Kind = "loss",
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        every: int = 1,
        fps: float = 10.0,
        max_frames: int = 50,
        threshold: float = 0.0,
        image_shape: tuple[int, int] | None = None,
        n_units: int = 64,
    ) -> None:
        pyplot(self)  # an error now rather than after the training
        self.path, self.kind = Path(path), kind
        if kind not in ("boundary", "weights", "loss"):
            raise ValueError(f"kind must be 'boundary', 'weights' or 'loss'; got {kind!r}")
        if self.path.suffix not in (".gif", ".html") or not self.path.parent.is_dir():
            raise ValueError(f"path must be a file name that ends with .gif or .html in a folder that exists; got {str(path)!r}")
        if every < 1 or max_frames < 2 or not fps > 0:
            raise ValueError(f"every and fps must be above 0, max_frames at least 2; got {every}, {fps} and {max_frames}")
        self.every, self.fps, self.max_frames = every, fps, max_frames
        self.threshold, self.image_shape, self.n_units = threshold, image_shape, n_units
        self.X, self.y = (None, None) if kind != "boundary" else _points(X, y)
        self.frames: list[tuple[int, Any]] = []
        self.history: dict[str, list[float]] = {}

    # Module.fit

    def on_fit_begin(self, model: Module) -> None:
        """Take the frame from before the first epoch.

        Parameters
        ----------
        model : Module
            What will be trained.
        """
        self._model = model
        if not self.frames and self.kind != "loss":
            self._add(model)

    def __call__(self, epoch: int, history: Mapping[str, list[float]]) -> None:
        self._epoch_ends({name: values[-1] for name, values in history.items()}, self._model)

    def on_fit_end(self, model: Module) -> None:
        """Take the frame from the end, and write the file.

        Parameters
        ----------
        model : Module
            What was trained.
        """
        self._end(model)
        self._model = None

    # scikit-learn's callbacks

    def setup(self, estimator: BaseEstimator, context: Any) -> None:
        """Do nothing; a hook of scikit-learn's callbacks.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            What will be trained.
        context : CallbackContext
            Not used.
        """

    def on_fit_task_begin(self, estimator: BaseEstimator, context: Any) -> None:
        """Do nothing; a hook of scikit-learn's callbacks.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            What is trained.
        context : CallbackContext
            Not used.
        """

    def on_fit_task_end(self, estimator: BaseEstimator, context: Any, *, fitted_estimator: BaseEstimator | None = None) -> None:
        """Take the frame of an epoch.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            What is trained.
        context : CallbackContext
            Context of the epoch, or of the fit.
        fitted_estimator : MLPClassifier or MLPRegressor, optional
            The estimator with the present weights.
        """
        if context.task_name in ("epoch", "lbfgs-iter") and fitted_estimator is not None:
            scores = getattr(estimator, "validation_scores_", None)
            self._epoch_ends({"loss": estimator.loss_} | ({"val_score": scores[-1]} if scores else {}), fitted_estimator)
            self._last = fitted_estimator

    def teardown(self, estimator: BaseEstimator, context: Any) -> None:
        """Take the frame from the end, and write the file.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            What was trained.
        context : CallbackContext
            Not used.
        """
        self._end(vars(self).pop("_last", None))

    # Frames

    @property
    def _n_epochs(self):
        return len(self.history.get("loss", ()))

    def _epoch_ends(self, values, model):
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        if self._n_epochs % self.every == 0 and math.isfinite(values["loss"]):
            self._add(model)

    def _add(self, model):
        if isinstance(model, Module) and not all(np.isfinite(parameter.data).all() for parameter in model.parameters()):
            return
        data = None
        if self.kind == "boundary":
            data = self._regions(model)
        elif self.kind == "weights":
            data = np.array(first_weight(model)[:, : self.n_units], np.float32)
        self.frames.append((self._n_epochs, data))
        if len(self.frames) > self.max_frames:
            self.every *= 2
            self.frames = [frame for frame in self.frames if frame[0] % self.every == 0]

    def _end(self, model):
        losses = self.history.get("loss")
        if model is not None and losses and math.isfinite(losses[-1]) and (not self.frames or self.frames[-1][0] != len(losses)):
            self._add(model)
        self.save()

    def _regions(self, model):
        """The number of the class at each point of the grid, (GRID, GRID) uint8."""
        x = np.stack(np.meshgrid(*(np.linspace(*limits, GRID) for limits in self._limits())), axis=-1).reshape(-1, 2)
        outputs, self._names = model.predict(x), np.unique(self.y)
        if not isinstance(model, Module):
            classes = np.searchsorted(self._names, outputs)
        elif outputs.shape[1] == 1:
            classes = outputs[:, 0] > self.threshold
        else:
            classes, self._names = outputs.argmax(axis=1), np.arange(outputs.shape[1])
        return classes.astype(np.uint8).reshape(GRID, GRID)

    def _limits(self):
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        room = MARGIN * np.where(high > low, high - low, 1.0)
        return list(zip(low - room, high + room, strict=True))

    # Pictures

    def save(self) -> None:
        """Write the frames so far to the file; does nothing if there are none."""
        if not self.frames:
            return
        if self.path.suffix == ".html":
            write_text(self.path, PAGE.format(self._repr_html_()))
            return
        first, *others = [image.quantize() for image in self._images()]
        with replacing(self.path) as file:
            first.save(file, "GIF", save_all=True, append_images=others, duration=round(1000 / self.fps), loop=0)

    def _repr_html_(self) -> str | None:
        if not self.frames:
            return None
        frames = []
        for image in self._images():
            file = BytesIO()
            image.save(file, "PNG")
            frames.append(b64encode(file.getvalue()).decode())
        name = f"fastprop-{secrets.token_hex(8)}"
        return PLAYER.format(id=name, frames=frames, last=len(frames) - 1, milliseconds=round(1000 / self.fps))

    def _images(self):
        """The frames as images of Pillow's, one after the other."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(SIZE, DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)  # a window is not needed
        ax = figure.subplots()
        update = {"boundary": self._draw_boundary, "weights": self._draw_weights, "loss": self._draw_losses}[self.kind](ax)
        ax.set_title("after epoch")
        canvas.draw()
        figure.set_layout_engine("none")  # the same places in all frames, with room for a title
        for n_epochs, data in self.frames:
            loss = f", loss {self.history['loss'][n_epochs - 1]:.3g}" if n_epochs else ""
            ax.set_title(f"after epoch {n_epochs}{loss}" if n_epochs else "before training")
            update(n_epochs, data)
            canvas.draw()
            yield Image.fromarray(np.array(canvas.buffer_rgba())[..., :3])

    # Each draws the parts that all frames share, and returns a function that shows a frame.

    def _draw_boundary(self, ax):
        from matplotlib.colors import ListedColormap

        few = len(self._names) <= 10
        palette = pyplot(self).get_cmap("tab10") if few else pyplot(self).get_cmap("turbo", len(self._names))
        colours = [palette(i) for i in range(len(self._names))]
        style = {"cmap": ListedColormap(colours), "vmin": -0.5, "vmax": len(colours) - 0.5, "alpha": 0.35}
        place = {"origin": "lower", "extent": np.ravel(self._limits()), "aspect": "auto"}
        image = ax.imshow(self.frames[0][1], interpolation="nearest", **place, **style)
        for name, colour in zip(self._names, colours, strict=True):
            x = self.X[self.y == name]
            ax.scatter(*x.T, s=22, color=colour, edgecolors="white", linewidths=0.6, label=f"class {name}" if few else None)
        ax.set(xlabel="first feature", ylabel="second feature")
        if few:
            ax.legend(loc="upper right", fontsize="small", framealpha=0.8)
        return lambda n_epochs, data: image.set_data(data)

    def _draw_weights(self, ax):
        limit = max(float(np.abs(data).max()) for _, data in self.frames)
        display = FirstLayerWeightsDisplay(self.frames[-1][1], self.image_shape).plot(ax, limit=limit)
        return lambda n_epochs, data: display.image_.set_data(mosaic(data, display.image_shape))

    def _draw_losses(self, ax):
        others = [name for name in self.history if name.startswith("val_") and name != "val_loss"]
        name = others[0] if others else "val_score"
        losses = self.history.get("val_loss")
        scores = {"validation_scores": self.history.get(name), "score_name": name.removeprefix("val_")}
        lines = LossCurveDisplay(self.history["loss"], **scores, validation_losses=losses).plot(ax).lines_
        curves = [line.get_data() for line in lines]

        def show(n_epochs, data):
            for line, (x, y) in zip(lines, curves, strict=True):
                line.set_data(x[:n_epochs], y[:n_epochs])

        return show


def _points(X, y):
    """The points of a boundary and their classes."""
    if X is None or y is None:
        raise ValueError("kind 'boundary' needs X and y: the points that are drawn")
    X, y = np.asarray(X, float), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise ValueError(f"X must have shape (n, 2), as a boundary is drawn in the plane of two features; got {X.shape}")
    if len(X) != y.shape[0] or y.ndim > 2:
        raise ValueError(f"y must have a class for each row of X; got shapes {X.shape} and {y.shape}")
    if y.ndim == 2:
        y = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0]
    return X, y

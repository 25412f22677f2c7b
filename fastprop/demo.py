"""``fastprop demo``: the same network on the digits data with scikit-learn, fastprop, and NumPy (the reference kernels)."""

import math
import time
import warnings
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as SklearnMLPClassifier
from sklearn.utils import shuffle
from threadpoolctl import threadpool_info, threadpool_limits

from . import kernels
from .config import backend_name, processor_name
from .estimators import MLPClassifier
from .files import save_figure
from .progress import progress

SEED = 0
ROUNDS = 5
SECONDS = 30  # seconds after which no further round begins, on a slow or busy machine
# How much float64 weights may differ from scikit-learn's after 100 epochs, relative to the largest weight. A different order of
# sums alone makes a difference, which grows with the epochs.
TOLERANCE = 1e-9

SKLEARN = f"scikit-learn {sklearn.__version__}"
FASTPROP = "fastprop"
NUMPY = "NumPy (reference)"


class DemoError(Exception):
    """An error of the demo, with its exit status."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


class Run(NamedTuple):
    """One training: all weights and biases in one array, the mean loss of each epoch, accuracy on the test set, seconds."""

    weights: np.ndarray
    losses: list
    accuracy: float
    seconds: float


def run_demo(epochs, dtype, n_threads, plot=None):
    """Train, print the table, draw the curves; raise DemoError if the weights or the plot are wrong."""
    if plot is not None:
        _check_plot(Path(plot))
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X.astype(dtype), y, test_size=0.25, random_state=SEED)
    runs = _train(data, epochs, n_threads)
    difference = _print_table(runs, dtype, n_threads, len(data[0]))
    if plot is not None:
        _draw(runs, Path(plot))
        print(f"Loss curves: {plot}")
    if dtype == "float64" and not difference <= TOLERANCE:
        raise DemoError(f"the weights differ from scikit-learn's by {difference:.1e}, more than {TOLERANCE:.0e}", 1)


def _train(data, epochs, n_threads):
    """A dict name -> list of Run, one for each round. The trainers take turns, so that other load on the machine affects all."""
    trainers = {SKLEARN: _estimator(SklearnMLPClassifier), FASTPROP: _estimator(MLPClassifier, n_jobs=n_threads), NUMPY: _fit_numpy}
    runs = {name: [] for name in trainers}
    with progress(ROUNDS * len(trainers) * epochs, "epochs") as advance, threadpool_limits(n_threads, user_api="blas"):
        for trainer in trainers.values():
            trainer(data, 1)  # warm up: thread pools, caches, and what Numba compiles where it is the back end
        start = time.perf_counter()
        for number in range(ROUNDS):
            if number and time.perf_counter() - start > SECONDS:
                break
            n_epochs = epochs
            for name, trainer in trainers.items():
                advance(0, name)
                runs[name].append(trainer(data, n_epochs))
                if name == SKLEARN:
                    n_epochs = len(runs[SKLEARN][0].losses)  # it may have converged; NumPy then trains for as many epochs
                advance(epochs, name)
    return runs


def _estimator(estimator_class, **options):
    def fit(data, epochs):
        X_train, X_test, y_train, y_test = data
        estimator = estimator_class(max_iter=epochs, random_state=SEED, **options)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        weights = np.concatenate([array.ravel() for array in estimator.coefs_ + estimator.intercepts_])
        return Run(weights, estimator.loss_curve_, estimator.score(X_test, y_test), seconds)

    return fit


def _fit_numpy(data, epochs):
    """scikit-learn's algorithm at its default parameters, on the kernels written in NumPy."""
    X_train, X_test, y_train, y_test = data
    numpy_kernels = kernels.load("reference")
    start = time.perf_counter()
    random_state = np.random.RandomState(SEED)  # the generator that scikit-learn uses
    layers = kernels.layer_table([X_train.shape[1], 100, 10], "relu", "softmax")
    params = np.empty(kernels.n_parameters(layers), X_train.dtype)
    views = kernels.layer_views(layers, params)
    for weight, bias in views:
        bound = math.sqrt(6 / sum(weight.shape))  # Glorot and Bengio (2010), equation 16
        weight[...] = random_state.uniform(-bound, bound, weight.shape)
        bias[...] = random_state.uniform(-bound, bound, bias.shape)
    adam_state = np.zeros((2, len(params)), params.dtype)
    order, batch_size = np.arange(len(X_train)), min(200, len(X_train))
    steps_per_epoch = math.ceil(len(X_train) / batch_size)
    losses = []
    for epoch in range(epochs):
        order = shuffle(order, random_state=random_state)
        arrays = X_train, y_train, order, layers, params, adam_state
        options = {"alpha": 1e-4, "batch_size": batch_size, "step": epoch * steps_per_epoch}
        losses.append(numpy_kernels.train_epoch(*arrays, "softmax_cross_entropy", "adam", **options))
    seconds = time.perf_counter() - start
    predicted = numpy_kernels.network_forward(X_test, layers, params).argmax(axis=1)
    weights = np.concatenate([w.ravel() for w, _ in views] + [b for _, b in views])
    return Run(weights, losses, float(np.mean(predicted == y_test)), seconds)


def _print_table(runs, dtype, n_threads, n_samples):
    """Print, and return the largest difference of fastprop's and NumPy's weights from scikit-learn's."""
    seconds = {name: median(run.seconds / len(run.losses) for run in rounds) for name, rounds in runs.items()}
    truth = runs[SKLEARN][0].weights
    differences = {}
    n_epochs = ", ".join(str(n) for n in sorted({len(rounds[0].losses) for rounds in runs.values()}))
    print(f"Digits, {dtype}: {n_samples} training images, one hidden layer of 100, Adam, {n_epochs} epochs, random_state={SEED}\n")
    print(f"{'':<22}{'test accuracy':>14}{'time per epoch':>17}{'speed-up':>11}{'weights differ by':>20}")
    for name, rounds in runs.items():
        row = f"{name:<22}{rounds[0].accuracy:>14.4f}{seconds[name] * 1e3:>14.2f} ms{seconds[SKLEARN] / seconds[name]:>10.1f}x"
        if name != SKLEARN:
            differences[name] = max(_difference(run.weights, truth) for run in rounds)
            row += f"{differences[name]:>20.1e}"
        print(row)
    n_rounds = len(runs[SKLEARN])
    print(f"\nTime: the median of {n_rounds} trainings each, in turns. Difference: relative to scikit-learn's largest weight.")
    print(f"Processor: {processor_name()}. Back end: {backend_name()}. Threads: {n_threads} each, also of {_blas()}.")
    return max(differences.values())


def _difference(weights, truth):
    return float(np.abs(weights - truth).max() / np.abs(truth).max())


def _blas():
    names = {pool["internal_api"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return f"the BLAS under scikit-learn and NumPy ({', '.join(sorted(names)) or 'unknown'})"


def _check_plot(path):
    """Check everything that could prevent the picture from being written after minutes of training."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise DemoError("--plot needs matplotlib, which is not installed: pip install matplotlib", 2) from None
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in formats:
        raise DemoError(f"--plot: cannot draw a {path.suffix or 'file without ending'}; one of {', '.join(sorted(formats))}", 2)
    existed = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise DemoError(f"--plot: cannot write {path}: {error.strerror}", 2) from None
    if not existed:
        path.unlink()


def _draw(runs, path):
    from matplotlib.figure import Figure  # not pyplot: no window, no state

    figure = Figure(figsize=(11, 5), layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    styles = {
        SKLEARN: {"color": "tab:orange", "linewidth": 6, "alpha": 0.5},
        FASTPROP: {"color": "tab:blue", "linewidth": 2},
        NUMPY: {"color": "black", "linewidth": 1, "linestyle": (0, (4, 4))},
    }
    for name, rounds in runs.items():
        losses = rounds[0].losses
        epochs = np.arange(1, len(losses) + 1)
        seconds = median(run.seconds / len(run.losses) for run in rounds)
        by_epoch.plot(epochs, losses, **styles[name])
        by_time.plot(epochs * seconds * 1e3, losses, label=f"{name}: {seconds * 1e3:.2f} ms an epoch", **styles[name])
    by_epoch.set(xlabel="epoch", ylabel="mean training loss (nats)", yscale="log", title="The same weights, so the same losses ...")
    by_time.set(xlabel="time (ms)", xscale="log", title="... in another time")
    for axes in (by_epoch, by_time):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(runs))
    figure.suptitle(f"Digits, random_state={SEED}, {processor_name()}, fastprop on {backend_name()}")
    try:
        save_figure(figure, path, dpi=120)
    except OSError as error:
        raise DemoError(f"--plot: cannot write {path}: {error.strerror}", 2) from None

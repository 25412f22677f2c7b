"""What parts of a network cost, and what several at once gain: ``python bench/costs.py [PART ...]``, about five minutes for all.

    activations   an epoch with each activation, in units of ReLU's
    layers        an epoch with norms or dropout in each hidden layer, in units of the plain one's
    numba         Numba's epoch in units of Cython's
    fit_many      16 estimators one after another with n_jobs=1, in units of fit_many on all cores; likewise a search

An epoch is the raw training loop, with Adam and on one thread. Results are compared before times: epochs with the reference in
float64, estimators with each other, to the bit. What is compared takes turns; the figures are medians of the ratios of rounds.
"""

import sys
import time
import warnings
from typing import NamedTuple

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV

from fastprop import MLPClassifier, fit_many, kernels
from fastprop.config import processor_name
from fastprop.kernels import spec
from fastprop.kernels.checks import NO_INDICES, private
from fastprop.kernels.job import new_job
from fastprop.threads import available_cores


class Problem(NamedTuple):
    n_samples: int
    n_features: int
    n_classes: int
    hidden: tuple
    batch_size: int


PROBLEMS = {
    "iris-like": Problem(150, 4, 3, (100,), 150),
    "digits": Problem(1797, 64, 10, (100,), 200),
    "tabular-small": Problem(10_000, 20, 2, (100,), 200),
    "tabular-deep": Problem(20_000, 50, 5, (128, 64), 200),
    "mnist": Problem(20_000, 784, 10, (128,), 200),
    "mnist-deep": Problem(20_000, 784, 10, (512, 256), 256),
    "wide": Problem(10_000, 256, 10, (1024, 1024), 512),
}
# What they are to cost at most, or to gain at least
ACTIVATION_LIMITS = {"digits": 1.35, "mnist": 1.15}
LAYER_LIMITS = {"layer_norm": 1.3, "batch_norm": 1.3, "dropout": 1.15}
NUMBA_LIMIT, NUMBA_PROBLEMS = 1.4, ("tabular-deep", "mnist", "mnist-deep", "wide")
GAIN = 1.8
# The epochs of a fit: scikit-learn's max_iter, or fewer where that takes long
GAIN_EPOCHS = {"iris-like": 200, "digits": 50, "tabular-small": 25}
SEARCHED, FOLDS = "digits", 2
DTYPES = ("float32", "float64")
N_ESTIMATORS = 16
ROUNDS, SECONDS = 15, 0.05  # of a sample
CHECKED_BATCHES = 3
# Of the parameters after the checked batches, relative to the largest
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}
HYPER = {"epsilon": 1e-3}  # 1e-8 makes of the rounding errors of gradients that are nearly zero full steps


def activations():
    for name, limit in ACTIVATION_LIMITS.items():
        print(f"\nAn epoch of {name}, in units of ReLU's (limit {limit})")
        programs = {activation: program(PROBLEMS[name], activation) for activation in spec.ACTIVATIONS}
        compare_programs(PROBLEMS[name], programs, "relu", dict.fromkeys(programs, limit))


def layers():
    print("\nAn epoch of tabular-deep, in units of one without the layer in question")
    problem = PROBLEMS["tabular-deep"]
    programs, limits = {"plain": program(problem)}, {}
    for kind, limit in LAYER_LIMITS.items():
        for before in (True, False) if kind != "dropout" else (False,):
            title = f"{kind} {'before' if before else 'after'} ReLU"
            programs[title], limits[title] = program(problem, "relu", kind, before), limit
    compare_programs(problem, programs, "plain", limits)


def numba():
    backends = {pair[0]: kernels.load(*pair) for pair in reversed(kernels.available()) if pair[0] in ("cython", "numba")}
    if len(backends) < 2:
        print("\nNumba or a compiled module is not here: not compared")
        return
    print(f"\nNumba's epoch in units of Cython's (limit {NUMBA_LIMIT})")
    for name in NUMBA_PROBLEMS:
        epochs = {
            dtype: {key: Epochs(PROBLEMS[name], dtype, program(PROBLEMS[name]), backend) for key, backend in backends.items()}
            for dtype in DTYPES
        }
        show(name, [ratios(of_dtype, "cython")["numba"] for of_dtype in epochs.values()], NUMBA_LIMIT)


def fit_many_gains():
    print(f"\nfit_many of {N_ESTIMATORS} on {available_cores()} cores: as many times as fast as one after another (aim {GAIN})")
    for name in GAIN_EPOCHS:
        show(name, [gains(name, dtype, fit_each, fit_together) for dtype in DTYPES], GAIN, at_least=True)
    show(f"{SEARCHED}, GridSearchCV", [gains(SEARCHED, dtype, search, search_on_threads) for dtype in DTYPES], GAIN, at_least=True)


PARTS = {"activations": activations, "layers": layers, "numba": numba, "fit_many": fit_many_gains}


def program(problem, activation="relu", kind=None, before=False):
    """The layer table, perhaps with a layer of some kind before or after the activation of each hidden layer."""
    made = kernels.LayerProgram(problem.n_features)
    for i, n_units in enumerate(problem.hidden):
        add = {"dropout": lambda i=i: made.dropout(0.2, i, 0), None: lambda: made}.get(kind) or getattr(made, kind)
        made.linear(n_units)
        if before:
            add()
        made.activation(activation)
        if not before:
            add()
    return made.linear(problem.n_classes).link("softmax")


def data(problem, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((problem.n_samples, problem.n_features)).astype(dtype)
    return X, rng.integers(problem.n_classes, size=problem.n_samples)


def initial_params(table):
    """Glorot's weights; what is behind them is 0, but for the scale of norms, which is 1."""
    params, rng = np.zeros(kernels.n_parameters(table)), np.random.default_rng(1)
    for first, _ in kernels.layer_views(table, params):
        if first.ndim == 2:
            bound = np.sqrt(6 / sum(first.shape))
            first[...] = rng.uniform(-bound, bound, first.shape)
        else:
            first[...] = 1
    return params


class Epochs:
    """Epochs of the raw training loop of a back end, checked; calling it returns the seconds of one."""

    def __init__(self, problem, dtype, table, backend=None):
        self.problem, self.dtype, self.table = problem, dtype, private(table)
        self.backend, self.X, self.y = backend or kernels.active, *data(problem, dtype)
        self.check()
        began = time.perf_counter()
        self.backend.raw.train_epochs(self.job(1), 1)
        self.n_epochs = max(1, round(SECONDS / (time.perf_counter() - began)))

    def job(self, n_epochs, n_visits=None, dtype=None):
        dtype, rng, adam = dtype or self.dtype, np.random.default_rng(2), spec.OPTIMIZERS["adam"]
        nothing, params = np.empty(0, dtype), initial_params(self.table).astype(dtype)
        rows = spec.Rows(self.X.astype(dtype, copy=False), NO_INDICES, NO_INDICES, private(self.y), nothing.reshape(0, 0), nothing)
        orders = np.stack([rng.permutation(len(self.y))[:n_visits] for _ in range(n_epochs)])
        hyper = spec.COMMON_HYPER | adam.hyper | HYPER
        return new_job(
            rows,
            params,
            orders=private(orders),
            layers=self.table,
            buffers=np.ones(kernels.n_buffers(self.table), dtype),
            loss=spec.LOSS_CODES["softmax_cross_entropy"],
            optimizer=adam.code,
            hyper=np.array([hyper[name] for name in spec.hyper_names("adam")]),
            state=np.zeros((adam.n_slots, len(params)), dtype),
            step=np.zeros(1, np.intp),
            batch_size=self.problem.batch_size,
            losses=np.zeros(n_epochs),
        )

    def check(self):
        """Some batches, the last of them short, against the reference in float64."""
        n_visits = min(self.problem.n_samples, CHECKED_BATCHES * self.problem.batch_size - self.problem.batch_size // 2)
        expected, job = self.job(1, n_visits, "float64"), self.job(1, n_visits)
        kernels.load("reference").raw.train_epochs(expected, 1)
        self.backend.raw.train_epochs(job, 1)
        scale = np.abs(expected.params).max()
        np.testing.assert_allclose(job.params, expected.params, rtol=0, atol=TOLERANCE[self.dtype] * scale)
        np.testing.assert_allclose(job.losses, expected.losses, rtol=TOLERANCE[self.dtype])

    def __call__(self):
        job = self.job(self.n_epochs)
        began = time.perf_counter()
        self.backend.raw.train_epochs(job, 1)
        return (time.perf_counter() - began) / self.n_epochs


def ratios(timed, unit, n_rounds=None):
    """name -> each round's ratio of the seconds that a callable returns to those of the one in whose units it is measured.

    That one takes a turn directly before or after each other.
    """
    found = {name: [] for name in timed if name != unit}
    for i in range(n_rounds or ROUNDS):
        for name, samples in found.items():
            seconds = {each: timed[each]() for each in ((name, unit) if i % 2 else (unit, name))}
            samples.append(seconds[name] / seconds[unit])
    return found


def compare_programs(problem, programs, unit, limits):
    found = {}
    for dtype in DTYPES:
        epochs = {name: Epochs(problem, dtype, table) for name, table in programs.items()}
        for name, samples in ratios(epochs, unit).items():
            found.setdefault(name, []).append(samples)
    for name, samples in found.items():
        show(name, samples, limits[name])


def fit_each(models, X, y):
    return weights(model.fit(X, y) for model in models)


def fit_together(models, X, y):
    return weights(fit_many(models, X, y))


def weights(models):
    return [array for model in models for array in model.coefs_ + model.intercepts_]


def search(models, X, y, n_jobs=None):
    """The scores of a search with as many fits as there are models."""
    grid = {"random_state": range(len(models) // FOLDS)}
    found = GridSearchCV(models[0], grid, cv=FOLDS, refit=False, n_jobs=n_jobs).fit(X, y)
    return [found.cv_results_["mean_test_score"]]


def search_on_threads(models, X, y):
    with joblib.parallel_backend("threading"):
        return search(models, X, y, available_cores())


def gains(name, dtype, alone, together):
    """Each round's ratio of the times of two ways to fit, which must find the same numbers."""
    problem = PROBLEMS[name]
    X, y = data(problem, dtype)
    options = {"batch_size": problem.batch_size, "n_iter_no_change": np.inf, "max_iter": GAIN_EPOCHS[name], "n_jobs": 1}

    def timed(way):
        models = [MLPClassifier(problem.hidden, random_state=seed, **options) for seed in range(N_ESTIMATORS)]
        began = time.perf_counter()
        found = way(models, X, y)
        return time.perf_counter() - began, found

    for a, b in zip(timed(alone)[1], timed(together)[1], strict=True):
        np.testing.assert_array_equal(a, b)
    return ratios({"alone": lambda: timed(alone)[0], "together": lambda: timed(together)[0]}, "together")["alone"]


def show(name, samples, limit, at_least=False):
    """A line: for each dtype the median and the quartiles, with a mark where the median is on the wrong side of the limit."""
    cells = []
    for of_dtype in samples:
        low, median, high = np.quantile(of_dtype, [0.25, 0.5, 0.75])
        mark = "!" if (median < limit if at_least else median > limit) else " "
        cells.append(f"{median:5.2f}{mark} ({low:.2f} to {high:.2f})")
    print(f"    {name:30}" + "   ".join(cells), flush=True)


def main(arguments):
    unknown = sorted(set(arguments) - set(PARTS))
    if unknown:
        raise SystemExit(f"there is no part {', '.join(unknown)}: parts are {', '.join(PARTS)}")
    warnings.simplefilter("ignore")
    print(f"{processor_name()}, {available_cores()} cores, {kernels.active}")
    print(f"Medians (quartiles) of {ROUNDS} rounds in {' and '.join(DTYPES)}; ! is on the wrong side of the limit")
    for name in arguments or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])

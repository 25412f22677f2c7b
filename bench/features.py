"""What the estimators' features cost: ``python bench/features.py [NAME ...]``, about ten minutes for all.

A fit of a few epochs of 784-128-10 with the feature, in units of the plain one on the same rows, with one and with two threads.
Before anything is timed, the weights after a short fit with each feature are compared with those of the reference back end in
float64. The plain fit takes a turn directly before or after each other; the figures are medians of the ratios of rounds.
"""

import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # at the end: the installed fastprop goes first

from bench import costs
from fastprop import MLPClassifier, MLPRegressor, kernels
from fastprop.config import processor_name
from fastprop.threads import available_cores

PROBLEM = costs.PROBLEMS["mnist"]
LIMIT, ROUNDS, EPOCHS = 1.3, 7, 2
CHECKED_ROWS = 450
CLASSIFIER = {
    "class_weight='balanced'": {"class_weight": "balanced"},
    "X_val, 10 % of the rows": {"validation": True},
    "X_val, scoring='loss'": {"validation": True, "scoring": "loss", "early_stopping": True},
    **{f"activation={name!r}": {"activation": name} for name in ("leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus")},
    "dropout=0.2": {"dropout": 0.2},
    "solver='adamw', weight_decay": {"solver": "adamw", "weight_decay": 0.01},
    "solver='rmsprop'": {"solver": "rmsprop"},
    "clip_norm=1": {"clip_norm": 1.0},
    "'one_cycle', warmup=0.1": {"learning_rate": "one_cycle", "warmup": 0.1},
    "normalization='batch'": {"normalization": "batch"},
    "normalization='layer'": {"normalization": "layer"},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "ema_decay=0.99": {"ema_decay": 0.99},
    "max_time=1000": {"max_time": 1000.0},
}
REGRESSOR = {f"loss={name!r}": {"loss": name} for name in ("absolute_error", "huber", "quantile", "poisson", "gamma", "tweedie")}
FEATURES = CLASSIFIER | REGRESSOR
# 1e-8 makes of the rounding errors of gradients that are nearly zero full steps.
OPTIONS = {"n_iter_no_change": np.inf, "epsilon": 1e-3, "random_state": 0}


def fitted(name, dtype, n_jobs, problem=None):
    """(an estimator fitted with a feature, the seconds that took); the name may also be one of the two in `plain_of`."""
    problem = problem or PROBLEM
    parameters = dict(FEATURES.get(name, {}))
    make = MLPRegressor if name in REGRESSOR or name == "regressor" else MLPClassifier
    X, y = costs.data(problem, dtype)
    if make is MLPRegressor:
        y = (0.1 + np.abs(X[:, : problem.n_classes])).astype(dtype)
    rows = problem.n_samples // 10
    given = {"X_val": X[:rows], "y_val": y[:rows]} if parameters.pop("validation", False) else {}
    options = OPTIONS | {"batch_size": problem.batch_size, "max_iter": EPOCHS, "n_jobs": n_jobs} | parameters
    model = make(hidden_layer_sizes=problem.hidden, **options)
    began = time.perf_counter()
    model.fit(X, y, **given)
    return model, time.perf_counter() - began


def plain_of(name):
    return "regressor" if name in REGRESSOR else "classifier"


def weights_of(names, problem):
    """The weights after a short fit in float64 with each feature, in one vector each."""
    warnings.simplefilter("ignore")
    found = {}
    for name in names:
        model, _ = fitted(name, "float64", 1, problem)
        found[name] = np.concatenate([array.ravel() for array in model.coefs_ + model.intercepts_])
    return found


def reference_weights(names, problem):
    """`weights_of` on the reference back end, in a process of its own."""
    before = os.environ.get("FASTPROP_BACKEND")
    os.environ["FASTPROP_BACKEND"] = "reference"
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(weights_of, names, problem).result()
    finally:
        del os.environ["FASTPROP_BACKEND"]
        if before is not None:
            os.environ["FASTPROP_BACKEND"] = before


def check(names):
    problem = PROBLEM._replace(n_samples=CHECKED_ROWS)
    expected = reference_weights(names, problem)
    for name, found in weights_of(names, problem).items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=costs.TOLERANCE["float64"] * scale, err_msg=name)


def ratios(name, dtype, n_jobs):
    """Each round's ratio of the seconds with a feature to those without it."""
    timed = {each: lambda each=each: fitted(each, dtype, n_jobs)[1] for each in (name, plain_of(name))}
    return costs.ratios(timed, plain_of(name), ROUNDS)[name]


def main(arguments):
    unknown = sorted(set(arguments) - set(FEATURES))
    if unknown:
        raise SystemExit(f"there is no feature {', '.join(unknown)}: features are {', '.join(FEATURES)}")
    warnings.simplefilter("ignore")
    names = arguments or list(FEATURES)
    check(names)
    print(f"{processor_name()}, {available_cores()} cores, {kernels.active}")
    for n_jobs in (1, 2):
        print(f"\nA fit of {EPOCHS} epochs of 784-128-10, {n_jobs} threads, in units of the plain one (limit {LIMIT}):")
        print(f"medians (quartiles) of {ROUNDS} rounds in {' and '.join(costs.DTYPES)}; ! is above the limit")
        for name in names:
            costs.show(name, [ratios(name, dtype, n_jobs) for dtype in costs.DTYPES], LIMIT)


if __name__ == "__main__":
    main(sys.argv[1:])

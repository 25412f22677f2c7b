"""Calls of the estimators on input in several forms, against scikit-learn's: ``python bench/inputs.py``, about a minute.

One thread does all of it. Results are compared before times; the two take turns, and the figures are medians.
"""

import functools
import time
import warnings

import numpy as np
import pandas as pd
import sklearn.neural_network
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import fastprop

ROUNDS, SECONDS = 15, 0.01
OPTIONS = {"max_iter": 5, "random_state": 0, "n_iter_no_change": np.inf}


def main():
    warnings.simplefilter("ignore")
    X, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(X, columns=[f"pixel_{i}" for i in range(X.shape[1])])
    row = np.ascontiguousarray(X[:1])
    forms = {
        "plain": row,
        "list": row.tolist(),
        "int": row.astype(int),
        "uint8": row.astype(np.uint8),
        "float32": row.astype(np.float32),
        "strided": np.repeat(X[:1], 2, axis=1)[:, ::2],
        "bool": row > 3,
        "frame": frame[:1],
        "100 rows of int": X[:100].astype(int),
        "100 rows of a frame": frame[:100],
    }
    print("scikit-learn's time / fastprop's (fastprop's time)")
    for name in ("MLPClassifier", "MLPRegressor"):
        targets = y if name == "MLPClassifier" else y / 10
        for form, rows in forms.items():
            pair = [fitted(module, name, frame if "frame" in form else X, targets) for module in (sklearn.neural_network, fastprop)]
            y_rows = targets[: len(rows)]
            compare(f"{name}.predict, {form}", pair, lambda model, rows=rows: model.predict(rows))
            if len(rows) > 1:
                compare(f"{name}.score, {form}", pair, lambda model, rows=rows, y=y_rows: model.score(rows, y))
            else:
                compare(f"{name}.partial_fit, {form}", pair, lambda model, rows=rows, y=y_rows: model.partial_fit(rows, y).loss_)


def fitted(module, name, X, y):
    return getattr(module, name)(**OPTIONS).fit(X, y)


def compare(title, pair, call):
    theirs, ours = (functools.partial(call, model) for model in pair)
    np.testing.assert_allclose(ours(), theirs(), rtol=1e-9, atol=1e-12)
    times = {theirs: [], ours: []}
    for i in range(ROUNDS):
        for one in (theirs, ours) if i % 2 else (ours, theirs):
            times[one].append(seconds(one))
    ratio = np.median(np.array(times[theirs]) / times[ours])
    print(f"{title}: {ratio:.1f} ({np.median(times[ours]) * 1e6:.1f} µs)", flush=True)


def seconds(call):
    n, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < SECONDS:
        call()
        n += 1
    return taken / n


if __name__ == "__main__":
    with threadpool_limits(1):
        main()

"""The estimators train, with scikit-learn's own parameters, to the bits that are on record in bits.json: those of commit c70084c,
before they had others.

A change that means to compute the same shows here if it does not. One that means to compute something else makes a new record, in a
commit of its own that says why: ``python tests/estimators/test_bits.py``, with FASTPROP_ISA for each instruction set. What bits
depend on is in tests/bits.py; with L-BFGS it is also SciPy and its BLAS.
"""

import json
import runpy
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from fastprop import MLPClassifier, MLPRegressor, kernels

BITS = runpy.run_path(str(Path(__file__).parents[1] / "bits.py"))
numbers, digest = BITS["numbers"], BITS["digest"]
RECORD = Path(__file__).with_name("bits.json")
N = 90
COMMON = {"hidden_layer_sizes": (17,), "max_iter": 5, "batch_size": 32, "random_state": 0, "n_jobs": 1}


class Case(NamedTuple):
    target: str
    dtype: type
    parameters: dict
    sparse: bool = False
    weighted: bool = False
    then: str | None = None  # a second call, after fit


CASES = {
    "defaults": Case("multiclass", np.float64, {"hidden_layer_sizes": (100,), "batch_size": "auto"}),
    "binary": Case("binary", np.float32, {"learning_rate_init": 0.02, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}),
    "multilabel": Case("multilabel", np.float64, {"hidden_layer_sizes": 9}),
    "one output": Case("one output", np.float32, {"shuffle": False}),
    "two outputs": Case("two outputs", np.float64, {"solver": "sgd", "nesterovs_momentum": False}),
    "poisson": Case("counts", np.float64, {"loss": "poisson"}),
    "sparse": Case("multiclass", np.float64, {}, sparse=True),
    "sparse, sgd": Case("two outputs", np.float32, {"solver": "sgd", "momentum": 0}, sparse=True),
    "weighted": Case("multiclass", np.float64, {}, weighted=True),
    "alpha, batches": Case("binary", np.float64, {"alpha": 0, "batch_size": 7}),
    "no hidden layer": Case("multiclass", np.float32, {"hidden_layer_sizes": (), "alpha": 0.1}),
    "deep, tanh": Case("one output", np.float64, {"hidden_layer_sizes": (20, 15, 10, 5), "activation": "tanh"}),
    "logistic": Case("multiclass", np.float32, {"activation": "logistic"}),
    "identity, invscaling": Case("binary", np.float64, {"activation": "identity", "solver": "sgd", "learning_rate": "invscaling"}),
    "adaptive": Case("multiclass", np.float32, {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1}),
    "early stopping": Case("binary", np.float32, {"early_stopping": True, "validation_fraction": 0.3, "learning_rate_init": 0.02}),
    "early stopping, weighted": Case("two outputs", np.float64, {"early_stopping": True, "solver": "sgd"}, weighted=True),
    "partial_fit": Case("multilabel", np.float32, {}, then="partial_fit"),
    "warm_start": Case("one output", np.float64, {"warm_start": True}, then="fit"),
    "lbfgs": Case("multiclass", np.float64, {"solver": "lbfgs"}),
    "lbfgs, poisson": Case("counts", np.float32, {"solver": "lbfgs", "loss": "poisson", "activation": "tanh"}),
}


def data(case):
    """X, y and sample weights."""
    rng = np.random.default_rng(N)
    X = numbers(rng, (N, 12), case.dtype)
    if case.sparse:
        X = sp.csr_array(X * (rng.integers(0, 4, X.shape) == 0))
    y = {
        "binary": rng.integers(0, 2, N),
        "multiclass": rng.integers(0, 4, N),
        "multilabel": rng.integers(0, 2, (N, 3)),
        "one output": numbers(rng, N, case.dtype),
        "two outputs": numbers(rng, (N, 2), case.dtype),
        "counts": rng.integers(0, 5, N).astype(case.dtype),
    }[case.target]
    return X, y, rng.integers(1, 9, N) / 4 if case.weighted else None


def trained(case):
    """A digest of what an estimator learns and predicts."""
    X, y, weight = data(case)
    make = MLPClassifier if case.target in ("binary", "multiclass", "multilabel") else MLPRegressor
    estimator = make(**COMMON | case.parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X, y, sample_weight=weight)
        if case.then:
            getattr(estimator, case.then)(X, y)
    learnt = [*estimator.coefs_, *estimator.intercepts_, np.array(getattr(estimator, "loss_curve_", estimator.loss_))]
    assert all(np.isfinite(array).all() for array in learnt)
    outputs = estimator.predict_proba(X) if make is MLPClassifier else estimator.predict(X)
    return digest(*learnt, outputs, estimator.predict(X[:7]))


def circumstances(solver):
    """Those of the active back end, and the bits of SciPy's own part of L-BFGS where that runs."""
    common = BITS["circumstances"](kernels.active)
    if solver != "lbfgs":
        return common
    minimum = numbers(np.random.default_rng(0), 300, np.float64)
    options = {"method": "L-BFGS-B", "jac": True, "options": {"maxiter": 15}}
    found = scipy.optimize.minimize(lambda x: (((x - minimum) ** 4).sum(), 4 * (x - minimum) ** 3), np.zeros(300), **options)
    return common | {"L-BFGS": digest(found.x)}


@pytest.mark.skipif(kernels.active.isa is None, reason="only the compiled back end has a record")
@pytest.mark.parametrize("name", CASES)
def test_bits_are_those_on_record(name):
    case = CASES[name]
    expected = BITS["digests_on_record"](RECORD, kernels.active.isa, circumstances(case.parameters.get("solver")))
    assert trained(case) == expected[name]


def make_record():
    """The record with what is active here in the place of what it had of that instruction set."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    digests = {name: trained(case) for name, case in CASES.items()}
    return record | {kernels.active.isa: {"circumstances": circumstances("lbfgs"), "digests": digests}}


if __name__ == "__main__":
    BITS["write"](make_record(), RECORD)

"""Validation rows: how they are chosen, and how a network is evaluated on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_y, check_consistent_length

from .. import loop
from ..annotations import Floats
from ..kernels import active
from ..kernels.spec import LOSS_CODES
from ..network import Network
from ..training_set import TrainingSet
from .targets import raveled
from .validation import checked_weights, host_array, validated

# Arguments of ``fit``
VALIDATION = ("X_val", "y_val", "sample_weight_val")


class Rows(NamedTuple):
    """Validation rows: checked X, y in the form of `BaseMLP._checked_input`, and weights or None."""

    X: Any
    y: NDArray[Any]
    sample_weight: Floats | None


def given_rows(estimator, dtype, example, X=None, y=None, sample_weight=None, of_a_part=False):
    """The `Rows` of X_val, y_val and sample_weight_val, or None if they are not given.

    ``dtype`` is that of the training X, ``example`` a row of its encoded y. The weights of a part of the rows may all be
    zero. An error names what is missing or wrong.
    """
    if not are_given(X, y, sample_weight):
        return None
    with named("X_val"):
        X = validated(estimator, host_array(X, "X_val"), reset=False, dtype=dtype)
    with named("y_val"):
        y = raveled(_check_y(host_array(y, "y_val"), multi_output=True, y_numeric=not estimator._is_classifier))
        check_consistent_length(X, y)
        expected = (X.shape[0], *estimator._decoded(example).shape[1:])
        if y.shape != expected:
            raise ValueError(f"must have shape {expected} to go with y; got {y.shape}")
        y = estimator._encoded(y)
    with named("sample_weight_val"):
        sample_weight = checked_weights(sample_weight, X, "sample_weight_val", of_a_part)
    return Rows(X, y, sample_weight)


def are_given(X, y, sample_weight):
    """Whether X_val and y_val are given; an error if only a part of them is."""
    if X is None and y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight_val is provided, but X_val and y_val were not provided.")
        return False
    if X is None or y is None:
        given, missing = ("X_val", "y_val") if y is None else ("y_val", "X_val")
        raise ValueError(f"{given} is provided, but {missing} was not provided.")
    return True


@contextmanager
def named(name):
    """Add the name of an argument to the errors of a block of code."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def split_rows(n_samples, fraction, random_state, stratify):
    """(the rows to train on, those held out), as scikit-learn's early stopping draws them."""
    split = train_test_split(np.arange(n_samples), test_size=fraction, random_state=random_state, stratify=stratify)
    if len(split[1]) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return split


class Validation:
    """Validation rows, the evaluation of a network on them, and the best parameters so far.

    Parameters
    ----------
    network : Network
        The network to evaluate, each time with its present parameters.
    data : TrainingSet
        The rows.
    score : function of (loss, outputs)
        The score, higher is better.
    decides : bool
        Whether the score stops the training and chooses the parameters, as in early stopping.
    best_params : ndarray
        The parameters that scored best so far.
    """

    def __init__(
        self, network: Network, data: TrainingSet, score: Callable[[float, Floats], float], decides: bool, best_params: Floats
    ) -> None:
        self._network, self._data, self._score, self.decides = network, data, score, decides
        self._logits = network.sharing(loss="squared_error")  # whose link is the identity
        self.best_params, self.best_buffers = best_params, network.buffers.copy()
        weight = data.sample_weight
        self._total = float(weight.sum(dtype=np.float64)) if weight.size else data.n_samples

    def judge(self, n_threads: int) -> tuple[float, float]:
        """(mean loss, score) of the network now; the score is NaN if an output is not finite."""
        mean, outputs = self._evaluate(n_threads)
        if not np.isfinite(outputs).all():
            return mean, math.nan
        score = float(self._score(mean, outputs))
        if self.decides and math.isnan(score):
            raise ValueError("early stopping needs a score of the validation rows, and scoring gives nan for them")
        return mean, score

    def _evaluate(self, n_threads):
        """(mean loss, outputs)."""
        network, data = self._network, self._data
        logits = loop.forward(self._logits, data.rows, n_threads)
        outputs, loss = np.empty_like(logits), (LOSS_CODES[network.loss], network._loss_hyper)
        terms = network.sizes[-1] if network.loss == "squared_error" else 1
        loss_sum = active.raw.loss_forward(*loss, logits, data.labels, data.targets, data.sample_weight, outputs, n_threads)
        return loss_sum / terms / self._total if self._total else 0.0, outputs

    def keep(self) -> None:
        """Keep the present parameters as the best ones."""
        self.best_params[:], self.best_buffers[:] = self._network.params, self._network.buffers

    def restore(self, network: Network) -> None:
        """Give a network the best parameters."""
        network.params[:], network.buffers[:] = self.best_params, self.best_buffers


def scorer_of(estimator, rows, judged, history):
    """The function of (loss, outputs) for an estimator's ``scoring`` on `Rows`; ``judged`` is the network."""
    scoring = estimator.scoring
    if scoring is None:
        return lambda loss, outputs: estimator._score_outputs(rows.y, outputs, rows.sample_weight)
    if scoring == "loss":
        return lambda loss, outputs: -loss
    scorer, y = check_scoring(estimator, scoring), estimator._decoded(rows.y)
    weights = {} if rows.sample_weight is None else {"sample_weight": rows.sample_weight}
    return lambda loss, outputs: scorer(_as_it_is_now(estimator, judged, history), rows.X, y, **weights)


def _as_it_is_now(estimator, judged, history):
    """A copy of an estimator in training, with the evaluated network and the history so far; scorers may change it."""
    # Without feature_names_in_: predictions for arrays would warn that these have no names.
    copied = object.__new__(type(estimator))
    vars(copied).update({name: value for name, value in vars(estimator).items() if name != "feature_names_in_"})
    copied._use_network(judged)
    copied._store(history)
    return copied

"""What training must know about data in parts before it begins: each part is inspected, and the summaries are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels

from ..training_set import is_sparse
from .held_out import VALIDATION, Rows, given_rows
from .rows import InMemory
from .stochastic import check_rows
from .targets import check_known_classes, raveled
from .validation import check_some_weight, checked_weights, host_array


@dataclass(frozen=True)
class Labels:
    """The labels of a classifier, sorted, and how many rows have each; a row may have several."""

    classes: NDArray[Any]
    counts: NDArray[np.intp]
    binarizer: LabelBinarizer

    @classmethod
    def of(cls, y: Any) -> Labels:
        """The labels of y, as scikit-learn has validated it."""
        binarizer = LabelBinarizer().fit(y)
        if binarizer.y_type_ == "multilabel-indicator":
            return cls(binarizer.classes_, np.asarray(y.sum(axis=0), np.intp).ravel(), binarizer)
        return cls(*np.unique(y, return_counts=True), binarizer)

    @property
    def are_several(self) -> bool:
        """Whether a row has several labels."""
        return self.binarizer.y_type_ == "multilabel-indicator"

    def joined(self, other: Labels) -> Labels:
        """The labels of both."""
        if self.are_several or other.are_several:
            if not (self.are_several and other.are_several and len(self.classes) == len(other.classes)):
                raise ValueError(f"y has {other._described()}; the rows before it have {self._described()}")
            return Labels(self.classes, self.counts + other.counts, self.binarizer)
        return _labels(unique_labels(self.classes, other.classes), self, other)

    def among(self, classes: Any) -> Labels:
        """These labels, with ``classes`` as all classes that exist; an error names labels that are not among them."""
        if self.are_several:
            return self
        classes = unique_labels(classes)
        check_known_classes(self.classes, classes)
        return _labels(classes, self)

    def _described(self):
        return f"{len(self.classes)} labels in each row" if self.are_several else "one label in each row"

    def balanced_weights(self, n_rows: int) -> Any:
        """The weights that ``class_weight='balanced'`` means for all rows: a dict, or a list of dicts for several labels."""
        if self.are_several:
            return [_balanced({0: n_rows - n, 1: n}, n_rows) for n in self.counts.tolist()]
        return _balanced(dict(zip(self.classes.tolist(), self.counts.tolist(), strict=True)), n_rows)


def _labels(classes, *parts):
    counts = np.zeros(len(classes), np.intp)
    for each in parts:
        counts[np.searchsorted(classes, each.classes)] += each.counts
    return Labels(classes, counts, LabelBinarizer().fit(classes))


def _balanced(counts, n_rows):
    counts = {label: n for label, n in counts.items() if n}
    return {label: n_rows / (len(counts) * float(n)) for label, n in counts.items()}


@dataclass(frozen=True)
class Summary:
    """A summary of one part of the data, or of several.

    ``targets`` are `Labels`, or None for a regressor; ``example`` is a row of y; ``digests`` has a number for each part that
    distinguishes it from other data.
    """

    n_rows: int
    n_features: int
    feature_names: tuple[str, ...] | None
    dtype: np.dtype[Any]
    is_sparse: bool
    has_weights: bool
    some_weight: bool
    targets: Labels | None
    example: Any
    digests: tuple[int, ...]

    def joined(self, other: Summary) -> Summary:
        """The summary of both; an error says how ``other`` differs."""
        if other.n_features != self.n_features:
            raise ValueError(f"X has {other.n_features} features; the rows before it have {self.n_features}")
        if other.feature_names != self.feature_names:
            raise ValueError(f"X has the feature names {other.feature_names}; the rows before it have {self.feature_names}")
        if other.is_sparse != self.is_sparse:
            forms = ("dense", "sparse")
            raise ValueError(f"X is {forms[other.is_sparse]}; the rows before it are {forms[self.is_sparse]}")
        if self.targets is None and other.example.shape[1:] != self.example.shape[1:]:
            raise ValueError(f"y has rows of shape {other.example.shape[1:]}; those before it have {self.example.shape[1:]}")
        return Summary(
            self.n_rows + other.n_rows,
            self.n_features,
            self.feature_names,
            np.result_type(self.dtype, other.dtype),
            self.is_sparse,
            self.has_weights or other.has_weights,
            self.some_weight or other.some_weight,
            None if self.targets is None or other.targets is None else self.targets.joined(other.targets),
            self.example,
            self.digests + other.digests,
        )

    def use(self, estimator: Any, reset: bool) -> None:
        """Set the attributes that scikit-learn's validation of X sets."""
        if not reset:
            return
        estimator.n_features_in_ = self.n_features
        vars(estimator).pop("feature_names_in_", None)
        if self.feature_names is not None:
            estimator.feature_names_in_ = np.array(self.feature_names, object)


def summary_of(estimator: Any, X: Any, y: Any, sample_weight: Any, reset: bool = True) -> Summary:
    """The summary of one part, after the checks of ``fit``; without ``reset``, X must have the columns that the estimator knows.

    The estimator is not changed.
    """
    probe = object.__new__(type(estimator))
    vars(probe).update(vars(estimator))
    X, y = probe._checked_arrays(host_array(X, "X"), host_array(y, "y"), reset=reset)
    y, names = raveled(y), getattr(probe, "feature_names_in_", None)
    weight = checked_weights(sample_weight, X, of_a_part=True)
    if not estimator._is_classifier:
        probe._encoded(y)
    return Summary(
        X.shape[0],
        X.shape[1],
        None if names is None else tuple(names.tolist()),
        X.dtype,
        is_sparse(X),
        weight is not None,
        weight is None or bool(weight.any()),
        Labels.of(y) if estimator._is_classifier else None,
        y[:1],
        (_digest(X, y),),
    )


def _digest(X, y):
    """A checksum that other rows hardly ever have: of the first and the last row, and some of the targets."""
    X, y = X[[0, X.shape[0] - 1]], y[:: max(1, y.shape[0] // 100)]
    X, y = (array.toarray() if is_sparse(array) else array for array in (X, y))
    return crc32(repr((X.tolist(), y.tolist())).encode())


def has_rows(X: Any, y: Any) -> bool:
    """Whether there is anything to check; a part without rows has none in X and none in y."""
    return any(_n_rows(array) != 0 for array in (X, y))


def _n_rows(array):
    return array.shape[0] if getattr(array, "shape", ()) else len(array) if hasattr(array, "__len__") else 1


def triple(part: Any, name: str) -> tuple[Any, Any, Any]:
    """(X, y, weights or None) of a user's part, or an error."""
    if not isinstance(part, (tuple, list)) or len(part) not in (2, 3):
        what = f"{len(part)} elements" if isinstance(part, (tuple, list)) else f"a {type(part).__name__}"
        raise TypeError(f"{name} must be (X, y) or (X, y, sample_weight); got {what}")
    return (*part, None)[:3]


class Known(NamedTuple):
    """What is known about all parts when training begins.

    ``class_weight`` replaces the parameter, if it is not None; ``example`` is a row of y as the estimator encodes it, and ``given``
    are the rows to validate on, or None.
    """

    summary: Summary
    class_weight: Any
    example: NDArray[Any]
    given: Rows | None


def known(
    estimator: Any, summary: Summary, reset: bool, given: dict[str, Any], classes: Any = None, of_a_part: bool = False
) -> Known:
    """`Known`, from the summary of all parts, the given validation rows (all or a part of them), and the given classes.

    It sets the attributes that `BaseMLP._checked_input` sets.
    """
    check_some_weight(summary.some_weight)
    summary.use(estimator, reset)
    class_weight = estimator._use_summary(summary, classes)
    example = estimator._encoded(summary.example)
    rows = given_rows(estimator, summary.dtype, example, *map(given.get, VALIDATION), of_a_part=of_a_part)
    return Known(summary, class_weight, example, rows)


def check_validation(estimator: Any, everything: Known, what: str) -> None:
    """Raise an error if early stopping has no rows, as ``what`` holds out none, or if batch norm gets a batch of one row."""
    if estimator.early_stopping and everything.given is None:
        raise ValueError(f"early_stopping=True needs X_val and y_val here, as {what} holds out no rows")
    check_rows(estimator, everything.summary.n_rows, everything.given)


def checked_part(estimator: Any, part: Any, summary: Summary, class_weight: Any) -> InMemory:
    """A part (X, y, weights or None) in the form that a network takes; if other parts have weights, its weights are 1."""
    X, y, sample_weight = part
    X, y = estimator._checked_arrays(host_array(X, "X"), host_array(y, "y"), reset=False)
    y = estimator._encoded(y)
    sample_weight = checked_weights(sample_weight, X, of_a_part=True)
    if is_sparse(X) != summary.is_sparse or (sample_weight is not None and not summary.has_weights):
        raise ValueError("the rows are sparse, or have weights, unlike when they were first read")
    if sample_weight is None and summary.has_weights:
        sample_weight = np.ones(len(y), summary.dtype)
    sample_weight = estimator._weights_of_rows(y, sample_weight, incremental=True, class_weight=class_weight)
    return InMemory(X.astype(summary.dtype, copy=False), y, sample_weight, None)

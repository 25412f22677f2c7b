"""Conversion of class labels to the targets of a network, and of a network's outputs to class labels."""

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import column_or_1d

from ..warn import call


def raveled(y):
    """y unchanged, except that a column of shape (n, 1) becomes a vector, with scikit-learn's DataConversionWarning."""
    return call(column_or_1d, y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def check_same_classes(y, classes):
    """Raise an error unless y has exactly these classes, which a warm start requires."""
    found = unique_labels(y)
    if set(found) != set(classes):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
            f"Previously got {classes}, `y` has {found}"
        )


def check_known_classes(y, classes):
    """Raise an error if y has other classes."""
    if _are_among(y, classes):
        return
    found = unique_labels(y)
    if len(np.setdiff1d(found, classes, assume_unique=True)):
        raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {found}.")


def _are_among(y, classes):
    """Whether a vector has only these classes; also False if scikit-learn's rules are needed to decide."""
    if y.ndim != 1 or y.dtype.kind not in "biuU" or y.dtype.kind != classes.dtype.kind:
        return False
    nearest = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    return bool((classes[nearest] == y).all())


def encode(binarizer: LabelBinarizer, y):
    """Class numbers (n,) for several classes; 0 and 1, shape (n, 1) for two classes and (n, n_labels) for several labels."""
    if y.ndim == 1 and binarizer.y_type_ == "multiclass":
        return np.searchsorted(binarizer.classes_, y)
    if y.ndim == 1 and binarizer.y_type_ == "binary":
        positive = binarizer.classes_[1:]
        return (y == positive if len(positive) else np.zeros(len(y), dtype=bool))[:, None]
    return np.asarray(binarizer.transform(y), dtype=bool)


def decide(binarizer: LabelBinarizer, outputs):
    """The decision in the form of `encode`: the most probable class, or whether a probability is above one half."""
    if binarizer.y_type_ == "multiclass":
        return outputs.argmax(axis=1)
    if len(binarizer.classes_) == 1:  # there is nothing to decide
        return np.zeros(outputs.shape, dtype=bool)
    return outputs > 0.5


def decode(binarizer: LabelBinarizer, decision):
    """Class labels (n,), or the int64 indicators of several labels, sparse if y was."""
    if binarizer.y_type_ == "multilabel-indicator":
        return binarizer.inverse_transform(decision.astype(np.int64))
    if decision.ndim == 2:
        decision = decision[:, -1]  # weights set by hand may have an output for each of two classes
    return binarizer.classes_[decision.astype(np.intp, copy=False)]


def smoothed(y, n_outputs, smoothing):
    """Targets in the form of `encode` as probabilities, (n, n_outputs): (1 - smoothing) y + smoothing / K."""
    if y.ndim == 1:
        y, n_classes = np.eye(n_outputs)[y], n_outputs
    else:
        n_classes = 2
    return (1 - smoothing) * y + smoothing / n_classes

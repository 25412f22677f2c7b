"""Weights of rows that follow from their labels: the classifier's ``class_weight``."""

import numpy as np
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight


def weights_of_labels(class_weight, labels, classes, incremental):
    """The weight of each row of labels, shape (n,), or (n, n_labels) for several labels, as `compute_sample_weight` gives it.

    In incremental training, the labels need not include all ``classes`` that a dict has.
    """
    has_several = labels.ndim == 2
    if isinstance(class_weight, list) and not has_several:
        raise ValueError(f"class_weight must be a dict or 'balanced', as a list is for several labels; got {class_weight!r}")
    if incremental and not has_several:
        weights = compute_class_weight(class_weight, classes=classes, y=labels)[np.searchsorted(classes, labels)]
    else:
        weights = compute_sample_weight(class_weight, labels)
    if not np.isfinite(weights).all():
        raise ValueError(f"class_weight must have finite numbers; got {class_weight!r}")
    return weights

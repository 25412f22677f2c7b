"""Which output of an estimator an argument refers to."""

import numpy as np


def number_of(output, classes, n_outputs, what="an output"):
    """The index of the requested class or output; None for the class that is predicted.

    ``classes`` are the classes of a classifier that predicts one of them, else None.
    """
    if classes is not None:
        choices, default = classes.tolist(), None
        expected = f"one of the classes {choices}, or None for the class that is predicted"
    else:
        choices, default = range(n_outputs), 0 if n_outputs == 1 else None
        expected = f"the number of {what}, from 0 to {n_outputs - 1}" if n_outputs > 1 else "0 or None, as there is one output"
        if output is None and default is None:
            raise ValueError(f"output must be {expected}; got None")
    if output is None:
        return default
    if np.ndim(output) or output not in choices:
        raise ValueError(f"output must be {expected}; got {output!r}")
    return choices.index(output)

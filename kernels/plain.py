"""Kernels that more than one back end takes from NumPy. They do not use SciPy, because importing it takes long."""

import numpy as np


def all_finite(x, n_threads):
    """Whether no element of x is infinite or NaN."""
    return bool(np.isfinite(x).all())


def shuffle_orders(rows, random_state, orders):
    """Each of ``orders`` (n_epochs, n_visits) = what `random_state.shuffle` makes of the one before, the first of ``rows``."""
    for order in orders:
        order[:] = rows
        random_state.shuffle(order)
        rows = order

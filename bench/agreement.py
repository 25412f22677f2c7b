"""When two arrays are results of the same computation."""

import numpy as np

# Where the input of a ReLU rounds to the other side of 0, the gradient of a column jumps: of 4 million inputs in float32 some do.
# In an array of a small network a share would be a number or two, and a wrong one pass.
KINKED_SHARE, KINK_FACTOR, SMALLEST_KINKED = 5e-3, 100, 100_000


def assert_agrees(actual, expected, tolerance, kinks=False):
    """No number is off by more than ``tolerance`` times the largest expected one.

    With ``kinks``, gradients of networks with ReLU and what they update, `KINKED_SHARE` of at least `SMALLEST_KINKED` numbers
    may be, by up to `KINK_FACTOR` times as much.
    """
    atol = tolerance * np.abs(expected).max()
    if kinks and np.size(actual) >= SMALLEST_KINKED and np.mean(np.abs(actual - expected) > atol) <= KINKED_SHARE:
        atol *= KINK_FACTOR
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)

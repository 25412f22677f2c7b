"""How much memory a fit of a large table takes beside the table. NumPy reports what it allocates to tracemalloc."""

import tracemalloc

import numpy as np
import pytest

from fastprop import kernels
from fastprop.tabular import recipe


@pytest.mark.skipif(kernels.active.backend != "cython", reason="the other back ends make encoded rows dense")
def test_many_rows(make, monkeypatch):
    """At most three times a table in float32, with as many rows in relation to the limits of the recipe as a million."""
    n = 30_000
    monkeypatch.setattr(recipe, "ROWS_OF_ONE_VIEW", n // 10)
    monkeypatch.setattr(recipe, "MOST_HELD_OUT", n // 20)
    rng = np.random.default_rng(0)
    X, y = rng.random((n, 60), np.float32), rng.integers(0, 2, n)
    model = make("binary", n_members=4, max_iter=1, hidden_layer_sizes=(4,))
    tracemalloc.start()
    try:
        model.fit(X, y)
        assert tracemalloc.get_traced_memory()[1] <= 3 * X.nbytes
    finally:
        tracemalloc.stop()

"""EncodedRows: the compact form and the wide matrix that it stands for."""

import numpy as np
import pytest

from fastprop.kernels import EncodedRows
from fastprop.kernels.encoded import columns_of
from fastprop.kernels.spec import COLUMN, ENCODINGS

X = np.array([[0.25, 0.0, -1.0], [-3.0, 1.75, 2.0], [7.0, 3.0, 0.0]])
WIDE = [
    [0.25, -0.5, -0.5, -0.5, 0, 0, 0],
    [-3.0, 0.5, 0.25, -0.5, 0, 0, 1],
    [7.0, 0.5, 0.5, 0.5, 1, 0, 0],
]


@pytest.fixture(params=[np.float32, np.float64])
def rows(request):
    return EncodedRows(X.astype(request.param), columns_of(["plain", "piecewise_linear", "one_hot"], [1, 3, 3]))


def test_columns():
    columns = columns_of(["one_hot", "plain"], [4, 1])
    assert columns.dtype == COLUMN
    assert columns.tolist() == [(ENCODINGS["one_hot"], 0, 4), (ENCODINGS["plain"], 4, 1)]
    assert columns_of([], []).shape == (0,)


def test_wide_matrix(rows):
    wide = rows.toarray()
    np.testing.assert_array_equal(wide, WIDE)
    assert (wide.dtype, wide.shape, len(rows)) == (rows.dtype, rows.shape, 3)
    assert rows.dtype == rows.x.dtype


@pytest.mark.parametrize("chosen", [[2, 0, 0], slice(None, None, 2), slice(0), [True, False, True]], ids=str)
def test_rows(rows, chosen):
    chosen = np.array(chosen) if isinstance(chosen, list) else chosen
    some = rows[chosen]
    np.testing.assert_array_equal(some.toarray(), np.array(WIDE)[chosen])
    assert some.x.flags.c_contiguous
    assert some.shape == (len(some), 7)


def test_no_columns():
    rows = EncodedRows(np.empty((5, 0)), columns_of([], []))
    assert rows.toarray().shape == rows.shape == (5, 0)

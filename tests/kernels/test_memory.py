"""What every public kernel accepts as memory: any input layout, given outputs, no rows; and that inputs stay as they were."""

import linecache
import warnings
from itertools import product

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels import CopyWarning


@pytest.fixture
def backend(each_source):
    """How arrays come into a back end does not depend on the instruction set, of which one will do."""
    return each_source


def strided(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
    wide[..., 1::2] = array
    return wide[..., 1::2]


def fortran(array):
    return np.asfortranarray(array)


def reversed_rows(array):
    return array[::-1].copy()[::-1]


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def byte_swapped(array):
    return array.astype(array.dtype.newbyteorder())


COPIED = [strided, fortran, reversed_rows, unaligned, byte_swapped]


def read_only(array, tmp_path):
    array = array.copy()
    array.flags.writeable = False
    return array


def memory_mapped(array, tmp_path):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def test_inputs_of_any_layout_are_copied_and_this_is_said(call):
    """Before any back end: that of the moment will do."""
    backend = kernels.active
    expected = call.results(backend)
    for (name, array), layout in product(call.inputs.items(), COPIED):
        other = layout(array)
        if other.flags.carray and other.dtype.isnative:
            continue  # a vector has only one order
        kept = other.copy()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = call.results(backend, **{name: other})
        assert [warning.category for warning in caught] == ([] if array.dtype.kind in "iV" else [CopyWarning])
        if caught:  # integers and layer tables are always copied
            assert str(caught[0].message).startswith(f"{name} is copied because it is not ")
        for actual, exact in zip(got, expected, strict=True):
            np.testing.assert_array_equal(actual, exact)
        np.testing.assert_array_equal(other, kept)


@pytest.mark.other_types
@pytest.mark.parametrize("dtype", [np.dtype(np.float64)], ids=str)
def test_read_only_and_memory_mapped_inputs(backend, call, tmp_path):
    expected = call.results(backend)
    for layout in (read_only, memory_mapped):
        got = call.results(backend, **{name: layout(array, tmp_path) for name, array in call.inputs.items()})
        for actual, exact in zip(got, expected, strict=True):
            np.testing.assert_array_equal(actual, exact)


def test_given_outputs_are_overwritten_and_returned_and_inputs_kept(backend, call):
    kept = {name: array.copy() for name, array in call.inputs.items()}
    expected = call.results(backend)
    got = call.results(backend, **call.outputs)
    for actual, exact in zip(got, expected, strict=True):
        np.testing.assert_array_equal(actual, exact)
    assert all(any(value is out for value in got) for out in call.outputs.values())
    for name, array in call.inputs.items():
        np.testing.assert_array_equal(array, kept[name])


def test_same_bits_at_every_run(backend, call):
    for n_threads in (1, 2, 3):
        first, second = (call.results(backend, n_threads=n_threads) for _ in range(2))
        for actual, exact in zip(first, second, strict=True):
            assert np.array(actual).tobytes() == np.array(exact).tobytes()


@pytest.mark.other_types
def test_no_rows(backend, empty_calls):
    for call in empty_calls.values():
        if call.name.endswith("_update") or call.name in ("batch_norm_forward", "batch_norm_backward"):
            continue  # the former have no rows, the latter are refused: no rows have no mean
        got = call.results(backend, **call.outputs)
        n_updated = len(call.updated)
        for array, before in zip(got[len(got) - n_updated :], call.updated.values(), strict=True):
            np.testing.assert_array_equal(array, before, err_msg=call.name)
        assert all(not np.any(value) for value in got[: len(got) - n_updated]), call.name
        assert all(any(value is out for value in got) for out in call.outputs.values()), call.name


def test_no_columns(backend, draw, dtype):
    """No units below: only the bias counts. No units above: nothing is computed."""
    bias = draw(3)
    np.testing.assert_array_equal(backend.linear_forward(draw(4, 0), draw(0, 3), bias), np.tile(bias, (4, 1)))
    assert backend.linear_forward(draw(4, 2), draw(2, 0), draw(0)).shape == (4, 0)
    dx, dweight, dbias = backend.linear_backward(draw(4, 0), draw(4, 2), draw(2, 0), draw(4, 0))
    assert (dx.shape, dweight.shape, dbias.shape) == ((4, 2), (2, 0), (0,))
    assert not dx.any()
    nothing = draw(0)
    for y in (backend.activation_forward(draw(4, 0), "tanh"), backend.dropout_forward(draw(4, 0), 0.5, 1)):
        assert y.shape == (4, 0)
    y, mean, rstd = backend.batch_norm_forward(draw(4, 0), nothing, nothing)
    assert (y.shape, mean.shape, rstd.shape) == ((4, 0), (0,), (0,))
    dx, dgamma, dbeta = backend.batch_norm_backward(y, y, nothing, mean, rstd)
    assert (dx.shape, dgamma.shape, dbeta.shape) == ((4, 0), (0,), (0,))
    for loss in ("binary_cross_entropy", "poisson", "gamma", "tweedie"):
        loss_sum, outputs = getattr(backend, f"{loss}_forward")(draw(4, 0), draw(4, 0))
        assert loss_sum == 0.0
        assert outputs.shape == (4, 0)
        assert outputs.dtype == dtype


def test_the_copy_warning_points_to_the_line_of_the_caller(backend, draw):
    x, weight, bias = np.asfortranarray(draw(4, 3)), draw(3, 2), draw(2)
    with pytest.warns(CopyWarning, match="x is copied because it is not C-contiguous; got strides") as caught:
        backend.linear_forward(x, weight, bias)
    assert caught[0].filename == __file__
    assert "backend.linear_forward(x, weight, bias)" in linecache.getline(__file__, caught[0].lineno)

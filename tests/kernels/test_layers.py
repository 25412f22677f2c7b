"""linear and softmax kernels of every back end against the reference in float64."""

import numpy as np
import pytest

from fastprop import kernels

# The largest |f'(z)|, with which an error of z grows, where it is not at most 1.
STEEPEST = {"selu": 1.76, "gelu": 1.13, "silu": 1.1, "mish": 1.09}


def shapes(sizes):
    """(n, n_in, n_out) with one of the three at each size."""
    return [shape for size in sizes for shape in ((size, 9, 5), (4, size, 6), (5, 10, size))]


def test_linear_forward(backend, oracle, draw, wide, assert_close, dtype, activation, sizes):
    for n, n_in, n_out in shapes(sizes):
        arrays = draw(n, n_in), draw(n_in, n_out), draw(n_out)
        expected = oracle.linear_forward(*wide(*arrays), activation)
        # The error of z, times the slope, bounds that of a.
        x, weight, bias = np.abs(wide(*arrays)[0]), np.abs(arrays[1]), np.abs(arrays[2])
        for n_threads in (1, 2, 3):
            out = np.full((n, n_out), np.nan, dtype)
            assert backend.linear_forward(*arrays, activation, out, n_threads) is out
            assert_close(out, expected, dtype, magnitude=STEEPEST.get(activation, 1) * (x @ weight + bias) + np.abs(expected))


@pytest.mark.parametrize("accumulate", [False, True])
def test_linear_backward(backend, oracle, draw, wide, assert_close, remembered, dtype, activation, sizes, accumulate):
    for n, n_in, n_out in shapes(sizes):
        x, weight, bias, da = draw(n, n_in), draw(n_in, n_out), draw(n_out), draw(n, n_out)
        z, a = (oracle.linear_forward(*wide(x, weight, bias), name).astype(dtype) for name in ("identity", activation))
        start = draw(n_in, n_out), draw(n_out)
        arrays = da, x, weight, remembered(activation, z, a)
        expected = oracle.linear_backward(*wide(*arrays), activation)
        da, x, weight = (np.abs(v) for v in wide(da, x, weight))
        bounds = da @ weight.T, x.T @ da + np.abs(start[0]), da.sum(axis=0) + np.abs(start[1])
        for n_threads, need_dx in ((1, True), (1, False), (2, True), (3, False)):
            dx = np.full((n, n_in), np.nan, dtype) if need_dx else None
            dweight, dbias = (s.copy() if accumulate else np.full_like(s, np.nan) for s in start)
            options = activation, need_dx, accumulate
            got = backend.linear_backward(*arrays, *options, dx, dweight, dbias, n_threads)
            assert got[0] is dx
            assert got[1] is dweight
            assert got[2] is dbias
            if need_dx:
                assert_close(dx, expected[0], dtype, magnitude=bounds[0])
            assert_close(dweight, expected[1] + accumulate * wide(start[0]), dtype, magnitude=bounds[1])
            assert_close(dbias, expected[2] + accumulate * wide(start[1]), dtype, magnitude=bounds[2])


@pytest.mark.parametrize(("n", "n_in", "n_out"), [(515, 1030, 269), (515, 300, 3), (3, 50_000, 1), (3, 1, 50_000)])
def test_linear_at_sizes_beyond_every_block(backend, oracle, draw, wide, assert_close, dtype, n, n_in, n_out):
    """Larger than the tiles in which a back end may cut them, and not multiples of those; few outputs, one of each."""
    x, weight, bias, da = draw(n, n_in), draw(n_in, n_out), draw(n_out), draw(n, n_out)
    magnitude = np.abs(x) @ np.abs(weight) + np.abs(bias)
    for n_threads in (1, 2):
        a = backend.linear_forward(x, weight, bias, "relu", n_threads=n_threads)
        assert_close(a, oracle.linear_forward(*wide(x, weight, bias), "relu"), dtype, magnitude=magnitude)
        got = backend.linear_backward(da, x, weight, a, "relu", n_threads=n_threads)
        expected = oracle.linear_backward(*wide(da, x, weight, a), "relu")
        bounds = np.abs(da) @ np.abs(weight).T, np.abs(x).T @ np.abs(da), np.abs(da).sum(axis=0)
        for actual, exact, bound in zip(got, expected, bounds, strict=True):
            assert_close(actual, exact, dtype, magnitude=bound)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32)], ids=str)
def test_accumulate_needs_both_outputs(draw):
    backend, arrays = kernels.active, (draw(4, 3), draw(4, 5), draw(5, 3), draw(4, 3))
    for given in ({}, {"dweight": draw(5, 3)}, {"dbias": draw(3)}):
        with pytest.raises(ValueError, match="dweight and dbias must be given with accumulate=True"):
            backend.linear_backward(*arrays, accumulate=True, **given)
    with pytest.raises(ValueError, match="dx must not be given with need_dx=False"):
        backend.linear_backward(*arrays, need_dx=False, dx=draw(4, 5))


def test_activations_alone(backend, oracle, draw, wide, assert_close, remembered, dtype, activation, sizes):
    for shape, n_threads in [case for size in sizes for case in (((size, 5), 1), ((3, size), 2), ((70, size), 3))]:
        z, da = draw(*shape), draw(*shape)
        expected, out = oracle.activation_forward(wide(z), activation), np.full(shape, np.nan, dtype)
        assert backend.activation_forward(z, activation, out, n_threads) is out
        assert_close(out, expected, dtype, magnitude=np.abs(expected))
        a, dz = out, np.full(shape, np.nan, dtype)
        seen = remembered(activation, z, a)
        assert backend.activation_backward(da, seen, activation, dz, n_threads) is dz
        assert_close(dz, oracle.activation_backward(*wide(da, seen), activation), dtype, magnitude=2 * np.abs(da) * (1 + a * a))
        assert backend.activation_backward(da, seen, activation, da, n_threads) is da
        np.testing.assert_array_equal(da, dz)
        assert backend.activation_forward(z, activation, z, n_threads) is z
        np.testing.assert_array_equal(z, a)


def softmax_cases(sizes):
    """(n, n_classes, n_threads) with one of the first two at each size. One class alone would only compare zeros."""
    return [case for size in sizes for case in ((size, 5, 1), (size, 3, 3), (5, max(size, 2), 2))]


def test_softmax_forward(backend, oracle, draw, wide, assert_close, dtype, sizes):
    for n, n_classes, n_threads in softmax_cases(sizes):
        logits = 4 * draw(n, n_classes)
        expected = oracle.softmax_forward(wide(logits))
        shifted = logits.max(axis=1, keepdims=True) - logits if n else logits
        out = np.full((n, n_classes), np.nan, dtype)
        assert backend.softmax_forward(logits, out, n_threads) is out
        assert_close(out, expected, dtype, magnitude=expected * (1 + np.abs(shifted)))
        assert backend.softmax_forward(logits, logits, n_threads) is logits
        np.testing.assert_array_equal(logits, out)


def test_softmax_backward(backend, oracle, draw, wide, assert_close, dtype, sizes):
    for n, n_classes, n_threads in softmax_cases(sizes):
        dprobs, probs = draw(n, n_classes), oracle.softmax_forward(draw(n, n_classes))
        expected = oracle.softmax_backward(*wide(dprobs, probs))
        magnitude = probs * (np.abs(dprobs) + (np.abs(dprobs) * probs).sum(axis=1, keepdims=True))
        out = np.full((n, n_classes), np.nan, dtype)
        assert backend.softmax_backward(dprobs, probs, out, n_threads) is out
        assert_close(out, expected, dtype, magnitude=magnitude)
        backend.softmax_backward(dprobs, probs, probs, n_threads)
        np.testing.assert_array_equal(probs, out)


@pytest.mark.parametrize("function", ["softmax_forward", "softmax_backward", "softmax_cross_entropy_forward"])
@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("dtype", [np.dtype(np.float32)], ids=str)
def test_softmax_over_no_classes_is_an_error(draw, function, n):
    arrays = [draw(n, 0)] * (1 if function == "softmax_forward" else 2)
    with pytest.raises(ValueError, match="must have at least one class; got shape"):
        getattr(kernels, function)(*arrays)

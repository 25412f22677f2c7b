"""Predictions from products of 8-bit integers: the same sums on all back ends."""

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels.int8 import NO_CODES, NO_SCALES, quantized, reads_int8, split
from fastprop.kernels.layer_table import LayerProgram, layer_table, layer_views, n_buffers, n_parameters

# Around the groups of inputs and the panels of outputs of all instruction sets
SHAPES = [(32, 16), (33, 17), (34, 24), (35, 31), (47, 32), (64, 48), (100, 50), (131, 100), (48, 97)]
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 20, 300)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def run(backend, layers, params, codes, scales, x, n_threads=1, buffers=None):
    """What a bound call writes; the second call must write the same."""
    buffers = np.empty(0, np.float32) if buffers is None else buffers
    outputs = np.full((len(x), layers[-1]["n_out"]), np.nan, np.float32)
    bound = backend.raw.bind_forward(x, layers, params, buffers, False, codes, scales, outputs, n_threads)
    bound()
    first = outputs.copy()
    outputs[...] = np.nan
    bound()
    np.testing.assert_array_equal(outputs, first)
    return outputs


def one_row(rng, n_in, n_out, activation=None):
    """A network of one linear row that reads int8, with its codes."""
    program = LayerProgram(n_in).linear(n_out)
    layers = (program if activation is None else program.activation(activation)).link("identity")
    params = rng.uniform(-1, 1, n_parameters(layers)).astype(np.float32)
    return layers, params, *quantized(layers, params, [None])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_exact(backend, rng, shape):
    """Values that are codes already: what remains of the formula is an integer product and four operations of float32."""
    n_in, n_out = shape
    for n, activation in zip(ROWS, [None, "relu"] * len(ROWS), strict=False):
        layers, params, codes, scales = one_row(rng, n_in, n_out, activation)
        x = rng.integers(0, 256, (n, n_in)).astype(np.float32)
        x[:, 0], x[:, -1] = 0, 255
        weight, multiplier, shift, scale, bias = split(layers, codes, scales)[0]
        assert (set(multiplier), set(shift)) == ({1}, {0})
        exact = bias.astype(np.float64) + scale.astype(np.float64) * (x.astype(np.int64) @ weight.astype(np.int64))
        exact = np.maximum(exact, 0) if activation else exact
        for n_threads in (1, 2, 3):
            outputs = run(backend, layers, params, codes, scales, x, n_threads)
            np.testing.assert_allclose(outputs, exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max())


def test_largest_sums(backend):
    """The most inputs, all codes as large as they can be."""
    n_in, n_out = 2**16, 16
    layers = LayerProgram(n_in).linear(n_out).link("identity")
    codes, scales = np.full(n_in * n_out, 127, np.int8), np.zeros(2 * (n_in + n_out), np.float32)
    codes[1::2] = -127
    scales[:n_in], scales[2 * n_in :][:n_out] = 1, 1
    x = np.full((2, n_in), 255, np.float32)
    x[:, 0] = 0
    outputs = run(backend, layers, np.zeros(n_parameters(layers), np.float32), codes, scales, x)
    expected = 127 * 255.0 * (n_in - 1) * np.where(np.arange(n_out) % 2, -1, 1)
    np.testing.assert_allclose(outputs, np.tile(expected, (2, 1)), rtol=1e-6)


@pytest.mark.parametrize("sizes", [(40, 64, 10), (50, 33, 70, 20), (64, 100, 5)], ids=str)
def test_outputs_are_those_of_numpy(backend, rng, sizes):
    """Up to single codes: where a value lies between two of them rounding decides."""
    layers = layer_table(sizes, "tanh", "identity")
    params = rng.normal(scale=0.2, size=n_parameters(layers)).astype(np.float32)
    ranges = [np.sort(rng.normal(size=(2, int(layer["n_in"]))), axis=0) for layer in layers if reads_int8(layer)]
    for given in (ranges, [None] * len(ranges)):
        codes, scales = quantized(layers, params, given)
        for n in ROWS:
            x = rng.normal(size=(n, sizes[0])).astype(np.float32)
            expected = run(kernels.load("reference"), layers, params, codes, scales, x)
            single = run(backend, layers, params, codes, scales, x)
            np.testing.assert_allclose(single, expected, atol=0.02 * np.abs(expected).max())
            assert np.median(np.abs(single - expected)) < 1e-6
            for n_threads in (2, 3):
                np.testing.assert_array_equal(run(backend, layers, params, codes, scales, x, n_threads), single)


@pytest.mark.other_types
def test_all_kinds_of_rows(backend, rng):
    program = LayerProgram(40).linear(64).layer_norm()
    program.activation("gelu").linear(64)
    program.add(3).batch_norm().activation("relu").dropout(0.5, 1, 1).linear(3)
    layers = program.link("softmax")
    params = rng.normal(scale=0.3, size=n_parameters(layers)).astype(np.float32)
    buffers = rng.uniform(0.5, 1, n_buffers(layers)).astype(np.float32)
    codes, scales = quantized(layers, params, [None, None])
    for n in (1, 5, 40):
        x = rng.normal(size=(n, 40)).astype(np.float32)
        expected = run(kernels.load("reference"), layers, params, codes, scales, x, buffers=buffers)
        outputs = run(backend, layers, params, codes, scales, x, buffers=buffers)
        np.testing.assert_allclose(outputs, expected, atol=0.02)
        plain = backend.network_forward(x, layers, params, buffers=buffers)
        assert 0 < np.abs(outputs - plain).max() < 0.1


def test_ranges_far_from_zero_keep_their_bits(backend, rng):
    layers, params, *_ = one_row(rng, 40, 20)
    x = rng.normal(size=(50, 40)).astype(np.float32)
    x[:, 0] += 5000
    x[:, 1] *= 1e-3
    exact = x.astype(np.float64) @ layer_views(layers, params)[0][0] + layer_views(layers, params)[0][1]
    errors = {}
    for name, ranges in (("rows alone", None), ("known", np.stack([x.min(axis=0), x.max(axis=0)]))):
        outputs = run(backend, layers, params, *quantized(layers, params, [ranges]), x)
        errors[name] = np.abs(outputs - exact).max()
    assert errors["known"] < 0.2 < 5 < errors["rows alone"]


def test_rows_without_a_range_and_rows_that_are_not_finite(backend, rng):
    layers, params, codes, scales = one_row(rng, 40, 20)
    x = rng.normal(size=(8, 40)).astype(np.float32)
    clean = run(backend, layers, params, codes, scales, x)
    weight, bias = layer_views(layers, params)[0]
    x[1], x[2], x[3] = 0, 7, 1e-42
    x[4, 39], x[5, 0], x[6, 17] = np.nan, np.inf, -np.inf
    outputs = run(backend, layers, params, codes, scales, x)
    np.testing.assert_array_equal(outputs[[0, 7]], clean[[0, 7]])
    np.testing.assert_allclose(outputs[[1, 3]], np.stack([bias, bias]), atol=1e-6)
    np.testing.assert_allclose(outputs[2], 7 * weight.sum(axis=0) + bias, atol=7 * 40 / 254)
    assert np.isnan(outputs[4:7]).all()
    x = np.full((1, 40), 3e38, np.float32)
    x[0, 0] = -3e38
    assert np.isnan(run(backend, layers, params, codes, scales, x)).all()


@pytest.mark.other_types
def test_layers_outside_the_limits_keep_their_weights(backend, rng):
    sizes = (31, 40, 15, 16)
    layers = layer_table(sizes, "relu", "identity")
    assert not any(reads_int8(layer) for layer in layers)
    params = rng.normal(size=n_parameters(layers)).astype(np.float32)
    codes, scales = quantized(layers, params, [])
    assert (codes.size, scales.size) == (0, 0)
    x = rng.normal(size=(9, 31)).astype(np.float32)
    np.testing.assert_array_equal(run(backend, layers, params, codes, scales, x), backend.network_forward(x, layers, params))


def test_weights_of_zero(rng):
    layers = LayerProgram(40).linear(16).link("identity")
    params = np.zeros(n_parameters(layers), np.float32)
    for ranges in (None, np.zeros((2, 40))):
        codes, scales = quantized(layers, params, [ranges])
        assert not codes.any()
        assert np.isfinite(scales).all()


def test_what_does_not_fit_is_refused(backend, rng):
    layers, params, codes, scales = one_row(rng, 40, 20)
    x = rng.normal(size=(3, 40)).astype(np.float32)
    if not hasattr(backend.raw, "ISA"):
        pytest.skip("NumPy knows what an array holds")
    for wrong in ({"codes": codes[:-1]}, {"scales": scales[:-1]}, {"scales": scales.astype(np.float64)}, {"params": params[:-1]}):
        given = {"params": params, "codes": codes, "scales": scales, "x": x} | wrong
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must have"):
            run(backend, layers, **given)


def test_rows_of_float64_are_refused(backend, rng):
    layers, params, codes, scales = one_row(rng, 40, 20)
    x, outputs = rng.normal(size=(3, 40)), np.empty((3, 20))
    with pytest.raises(TypeError, match="codes go with rows of float32; got float64"):
        backend.raw.bind_forward(x, layers, params.astype(np.float64), np.empty(0), False, codes, scales, outputs, 1)


@pytest.mark.parametrize("n", [1, 3, 40, 600])
@pytest.mark.other_types
def test_bfloat16_from_rows_of_float32(backend, rng, n):
    """Their rounding is a part of the call: the bits of rows that were rounded before."""
    layers = layer_table((40, 64, 10), "relu", "softmax")
    params, nothing = rng.normal(scale=0.3, size=n_parameters(layers)).astype(np.float32), np.empty(0, np.float32)
    x = rng.normal(size=(n, 40)).astype(np.float32)
    found = []
    for rows in (x, kernels.bfloat16.rounded_bits(x)):
        for n_threads in (1, 2):
            outputs = np.full((n, 10), np.nan, np.float32)
            raw = backend.bfloat16
            raw.bind_forward(rows, layers, params, nothing, True, NO_CODES, NO_SCALES, outputs, n_threads)()
            found.append(outputs)
    for outputs in found[1:]:
        np.testing.assert_array_equal(outputs, found[0])
    single = backend.network_forward(x, layers, params)
    assert 0 < np.abs(found[0] - single).max() < 0.05


def test_rows_of_float64_are_refused_by_bfloat16(backend):
    layers = layer_table((40, 10), "relu", "softmax")
    params, raw = np.zeros(n_parameters(layers)), backend.bfloat16
    if not hasattr(raw, "ISA"):
        pytest.skip("NumPy rounds whatever it is given")
    with pytest.raises(TypeError, match="rows for bfloat16 must be float32 or bits of it in uint16; got float64"):
        raw.bind_forward(np.ones((2, 40)), layers, params, params[:0], True, NO_CODES, NO_SCALES, np.empty((2, 10)), 1)

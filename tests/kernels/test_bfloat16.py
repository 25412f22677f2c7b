"""Products of bfloat16: in all modules that have them the same numbers, up to the rounding of sums in float32."""

import re

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import kernels
from fastprop.kernels import EncodedRows, dispatch
from fastprop.kernels.bfloat16 import is_bfloat16, rounded, rounded_bits, widened
from fastprop.kernels.checks import rows as raw_rows
from fastprop.kernels.int8 import NO_CODES, NO_SCALES
from fastprop.kernels.job import new_job, raw_for
from fastprop.kernels.layer_table import LayerProgram, n_buffers, n_parameters
from fastprop.kernels.spec import COLUMN, ENCODINGS, LOSS_CODES, OPTIMIZER_CODES, Rows

EPSILON, UNIT = 2.0**-24, 2.0**-8  # half a unit in the last place of float32 and of bfloat16, relative
# The modules that multiply bfloat16, each by a candidate that has it; not by Numba, which would compile its own float32 for it
CANDIDATES = {
    names[0]: candidate
    for candidate in reversed(dispatch.REGISTRY)
    if (names := candidate.bfloat16) and candidate.backend != "numba"
}


@pytest.fixture(scope="module", params=CANDIDATES.values(), ids=lambda candidate: candidate.bfloat16[0].rpartition(".")[2])
def backend(request):
    try:
        dispatch._import_raw(request.param.bfloat16[0])
        return kernels.load(request.param.backend, request.param.isa)
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def within(actual, expected, allowed):
    assert actual.shape == expected.shape
    assert (np.abs(actual - expected) <= allowed).all()


# Rounding


def test_rounding_is_to_nearest_even():
    one, unit = 0x3F80, 2.0**-7
    for number, bits in [
        (1 + unit / 2, one),  # a tie, to even
        (1 + 3 * unit / 2, one + 2),
        (np.nextafter(np.float32(1 + unit / 2), np.float32(2)), one + 1),
        (-1 - unit, one + 1 | 0x8000),
        (0.0, 0),
        (-0.0, 0x8000),
        (np.float32(3.4e38), 0x7F80),  # infinity is nearer than the largest number
        (np.inf, 0x7F80),
        (1e-40, 1),
    ]:
        assert rounded_bits(np.float32([number])) == bits, number
    nans = np.uint32([0x7F800001, 0xFFFFFFFF]).view(np.float32)
    assert np.isnan(rounded(nans)).all()


def test_bits_are_read_exactly(rng):
    bits = rng.integers(0, 0x7F80, (200, 700), dtype=np.uint16)  # more than a block
    np.testing.assert_array_equal(rounded_bits(widened(bits)), bits)
    np.testing.assert_array_equal(widened(bits[:, ::2]), widened(bits)[:, ::2])


# Single layers: numbers are rounded here, so the oracle is the exact product of what the kernels are given

TILES = [(rows, n_in, n_out) for rows in (1, 2, 5, 9, 10, 19) for n_in in (1, 2, 7, 32) for n_out in (1, 3, 9, 16, 31, 48, 50)]
TILES += [(257, 33, 40), (256, 300, 97), (30, 500, 12), (0, 3, 4), (3, 17, 200), (64, 785, 10)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_layer_at_every_tile(backend, rng, n_threads):
    for rows, n_in, n_out in TILES:
        x, weight, da = (rounded(rng.standard_normal(shape)) for shape in ((rows, n_in), (n_in, n_out), (rows, n_out)))
        bias = rng.standard_normal(n_out).astype(np.float32)
        exact = x.astype(float) @ weight + bias
        size = np.abs(x).astype(float) @ np.abs(weight) + np.abs(bias)
        a = backend.linear_forward(rounded_bits(x), weight, bias, n_threads=n_threads)
        within(widened(a), exact, UNIT * np.abs(exact) + (n_in + 4) * EPSILON * size)
        arguments = rounded_bits(da), rounded_bits(x), rounded_bits(weight), rounded_bits(da)
        dx, dweight, dbias = backend.linear_backward(*arguments, n_threads=n_threads)
        exact, size = da.astype(float) @ weight.T, np.abs(da).astype(float) @ np.abs(weight.T)
        within(widened(dx), exact, UNIT * np.abs(exact) + (n_out + 4) * EPSILON * size)
        within(dweight, x.T.astype(float) @ da, (rows + 4) * EPSILON * (np.abs(x.T).astype(float) @ np.abs(da)))
        within(dbias, da.sum(axis=0, dtype=float), (rows + 4) * EPSILON * np.abs(da).sum(axis=0, dtype=float))


def test_weights_are_rounded_and_biases_are_not(backend):
    one = np.ones((1, 1), np.float32)
    weight, bias = one * (1 + UNIT), np.float32([-1])
    assert backend.linear_forward(rounded_bits(one), weight, bias) == 0
    assert widened(backend.linear_forward(rounded_bits(0 * one), weight, np.float32([3e-5])))[0, 0] == rounded(np.float32(3e-5))


def test_what_lies_behind_a_row_does_not_count(backend):
    x = np.ones((3, 5), np.float32)
    x[1:] = np.array([[np.nan], [np.inf]])
    with np.errstate(invalid="ignore"):
        a = widened(backend.linear_forward(rounded_bits(x), np.ones((5, 40), np.float32), np.zeros(40, np.float32)))
    np.testing.assert_array_equal(a, np.broadcast_to([[5], [np.nan], [np.inf]], a.shape))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_activations_behind_a_layer(backend, rng, activation):
    x, weight = (rounded(rng.standard_normal(shape)) for shape in ((12, 6), (6, 20)))
    given = rounded_bits(x), weight, np.zeros(20, np.float32)
    a, z = backend.linear_forward(*given, activation), backend.linear_forward(*given)
    expected = kernels.load("reference").activation_forward(widened(z).astype(float), activation)
    within(widened(a), expected, 3 * UNIT * np.maximum(np.abs(expected), 0.01))
    da = rounded(rng.standard_normal((12, 20)))
    source = z if activation == "gelu" else a
    dz = kernels.load("reference").activation_backward(da.astype(float), widened(source).astype(float), activation)
    dx, dweight, _ = backend.linear_backward(rounded_bits(da), rounded_bits(x), weight, source, activation)
    within(widened(dx), dz @ weight.T, 3 * UNIT * (np.abs(dz) @ np.abs(weight.T) + 0.1))
    within(dweight, x.T @ dz, 3 * UNIT * (np.abs(x.T) @ np.abs(dz) + 0.1))


def test_ml_dtypes_and_outputs(backend, rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, weight = (rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((4, 3), (3, 5)))
    bias = np.zeros(5, ml_dtypes.bfloat16)
    a, out = backend.linear_forward(x, weight, bias), np.zeros((4, 5), ml_dtypes.bfloat16)
    assert a.dtype == x.dtype
    assert is_bfloat16(a)
    assert backend.linear_forward(x, weight, bias, out=out) is out
    np.testing.assert_array_equal(out.view(np.uint16), a.view(np.uint16))
    dx, dweight, dbias = backend.linear_backward(a, x, weight, a)
    assert (dx.dtype, dweight.dtype, dbias.dtype) == (x.dtype, np.float32, np.float32)
    added = backend.linear_backward(a, x, weight, a, accumulate=True, need_dx=False, dweight=dweight.copy(), dbias=dbias.copy())
    np.testing.assert_allclose(added[1], 2 * dweight, rtol=1e-6)
    assert added[0] is None


def test_bad_input(backend):
    x, weight, bias = np.zeros((2, 3), np.uint16), np.zeros((3, 4), np.float32), np.zeros(4, np.float32)
    for arguments, error, message in [
        (
            (x, weight.astype(float), bias),
            TypeError,
            "weight must be float32 or bfloat16 in a call with bfloat16 values; got float64",
        ),
        ((x, weight, [0.0]), TypeError, "bias must be float32 or bfloat16 in a call with bfloat16 values; got list"),
        ((x, weight[:2], bias), ValueError, "weight must have shape (3, any); got (2, 4)"),
        ((x, weight, bias[:3]), ValueError, "bias must have shape (4,); got (3,)"),
        ((x[0], weight, bias), ValueError, "x must have shape (any, any); got (3,)"),
        ((x, weight, bias, "relu", np.zeros((2, 4), np.float32)), TypeError, "out must be uint16 in native byte order"),
        ((weight, x, bias), TypeError, "weight must be float32 or float64; got uint16"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            backend.linear_forward(*arguments)
    a = np.zeros((2, 4), np.uint16)
    for arguments, error, message in [
        ((a, weight, weight, a), TypeError, "x must be bfloat16 too, an array of ml_dtypes or the bits as uint16; got float32"),
        ((a, x, weight, a[:1]), ValueError, "a must have shape (2, 4); got (1, 4)"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            backend.linear_backward(*arguments)


# Training

N, N_IN, N_OUT, BATCH = 90, 11, 3, 32


def make_layers(kind):
    program = LayerProgram(N_IN)
    program.linear(20)
    if kind == "norms":
        program.batch_norm()
    program.activation("tanh" if kind == "plain" else "gelu")
    if kind == "norms":
        program.dropout(0.25, 3, 0)
    program.linear(17)
    if kind == "norms":
        program.layer_norm()
    program.activation("relu")
    program.linear(N_OUT)
    return program.link("softmax")


def make_rows(form, labels, params):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, N_IN)).astype(np.float32)
    if form == "sparse":
        x[rng.random(x.shape) < 0.6] = 0
        x = sp.csr_array(x)
    elif form == "encoded":
        columns = np.zeros(3, COLUMN)
        columns["kind"] = [ENCODINGS["plain"], ENCODINGS["piecewise_linear"], ENCODINGS["one_hot"]]
        columns["offset"], columns["n"] = [0, 1, 6], [1, 5, 5]
        x = EncodedRows(np.float32(np.stack([x[:, 0], 5 * rng.random(N), rng.integers(0, 5, N)], axis=1)), columns)
    _, raw, _ = raw_rows("x", x, N_IN, params)
    if form == "dense":
        raw = (rounded_bits(raw[0]), *raw[1:])
    return Rows(*raw, labels, np.empty((0, 0), np.float32), np.empty(0, np.float32))


def make_job(kind, form, **more):
    rng = np.random.default_rng(0)
    layers = make_layers(kind)
    params = (0.3 * rng.standard_normal(n_parameters(layers))).astype(np.float32)
    rows = make_rows(form, rng.integers(0, N_OUT, N).astype(np.intp), params)
    orders = np.stack([rng.permutation(N) for _ in range(3)]).astype(np.intp)
    buffers = np.zeros(n_buffers(layers), np.float32)
    buffers[len(buffers) // 2 :] = 1
    return new_job(
        rows,
        params,
        bfloat16=True,
        orders=orders,
        layers=layers,
        buffers=buffers,
        loss=LOSS_CODES["softmax_cross_entropy"],
        alpha=0.01,
        optimizer=OPTIMIZER_CODES["sgd"],
        hyper=np.array([0.1, 0, 0, 0.9, 1]),
        state=np.zeros((1, len(params)), np.float32),
        step=np.zeros(1, np.intp),
        batch_size=BATCH,
        losses=np.empty(3),
        validation=rows,
        validation_losses=np.empty(3),
        best=np.array([np.inf, 0]),
        best_params=np.empty_like(params),
        best_buffers=np.empty_like(buffers),
        **more,
    )


@pytest.mark.parametrize("form", ["dense", "sparse", "encoded"])
@pytest.mark.parametrize("kind", ["plain", "norms"])
def test_training_is_that_of_the_reference(backend, kind, form):
    job, expected, before = make_job(kind, form), make_job(kind, form), make_job(kind, form).params
    for n_threads in (1, 2):
        job = make_job(kind, form)
        raw_for(backend, job).train_epochs(job, n_threads)
        kernels.load("reference").bfloat16.train_epochs(expected := make_job(kind, form), 1)
        # Sums differ in their last places, and what they round to then sometimes by a unit of bfloat16.
        np.testing.assert_allclose(job.losses, expected.losses, rtol=2e-3)
        np.testing.assert_allclose(job.validation_losses, expected.validation_losses, rtol=4e-3)
        moved = np.abs(expected.params - before).max()
        within(job.params, expected.params, 0.03 * moved)
        assert job.losses[-1] < job.losses[0]
        assert job.step[0] == 9


def test_training_reads_bfloat16(backend):
    """The differences from float32 are those of rounding to 8 bits: the training above would not see their absence."""
    job, exact = make_job("plain", "dense"), make_job("plain", "dense")
    raw_for(backend, job).train_epochs(job, 1)
    exact = exact._replace(bfloat16=False, x=widened(exact.x), validation_x=widened(exact.validation_x))
    raw_for(backend, exact).train_epochs(exact, 1)
    difference = np.abs(job.params - exact.params).max() / np.abs(exact.params).max()
    assert 1e-5 < difference < 0.02


def test_halves_of_a_step_and_jobs_together(backend):
    job = make_job("plain", "dense")
    raw, one_batch = raw_for(backend, job), job.orders[:1, :BATCH].copy()
    whole, halves, together = (
        make_job("plain", "dense")._replace(orders=one_batch, losses=np.empty(1), validation_losses=np.empty(0)) for _ in range(3)
    )
    raw.train_epochs(whole, 1)
    sums = np.empty(len(job.params) + 2, np.float32)
    raw.batch_sums(halves, 0, sums, 1)
    raw.apply_sums(halves, sums, 1)
    raw.train_jobs([together], 2)
    np.testing.assert_allclose(halves.params, whole.params, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(together.params, whole.params)


def test_outputs_and_gradients_of_networks(backend):
    job = make_job("plain", "dense")
    rows, layers, found = Rows(*job[: len(Rows._fields)]), job.layers, []
    for raw in (backend.bfloat16, kernels.load("reference").bfloat16):
        outputs, again, gradient = np.empty((N, N_OUT), np.float32), np.empty((N, N_OUT), np.float32), np.empty_like(job.params)
        raw.network_forward(*rows[:3], layers, job.params, job.buffers, outputs, 2)
        raw.bind_forward(rows.x, layers, job.params, job.buffers, True, NO_CODES, NO_SCALES, again, 1)()
        np.testing.assert_array_equal(again, outputs)
        loss = raw.network_loss_gradient(*rows, layers, job.params, job.loss, job.loss_hyper, 0.01, 0.0, gradient, 2)
        found.append((outputs, gradient, loss))
    for actual, expected in zip(*found, strict=True):
        within(np.asarray(actual), np.asarray(expected), UNIT * np.abs(expected).max())


def test_rows_in_the_form_of_another_job_are_refused(backend):
    job = make_job("plain", "dense")
    raw = raw_for(backend, job)
    if not hasattr(raw, "ISA"):
        pytest.skip("NumPy knows what an array holds")
    for wrong in (job._replace(x=widened(job.x)), job._replace(validation_x=widened(job.validation_x))):
        with pytest.raises(ValueError, match="x must have 990 items of 2 bytes"):
            raw.train_epochs(wrong, 1)
    wrong = job._replace(bfloat16=False, validation_losses=np.empty(0))
    with pytest.raises(ValueError, match="x must have 990 items of 4 bytes"):
        backend.raw.train_epochs(wrong, 1)


def test_a_module_without_it_says_so():
    try:
        raw = kernels.load("cython", "avx512").raw
    except ImportError as error:
        pytest.skip(str(error))
    with pytest.raises(TypeError, match="this module has no kernels for bfloat16"):
        raw.train_epochs(make_job("plain", "dense"), 1)

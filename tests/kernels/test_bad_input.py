"""Bad input of every public kernel: an error that names the array, and nothing changed after it."""

import copy
import re
from itertools import product

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels.spec import LOSSES


@pytest.fixture
def backend():
    """The checks come before any back end: they are the same code for all of them."""
    return kernels.active


@pytest.fixture
def dtype():
    """They are also the same for both dtypes, but where a test says otherwise."""
    return np.dtype(np.float32)


both_dtypes = pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)


@pytest.fixture
def refused(backend, request):
    """refused(error, message, **changes): the call with these changes raises, and no array has changed.

    The call is that of the test, or, where it goes through several, ``of``.
    """

    def check(error, message, of=None, **changes):
        call = of or request.getfixturevalue("call")
        arrays = call.arrays | {name: value for name, value in changes.items() if isinstance(value, np.ndarray)}
        kept = {name: array.tobytes() for name, array in arrays.items()}
        with pytest.raises(error, match=message):
            call(backend, **changes)
        assert kept == {name: array.tobytes() for name, array in arrays.items()}, call.name

    return check


@pytest.fixture
def calls_with(calls):
    """calls_with(condition): the calls to which a test applies, of which there must be some."""

    def chosen(condition):
        found = [call for call in calls.values() if condition(call)]
        assert found
        return found

    return chosen


def other_float(array):
    return array.astype("float32" if array.dtype == np.float64 else "float64")


# Arrays to which no other input of their call has to fit.
ALONE = {("softmax_forward", "logits"), ("activation_forward", "z"), ("dropout_forward", "x"), ("dropout_backward", "dy")}


def float_arrays(call):
    return {name: array for name, array in call.arrays.items() if array.dtype.kind == "f"}


def test_what_is_not_an_array(call, refused):
    for name, array in call.arrays.items():
        message = f"^{name} must be a NumPy array; got "
        refused(TypeError, message + "list", **{name: array.tolist()})
        refused(TypeError, message + "MaskedArray", **{name: np.ma.array(array)})
        if name == "buffers":
            refused(ValueError, "^buffers must be given: layers has batch norms, with 8 running statistics$", buffers=None)
        elif name not in call.outputs and name != "sample_weight":
            refused(TypeError, message + "NoneType", **{name: None})


@both_dtypes
def test_two_dtypes_in_one_call(call, refused):
    for name, array in float_arrays(call).items():
        if (call.name, name) in ALONE:
            continue
        refused(TypeError, f"^{name} must|^[a-z_]+ must have the dtype of {name}; got", **{name: other_float(array)})


@both_dtypes
def test_wrong_dtype(call, refused):
    for name, array in float_arrays(call).items():
        for wrong in ("int64", "float16", "complex128", "object", "longdouble", "bool"):
            if name in call.outputs or name in set(call.updated) - {"params", "state", "buffers"}:
                refused(
                    TypeError, rf"^{name} must be float(32|64) in native byte order; got", **{name: np.zeros(array.shape, wrong)}
                )
            elif name != "targets" or wrong not in ("int64", "bool"):
                refused(TypeError, f"^{name} must be float32 or float64; got", **{name: np.ones(array.shape, wrong)})


def test_wrong_shape(call, refused):
    for name, array in call.arrays.items():
        free = (call.name, name) in ALONE | {("train_epoch", "order")}  # any number of rows fits
        for shape in [(*array.shape, 1), array.shape[:-1], tuple(s + 1 for s in array.shape)][: 2 if free else 3]:
            # Another length of one array may be found only when the next one is compared with it.
            refused((ValueError, TypeError), "^[a-z_]+ (row 0 )?must ", **{name: np.zeros(shape, array.dtype)})


@both_dtypes
def test_wrong_outputs(calls_with, refused):
    for call in calls_with(lambda call: call.outputs or call.updated):
        for name, array in (call.outputs | call.updated).items():
            read_only = array.copy()
            read_only.flags.writeable = False
            refused(ValueError, f"^{name} must be C-contiguous, aligned and writeable; got a read-only", call, **{name: read_only})
            strided = np.repeat(array, 2, axis=-1)[..., ::2]
            refused(ValueError, f"^{name} must be C-contiguous, .* got a strided", call, **{name: strided})
            unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
            refused(ValueError, f"^{name} must be C-contiguous, .* got an unaligned", call, **{name: unaligned})
            swapped = array.astype(array.dtype.newbyteorder())
            refused(TypeError, f"^{name} must be float.* in native byte order; got", call, **{name: swapped})


def overlapping(first, second, shift):
    """Copies of two arrays in one piece of memory, the second beginning ``shift`` bytes after the first."""
    memory = np.zeros(first.nbytes + second.nbytes + shift, np.uint8)
    views = []
    for array, start in ((second, shift), (first, 0)):
        view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        views.append(view)
    return views[1], views[0]


def test_overlap(calls_with, refused):
    for call in calls_with(lambda call: call.outputs or call.updated):
        for (name, written), (other, array) in product((call.outputs | call.updated).items(), call.arrays.items()):
            if other == name or (other in call.outputs and name in call.updated):
                continue
            for shift in (0, 8):
                if shift == 0 and (other == call.in_place_of or array.dtype.kind == "i"):
                    continue
                a, b = overlapping(array, np.nan_to_num(written), shift)
                if array.dtype.kind == "i":
                    # Writing the second has damaged the labels: put the first's back, which then damages the second.
                    a[...] = array
                message = f"^({name} must not overlap {other}|{other} must not overlap {name}); they share memory"
                refused(ValueError, message, call, **{other: a, name: b})


def test_overlap_with_a_strided_input_is_an_error_and_interleaving_is_not(backend, draw, dtype):
    memory = np.ones((8, 6), dtype)
    weight, bias = draw(6, 6), draw(6)
    with pytest.raises(ValueError, match="out must not overlap x"):
        backend.linear_forward(memory[::2], weight, bias, out=memory[4:])
    with pytest.warns(kernels.CopyWarning):
        backend.linear_forward(memory[1:6:4], weight, bias, out=memory[2:4])  # between the rows that are read


@pytest.mark.usefixtures("call")
def test_bad_n_threads(refused):
    for value, message in ((0, "least 1; got 0"), (-2, "least 1; got -2"), (10**9, "most 1024; got 1000000000")):
        refused(ValueError, f"^n_threads must be at {message}$", n_threads=value)
    for value in (1.0, True, None, "2", np.ones(1, int)):
        refused(TypeError, "^n_threads must be an integer; got ", n_threads=value)


def test_numpy_integers_are_numbers_of_threads(backend, draw):
    backend.softmax_forward(draw(3, 4), n_threads=np.int32(2))


def with_value(array, where, value):
    changed = copy.copy(array)
    changed[where] = value
    return changed


def test_labels_and_order(calls_with, refused):
    largest = {"softmax_cross_entropy": 3, "binary_cross_entropy": 2}
    for name in ("targets", "order"):
        for call in calls_with(lambda call, name=name: name in call.inputs and call.inputs[name].dtype.kind == "i"):
            array = call.inputs[name]
            n_values = 7 if name == "order" else largest.get(re.sub("_(for|back)ward$", "", call.name), 3)
            for value in (-1, n_values, np.iinfo(np.int64).min, np.iinfo(np.int64).max):
                message = rf"^{name} must be in \[0, {n_values}\); got {value} at position 4$"
                refused(ValueError, message, call, **{name: with_value(array, 4, value)})
            huge = with_value(array.astype(np.uint64), 4, 2**64 - 1)
            refused(ValueError, f"^{name} must be in .* got 18446744073709551615 at position 4$", call, **{name: huge})
            refused(TypeError, f"^{name} must be integers; got float64$", call, **{name: array.astype(np.float64)})
            if not call.name.startswith("binary"):
                refused(TypeError, f"^{name} must be integers; got bool$", call, **{name: array > 0})
            refused(ValueError, f"^{name} must have shape", call, **{name: array[:, None, None]})
            if name == "targets":
                refused(ValueError, r"^targets must have shape \(7,\); got \(6,\)$", call, targets=array[:-1])


def test_labels_where_only_dense_targets_go(backend, draw):
    for loss in set(LOSSES) - {"softmax_cross_entropy"}:
        for suffix in ("forward", "backward"):
            with pytest.raises(TypeError, match="targets must be float32 or float64; got int64"):
                getattr(backend, f"{loss}_{suffix}")(draw(4, 2), np.zeros(4, np.int64))


def test_sample_weight_must_be_finite(calls_with, refused):
    for call in calls_with(lambda call: "sample_weight" in call.inputs):
        for bad in (np.nan, np.inf, -np.inf):
            weight = with_value(call.inputs["sample_weight"], 5, bad)
            refused(ValueError, f"^sample_weight must be finite; got {bad} at position 5$", call, sample_weight=weight)


@pytest.mark.parametrize(
    ("loss", "value", "message"),
    [
        ("poisson", -1, "must not be negative for the loss 'poisson'; got -1.0"),
        ("tweedie", -1, "must not be negative for the loss 'tweedie'; got -1.0"),
        ("gamma", 0, "must be positive for the loss 'gamma'; got 0.0"),
    ],
)
def test_targets_in_the_domain_of_a_loss(calls_with, refused, loss, value, message):
    for call in calls_with(lambda call: call.name.startswith(loss)):
        targets = with_value(call.inputs["targets"], (2, 1), value)
        targets[0, 0] = np.nan
        refused(ValueError, rf"^targets {message} at position \(2, 1\)$", call, targets=targets)


def test_parameters_of_losses(calls_with, refused):
    ranges = {"delta": r"\(0, inf\)", "quantile": r"\(0, 1\)", "power": r"\(1, 2\)"}
    for name, interval in ranges.items():
        for call in calls_with(lambda call, name=name: name in call.options):
            for value in (0, 2.0 if name == "power" else -0.5, np.nan):
                refused(ValueError, f"^{name} must be in {interval}; got ", call, **{name: value})
            for value in ("1", None, True):
                refused(TypeError, f"^{name} must be a real number; got ", call, **{name: value})
    for call in calls_with(lambda call: "quantile" in call.options):
        refused(ValueError, "^quantile must be one number, or one for each of 3 outputs; got 2$", call, quantile=[0.1, 0.9])
        refused(ValueError, r"^quantile must be in \(0, 1\); got 1.0$", call, quantile=[0.1, 0.5, 1.0])


def test_scale_must_be_a_finite_number(calls_with, refused):
    for call in calls_with(lambda call: "scale" in call.options):
        for scale in (np.nan, np.inf, -np.inf, "1", None, True):
            refused((TypeError, ValueError), "^scale must be ", call, scale=scale)


def test_activation_names(calls_with, refused):
    names = ".*'identity', 'relu', 'sigmoid', 'tanh'.*"
    for call in calls_with(lambda call: "activation" in call.options):
        for value in ("logistic", "softmax", 1, None, []):
            refused(ValueError, f"^activation must be one of {names}; got ", call, activation=value)
        if call.name == "linear_backward":
            refused(TypeError, "^need_dx must be True or False; got 1", call, need_dx=1)


def test_dropout_options(calls_with, refused):
    for call in calls_with(lambda call: "rate" in call.options):
        for value in (-0.1, 1.0, 2, np.nan):
            refused(ValueError, r"^rate must be in \[0, 1\); got ", call, rate=value)
        for value in (None, "half", True):
            refused(TypeError, "^rate must be a real number; got ", call, rate=value)
        for name in ("seed", "stream"):
            refused(ValueError, f"^{name} must be at least 0; got -1$", call, **{name: -1})
            refused(ValueError, f"^{name} must be at most 18446744073709551615; got 18446744073709551616$", call, **{name: 2**64})
            refused(TypeError, f"^{name} must be an integer; got ", call, **{name: 1.0})


def test_norm_options(calls_with, refused):
    for call in calls_with(lambda call: call.name.endswith("norm_backward")):
        refused(TypeError, "^accumulate must be True or False; got 1$", call, accumulate=1)
        for given in ({}, {"dgamma": call.outputs["dgamma"]}, {"dbeta": call.outputs["dbeta"]}):
            message = "^dgamma and dbeta must be given with accumulate=True; got None$"
            refused(ValueError, message, call, accumulate=True, **given)
    for call in calls_with(lambda call: "norm" in call.name and not call.name.endswith("backward")):
        for value in (0.0, -1.0, np.nan, np.inf):
            refused(ValueError, "^epsilon must be in ", call, epsilon=value)


@pytest.mark.parametrize(("norm", "shape", "axis"), [("layer", (3, 0), "column"), ("batch", (0, 3), "row")])
def test_norms_over_nothing(backend, draw, norm, shape, axis):
    x, gamma, statistics = draw(*shape), draw(shape[1]), draw(3)
    message = rf"must have at least one {axis}; got shape \({shape[0]}, {shape[1]}\)$"
    with pytest.raises(ValueError, match="^x " + message):
        getattr(backend, f"{norm}_norm_forward")(x, gamma, gamma)
    with pytest.raises(ValueError, match="^dy " + message):
        getattr(backend, f"{norm}_norm_backward")(x, x, gamma, statistics, statistics)


@pytest.mark.parametrize("call", ["network_forward", "network_loss_gradient", "train_epoch"], indirect=True)
def test_network_options(call, refused):
    layers = call.inputs["layers"]
    for wrong in (np.zeros((3, 4), np.intp), layers["kind"], layers[["kind", "n_in"]], layers[:0], layers[-1:], layers[None]):
        refused(ValueError, r"^layers must be an array of spec\.LAYER with at least two rows, .*; got ", layers=wrong)
    if "loss" in call.options:
        refused(ValueError, "^loss must be one of", loss="hinge")
        refused(ValueError, r"^loss_hyper must only contain \[\] for this loss; got \['delta'\]$", loss_hyper={"delta": 1.0})
        refused(ValueError, "^layers must have the link 'exp' for the loss 'poisson'; got 'softmax'", loss="poisson")
        refused(ValueError, "^alpha must be in", alpha=-1.0)
    if "hyper" in call.options:
        refused(ValueError, "^optimizer must be one of", optimizer="lbfgs")
        refused(ValueError, r"^hyper of 'adam' must only contain .*; got \['momentum'\]", hyper={"momentum": 0.5})
        refused(ValueError, "^beta_1 must be in", hyper={"beta_1": 1.0})
        refused(ValueError, "^batch_size must be at least 1; got 0", batch_size=0)
        refused(ValueError, "^step must be at least 0; got -1", step=-1)
        refused(ValueError, "^step must be at most 4611686018427387904; got 9223372036854775807", step=2**63 - 1)
        refused(ValueError, "^state must have shape", optimizer="sgd", hyper=None)


@pytest.mark.parametrize("sizes", [[], [3], [3, 0], [0, 3]])
def test_layer_table_sizes(sizes):
    with pytest.raises(ValueError, match="sizes must hold at least two numbers, each at least 1"):
        kernels.layer_table(sizes)


def test_sizes_whose_product_wraps():
    """They make 2^64 + 2^32 parameters, in 64 bits 2^32."""
    with pytest.raises(ValueError, match=rf"there must be at most {2**63 - 1} parameters; the rows have {2**64 + 2**32}$"):
        kernels.layer_table([2**32, 2**32])
    with pytest.raises(TypeError, match="integer"):
        kernels.layer_table([2.5, 1])


def test_layer_table_names():
    with pytest.raises(ValueError, match="activation must be one of"):
        kernels.layer_table([2, 1], activation="logistic")
    with pytest.raises(ValueError, match="link must be one of"):
        kernels.layer_table([2, 1], link="relu")


@pytest.mark.parametrize("dropout", [[], [(0.5, 1, 0)] * 2, [(1.0, 1, 0)], [(-0.1, 1, 0)]])
def test_layer_table_dropout(dropout):
    with pytest.raises(ValueError, match=r"dropout must have \(rate, seed, stream\), the rate in \[0, 1\), for each of 1 hidden"):
        kernels.layer_table([2, 3, 1], dropout=dropout)

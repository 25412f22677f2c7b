"""Sparse rows: every back end's network kernels on CSR X against the reference in float64 on the same rows made dense."""

from contextlib import nullcontext
from itertools import cycle

import numpy as np
import pytest
import scipy.sparse as sp

from fastprop import kernels
from fastprop.kernels.checks import CopyWarning
from fastprop.kernels.spec import LOSSES, OPTIMIZERS

# (loss, whether the targets are classes)
FORMS = {
    "softmax labels": ("softmax_cross_entropy", True),
    "softmax dense": ("softmax_cross_entropy", False),
    "binary labels": ("binary_cross_entropy", True),
    "binary dense": ("binary_cross_entropy", False),
    "squared error": ("squared_error", False),
    "poisson": ("poisson", False),
}
# What a sparse row is multiplied with, around the widths of vectors and of panels of vectors.
WIDTHS = (1, 7, 8, 15, 16, 17, 64, 65, 130)
HYPER = {"sgd": {"lr": 0.01, "momentum": 0.8}, "adam": {"lr": 0.01, "epsilon": 0.01}}


@pytest.fixture
def index_dtype(request, dtype):
    """Each width with one dtype, as their code knows nothing of each other; Numba compiles for half a minute for a mixture more."""
    return "int64" if dtype == np.float32 and "numba" not in request.node.name else "int32"


one_dtype = pytest.mark.parametrize("dtype", [np.dtype(np.float64)], ids=str)


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def rows(rng, dtype, index_dtype):
    """rows(n, n_in, per_row=6, container=sp.csr_array): CSR rows, of which the first and every fifth have no entries.

    The columns of a row come in any order and some of them twice: then their values are added.
    """

    def make(n, n_in, per_row=6, container=sp.csr_array):
        counts = rng.integers(0, per_row + 1, n)
        counts[::5] = 0
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(index_dtype)
        columns = rng.integers(0, n_in, starts[-1]).astype(index_dtype)
        X = container((n, n_in), dtype=dtype)
        # Set one by one: the constructor would turn int64 into int32 where it fits.
        X.data, X.indices, X.indptr = rng.standard_normal(starts[-1]).astype(dtype), columns, starts
        if n_in > 1 and n * per_row > 50:
            assert not X.copy().has_sorted_indices
            assert not X.copy().has_canonical_format
        return X

    return make


@pytest.fixture
def problem(rng, dtype):
    """problem(X, loss, n_out, hidden, labels, activation) -> the arguments that the network kernels share, as a dict."""

    def make(X, loss, n_out, hidden=(), labels=False, activation="tanh"):
        layers = kernels.layer_table([X.shape[1], *hidden, n_out], activation, LOSSES[loss].link)
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
        n = X.shape[0]
        if labels:
            targets = rng.integers(0, max(n_out, 2), n)
        else:
            targets = rng.integers(0, 4, (n, n_out)).astype(dtype) if loss == "poisson" else rng.random((n, n_out)).astype(dtype)
        return {"x": X, "targets": targets, "layers": layers, "params": params, "loss": loss}

    return make


@pytest.fixture
def made_dense(wide):
    """made_dense(dict): its arrays in float64, its rows dense: what the reference computes with no sparse code at all."""
    return lambda given: {name: wide(value.toarray() if sp.issparse(value) else value) for name, value in given.items()}


def parts(X):
    return X.data, X.indices, X.indptr


def epoch(backend, given, order, optimizer, **options):
    """(mean loss, parameters, state) after one epoch from the given parameters."""
    params = given["params"].copy()
    state = np.full((OPTIMIZERS[optimizer].n_slots, len(params)), 0.01, params.dtype)
    given = given | {"params": params, "state": state}
    options = {"alpha": 0.01, "step": 3, "hyper": HYPER[optimizer]} | options
    return backend.train_epoch(**given, order=order, optimizer=optimizer, **options), params, state


@pytest.fixture
def check_gradient(backend, oracle, made_dense, assert_close, rng, dtype):
    """check_gradient(given): outputs, loss and gradient, without weights and with, on 1 to 3 threads; the inputs stay."""

    def check(given):
        X, exact = given["x"], made_dense(given)
        kept = [array.copy() for array in parts(X)]
        forward, exact_forward = ({name: g[name] for name in ("x", "layers", "params")} for g in (given, exact))
        outputs = oracle.network_forward(**exact_forward)
        for n_threads, weight in ((1, None), (2, rng.random(X.shape[0]).astype(dtype)), (3, None)):
            exact_weight = None if weight is None else weight.astype(np.float64)
            expected = oracle.network_loss_gradient(**exact, alpha=0.01, sample_weight=exact_weight)
            out = np.full_like(given["params"], np.nan)
            got = backend.network_loss_gradient(**given, alpha=0.01, sample_weight=weight, out=out, n_threads=n_threads)
            for actual, value in zip(got, expected, strict=True):
                assert_close(actual, value, dtype, "network")
            assert_close(backend.network_forward(**forward, n_threads=n_threads), outputs, dtype, "network")
        for array, before in zip(parts(X), kept, strict=True):
            np.testing.assert_array_equal(array, before)

    return check


@pytest.fixture
def check_epoch(backend, oracle, made_dense, assert_close, wide, dtype):
    """check_epoch(given, order, optimizer, **options): the back end's epoch is the reference's on dense rows."""

    def check(given, order, optimizer, n_threads=1, sample_weight=None, **options):
        got = epoch(backend, given, order, optimizer, n_threads=n_threads, sample_weight=sample_weight, **options)
        exact_weight = None if sample_weight is None else wide(sample_weight)
        expected = epoch(oracle, made_dense(given), order, optimizer, sample_weight=exact_weight, **options)
        for actual, exact in zip(got, expected, strict=True):
            assert_close(actual, exact, dtype, "epoch")

    return check


@pytest.mark.parametrize("hidden", [(), (9, 33, 8)], ids=str)
def test_every_loss(check_gradient, problem, rows, form, hidden):
    loss, labels = FORMS[form]
    n_out = 1 if form == "binary labels" else 4
    for container in (sp.csr_array, sp.csr_matrix):
        check_gradient(problem(rows(37, 23, container=container), loss, n_out, hidden, labels))


def test_every_activation(check_gradient, problem, rows, activation):
    check_gradient(problem(rows(37, 23), "softmax_cross_entropy", 4, (11,), True, activation))


def test_widths(check_gradient, problem, rows):
    X = rows(60, 150)
    for width in WIDTHS:
        check_gradient(problem(X, "squared_error", width))
        check_gradient(problem(X, "softmax_cross_entropy", 3, (width,), True))


def test_many_rows_and_few_features(check_gradient, problem, rows):
    """More rows than a back end takes at a time, more threads than features, and a single row."""
    for n, n_in, per_row in ((700, 40, 9), (700, 1, 2), (300, 2, 40), (1, 5, 5), (2, 900, 300)):
        check_gradient(problem(rows(n, n_in, per_row), "softmax_cross_entropy", 5, (6,), True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("n", "batch_size"), [(23, 1), (52, 7), (52, 2**62), (630, 605)])
def test_train_epoch(check_epoch, problem, rows, rng, dtype, n, batch_size, optimizer):
    given, order = problem(rows(n, 31), "softmax_cross_entropy", 4, (9, 6), True), rng.permutation(n)
    kept = [array.copy() for array in parts(given["x"])]
    check_epoch(given, order, optimizer, batch_size=batch_size)
    check_epoch(given, order, optimizer, batch_size=batch_size, n_threads=2)
    check_epoch(given, order, optimizer, batch_size=batch_size, n_threads=3, sample_weight=rng.random(n).astype(dtype))
    for array, before in zip(parts(given["x"]), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(("form", "optimizer"), [*zip(FORMS, cycle(HYPER), strict=False)])
def test_train_epoch_of_every_loss(check_epoch, problem, rows, rng, form, optimizer):
    loss, labels = FORMS[form]
    X, order = rows(40, 23), rng.integers(0, 40, 31)  # some rows twice, some not at all
    for hidden in ((), (7,)):
        given = problem(X, loss, 1 if form == "binary labels" else 3, hidden, labels, "relu")
        check_epoch(given, order, optimizer, batch_size=8, n_threads=2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_train_epoch_of_every_width(check_epoch, problem, rows, rng, optimizer):
    X, order = rows(40, 90), rng.permutation(40)
    for n_threads, width in enumerate(WIDTHS):
        check_epoch(problem(X, "squared_error", width), order, optimizer, batch_size=16, n_threads=n_threads % 3 + 1)
        check_epoch(problem(X, "poisson", 2, (width,)), order, optimizer, batch_size=16, n_threads=n_threads % 3 + 1)


@pytest.mark.parametrize("n", [0, 1, 30])
def test_no_entries_at_all(check_gradient, check_epoch, backend, problem, dtype, index_dtype, n):
    X = sp.csr_array((n, 8), dtype=dtype)
    X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
    given = problem(X, "squared_error", 3, (5,))
    if n:
        check_gradient(given)
        check_epoch(given, np.arange(n), "adam", batch_size=7)
        return
    loss, gradient = backend.network_loss_gradient(**given, alpha=0.1)
    assert loss == 0.0
    assert not gradient.any()
    assert backend.network_forward(X, given["layers"], given["params"]).shape == (0, 3)
    mean, params, _ = epoch(backend, given, np.arange(0), "adam")
    assert mean == 0.0
    np.testing.assert_array_equal(params, given["params"])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_batch_without_weight_changes_nothing_but_is_a_step(check_epoch, problem, rows, dtype, optimizer):
    given, weight = problem(rows(24, 9), "softmax_cross_entropy", 3, (6,), True), np.ones(24, dtype)
    weight[8:16] = 0
    check_epoch(given, np.arange(24), optimizer, sample_weight=weight, batch_size=8)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_same_bits_at_every_run(backend, problem, rows, rng, optimizer):
    given, order = problem(rows(500, 200, 30), "softmax_cross_entropy", 5, (33,), True, "relu"), rng.permutation(500)
    for n_threads in (1, 2, 3):
        runs = [
            (*epoch(backend, given, order, optimizer, batch_size=200, n_threads=n_threads),
             *backend.network_loss_gradient(**given, n_threads=n_threads))
            for _ in range(3)
        ]  # fmt: skip
        assert not np.array_equal(runs[0][1], given["params"])
        for run in runs[1:]:
            assert [np.array(v).tobytes() for v in run] == [np.array(v).tobytes() for v in runs[0]]


@pytest.mark.other_types
@one_dtype
def test_the_width_of_the_indices_changes_no_bit(backend, problem, rows, rng, index_dtype):
    given, order = problem(rows(60, 40), "softmax_cross_entropy", 5, (8,), True), rng.permutation(60)
    other = given["x"].copy()
    for name in ("indices", "indptr"):
        setattr(other, name, getattr(other, name).astype("int64" if index_dtype == "int32" else "int32"))
    runs = [epoch(backend, given | {"x": X}, order, "adam", batch_size=16) for X in (given["x"], other)]
    assert [np.array(v).tobytes() for v in runs[0]] == [np.array(v).tobytes() for v in runs[1]]


@pytest.mark.other_types
@one_dtype
def test_read_only_rows(each_source, problem, rows):
    backend = each_source
    given = problem(rows(20, 9), "squared_error", 2, (4,))
    expected = epoch(backend, given, np.arange(20), "adam", batch_size=8)
    for array in (*parts(given["x"]), given["targets"]):
        array.setflags(write=False)
    for actual, value in zip(epoch(backend, given, np.arange(20), "adam", batch_size=8), expected, strict=True):
        np.testing.assert_array_equal(actual, value)


@one_dtype
def test_strided_parts_are_copied_and_it_is_said(problem, rows):
    backend = kernels.active  # before any back end, as the checks below
    given = problem(rows(20, 9), "squared_error", 2)
    expected = backend.network_loss_gradient(**given)
    for name in ("data", "indices", "indptr"):
        X = given["x"].copy()
        setattr(X, name, np.repeat(getattr(X, name), 2)[::2])
        # Integers are always copied.
        said = pytest.warns(CopyWarning, match=r"^x\.data is copied because it is not C-contiguous")
        with said if name == "data" else nullcontext():
            loss, gradient = backend.network_loss_gradient(**given | {"x": X})
        assert loss == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])


@one_dtype
def test_outputs_must_not_overlap_the_rows(problem, rows):
    backend = kernels.active
    given = problem(rows(20, 9), "squared_error", 2)
    block = np.zeros(len(given["x"].data) + len(given["params"]), given["params"].dtype)
    given["x"].data = block[: len(given["x"].data)]
    out = block[len(given["x"].data) - 1 :][: len(given["params"])]
    with pytest.raises(ValueError, match=r"^out must not overlap x\.data; they share memory"):
        backend.network_loss_gradient(**given, out=out)
    with pytest.raises(ValueError, match=r"^params must not overlap x\.data; they share memory"):
        backend.train_epoch(**given | {"params": out}, order=np.arange(20), state=np.zeros((2, len(out)), out.dtype))


# Bad rows: what they break, the error, its text. The checks come before any back end and are the same code for all of them.


def _set(**changes):
    """A change of X: each part replaced by what the function makes of it."""

    def apply(X):
        for name, change in changes.items():
            array = getattr(X, name).copy()
            setattr(X, name, array if (result := change(array)) is None else result)
        return X

    return apply


def _put(position, value):
    return lambda array: array.__setitem__(position, value)


def _wrapping(starts):
    """Row starts that rise if the differences of neighbours are computed in their own dtype, where two of them wrap."""
    starts[1:-1] = np.iinfo(starts.dtype).max
    starts[2:-1] = -2


BAD = {
    "index too large": (_set(indices=_put(3, 9)), ValueError, r"^x\.indices must be in \[0, 9\); got 9 at position 3$"),
    "huge index": (_set(indices=_put(5, 2**31 - 1)), ValueError, r"^x\.indices must be in \[0, 9\); got 2147483647 at position 5"),
    "negative index": (_set(indices=_put(0, -1)), ValueError, r"^x\.indices must be in \[0, 9\); got -1 at position 0$"),
    "indptr falls": (_set(indptr=_put(7, 0)), ValueError, r"^x\.indptr must rise from 0 to .* before 0 at position 7$"),
    "indptr beyond the end": (_set(indptr=_put(7, 10**6)), ValueError, r"^x\.indptr must rise .*; got 1000000 before .* 8$"),
    "indptr wraps": (_set(indptr=_wrapping), ValueError, r"^x\.indptr must rise .*; got \d{10,} before -2 at position 2$"),
    "indptr starts late": (_set(indptr=_put(0, 1)), ValueError, r"^x\.indptr must rise from 0 to .*; got 1 to"),
    "negative indptr": (_set(indptr=_put(0, -1)), ValueError, r"^x\.indptr must rise from 0 to .*; got -1 to"),
    "indptr ends early": (_set(indptr=_put(-1, 3)), ValueError, r"^x\.indptr must rise from 0 to .*; got 0 to 3$"),
    "indptr ends late": (_set(indptr=lambda a: a + (a == a[-1])), ValueError, r"^x\.indptr must rise from 0 to "),
    "indptr too short": (_set(indptr=lambda a: a[:-1]), ValueError, r"^x\.indptr must have shape \(21,\); got \(20,\)"),
    "indptr too long": (_set(indptr=lambda a: np.append(a, a[-1])), ValueError, r"^x\.indptr must have shape \(21,\); got \(22,\)"),
    "no indptr": (_set(indptr=lambda a: a[:0]), ValueError, r"^x\.indptr must have shape \(21,\); got \(0,\)"),
    "indptr in columns": (_set(indptr=lambda a: a[:, None]), ValueError, r"^x\.indptr must have shape \(21,\); got \(21, 1\)"),
    "fewer data": (_set(data=lambda a: a[:-1]), ValueError, r"^x\.indices must have shape \(\d+,\), as x\.data; got \(\d+,\)"),
    "more data": (_set(data=lambda a: np.append(a, a[0])), ValueError, r"^x\.indices must have shape \(\d+,\), as x\.data; got"),
    "data in columns": (_set(data=lambda a: np.stack([a, a], 1)), ValueError, r"^x\.data must have shape \(\d+,\); got \(\d+, 2\)"),
    "fewer indices": (_set(indices=lambda a: a[:-1]), ValueError, r"^x\.indices must have shape \(\d+,\), as x\.data; got"),
    "a list of indices": (_set(indices=np.ndarray.tolist), TypeError, r"^x\.indices must be a NumPy array; got list"),
    "no indices": (lambda X: vars(X).update(indices=None) or X, TypeError, r"^x\.indices must be a NumPy array; got NoneType"),
    "a list of starts": (_set(indptr=np.ndarray.tolist), TypeError, r"^x\.indptr must be a NumPy array; got list"),
    "a list of data": (_set(data=np.ndarray.tolist), TypeError, r"^x\.data must be a NumPy array; got list"),
    "mixed indices": (
        _set(indices=lambda a: a.astype("int64"), indptr=lambda a: a.astype("int32")),
        TypeError,
        r"^x\.indptr and x\.indices must both be int32 or both int64; got int32, int64",
    ),
    "unsigned indices": (
        _set(indices=lambda a: a.astype("uint32"), indptr=lambda a: a.astype("uint32")),
        TypeError,
        r"^x\.indptr and x\.indices must both be int32 or both int64; got uint32, uint32",
    ),
    "int data": (lambda X: X.astype(int), TypeError, r"^x\.data must be float32 or float64; got int64"),
    "complex data": (lambda X: X.astype(complex), TypeError, r"^x\.data must be float32 or float64; got complex128"),
    "other float": (
        lambda X: X.astype("float32" if X.dtype == np.float64 else "float64"),
        TypeError,
        r"^x\.data must have the dtype of params; got x\.data float\d\d, params float\d\d",
    ),
    "more features": (lambda X: sp.hstack([X, X], format="csr"), ValueError, r"^x must have shape \(n, 9\); got \(20, 18\)"),
    "fewer features": (lambda X: X[:, :5], ValueError, r"^x must have shape \(n, 9\); got \(20, 5\)"),
    "other rows": (lambda X: sp.vstack([X, X], format="csr"), ValueError, r"^targets must have shape \(40, 2\)"),
} | {
    name: (lambda X, name=name: X.asformat(name), TypeError, rf"^x must be a NumPy array; got {name}_array")
    for name in ("csc", "coo", "lil", "dok", "bsr")
}  # fmt: skip


@one_dtype
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_and_change_nothing(problem, rows, case):
    good, (break_it, error, message) = rows(20, 9, per_row=8), BAD[case]
    given = problem(good, "squared_error", 2, (4,))
    given["x"] = X = break_it(good.copy())
    state, out = np.ones((2, len(given["params"])), given["params"].dtype), np.zeros_like(given["params"])
    arrays = [given["params"], given["targets"], state, out]
    arrays += [part for part in (parts(X) if X.format == "csr" else ()) if isinstance(part, np.ndarray)]
    kept = [array.tobytes() for array in arrays]
    with pytest.raises(error, match=message):
        kernels.network_loss_gradient(**given, out=out)
    with pytest.raises(error, match=message):
        kernels.train_epoch(**given, order=np.arange(20), state=state)
    if case != "other rows":
        with pytest.raises(error, match=message):
            kernels.network_forward(X, given["layers"], given["params"])
    assert kept == [array.tobytes() for array in arrays]


@one_dtype
def test_one_dimensional_rows(problem, rows):
    given = problem(rows(20, 9), "squared_error", 2)
    with pytest.raises(ValueError, match=r"^x must have shape \(n, 9\); got \(9,\)"):
        kernels.network_forward(given["x"][[1]].reshape(9).tocsr(), given["layers"], given["params"])

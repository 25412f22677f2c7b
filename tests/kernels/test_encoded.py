"""Encoded rows: every back end's network kernels on them against the reference in float64 on the wide matrix."""

import numpy as np
import pytest

from fastprop import Network, kernels, optim
from fastprop.kernels import EncodedRows
from fastprop.kernels.spec import COLUMN, ENCODINGS, LOSSES

PLAIN, PIECEWISE, ONE_HOT = ENCODINGS["plain"], ENCODINGS["piecewise_linear"], ENCODINGS["one_hot"]
COLUMNS = [(PLAIN, 1), (PIECEWISE, 7), (ONE_HOT, 4), (PIECEWISE, 1), (ONE_HOT, 1), (PIECEWISE, 33)]
# Around the widths of registers, and of the registers that one pass works on.
WIDTHS = (1, 7, 16, 17, 64, 130, 150)
HYPER = {"lr": 0.01, "epsilon": 0.01}


def table(columns):
    offset, rows = 0, []
    for kind, n in columns:
        rows.append((kind, offset, n))
        offset += n
    return np.array(rows, COLUMN)


@pytest.fixture
def rows(rng, dtype):
    """rows(n, columns=COLUMNS): encoded rows, with numbers at both ends of the bins and rows without a category among them."""

    def make(n, columns=COLUMNS):
        draw = {
            PLAIN: lambda size: rng.standard_normal(n),
            PIECEWISE: lambda size: np.where(rng.random(n) < 0.8, rng.uniform(0, size, n), rng.integers(0, size + 1, n)),
            ONE_HOT: lambda size: rng.integers(-1, size, n),
        }
        return EncodedRows(np.stack([draw[kind](size) for kind, size in columns], 1).astype(dtype), table(columns))

    return make


def wide_matrix(encoded):
    """The wide matrix in float64, written number by number from what the encodings mean."""
    out = np.zeros(encoded.shape)
    for c, (kind, offset, n) in enumerate(encoded.columns.tolist()):
        for i, x in enumerate(encoded.x[:, c].tolist()):
            for k in range(n):
                if kind == PLAIN:
                    out[i, offset] = x
                elif kind == PIECEWISE:
                    out[i, offset + k] = min(max(x - k, 0.0), 1.0) - 0.5
                else:
                    out[i, offset + k] = x == k
    return out


@pytest.fixture
def problem(rng, dtype):
    """problem(X, hidden, n_out, loss) -> the arguments that the network kernels share, as a dict."""

    def make(X, hidden=(20,), n_out=3, loss="squared_error"):
        layers = kernels.layer_table([X.shape[1], *hidden, n_out], "tanh", LOSSES[loss].link)
        params = rng.uniform(-0.5, 0.5, kernels.n_parameters(layers)).astype(dtype)
        return {"x": X, "targets": rng.random((X.shape[0], n_out)).astype(dtype), "layers": layers, "params": params, "loss": loss}

    return make


def in_float64(given):
    floats = {name: given[name].astype(np.float64) for name in ("targets", "params")}
    return given | floats | {"x": wide_matrix(given["x"])}


@pytest.mark.parametrize("width", WIDTHS)
def test_outputs_and_gradient(backend, oracle, rows, problem, assert_close, rng, dtype, width):
    given = problem(rows(70), (width,))
    exact, kept = in_float64(given), given["x"].x.copy()
    forward, exact_forward = ({name: g[name] for name in ("x", "layers", "params")} for g in (given, exact))
    for n_threads, weight in ((1, None), (2, rng.random(70).astype(dtype)), (3, None)):
        assert_close(backend.network_forward(**forward, n_threads=n_threads), oracle.network_forward(**exact_forward), dtype)
        weights = {"sample_weight": weight} if weight is not None else {}
        loss, gradient = backend.network_loss_gradient(**given, alpha=0.1, n_threads=n_threads, **weights)
        weights = {"sample_weight": weight.astype(np.float64)} if weight is not None else {}
        expected_loss, expected = oracle.network_loss_gradient(**exact, alpha=0.1, **weights)
        assert_close(loss, expected_loss, dtype)
        assert_close(gradient, expected, dtype)
    np.testing.assert_array_equal(given["x"].x, kept)


@pytest.mark.parametrize("n", [1, 2, 600])
@pytest.mark.parametrize("kind", ENCODINGS.values(), ids=ENCODINGS)
def test_one_kind_and_any_number_of_rows(backend, oracle, rows, problem, assert_close, dtype, n, kind):
    given = problem(rows(n, [(kind, 1)] * 3), (), 2)
    exact = in_float64(given)
    for n_threads in (1, 3):
        gradient = backend.network_loss_gradient(**given, n_threads=n_threads)[1]
        assert_close(gradient, oracle.network_loss_gradient(**exact)[1], dtype)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_an_epoch(backend, oracle, rows, problem, assert_close, rng, dtype, n_threads):
    given, order = problem(rows(120), (33,)), rng.permutation(120)
    exact = in_float64(given)
    options = {"order": order, "batch_size": 50, "optimizer": "adam", "hyper": HYPER, "alpha": 0.1, "step": 3}
    losses = []
    for g, kernel, more in ((given, backend, {"n_threads": n_threads}), (exact, oracle, {})):
        state = np.full((2, len(g["params"])), 0.01, g["params"].dtype)
        g["params"] = g["params"].copy()
        losses.append(kernel.train_epoch(**g, state=state, **options, **more))
    assert_close(losses[0], losses[1], dtype)
    assert_close(given["params"], exact["params"], dtype)


@pytest.mark.parametrize("dtype", [np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_a_network_trains_on_them_as_on_the_wide_matrix(rows, rng, normalization):
    X, y = rows(200), rng.integers(0, 3, 200)
    params = []
    for given in (X, wide_matrix(X)):
        network = Network([X.shape[1], 20, 10, 3], dtype=np.float64, normalization=normalization)
        network.initialize(np.random.RandomState(0))
        orders, losses, validation_losses = np.tile(np.arange(200), (3, 1)), np.empty(3), np.empty(3)
        best, best_params, best_buffers = np.array([np.inf, 0]), network.params.copy(), network.buffers.copy()
        options = {"batch_size": 64, "clip_norm": 0.5, "n_threads": 2, "best": best, "best_params": best_params}
        options |= {"best_buffers": best_buffers, "validation": network.training_set(given[:50], y[:50])}
        optimizer = optim.Adam(network, lr=0.01, eps=0.01)
        data = network.training_set(given, y)
        network.train_epochs(data, orders, optimizer, losses, validation_losses=validation_losses, **options)
        params.append(np.concatenate([network.params, losses, validation_losses, best, best_params]))
    np.testing.assert_allclose(*params, rtol=1e-9, atol=1e-12)


def test_wrong_numbers_are_no_addresses(backend, oracle, rows, problem, assert_close, dtype):
    """Whoever has the array may write into it: a bin is then the nearest one, and a category none."""
    given = problem(rows(8), (5,), 1)
    numbers, expected = given["x"].x, given["x"].x.copy()
    for row, (wrong, n_bins) in enumerate([(-1e30, 0), (1e30, 7), (np.inf, 7), (-np.inf, 0), (7.5, 7), (-0.5, 0)]):
        numbers[row, [1, 2]] = wrong, wrong
        expected[row, [1, 2]] = n_bins, -1
    numbers[6, 2], expected[6, 2] = 1.5, -1
    numbers[7, 2], expected[7, 2] = np.nan, -1
    exact = in_float64(given | {"x": EncodedRows(expected, given["x"].columns)})
    expected = oracle.network_loss_gradient(**exact)[1]
    for n_threads in (1, 2):
        assert_close(backend.network_loss_gradient(**given, n_threads=n_threads)[1], expected, dtype)
    numbers[0, 1] = np.nan
    assert np.isnan(backend.network_forward(given["x"], given["layers"], given["params"])[0]).all()


def test_wrong_columns_are_refused():
    x = np.zeros((2, 2))
    for columns, reason in [
        ([(0, 0, 1)], r"x must have shape \(n, 1\), a number for each column; got \(2, 2\)"),
        ([(0, 0, 1), (1, 2, 3)], r"without gaps between them; column 1 is \(1, 2, 3\)"),
        ([(0, 0, 2), (1, 2, 3)], r"column 0 is \(0, 0, 2\)"),
        ([(0, 0, 1), (7, 1, 3)], r"column 1 is \(7, 1, 3\)"),
        ([(0, 0, 1), (2, 1, 0)], r"column 1 is \(2, 1, 0\)"),
        ([[(0, 0, 1)]], r"a vector; got shape \(1, 1\)"),
    ]:
        with pytest.raises(ValueError, match=reason):
            EncodedRows(x, columns)
    with pytest.raises(TypeError, match="x must be float32 or float64; got int64"):
        EncodedRows(np.zeros((2, 2), int), [(0, 0, 1), (0, 1, 1)])


def test_columns_that_were_changed_are_refused(each_source, rows, problem):
    """The columns of `EncodedRows` are not checked again, except by the compiled code."""
    if each_source.backend != "cython":
        pytest.skip("has no addresses: the rows are made dense, by NumPy")
    given = problem(rows(5))
    given["x"].columns = table([(PLAIN, 1)] * 5 + [(PIECEWISE, 42)])
    given["x"].columns["offset"][5] = 40
    with pytest.raises(ValueError, match="columns must be the encodings of 47 values without gaps; column 5 is not"):
        each_source.network_forward(given["x"], given["layers"], given["params"])


def test_a_network_that_cannot_read_them_says_so(rows):
    X = rows(5)
    layers = kernels.LayerProgram(X.shape[1]).activation("tanh").linear(2).link("identity")
    params = np.zeros(kernels.n_parameters(layers), X.dtype)
    with pytest.raises(ValueError, match="an encoded x needs a network with a linear first row"):
        kernels.network_forward(X, layers, params)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 4\); got \(5, 47\)"):
        kernels.network_forward(X, kernels.layer_table([4, 1], "relu", "identity"), np.zeros(5, X.dtype))


def test_rows_of_them(rows):
    X = rows(9)
    wide = wide_matrix(X)
    np.testing.assert_allclose(X.toarray(), wide, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(X[2:5].toarray(), wide[2:5], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(X[[4, 1]].toarray(), wide[[4, 1]], rtol=1e-6, atol=1e-6)
    assert len(X) == 9
    assert X.astype(np.float64).dtype == np.float64
    assert repr(X.astype(np.float32)) == "<EncodedRows: 9 x 47 in 6 columns of float32>"

"""Layer tables: what is built, what the kernels refuse, and that they change nothing then."""

import sys

import numpy as np
import pytest

from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.layer_table import buffer_views, parameter_views

KINDS = spec.KINDS


def all_kinds():
    """Rows 0 to 8: batch norm, linear, layer norm, activation, dropout, linear, add of value 5, batch norm, link."""
    program = kernels.LayerProgram(6).batch_norm(0.1, 0.3).linear(5).layer_norm(0.2).activation("gelu").dropout(0.25, -7, 2**40)
    return program.linear(5).add(5).batch_norm().link("softmax")


def test_a_program_makes_the_rows_that_it_says():
    layers = all_kinds()
    names = ["batch_norm", "linear", "layer_norm", "activation", "dropout", "linear", "add", "batch_norm", "link"]
    assert layers.dtype == spec.LAYER
    assert layers["kind"].tolist() == [KINDS[name] for name in names]
    assert layers["n_in"].tolist() == [6, 6, *7 * [5]]
    assert layers["n_out"].tolist() == [6, *8 * [5]]
    assert layers["offset"].tolist() == [0, 12, 47, 57, 57, 57, 87, 87, 97]
    assert layers["code"].tolist() == [0, 0, 0, spec.ACTIVATION_CODES["gelu"], 0, 0, 0, 0, spec.LINKS["softmax"]]
    assert layers["source"].tolist() == [*6 * [0], 5, 0, 0]
    assert layers["buffers"].tolist() == [*7 * [0], 12, 0]
    assert (layers["seed"][4], layers["stream"][4], layers["rate"][4]) == (-7, 2**40, 0.25)
    assert layers["epsilon"].tolist() == [0.1, 0, 0.2, *4 * [0], 1e-5, 0]
    assert layers["momentum"].tolist() == [0.3, *6 * [0], 0.1, 0]
    assert (kernels.n_parameters(layers), kernels.n_buffers(layers)) == (97, 22)


def test_views_cover_the_blocks_without_overlap():
    layers = all_kinds()
    for block, views in (
        (np.zeros(97), [view for pair in parameter_views(layers, np.zeros(97)) for view in pair]),
        (np.zeros(22), [view for pair in buffer_views(layers, np.zeros(22)) if pair for view in pair]),
    ):
        assert sum(view.size for view in views) == block.size
    block = np.zeros(97)
    for weight, bias in kernels.layer_views(layers, block):
        weight += 1
        bias += 1
    assert (block == 1).all()
    assert [weight.shape for weight, _ in kernels.layer_views(layers, block)] == [(6,), (6, 5), (5,), (5, 5), (5,)]


def test_value_and_width_follow_the_rows():
    program = kernels.LayerProgram(6)
    assert (program.value, program.width) == (0, 6)
    program.linear(5).activation("relu")
    assert (program.value, program.width) == (2, 5)


def test_seeds_go_over_the_whole_range():
    layers = kernels.LayerProgram(2).linear(3).dropout(0.5, -(2**63), 2**63 - 1).linear(1).link("identity")
    assert (layers["seed"][1], layers["stream"][1]) == (-(2**63), 2**63 - 1)


def test_a_plain_table_is_the_program_of_its_rows():
    program = kernels.LayerProgram(4).linear(3).activation("relu").dropout(0.5, 1, 2).linear(6).activation("silu")
    expected = program.linear(2).link("exp")
    table = kernels.layer_table([4, 3, 6, 2], ["relu", "silu"], "exp", [(0.5, 1, 2), (0.0, 3, 4)])
    np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda p: kernels.LayerProgram(0), ValueError, "n_in must be at least 1; got 0"),
        (lambda p: kernels.LayerProgram(2.0), TypeError, "n_in must be an integer; got 2.0"),
        (lambda p: p.linear(0), ValueError, "n_out must be at least 1; got 0"),
        (lambda p: p.activation("swish"), ValueError, r"activation must be one of \['identity', .*'softplus'\]; got 'swish'"),
        (lambda p: p.activation("softmax"), ValueError, "activation must be one of"),
        (lambda p: p.dropout(1.0, 0, 0), ValueError, r"rate must be in \[0, 1\); got 1.0"),
        (lambda p: p.dropout(0.5, 0.5, 0), TypeError, "seed must be an integer; got 0.5"),
        (lambda p: p.dropout(0.5, 0, 2**63), ValueError, "stream must be at most"),
        (lambda p: p.dropout(0.5, -(2**63) - 1, 0), ValueError, "seed must be at least"),
        (lambda p: p.layer_norm(0.0), ValueError, "epsilon must be in"),
        (lambda p: p.batch_norm(np.inf), ValueError, "epsilon must be in"),
        (lambda p: p.batch_norm(1e-5, 1.5), ValueError, r"momentum must be in \[0, 1\]; got 1.5"),
        (lambda p: p.add(3), ValueError, "source must be at most 2; got 3"),
        (lambda p: p.add(-1), ValueError, "source must be at least 0; got -1"),
        (lambda p: p.add(0), ValueError, "source must be a value with 5 columns, like the last one; value 0 has 6"),
        (lambda p: p.link("relu"), ValueError, r"link must be one of \['identity', 'sigmoid', 'exp', 'softmax'\]; got 'relu'"),
        (lambda p: kernels.LayerProgram(3).layer_norm().link("identity"), ValueError, "must have at least one linear row"),
        (lambda p: p.linear(2**62).link("identity"), ValueError, f"at most {sys.maxsize} parameters; the rows have "),
    ],
)
def test_bad_rows(build, error, message):
    program = kernels.LayerProgram(6).linear(5).activation("tanh")
    with pytest.raises(error, match=message):
        build(program)


# (row, field, values): each makes the table one that no program makes.
BAD_FIELDS = [
    (0, "kind", [-1, 99, KINDS["link"], KINDS["linear"]]),
    (8, "kind", [KINDS["add"], KINDS["activation"], -1]),
    (3, "kind", [KINDS["layer_norm"], KINDS["linear"], KINDS["link"]]),
    (0, "n_in", [0, -6, 2**62]),
    (1, "n_in", [5, 7, 0]),
    (1, "n_out", [0, 6, -5, 2**62]),
    (2, "n_out", [4, 6]),
    (8, "n_out", [4, 0]),
    (1, "offset", [0, 13, -1]),
    (2, "offset", [46, 57]),
    (7, "offset", [86, 2**62]),
    (3, "code", [-1, 99, spec.LINKS["softmax"], spec.LINKS["exp"]]),
    (8, "code", [-1, 99, spec.ACTIVATION_CODES["relu"], spec.ACTIVATION_CODES["gelu"]]),
    (6, "source", [-1, 0, 1, 7, 8, 2**62]),
    (0, "buffers", [-1, 1]),
    (7, "buffers", [0, 11, 13, 2**62]),
    (4, "rate", [-0.1, 1.0, np.nan, np.inf]),
    (2, "epsilon", [0.0, -1.0, np.nan, np.inf]),
    (0, "epsilon", [0.0, np.nan]),
    (0, "momentum", [-0.1, 1.1, np.nan]),
]


@pytest.fixture
def calls_of(rng):
    """calls_of(layers): a call of every kernel that takes a layer table, and the arrays that those write."""
    x, params, buffers = rng.standard_normal((4, 6)), rng.standard_normal(97), rng.random(22)
    state, out, gradient = np.zeros((1, 97)), np.zeros((4, 5)), np.zeros(97)
    problem = x, np.array([0, 4, 1, 1])

    def make(layers):
        return [
            lambda: kernels.network_forward(x, layers, params, out, buffers=buffers),
            lambda: kernels.network_loss_gradient(*problem, layers, params, "softmax_cross_entropy", out=gradient),
            lambda: kernels.train_epoch(
                *problem, np.arange(4), layers, params, state, "softmax_cross_entropy", "momentum", buffers=buffers
            ),
        ]

    make.written = [params, buffers, state, out, gradient]
    return make


@pytest.mark.parametrize(("row", "name", "values"), BAD_FIELDS)
def test_bad_tables_are_refused_and_change_nothing(calls_of, row, name, values):
    kept = [array.tobytes() for array in calls_of.written]
    for value in values:
        layers = all_kinds()
        layers[name][row] = value
        for call in calls_of(layers):
            # Another row may be the first that no longer fits.
            with pytest.raises(
                ValueError, match=r"^layers row \d must be one that layer_table\(\) makes, with n_in = .*; got \{'kind'"
            ):
                call()
    assert [array.tobytes() for array in calls_of.written] == kept


def test_good_tables_are_taken(calls_of):
    for call in calls_of(all_kinds()):
        call()


def test_tables_without_a_row_that_they_need(calls_of):
    layers = all_kinds()
    for rows, message in (
        (layers[:0], "at least two rows"),
        (layers[-1:], "at least two rows"),
        (layers[:-1], r"^layers row 7 must be"),
        (layers[[2, 3, 8]], "^layers row 0 must be"),
        (kernels.LayerProgram(6).layer_norm().linear(5).link("softmax")[[0, 2]], "^layers (row 1 must be|must have a linear row)"),
    ):
        for call in calls_of(rows):
            with pytest.raises(ValueError, match=message):
                call()


def test_the_only_rows_are_a_norm_and_a_link(rng):
    layers = kernels.LayerProgram(5).layer_norm().linear(5).link("identity")[[0, 2]]
    layers["offset"][1] = 10
    with pytest.raises(ValueError, match=r"^layers must have a linear row"):
        kernels.network_forward(rng.standard_normal((2, 5)), layers, np.ones(10))


def test_buffers(calls, rng):
    layers, x = all_kinds(), rng.standard_normal((4, 6))
    params, buffers = np.ones(97), np.ones(22)
    for wrong, error, message in (
        (None, ValueError, "^buffers must be given: layers has batch norms, with 22 running statistics"),
        (buffers[:-1], ValueError, r"^buffers must have shape \(22,\); got \(21,\)"),
        (buffers.astype(np.float32), TypeError, "^buffers must have the dtype of params; got buffers float32, params float64"),
        (buffers.tolist(), TypeError, "^buffers must be a NumPy array; got list"),
    ):
        with pytest.raises(error, match=message):
            kernels.network_forward(x, layers, params, buffers=wrong)
    plain = kernels.layer_table([6, 5])
    with pytest.raises(ValueError, match=r"^buffers must have shape \(0,\); got \(22,\)"):
        kernels.network_forward(x, plain, np.ones(35), buffers=buffers)
    expected = kernels.network_forward(x, plain, np.ones(35))
    np.testing.assert_array_equal(kernels.network_forward(x, plain, np.ones(35), buffers=buffers[:0]), expected)


def test_sparse_rows_need_a_linear_row_first(rng):
    sp = pytest.importorskip("scipy.sparse")
    x, layers = sp.csr_array(rng.standard_normal((4, 6))), all_kinds()
    with pytest.raises(ValueError, match=r"^a sparse x needs a network with a linear first row"):
        kernels.network_forward(x, layers, np.ones(97), buffers=np.ones(22))
    with pytest.raises(ValueError, match=r"^a sparse x needs a network with a linear first row"):
        kernels.network_loss_gradient(x, np.zeros(4, int), layers, np.ones(97), "softmax_cross_entropy")


def test_hyper_of_every_optimizer(calls):
    """What is not one of its own is refused by name, and each in its range."""
    call = calls["train_epoch"]
    for optimizer, entry in spec.OPTIMIZERS.items():
        state = np.zeros((entry.n_slots, len(call.updated["params"])), call.updated["params"].dtype)
        own = {"optimizer": optimizer, "state": state}
        for name in {name for other in spec.OPTIMIZERS.values() for name in other.hyper} - set(entry.hyper):
            with pytest.raises(
                ValueError, match=rf"^hyper of '{optimizer}' must only contain \['lr', 'l2', 'weight_decay', .*got \['{name}'\]"
            ):
                call(kernels.active, **own, hyper={name: 0.5})
        for name in spec.hyper_names(optimizer):
            with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
                call(kernels.active, **own, hyper={name: -1.0})
            with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
                call(kernels.active, **own, hyper={name: "1"})
        wrong = np.zeros((3 - entry.n_slots, len(call.updated["params"])), state.dtype)
        with pytest.raises(ValueError, match=r"^state must have shape"):
            call(kernels.active, optimizer=optimizer, state=wrong, hyper=None)

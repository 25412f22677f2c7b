"""Gradients of random compositions of all layers under all losses, against finite differences."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastprop import nn
from fastprop.nn.activations import ACTIVATION_LAYERS

N_ROWS = 5
WIDTHS = st.integers(3, 6)
ACTIVATIONS = st.sampled_from(sorted(ACTIVATION_LAYERS))
SEEDS = st.integers(0, 2**31)


def bent():
    """An activation of the user's."""
    return nn.Activation(lambda z: z + np.sin(z), lambda z: 1 + np.cos(z), name="bent")


def joined(n, seed):
    """A graph in which x goes three ways and comes together by a sum, a product and side by side."""
    x = nn.Input()
    hidden = nn.Linear(n, n, activation="tanh", random_state=seed)(x)
    return nn.Graph(x, nn.Linear(2 * n, n, random_state=seed + 1)(nn.Concat()(hidden * x, hidden + x)))


@st.composite
def blocks(draw, n, depth=1):
    """(a layer or block for n columns, the number of columns that it returns)."""
    seed = draw(SEEDS)
    width = draw(WIDTHS)
    kinds = {
        "linear": lambda: (nn.Linear(n, width, activation=draw(ACTIVATIONS), random_state=seed), width),
        "linear without bias": lambda: (nn.Linear(n, width, bias=False, random_state=seed), width),
        "activation": lambda: (ACTIVATION_LAYERS[draw(ACTIVATIONS)](), n),
        "own activation": lambda: (bent(), n),
        "softmax": lambda: (nn.Softmax(), n),
        "dropout": lambda: (nn.Dropout(0.3, random_state=seed), n),
        "batch norm": lambda: (nn.BatchNorm1d(n), n),
        "layer norm": lambda: (nn.LayerNorm(n), n),
        "highway": lambda: (nn.Highway(n, activation=draw(ACTIVATIONS), random_state=seed), n),
        "graph": lambda: (joined(n, seed), n),
    }
    if depth:

        def same_width():
            inner, end = draw(blocks(n, depth - 1))
            return nn.Sequential(inner, nn.Linear(end, n, random_state=seed))

        def dense():
            inner, end = draw(blocks(n, depth - 1))
            second = nn.Linear(n + end, width, random_state=seed)
            return nn.DenseConcat([inner, second]), n + end + width

        kinds |= {
            "residual": lambda: (nn.Residual(same_width()), n),
            "checkpoint": lambda: (nn.Checkpoint(same_width()), n),
            "dense": dense,
        }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()


@st.composite
def problems(draw):
    """(model, loss, x, y)."""
    rng = np.random.default_rng(draw(SEEDS))
    n_in = n = draw(WIDTHS)
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        layer, n = draw(blocks(n))
        layers.append(layer)
    n_out = draw(st.integers(1, 4))
    layers.append(nn.Linear(n, n_out, random_state=rng))
    y, loss = draw(
        st.sampled_from(
            [
                (rng.integers(0, n_out, N_ROWS), nn.SoftmaxCrossEntropy()),
                (rng.dirichlet(np.ones(n_out), N_ROWS), nn.SoftmaxCrossEntropy()),
                (rng.uniform(size=(N_ROWS, n_out)), nn.BinaryCrossEntropy()),
                (rng.normal(size=(N_ROWS, n_out)), nn.MSELoss()),
                (rng.poisson(2.0, (N_ROWS, n_out)), nn.PoissonLoss()),
                (rng.gamma(2.0, 1.0, (N_ROWS, n_out)), nn.GammaLoss()),
                (rng.poisson(2.0, (N_ROWS, n_out)), nn.TweedieLoss(1.3)),
                (
                    rng.normal(size=(N_ROWS, n_out)),
                    nn.ElementwiseLoss(lambda p, y: np.log(np.cosh(p - y)), lambda p, y: np.tanh(p - y), name="log-cosh"),
                ),
            ]
        )
    )
    options = {"checkpoint_every": draw(st.sampled_from([None, 1, 2]))}
    return nn.Sequential(*layers, **options), loss, rng.normal(size=(N_ROWS, n_in)), y


def check_composition(gradient_errors, problem):
    errors = gradient_errors(*problem)
    assume(len(errors) > 2)  # else too flat or too steep to be judged
    assert max(errors.values()) < 1e-7, errors


@settings(max_examples=12, deadline=None)
@given(problem=problems())
def test_random_compositions(gradient_errors, problem):
    check_composition(gradient_errors, problem)


@pytest.mark.full
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_many_random_compositions(gradient_errors, problem):
    check_composition(gradient_errors, problem)


@pytest.mark.parametrize("factor", [1, 1 + 1e-6])
def test_the_check_sees_a_wrong_gradient(gradient_errors, rng, factor):
    """The twin of the test above: a gradient that is off by a millionth is found."""

    class Off(nn.Tanh):
        def backward(self, dout, accumulate=False):
            return factor * super().backward(dout, accumulate)

    model = nn.Sequential(nn.Linear(4, 3, random_state=0), Off(), nn.Linear(3, 2, random_state=1))
    errors = gradient_errors(model, nn.MSELoss(), rng.normal(size=(5, 4)), rng.normal(size=(5, 2)))
    wrong = {name for name, error in errors.items() if error > 1e-7}
    assert wrong == ({"x", "0.weight", "0.bias"} if factor > 1 else set())

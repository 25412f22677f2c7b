"""Branches and sums: `Graph`, and the blocks that are made of them."""

import numpy as np
import pytest

from fastprop import nn


def test_a_value_used_twice_gets_the_sum_of_its_gradients():
    x, y, z = nn.Input(), nn.Input(), nn.Input()
    graph = nn.Graph([x, y, z], (x + y) * z)
    assert graph(2.0, 3.0, 4.0) == 20
    assert graph.backward(1.0) == (4, 4, 5)
    x = nn.Input()
    square_and_more = nn.Graph(x, x * x + x + x)  # derivative 2 x + 2
    assert square_and_more(5.0) == 35
    assert square_and_more.backward(1.0) == 12


def test_an_input_that_is_not_used_has_the_gradient_zero(rng):
    x, y = nn.Input(), nn.Input()
    graph = nn.Graph([x, y], nn.Tanh()(x))
    graph(np.ones((2, 3)), np.ones((4, 5)))
    dx, dy = graph.backward(np.ones((2, 3)))
    assert dx.all()
    np.testing.assert_array_equal(dy, np.zeros((4, 5)))


def test_blocks_are_graphs(rng, batch):
    """Residual, Highway and DenseConcat give what the same expression gives as a graph."""
    x = nn.Input()
    linear = [nn.Linear(4, 4, activation="tanh", random_state=i) for i in range(2)]
    residual = nn.Graph(x, linear[0](x) + x)
    dense = nn.Graph(x, nn.Concat()(x, linear[1](x)))
    blocks = (
        (residual, nn.Residual(nn.Linear(4, 4, activation="tanh", random_state=0))),
        (dense, nn.DenseConcat([nn.Linear(4, 4, activation="tanh", random_state=1)])),
    )
    for graph, block in blocks:
        out = graph(batch[0])
        np.testing.assert_allclose(block(batch[0]), out, rtol=1e-14)
        dout = rng.normal(size=out.shape)
        np.testing.assert_allclose(block.backward(dout), graph.backward(dout), rtol=1e-13)
        for ours, theirs in zip(block.parameters(), graph.parameters(), strict=True):
            np.testing.assert_array_equal(ours.grad, theirs.grad)


def test_highway_is_its_formula(batch):
    x = batch[0]
    layer = nn.Highway(4, activation="relu", gate_bias=-2.0, random_state=0)
    assert (layer.gate.bias.data == -2).all()
    t, f = layer.gate(x), layer.transform(x)
    np.testing.assert_allclose(layer(x), t * f + (1 - t) * x, rtol=1e-14)


def test_wrong_graphs():
    x, y = nn.Input(), nn.Input()
    with pytest.raises(ValueError, match="depends on an Input that is not among the inputs"):
        nn.Graph(x, x + y)
    layer = nn.Tanh()
    with pytest.raises(ValueError, match="is in the model twice"):
        nn.Graph(x, layer(layer(x)))
    with pytest.raises(TypeError, match="must be called with values of the graph alone"):
        nn.Add()(x, np.ones(3))
    graph = nn.Graph([x, y], x + y)
    with pytest.raises(nn.ShapeError, match="this graph has 2 inputs; got 1"):
        graph(np.ones(3))
    with pytest.raises(nn.ShapeError, match=r"^layer '0', Add\(\): all inputs must have one shape; got \[\(3,\), \(2,\)\]"):
        graph(np.ones(3), np.ones(2))


def test_wrong_blocks():
    x = np.ones((2, 4))
    with pytest.raises(nn.ShapeError, match=r"the block's output must have the shape of its input, \(2, 4\); got \(2, 3\)"):
        nn.Residual(nn.Linear(4, 3))(x)
    with pytest.raises(nn.ShapeError, match=r"layer '1', Linear\(4, 2\): x must have shape \(n, 4\); got \(2, 6\)"):
        nn.DenseConcat([nn.Linear(4, 2), nn.Linear(4, 2)])(x)
    with pytest.raises(nn.ShapeError, match=r"^Highway: x must have shape \(n, 3\); got \(2, 4\)"):
        nn.Highway(3)(x)
    with pytest.raises(nn.ShapeError, match=r"all inputs must have shape \(n, any\) with the same n"):
        nn.Concat()(x, x[:1])


@pytest.mark.parametrize("source", [-1, 1, 0.0])
def test_from_arguments_checks_the_numbers_of_the_values(source):
    with pytest.raises(ValueError, match="step 0 can only take the values 0 to 0"):
        nn.Graph.from_arguments(1, [nn.ReLU()], [[source]])

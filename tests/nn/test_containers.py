"""Sequential as a sequence, and checkpoints: the same numbers for less memory and one more forward."""

import tracemalloc

import numpy as np
import pytest

from fastprop import nn


def deep(depth, **options):
    rng = np.random.default_rng(0)
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(4, 4, activation="tanh", random_state=rng), nn.Dropout(0.2, random_state=rng), nn.BatchNorm1d(4)]
    return nn.Sequential(*layers, **options)


def test_sequential_is_a_sequence():
    model = nn.mlp([4, 8, 3], random_state=0)
    assert len(model) == 2
    assert list(model) == [model[0], model[1]]
    assert model[:1][0] is model[0]
    assert isinstance(model[:1], nn.Sequential)


def test_mlp():
    model = nn.mlp([4, 8, 8, 3], activation="tanh", random_state=0)
    assert [layer.activation for layer in model] == ["tanh", "tanh", "identity"]
    own = nn.mlp([4, 8, 8, 3], activation=nn.Activation(np.sin, np.cos), random_state=0)
    assert [type(layer).__name__ for layer in own] == ["Linear", "Activation", "Linear", "Activation", "Linear"]
    np.testing.assert_array_equal(own[2].weight.data, model[1].weight.data)
    with pytest.raises(ValueError, match="sizes must hold at least two numbers"):
        nn.mlp([4])


@pytest.mark.parametrize("every", [1, 2, 4, 100])
def test_checkpoints_change_no_number(rng, every):
    plain, checkpointed = deep(3), deep(3, checkpoint_every=every)
    x, dout = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    for _ in range(2):  # the second time with other masks of dropout
        np.testing.assert_array_equal(checkpointed(x), plain(x))
        np.testing.assert_array_equal(checkpointed.backward(dout), plain.backward(dout))
        for (name, ours), (their_name, theirs) in zip(checkpointed.named_parameters(), plain.named_parameters(), strict=True):
            assert name == their_name
            np.testing.assert_array_equal(ours.grad, theirs.grad)
    for ours, theirs in zip(checkpointed.named_buffers(), plain.named_buffers(), strict=True):
        assert ours[0] == theirs[0]
        np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_array_equal(checkpointed.eval()(x), plain.eval()(x))


def test_a_checkpoint_runs_its_block_twice_in_training_and_once_in_evaluation(rng, counting):
    blocks = [counting(nn.Linear(4, 4, random_state=i)) for i in range(6)]
    model, x = nn.Sequential(*blocks, checkpoint_every=2), rng.normal(size=(3, 4))
    model(x)
    assert [block.n_forwards for block in blocks] == [1] * 6
    model.backward(x)
    assert [block.n_forwards for block in blocks] == [2] * 6
    model.eval()(x)
    assert [block.n_forwards for block in blocks] == [3] * 6


def test_nested_checkpoints(rng):
    def layers():
        return [nn.Linear(4, 4, activation="tanh", random_state=i) for i in range(4)]

    plain, (a, b, c, d) = nn.Sequential(*layers()), layers()
    nested = nn.Sequential(nn.Checkpoint(nn.Sequential(a, nn.Checkpoint(nn.Sequential(b, nn.Dropout(0.0))))), c, d)
    x = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(nested(x), plain(x))
    np.testing.assert_array_equal(nested.backward(x), plain.backward(x))


def kept(model, x):
    """The bytes that a forward leaves behind."""
    model(x)
    model.forget()
    tracemalloc.start()
    model(x)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size


def test_checkpoints_keep_the_inputs_of_blocks_alone(rng):
    x, one = rng.normal(size=(1000, 20)), 1000 * 20 * 8
    depth = 16

    def layers():
        return [nn.Linear(20, 20, activation="tanh", random_state=i) for i in range(depth)]

    assert kept(nn.Sequential(*layers()), x) == pytest.approx(depth * one, rel=0.05)
    assert kept(nn.Sequential(*layers(), checkpoint_every=4), x) == pytest.approx(3 * one, rel=0.05)  # x itself is the caller's
    assert kept(nn.Sequential(*layers()).eval(), x) < 0.05 * one


def test_an_error_in_a_recomputed_block_names_the_layer(rng):
    model = nn.Sequential(nn.Linear(4, 3, random_state=0), nn.Linear(4, 3, random_state=0), checkpoint_every=1)
    with pytest.raises(nn.ShapeError, match=r"^layer '1', Linear\(4, 3\): x must have shape \(n, 4\); got \(2, 3\)$"):
        model(np.ones((2, 4)))


def test_modes_reach_checkpoints_inside_of_other_models(rng):
    inner = nn.Sequential(nn.Linear(4, 4, random_state=0), nn.Linear(4, 4, random_state=1), checkpoint_every=1)
    model, x = nn.Sequential(nn.Residual(inner)), rng.normal(size=(2, 4))
    model(x)
    model.backward(x)
    model.eval()(x)
    assert all(module._saved is None for module in model.modules())
    with pytest.raises(nn.NoForwardError):
        model.backward(x)


def test_checkpoint_every_is_at_least_1():
    with pytest.raises(ValueError, match="checkpoint_every must be at least 1; got -1"):
        nn.Sequential(nn.ReLU(), checkpoint_every=-1)

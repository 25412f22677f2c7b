"""Parameters as parts of one array: where they are, when they move, and what stays right then."""

import copy
import pickle

import numpy as np
import pytest

from fastprop import nn
from fastprop.nn.parameter import one_block


def model():
    rng = np.random.default_rng(0)
    block = nn.Residual(nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 5, random_state=rng)))
    return nn.Sequential(nn.Linear(4, 5, random_state=rng), nn.BatchNorm1d(5), block, nn.Linear(5, 3, random_state=rng))


def address(parameter):
    return parameter.data.ctypes.data


def fit(model, optimizer=None, **options):
    rng = np.random.default_rng(1)
    optimizer = nn.Adam(model.parameters()) if optimizer is None else optimizer
    return model.fit(rng.normal(size=(30, 4)), rng.integers(0, 3, 30), nn.SoftmaxCrossEntropy(), optimizer, epochs=2, **options)


def assert_one_block(model):
    parameters = model.parameters()
    start = address(parameters[0])
    for parameter in parameters:
        assert address(parameter) == start
        start += parameter.data.nbytes


def test_a_sequential_brings_its_parameters_into_one_array_in_their_order():
    parts = [nn.Linear(4, 5, random_state=0), nn.LayerNorm(5), nn.Linear(5, 3, random_state=1)]
    before = [parameter.data.copy() for part in parts for parameter in part.parameters()]
    whole = nn.Sequential(*parts)
    assert_one_block(whole)
    assert address(whole[0].weight) % 64 == 0
    for parameter, array in zip(whole.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, array)
        assert parameter.data.flags.carray
    block = one_block(whole.parameters())
    block[...] = np.arange(len(block))
    np.testing.assert_array_equal(np.concatenate([parameter.data.ravel() for parameter in whole.parameters()]), block)


@pytest.mark.parametrize(
    "make", [model, lambda: nn.mlp([4, 5, 3], random_state=0), lambda: nn.Sequential(*model(), checkpoint_every=2)]
)
def test_nothing_moves_in_a_fit_or_a_part_of_a_model(make):
    whole = make()
    assert_one_block(whole)
    before = [parameter.data for parameter in whole.parameters()]
    part = whole[1:]
    nn.Sequential(*whole.layers[:-1])
    fit(whole)
    assert_one_block(part)
    for parameter, array in zip(whole.parameters(), before, strict=True):
        assert parameter.data is array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_part_of_a_model_has_the_same_bits_wherever_it_begins_in_the_array(n_jobs, dtype):
    def layers():
        first, last = (nn.Linear(*sizes, activation="relu", random_state=0, dtype=dtype) for sizes in ((4, 300), (300, 3)))
        return first, nn.LayerNorm(300, dtype=dtype), last

    whole, alone = nn.Sequential(nn.Linear(1, 4, random_state=0, dtype=dtype), nn.LayerNorm(1, dtype=dtype), *layers()), layers()
    part, alone = whole[2:], nn.Sequential(*alone)
    assert address(part[0].weight) % 64
    assert fit(part, random_state=0, n_jobs=n_jobs, compiled=True) == fit(alone, random_state=0, n_jobs=n_jobs, compiled=True)
    for ours, theirs in zip(part.state_dict().values(), alone.state_dict().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_have_a_block_of_their_own_when_they_are_compiled(copied):
    first = model()
    optimizer = nn.Adam(first.parameters())
    fit(first, optimizer, random_state=0)
    second, its_optimizer = copied((first, optimizer))
    histories = [fit(first, optimizer, random_state=1, compiled=True), fit(second, its_optimizer, random_state=1, compiled=True)]
    assert histories[0] == histories[1]
    assert_one_block(second)
    assert not np.shares_memory(first[0].weight.data, second[0].weight.data)
    for ours, theirs in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(pickle.dumps(first[-1])) < first[-1].weight.data.nbytes + 1000  # not of the whole block


def test_layers_that_moved_to_another_model_still_belong_to_both():
    first = model()
    optimizer = nn.SGD(first.parameters(), lr=0.1, momentum=0.9)
    fit(first, optimizer, random_state=0)
    twin, its_optimizer = copy.deepcopy((first, optimizer))
    second = nn.Sequential(first[3], first[0])
    assert_one_block(second)
    for parameter in first.parameters():
        parameter.grad = np.ones(parameter.shape)
    optimizer.step()  # where they are now
    for parameter in twin.parameters():
        parameter.grad = np.ones(parameter.shape)
    its_optimizer.step()
    np.testing.assert_array_equal(second[0].weight.data, twin[3].weight.data)
    assert fit(first, optimizer, random_state=1, compiled=True) == fit(twin, its_optimizer, random_state=1, compiled=True)
    assert_one_block(first)
    np.testing.assert_array_equal(second[0].weight.data, first[3].weight.data)


def test_a_replaced_parameter_comes_into_the_block_for_a_compiled_fit():
    first = model()
    first[0].weight = nn.Parameter(np.ones((4, 5)))
    fit(first, compiled=True)
    assert_one_block(first)
    assert (first[0].weight.data != 1).all()


def test_arrays_with_elements_in_common_and_other_dtypes_do_not_move():
    shared = np.ones(3)
    for arrays in ([shared, shared], [shared[:2], shared[1:]], [shared, np.ones(3, np.float32)]):
        parameters = [nn.Parameter(array) for array in arrays]
        assert one_block(parameters) is None
        for parameter, array in zip(parameters, arrays, strict=True):
            assert parameter.data.ctypes.data == array.ctypes.data
    one = nn.Parameter(shared)
    assert one_block([one, one]) is None

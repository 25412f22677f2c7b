"""Optimizers by their formulas, what they refuse, copies; clipping. PyTorch's results are in test_torch.py."""

import copy
import math
import pickle

import joblib
import numpy as np
import pytest

from fastprop import kernels, nn

F64 = {"rtol": 1e-12, "atol": 1e-15}


@pytest.fixture
def parameter(rng):
    parameter = nn.Parameter(rng.normal(size=(3, 4)))
    parameter.grad = rng.normal(size=(3, 4))
    return parameter


def test_sgd_by_its_formula(parameter):
    p, g, v = parameter.data.copy(), parameter.grad.copy(), 0.0
    optimizer = nn.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        optimizer.step()
        v = 0.9 * v + g + 0.01 * p
        p -= 0.1 * v
        np.testing.assert_allclose(parameter.data, p, **F64)


def test_nesterov_by_its_formula(parameter):
    p, g, v = parameter.data.copy(), parameter.grad.copy(), 0.0
    optimizer = nn.SGD([parameter], lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(3):
        optimizer.step()
        v = 0.9 * v + g
        p -= 0.1 * (g + 0.9 * v)
        np.testing.assert_allclose(parameter.data, p, **F64)


@pytest.mark.parametrize("eps_hat", [True, False])
def test_adam_by_its_formula(parameter, eps_hat):
    p, m, v = parameter.data.copy(), 0.0, 0.0
    optimizer = nn.Adam([parameter], lr=0.1, betas=(0.8, 0.9), eps=0.01, weight_decay=0.3, eps_hat=eps_hat)
    for t in range(1, 4):
        optimizer.step()
        g = parameter.grad + 0.3 * p
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        root = np.sqrt(v) / (1 if eps_hat else math.sqrt(1 - 0.9**t)) + 0.01
        p -= 0.1 * (math.sqrt(1 - 0.9**t) if eps_hat else 1) / (1 - 0.8**t) * m / root
        np.testing.assert_allclose(parameter.data, p, **F64)


def test_adamw_decays_apart_from_the_gradient(parameter):
    before = parameter.data.copy()
    parameter.grad = np.zeros((3, 4))
    nn.AdamW([parameter], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(parameter.data, 0.95 * before, **F64)


def test_rmsprop_by_its_formula(parameter):
    p = parameter.data.copy()
    g = parameter.grad + 0.3 * p
    nn.RMSprop([parameter], lr=0.1, alpha=0.9, eps=0.01, weight_decay=0.3).step()
    np.testing.assert_allclose(parameter.data, p - 0.1 * g / (np.sqrt(0.1 * g * g) + 0.01), **F64)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_a_parameter_without_gradient_stays_and_zero_grad_sets_zeros(parameter, name):
    other = nn.Parameter(np.ones(2))
    optimizer = getattr(nn, name)([parameter, other], lr=0.1)
    before = parameter.data.copy()
    gradient = parameter.grad.copy()
    optimizer.step()
    assert (other.data == 1).all()
    assert (parameter.data != before).all()
    np.testing.assert_array_equal(parameter.grad, gradient)
    optimizer.zero_grad()
    assert not parameter.grad.any()
    assert not other.grad.any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_where_the_original_stands(copied, batch):
    x, y = batch
    model, loss = nn.mlp([4, 5, 3], random_state=0), nn.SoftmaxCrossEntropy()

    def step(model, optimizer):
        loss(model(x), y)
        model.backward(loss.backward())
        optimizer.step()

    optimizer = nn.Adam(model.parameters(), lr=0.1)
    step(model, optimizer)
    twin, twin_optimizer = copied((model, optimizer))
    step(model, optimizer)
    step(twin, twin_optimizer)
    assert twin[0].weight.data is not model[0].weight.data
    np.testing.assert_array_equal(twin[0].weight.data, model[0].weight.data)


def test_what_optimizers_refuse(parameter):
    with pytest.raises(TypeError, match=r"params must be parameters, such as model\.parameters\(\), at least one"):
        nn.SGD([])
    with pytest.raises(TypeError, match="params must be parameters"):
        nn.SGD([np.ones(3)])
    with pytest.raises(ValueError, match="lr and weight_decay must not be negative; got -1 and 0"):
        nn.SGD([parameter], lr=-1)
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\], and above 0 for nesterov"):
        nn.SGD([parameter], nesterov=True)
    with pytest.raises(ValueError, match=r"betas must be in \[0, 1\) and eps above 0"):
        nn.Adam([parameter], betas=(1.0, 0.9))
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\) and eps above 0"):
        nn.RMSprop([parameter], eps=0)


def test_an_assigned_state_is_copied_into_the_optimizers_own(parameter):
    optimizer, other = (
        nn.SGD([parameter], lr=0.1, momentum=0.9),
        nn.SGD([nn.Parameter(parameter.data.copy())], lr=0.1, momentum=0.9),
    )
    (velocity,) = optimizer.state[0]
    optimizer.state = other.state = [[np.full(parameter.shape, 2.0).T.copy().T]]
    assert optimizer.state[0][0] is velocity
    other.parameters[0].grad = parameter.grad
    before = parameter.data.copy()
    optimizer.step()
    other.step()
    np.testing.assert_allclose(parameter.data, before - 0.1 * (0.9 * 2.0 + parameter.grad), **F64)
    np.testing.assert_array_equal(other.parameters[0].data, parameter.data)
    with pytest.raises(TypeError, match="does not support item assignment"):
        optimizer.state[0][0] = np.zeros(parameter.shape)
    with pytest.raises(ValueError, match=r"state must hold arrays of the shapes \[\[\(3, 4\)\]\].*; got \[\[\(2,\)\]\]"):
        optimizer.state = [[np.zeros(2)]]
    np.testing.assert_array_equal(optimizer.state[0][0], velocity)


def test_training_goes_on_after_loading_as_a_read_only_memory_map(tmp_path, batch):
    """As joblib may load it; an update that wrote into it would end the process."""
    x, y = batch
    model, loss = nn.Sequential(nn.Linear(4, 3, random_state=0), nn.BatchNorm1d(3)), nn.SoftmaxCrossEntropy()
    optimizer = nn.Adam(model.parameters())

    def step(model, optimizer):
        value = loss(model(x), y)
        model.backward(loss.backward())
        optimizer.step()
        return value

    step(model, optimizer)
    joblib.dump((model, optimizer), tmp_path / "model")
    again, its_optimizer = joblib.load(tmp_path / "model", mmap_mode="r")
    arrays = [again[0].weight.data, again[0].weight.grad, *its_optimizer.state[0], again[1].running_mean]
    assert all(array.flags.writeable for array in arrays)
    assert [step(again, its_optimizer) for _ in range(2)] == [step(model, optimizer) for _ in range(2)]
    np.testing.assert_array_equal(again[1].running_var, model[1].running_var)


def test_repr():
    assert repr(nn.SGD([nn.Parameter([1.0])], lr=0.1)) == "SGD(lr=0.1, weight_decay=0.0, momentum=0.0, nesterov=False)"


def test_clip_grad_norm_keeps_the_direction_and_returns_the_norm_before(rng):
    parameters = [nn.Parameter(np.zeros(shape)) for shape in ((3, 4), (5,))]
    gradients = [rng.normal(size=p.shape) for p in parameters]
    norm = math.sqrt(sum((g**2).sum() for g in gradients))
    for limit, factor in ((norm / 4, 1 / 4), (2 * norm, 1)):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.copy()
        assert nn.clip_grad_norm(parameters, limit) == pytest.approx(norm)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            np.testing.assert_allclose(parameter.grad, factor * gradient, **F64)


def test_a_norm_that_is_not_finite_clips_nothing():
    parameter = nn.Parameter(np.zeros(2))
    parameter.grad = np.array([np.inf, 1.0])
    assert nn.clip_grad_norm([parameter], 1.0) == math.inf
    np.testing.assert_array_equal(parameter.grad, [np.inf, 1.0])


def test_clip_grad_value():
    parameter, empty = nn.Parameter(np.zeros(3)), nn.Parameter(np.zeros(3))
    parameter.grad = np.array([-3.0, 0.5, 2.0])
    nn.clip_grad_value([parameter, empty], 1.0)
    np.testing.assert_array_equal(parameter.grad, [-1.0, 0.5, 1.0])
    assert empty.grad is None
    for clip in (nn.clip_grad_norm, nn.clip_grad_value):
        with pytest.raises(ValueError, match="must be above 0; got 0"):
            clip([parameter], 0)


def test_the_updates_are_the_kernels(parameter):
    p, m, v = parameter.data.copy(), np.zeros((3, 4)), np.zeros((3, 4))
    kernels.adam_update(p, parameter.grad, m, v, lr=0.1)
    nn.Adam([parameter], lr=0.1).step()
    np.testing.assert_array_equal(parameter.data, p)


def test_the_parameters_of_an_optimizer_cannot_be_replaced():
    optimizer = nn.SGD([nn.Parameter(np.zeros(2))])
    with pytest.raises(AttributeError, match="parameters of an optimizer cannot be replaced"):
        optimizer.parameters = optimizer.parameters


def test_what_was_stored_with_lists_loads(parameter):
    """As by earlier versions, which had lists where tuples are now."""
    optimizer = nn.SGD([parameter], lr=0.1, momentum=0.5)
    optimizer.step()
    stored = optimizer.__getstate__()
    stored |= {"parameters": list(stored["parameters"]), "state": [list(slots) for slots in stored["state"]]}
    loaded = object.__new__(nn.SGD)
    loaded.__setstate__(copy.deepcopy(stored))
    for each in (optimizer, loaded):
        each.parameters[0].grad = np.ones(each.parameters[0].shape)
        each.step()
    np.testing.assert_array_equal(loaded.parameters[0].data, optimizer.parameters[0].data)
    np.testing.assert_array_equal(loaded.state, optimizer.state)

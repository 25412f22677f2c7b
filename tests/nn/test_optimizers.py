"""Optimizers by their formulas, what they refuse, copies; clipping. PyTorch's results are in test_torch.py."""

import copy
import math
import pickle
from itertools import pairwise

import joblib
import numpy as np
import pytest

from fastprop import MLPClassifier, Network, kernels, nn, optim
from fastprop.kernels.spec import OPTIMIZERS, hyper_names

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
    with pytest.raises(TypeError, match=r"params must be at least one Parameter, and nothing else, such as model\.parameters\(\)"):
        nn.SGD([])
    with pytest.raises(TypeError, match="params must be at least one Parameter"):
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
    for limit in (norm / 4, norm + 1e-7, 2 * norm):
        factor = min(1, limit / (norm + 1e-6))
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


def test_clipping_is_that_of_the_compiled_loop(rng):
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    model, loss = nn.mlp([4, 5, 3], random_state=0), nn.SoftmaxCrossEntropy()
    network = Network.from_arrays([layer.weight.data for layer in model], [layer.bias.data for layer in model])
    optimizer = optim.SGD(network, 0.1)
    options = {"batch_size": 20, "clip_norm": 0.1}
    network.train_epochs(network.training_set(x, y), np.arange(20)[None], optimizer, np.empty(1), **options)
    loss(model(x), y)
    model.backward(loss.backward())
    assert nn.clip_grad_norm(model.parameters(), 0.1) > 0.1
    nn.SGD(model.parameters(), 0.1).step()
    for layer, weight in zip(model, network.coefs, strict=True):
        np.testing.assert_allclose(layer.weight.data, weight, **F64)


def _counting(monkeypatch):
    """The sizes of the stretches that the kernel is called for, from here on."""
    sizes, update = [], kernels.active.raw.update

    def counted(optimizer, params, *arguments):
        sizes.append(params.size)
        update(optimizer, params, *arguments)

    monkeypatch.setattr(kernels.active.raw, "update", counted)
    return sizes


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_parameters_in_one_block_take_one_call(monkeypatch, rng, name):
    """The same numbers as one by one, also when one of the arrays becomes another."""
    shapes, models = [(3, 4), (4,), (4, 2), (2,)], []
    start, gradient = rng.normal(size=26), rng.normal(size=26)
    ends = np.cumsum([0] + [math.prod(shape) for shape in shapes])
    for in_blocks in (True, False):
        blocks = start.copy(), gradient.copy()
        arrays = [[b[i:j].reshape(s) for (i, j), s in zip(pairwise(ends), shapes, strict=True)] for b in blocks]
        arrays = arrays if in_blocks else [[array.copy() for array in group] for group in arrays]
        parameters = [nn.Parameter(array) for array in arrays[0]]
        for parameter, grad in zip(parameters, arrays[1], strict=True):
            parameter.grad = grad
        models.append((parameters, getattr(nn, name)(parameters, lr=0.1)))
    sizes = _counting(monkeypatch)
    (together, one), (apart, other) = models
    one.step()
    assert sizes == [26]
    other.step()
    assert sizes[1:] == [12, 4, 8, 2]
    together[2].grad, apart[2].grad = np.ones((4, 2)), np.ones((4, 2))  # away from the others
    together[0].grad = apart[0].grad = None
    del sizes[:]
    one.step()
    other.step()
    assert sizes == [4, 8, 2] * 2
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(one.memory, other.memory)


def test_a_models_step_is_one_call(monkeypatch, batch):
    """A copy, which has no blocks, takes a call for each parameter."""
    x, y = batch
    model, loss = nn.Sequential(nn.Linear(4, 5, random_state=0), nn.LayerNorm(5), nn.mlp([5, 4, 3])), nn.SoftmaxCrossEntropy()
    optimizer, sizes = nn.Adam(model.parameters()), _counting(monkeypatch)
    copies = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    for each, its_optimizer in ((model, optimizer), *copies):
        loss(each(x), y)
        each.backward(loss.backward())
        its_optimizer.step()
    assert sizes == [model.n_parameters, *[parameter.size for parameter in model.parameters()] * 2]
    for each, _ in copies:
        for ours, theirs in zip(each.parameters(), model.parameters(), strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data)
    kept = model[0].weight.grad
    model[0].weight.grad = None
    loss(model(x), y)
    model.backward(loss.backward())
    assert not np.shares_memory(model[0].weight.grad, kept)


def test_arrays_that_do_not_follow_each_other_are_not_taken_together(monkeypatch):
    """Reversed, with a gap, and of two dtypes."""
    block, grads, single = np.arange(12.0), np.ones(12), np.arange(4, dtype=np.float32)
    cases = [[block[4:8], block[:4]], [block[:4], block[5:9]], [block[:4], single]]
    sizes = _counting(monkeypatch)
    for arrays in cases:
        parameters = [nn.Parameter(array) for array in arrays]
        for i, parameter in enumerate(parameters):
            parameter.grad = grads[4 * i : 4 * i + 4].astype(parameter.dtype, copy=False)
        before = [array.copy() for array in arrays]
        nn.SGD(parameters, lr=0.5).step()
        for array, old in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, old - 0.5)
    assert sizes == [4] * 6


def test_mixed_dtypes_share_the_memory(rng):
    parameters = [nn.Parameter(rng.normal(size=3).astype(dtype)) for dtype in (np.float32, np.float64, np.float32)]
    alone = [nn.Parameter(p.data.copy()) for p in parameters]
    optimizers = [nn.Adam(parameters, lr=0.1), *(nn.Adam([p], lr=0.1) for p in alone)]
    for p, q in zip(parameters, alone, strict=True):
        p.grad = q.grad = rng.normal(size=3)
    for optimizer in (*optimizers, copy.deepcopy(optimizers[0])):
        optimizer.step()
    optimizers[0] = pickle.loads(pickle.dumps(optimizers[0]))
    assert [slot.dtype for slot, _ in optimizers[0].state] == [np.float32, np.float64, np.float32]
    for p, q, state, alone_ in zip(parameters, alone, optimizers[0].state, optimizers[1:], strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        np.testing.assert_array_equal(state, alone_.state[0])


def test_one_block_of_memory(parameter):
    optimizer = nn.Adam([parameter, nn.Parameter(np.zeros(2))])
    assert optimizer.memory.shape == (2, 14)
    assert all(np.shares_memory(slot, optimizer.memory) for slots in optimizer.state for slot in slots)
    with pytest.raises(AttributeError, match="memory of an optimizer cannot be replaced"):
        optimizer.memory = np.zeros((2, 14))
    assert [nn.Adam([parameter], eps_hat=hat).name for hat in (True, False)] == ["adam", "adamw"]


@pytest.mark.parametrize("make", [nn.SGD, nn.Adam, nn.AdamW, nn.RMSprop, optim.StepSGD])
def test_hyper_has_the_order_of_the_specification(parameter, make):
    optimizer = make([parameter], weight_decay=0.25)
    hyper = dict(zip(hyper_names(optimizer.name), optimizer.hyper, strict=True))
    assert hyper["lr"] == optimizer.lr
    assert (hyper["l2"], hyper["weight_decay"]) == ((0, 0.25) if make is nn.AdamW else (0.25, 0))
    names = {"epsilon": "eps", "beta_1": "betas", "beta_2": "betas"}
    for name in OPTIMIZERS[optimizer.name].hyper:
        value = getattr(optimizer, names.get(name, name))
        assert hyper[name] == (value[name == "beta_2"] if type(value) is tuple else value)


def test_an_optimizer_of_another_family_is_refused(rng):
    X, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    model, loss = nn.mlp([4, 5, 3], random_state=0), nn.SoftmaxCrossEntropy()
    estimators = MLPClassifier((5,)).partial_fit(X, y, classes=[0, 1, 2])._optimizer
    before = model.state_dict()
    for wrong in (estimators, None, "adam"):
        with pytest.raises(TypeError, match=r"optimizer must be an optimizer of fastprop\.nn, such as nn\.Adam.*; got"):
            model.fit(X, y, loss, wrong)
    networks = optim.Adam(Network([4, 5, 3]))
    with pytest.raises(ValueError, match="optimizer has none of the model's parameters"):
        model.fit(X, y, loss, networks)
    with pytest.raises(TypeError, match="made for a Network, whose train_epoch does the steps"):
        networks.step()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rate_of_zero_keeps_the_velocity(rng, dtype, compiled):
    X, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    model, loss = nn.mlp([4, 5, 3], random_state=0, dtype=dtype), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.fit(X, y, loss, optimizer, epochs=1, batch_size=20, shuffle=False, compiled=compiled)
    velocity, before, optimizer.lr = optimizer.memory.copy(), model.state_dict(), 0.0
    loss(model(X), y)
    model.backward(loss.backward())
    gradient = np.concatenate([parameter.grad.ravel() for parameter in model.parameters()])
    model.fit(X, y, loss, optimizer, epochs=2, batch_size=20, shuffle=False, compiled=compiled)
    expected = 0.81 * velocity[0] + 1.9 * gradient
    np.testing.assert_allclose(optimizer.memory[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_was_stored_with_lists_loads(parameter):
    """As by earlier versions, which had lists where tuples are now."""
    optimizer = nn.SGD([parameter], lr=0.1, momentum=0.5)
    optimizer.step()
    fields = {"lr": 0.1, "weight_decay": 0.0, "t": 1, "momentum": 0.5, "nesterov": False}
    stored = fields | {"parameters": [parameter], "state": [list(slots) for slots in optimizer.state]}
    loaded = object.__new__(nn.SGD)
    loaded.__setstate__(copy.deepcopy(stored))
    for each in (optimizer, loaded):
        each.parameters[0].grad = np.ones(each.parameters[0].shape)
        each.step()
    np.testing.assert_array_equal(loaded.parameters[0].data, optimizer.parameters[0].data)
    np.testing.assert_array_equal(loaded.state, optimizer.state)

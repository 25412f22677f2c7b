"""Parameter and Module: what is found inside, modes, state, files, repr, and errors that name the layer."""

import copy
import pickle

import numpy as np
import pytest

from fastprop import nn


def everything():
    """A model with every layer, for 4 columns."""
    rng = np.random.default_rng(0)
    x = nn.Input()
    layers = [
        nn.Linear(4, 6, activation="relu", random_state=rng),
        nn.BatchNorm1d(6, momentum=0.2),
        nn.Residual(nn.Sequential(nn.LayerNorm(6), nn.Tanh(), nn.Dropout(0.2, random_state=1))),
        nn.Checkpoint(nn.Highway(6, random_state=rng)),
        nn.DenseConcat([nn.Linear(6, 2, bias=False, random_state=rng), nn.Sigmoid()]),
        nn.Graph(x, nn.Linear(16, 16, random_state=rng)(x) * x + nn.Identity()(x)),
        nn.ReLU(),
        nn.Softmax(),
    ]
    return nn.Sequential(*layers, checkpoint_every=3)


def test_parameters_are_found_by_name_and_in_order():
    model = nn.Sequential(nn.Linear(4, 8, random_state=0), nn.Residual(nn.Linear(8, 8, bias=False, random_state=0)))
    assert [(name, p.shape) for name, p in model.named_parameters()] == [
        ("0.weight", (4, 8)),
        ("0.bias", (8,)),
        ("1.block.weight", (8, 8)),
    ]
    assert model.parameters() == [p for _, p in model.named_parameters()]
    assert model.n_parameters == 32 + 8 + 64
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "1.block"]


def test_assigned_data_are_copied_into_the_parameter():
    parameter = nn.Parameter(np.zeros((2, 3)))
    array = parameter.data
    parameter.data = np.ones((2, 3), np.float32)
    assert parameter.data is array
    assert (array == 1).all()
    parameter.data -= 0.5
    assert parameter.data is array
    with pytest.raises(ValueError, match=r"data of this parameter must have shape \(2, 3\); got \(3, 2\)"):
        parameter.data = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"grad of this parameter must have shape \(2, 3\); got \(2,\)"):
        parameter.grad = np.ones(2)
    with pytest.raises(TypeError, match="a parameter must be float32 or float64; got int64"):
        nn.Parameter([1, 2])
    for values, dtype in ((np.ones((2, 3), complex), "complex128"), (np.full((2, 3), "1"), "str")):
        with pytest.raises(TypeError, match=f"data must be an array of real numbers; got dtype {dtype}"):
            parameter.data = values


def test_a_parameter_of_any_memory_order_and_byte_order(rng):
    for array in (rng.normal(size=(4, 3)).T, rng.normal(size=(6, 8))[::2, ::2], np.arange(3, dtype=">f8"), np.array(2.0)):
        array.setflags(write=False)
        parameter = nn.Parameter(array)
        parameter.grad = parameter.data = array
        for own in (parameter.data, parameter.grad):
            np.testing.assert_array_equal(own, array)
            assert own.flags.carray
            assert own.dtype == np.float64
    for wrong in (["1.0"], [1j], [None]):
        for name in ("data", "grad"):
            with pytest.raises(TypeError, match=f"{name} must be an array of real numbers; got dtype"):
                setattr(nn.Parameter([0.0]), name, wrong)


def test_modes_reach_every_module_inside():
    model = everything()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.train().modules())
    model.set_n_threads(2)
    assert {module.n_threads for module in model.modules()} == {2}


def test_state_dict_is_a_copy_and_comes_back(rng):
    model, other = everything(), everything()
    model(rng.normal(size=(5, 4)))
    state = model.state_dict()
    assert {"1.running_mean", "1.running_var", "0.weight", "3.block.gate.bias"} <= set(state)
    other.load_state_dict(state)
    x = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(other.eval()(x), model.eval()(x))
    state["0.weight"][...] = 7
    assert not (model[0].weight.data == 7).any()


def test_a_state_that_does_not_fit_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 3, random_state=0))
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"missing \['0.bias'\], unknown \['1.bias'\]"):
        model.load_state_dict({"0.weight": np.ones((2, 3)), "1.bias": np.ones(3)})
    with pytest.raises(ValueError, match=r"0.bias must have shape \(3,\); got \(2,\)"):
        model.load_state_dict({"0.weight": np.ones((2, 3)), "0.bias": np.ones(2)})
    with pytest.raises(TypeError, match=r"0.bias must be an array of real numbers; got dtype complex128"):
        model.load_state_dict({"0.weight": np.ones((2, 3)), "0.bias": np.ones(3, complex)})
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "model"])
def test_save_and_load(tmp_path, rng, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    model, x = everything(), rng.normal(size=(5, 4))
    model(x)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    loaded = nn.load(path)
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.eval()(x), model.eval()(x))
    np.testing.assert_array_equal(loaded.train()(x), everything()(x))  # the same seed of dropout


def test_float32_stays_float32_in_files(tmp_path):
    model = nn.mlp([2, 3, 1], random_state=0, dtype=np.float32)
    model.save(tmp_path / "m.npz")
    assert nn.load(tmp_path / "m.npz")(np.ones((1, 2))).dtype == np.float32


class Doubling(nn.Module):
    """A layer of the user's."""

    def __init__(self, factor=2.0):
        self.factor = factor

    def forward(self, x):
        return self.factor * x

    def backward(self, dout, accumulate=False):
        return self.factor * dout


def test_classes_and_activations_of_ones_own_are_named_when_loading(tmp_path, rng):
    def own(name):
        return nn.Activation(np.sin, np.cos, name=name)

    model, x = nn.Sequential(nn.Linear(2, 2, random_state=0), own("wave"), Doubling(3.0)), rng.normal(size=(3, 2))
    model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"needs 'Activation:wave', which is unknown: pass it in load\(path, custom="):
        nn.load(tmp_path / "m.npz", custom=[own("other"), Doubling])
    loaded = nn.load(tmp_path / "m.npz", custom=[own("wave"), Doubling])
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_class_that_does_not_keep_its_arguments_cannot_be_saved(tmp_path):
    class Scaled(nn.Identity):
        def __init__(self, scale):
            pass

    assert repr(Scaled(3)) == "Scaled(...)"
    with pytest.raises(AttributeError, match=r"a Scaled must have its arguments as attributes to be saved; missing \['scale'\]"):
        Scaled(3).save(tmp_path / "m.npz")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: b"junk", lambda whole: whole[: len(whole) // 2]])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    path = tmp_path / f"m.{suffix}"
    everything().save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"m\.{suffix} is not a file that Module\.save wrote, or it is damaged"):
        nn.load(path)


def test_a_lone_array_is_no_model(tmp_path):
    np.save(tmp_path / "m.npy", np.ones(2))
    with pytest.raises(ValueError, match=r"m\.npy is not a file that Module\.save wrote"):
        nn.load(tmp_path / "m.npy")


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"holds no model written by Module\.save"):
        nn.load(tmp_path / "m.npz")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_independent_and_carry_no_batch(copied, rng):
    model, x = everything(), rng.normal(size=(5, 4))
    model(x)
    other = copied(model)
    assert all(module._saved is None for module in other.modules())
    np.testing.assert_array_equal(other.eval()(x), model.eval()(x))
    other[0].weight.data[...] = 0
    assert model[0].weight.data.any()


def test_repr_shows_shapes_and_parameter_counts():
    assert repr(nn.Sequential(nn.Linear(4, 8, activation="relu", random_state=0), nn.Residual(nn.LayerNorm(8)))) == (
        "Sequential(  # 56 parameters\n"
        "  (0): Linear(4, 8, activation='relu')  # 40 parameters: weight (4, 8), bias (8,)\n"
        "  (1): Residual(  # 16 parameters\n"
        "    (block): LayerNorm(8)  # 16 parameters: weight (8,), bias (8,)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Linear(2, 3, bias=False, random_state=0, dtype=np.float32)) == "Linear(2, 3, bias=False, dtype=float32)"
    assert repr(everything()).startswith("Sequential(  # ")


def test_a_layer_has_one_place():
    layer = nn.Linear(3, 3, random_state=0)
    with pytest.raises(ValueError, match=r"layer 2, Linear\(3, 3\), is in the model twice"):
        nn.Sequential(layer, nn.ReLU(), nn.Residual(layer))
    with pytest.raises(TypeError, match="layer 1 must be a Module; got function"):
        nn.Sequential(layer, lambda x: x)


def nested():
    inner = nn.Sequential(nn.Linear(8, 8, random_state=0), nn.Linear(9, 3, random_state=0))
    return nn.Sequential(nn.Linear(4, 8, random_state=0), nn.Residual(inner))


def test_errors_name_the_layer_and_the_shapes(rng):
    with pytest.raises(nn.ShapeError, match=r"^layer '0', Linear\(4, 8\): x must have shape \(n, 4\); got \(5, 3\)$"):
        nested()(np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"^layer '1\.block\.1', Linear\(9, 3\): x must have shape \(n, 9\); got \(5, 8\)$"):
        nested()(np.ones((5, 4)))
    model = nn.Sequential(nn.Linear(4, 3, random_state=0), nn.ReLU())
    model(np.ones((5, 4)))
    with pytest.raises(nn.ShapeError, match=r"^layer '1', ReLU\(\): dout must have shape \(5, 3\); got \(5, 4\)$"):
        model.backward(np.ones((5, 4)))
    with pytest.raises(nn.ShapeError, match=r"x must be an array of real numbers; got dtype complex128"):
        model(np.ones((5, 4), complex))
    # Without a name where the layer is what was called.
    with pytest.raises(nn.ShapeError, match=r"^Linear\(4, 3\): x must have shape \(n, 4\); got \(3,\)$"):
        model[0](np.ones(3))


def test_arrays_that_were_put_in_the_place_of_a_layers_own_are_checked():
    """The kernels would read beyond the end of a smaller one."""
    x = np.ones((2, 4))
    linear, norm = nn.Linear(4, 3), nn.BatchNorm1d(4)
    linear.weight = nn.Parameter(np.ones((3, 3)))
    with pytest.raises(nn.ShapeError, match=r"Linear\(4, 3\): weight must have shape \(4, 3\); got \(3, 3\)"):
        linear(x)
    norm.running_var = np.ones(3)
    with pytest.raises(nn.ShapeError, match=r"BatchNorm1d\(4\): running_var must have shape \(4,\); got \(3,\)"):
        norm.eval()(x)


def test_wrong_gradients_into_joints_name_the_joint():
    x, y = nn.Input(), nn.Input()
    for module in (nn.Add(), nn.Multiply(), nn.Concat()):
        graph = nn.Graph([x, y], module(x, y))
        graph(np.ones((2, 3)), np.ones((2, 3)))
        with pytest.raises(nn.ShapeError, match=r"^layer '0', \w+\(\): dout must have shape \(2, \d\); got \(2, 2\)"):
            graph.backward(np.ones((2, 2)))


ALL_LAYERS = {
    "Linear": lambda: nn.Linear(3, 3, random_state=0),
    "Highway": lambda: nn.Highway(3, random_state=0),
    "Residual": lambda: nn.Residual(nn.Tanh()),
    "DenseConcat": lambda: nn.DenseConcat([nn.Tanh()]),
    "Checkpoint": lambda: nn.Checkpoint(nn.Tanh()),
    "Graph": lambda: nn.Graph(x := nn.Input(), nn.Tanh()(x)),
    "Activation": lambda: nn.Activation(np.sin, np.cos),
    **{
        name: (lambda name=name: getattr(nn, name)())
        for name in ("Identity", "ReLU", "Sigmoid", "Tanh", "Softmax", "Dropout", "Add", "Multiply", "Concat")
    },
    **{name: (lambda name=name: getattr(nn, name)(3)) for name in ("LayerNorm", "BatchNorm1d")},
}


@pytest.mark.parametrize("name", ALL_LAYERS)
def test_backward_needs_a_forward_in_training_mode(name, rng):
    layer = ALL_LAYERS[name]()
    x = [rng.normal(size=(4, 3))] * (2 if name in ("Add", "Multiply", "Concat") else 1)
    dout = np.ones((4, 6 if name in ("DenseConcat", "Concat") else 3))
    model = nn.Sequential(layer)
    with pytest.raises(nn.NoForwardError, match=r"^layer '0.*backward needs a forward in training mode before it$"):
        model.backward(dout)
    layer(*x)
    layer.backward(dout)
    layer.eval()(*x)
    with pytest.raises(RuntimeError, match=r"it is in evaluation mode, which keeps nothing: call train\(\) first"):
        layer.backward(dout)
    if name != "Residual":  # keeps nothing itself
        assert all(module._saved is None for module in layer.modules())


@pytest.mark.parametrize("name", ALL_LAYERS)
def test_inputs_are_not_changed_and_outputs_have_the_dtype(name, rng):
    layer = ALL_LAYERS[name]()
    x = [rng.normal(size=(4, 3)) for _ in range(2 if name in ("Add", "Multiply", "Concat") else 1)]
    before = [array.copy() for array in x]
    out = layer(*x)
    dout = np.ones_like(out)
    layer.backward(dout)
    for array, copied in zip(x, before, strict=True):
        np.testing.assert_array_equal(array, copied)
    assert (dout == 1).all()
    assert out.dtype == np.float64
    strided = layer.eval()(*(np.repeat(array, 2, axis=1)[:, ::2] for array in x))
    np.testing.assert_array_equal(strided, layer(*x))

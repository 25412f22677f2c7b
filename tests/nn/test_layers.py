"""Linear, activations, dropout and normalisation: values, options, accumulation."""

import numpy as np
import pytest

from fastprop import kernels, nn

F64 = {"rtol": 1e-12, "atol": 1e-14}


@pytest.mark.parametrize("activation", ["identity", "relu", "sigmoid", "tanh"])
def test_linear_is_its_formula_and_equals_the_activation_as_a_layer(rng, activation):
    x, dout = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    fused = nn.Linear(4, 3, activation=activation, random_state=0)
    layers = {"identity": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    apart = nn.Sequential(nn.Linear(4, 3, random_state=0), layers[activation]())
    fused.bias.data = apart[0].bias.data = rng.normal(size=3)
    np.testing.assert_allclose(fused(x), apart(x), **F64)
    np.testing.assert_allclose(fused.backward(dout), apart.backward(dout), **F64)
    np.testing.assert_allclose(fused.weight.grad, apart[0].weight.grad, **F64)
    if activation == "identity":
        np.testing.assert_allclose(fused(x), x @ fused.weight.data + fused.bias.data, **F64)


def test_linear_without_bias(rng):
    layer, x = nn.Linear(4, 3, bias=False, random_state=0), rng.normal(size=(5, 4))
    assert layer.bias is None
    np.testing.assert_allclose(layer(x), x @ layer.weight.data, **F64)
    layer.backward(np.ones((5, 3)))
    assert (layer(x) == layer.eval()(x)).all()


def test_linear_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"activation must be one of .* put any other activation after this layer.*; got 'relu6'"):
        nn.Linear(2, 3, activation="relu6")
    with pytest.raises(ValueError, match="n_in and n_out must be at least 1; got 0 and 3"):
        nn.Linear(0, 3)
    with pytest.raises(TypeError, match=r"^n_out must be an integer; got 8\.0"):
        nn.Linear(2, 8.0)
    with pytest.raises(TypeError, match=r"^the number of units must be an integer; got '4'"):
        nn.LayerNorm("4")
    with pytest.raises(ValueError, match=r"init must be one of .* got 'he'"):
        nn.Linear(2, 3, init="he")
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got int64"):
        nn.Linear(2, 3, dtype=int)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_numbers_are_converted_to_the_layers_dtype(dtype):
    layer = nn.Linear(2, 3, random_state=0, dtype=dtype)
    for given in ([[1, 2]], np.array([[1, 2]], np.int8), np.array([[1, 2]], ">f8"), np.array([[1, 2]], np.float32)):
        assert layer(given).dtype == dtype
        assert layer.backward(np.ones((1, 3))).dtype == dtype


def test_no_rows_are_fine():
    layers = nn.LayerNorm(4), nn.ReLU(), nn.Dropout(), nn.Softmax()
    model = nn.Sequential(nn.Linear(3, 4, activation="tanh", random_state=0), *layers)
    assert model(np.ones((0, 3))).shape == (0, 4)
    assert model.backward(np.ones((0, 4))).shape == (0, 3)
    assert not model[0].weight.grad.any()


def test_gradients_are_overwritten_unless_accumulated(rng):
    model = nn.Sequential(
        nn.Linear(4, 5, random_state=0), nn.LayerNorm(5), nn.Highway(5, random_state=1), nn.Linear(5, 2, bias=False, random_state=2)
    )
    x, dout = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    model(x)
    model.backward(dout)
    once = [p.grad.copy() for p in model.parameters()]
    model.backward(dout)
    for parameter, gradient in zip(model.parameters(), once, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)
    model.backward(dout, accumulate=True)
    for parameter, gradient in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * gradient, **F64)


def test_need_dx_saves_only_the_gradient_by_the_input(rng):
    x, dout = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    for model in (nn.mlp([4, 3, 2], random_state=0), nn.Sequential(nn.mlp([4, 3, 2], random_state=0))):
        model(x)
        model.backward(dout)
        expected = [p.grad.copy() for p in model.parameters()]
        assert model.backward(dout, need_dx=False) is None
        for parameter, gradient in zip(model.parameters(), expected, strict=True):
            np.testing.assert_array_equal(parameter.grad, gradient)


def test_dropout_scales_what_it_keeps_and_does_nothing_in_evaluation():
    layer, x = nn.Dropout(0.25, random_state=3), np.ones((200, 100))
    y = layer(x)
    kept = y != 0
    np.testing.assert_array_equal(y[kept], 1 / 0.75)
    # The share of 20,000 independent draws: standard deviation sqrt(0.75 * 0.25 / 20000) = 0.003.
    assert abs(kept.mean() - 0.75) < 5 * 0.0031
    np.testing.assert_array_equal(layer.backward(x) != 0, kept)
    assert layer.eval()(x) is x


def test_dropout_is_reproducible_and_fresh_every_time():
    x = np.ones((20, 10))
    runs = []
    for _ in range(2):
        layer = nn.Dropout(0.5, random_state=7)
        runs.append([layer(x), layer(x)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][0] != runs[0][1]).any()
    assert (nn.Dropout(0.5, random_state=8)(x) != runs[0][0]).any()
    expected = kernels.dropout_forward(x, 0.5, seed=7, stream=1)
    np.testing.assert_array_equal(runs[0][0], expected)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_dropout_refuses_a_rate_outside(p):
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\)"):
        nn.Dropout(p)


def test_norms_normalise(rng):
    x = rng.normal(3, 5, size=(40, 8))
    for layer, axis in ((nn.LayerNorm(8, eps=1e-12), 1), (nn.BatchNorm1d(8, eps=1e-12), 0)):
        y = layer(x)
        np.testing.assert_allclose(y.mean(axis=axis), 0, atol=1e-12)
        np.testing.assert_allclose(y.var(axis=axis), 1, rtol=1e-9)
        layer.weight.data, layer.bias.data = np.full(8, 2.0), np.full(8, 3.0)
        np.testing.assert_allclose(layer(x), 2 * y + 3, **F64)


def test_batch_norm_learns_running_statistics_and_uses_them_in_evaluation(rng):
    layer = nn.BatchNorm1d(3, momentum=0.5)
    batches = [rng.normal(2, 3, size=(10, 3)) for _ in range(3)]
    mean, var = np.zeros(3), np.ones(3)
    for x in batches:
        layer(x)
        mean, var = (mean + x.mean(axis=0)) / 2, (var + x.var(axis=0, ddof=1)) / 2
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-9)
    np.testing.assert_allclose(layer.eval()(x), (x - mean) / np.sqrt(var + layer.eps), rtol=1e-9)


def test_batch_norm_needs_two_rows_in_training():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(nn.ShapeError, match="at least 2 rows in training mode, as one row has no variance"):
        layer(np.ones((1, 3)))
    assert layer.eval()(np.ones((1, 3))).shape == (1, 3)


def test_softmax_needs_a_class():
    with pytest.raises(nn.ShapeError, match=r"Softmax\(\): x must have at least one class; got shape \(2, 0\)"):
        nn.Softmax()(np.ones((2, 0)))

"""Systems 11 to 20: depth. How gradients vanish and explode, and clipping, regularisation, branches, memory and beginnings."""

import math
import tracemalloc
import warnings

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import GradientFlow, GradientFlowDisplay, GradientWarning, check_gradients, gradient_flow

X, Y = np.random.default_rng(1).normal(size=(64, 50)), np.random.default_rng(2).integers(0, 10, 64)


def _orthogonal(layer, random_state):
    """Weights of norm 1 that turn and reflect, so that only the activations change the size of a gradient."""
    layer.weight.data = np.linalg.qr(np.random.default_rng(random_state).normal(size=layer.weight.shape))[0]


def test_s11_gradient_flow(figure):
    ratios, flows = {}, {}
    for activation, init in (("sigmoid", "xavier_normal"), ("relu", "he_normal")):
        model = nn.mlp([50] * 9 + [10], activation, init=init, random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            flow = flows[activation] = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, Y)
        vanishes = [warning for warning in caught if "the gradient vanishes on its way back" in str(warning.message)]
        assert len(vanishes) == (activation == "sigmoid")
        ratios[activation] = flow.ratio()
        figure(f"{activation}, 8 layers of 50, gradient at first / last layer", f"{flow.ratio():.2e}")
    assert ratios["sigmoid"] < 1e-3 < 0.1 < ratios["relu"] < 10

    turning = nn.Sequential(*(nn.Linear(50, 50, activation="sigmoid", init=_orthogonal, random_state=seed) for seed in range(8)))
    outputs = GradientFlow(turning, at="outputs", vanishing_limit=0)
    turning(X)
    dx = outputs.backward(np.ones((64, 50)))
    shrunk = np.linalg.norm(dx) / outputs.norms[0, -1]
    figure("sigmoid, 8 layers with weights of norm 1, |dx| / |dout|", f"{shrunk:.2e}; bound 0.25^8 = {0.25**8:.2e}")
    assert shrunk <= 0.25**8
    assert (outputs.norms[0, :-1] <= 0.25 * outputs.norms[0, 1:]).all()  # and layer by layer

    matplotlib = pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    matplotlib.use("Agg")
    ax = None
    for activation, flow in flows.items():
        display = GradientFlowDisplay.from_flow(flow, "bars", ax, name=activation)
        ax = display.ax_
        heights = [bar.get_height() for bar in display.bars_]
        np.testing.assert_array_equal(heights, [*flow.norms[0], flow.input_norms[0]])
    assert ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == [*map(str, range(9)), "input"]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [f"{activation}\nfirst / last layer: {ratio:.2g}" for activation, ratio in ratios.items()]


def test_s12_exploding_gradients(figure):
    """With ReLU and no biases, weights s times as large make the gradient s^(L - l) times as large on its way to layer l."""
    ratios = []
    for scale in (1, 3):
        model = nn.mlp([50] * 10, "relu", random_state=0)
        for layer in model:
            layer.weight.data *= scale
        flow = GradientFlow(model, at="outputs", growth_limit=np.inf)
        model(X)
        flow.backward(np.ones((64, 50)))
        ratios.append(flow.ratio())
    figure("growth over 8 layers with 3 times the weights", f"{ratios[1] / ratios[0]:.6f}; 3^8 = {3**8}")
    assert ratios[1] / ratios[0] == pytest.approx(3**8, rel=1e-9)

    # Weights that turn and stretch by 2, and no activation: the growth is exactly |W|^(L - l).
    stretching = nn.Sequential(*(nn.Linear(50, 50, init=_orthogonal, random_state=seed) for seed in range(9)))
    for layer in stretching:
        layer.weight.data *= 2
    flow = GradientFlow(stretching, at="outputs")
    stretching(X)
    flow.backward(np.ones((64, 50)))
    bound = flow.bound()
    figure("growth with |W| = 2", f"{flow.ratio():.6f}; |W|^8 = {bound['0'].weight_norms:.6f}")
    for i, row in enumerate(bound.rows[1:]):
        assert row.weight_norms == pytest.approx(2 ** (8 - i), rel=1e-12)
        assert row.norm == pytest.approx(row.weight_norms * flow.norms[0, -1], rel=1e-12)

    model(X)
    with pytest.warns(GradientWarning, match="explodes on its way back: norm .* at layer '8', .* at layer '0'"):
        GradientFlow(model, at="outputs").backward(np.ones((64, 50)))
    model(X)
    with np.errstate(invalid="ignore"), pytest.warns(GradientWarning, match="gradient of layer '8' is not finite"):
        GradientFlow(model).backward(np.full((64, 50), np.inf))
    flow = GradientFlow(model, growth_limit=np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            flow.backward(np.ones((64, 50)))
    with pytest.warns(GradientWarning, match="step 6: the gradient of layer '[0-8]' spikes"):
        flow.backward(np.full((64, 50), 20.0))

    # Inside fit, in compiled epochs: the flow warns before the first step, and the stop names the layer where numbers overflow.
    labels, loss = np.arange(64) % 10, nn.SoftmaxCrossEntropy()
    options = {"flow": GradientFlow(model, at="outputs"), "epochs": 1, "compiled": True}
    with pytest.warns(GradientWarning, match="step 1: the gradient explodes on its way back: .* at layer '8', .* at layer '0'"):
        model.fit(X, labels, loss, nn.SGD(model.parameters(), lr=1e-9), **options)
    before = model[4].weight.data.copy()
    message = r"training stops in epoch 0, .*: the first value that is not finite, in batch 1, is the output of layer '\d', Linear"
    with pytest.warns(RuntimeWarning, match=message):
        model.fit(X, labels, loss, nn.SGD(model.parameters(), lr=1e60), epochs=9, compiled=True)
    np.testing.assert_array_equal(model[4].weight.data, before)


def test_s13_clipping(figure):
    model, loss = nn.mlp([50, 20, 10], random_state=0), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(model.parameters(), lr=1.0)

    def gradient():
        loss(model(X), Y)
        model.backward(loss.backward())
        return np.concatenate([p.grad.ravel() for p in model.parameters()])

    before = gradient()
    norm = nn.clip_grad_norm(model.parameters(), 0.1)
    after = np.concatenate([p.grad.ravel() for p in model.parameters()])
    figure("norm before and after clipping to 0.1", f"{norm:.4f}, {np.linalg.norm(after):.4f}")
    assert norm == pytest.approx(np.linalg.norm(before), rel=1e-12)
    assert np.linalg.norm(after) == pytest.approx(0.1 * norm / (norm + 1e-6), rel=1e-12)  # PyTorch's factor
    np.testing.assert_allclose(after / np.linalg.norm(after), before / norm, rtol=1e-10, atol=1e-15)  # the direction is kept
    params = np.concatenate([p.data.ravel() for p in model.parameters()])
    optimizer.step()
    assert np.linalg.norm(np.concatenate([p.data.ravel() for p in model.parameters()]) - params) == pytest.approx(0.1, rel=1e-6)

    before = gradient()
    nn.clip_grad_value(model.parameters(), 0.01)
    np.testing.assert_array_equal(np.concatenate([p.grad.ravel() for p in model.parameters()]), np.clip(before, -0.01, 0.01))


def test_s14_dropout(figure):
    x, dropout = np.ones((200, 500)), nn.Dropout(0.3, random_state=5)
    y = dropout(x)
    kept = y != 0
    figure("share kept with p = 0.3, mean of the outputs", f"{kept.mean():.4f}, {y.mean():.4f}")
    assert kept.mean() == pytest.approx(0.7, abs=0.01)
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-15)  # inverted scaling: the mean stays
    np.testing.assert_array_equal(dropout.backward(x), y)  # the same mask, the same scale
    assert (dropout(x) != y).any()
    np.testing.assert_array_equal(nn.Dropout(0.3, random_state=5)(x), y)  # reproducible
    np.testing.assert_array_equal(dropout.eval()(x), x)


def test_s15_batch_and_layer_normalisation(rng):
    x = rng.normal(3, 5, size=(32, 6))
    batch, layer = nn.BatchNorm1d(6), nn.LayerNorm(6)
    for norm, axis in ((batch, 0), (layer, 1)):
        centred = x - x.mean(axis=axis, keepdims=True)
        expected = centred / np.sqrt((centred**2).mean(axis=axis, keepdims=True) + 1e-5)
        np.testing.assert_allclose(norm(x), expected, rtol=1e-10, atol=1e-12)
        check = check_gradients(nn.Sequential(norm), nn.MSELoss(), x, rng.normal(size=x.shape))
        assert check.verdict == "correct"
        assert max(row.relative_error for row in check.rows) < 1e-7
    for _ in range(300):
        batch(x)
    np.testing.assert_allclose(batch.running_mean, x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(batch.running_var, x.var(axis=0, ddof=1), rtol=1e-9)
    row = batch.eval()(x[:1])  # evaluation: one row is enough, and it does not depend on others
    np.testing.assert_allclose(row, (x[:1] - batch.running_mean) / np.sqrt(batch.running_var + 1e-5), rtol=1e-10)


def test_s16_residual_block(figure, rng):
    inner = nn.Linear(50, 50, activation="tanh", random_state=0)
    block = nn.Residual(inner)
    np.testing.assert_allclose(block(X), inner(X) + X, rtol=1e-13)
    dout = rng.normal(size=X.shape)
    np.testing.assert_allclose(block.backward(dout), inner.backward(dout) + dout, rtol=1e-12)  # the identity term

    def layers():
        return [nn.Linear(50, 50, activation="sigmoid", init="xavier_normal", random_state=seed) for seed in range(8)]

    deep = nn.Sequential(*layers()), nn.Sequential(*(nn.Residual(layer) for layer in layers()))
    options = {"at": "outputs", "vanishing_limit": 0}
    plain, residual = (gradient_flow(model, nn.MSELoss(), X, X, **options).ratio() for model in deep)
    figure("sigmoid, 8 layers, first / last: plain, residual", f"{plain:.1e}, {residual:.2f}")
    assert plain < 1e-3 < 0.5 < residual


def test_s17_highway_layer(rng):
    layer = nn.Highway(5, activation="tanh", random_state=0)
    x = rng.normal(size=(7, 5))
    gate = 1 / (1 + np.exp(-(x @ layer.gate.weight.data + layer.gate.bias.data)))
    f = np.tanh(x @ layer.transform.weight.data + layer.transform.bias.data)
    np.testing.assert_allclose(layer(x), gate * f + (1 - gate) * x, rtol=1e-12, atol=1e-14)
    layer.gate.bias.data[:] = -40
    np.testing.assert_allclose(layer(x), x, rtol=1e-12)  # a closed gate carries x through
    layer.gate.bias.data[:] = 0.5
    assert check_gradients(nn.Sequential(layer), nn.MSELoss(), x, rng.normal(size=(7, 5))).verdict == "correct"


def test_s18_dense_connections(rng):
    blocks = [nn.Linear(4, 3, activation="relu", random_state=0), nn.Linear(7, 2, random_state=1), nn.Linear(9, 2, random_state=2)]
    dense, x = nn.DenseConcat(blocks), rng.normal(size=(5, 4))
    outputs = [x]
    for block in blocks:
        outputs.append(block(np.hstack(outputs)))
    np.testing.assert_array_equal(dense(x), np.hstack(outputs))
    assert check_gradients(dense, nn.MSELoss(), x, rng.normal(size=(5, 11))).verdict == "correct"


class _Counted(nn.Tanh):
    forwards = 0

    def forward(self, x):
        self.forwards += 1
        return super().forward(x)


def _step_memory(n_layers, every):
    """(peak memory of a step in arrays of the size of a layer's output, forwards of each layer)."""
    layers, x = [_Counted() for _ in range(n_layers)], np.ones((200, 500))
    model = nn.Sequential(*layers, checkpoint_every=every)
    tracemalloc.start()
    model.backward(model(x))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / x.nbytes, {layer.forwards for layer in layers}


def test_s19_gradient_checkpointing(figure):
    depths = [16, 64, 256]
    plain, checkpointed = [], []
    for depth in depths:
        arrays, forwards = _step_memory(depth, None)
        assert forwards == {1}
        plain.append(arrays)
        arrays, forwards = _step_memory(depth, math.isqrt(depth))
        assert forwards == {2}  # one more forward
        checkpointed.append(arrays)
    figure(f"arrays kept at depths {depths}, plain", [round(n, 1) for n in plain])
    figure("the same with checkpoints every sqrt(L) layers", [round(n, 1) for n in checkpointed])
    for depth, with_all, with_some in zip(depths, plain, checkpointed, strict=True):
        assert depth <= with_all < depth + 5  # the NumPy back end needs some for a moment
        assert with_some <= 2 * math.sqrt(depth) + 5

    def gradients(every):
        layers = [nn.Linear(50, 50, activation="tanh", random_state=seed) for seed in range(9)]
        model, loss = nn.Sequential(*layers, nn.Dropout(0.5, random_state=0), checkpoint_every=every), nn.MSELoss()
        loss(model(X), X)
        return [model.backward(loss.backward()), *(layer.weight.grad for layer in layers)]

    for ours, theirs in zip(gradients(3), gradients(None), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_s20_initialisation(figure):
    """He's variance keeps activations and gradients of ReLU, Xavier's those of tanh; smaller weights lose both with depth."""
    layer = nn.Linear(300, 100, init="xavier_normal", random_state=0)
    assert layer.weight.data.var() == pytest.approx(2 / 400, rel=0.03)
    layer = nn.Linear(300, 100, init="xavier_uniform", random_state=0)
    assert np.abs(layer.weight.data).max() == pytest.approx(math.sqrt(6 / 400), rel=1e-3)
    assert nn.Linear(300, 100, init="he_uniform", random_state=0).weight.data.var() == pytest.approx(2 / 300, rel=0.03)

    def small(layer, random_state):
        layer.weight.data = 0.01 * nn.init.generator(random_state).normal(size=layer.weight.shape)

    found = {}
    for activation, init in (("relu", "he_normal"), ("relu", "xavier_normal"), ("tanh", "xavier_normal"), ("relu", small)):
        model = nn.mlp([50] * 21, activation, init=init, random_state=0)
        name = f"{activation}, {getattr(init, '__name__', init)}"
        found[name] = gradient_flow(model, nn.MSELoss(), X, X, at="outputs", vanishing_limit=0).ratio()
        figure(f"{name}: gradient at first / last of 20 layers", f"{found[name]:.1e}")
    assert 0.03 < found["relu, he_normal"] < 30
    assert 0.03 < found["tanh, xavier_normal"] < 30
    assert found["relu, small"] < 1e-20 < found["relu, xavier_normal"] < 0.03

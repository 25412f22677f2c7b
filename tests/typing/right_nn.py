"""Right uses of fastprop.nn and fastprop.inspection: they run, and type checkers have nothing to say against them."""

import io
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from fastprop import nn
from fastprop.annotations import Floats
from fastprop.inspection import (
    GradientFlow,
    activation_statistics,
    check_gradients,
    entropy,
    hessian,
    jacobian,
    jvp,
    numerical_gradient,
    softmax_jacobian,
    trace_forward,
    trace_step,
)
from fastprop.nn.program import Program

rng = np.random.default_rng(0)
X, y = rng.normal(size=(12, 4)), np.arange(12) % 3

model = nn.Sequential(
    nn.Linear(4, 6, activation="relu", init="he_uniform", random_state=rng),
    nn.Residual(nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6, init=nn.init.zeros))),
    nn.GELU(),
    nn.Dropout(0.1, random_state=0),
    nn.Linear(6, 3, dtype="float64"),
)
loss, optimizer = nn.SoftmaxCrossEntropy(), nn.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.99))
assert_type(model(X), Floats)
assert_type(loss(model(X), y), float)
model.backward(loss.backward()).sum()
optimizer.step()
history = model.fit(X, y, loss, optimizer, epochs=2, validation_data=(X, y), callback=lambda epoch, history: epoch > 3)
assert_type(history, dict[str, list[float]])
assert_type(model.train().eval(), nn.Sequential)
model[0].weight.data = np.zeros((4, 6))
for name, parameter in model.named_parameters():
    assert_type(name, str)
    assert_type(parameter.data, Floats)
    parameter.grad = None
    parameter.data = parameter.data.tolist()
state = model.state_dict()
model.load_state_dict(state)
nn.clip_grad_norm(model.parameters(), 1.0)


class Scale(nn.Module):
    """A module of one's own, with narrower types than those of `Module`."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.factor * x

    def backward(self, dout: NDArray[np.float64], accumulate: bool = False) -> NDArray[np.float64]:
        return self.factor * dout


class Stacked(Scale):
    """One that is compiled, as it is made of others."""

    def __init__(self) -> None:
        self.inside = nn.Sequential(nn.Linear(4, 3), nn.Mish())

    def lower(self, program: Program) -> None:
        program.module(self.inside)


a, b = nn.Input(), nn.Input()
graph = nn.Graph([a, b], nn.Tanh()(a) * b + a)
assert_type(graph(X, X), Floats)
single = nn.Graph(a, nn.Linear(4, 3)(a))
formula = ((a - 1) ** 2 @ np.ones((4, 1)) / 2 + nn.functional.tanh(b).sum(axis=1, keepdims=True) - [1.0]).named("f")
assert_type(formula, nn.Value)
assert_type(nn.functional.relu(X), Floats)
scaled = nn.Graph(2 * formula[:, :1].exp().T.reshape(-1) * nn.Parameter(np.ones(1)).named("scale"))
assert_type(scaled(X, X), Floats)
scaled.backward(np.ones(12))
assert scaled.grad("scale").shape == (1,)
assert_type(scaled.draw().svg, str)
assert_type(single.fit(X, y, loss, nn.SGD(single.parameters()), epochs=1), dict[str, list[float]])
small = nn.Sequential(Scale(2.0), nn.mlp([4, 3], random_state=0))


class Own:
    """A loss that derives from nothing."""

    def __call__(self, outputs: Floats, y: Floats) -> float:
        self.error = outputs - y
        return float((self.error**2).mean())

    def backward(self) -> Floats:
        return 2 * self.error / self.error.size


verdict = check_gradients(graph, Own(), (X, X), X, raise_on="bug").verdict
for mistake in check_gradients(small, loss, X, y).mistakes:
    assert_type(mistake.name, str)
for kink in check_gradients(small, loss, X, y).kinks:
    assert_type(kink.positions, tuple[tuple[int, ...], ...])
small.fit(X, X[:, :3], Own(), nn.SGD(small.parameters()), epochs=1)
nn.mlp([4, 3, 3], nn.ReLU())
nn.Linear(4, 3, activation=nn.ReLU)
trace = trace_step(small, loss, X[:2], y[:2].tolist(), file=io.StringIO())
value = trace["loss", "", "loss"]
assert_type(trace[0].dz, NDArray[Any])
assert_type(trace_forward(small, X[:2])["1.0"]["a"], NDArray[Any])
assert_type(jacobian(small, X[:1]), NDArray[np.float64])
assert_type(hessian(lambda x: float(x @ x), [1.0, 2.0]), NDArray[np.float64])
assert_type(softmax_jacobian([0.0, 1.0]), NDArray[Any])
jvp(small, X[:1], X[:1])
flow = GradientFlow(model, "outputs", layers=["0"])
options = nn.SGD(model.parameters()), 2
model.fit(X, y, loss, *options, metrics={"accuracy": "accuracy", "top": lambda outputs, y: outputs.max()}, clip_norm=1.0, flow=flow)
model.fit(X, y, loss, *options, metrics="accuracy", validation_data=(X.tolist(), y))
assert_type(model.predict(X.tolist(), batch_size=2), Floats)
assert_type(activation_statistics(model, X)["0"].dead, NDArray[np.intp])
assert_type(numerical_gradient(lambda x: (x**2).sum(), [1.0, 2.0]), NDArray[np.float64])
entropy([0.5, 0.5])

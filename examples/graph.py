"""A computational graph by hand: a formula, its values on the way forward, and the gradients on the way back, in a picture.

The loss is that of a network with one hidden unit, ``L = (y - relu(w2 relu(w1 x + b1) + b2))^2``. Every node of the graph knows one
rule: what it gives for its operands, and what it passes back to them. Where a value goes two ways, what comes back is added.
Gradient descent on the four weights then makes the prediction right.

Run it: python graph.py [folder for the picture]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from fastprop import nn
from fastprop.nn import functional as F

POINT = {"x": 1.0, "w1": 0.5, "b1": 0.1, "w2": 2.0, "b2": 0.3, "y": 1.0}
WEIGHTS = ["w1", "b1", "w2", "b2"]
LR, N_STEPS = 0.02, 10


def loss_graph():
    """The formula; the two units have names, so that their gradients can be asked for."""
    x, w1, b1, w2, b2, y = map(nn.Input, POINT)
    hidden = F.relu(w1 * x + b1).named("hidden")
    prediction = F.relu(w2 * hidden + b2).named("prediction")
    return nn.Graph(((y - prediction) ** 2).named("L"))


def main(folder="."):
    graph = loss_graph()
    print(graph)
    loss = graph(**POINT)
    gradients = dict(zip(POINT, graph.backward(), strict=True))
    print(f"L = {loss:.4f}, " + ", ".join(f"dL/d{name} = {gradient:.4g}" for name, gradient in gradients.items()))
    print(f"at the hidden unit: value {graph.value('hidden'):.4g}, gradient {graph.grad('hidden'):.4g}")

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(12, 5), layout="constrained")
    graph.draw(ax=top)
    top.set_title(f"Values (green) and gradients (red): L = {loss:.4f}")

    point = dict(POINT)
    for _ in range(N_STEPS):
        graph(**point)
        slopes = dict(zip(point, graph.backward(), strict=True))
        point |= {name: point[name] - LR * slopes[name] for name in WEIGHTS}
    trained = graph(**point)
    graph.backward()
    graph.draw(ax=bottom)
    bottom.set_title(f"After {N_STEPS} steps of gradient descent: L = {trained:.2g}")
    figure.savefig(Path(folder) / "graph.png")
    return {"loss": float(loss), "gradients": gradients, "trained": float(trained), "prediction": float(graph.value("prediction"))}


if __name__ == "__main__":
    main(*sys.argv[1:])

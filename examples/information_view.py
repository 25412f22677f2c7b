"""The information view: what a wrong probability costs, and how hard the gradient pulls.

Cross-entropy is the entropy of the targets plus what the model does not know: ``H(p, q) = H(p) + KL(p || q)``. A batch of
predictions shows it in numbers; the picture shows loss, gradient and entropy against the probability of the true class, and the
sigmoid with its derivative, which is steepest where its entropy is largest.

Run it: python information_view.py [folder for the picture]
"""

import sys
from pathlib import Path

import numpy as np

from fastprop import nn
from fastprop.inspection import InformationDisplay, cross_entropy, entropy, kl_divergence

TARGETS = np.array([[0.0, 1.0, 0.0], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]])
LOGITS = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, -2.0]])


def main(folder="."):
    loss = nn.SoftmaxCrossEntropy()
    mean = loss(LOGITS, TARGETS)
    q = loss.outputs
    parts = {"H(p)": entropy(TARGETS), "KL(p || q)": kl_divergence(TARGETS, q), "H(p, q)": cross_entropy(TARGETS, q)}
    for name, values in parts.items():
        print(f"{name:<11}", values.round(4), "nats")
    print(f"the loss is the mean of H(p, q): {mean:.4f}")
    display = InformationDisplay().plot()
    display.figure_.savefig(Path(folder) / "information_view.png")
    return {**parts, "loss": mean}


if __name__ == "__main__":
    main(*sys.argv[1:])

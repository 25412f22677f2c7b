"""Learning, seen from inside: the first layer's weights as images after epochs 0, 5 and 10, and the curves of the run.

At the beginning every unit of the first layer is noise. As the network learns to read digits, each unit finds the places where
ink, or its absence, tells them apart.

Run it: python digits_weights.py [folder for the pictures]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import FirstLayerWeightsDisplay

SHOWN = (0, 5, 10)


def main(folder="."):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    model = nn.mlp([64, 16, 10], init="xavier_uniform", random_state=0)
    weights, accuracies = {0: model[0].weight.data.copy()}, []

    def watch(epoch, history):
        accuracies.append(float((model(X_test).argmax(axis=1) == y_test).mean()))
        weights[epoch + 1] = model[0].weight.data.copy()

    optimizer = nn.Adam(model.parameters(), lr=0.01)
    options = {"epochs": max(SHOWN), "batch_size": 32, "validation_data": (X_test, y_test), "random_state": 0, "callback": watch}
    history = model.fit(X_train, y_train, loss=nn.SoftmaxCrossEntropy(), optimizer=optimizer, **options)
    print(f"after {max(SHOWN)} epochs: loss {history['loss'][-1]:.3f}, accuracy on new digits {accuracies[-1]:.1%}")

    figure, axes = plt.subplots(1, len(SHOWN), figsize=(12, 4.2), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    limit = max(np.abs(weights[epoch]).max() for epoch in SHOWN)
    for ax, epoch in zip(axes, SHOWN, strict=True):
        display = FirstLayerWeightsDisplay(weights[epoch], name=f"after epoch {epoch}")
        display.plot(ax, limit=limit, colorbar=epoch == SHOWN[-1])
    figure.savefig(Path(folder) / "digits_weights.png")
    names = {"name": "digits, 64-16-10", "unit": "nats", "score_name": "accuracy"}
    curves = LossCurveDisplay.from_history(history, validation_scores=accuracies, **names)
    curves.figure_.savefig(Path(folder) / "digits_curves.png")
    return {"history": history, "accuracies": accuracies, "weights": weights}


if __name__ == "__main__":
    main(*sys.argv[1:])

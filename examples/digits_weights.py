# %% [markdown]
"""
# Learning, seen from inside: the first layer's weights as images, and the curves of the run

At the beginning every unit of the first layer is noise. As the network learns to read digits, each unit finds the places where
ink, or its absence, tells them apart.
"""

# %%
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastprop import LossCurveDisplay, nn
from fastprop.inspection import FirstLayerWeightsDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
model = nn.mlp([64, 16, 10], init="xavier_uniform", random_state=0)
print(model)

# %% [markdown]
"""
After each epoch a callback notes the accuracy on new digits, and copies the weights after epochs 5 and 10.
"""

# %%
weights, accuracies = {"epoch 0": model[0].weight.data.copy()}, []


def watch(epoch, history):
    accuracies.append(float((model(X_test).argmax(axis=1) == y_test).mean()))
    if epoch + 1 in (5, 10):
        weights[f"epoch {epoch + 1}"] = model[0].weight.data.copy()


optimizer = nn.Adam(model.parameters(), lr=0.01)
options = {"epochs": 10, "batch_size": 32, "validation_data": (X_test, y_test), "random_state": 0, "callback": watch}
history = model.fit(X_train, y_train, loss=nn.SoftmaxCrossEntropy(), optimizer=optimizer, **options)
print(f"after 10 epochs: loss {history['loss'][-1]:.3f}, accuracy on new digits {accuracies[-1]:.1%}")

# %%
displays = FirstLayerWeightsDisplay.compare(weights)
displays[0].figure_.savefig("digits_weights.png")

# %%
names = {"name": "digits, 64-16-10", "unit": "nats", "score_name": "accuracy"}
curves = LossCurveDisplay.from_history(history, validation_scores=accuracies, **names)
curves.figure_.savefig("digits_curves.png")

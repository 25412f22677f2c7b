"""Wrong uses. Type checkers must report every line that ends with a comment of this kind, under these names, and no other."""

import numpy as np

import fastprop
from fastprop import MLPClassifier, MLPRegressor, Network, TabularClassifier, TabularRegressor, kernels, nn, patch_sklearn
from fastprop.inspection import GradientFlow, LossCurveDisplay, check_gradients, trace_step

X, y = np.zeros((4, 3)), np.zeros(4, np.intp)
model, loss = nn.Sequential(nn.Linear(3, 2)), nn.SoftmaxCrossEntropy()
layers, params = kernels.layer_table([3, 2]), np.zeros(8)

MLPClassifier(max_itr=10)  # mypy: call-arg, pyright: reportCallIssue
MLPClassifier(solver="adm")  # mypy: arg-type, pyright: reportArgumentType
MLPClassifier("100")  # mypy: arg-type, pyright: reportArgumentType
MLPClassifier((100,), "sigmoid")  # mypy: arg-type, pyright: reportArgumentType
MLPClassifier((100,), "relu", "sgd")  # mypy: call-arg, pyright: reportCallIssue
MLPClassifier(random_state=np.random.default_rng(0))  # mypy: arg-type, pyright: reportArgumentType
MLPRegressor(loss="log_loss")  # mypy: arg-type, pyright: reportArgumentType
MLPClassifier().fit(X)  # mypy: call-arg, pyright: reportCallIssue
MLPRegressor().fit(X, y, [1.0] * 4).predict()  # mypy: call-arg, pyright: reportCallIssue
MLPClassifier().partial_fit(X, y, class_=[0, 1])  # mypy: call-arg, pyright: reportCallIssue
TabularClassifier(hidden_layers=3)  # mypy: call-arg, pyright: reportCallIssue
TabularClassifier(8)  # mypy: call-arg, pyright: reportCallIssue
TabularRegressor(loss="mse")  # mypy: arg-type, pyright: reportArgumentType
TabularRegressor.from_preset("best")  # mypy: arg-type, pyright: reportArgumentType
TabularRegressor().fit(X, y, None, X, y)  # mypy: call-arg, pyright: reportCallIssue
fastprop.MLPClasifier()  # mypy: attr-defined, pyright: reportAttributeAccessIssue
patch_sklearn("MLPClassifier")  # mypy: call-arg, pyright: reportCallIssue

nn.Linear("3", 2)  # mypy: arg-type, pyright: reportArgumentType
nn.Linear(3, 2, activation="rel")  # mypy: arg-type, pyright: reportArgumentType
nn.Linear(3, 2, init="he")  # mypy: arg-type, pyright: reportArgumentType
nn.Linear(3, 2, dtype=np.float16)  # mypy: arg-type, pyright: reportArgumentType
nn.Sequential([nn.Linear(3, 2)])  # mypy: arg-type, pyright: reportArgumentType
nn.Residual(nn.Linear)  # mypy: arg-type, pyright: reportArgumentType
nn.Adam(model)  # mypy: arg-type, pyright: reportArgumentType
nn.SGD(model.parameters(), learning_rate=0.1)  # mypy: call-arg, pyright: reportCallIssue
model.fit(X, y, loss)  # mypy: call-arg, pyright: reportCallIssue
model.fit(X, y, "mse", nn.SGD(model.parameters()))  # mypy: arg-type, pyright: reportArgumentType
model.fit(X, y, nn.SGD(model.parameters()), loss)  # mypy: arg-type, pyright: reportArgumentType
check_gradients(loss, model, X, y)  # mypy: arg-type, pyright: reportArgumentType
loss(model(X)) + 1  # mypy: call-arg, pyright: reportCallIssue
print(model.parameters()[0].date)  # mypy: attr-defined, pyright: reportAttributeAccessIssue

check_gradients(model, loss, X, y, raise_on="bugs")  # mypy: arg-type, pyright: reportArgumentType
trace_step(loss, model, X, y)  # mypy: arg-type, pyright: reportArgumentType
GradientFlow(model, at="weights")  # mypy: arg-type, pyright: reportArgumentType
LossCurveDisplay.from_history([0.1, 0.2])  # mypy: arg-type, pyright: reportArgumentType

kernels.linear_forward([[1.0]], params, params)  # mypy: type-var, pyright: reportArgumentType
kernels.linear_forward(X, X, X, "swish")  # mypy: arg-type, pyright: reportArgumentType
kernels.softmax_forward(y)  # mypy: arg-type, pyright: reportArgumentType
kernels.adam_update(params, params, params, params)  # mypy: call-arg, pyright: reportCallIssue
kernels.network_forward(X, layers, params, threads=2)  # mypy: call-arg, pyright: reportCallIssue
kernels.layer_table([3, 2], link="sigmoidal")  # mypy: arg-type, pyright: reportArgumentType
kernels.load("cuda")  # mypy: arg-type, pyright: reportArgumentType
Network([3, 2], loss="mse")  # mypy: arg-type, pyright: reportArgumentType
Network([3, 2]).training_set(X)  # mypy: call-arg, pyright: reportCallIssue

"""Learning strategies of the stochastic solvers on four small data sets (scikit-learn's example plot_mlp_training_curves)."""

import warnings

from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler

SGD = {"solver": "sgd", "learning_rate_init": 0.2}
STRATEGIES = {
    "constant": SGD | {"momentum": 0},
    "constant with momentum": SGD | {"momentum": 0.9, "nesterovs_momentum": False},
    "constant with Nesterov's momentum": SGD | {"momentum": 0.9, "nesterovs_momentum": True},
    "inverse scaling": SGD | {"learning_rate": "invscaling", "momentum": 0},
    "inverse scaling with momentum": SGD | {"learning_rate": "invscaling", "momentum": 0.9, "nesterovs_momentum": False},
    "inverse scaling with Nesterov's momentum": SGD | {"learning_rate": "invscaling", "momentum": 0.9},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}
problems = {
    "iris": datasets.load_iris(return_X_y=True),
    "digits": datasets.load_digits(return_X_y=True),
    "circles": datasets.make_circles(noise=0.2, factor=0.5, random_state=1),
    "moons": datasets.make_moons(noise=0.3, random_state=0),
}
for problem, (X, y) in problems.items():
    X = MinMaxScaler().fit_transform(X)
    for strategy, parameters in STRATEGIES.items():
        model = MLPClassifier(random_state=0, max_iter=15 if problem == "digits" else 400, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        curve = model.loss_curve_
        print(problem, strategy, len(curve), repr(float(model.score(X, y))), repr(float(curve[-1])), repr(float(sum(curve))))
print(type(model).__module__)

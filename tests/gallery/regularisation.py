"""How the L2 penalty changes what is learnt from three small two-dimensional problems (scikit-learn's example plot_mlp_alpha)."""

import numpy as np
from sklearn.datasets import make_circles, make_classification, make_moons
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = make_classification(n_features=2, n_redundant=0, n_informative=2, n_clusters_per_class=1, random_state=0)
problems = {
    "separable": (X + 2 * np.random.RandomState(2).uniform(size=X.shape), y),
    "moons": make_moons(noise=0.3, random_state=0),
    "circles": make_circles(noise=0.2, factor=0.5, random_state=1),
}
for problem, (X, y) in problems.items():
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=42)
    for alpha in np.logspace(-1, 1, 5):
        network = MLPClassifier(solver="lbfgs", alpha=alpha, hidden_layer_sizes=[10, 10], max_iter=2000, random_state=1)
        model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)
        print(problem, f"alpha={alpha:.3f}", repr(float(model.score(X_test, y_test))))
print(type(network).__module__)

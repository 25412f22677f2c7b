"""A network with a strong penalty on three two-dimensional problems, among simpler classifiers
(from scikit-learn's example plot_classifier_comparison)."""

import numpy as np
from sklearn.datasets import make_circles, make_classification, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

classifiers = {
    "network": MLPClassifier(alpha=1, max_iter=1000, random_state=42),
    "logistic regression": LogisticRegression(),
    "naive Bayes": GaussianNB(),
}
X, y = make_classification(n_features=2, n_redundant=0, n_informative=2, random_state=1, n_clusters_per_class=1)
problems = {
    "moons": make_moons(noise=0.3, random_state=0),
    "circles": make_circles(noise=0.2, factor=0.5, random_state=1),
    "separable": (X + 2 * np.random.RandomState(2).uniform(size=X.shape), y),
}
for problem, (X, y) in problems.items():
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=42)
    low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 20).T), axis=-1).reshape(-1, 2)
    for name, classifier in classifiers.items():
        model = make_pipeline(StandardScaler(), classifier).fit(X_train, y_train)
        surface = model.predict_proba(grid)[:, 1]
        print(problem, name, repr(float(model.score(X_test, y_test))), repr(float(surface.mean())), repr(float(surface.std())))
print(type(classifiers["network"]).__module__)

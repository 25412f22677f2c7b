"""Who is compared on tables: one class for each estimator, on one thread, with its own way of early stopping.

All get the same frame of float64 and category columns. `fit` is given rows for validation, which those use that take them: to stop
early or to choose the best epoch, not to learn from. What an estimator needs done to a frame first is part of its `fit` and
`predict`, and of their time. Imports are inside, so that a name can be asked for its `obstacle`.
"""

from abc import ABC, abstractmethod
from importlib import util

import numpy as np

ROUNDS, RATE, PATIENCE = 500, 0.05, 50
# HistGradientBoosting takes no more categories.
MOST_CATEGORIES = 255


class TableContender(ABC):
    """An estimator on one table.

    Parameters
    ----------
    is_classification : bool
        Whether targets are classes 0, 1, ...
    """

    name = None
    modules = ()  # what must be importable beside pandas

    def __init__(self, is_classification):
        self.is_classification = is_classification

    @abstractmethod
    def fit(self, X, y, X_val, y_val):
        """Learn from the first two, with the others for validation."""

    def predict(self, X):
        """Probabilities (n, n_classes), or numbers (n,)."""
        return self.model.predict_proba(X) if self.is_classification else self.model.predict(X)

    def either(self, classifier, regressor):
        return classifier if self.is_classification else regressor

    @classmethod
    def obstacle(cls):
        """Why it cannot run here, or None."""
        missing = [module for module in ("pandas", *cls.modules) if util.find_spec(module) is None]
        return f"{', '.join(missing)} not installed" if missing else None


def categorical(X):
    """The names of the columns of categories."""
    return list(X.columns[X.dtypes == "category"])


class Accurate(TableContender):
    name, preset = "fastprop accurate", "accurate"

    def make(self, **options):
        import fastprop

        make = self.either(fastprop.TabularClassifier, fastprop.TabularRegressor)
        return make.from_preset(self.preset, **{"n_jobs": 1, "random_state": 0} | options)

    def fit(self, X, y, X_val, y_val):
        self.model = self.make().fit(X, y, X_val=X_val, y_val=y_val)


class Fast(Accurate):
    name, preset = "fastprop fast", "fast"


class PlainNetwork(TableContender):
    """The network of scikit-learn's design, with features and target standardised and the best epoch kept."""

    name = "fastprop MLP"

    def fit(self, X, y, X_val, y_val):
        import fastprop

        self.features = self.encoder(X).fit(X)
        self.location, self.scale = (0, 1) if self.is_classification else (y.mean(), y.std() or 1)
        make = self.either(fastprop.MLPClassifier, fastprop.MLPRegressor)
        self.model = make(early_stopping=True, scoring="loss", n_jobs=1, random_state=0)
        X, X_val = (self.features.transform(each) for each in (X, X_val))
        if not self.is_classification:
            y, y_val = ((each - self.location) / self.scale for each in (y, y_val))
        self.model.fit(X, y, X_val=X_val, y_val=y_val)

    def predict(self, X):
        return super().predict(self.features.transform(X)) * self.scale + self.location

    @staticmethod
    def encoder(X):
        """Medians for gaps, mean 0 and variance 1; categories one-hot."""
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False)
        names = categorical(X)
        return make_column_transformer((numbers, [name for name in X if name not in names]), (one_hot, names))


class LightGBM(TableContender):
    name, modules = "LightGBM, 500 rounds", ("lightgbm",)

    def fit(self, X, y, X_val, y_val):
        import lightgbm

        options = {"n_estimators": ROUNDS, "learning_rate": RATE}
        self.model = self.make(options)
        self.model.fit(X, y, eval_set=[(X_val, y_val)], callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)])

    def make(self, options):
        import lightgbm

        make = self.either(lightgbm.LGBMClassifier, lightgbm.LGBMRegressor)
        return make(n_jobs=1, random_state=0, verbose=-1, **options)


class DefaultLightGBM(LightGBM):
    name = "LightGBM, default"

    def fit(self, X, y, X_val, y_val):
        self.model = self.make({}).fit(X, y)


class HistGradientBoosting(TableContender):
    """On one thread where OpenMP has one, as in the process of the suite: there is no parameter for it."""

    name = "HistGradientBoosting"

    def fit(self, X, y, X_val, y_val):
        from sklearn import ensemble

        make = self.either(ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
        self.model = make(early_stopping=True, random_state=0)
        self.model.fit(self.readable(X), y, X_val=self.readable(X_val), y_val=y_val)

    def predict(self, X):
        return super().predict(self.readable(X))

    @staticmethod
    def readable(X):
        """With numbers in the place of too many categories."""
        many = [name for name in categorical(X) if len(X[name].cat.categories) > MOST_CATEGORIES]
        return X.assign(**{name: X[name].cat.codes.astype(np.float64).where(X[name].notna()) for name in many})


class XGBoost(TableContender):
    name, modules = "XGBoost, 500 rounds", ("xgboost",)

    def fit(self, X, y, X_val, y_val):
        import xgboost

        make = self.either(xgboost.XGBClassifier, xgboost.XGBRegressor)
        options = {"n_estimators": ROUNDS, "learning_rate": RATE, "early_stopping_rounds": PATIENCE, "enable_categorical": True}
        self.model = make(n_jobs=1, random_state=0, verbosity=0, **options)
        self.model.fit(X, y, eval_set=[(X_val, y_val)], verbose=False)


class CatBoost(TableContender):
    name, modules = "CatBoost", ("catboost",)

    def fit(self, X, y, X_val, y_val):
        import catboost

        make = self.either(catboost.CatBoostClassifier, catboost.CatBoostRegressor)
        options = {"thread_count": 1, "random_seed": 0, "verbose": False, "allow_writing_files": False}
        self.model = make(early_stopping_rounds=PATIENCE, cat_features=categorical(X), **options)
        self.model.fit(self.readable(X), y, eval_set=(self.readable(X_val), y_val))

    def predict(self, X):
        return super().predict(self.readable(X))

    @staticmethod
    def readable(X):
        """With strings for categories, as they must not be missing."""
        return X.assign(**{name: X[name].astype(object).fillna("missing").astype(str) for name in categorical(X)})


class RealMLP(TableContender):
    """RealMLP-TD-S, for probabilities as its authors advise: epochs chosen by cross-entropy, targets not smoothed.

    Numbers must not be missing: medians are put in.
    """

    name, modules = "RealMLP-TD-S", ("pytabkit",)
    kind, options = "RealMLP_TD_S", {"val_metric_name": "cross_entropy", "use_ls": False}

    def fit(self, X, y, X_val, y_val):
        import pytabkit

        make = getattr(pytabkit, f"{self.kind}_{self.either('Classifier', 'Regressor')}")
        self.medians = X.median(numeric_only=True).fillna(0)
        options = self.options if self.is_classification else {}
        self.model = make(device="cpu", n_threads=1, random_state=0, **options)
        self.model.fit(X.fillna(self.medians), y, X_val=X_val.fillna(self.medians), y_val=y_val)

    def predict(self, X):
        return super().predict(X.fillna(self.medians))


class TabM(RealMLP):
    """TabM as pytabkit has it, with its defaults but for what chooses the epoch."""

    name, kind, options = "TabM", "TabM_D", {"val_metric_name": "cross_entropy"}


OURS = (Accurate, Fast, PlainNetwork)
PEERS = (LightGBM, DefaultLightGBM, HistGradientBoosting, XGBoost, CatBoost, RealMLP, TabM)
TABLE_CONTENDERS = {each.name: each for each in (*OURS, *PEERS)}

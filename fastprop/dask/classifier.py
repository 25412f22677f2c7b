"""DaskMLPClassifier."""

from __future__ import annotations

from typing import Any

import dask.array as da

from ..estimators import MLPClassifier
from .base import DaskMixin, with_parameters_of
from .partitions import is_lazy


@with_parameters_of(MLPClassifier, "classifier")
class DaskMLPClassifier(DaskMixin, MLPClassifier):
    """See `base.DOCSTRING`."""

    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities as `MLPClassifier` does. For a Dask collection, the result is a lazy Dask array.

        Parameters
        ----------
        X : array-like, Dask array or dataframe, or list of delayed parts
            The rows to predict.

        Returns
        -------
        ndarray or Dask array, shape (n_samples, n_classes) or (n_samples, n_labels)
            The probabilities. The columns are in the order of ``classes_``.
        """
        return self._lazily(X, "predict_proba") if is_lazy(X) else super().predict_proba(X)

    def predict_log_proba(self, X: Any) -> Any:
        """Predict the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like, Dask array or dataframe, or list of delayed parts
            The rows to predict.

        Returns
        -------
        ndarray or Dask array, shape (n_samples, n_classes) or (n_samples, n_labels)
            Natural logarithms of the probabilities.
        """
        return da.log(self.predict_proba(X)) if is_lazy(X) else super().predict_log_proba(X)

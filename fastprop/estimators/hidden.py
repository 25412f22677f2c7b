"""`transform`: an estimator's hidden layers as features for the next step of a pipeline."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import TransformerTags
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from ..annotations import MatrixLike
from ..scikit_learns import is_patched
from ..threads import n_threads_of_prediction


class _Transforms:
    """In a class of its own, as otherwise scikit-learn would always name the columns after those of the last layer."""

    def transform(self, X: MatrixLike, layer: int = -1) -> Any:
        """Compute the activations of a hidden layer.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows.
        layer : int, default=-1
            Index of the hidden layer, from 0; negative numbers count from the last one.

        Returns
        -------
        ndarray, shape (n_samples, n_units)
            The activations, in float32 if X and the weights are, else in float64; or a frame, after ``set_output``. Dropout is off.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no such hidden layer, if X does not have the columns seen in `fit`, or if it contains NaN or infinity.
        """
        check_is_fitted(self)
        number = self._number_of_hidden(layer)
        network, rows = self._with_rows(self._current_network(), X)
        n_threads = n_threads_of_prediction(self.n_jobs, rows.shape[0], 2 * network.n_weights)
        hidden = network.up_to_hidden(number).forward(rows, n_threads)
        return _wrap_data_with_container("transform", hidden, X, _Names(self, number))


class HiddenLayersMixin(_Transforms, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Needs ``coefs_`` once fitted, and the methods of `BaseMLP` for predictions."""

    @property
    def _n_features_out(self):
        return self.coefs_[self._number_of_hidden(-1)].shape[1]

    def _number_of_hidden(self, layer):
        n_hidden = len(self.coefs_) - 1
        if isinstance(layer, bool) or not isinstance(layer, Integral):
            raise TypeError(f"layer must be an integer; got {layer!r}")
        if not n_hidden:
            raise ValueError("transform needs a hidden layer; the network has none, hidden_layer_sizes is empty")
        if not -n_hidden <= layer < n_hidden:
            raise ValueError(
                f"layer must be the number of one of {n_hidden} hidden layers, from {-n_hidden} to {n_hidden - 1}; got {layer}"
            )
        return int(layer) % n_hidden

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Other packages expect scikit-learn's classes not to be transformers.
        dtypes = ["float64"] if self.solver == "lbfgs" else ["float64", "float32"]
        tags.transformer_tags = None if is_patched() else TransformerTags(preserves_dtype=dtypes)
        return tags


class _Names:
    """Names the columns of a hidden layer, with an estimator's output configuration."""

    def __init__(self, estimator, number):
        self._sklearn_auto_wrap_output_keys = estimator._sklearn_auto_wrap_output_keys
        self._sklearn_output_config = getattr(estimator, "_sklearn_output_config", {})
        self._name, self._n_units = type(estimator).__name__.lower(), estimator.coefs_[number].shape[1]

    def get_feature_names_out(self, input_features=None):
        """The names as `ClassNamePrefixFeaturesOutMixin` makes them."""
        return np.array([f"{self._name}{i}" for i in range(self._n_units)], dtype=object)

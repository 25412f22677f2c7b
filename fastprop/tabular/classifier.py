"""TabularClassifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y, check_is_fitted, column_or_1d

from ..annotations import ArrayLike, Floats, MatrixLike
from ..decorators import fits
from ..estimators.class_weights import weights_of_labels
from ..estimators.targets import check_same_classes
from ..estimators.validation import check_some_weight
from ..network import Network
from ..precision import Precision
from ..preprocessing.encoder import CategoricalFeatures, NumericEncoding
from ..warn import call
from . import recipe
from .base import BaseTabular
from .targets import require_no_gaps


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classification of tables with numbers, categories, dates and gaps by an ensemble of small networks.

    Columns are encoded by `preprocessing.TabularEncoder`. Each member is a network that minimises the cross-entropy with AdamW and
    keeps the moving average of its weights after the best epoch. The probabilities are the mean of the members' probabilities.
    Names and meanings of parameters follow `sklearn.ensemble.HistGradientBoostingClassifier` where they apply.

    Parameters
    ----------
    n_members : int, default=8
        Number of networks. Their outputs are averaged; networks with a lower validation loss have more weight.
    hidden_layer_sizes : int or array-like of int, default=(64, 64, 64)
        Number of units in each hidden layer. The activation is SiLU.
    categorical_features : 'from_dtype', array-like of bool, int or str, or None, default='from_dtype'
        Which columns are categorical: a mask, indices or names. 'from_dtype': in a frame, columns with a dtype of categories,
        strings, booleans, or objects that are not numbers; in an array, none. None: no column.
    numeric_encoding : {'piecewise_linear', 'standard'}, default='piecewise_linear'
        How numbers are encoded; see `preprocessing.TabularEncoder`.
    n_bins : int or sequence of int, default=(4, 8, 32, 64)
        Number of bins between quantiles in the piecewise linear encoding. If there are several numbers, the members take them in
        turn: which number is best depends on the table, and members that differ are better together. With more than 100,000 rows,
        all members take the largest number.
    min_frequency : int, default=10
        Categories with fewer rows are rare. All rare ones are merged into one category.
    max_iter : int, default=64
        Number of epochs, over which the learning rate falls to 0. With early stopping, training mostly ends sooner.
    batch_size : int or 'auto', default='auto'
        Number of rows in a mini-batch. 'auto' is 128; with fewer than 1,024 rows it is n_samples / 8, but at least 16.
    learning_rate_init : float or 'auto', default='auto'
        Highest learning rate. 'auto' is 0.01.
    weight_decay : float, default=0.1
        Decoupled weight decay, as in AdamW, of all weights except the biases.
    dropout : float, default=0.0
        Dropout probability after each hidden layer, in [0, 1).
    label_smoothing : float, default=0.0
        Fraction of each row's target, in [0, 1), that is spread evenly over all classes.
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, which multiply the losses of their rows. 'balanced': n_samples / (n_classes * number of rows of the
        class). They do not apply to rows of X_val.
    loss : {'log_loss'}, default='log_loss'
        The cross-entropy.
    scoring : 'loss', str or callable, default='loss'
        How a member's best epoch is chosen on the validation rows: by the loss, by the scikit-learn scorer of this name, or by a
        function of (estimator, X, y), where the estimator has this member alone and X is encoded.
    validation_fraction : float, default=0.2
        Fraction of the rows that each member holds out if no X_val is given. Members hold out different rows, so that every row is
        used for training; but with more than 100,000 rows, all hold out the same ones, at most 50,000.
    early_stopping : bool, default=True
        Whether each member stops 6 epochs after its best epoch and keeps the weights of that epoch. If False, it keeps the weights
        of the last epoch.
    refit : bool, default=False
        Whether to train each member again on all rows, up to the number of its best epoch. Only with early stopping.
    max_time : float or None, default=None
        Seconds after which no further epoch begins. None: no limit.
    n_jobs : int or None, default=None
        Number of threads. None or -1: all cores. The result of a fit does not depend on it.
    random_state : int, RandomState or None, default=None
        Seed or generator for initial weights, held-out rows, the order of rows and dropout.
    verbose : int, default=0
        Whether to show a progress bar.
    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last fit. The encoding and, in regression, the scale of the targets then
        stay the same.
    precision : {'bfloat16'} or None, default=None
        'bfloat16' permits the matrix products of all layers except the first to round their inputs to bfloat16, which is faster if
        the processor has the instructions, as ``fastprop info`` shows. Sums, weights, optimizer state, losses and predictions stay
        in float32. Networks that would not gain from bfloat16 are trained in float32.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The class labels.
    members_ : list of Network
        The networks. Member i takes the rows that encoder ``encoders_[i % len(encoders_)]`` returns, from ``encode(X)`` or
        ``transform(X)``.
    member_weights_ : ndarray, shape (n_members,)
        Weight of each member in the mean: its lowest validation loss to the power -4, divided by the sum of these numbers.
    encoders_ : list of TabularEncoder
        Encoders of the table's columns, one for each number of bins.
    loss_curves_ : list of list of float
        Mean loss of each epoch, for each member.
    validation_loss_curves_ : list of list of float
        Loss of the validation rows after each epoch, for each member. Only if there are validation rows.
    best_iters_ : list of int
        Number of each member's best epoch, counted from 1.
    n_iter_ : int
        Largest number of epochs that a member was trained for.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the columns, if all are strings. The columns of later frames are found by name, in any order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import TabularClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 3))
    >>> X[::7, 2] = np.nan
    >>> y = np.where(X[:, 0] > np.abs(X[:, 1]), "yes", "no")
    >>> model = TabularClassifier(n_members=2, random_state=0).fit(X, y)
    >>> model.predict([[3.0, 0.0, np.nan], [-1.0, 0.0, 0.0]]).tolist()
    ['yes', 'no']
    """

    label_smoothing: float
    class_weight: Mapping[Any, float] | Literal["balanced"] | None
    loss: Literal["log_loss"]
    classes_: NDArray[Any]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseTabular._parameter_constraints,
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "loss": [StrOptions({"log_loss"})],
    }

    def __init__(
        self,
        *,
        n_members: int = 8,
        hidden_layer_sizes: int | Sequence[int] = (64, 64, 64),
        categorical_features: CategoricalFeatures = "from_dtype",
        numeric_encoding: NumericEncoding = "piecewise_linear",
        n_bins: int | Sequence[int] = (4, 8, 32, 64),
        min_frequency: int = 10,
        max_iter: int = 64,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float | Literal["auto"] = "auto",
        weight_decay: float = 0.1,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        loss: Literal["log_loss"] = "log_loss",
        scoring: str | Callable[..., float] = "loss",
        validation_fraction: float = 0.2,
        early_stopping: bool = True,
        refit: bool = False,
        max_time: float | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        precision: Precision = None,
    ) -> None:
        self.n_members = n_members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.categorical_features = categorical_features
        self.numeric_encoding = numeric_encoding
        self.n_bins = n_bins
        self.min_frequency = min_frequency
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.loss = loss
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.refit = refit
        self.max_time = max_time
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.precision = precision

    @fits
    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on a table.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, array-like or sparse matrix, shape (n_samples, n_features)
            The training rows. None, NaN, NaT and NA are missing values.
        y : array-like, shape (n_samples,)
            Class labels of any type that can be sorted.
        sample_weight : array-like, shape (n_samples,), optional
            Weights of the rows, which multiply their losses. Rows with weight 0 are neither trained on nor held out.
        X_val : like X, shape (n_val, n_features), optional
            Validation rows. Only with early stopping. Members then hold out no rows of X.
        y_val : array-like, optional
            Targets of X_val, in the same form as y. Required with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Weights of the rows of X_val.

        Returns
        -------
        TabularClassifier
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described. The estimator is then unchanged.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : like X of `fit`, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray, shape (n_samples,)
            Class labels.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other columns than in `fit`, or if a column holds values of another kind, for example numbers instead of
            strings.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: MatrixLike) -> Floats:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : like X of `fit`, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            The mean of the members' probabilities; the columns are in the order of ``classes_``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As in `predict`.
        """
        check_is_fitted(self)
        mean: Any = sum(weight * outputs for weight, outputs in zip(self.member_weights_, self._outputs(X), strict=True))
        if len(self.classes_) <= 2:
            mean = np.hstack([1 - mean, mean]) if len(self.classes_) == 2 else np.ones_like(mean)
        return mean / mean.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: MatrixLike) -> Floats:
        """Predict the natural logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : like X of `fit`, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            -inf where a probability is rounded to 0.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As in `predict`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _learn_targets(self, y, sample_weight, reset):
        if reset:
            self.classes_ = np.unique(y)
        else:
            check_same_classes(y, self.classes_)

    def _checked_validation_targets(self, y):
        y = self._checked_targets(y)
        known = set(self.classes_.tolist())
        unseen = [label for label in np.unique(y).tolist() if label not in known]
        if unseen:
            raise ValueError(f"y contains previously unseen labels: {unseen}")
        return y

    def _checked_targets(self, y):
        require_no_gaps(y)
        y = call(column_or_1d, _check_y(y, multi_output=True, estimator=self), warn=True)
        check_classification_targets(y)
        return y

    def _network_targets(self, y):
        numbers = np.searchsorted(self.classes_, y)
        return numbers if len(self.classes_) > 2 else numbers.astype(np.float32)

    def _classes_of_rows(self, y):
        return np.searchsorted(self.classes_, y)

    def _weights_of_rows(self, y, sample_weight):
        if self.class_weight is None:
            return sample_weight
        weights = weights_of_labels(self.class_weight, y, self.classes_, False)
        weights = weights if sample_weight is None else sample_weight * weights
        check_some_weight(weights.any())
        return weights

    def _make_network(self, sizes):
        n_classes = len(self.classes_)
        if n_classes <= 2:
            return Network([*sizes, 1], recipe.ACTIVATION, "binary_cross_entropy", np.float32)
        return Network([*sizes, n_classes], recipe.ACTIVATION, "softmax_cross_entropy", np.float32)

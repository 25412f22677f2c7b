"""TabularRegressor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_y, check_is_fitted

from ..annotations import ArrayLike, Floats, MatrixLike
from ..decorators import fits
from ..estimators.targets import raveled
from ..network import Network
from ..precision import Precision
from ..preprocessing.encoder import CategoricalFeatures, NumericEncoding
from . import recipe
from .base import BaseTabular
from .targets import LEAST, Scale, require_no_gaps, require_numbers

RegressionLoss = Literal["squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"]
# Losses with predictions exp(logit)
LOG_LINK = ("poisson", "gamma")


class TabularRegressor(RegressorMixin, BaseTabular):
    """Regression on tables with numbers, categories, dates and gaps by an ensemble of small networks.

    Columns are encoded by `preprocessing.TabularEncoder`, and targets are standardised. Each member is a network that is trained
    with AdamW and keeps the moving average of its weights after the best epoch. Predictions are the mean of the members'
    predictions and stay within the range of the training targets. Names and meanings of parameters follow
    `sklearn.ensemble.HistGradientBoostingRegressor` where they apply.

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
    loss : {'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson', 'gamma'}, default='squared_error'
        Loss of the standardised targets. 'huber' is linear beyond one standard deviation. 'poisson' and 'gamma' are deviances with
        predictions exp(logit), for targets that are not negative ('poisson') or positive ('gamma').
    quantile : float or None, default=None
        Quantile that ``loss='quantile'`` predicts, between 0 and 1.
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
    >>> from fastprop import TabularRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 2))
    >>> y = 1000 * np.sin(3 * X[:, 0])
    >>> model = TabularRegressor(n_members=2, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    >>> mean, std = model.predict(X[:3], return_std=True)
    >>> mean.shape, std.shape
    ((3,), (3,))
    """

    loss: RegressionLoss
    quantile: float | None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseTabular._parameter_constraints,
        "loss": [StrOptions({"squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"})],
        "quantile": [Interval(Real, 0, 1, closed="both"), None],
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
        loss: RegressionLoss = "squared_error",
        quantile: float | None = None,
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
        self.loss = loss
        self.quantile = quantile
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
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Numbers of any magnitude.
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
        TabularRegressor
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described. The estimator is then unchanged.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @overload
    def predict(self, X: MatrixLike, return_std: Literal[False] = False) -> Floats: ...

    @overload
    def predict(self, X: MatrixLike, return_std: Literal[True]) -> tuple[Floats, Floats]: ...

    def predict(self, X: MatrixLike, return_std: bool = False) -> Floats | tuple[Floats, Floats]:
        """Predict the target of each row.

        Parameters
        ----------
        X : like X of `fit`, shape (n_samples, n_features)
            The rows to predict.
        return_std : bool, default=False
            Whether to also return the standard deviation of the members' predictions.

        Returns
        -------
        y : ndarray of float64, shape (n_samples,) or (n_samples, n_outputs)
            The mean of the members' predictions.
        std : ndarray of float64, shape of y
            Standard deviation of the members' predictions. Only if ``return_std`` is True. It says how unsure the networks are of
            the mean, not how far targets are from it.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other columns than in `fit`, or if a column holds values of another kind, for example numbers instead of
            strings.
        """
        check_is_fitted(self)
        mean, std = self._scale.mean_and_std(self._outputs(X), self.member_weights_)
        if self._is_vector:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    def _learn_targets(self, y, sample_weight, reset):
        if reset:
            self._is_vector = y.ndim == 1
            self._scale = Scale.of(y.reshape(len(y), -1), sample_weight, self.loss in LOG_LINK)
        elif y.shape[1:] != self._shape_of_target():
            raise ValueError(
                f"warm_start needs y of the shape of the last fit, {(len(y), *self._shape_of_target())}; got shape {y.shape}"
            )

    def _shape_of_target(self):
        return () if self._is_vector else self._scale.size.shape

    def _checked_validation_targets(self, y):
        y = self._checked_targets(y)
        if y.shape[1:] != self._shape_of_target():
            raise ValueError(f"must have shape {(len(y), *self._shape_of_target())} to go with y; got {y.shape}")
        return y

    def _checked_targets(self, y):
        require_no_gaps(y)
        require_numbers(y)
        y = raveled(_check_y(y, multi_output=True, y_numeric=True, estimator=self)).astype(np.float64)
        assert_all_finite(y, input_name="y")  # None among objects has only now become NaN
        if self.loss == "poisson" and not (np.all(y >= 0) and np.any(y > 0)):
            raise ValueError("loss='poisson' requires non-negative y and sum(y) > 0.")
        if self.loss == "gamma" and not np.all(y > 0):
            raise ValueError("loss='gamma' requires strictly positive y.")
        return y

    def _check_parameters(self):
        super()._check_parameters()
        if self.loss == "quantile":
            check_scalar(self.quantile, "quantile", Real, min_val=0, max_val=1, include_boundaries="neither")

    def _network_targets(self, y):
        targets = self._scale.network_targets(y.reshape(len(y), -1))
        return np.maximum(targets, LEAST) if self.loss == "gamma" else targets

    def _make_network(self, sizes):
        hyper = {"quantile": float(self.quantile)} if self.loss == "quantile" else None
        return Network([*sizes, len(self._scale.size)], recipe.ACTIVATION, self.loss, np.float32, hyper)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss in LOG_LINK
        return tags

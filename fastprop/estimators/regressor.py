"""MLPRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions

from ..annotations import ArrayLike, ChunkSource, Floats, Integers, MatrixLike
from ..decorators import fits
from ..kernels.spec import LOSSES
from ..precision import Precision
from ..scikit_learns import is_patched, scikit_learns_class
from .base import BaseMLP
from .parameters import Activations, LearningRate, Parameters, Scoring, SolverName
from .targets import raveled
from .validation import training_data

RegressionLoss: TypeAlias = Literal["squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma", "tweedie"]
# loss -> the parameter of the kernels' loss, and the estimator's that it comes from
LOSS_HYPER: dict[RegressionLoss, dict[str, str]] = {
    "squared_error": {},
    "absolute_error": {},
    "huber": {"delta": "huber_delta"},
    "quantile": {"quantile": "quantile"},
    "poisson": {},
    "gamma": {},
    "tweedie": {"power": "tweedie_power"},
}
# Losses whose y must not be negative
POSITIVE = tuple(loss for loss in LOSS_HYPER if LOSSES[loss].targets != "any")


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor with scikit-learn's interface and results, on compiled kernels.

    Minimises half the squared error or another loss.

    Parameters
    ----------
    loss : {'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson', 'gamma', 'tweedie'}, default='squared_error'
        Half the squared error; the absolute error; Huber's loss, which for an error d is ``d^2 / 2`` up to ``|d| = huber_delta``
        and ``huber_delta (|d| - huber_delta / 2)`` above; the pinball loss of ``quantile``; or, with an exponential output, half
        the deviance of the Poisson, gamma or Tweedie distribution. The losses of several outputs are added; but the squared error
        is reported as their mean, as in scikit-learn.
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Number of units in each hidden layer; empty for a linear model.
    activation : str, nn.Activation, or sequence of them, default='relu'
        Activation of the hidden layers: one for all of them, or a sequence with one for each. Besides scikit-learn's 'identity',
        'logistic', 'tanh' and 'relu' there are 'leaky_relu' (slope 0.01), 'elu', 'selu', 'gelu' (exact), 'silu', 'mish' and
        'softplus', with PyTorch's formulas and constants. With an `nn.Activation` of your own, the network is trained layer by
        layer instead of in one compiled loop.
    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'rmsprop'}, default='adam'
        Optimizer. 'lbfgs' uses all rows in every step, the others use mini-batches. 'adam' is scikit-learn's, which adds
        ``epsilon`` before the bias correction; 'adamw' and 'rmsprop' (decay rate 0.99, no momentum) follow PyTorch's formulas.
        ``weight_decay`` is 0 by default for 'adamw' too.
    alpha : float, default=0.0001
        Strength of the L2 penalty of the weights: ``alpha / 2 * |weights|^2``, divided by the number of rows in a mini-batch, is
        added to the loss of the mini-batch.
    batch_size : int or 'auto', default='auto'
        Number of rows in a mini-batch. 'auto' is ``min(200, n_samples)``. Not for 'lbfgs'.
    learning_rate : str or callable, default='constant'
        Schedule of the learning rate. 'constant' keeps ``learning_rate_init``. Only for 'sgd': 'invscaling' divides it by
        ``(samples seen + 1) ** power_t``, and 'adaptive' divides the present rate by 5 whenever training would otherwise stop. For
        all solvers except 'lbfgs', ``learning_rate_init`` is multiplied by a function of t, in [0, 1), the fraction of the steps of
        ``max_iter`` epochs that are done: 'cosine', ``(1 + cos(pi t)) / 2``; 'one_cycle', PyTorch's OneCycleLR with its default
        settings, but without a cycle of the momentum; 'coslog4', ``(1 - cos(2 pi log2(1 + 15 t))) / 2`` (Holzmüller, Grinsztajn,
        Steinwart, *Better by default*, 2024); or a function of your own.
    learning_rate_init : float, default=0.001
        Initial learning rate; with a schedule, the rate that the schedule multiplies or divides. Not for 'lbfgs'.
    power_t : float, default=0.5
        Exponent of the schedule 'invscaling'. Only for 'sgd'.
    max_iter : int, default=200
        Maximum number of epochs, or of iterations with 'lbfgs'.
    shuffle : bool, default=True
        Whether to shuffle the rows before each epoch. Not for 'lbfgs'.
    random_state : int, RandomState or None, default=None
        Seed or generator for the initial weights, the split of early stopping, shuffling and dropout. None uses NumPy's global
        random state, which ``np.random.seed`` sets, as in scikit-learn.
    tol : float, default=1e-4
        Training stops after more than ``n_iter_no_change`` consecutive epochs in which the loss (with early stopping, the score)
        did not improve on the best one by at least ``tol``. For 'lbfgs', training stops when no element of the gradient is larger
        in magnitude.
    verbose : bool or int, default=False
        Whether to print a line for each epoch. Not for 'lbfgs'.
    warm_start : bool, default=False
        Whether `fit` continues from the present weights.
    momentum : float, default=0.9
        Momentum of the updates, in [0, 1]. Only for 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum. Only for 'sgd'.
    early_stopping : bool, default=False
        Whether to stop by the score of validation rows, which are held out or given to `fit`, and to keep the weights with the best
        score. Not for 'lbfgs'.
    validation_fraction : float, default=0.1
        Fraction of the rows that early stopping holds out if no validation rows are given.
    beta_1 : float, default=0.9
        Decay rate of the moving average of the gradients, in [0, 1). For 'adam' and 'adamw'.
    beta_2 : float, default=0.999
        Decay rate of the moving average of the squared gradients, in [0, 1). For 'adam' and 'adamw'.
    epsilon : float, default=1e-8
        Small number that keeps the divisor of an update above 0. For 'adam', 'adamw' and 'rmsprop'.
    n_iter_no_change : int or inf, default=10
        Maximum number of consecutive epochs without an improvement by at least ``tol``. Not for 'lbfgs'.
    max_fun : int, default=15000
        Maximum number of evaluations of the loss. Only for 'lbfgs'.
    n_jobs : int or None, default=None
        Number of threads. None: as many as the amount of work justifies, at most the cores that this process may use. -1: all of
        these cores. A limit set with threadpoolctl is never exceeded. Not a parameter of scikit-learn's estimator, and neither are
        those below.
    dropout : float or sequence of float, default=0.0
        Probability, in [0, 1), that a hidden unit is set to 0 in training, or a sequence with one probability for each hidden
        layer. The other units are divided by 1 minus the probability. The masks follow from ``random_state`` and are the same for
        any number of threads and in every back end.
    normalization : {'batch', 'layer'} or None, default=None
        Norm between each hidden layer and its activation, with PyTorch's constants: 'batch' is batch norm, which predicts with its
        running statistics; 'layer' is layer norm. With batch norm, a last mini-batch of one row is left out.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in AdamW, for all solvers except 'lbfgs': before each update the weights are multiplied by
        ``1 - learning rate * weight_decay``. Biases and the parameters of norms do not decay. ``alpha`` is a different penalty, a
        term of the loss.
    clip_norm : float or None, default=None
        Maximum norm of a mini-batch's gradient, taken over all parameters together. A larger gradient is scaled down to it, as by
        ``torch.nn.utils.clip_grad_norm_``. None: no limit.
    warmup : float, default=0.0
        Fraction of all steps, in [0, 1), during which the learning rate rises linearly. If these are W steps, step k, counted from
        0, has the factor ``(k + 1) / (W + 1)``. The schedule of ``learning_rate`` is for the steps after them.
    ema_decay : float or None, default=None
        Decay rate d, in [0, 1), of an exponential moving average of the weights. After step s the average is the sum of
        ``d ** (s - i)`` times the weights after step i, divided by the sum of these factors. Predictions, scores and early stopping
        use the average. Training continues with the weights themselves, also in later calls of `partial_fit` and warm starts. None:
        no average.
    scoring : str, callable or None, default=None
        Score of the validation rows. None: accuracy for a classifier, R² for a regressor. 'loss': the negative loss. Another
        string: the name of a scikit-learn scorer. A callable: ``scoring(estimator, X, y)``, with ``sample_weight`` if there are
        weights.
    max_time : float or None, default=None
        Seconds after which training stops, at the end of the present epoch, or of the present iteration with 'lbfgs'. None: no
        limit.
    quantile : float or sequence of float, default=0.5
        Quantile for ``loss='quantile'``, in (0, 1). A sequence gives one output for each quantile; `predict` sorts these outputs,
        so that they never cross.
    huber_delta : float, default=1.0
        Threshold for ``loss='huber'``, above 0, in the units of y. Larger errors count linearly.
    tweedie_power : float, default=1.5
        Power for ``loss='tweedie'``, between 1 and 2: the variance is proportional to this power of the mean.
    precision : {'bfloat16'} or None, default=None
        'bfloat16' trains in float32, whatever the dtype of X, and permits the matrix products of the layers to round their inputs
        to bfloat16. This makes training up to 1.9 times as fast if the processor has the instructions, which ``fastprop info``
        shows. Sums, weights, optimizer state, norms, losses, predictions and ``validation_scores_`` stay in float32. Networks that
        would not gain from bfloat16 are trained in float32. Not for 'lbfgs'.

    Attributes
    ----------
    coefs_ : list of ndarray
        Weights of each layer, of shape (n_in, n_out). Weights that you assign are used from the next call on.
    intercepts_ : list of ndarray
        Biases of each layer, of shape (n_out,). Biases that you assign are used from the next call on.
    loss_ : float
        Loss of the last epoch.
    best_loss_ : float or None
        Lowest loss of all epochs; None with early stopping.
    loss_curve_ : list of float
        Loss of each epoch. Not with 'lbfgs'.
    validation_scores_ : list of float or None
        Score of the validation rows after each epoch; higher is better. None if there are no validation rows.
    best_validation_score_ : float or None
        Highest score in ``validation_scores_``. None if there are no validation rows.
    validation_loss_curve_ : list of float
        Mean loss of the validation rows after each epoch, without penalty and smoothing. Only if there are validation rows.
    best_iter_ : int
        Epoch with the best validation score, as its position in ``validation_scores_``, counted from 1. Only if there are
        validation rows.
    learning_rate_curve_ : list of float
        Learning rate of the last step of each epoch. Only if the learning rate changes.
    norm_weights_, norm_biases_ : list of ndarray
        Scale and shift of each hidden layer's norm, of shape (n_units,). Only with ``normalization``.
    running_means_, running_vars_ : list of ndarray
        Running statistics of each batch norm, of shape (n_units,). Only with batch norm.
    t_ : int
        Number of samples that the optimizer has seen.
    n_iter_ : int
        Number of epochs, or of iterations with 'lbfgs'.
    n_layers_ : int
        Number of layers, including the input layer.
    n_outputs_ : int
        Number of units in the last layer.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the columns, if those of X were all strings.
    out_activation_ : {'identity', 'exp'}
        Activation of the last layer.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastprop import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = MLPRegressor(solver="lbfgs", max_iter=1000, tol=1.0, random_state=0).fit(X, y)
    >>> regressor.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Parameters._parameter_constraints,
        "loss": [StrOptions(set(LOSS_HYPER))],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "tweedie_power": [Interval(Real, 1, 2, closed="neither")],
    }
    quantile: float | Sequence[float] = 0.5
    huber_delta: float = 1.0
    tweedie_power: float = 1.5
    _is_classifier = False

    def __init__(
        self,
        loss: RegressionLoss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | Integers = (100,),
        activation: Activations = "relu",
        *,
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRate = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_jobs: int | None = None,
        dropout: float | Sequence[float] = 0.0,
        normalization: Literal["batch", "layer"] | None = None,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        warmup: float = 0.0,
        ema_decay: float | None = None,
        scoring: Scoring = None,
        max_time: float | None = None,
        quantile: float | Sequence[float] = 0.5,
        huber_delta: float = 1.0,
        tweedie_power: float = 1.5,
        precision: Precision = None,
    ) -> None:
        self._set_parameters(locals())

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
        """Train on X and y, from new weights unless ``warm_start`` is set.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The training rows. Training uses float32 if X has this dtype, else float64.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            The targets: positive for ``loss='gamma'``, not negative for 'poisson' and 'tweedie', and of shape (n_samples,) for
            several quantiles.
        sample_weight : array-like, shape (n_samples,), optional
            Weights of the rows, which multiply their losses. A mini-batch with a total weight of zero is skipped.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. With early stopping they replace the held-out rows; otherwise their losses and scores are only
            recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_outputs), optional
            Targets of X_val, in the same form as y. Required with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Weights of the rows of X_val.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as described, if parameters cannot be combined, or if the trained weights are not
            finite.
        """
        with self._validating(X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val):
            return self._fit(X, y, sample_weight=sample_weight, incremental=False)

    @fits
    def fit_chunks(
        self,
        source: ChunkSource,
        *,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on rows that are read in chunks: `fit` for data that do not fit into memory.

        The source is read once to inspect all rows, and then once for each epoch. Each epoch shuffles the rows within a chunk and,
        if the source is a sequence, the order of the chunks; a mini-batch may have rows of several chunks. The stopping rule, the
        schedules and ``warm_start`` work as in `fit`, and a single chunk with all rows gives exactly the result of `fit`.

        Parameters
        ----------
        source : sequence, iterable, or callable without arguments that returns an iterator
            The chunks ``(X, y)`` or ``(X, y, sample_weight)``, in the form that `fit` takes, with the same rows each time. A
            generator is not accepted, as it can be read only once: pass the function that makes it. A chunk without rows is
            skipped.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. Required for early stopping, as no rows are held out here; otherwise their losses and scores are only
            recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_outputs), optional
            Targets of X_val, in the form of y in `fit`. Required with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Weights of the rows of X_val.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If the source, one of its chunks or another argument is not as described, if chunks do not match each other, or if the
            number of rows changes between two readings. Exceptions from the source are passed on. After an error during an epoch,
            the estimator has the weights after the last mini-batch and the history of the complete epochs; with ``warm_start`` it
            can continue from there.

        Notes
        -----
        Training in chunks works badly if the rows are sorted, for instance by class or by time: shuffle them when you store them.
        If any chunk has weights, the rows of chunks without weights have weight 1.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import MLPRegressor
        >>> def chunks():
        ...     for seed in range(3):
        ...         X = np.random.default_rng(seed).normal(size=(500, 2))
        ...         yield X, X.sum(axis=1)
        ...
        >>> model = MLPRegressor(learning_rate="cosine", max_iter=20, random_state=0).fit_chunks(chunks)
        >>> model.t_
        30000
        """
        return self._fit_chunks(source, X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val)

    @fits
    def partial_fit(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch, starting from the present weights and optimizer state.

        With solver 'lbfgs', a call is a complete training from the present weights.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The training rows.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            As in `fit`.
        sample_weight : array-like, shape (n_samples,), optional
            As in `fit`.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        ValueError
            If X, y or sample_weight is not as described, or if ``early_stopping`` is set.

        Notes
        -----
        An integer ``random_state`` seeds every call again, as in scikit-learn, so all calls after the first shuffle the rows in the
        same way. Pass a ``RandomState`` for different permutations.
        """
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def predict(self, X: MatrixLike) -> Floats:
        """Predict the targets of each row.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            Predictions, in float32 if X and the weights are, else in float64.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns seen in `fit`, or if it contains NaN or infinity.
        """
        outputs = self._in_order(self._outputs(X))
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def score(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the coefficient of determination R² of the predictions; with several quantiles, its mean over them.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to predict.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like, shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            At most 1, for perfect predictions; predicting the mean of y scores 0.
        """
        predicted = self.predict(X)
        if self._has_quantiles and predicted.ndim == 2 and np.size(y) == len(y):
            y = np.repeat(np.reshape(y, (-1, 1)), predicted.shape[1], axis=1)
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    @property
    def _has_quantiles(self):
        return self.loss == "quantile" and np.ndim(self.quantile) > 0

    def _in_order(self, outputs):
        """Outputs (n, n_outputs), those of several quantiles sorted, each in place of its quantile."""
        if not self._has_quantiles:
            return outputs
        if len(self.quantile) != outputs.shape[1]:
            raise ValueError(f"quantile must have a number for each of the {outputs.shape[1]} outputs; got {self.quantile!r}")
        return np.sort(outputs, axis=1)[:, np.argsort(np.argsort(self.quantile))]

    def _check_parameters(self, n_hidden, incremental, has_validation):
        super()._check_parameters(n_hidden, incremental, has_validation)
        if self._has_quantiles:
            wrong = [q for q in self.quantile if isinstance(q, bool) or not isinstance(q, Real) or not 0 < q < 1]
            if wrong or not len(self.quantile):
                raise ValueError(f"quantile must hold numbers between 0 and 1, at least one; got {self.quantile!r}")
            if len(self.quantile) > 1 and isinstance(self.scoring, str) and self.scoring != "loss":
                can_be = "None, 'loss' or a function where there are several quantiles"
                raise ValueError(f"scoring must be {can_be}; got {self.scoring!r}")

    def _loss_of_network(self):
        if LOSSES[self.loss].link != self.out_activation_:
            return super()._loss_of_network()  # the parameter was changed after training
        hyper = {name: getattr(self, own) for name, own in LOSS_HYPER[self.loss].items()}
        return self.loss, hyper or None

    def _checked_arrays(self, X, y, reset):
        return training_data(self, X, y, reset, y_numeric=True)

    def _checked_input(self, X, y, incremental, reset):
        X, y = self._checked_arrays(X, y, reset)
        return X, self._encoded(y)

    def _use_summary(self, summary, classes):
        return None

    def _encoded(self, y):
        if not isinstance(y, np.ndarray) or y.dtype.kind not in "biuf":
            raise TypeError(f"y must be a dense array of numbers; got {type(y).__name__} of dtype {y.dtype}")
        y, domain = raveled(y), LOSSES[self.loss].targets
        if domain == "not negative" and (y < 0).any():
            raise ValueError(f"loss={self.loss!r} needs y to be non-negative; some values of y are negative.")
        if domain == "positive" and (y <= 0).any():
            raise ValueError(f"loss={self.loss!r} needs y to be positive; some values of y are not.")
        if not self._has_quantiles:
            return y[:, None] if y.ndim == 1 else y
        if y.ndim > 1:
            raise ValueError(f"several quantiles need y of shape (n_samples,); got {y.shape}")
        return np.repeat(y[:, None], len(self.quantile), axis=1)

    def _decoded(self, y):
        return y[:, 0] if y.shape[1] == 1 or self._has_quantiles else y

    def _targets_key(self):
        return self.loss, len(self.quantile) if self._has_quantiles else None

    def _out_activation(self):
        return LOSSES[self.loss].link

    def _score_outputs(self, y, outputs, sample_weight):
        return r2_score(y, self._in_order(outputs), sample_weight=sample_weight)

    def _score_moments(self, y, outputs, sample_weight, center):
        y, weight = y.astype(np.float64), np.ones(len(y)) if sample_weight is None else sample_weight
        return np.concatenate([weight @ (y - center) ** 2, weight @ (y - self._in_order(outputs)) ** 2])

    def _score_of_moments(self, moments):
        total, residual = moments.reshape(2, -1)
        # For a constant y, as `r2_score`
        return float(np.mean(np.where(total == 0, residual == 0, 1 - residual / np.where(total == 0, 1, total))))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        if is_patched():
            tags.target_tags = scikit_learns_class("MLPRegressor")().__sklearn_tags__().target_tags
        else:  # scikit-learn's own class, 1.7 to 1.9, says False to both, although it fits several outputs, and refuses negative y
            tags.target_tags.multi_output = not self._has_quantiles
            tags.target_tags.positive_only = self.loss in POSITIVE
        return tags

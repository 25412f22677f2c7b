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
    """Multi-layer perceptron regressor: scikit-learn's estimator and its results, on compiled kernels.

    Minimises half the squared error, or another loss.

    Parameters
    ----------
    loss : {'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson', 'gamma', 'tweedie'}, default='squared_error'
        Half the squared error, the absolute error, Huber's loss ``d^2 / 2`` for errors d up to ``huber_delta`` and
        ``huber_delta (|d| - huber_delta / 2)`` above, the pinball loss of ``quantile``; with an exponential output the half
        deviances of the Poisson, gamma and Tweedie distributions. With several outputs it is their sum; but the reported squared
        error is their mean, as in scikit-learn.
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : str, nn.Activation, or sequence of them, default='relu'
        Of all hidden layers, or one for each. Beside scikit-learn's 'identity', 'logistic', 'tanh' and 'relu': 'leaky_relu' (slope
        0.01), 'elu', 'selu', 'gelu' (exact), 'silu', 'mish' and 'softplus', with PyTorch's formulas and constants. With an
        `nn.Activation` of your own the network trains layer by layer instead of in one compiled call an epoch.
    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'rmsprop'}, default='adam'
        'lbfgs' uses all data at once, the others mini-batches. 'adam' is scikit-learn's, with epsilon outside the bias correction;
        'adamw' and 'rmsprop' (decay rate 0.99, no momentum) have PyTorch's formulas, 'adamw' with `weight_decay`.
    alpha : float, default=0.0001
        L2 penalty of the weights: a mini-batch's loss has ``alpha / 2 * |weights|^2`` divided by its number of rows.
    batch_size : int or 'auto', default='auto'
        Rows in a mini-batch, not for 'lbfgs'; 'auto' is ``min(200, n_samples)``.
    learning_rate : str or callable, default='constant'
        'constant', or for 'sgd' only, 'invscaling', which divides ``learning_rate_init`` by ``(samples seen + 1) ** power_t``, and
        'adaptive', which divides the rate by 5 where training would stop otherwise. For all solvers but 'lbfgs', with t the share
        of the steps of ``max_iter`` epochs that are done: 'cosine', ``(1 + cos(pi t)) / 2``; 'one_cycle', PyTorch's OneCycleLR with
        its defaults and the momentum left alone; 'coslog4', ``(1 - cos(2 pi log2(1 + 15 t))) / 2`` (Holzmüller, Grinsztajn,
        Steinwart, *Better by default*, 2024); or a function of t, in [0, 1). They are factors of ``learning_rate_init``.
    learning_rate_init : float, default=0.001
        The learning rate at first, or what schedules multiply; not for 'lbfgs'.
    power_t : float, default=0.5
        Exponent of the schedule 'invscaling', only for 'sgd'.
    max_iter : int, default=200
        The most epochs, or with 'lbfgs' iterations.
    shuffle : bool, default=True
        Draw a new order of the rows for each epoch, not for 'lbfgs'.
    random_state : int, RandomState or None, default=None
        For the initial weights, the split of early stopping, and the shuffling. None is NumPy's global random state, which
        ``np.random.seed`` sets, as in scikit-learn.
    tol : float, default=1e-4
        Training stops after more than ``n_iter_no_change`` epochs in a row in which the loss (early stopping: the score) was not
        better than the best one by ``tol``. For 'lbfgs', the bound of the largest element of the gradient.
    verbose : bool or int, default=False
        Print a line for each epoch.
    warm_start : bool, default=False
        Let `fit` go on from the present weights.
    momentum : float, default=0.9
        Of the updates, in [0, 1], only for 'sgd'.
    nesterovs_momentum : bool, default=True
        Use Nesterov's momentum, only for 'sgd'.
    early_stopping : bool, default=False
        Stop by the score of validation rows, held out or given to `fit`, and keep the weights that scored best. Not for 'lbfgs'.
    validation_fraction : float, default=0.1
        The part of the rows that early stopping holds out where none are given.
    beta_1 : float, default=0.9
        Decay rate of the mean of the gradients, in [0, 1), for 'adam' and 'adamw'.
    beta_2 : float, default=0.999
        Decay rate of the mean of their squares, in [0, 1), for 'adam' and 'adamw'.
    epsilon : float, default=1e-8
        Keeps the divisor above 0, for 'adam', 'adamw' and 'rmsprop'.
    n_iter_no_change : int or inf, default=10
        The most epochs in a row without an improvement by ``tol``, not for 'lbfgs'.
    max_fun : int, default=15000
        The most evaluations of the loss, only for 'lbfgs'.
    n_jobs : int or None, default=None
        Threads. None: as many as the work justifies, at most the cores this process may use; -1: all of these. Never more than a
        limit of threadpoolctl. Not a parameter of scikit-learn's estimator, as the following are not.
    dropout : float or sequence of float, default=0.0
        How likely a hidden unit is to be 0 in training, in [0, 1), or such a rate for each hidden layer; the others are divided by
        1 minus the rate. The masks come from ``random_state``, and are the same for any number of threads and every back end.
    normalization : {'batch', 'layer'} or None, default=None
        A norm between each hidden layer and its activation, with PyTorch's constants: batch norm, whose running statistics predict,
        or layer norm. Batch norm leaves out a last mini-batch of one row.
    weight_decay : float, default=0.0
        Before each update the weights are multiplied by 1 minus the learning rate times this, as in AdamW; biases and the
        parameters of norms are exempt. ``alpha`` is another penalty, a term of the loss.
    clip_norm : float or None, default=None
        The largest norm of a mini-batch's gradient, of all parameters together: a larger one is scaled down, as by
        ``torch.nn.utils.clip_grad_norm_``.
    warmup : float, default=0.0
        The share of all steps, in [0, 1), in which the learning rate rises linearly: step k of these W steps, from 0, has the
        factor ``(k + 1) / (W + 1)``. What ``learning_rate`` says is for the steps after them.
    ema_decay : float or None, default=None
        With d, in [0, 1), the estimator has an exponential average of the weights: after step s it is the sum of ``d ** (s - i)``
        times the weights after step i, divided by the sum of these factors. Predictions, scores and early stopping are those of
        the average; training goes on with the weights themselves, also in later calls of `partial_fit` and warm starts.
    scoring : str, callable or None, default=None
        The score of validation rows. None: the accuracy of a classifier, R² of a regressor; 'loss': minus the loss; another name: a
        scorer of scikit-learn's; a callable: ``scoring(estimator, X, y)``, with ``sample_weight`` if there are weights.
    max_time : float or None, default=None
        After this many seconds training stops, at the end of an epoch, or with 'lbfgs' of an iteration.
    quantile : float or sequence of float, default=0.5
        Of ``loss='quantile'``, in (0, 1). A sequence gives one output for each; `predict` sorts them, so that they never cross.
    huber_delta : float, default=1.0
        Of ``loss='huber'``, above 0, in units of y: larger errors count linearly.
    tweedie_power : float, default=1.5
        Of ``loss='tweedie'``, between 1 and 2: the variance is proportional to this power of the mean.
    precision : {'bfloat16'} or None, default=None
        'bfloat16' trains in float32, whatever the dtype of X, and allows the layers' products to read numbers rounded to bfloat16:
        up to 1.8 times as fast where the processor has the instructions, as ``fastprop info`` says. Sums, weights, optimizer, norms
        and losses stay float32, and so do predictions and ``validation_scores_``. It is an allowance: networks that are no faster
        so are trained in float32. Not with 'lbfgs'.

    Attributes
    ----------
    coefs_ : list of ndarray
        The layers' weights, of shape (n_in, n_out). What is assigned to them counts from the next call on.
    intercepts_ : list of ndarray
        The layers' biases, of shape (n_out,). What is assigned to them counts from the next call on.
    loss_ : float
        The loss of the last epoch.
    best_loss_ : float or None
        The lowest loss of all epochs; None under early stopping.
    loss_curve_ : list of float
        The loss of each epoch; not with solver 'lbfgs'.
    validation_scores_ : list of float or None
        The score of the validation rows after each epoch; None where there are no such rows. Higher is better.
    best_validation_score_ : float or None
        The highest of these.
    validation_loss_curve_ : list of float
        The mean loss of the validation rows after each epoch, without penalty and smoothing. Only where there are such rows.
    best_iter_ : int
        The epoch with the best validation score: its place in ``validation_scores_``, from 1. Only where there are such rows.
    learning_rate_curve_ : list of float
        The learning rate of the last step of each epoch. Only where it changes.
    norm_weights_, norm_biases_ : list of ndarray
        Scale and shift of each hidden layer's norm, of shape (n_units,), with ``normalization``.
    running_means_, running_vars_ : list of ndarray
        The running statistics of each batch norm, of shape (n_units,).
    t_ : int
        Number of samples that the optimizer has seen.
    n_iter_ : int
        Number of epochs, or with 'lbfgs' iterations.
    n_layers_ : int
        Number of layers, the inputs included.
    n_outputs_ : int
        Number of units of the last layer.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the columns, where X had names.
    out_activation_ : {'identity', 'exp'}
        What turns the last layer's logits into outputs.

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
            The rows to train on. They are trained on in float32 if they have this dtype, else in float64.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            The targets: positive for ``loss='gamma'``, not negative for 'poisson' and 'tweedie', one number a row for several
            quantiles.
        sample_weight : array-like, shape (n_samples,), optional
            The loss of each row is multiplied by its weight. A mini-batch whose weights sum to zero is skipped.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. Under early stopping they take the place of the held-out rows; without it they are only recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_outputs), optional
            Their targets, as y; needed with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Their weights.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described, parameters do not go together, or the weights are not finite in the
            end.
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
        """Train on rows that come in chunks, of which only one need be in memory: `fit` for data that do not fit into it.

        The source is read once to look at all rows, and then once for each epoch. An epoch has the rows of a chunk in a new order,
        and the chunks too if the source is a sequence; a mini-batch may have rows of two chunks. The stopping rule, the schedules
        and ``warm_start`` are those of `fit`, and one chunk with all rows gives the bits of `fit`.

        Parameters
        ----------
        source : sequence, iterable, or callable without arguments that returns an iterator
            Gives the chunks ``(X, y)`` or ``(X, y, sample_weight)``, each as `fit` takes them, the same rows each time. Not a
            generator, which can be read only once: pass the function that makes it. A chunk without rows is skipped.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. Early stopping needs them, as no rows are held out here; without it they are only recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_outputs), optional
            Their targets, as y in `fit`; needed with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Their weights.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If the source, a chunk of it or another argument is not as described, chunks do not go together, or the source gives
            another number of rows than at first. What the source raises is passed on. After an error in an epoch the estimator has
            the weights of the last mini-batch and the history of the epochs before; with ``warm_start`` it can go on from there.

        Notes
        -----
        Rows that are sorted, by class or by time, train badly in chunks: mix them when they are stored. If any chunk has weights,
        the rows of those without count once.

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
        """Train for one epoch, going on from the present weights and optimizer state.

        Solver 'lbfgs' trains to the end instead, from the present weights.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to train on.
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
            If X, y or sample_weight is not as described, or ``early_stopping`` is set.

        Notes
        -----
        An integer ``random_state`` seeds every call again, as in scikit-learn: all calls after the first then shuffle the rows in
        the same way. Pass a ``RandomState`` for other permutations.
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
            Float32 if X and the weights are, else float64.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns that `fit` had, or holds NaN or infinity.
        """
        outputs = self._in_order(self._outputs(X))
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def score(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the coefficient of determination of the predictions; of several quantiles, the mean over them.

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
            1 is the best, and 0 that of the mean of y.
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

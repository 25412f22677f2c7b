"""MLPRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from ..annotations import ArrayLike, Floats, Integers, MatrixLike
from ..scikit_learns import is_patched, scikit_learns_class
from .base import BaseMLP
from .decorators import fits
from .targets import raveled
from .validation import training_data
from .weights import ActivationName

if TYPE_CHECKING:
    from ..nn import Activation


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: scikit-learn's estimator and its results, on compiled kernels.

    Minimises half the squared error, or the half Poisson deviance of an exponential output.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        Half of each, with an identity or an exponential output. With several outputs, the reported squared error is their mean,
        while its gradient is that of their sum, as in scikit-learn.
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : {'identity', 'logistic', 'tanh', 'relu'} or nn.Activation, default='relu'
        Of all hidden layers. One of your own trains layer by layer instead of in one compiled call an epoch.
    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        'lbfgs' uses all data at once, the others mini-batches.
    alpha : float, default=0.0001
        L2 penalty of the weights: a mini-batch's loss has ``alpha / 2 * |weights|^2`` divided by its number of rows.
    batch_size : int or 'auto', default='auto'
        Rows in a mini-batch, for 'sgd' and 'adam'; 'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Only for 'sgd'. 'invscaling' divides ``learning_rate_init`` by ``(samples seen + 1) ** power_t``; 'adaptive' divides the
        rate by 5 where training would stop otherwise.
    learning_rate_init : float, default=0.001
        The learning rate at first, for 'sgd' and 'adam'.
    power_t : float, default=0.5
        Exponent of the schedule 'invscaling', only for 'sgd'.
    max_iter : int, default=200
        The most epochs, or with 'lbfgs' iterations.
    shuffle : bool, default=True
        Draw a new order of the rows for each epoch, for 'sgd' and 'adam'.
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
        Stop by the score on rows that are held out, and keep the weights that scored best. Not for 'lbfgs'.
    validation_fraction : float, default=0.1
        The part of the rows that early stopping holds out.
    beta_1 : float, default=0.9
        Decay rate of the mean of the gradients, in [0, 1), only for 'adam'.
    beta_2 : float, default=0.999
        Decay rate of the mean of their squares, in [0, 1), only for 'adam'.
    epsilon : float, default=1e-8
        Keeps the divisor above 0, only for 'adam'.
    n_iter_no_change : int or inf, default=10
        The most epochs in a row without an improvement by ``tol``, for 'sgd' and 'adam'.
    max_fun : int, default=15000
        The most evaluations of the loss, only for 'lbfgs'.
    n_jobs : int or None, default=None
        Threads. None: as many as the work justifies, at most the cores this process may use; -1: all of these. Never more than a
        limit of threadpoolctl. Not a parameter of scikit-learn's estimator.

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
        The loss of each epoch, with solver 'sgd' or 'adam'.
    validation_scores_ : list of float or None
        Under early stopping the coefficient of determination of each epoch.
    best_validation_score_ : float or None
        The highest of these.
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
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
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
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }
    _is_classifier = False

    def __init__(
        self,
        loss: Literal["squared_error", "poisson"] = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | Integers = (100,),
        activation: ActivationName | Activation = "relu",
        *,
        solver: Literal["lbfgs", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
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
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            n_jobs=n_jobs,
        )
        self.loss = loss

    @fits
    def fit(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y, from new weights unless ``warm_start`` is set.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to train on. They are trained on in float32 if they have this dtype, else in float64.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            The targets, not negative for ``loss='poisson'``.
        sample_weight : array-like, shape (n_samples,), optional
            The loss of each row is multiplied by its weight. A mini-batch whose weights sum to zero is skipped.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        ValueError
            If a parameter, X, y or sample_weight is not as described, or the weights are not finite in the end.
        """
        return self._fit(X, y, sample_weight=sample_weight, incremental=False)

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
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _checked_input(self, X, y, incremental, reset):
        X, y = training_data(self, X, y, reset, y_numeric=True)
        if not isinstance(y, np.ndarray) or y.dtype.kind not in "biuf":
            raise TypeError(f"y must be a dense array of numbers; got {type(y).__name__} of dtype {y.dtype}")
        y = raveled(y)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("loss='poisson' needs y to be non-negative; some values of y are negative.")
        return X, y[:, None] if y.ndim == 1 else y

    def _out_activation(self):
        return "exp" if self.loss == "poisson" else "identity"

    def _score_outputs(self, y, outputs, sample_weight):
        return r2_score(y, outputs, sample_weight=sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # scikit-learn's own class says False in 1.7 to 1.9, although it fits several outputs; see `patch_sklearn`.
        theirs = scikit_learns_class("MLPRegressor")().__sklearn_tags__() if is_patched() else None
        tags.target_tags.multi_output = theirs is None or theirs.target_tags.multi_output
        return tags

"""MLPRegressor."""

from typing import ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from ..network import FLOAT_DTYPES
from ..patch import is_in_force, scikit_learns_class
from .base import BaseMLP
from .input import validated
from .targets import raveled


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: scikit-learn's estimator and its results, on compiled kernels.

    Minimises half the squared error, or the half Poisson deviance of an exponential output.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        Half of each, with an identity or an exponential output. With several outputs, the reported squared error is their mean,
        its gradient that of their sum, as in scikit-learn.
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : {'identity', 'logistic', 'tanh', 'relu'} or nn.Activation, default='relu'
        Of all hidden layers. One of your own trains layer by layer instead of in one compiled call an epoch.
    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        'lbfgs' uses all data at once, the others mini-batches.
    alpha : float, default=0.0001
        L2 penalty of the weights: a mini-batch's loss has ``alpha / 2 * |weights|^2`` divided by its number of rows.
    batch_size : int or 'auto', default='auto'
        'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Only for 'sgd'. 'invscaling' divides by ``(samples seen + 1) ** power_t``; 'adaptive' divides by 5 where training would
        stop otherwise.
    learning_rate_init, power_t : float, default=0.001, 0.5
    max_iter : int, default=200
        The most epochs ('lbfgs': iterations).
    shuffle : bool, default=True
        Draw a new order of the rows for each epoch.
    random_state : int, RandomState or None, default=None
        For the initial weights, the split of early stopping, and the shuffling.
    tol : float, default=1e-4
        Training stops after more than ``n_iter_no_change`` epochs in a row in which the loss (early stopping: the score) was not
        better than the best one by ``tol``. For 'lbfgs', of the gradient.
    verbose : bool or int, default=False
        Print a line for each epoch.
    warm_start : bool, default=False
        Let `fit` go on from the present weights.
    momentum, nesterovs_momentum : float, bool, default=0.9, True
        Only for 'sgd'.
    early_stopping : bool, default=False
        Stop by the score on rows that are held out, and keep the weights that scored best. Not for 'lbfgs'.
    validation_fraction : float, default=0.1
        The part of the rows that early stopping holds out.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Only for 'adam'.
    n_iter_no_change : int or inf, default=10
    max_fun : int, default=15000
        The most evaluations of the loss, for 'lbfgs'.
    n_jobs : int or None, default=None
        Threads. None: as many as the work justifies, at most the cores this process may use; -1: all of these. Never more than a
        limit of threadpoolctl. Not a parameter of scikit-learn's estimator.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of the layers. What is assigned to them counts from the next call on.
    loss_ : float
        Of the last epoch.
    best_loss_ : float or None
        None under early stopping.
    loss_curve_ : list of float
        The loss of each epoch; solver 'sgd' or 'adam'.
    validation_scores_, best_validation_score_ : list of float, float, or None
        Coefficients of determination under early stopping.
    t_ : int
        How many samples the optimizer has seen.
    n_iter_, n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X had names.
    out_activation_ : {'identity', 'exp'}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastprop import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = MLPRegressor(solver="lbfgs", max_iter=5000, random_state=0).fit(X, y)
    >>> regressor.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }
    _is_classifier = False

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_jobs=None,
    ):
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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Not negative for ``loss='poisson'``.
        sample_weight : array-like, shape (n_samples,), optional
            A mini-batch whose weights sum to zero is skipped.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch (``solver='lbfgs'``: to the end), going on from the present weights and optimizer state.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self

        Notes
        -----
        An integer ``random_state`` seeds every call anew, as in scikit-learn: all calls but the first then shuffle the rows in
        the same way. Pass a ``RandomState`` for other permutations.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Predictions, shape (n_samples,), or (n_samples, n_outputs) for several outputs."""
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _validate_input(self, X, y, incremental, reset):
        X, y = validated(self, X, y, multi_output=True, y_numeric=True, dtype=FLOAT_DTYPES[::-1], reset=reset)
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
        theirs = scikit_learns_class("MLPRegressor")().__sklearn_tags__() if is_in_force() else None
        tags.target_tags.multi_output = theirs is None or theirs.target_tags.multi_output
        return tags

"""MLPClassifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from ..annotations import ArrayLike, Floats, Integers, MatrixLike
from .base import BaseMLP
from .decorators import available_if, fits
from .targets import check_known_classes, check_same_classes, decide, decode, encode, raveled
from .validation import host_array, training_data
from .weights import ActivationName

if TYPE_CHECKING:
    from ..nn import Activation


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier: scikit-learn's estimator and its results, on compiled kernels.

    Minimises the log-loss of a softmax (several classes) or of logistic outputs (two classes, or several labels).

    Parameters
    ----------
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
    classes_ : ndarray, shape (n_classes,)
        The class labels, sorted.
    coefs_ : list of ndarray
        The layers' weights, of shape (n_in, n_out). What is assigned to them counts from the next call on.
    intercepts_ : list of ndarray
        The layers' biases, of shape (n_out,). What is assigned to them counts from the next call on.
    loss_ : float
        The loss of the last epoch, in nats.
    best_loss_ : float or None
        The lowest loss of all epochs; None under early stopping.
    loss_curve_ : list of float
        The loss of each epoch, with solver 'sgd' or 'adam'.
    validation_scores_ : list of float or None
        Under early stopping the accuracy of each epoch.
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
    out_activation_ : {'softmax', 'logistic'}
        What turns the last layer's logits into outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> classifier.predict(X[:3])
    array([0, 0, 0])
    """

    classes_: NDArray[Any]

    loss = "log_loss"
    _is_classifier = True

    # Written out, as some editors do not find that of the base class.
    def __init__(
        self,
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

    @fits
    def fit(self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y, from new weights unless ``warm_start`` is set.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to train on. They are trained on in float32 if they have this dtype, else in float64.
        y : array-like, shape (n_samples,), or array-like or sparse matrix, shape (n_samples, n_labels)
            Class labels of any kind that sorts, or 0 and 1 for each of several labels.
        sample_weight : array-like, shape (n_samples,), optional
            The loss of each row is multiplied by its weight. A mini-batch whose weights sum to zero is skipped.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        ValueError
            If a parameter, X, y or sample_weight is not as described, or the weights are not finite in the end.
        """
        return self._fit(X, y, sample_weight=sample_weight, incremental=False)

    @available_if(lambda estimator: estimator._check_solver())
    @fits
    def partial_fit(
        self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch, going on from the present weights and optimizer state.

        Only for solver 'sgd' or 'adam'.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to train on.
        y : array-like, shape (n_samples,), or array-like or sparse matrix, shape (n_samples, n_labels)
            As in `fit`.
        sample_weight : array-like, shape (n_samples,), optional
            As in `fit`.
        classes : array-like, shape (n_classes,), optional
            All classes there will ever be; needed in the first call.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        ValueError
            If y has a class that is not in ``classes``, these are missing in the first call, or ``early_stopping`` is set.

        Notes
        -----
        An integer ``random_state`` seeds every call again, as in scikit-learn: all calls after the first then shuffle the rows in
        the same way. Pass a ``RandomState`` for other permutations.
        """
        y, classes = host_array(y, "y"), host_array(classes, "classes")
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict the most probable class of each row, or which labels it has.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray, shape (n_samples,), or ndarray or sparse matrix, shape (n_samples, n_labels)
            Class labels; for several labels 0 and 1, int64, and sparse if y was in `fit`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns that `fit` had, or holds NaN or infinity.
        """
        outputs = self._outputs(X)
        return decode(self._label_binarizer, decide(self._label_binarizer, outputs))

    def predict_proba(self, X: MatrixLike) -> Floats:
        """Predict the probabilities of the classes, or of the labels.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray, shape (n_samples, n_classes) or (n_samples, n_labels)
            Float32 if X and the weights are, else float64. The columns are in the order of ``classes_``. Rows sum to 1 unless there
            are several labels, which have independent probabilities.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns that `fit` had, or holds NaN or infinity.
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def predict_log_proba(self, X: MatrixLike) -> Floats:
        """Predict the logarithms of the probabilities of the classes, or of the labels.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray, shape (n_samples, n_classes) or (n_samples, n_labels)
            The natural logarithm of what `predict_proba` returns; -inf where a probability is rounded to 0.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns that `fit` had, or holds NaN or infinity.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def _checked_input(self, X, y, incremental, reset):
        X, y = training_data(self, X, y, reset)
        y = raveled(y)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            check_same_classes(y, self.classes_)
        else:
            check_known_classes(y, self.classes_)
        return X, encode(self._label_binarizer, y)

    def _n_outputs(self, y):
        return y.shape[1] if y.ndim == 2 else len(self.classes_)

    def _out_activation(self):
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _score_outputs(self, y, outputs, sample_weight):
        hits = decide(self._label_binarizer, outputs) == y
        return np.average(hits if hits.ndim == 1 else hits.all(axis=1), weights=sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

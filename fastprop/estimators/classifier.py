"""MLPClassifier."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from ..network import FLOAT_DTYPES
from .base import BaseMLP
from .input import host_array, validated
from .targets import check_known_classes, check_same_classes, decide, decode, encode, raveled


def _is_stochastic(estimator):
    if estimator.solver not in ("sgd", "adam"):
        raise AttributeError(f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic.")
    return True


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
    classes_ : ndarray, shape (n_classes,)
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of the layers. What is assigned to them counts from the next call on.
    loss_ : float
        Of the last epoch, in nats.
    best_loss_ : float or None
        None under early stopping.
    loss_curve_ : list of float
        The loss of each epoch; solver 'sgd' or 'adam'.
    validation_scores_, best_validation_score_ : list of float, float, or None
        Accuracies under early stopping.
    t_ : int
        How many samples the optimizer has seen.
    n_iter_, n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X had names.
    out_activation_ : {'softmax', 'logistic'}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> classifier.predict(X[:3])
    array([0, 0, 0])
    """

    loss = "log_loss"
    _is_classifier = True

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        sample_weight : array-like, shape (n_samples,), optional
            A mini-batch whose weights sum to zero is skipped.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch, going on from the present weights and optimizer state.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, shape (n_classes,)
            All classes there will ever be; needed in the first call.

        Returns
        -------
        self

        Notes
        -----
        An integer ``random_state`` seeds every call anew, as in scikit-learn: all calls but the first then shuffle the rows in
        the same way. Pass a ``RandomState`` for other permutations.
        """
        y, classes = host_array(y, "y"), host_array(classes, "classes")
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """The most probable class of each row, shape (n_samples,), or 0 and 1 for each label, shape (n_samples, n_labels)."""
        outputs = self._outputs(X)
        return decode(self._label_binarizer, decide(self._label_binarizer, outputs))

    def predict_proba(self, X):
        """Probabilities, shape (n_samples, n_classes) in the order of ``classes_``, or (n_samples, n_labels)."""
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def predict_log_proba(self, X):
        """The logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def _validate_input(self, X, y, incremental, reset):
        X, y = validated(self, X, y, multi_output=True, dtype=FLOAT_DTYPES[::-1], reset=reset)
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

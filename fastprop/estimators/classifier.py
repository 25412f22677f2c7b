"""MLPClassifier."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from ..annotations import ArrayLike, ChunkSource, Floats, Integers, MatrixLike
from ..decorators import available_if, fits
from ..precision import Precision
from .base import BaseMLP
from .class_weights import weights_of_labels
from .parameters import Activations, LearningRate, Parameters, Scoring, SolverName
from .targets import check_known_classes, check_same_classes, decide, decode, encode, raveled, smoothed
from .validation import host_array, training_data

ClassWeight: TypeAlias = dict[Any, float] | list[dict[Any, float]] | Literal["balanced"] | None


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier with scikit-learn's interface and results, on compiled kernels.

    Minimises the log-loss of softmax outputs (more than two classes) or of logistic outputs (two classes, or several labels).

    Parameters
    ----------
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
    class_weight : dict, list of dict, 'balanced' or None, default=None
        Weights of the classes, which multiply ``sample_weight``: a dict from class label to weight, or with several labels a list
        with one dict for each label. 'balanced': ``n_samples / (n_classes * rows of the class)``. Validation rows given to `fit`
        are weighted by ``sample_weight_val`` only.
    label_smoothing : float, default=0.0
        Smoothing e, in [0, 1): training uses the target probabilities ``(1 - e) y + e / K`` in place of y. K is the number of
        classes, and 2 for each label if there are several.
    precision : {'bfloat16'} or None, default=None
        'bfloat16' trains in float32, whatever the dtype of X, and permits the matrix products of the layers to round their inputs
        to bfloat16. This makes training up to 1.9 times as fast if the processor has the instructions, which ``fastprop info``
        shows. Sums, weights, optimizer state, norms, losses, predictions and ``validation_scores_`` stay in float32. Networks that
        would not gain from bfloat16 are trained in float32. Not for 'lbfgs'.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The class labels, sorted.
    coefs_ : list of ndarray
        Weights of each layer, of shape (n_in, n_out). Weights that you assign are used from the next call on.
    intercepts_ : list of ndarray
        Biases of each layer, of shape (n_out,). Biases that you assign are used from the next call on.
    loss_ : float
        Loss of the last epoch, in nats.
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
    out_activation_ : {'softmax', 'logistic'}
        Activation of the last layer.

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

    class_weight: ClassWeight = None
    label_smoothing: float = 0.0
    loss = "log_loss"
    _is_classifier = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Parameters._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    # Written out, as some editors do not find that of the base class.
    def __init__(
        self,
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
        class_weight: ClassWeight = None,
        label_smoothing: float = 0.0,
        precision: Precision = None,
    ) -> None:
        self._set_parameters(locals())

    @fits
    def fit(
        self,
        X: MatrixLike,
        y: MatrixLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MatrixLike | None = None,
        y_val: MatrixLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on X and y, from new weights unless ``warm_start`` is set.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The training rows. Training uses float32 if X has this dtype, else float64.
        y : array-like, shape (n_samples,), or array-like or sparse matrix, shape (n_samples, n_labels)
            Class labels of any type that can be sorted, or for several labels a column of 0 and 1 for each.
        sample_weight : array-like, shape (n_samples,), optional
            Weights of the rows, which multiply their losses. A mini-batch with a total weight of zero is skipped.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. With early stopping they replace the held-out rows; otherwise their losses and scores are only
            recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_labels), optional
            Labels of X_val, in the same form as y. Required with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Weights of the rows of X_val.

        Returns
        -------
        MLPClassifier
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
        classes: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        y_val: MatrixLike | None = None,
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
        classes : array-like, shape (n_classes,), optional
            All classes that exist; by default those in the source.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. Required for early stopping, as no rows are held out here; otherwise their losses and scores are only
            recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_labels), optional
            Labels of X_val, in the form of y in `fit`. Required with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Weights of the rows of X_val.

        Returns
        -------
        MLPClassifier
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
        >>> from fastprop import MLPClassifier
        >>> def chunks():
        ...     for seed in range(3):
        ...         X = np.random.default_rng(seed).normal(size=(500, 2))
        ...         yield X, X.sum(axis=1) > 0
        ...
        >>> model = MLPClassifier(learning_rate="cosine", max_iter=20, random_state=0).fit_chunks(chunks)
        >>> model.t_
        30000
        """
        return self._fit_chunks(source, classes, X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val)

    @available_if(lambda estimator: estimator._check_solver())
    @fits
    def partial_fit(
        self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch, starting from the present weights and optimizer state.

        Not available for solver 'lbfgs'.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The training rows.
        y : array-like, shape (n_samples,), or array-like or sparse matrix, shape (n_samples, n_labels)
            As in `fit`.
        sample_weight : array-like, shape (n_samples,), optional
            As in `fit`.
        classes : array-like, shape (n_classes,), optional
            All classes that y may have in any call. Required in the first call.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        ValueError
            If y has a class that is not in ``classes``, if ``classes`` is missing in the first call, if ``early_stopping`` is set,
            or if ``class_weight`` is 'balanced'.

        Notes
        -----
        An integer ``random_state`` seeds every call again, as in scikit-learn, so all calls after the first shuffle the rows in the
        same way. Pass a ``RandomState`` for different permutations.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight '{self.class_weight}' is not supported for partial_fit. In order to use 'balanced' weights, use "
                f"compute_class_weight('{self.class_weight}', classes=classes, y=y). In place of y you can use a large enough "
                "sample of the full training set target to properly estimate the class frequency distributions. Pass the resulting "
                "weights as the class_weight parameter."
            )
        y, classes = host_array(y, "y"), host_array(classes, "classes")
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict the most probable class of each row, or the set of its labels.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The rows to predict.

        Returns
        -------
        ndarray, shape (n_samples,), or ndarray or sparse matrix, shape (n_samples, n_labels)
            Class labels; for several labels, a column of 0 and 1 for each, in int64, sparse if y was sparse in `fit`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns seen in `fit`, or if it contains NaN or infinity.
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
            Probabilities, in float32 if X and the weights are, else in float64. The columns are in the order of ``classes_``. Each
            row sums to 1; but the probabilities of several labels are independent.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns seen in `fit`, or if it contains NaN or infinity.
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
            Natural logarithm of the result of `predict_proba`; -inf where a probability is rounded to 0.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X does not have the columns seen in `fit`, or if it contains NaN or infinity.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def _checked_arrays(self, X, y, reset):
        return training_data(self, X, y, reset)

    def _checked_input(self, X, y, incremental, reset):
        X, y = self._checked_arrays(X, y, reset)
        y = raveled(y)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            check_same_classes(y, self.classes_)
        else:
            check_known_classes(y, self.classes_)
        return X, encode(self._label_binarizer, y)

    def _use_summary(self, summary, classes):
        labels = summary.targets
        if classes is not None:
            labels = labels.among(classes)
        if hasattr(self, "classes_") and self.warm_start:
            check_same_classes(labels.classes, self.classes_)
        else:
            self._label_binarizer, self.classes_ = labels.binarizer, labels.classes
        return labels.balanced_weights(summary.n_rows) if self.class_weight == "balanced" else None

    def _encoded(self, y):
        y = raveled(y)
        check_known_classes(y, self.classes_)
        return encode(self._label_binarizer, y)

    def _decoded(self, y):
        return decode(self._label_binarizer, y)

    def _weights_of_rows(self, y, sample_weight, incremental, class_weight=None):
        class_weight = self.class_weight if class_weight is None else class_weight
        if class_weight is None:
            return sample_weight
        weights = weights_of_labels(class_weight, self._decoded(y), self.classes_, incremental)
        return weights if sample_weight is None else sample_weight * weights

    def _prepared_targets(self, y):
        return smoothed(y, self.n_outputs_, self.label_smoothing) if self.label_smoothing else y

    def _n_outputs(self, y):
        return y.shape[1] if y.ndim == 2 else len(self.classes_)

    def _out_activation(self):
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _score_outputs(self, y, outputs, sample_weight):
        return np.average(self._hits(y, outputs), weights=sample_weight)

    def _score_moments(self, y, outputs, sample_weight, center):
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        return np.array([weight[self._hits(y, outputs)].sum(dtype=np.float64), weight.sum(dtype=np.float64)])

    def _score_of_moments(self, moments):
        return float(moments[0] / moments[1])

    def _hits(self, y, outputs):
        """For each row whether the decision is right."""
        hits = decide(self._label_binarizer, outputs) == y
        return hits if hits.ndim == 1 else hits.all(axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

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
    """Multi-layer perceptron classifier: scikit-learn's estimator and its results, on compiled kernels.

    Minimises the log-loss of a softmax (several classes) or of logistic outputs (two classes, or several labels).

    Parameters
    ----------
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
    class_weight : dict, list of dict, 'balanced' or None, default=None
        Factors of ``sample_weight``: a dict from labels to weights, for several labels a list with a dict for each; 'balanced' is
        ``n_samples / (n_classes * rows of the class)``. Validation rows that are given have only their own weights.
    label_smoothing : float, default=0.0
        With e, in [0, 1), the target probabilities y in training are ``(1 - e) y + e / K``; K is the number of classes, 2 for two
        classes and for each of several labels.
    precision : {'bfloat16'} or None, default=None
        'bfloat16' trains in float32, whatever the dtype of X, and allows the layers' products to read numbers rounded to bfloat16:
        up to 1.8 times as fast where the processor has the instructions, as ``fastprop info`` says. Sums, weights, optimizer, norms
        and losses stay float32, and so do predictions and ``validation_scores_``. It is an allowance: networks that are no faster
        so are trained in float32. Not with 'lbfgs'.

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
            The rows to train on. They are trained on in float32 if they have this dtype, else in float64.
        y : array-like, shape (n_samples,), or array-like or sparse matrix, shape (n_samples, n_labels)
            Class labels of any kind that sorts, or 0 and 1 for each of several labels.
        sample_weight : array-like, shape (n_samples,), optional
            The loss of each row is multiplied by its weight. A mini-batch whose weights sum to zero is skipped.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. Under early stopping they take the place of the held-out rows; without it they are only recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_labels), optional
            Their labels, as y; needed with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Their weights.

        Returns
        -------
        MLPClassifier
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
        classes: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        y_val: MatrixLike | None = None,
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
        classes : array-like, shape (n_classes,), optional
            All classes there are; by default those in the source.
        X_val : array-like or sparse matrix, shape (n_val, n_features), optional
            Validation rows. Early stopping needs them, as no rows are held out here; without it they are only recorded.
        y_val : array-like, shape (n_val,) or (n_val, n_labels), optional
            Their labels, as y in `fit`; needed with X_val.
        sample_weight_val : array-like, shape (n_val,), optional
            Their weights.

        Returns
        -------
        MLPClassifier
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
            If y has a class that is not in ``classes``, these are missing in the first call, ``early_stopping`` is set, or
            ``class_weight`` is 'balanced'.

        Notes
        -----
        An integer ``random_state`` seeds every call again, as in scikit-learn: all calls after the first then shuffle the rows in
        the same way. Pass a ``RandomState`` for other permutations.
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

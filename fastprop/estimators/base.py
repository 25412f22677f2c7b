"""What MLPClassifier and MLPRegressor share: parameters, the steps of a fit, the attributes, input for prediction."""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Hidden, Interval, StrOptions
from sklearn.utils._param_validation import Options as Choices
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..annotations import Floats, Integers
from ..lbfgs import packed_spans, train_lbfgs, unpack
from ..loop import shuffled_orders
from ..network import Network
from ..same_data import checked_once
from ..threads import n_threads_of_call, n_threads_of_prediction, n_threads_of_steps
from ..training_set import float_dtype
from ..warn import call, warn
from .callbacks import CallbackMixin
from .inputs import finite_rows, plain_rows
from .interop import InteropMixin, fastprops_optimizer
from .private_names import PrivateNamesMixin
from .schedules import new_optimizer
from .stopping import History, StoppingRule, Validation, train
from .subclassing import SubclassingMixin
from .validation import host_array, validated
from .weights import ACTIVATIONS, LOSSES, ActivationName, NoKernelError, WeightsMixin, network_type

if TYPE_CHECKING:
    from ..nn import Activation

# History's field -> the estimator's attribute
HISTORY = {
    "loss_curve": "loss_curve_",
    "n_samples_seen": "t_",
    "best_loss": "best_loss_",
    "validation_scores": "validation_scores_",
    "best_validation_score": "best_validation_score_",
    "no_improvement_count": "_no_improvement_count",
}


class BaseMLP(SubclassingMixin, WeightsMixin, CallbackMixin, InteropMixin, PrivateNamesMixin, BaseEstimator):
    """Base of both estimators; the parameters are described there."""

    # Parameters that scikit-learn does not have need a default here, for subclasses that set scikit-learn's by themselves.
    n_jobs = None

    # scikit-learn's HTML shows the descriptions of parameters, from the docstring here, only if there is a page to link to.
    # fastprop has none; scikit-learn's page of the same class has the same parameters.
    _doc_link_module = "fastprop"
    _doc_link_template = "https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.{estimator_name}.html"

    # Only once fitted; described in the estimators' docstrings.
    coefs_: list[Floats]
    intercepts_: list[Floats]
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    t_: int
    n_iter_: int
    n_layers_: int
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    out_activation_: Literal["softmax", "logistic", "identity", "exp"]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), Hidden(HasMethods(["value", "derivative"]))],  # the message is scikit-learn's
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Choices(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    }

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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_jobs = n_jobs

    # What the two estimators differ in

    @abstractmethod
    def _checked_input(self, X, y, incremental, reset):
        """X as a float array, and y in the form of `Network.training_set`; may set attributes about classes."""

    @abstractmethod
    def _out_activation(self):
        """The value of ``out_activation_``, which decides the loss."""

    @abstractmethod
    def _score_outputs(self, y, outputs, sample_weight):
        """The score for early stopping of a network's outputs, where y is in the form of `_checked_input`."""

    # Fitting

    def _fit(self, X, y, sample_weight=None, incremental=False):
        if replaced := self._replaced():
            return self._fit_as_scikit_learn(replaced, X, y, sample_weight, incremental)
        hidden_layer_sizes = self._hidden_layer_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given = X, y, sample_weight = host_array(X, "X"), host_array(y, "y"), host_array(sample_weight, "sample_weight")
        check = partial(self._checked_input, incremental=incremental, reset=first_pass)
        X, y = check(X, y) if incremental or self.warm_start else checked_once(self, X, y, check)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
            if not sample_weight.any():  # scikit-learn 1.7 does not check this itself
                raise ValueError("Sample weights must contain at least one non-zero number.")
        observer = self._observer(*given, incremental)
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._make_network(X, self._n_outputs(y), hidden_layer_sizes)
        if self.solver == "lbfgs":
            network = self._train_lbfgs(X, y, sample_weight, observer)
        else:
            network = self._train_stochastic(X, y, sample_weight, incremental, observer)
        if not np.isfinite(network.params).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
            )
        if observer is not None:
            observer.finish()
        return self

    def _hidden_layer_sizes(self):
        sizes = self.hidden_layer_sizes
        try:
            sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
            if any(isinstance(size, (bool, np.bool_)) for size in sizes):
                raise TypeError("an integer is required")  # NumPy's, which scikit-learn passes on
            integers = [operator.index(size) for size in sizes]
        except TypeError as error:
            raise TypeError(f"hidden_layer_sizes must be integers, got {sizes}: {error}") from None
        if any(size <= 0 for size in integers):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return integers

    def _n_outputs(self, y):
        return y.shape[1]

    def _make_network(self, X, n_outputs, hidden_layer_sizes):
        sizes = [X.shape[1], *hidden_layer_sizes, n_outputs]
        self.n_outputs_, self.n_layers_ = n_outputs, len(sizes)
        self.out_activation_ = self._out_activation()
        make, activation = network_type(self.activation)
        network = make(sizes, activation, LOSSES[self.out_activation_], X.dtype)
        network.initialize(self._random_state)
        self._use_network(network)
        self.n_iter_ = self.t_ = 0
        if self.solver == "lbfgs":
            return
        if self.early_stopping:
            self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_
        self._store(self._new_history())

    def _new_history(self):
        return History(best_loss=None, validation_scores=[], best_validation_score=-math.inf) if self.early_stopping else History()

    def _store(self, history):
        for name, attribute in HISTORY.items():
            setattr(self, attribute, getattr(history, name))
        self.n_iter_ = history.n_epochs
        if history.loss_curve:
            self.loss_ = history.loss_curve[-1]

    def _train_stochastic(self, X, y, sample_weight, incremental, observer):
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        network, history = self._trainable_network(), self._history()
        rows, validation = np.arange(X.shape[0]), None
        data = network.training_set(X, y, sample_weight)
        if self.early_stopping:
            rows, validation = self._hold_out(data.rows, y, sample_weight)
        batch_size = self._batch_size(len(rows))
        n_threads = n_threads_of_steps(self.n_jobs, batch_size, network.n_weights)
        if incremental and hasattr(self, "_optimizer"):
            self._optimizer = fastprops_optimizer(self._optimizer)
            self._optimizer.attach(network)
        else:
            self._optimizer = new_optimizer(network, self.solver, self)
        if observer is not None:
            observer.watch(network, history, validation, rows)
        verdict = {"tol": self.tol, "n_iter_no_change": self.n_iter_no_change, "n_threads": n_threads, "verbose": self.verbose}
        rule = StoppingRule(network, self._optimizer, history, len(rows), validation, **verdict)
        orders = shuffled_orders(rows, self._random_state if self.shuffle else None)
        options = {"batch_size": batch_size, "alpha": self.alpha, "clip": _clip(network), "observer": observer}
        try:
            ending = train(rule, data, orders, 1 if incremental else self.max_iter, **options)
        finally:
            self._store(history)
        if validation is not None:
            network.params[:] = validation.best_params
            self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_
        if ending == "interrupted":
            warn("Training interrupted by user.")
        elif ending == "finished" and not incremental:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter:d}) reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
            )
        return network

    def _history(self):
        """The history that training goes on with."""
        # If weights were set by hand, or scikit-learn before 1.0 stored the estimator, the history is missing or incomplete.
        known = {name: getattr(self, attribute) for name, attribute in HISTORY.items() if hasattr(self, attribute)}
        history = replace(self._new_history(), **known)
        after_lbfgs = "loss_curve" not in known and hasattr(self, "_coef_indptr")
        by_score = history.best_loss is None, history.validation_scores is not None
        if after_lbfgs or by_score != (bool(self.early_stopping),) * 2:
            raise ValueError(
                "training cannot go on with solver 'adam' or 'sgd' after solver 'lbfgs', nor with another value of "
                "early_stopping: the earlier training left no history for it. Fit with warm_start=False, or a clone"
            )
        return history

    def _hold_out(self, X, y, sample_weight):
        """The rows to train on, and the validation on the others."""
        # Only two classes are stratified, as in scikit-learn.
        stratify = y if self._is_classifier and y.ndim == 2 and y.shape[1] == 1 else None
        fraction, random_state = self.validation_fraction, self._random_state
        rows, held_out = train_test_split(np.arange(X.shape[0]), test_size=fraction, random_state=random_state, stratify=stratify)
        if len(held_out) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        x, y = X[held_out], y[held_out]
        weight = None if sample_weight is None else sample_weight[held_out]
        best = getattr(self, "_best_coefs", self.coefs_), getattr(self, "_best_intercepts", self.intercepts_)
        return rows, Validation(x, lambda outputs: self._score_outputs(y, outputs, weight), Network.from_arrays(*best).params)

    def _batch_size(self, n_samples):
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return min(int(self.batch_size), n_samples)

    def _train_lbfgs(self, X, y, sample_weight, observer):
        network = self._trainable_network()
        if observer is not None:
            observer.watch(network)
        result = train_lbfgs(
            network,
            network.training_set(X, y, sample_weight),
            alpha=self.alpha,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            clip=_clip(network),
            n_threads=n_threads_of_call(self.n_jobs, X.shape[0], 6 * network.n_weights),
            observer=observer,
        )
        network = network.astype(np.float64)
        unpack(network, result.x)
        self._use_network(network)
        self._coef_indptr, self._intercept_indptr = packed_spans(network)
        # If a callback stopped training, that is no failure to warn of.
        stopped = observer is not None and observer.stopped
        self.n_iter_ = result.nit if stopped else call(_check_optimize_result, "lbfgs", result, self.max_iter)
        self.loss_ = result.fun
        return network

    # Prediction

    def predictor(self, x: Floats, out: Floats, n_threads: int = 1) -> Callable[[], None]:
        """The bare compiled forward pass with the present weights, bound to arrays: for predicting one row after another.

        The weights are copied, into the order in which they will be read: few rows of a large network take less time than in
        `predict`. Everything is checked here and nothing in a call, so that a call is safe, but does not notice NaN or infinity.

        Parameters
        ----------
        x : ndarray, shape (n, n_features_in_), C-contiguous, of the dtype of ``coefs_``
            The rows; write the next ones into it. At least one.
        out : ndarray, shape (n, n_outputs_), C-contiguous, of the dtype of ``coefs_``
            What a call overwrites with the network's outputs: predictions of a regressor, probabilities of the classes or labels
            of a classifier, of two classes only that of the second.
        n_threads : int
            Number of threads of each call.

        Returns
        -------
        callable
            Without arguments. It stays with the weights of now: changes of theirs and another `fit` do not reach it. Threads that
            call it at once write into the same ``out``; make one for each.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the estimator is not fitted.
        """
        check_is_fitted(self)
        return self._current_network().predictor(x, out, n_threads)

    def _outputs(self, X):
        """The network's outputs (n, n_outputs_) in NumPy's common dtype of X and the weights."""
        if "coefs_" not in self.__dict__:
            check_is_fitted(self)
        try:
            network = self._current_network()
        except NoKernelError:
            return self._forward_pass_fast(X)
        network, rows = self._with_rows(network, X)
        return network.forward(rows, n_threads_of_prediction(self.n_jobs, rows.shape[0], 2 * network.n_weights))

    def _with_rows(self, network, X):
        """(the network in NumPy's common dtype of X and the weights, the rows of X as they go into it)."""
        rows = plain_rows(X, network.sizes[0], self.__dict__.get("feature_names_in_"))
        if rows is not None:
            rows = finite_rows(rows, network.dtype, self.n_jobs)
        if rows is None:
            rows = validated(self, host_array(X, "X"), reset=False)
        if rows.dtype != network.dtype and (dtype := float_dtype(rows, network)) != network.dtype:
            network = network.astype(dtype)
        return network, rows


def _clip(network):
    """How far from 0 and 1 scikit-learn clips probabilities before it takes the logarithm for ``loss_``."""
    return float(np.finfo(network.dtype).eps)

"""The base of MLPClassifier and MLPRegressor: parameters, the steps of a fit, attributes, input for prediction."""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import check_is_fitted

from ..annotations import ArrayLike, Floats
from ..collective.context import active, refuse
from ..lbfgs import packed_spans, train_lbfgs, unpack
from ..precision import PredictionPrecision
from ..same_data import checked_once
from ..threads import n_threads_of_call, n_threads_of_prediction
from ..training_set import float_dtype
from ..warn import call
from .callbacks import CallbackMixin, MLPObserver
from .chunks import in_chunks
from .held_out import VALIDATION, given_rows
from .hidden import HiddenLayersMixin
from .inputs import finite_rows, plain_rows
from .interop import InteropMixin
from .parameters import Parameters
from .private_names import PrivateNamesMixin
from .rows import InMemory
from .shares import in_shares
from .stochastic import check_rows, clip, train
from .stopping import HISTORY, OPTIONAL, History
from .subclassing import SubclassingMixin
from .validation import check_some_weight, checked_weights, host_array, unchanged_by_errors, validated
from .weights import NoKernelError, WeightsMixin, network_type


class BaseMLP(
    SubclassingMixin, WeightsMixin, HiddenLayersMixin, CallbackMixin, InteropMixin, PrivateNamesMixin, Parameters, BaseEstimator
):
    """Base of both estimators; the parameters are described there."""

    # scikit-learn's HTML shows the descriptions of parameters, from the docstring here, only if there is a page to link to.
    # fastprop has none; scikit-learn's page of the same class has the same parameters.
    _doc_link_module = "fastprop"
    _doc_link_template = "https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.{estimator_name}.html"

    # Set by `fit`; described in the estimators' docstrings.
    coefs_: list[Floats]
    intercepts_: list[Floats]
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    best_iter_: int
    learning_rate_curve_: list[float]
    norm_weights_: list[Floats]
    norm_biases_: list[Floats]
    running_means_: list[Floats]
    running_vars_: list[Floats]
    t_: int
    n_iter_: int
    n_layers_: int
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    out_activation_: Literal["softmax", "logistic", "identity", "exp"]

    # What the two estimators differ in

    @abstractmethod
    def _checked_arrays(self, X, y, reset):
        """X as a float array, and y as scikit-learn validates it."""

    @abstractmethod
    def _checked_input(self, X, y, incremental, reset):
        """`_checked_arrays`, with y as `_encoded` returns it; may set attributes about classes."""

    @abstractmethod
    def _use_summary(self, summary, classes):
        """Set the attributes about classes from the `parts.Summary` of all data and the classes that the user gave, or None.

        Returns the value that replaces ``class_weight`` for the parts, or None.
        """

    @abstractmethod
    def _encoded(self, y):
        """Targets that scikit-learn has validated, in the form of `Network.training_set`; the classes must be known."""

    @abstractmethod
    def _decoded(self, y):
        """The inverse of `_encoded`."""

    def _targets_key(self):
        """The parameters on which the y of `_checked_input` depends."""
        return None

    @abstractmethod
    def _out_activation(self):
        """The value of ``out_activation_``, which decides the loss."""

    @abstractmethod
    def _score_outputs(self, y, outputs, sample_weight):
        """The score for early stopping of a network's outputs, with y in the form of `_encoded`."""

    @abstractmethod
    def _score_moments(self, y, outputs, sample_weight, center):
        """A vector; `_score_of_moments` of its sum over all parts is the score of all rows. ``center`` is the mean of y."""

    @abstractmethod
    def _score_of_moments(self, moments):
        """The score, as from `_score_outputs`."""

    def _weights_of_rows(self, y, sample_weight, incremental, class_weight=None):
        """The weights of rows, or None; y is in the form of `_encoded`, and class_weight may replace the parameter."""
        return sample_weight

    def _prepared_targets(self, y):
        """The network's targets for y in the form of `_encoded`, for a solver that needs all data at once."""
        return y

    # Fitting

    @contextmanager
    def _validating(self, **given):
        """A block in which `_fit` gets validation rows; its signature stays scikit-learn's, as subclasses override it."""
        self._validation_given = {name: value for name, value in given.items() if value is not None}
        try:
            yield
        finally:
            vars(self).pop("_validation_given", None)

    def _fit(self, X, y, sample_weight=None, incremental=False):
        given = vars(self).pop("_validation_given", {})
        if replaced := self._replaced():
            self._check_scikit_learn_can(given)
            return self._fit_as_scikit_learn(replaced, X, y, sample_weight, incremental)
        arrays = host_array(X, "X"), host_array(y, "y"), host_array(sample_weight, "sample_weight")
        block = active()
        if block is None:
            check = partial(self._in_memory, *arrays, given, incremental)
        else:
            self._check_has_batches("training on several ranks")
            if incremental:
                refuse("partial_fit")
            check = partial(in_shares, self, block, *arrays, given)
        return self._fit_to(check, arrays, bool(given), incremental)

    def _in_memory(self, X, y, sample_weight, given, incremental, reset):
        """The arguments of `_fit` as `InMemory`."""
        check = partial(self._checked_input, incremental=incremental, reset=reset)
        X, y = check(X, y) if incremental or self.warm_start else checked_once(self, X, y, check)
        sample_weight = self._weights_of_rows(y, checked_weights(sample_weight, X, of_a_part=True), incremental)
        check_some_weight(sample_weight is None or sample_weight.any())
        rows = given_rows(self, X.dtype, y[:1], *map(given.get, VALIDATION))
        check_rows(self, X.shape[0], rows)
        return InMemory(X, y, sample_weight, rows)

    def _fit_chunks(self, source, classes=None, **given):
        """`_fit` to the chunks of a source; ``given`` has the arguments for validation."""
        given = {name: value for name, value in given.items() if value is not None}
        if replaced := self._replaced():
            raise TypeError(f"fit_chunks runs compiled code, which does not call {', '.join(replaced)}")
        refuse("fit_chunks")
        self._check_has_batches("fit_chunks")
        return self._fit_to(partial(in_chunks, self, source, classes, given), (source, None, None), bool(given), False)

    def _fit_to(self, check, as_given, has_validation, incremental):
        """Fit to the rows, such as `InMemory`, that ``check(reset=...)`` returns; ``as_given`` are X, y and sample_weight."""
        hidden_layer_sizes = self._hidden_layer_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        n_hidden = len(hidden_layer_sizes) if first_pass else len(self.coefs_) - 1
        self._check_parameters(n_hidden, incremental, has_validation)
        if not first_pass:
            self._check_norms()
        with unchanged_by_errors(self):
            rows = check(reset=first_pass)
        observer = MLPObserver(self, *as_given, incremental) if self._has_callbacks else None
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            dtype = np.dtype(np.float32) if self.precision else rows.dtype
            self._make_network(rows.n_features, dtype, self._n_outputs(rows.example), hidden_layer_sizes)
        if self.solver == "lbfgs":
            network = self._train_lbfgs(rows, observer)
        else:
            network = train(self, rows, self._history(), incremental, observer)
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

    def _make_network(self, n_features, dtype, n_outputs, hidden_layer_sizes):
        sizes = [n_features, *hidden_layer_sizes, n_outputs]
        self.n_outputs_, self.n_layers_ = n_outputs, len(sizes)
        self.out_activation_ = self._out_activation()
        make, activation = network_type(self.activation)
        loss, hyper = self._loss_of_network()
        network = make(sizes, activation, loss, dtype, hyper, self.normalization)
        network.initialize(self._random_state)
        self._use_network(network)
        self.n_iter_ = self.t_ = 0
        if self.solver == "lbfgs":
            for name in OPTIONAL:
                vars(self).pop(HISTORY[name], None)
            return
        if self.early_stopping:
            self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_
        self._store(self._new_history())

    def _new_history(self):
        return History(best_loss=None, validation_scores=[], best_validation_score=-math.inf) if self.early_stopping else History()

    def _store(self, history):
        for name, attribute in HISTORY.items():
            if name in OPTIONAL and getattr(history, name) is None:
                vars(self).pop(attribute, None)
            else:
                setattr(self, attribute, getattr(history, name))
        self.n_iter_ = history.n_epochs
        if history.loss_curve:
            self.loss_ = history.loss_curve[-1]

    def _history(self):
        """The history with which training continues."""
        # If weights were set by hand, or scikit-learn before 1.0 stored the estimator, the history is missing or incomplete.
        known = {name: getattr(self, attribute) for name, attribute in HISTORY.items() if hasattr(self, attribute)}
        history = replace(self._new_history(), **known)
        after_lbfgs = "loss_curve" not in known and hasattr(self, "_coef_indptr")
        other_rule = (history.best_loss is None) != bool(self.early_stopping)
        if after_lbfgs or other_rule or (self.early_stopping and history.validation_scores is None):
            raise ValueError(
                "training cannot continue after solver 'lbfgs' with another solver, or with another value of early_stopping: the "
                "earlier training recorded no history for it. Fit with warm_start=False, or fit a clone"
            )
        return history

    def _train_lbfgs(self, rows, observer):
        network = self._trainable_network()
        if observer is not None:
            observer.watch(network)
        result = train_lbfgs(
            network,
            network.training_set(rows.X, self._prepared_targets(rows.y), rows.sample_weight),
            alpha=self.alpha,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            clip=clip(network),
            n_threads=n_threads_of_call(self.n_jobs, rows.X.shape[0], 6 * network.n_weights),
            observer=observer,
            time_limit=self.max_time,
        )
        network = network.astype(np.float64)
        unpack(network, result.x)
        self._use_network(network)
        self._coef_indptr, self._intercept_indptr = packed_spans(network)
        # No warning if a callback or the time limit stopped training: that is not a failure.
        self.n_iter_ = result.nit if result.halted else call(_check_optimize_result, "lbfgs", result, self.max_iter)
        self.loss_ = result.fun
        return network

    # Prediction

    def predictor(
        self,
        x: Floats,
        out: Floats,
        n_threads: int = 1,
        *,
        precision: PredictionPrecision = None,
        calibration: ArrayLike | None = None,
    ) -> Callable[[], None]:
        """Bind the compiled forward pass with the present weights to arrays, for predicting one row after another.

        The weights are copied in the order in which they will be read, so a few rows of a large network take less time than in
        `predict`. Arguments are checked here and not in a call. A call is safe, but does not detect NaN or infinity.

        Parameters
        ----------
        x : ndarray, shape (n, `n_features_in_`), C-contiguous, of the dtype of ``coefs_``, or of float32 with a precision
            The rows, at least one. Write the next rows into it before a call.
        out : ndarray, shape (n, `n_outputs_`), C-contiguous, of the dtype of x
            A call overwrites it with the network's outputs: predictions of a regressor, probabilities of the classes or labels of
            a classifier; for two classes, only the probability of the second.
        n_threads : int
            Number of threads for each call.
        precision : {'bfloat16', 'int8'}, optional
            Permits the products of layers to use numbers with fewer bits, which takes less time; see `Network.predictor`.
        calibration : array-like, shape (n_rows, `n_features_in_`), optional
            Only with 'int8': training data that set the ranges of values; see `Network.predictor`.

        Returns
        -------
        callable
            A function without arguments. It keeps the present weights: later changes of the weights and another `fit` do not affect
            it. Calls from several threads write to the same ``out``, so make one function for each thread.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or if the estimator is not fitted.
        """
        check_is_fitted(self)
        return self._current_network().predictor(x, out, n_threads, precision=precision, calibration=calibration)

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
        """(the network in NumPy's common dtype of X and the weights, the rows of X in the form that it takes)."""
        rows = plain_rows(X, network.sizes[0], self.__dict__.get("feature_names_in_"))
        if rows is not None:
            rows = finite_rows(rows, network.dtype, self.n_jobs)
        if rows is None:
            rows = validated(self, host_array(X, "X"), reset=False)
        if rows.dtype != network.dtype and (dtype := float_dtype(rows, network)) != network.dtype:
            network = network.astype(dtype)
        return network, rows

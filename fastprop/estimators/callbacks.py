"""scikit-learn's callbacks (`sklearn.callback`, new in 1.9): a task for the fit, and in it a task for each epoch or iteration.

Unless callbacks were set, none of this runs and `sklearn.callback` is not imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Any, Self

from sklearn.utils import _safe_indexing

from ..decorators import available_if
from .weights import CURVES, norms_of

SUPPORTED = find_spec("sklearn.callback") is not None


class CallbackMixin:
    """For estimators whose fits make a `FitObserver` if there are callbacks."""

    @available_if(lambda self: SUPPORTED)
    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set scikit-learn's callbacks, such as ``sklearn.callback.ProgressBar()``; needs scikit-learn 1.9.

        A fit is one task. It has a subtask named 'epoch' for each epoch (for an ensemble, each epoch of all its members), or one
        named 'lbfgs-iter' for each iteration of L-BFGS. If a callback returns True at the end of a subtask, training stops there
        without a warning.

        Parameters
        ----------
        *callbacks : callbacks
            Objects with the protocol ``sklearn.callback.FitCallback``. Without arguments, callbacks that were set are removed.

        Returns
        -------
        self
        """
        from sklearn.callback import CallbackSupportMixin

        return CallbackSupportMixin.set_callbacks(self, *callbacks)

    @property
    def _has_callbacks(self):
        return bool(vars(self).get("_skl_callbacks"))


class FitObserver(ABC):
    """Calls the hooks: when it is made, in `begin` and `end` for each subtask, and in `finish`.

    The hooks get the data that were given to ``fit``. The ``fitted_estimator`` that a hook may ask for has the weights that the
    estimator would have if training stopped there.
    """

    def __init__(self, estimator, task_name, n_subtasks, X, y, sample_weight):
        from sklearn.callback import CallbackSupportMixin

        self._estimator, self._task_name, self._task = estimator, task_name, None
        self.stopped = False
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._data = self._part = {"X": X, "y": y, "metadata": metadata}
        self._context = CallbackSupportMixin._init_callback_context(estimator, max_subtasks=n_subtasks)
        self._context.call_on_fit_task_begin(estimator=estimator, **self._data)

    @abstractmethod
    def _store(self, loss):
        """Set the estimator's attributes to the present state of training; ``loss`` is the argument of `end`."""

    @abstractmethod
    def _snapshot(self):
        """Copies of the fitted attributes that training changes in place; scikit-learn copies the others."""

    @property
    def running(self):
        """Whether a subtask has begun and not ended."""
        return self._task is not None

    def begin(self):
        """Begin a subtask."""
        self._task = self._context.subcontext(task_name=self._task_name)
        self._task.call_on_fit_task_begin(estimator=self._estimator, **self._part, reconstruction_attributes=self._snapshot)

    def end(self, loss=None):
        """End a subtask, with this loss; return whether to stop training."""
        self._store(loss)
        task, self._task = self._task, None
        self.stopped = task.call_on_fit_task_end(estimator=self._estimator, **self._part, reconstruction_attributes=self._snapshot)
        return self.stopped

    def finish(self):
        """End the fit. An unfinished subtask, after Ctrl-C or a failed line search, ends without data."""
        if self.running:
            self._task.call_on_fit_task_end(estimator=self._estimator)
        self._context.call_on_fit_task_end(estimator=self._estimator, **self._data, reconstruction_attributes={})


class MLPObserver(FitObserver):
    """For `BaseMLP`: a subtask is an epoch, or an iteration of L-BFGS. With early stopping the hooks get the training rows."""

    def __init__(self, estimator, X, y, sample_weight, incremental):
        self._network = self._history = self._validation = None
        self._n_ended = 0
        is_lbfgs = estimator.solver == "lbfgs"
        n_subtasks = 1 if incremental and not is_lbfgs else estimator.max_iter
        super().__init__(estimator, "lbfgs-iter" if is_lbfgs else "epoch", n_subtasks, X, y, sample_weight)

    def watch(self, network, history=None, validation=None, rows=None):
        """Set what is trained, with ``history`` in epochs; ``rows`` are those that a validation split leaves, or None."""
        self._network, self._history, self._validation = network, history, validation
        if rows is not None:
            self._part = {name: _Lazy(value, rows) for name, value in self._data.items()}

    def _store(self, loss):
        self._n_ended += 1
        if self._history is None:
            self._estimator.n_iter_, self._estimator.loss_ = self._n_ended, loss
        else:
            self._estimator._store(self._history)

    def _snapshot(self):
        network = self._network.astype(self._network.dtype if self._history is not None else float)
        if self._validation is not None and self._validation.decides:
            self._validation.restore(network)
        attributes = {"coefs_": list(network.coefs), "intercepts_": list(network.intercepts)} | norms_of(network)
        if self._history is not None:
            for name in CURVES:
                if hasattr(self._estimator, name):
                    values = getattr(self._estimator, name)
                    attributes[name] = None if values is None else list(values)
        return attributes


class _Lazy:
    """Some rows of an array, or of each value of a dict, taken when a hook first asks for them."""

    def __init__(self, values, rows):
        self._values, self._rows, self._taken = values, rows, None

    def __call__(self):
        if self._taken is None and self._values is not None:
            self._taken = self._take(self._values)
        return self._taken

    def _take(self, values):
        if isinstance(values, dict):
            return {name: self._take(value) for name, value in values.items()}
        return _safe_indexing(values, self._rows)

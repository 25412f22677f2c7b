"""The base of DaskMLPClassifier and DaskMLPRegressor: their parameters, ``fit``, lazy predictions, conversion to plain ones."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, TypeVar

import dask.array as da
import numpy as np
from dask.delayed import delayed
from distributed import Client, get_client
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..collective.context import refuse
from ..decorators import fits
from ..estimators.interop import copied
from ..same_data import ATTRIBUTES
from .partitions import blocks, is_lazy, partitions
from .source import in_partitions

Class = TypeVar("Class", bound=type)
SyncEvery = int | Literal["epoch"]
# The parameters that a plain estimator does not have
OWN = ("client", "sync_every", "outer_momentum", "shuffle_partitions", "round_timeout", "checkpoint")
FIRST_SECTION = "Parameters\n    ----------\n"


DOCSTRING = """Multi-layer perceptron {kind} that trains on the partitions of a Dask cluster.

    In each round, a task for every partition trains a copy of the network on its rows, and the copies are averaged. A mini-batch is
    spread over the partitions: each takes ``batch_size`` times its fraction of the rows. The result depends on the data, the
    partitions and ``random_state``, not on the workers: if one dies, others compute the same bits. A task uses one
    thread, unless ``n_jobs`` says otherwise. With one partition, the result is exactly that of `{plain}` with ``n_jobs=1``.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        The client of the cluster. None: the client that was created last.
    sync_every : int or 'epoch', default='epoch'
        Length of a round: this number of mini-batches, or one epoch.
    outer_momentum : float or 'auto', default='auto'
        Nesterov momentum, in [0, 1), of the step from the parameters before a round to the mean of those after it. 'auto' is
        ``1 - 1 / sqrt(P)`` for P partitions of equal size, and 0 for 'sgd'.
    shuffle_partitions : bool or int, default=True
        Whether rows are first shuffled into as many new partitions as there are, or, as an integer, into that many. If False, the
        partitions must already have similar distributions.
    round_timeout : float or None, default=None
        Seconds after which `fit` stops waiting for a round. None waits forever.
    checkpoint : str, path or None, default=None
        A file that is replaced after each epoch. If it exists when `fit` begins, because an earlier `fit` was killed, interrupted
        or failed, training continues from it to the same result; when training has ended, it is removed. It must come from a fit
        with the same partitions and parameters, except for limits such as ``max_iter``.
"""
EXAMPLE = """

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from fastprop.dask import Dask{plain}
    >>> client = Client("tcp://scheduler:8786")  # doctest: +SKIP
    >>> model = Dask{plain}(random_state=0).fit(da.from_zarr("X.zarr"), da.from_zarr("y.zarr"))  # doctest: +SKIP
    >>> local = model.to_local()  # doctest: +SKIP
    """


def with_parameters_of(plain: type, kind: str) -> Callable[[Class], Class]:
    """Append a plain estimator's signature, constraints and docstring to those of a class with `DaskMixin`."""

    def decorate(cls):
        def __init__(self, **parameters):
            DaskMixin.__init__(self, **parameters)

        own, theirs = (inspect.signature(each.__init__).parameters.values() for each in (DaskMixin, plain))
        keywords = [each.replace(kind=each.KEYWORD_ONLY) for each in theirs if each.name != "self"]
        own = [each for each in own if each.kind != each.VAR_KEYWORD]
        __init__.__signature__ = inspect.Signature([*own, *keywords])
        cls.__init__, cls._plain = __init__, plain
        cls._parameter_constraints = {**plain._parameter_constraints, **DaskMixin._parameter_constraints}
        _, _, rest = (plain.__doc__ or "").partition(FIRST_SECTION)
        sections, _, _ = rest.partition("    Examples\n")
        names = {"kind": kind, "plain": plain.__name__}
        cls.__doc__ = f"{DOCSTRING.format(**names)}{sections.rstrip()}{EXAMPLE.format(**names)}"
        return cls

    return decorate


class DaskMixin:
    """Must come before the plain estimator, ``_plain``, among the bases."""

    _plain: ClassVar[Any]
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "client": [Client, None],
        "sync_every": [StrOptions({"epoch"}), Interval(Integral, 1, None, closed="left")],
        "outer_momentum": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "shuffle_partitions": ["boolean", Interval(Integral, 1, None, closed="left")],
        "round_timeout": [Interval(Real, 0, None, closed="neither"), None],
        "checkpoint": [str, os.PathLike, None],
    }

    def __init__(
        self,
        *,
        client: Client | None = None,
        sync_every: SyncEvery = "epoch",
        outer_momentum: float | Literal["auto"] = "auto",
        shuffle_partitions: bool | int = True,
        round_timeout: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        self.client, self.sync_every, self.outer_momentum = client, sync_every, outer_momentum
        self.shuffle_partitions, self.round_timeout, self.checkpoint = shuffle_partitions, round_timeout, checkpoint

    @fits
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train on the partitions of X and y, from new weights unless ``warm_start`` is set.

        Parameters
        ----------
        X : Dask array or dataframe, or list of delayed (X, y) or (X, y, sample_weight)
            The training rows. Each partition is computed twice, unless it is persisted, and is then kept on a worker in the form
            that training uses.
        y : Dask array, dataframe or series, optional
            The targets, in the partitions of X. If X is a list, its parts contain them.
        sample_weight : Dask array or series, optional
            Weights of the rows, which multiply their losses.
        X_val : array-like or Dask collection, optional
            Validation rows, which are loaded into the client's process. Required for early stopping; otherwise their losses and
            scores are only recorded.
        y_val : array-like or Dask collection, optional
            Targets of X_val. Required with X_val.
        sample_weight_val : array-like or Dask collection, optional
            Weights of the rows of X_val.

        Returns
        -------
        self
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as described, or if partitions do not match each other. The error names the
            partition.
        RuntimeError
            If a round fails finally, because its data can no longer be computed or because several workers died with it. The
            estimator then has the weights of the last complete round.
        TimeoutError
            If a round takes longer than ``round_timeout``. The estimator then has the weights of the last complete round.
        """
        name = type(self).__name__
        if replaced := self._replaced():
            raise TypeError(f"{name} runs compiled code, which does not call {', '.join(replaced)}")
        refuse(f"{name}.fit")
        self._check_has_batches(name)
        client, tasks = self._the_client(), partitions(X, y, sample_weight)
        given = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        given = {name: _here(value, client) for name, value in given.items() if value is not None}
        check = partial(in_partitions, self, client, tasks, given)
        return self._fit_to(check, (X, y, sample_weight), bool(given), False)

    def predict(self, X: Any) -> Any:
        """Predict as the plain estimator does. For Dask collections and lists of delayed X, the result is a lazy Dask array.

        Parameters
        ----------
        X : array-like, Dask array or dataframe, or list of delayed parts
            The rows to predict.

        Returns
        -------
        ndarray or Dask array
            A prediction for each row.
        """
        return self._lazily(X, "predict") if is_lazy(X) else super().predict(X)

    def to_local(self) -> Any:
        """Convert this estimator to a plain one, without Dask.

        Returns
        -------
        MLPClassifier or MLPRegressor
            An estimator with copies of all parameters that it has and of everything that was learnt.
        """
        state = {name: value for name, value in self.__getstate__().items() if name not in OWN}
        local = self._plain.__new__(self._plain)
        local.__setstate__(copied(state))
        return local

    @property
    def partial_fit(self) -> Any:
        """Not available; use that of the estimator from `to_local`."""
        raise AttributeError(f"{type(self).__name__} has no partial_fit: to_local() has it, and fit continues with warm_start=True")

    @property
    def fit_chunks(self) -> Any:
        """Not available; use that of the estimator from `to_local`."""
        raise AttributeError(f"{type(self).__name__} has no fit_chunks: to_local() has it, and fit takes a list of delayed (X, y)")

    def _the_client(self):
        try:
            client = get_client() if self.client is None else self.client
        except ValueError as error:
            raise ValueError("client must be given, or a distributed.Client must be there; there is none") from error
        if client.asynchronous:
            raise ValueError("client must not be asynchronous, as fit returns when training has ended")
        return client

    def _bare(self):
        """A plain estimator with the parameters, and the attributes that checking data sets."""
        bare = self._plain(**{name: getattr(self, name) for name in self._plain._get_param_names()})
        vars(bare).update({name: value for name, value in vars(self).items() if name in ATTRIBUTES})
        return bare

    def _lazily(self, X, method):
        """The lazy predictions of a plain estimator's method for a Dask collection."""
        check_is_fitted(self)
        local = self.to_local().drop_optimizer_state()
        dtypes = [X.dtype] if isinstance(X, da.Array) else getattr(X, "dtypes", [np.float64])
        dtype = np.result_type(*map(_plain_dtype, dtypes))
        nameless = copy.copy(local)
        vars(nameless).pop("feature_names_in_", None)
        example = getattr(nameless, method)(np.zeros((1, self.n_features_in_), dtype))
        parts, model = blocks(X, "X"), delayed(local, traverse=False)
        counts = X.chunks[0] if isinstance(X, da.Array) else [np.nan] * len(parts)
        predicted = [delayed(_predicted)(model, method, part, example[:0]) for part in parts]
        shapes = [(n, *example.shape[1:]) for n in counts]
        arrays = [da.from_delayed(each, shape, example.dtype) for each, shape in zip(predicted, shapes, strict=True)]
        return da.concatenate(arrays, allow_unknown_chunksizes=True)

    # A client belongs to its process: stored or copied estimators do not have it, but a clone does.

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self):
        without = copy.copy(self)
        made = BaseEstimator.__sklearn_clone__(without)
        made.client = self.client
        return made


def _plain_dtype(dtype):
    """The dtype of a column; float64 if NumPy does not have it."""
    return dtype if isinstance(dtype, np.dtype) else np.float64


def _here(given, client):
    """The argument, computed if it is a Dask collection."""
    return client.compute(given).result() if hasattr(given, "__dask_graph__") else given


def _predicted(model, method, rows, empty):
    return getattr(model, method)(rows).astype(empty.dtype, copy=False) if rows.shape[0] else empty

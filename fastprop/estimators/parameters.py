"""The parameters that both estimators have: valid values, and combinations that are errors. The estimators describe them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, Union

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import HasMethods, Hidden, Interval, StrOptions
from sklearn.utils._param_validation import Options as Choices

from ..annotations import Integers
from ..precision import Precision
from .learning_rates import SHAPES, ScheduleName
from .weights import ACTIVATIONS, ActivationName

if TYPE_CHECKING:
    from ..nn import Activation

SolverName: TypeAlias = Literal["lbfgs", "sgd", "adam", "adamw", "rmsprop"]
LearningRate: TypeAlias = ScheduleName | Callable[[float], float]
# In quotes, because nn is imported only when it is needed
Activations: TypeAlias = Union[ActivationName, "Activation", Sequence[Union[ActivationName, "Activation"]]]
Scoring: TypeAlias = str | Callable[..., float] | None

STOCHASTIC = ("sgd", "adam", "adamw", "rmsprop")
# Parameters that have a meaning only for training in mini-batches
ONLY_STOCHASTIC = ("dropout", "weight_decay", "clip_norm", "warmup", "ema_decay", "precision")


class Parameters:
    """The attributes.

    Those that scikit-learn does not have need a default here, for subclasses that set only scikit-learn's parameters and for
    estimators that earlier versions stored.
    """

    hidden_layer_sizes: int | Sequence[int] | Integers
    activation: Activations
    solver: SolverName
    alpha: float
    batch_size: int | Literal["auto"]
    learning_rate: LearningRate
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: int | np.random.RandomState | None
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    n_jobs: int | None = None
    dropout: float | Sequence[float] = 0.0
    normalization: Literal["batch", "layer"] | None = None
    weight_decay: float = 0.0
    clip_norm: float | None = None
    warmup: float = 0.0
    ema_decay: float | None = None
    scoring: Scoring = None
    max_time: float | None = None
    precision: Precision = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        # The error message lists only the names, as scikit-learn's does.
        "activation": [StrOptions(set(ACTIVATIONS)), Hidden(HasMethods(["value", "derivative"])), Hidden(list), Hidden(tuple)],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *SHAPES}), callable],
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
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "normalization": [StrOptions({"batch", "layer"}), None],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left"), None],
        "scoring": [StrOptions({"loss", *get_scorer_names()}), callable, None],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "precision": [StrOptions({"bfloat16"}), None],
    }

    def _set_parameters(self, given: dict[str, Any]) -> None:
        """Set the parameters that ``__init__`` got, given its local variables."""
        for name, value in given.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def _check_parameters(self, n_hidden: int, incremental: bool, has_validation: bool) -> None:
        """Raise an error if parameters that are valid by themselves cannot be combined."""
        if not isinstance(self.activation, str) and hasattr(self.activation, "__iter__"):
            self._check_each("activation", n_hidden)
            wrong = [one for one in self.activation if not self._is_activation(one)]
            if wrong:
                raise ValueError(f"activation must hold names among {list(ACTIVATIONS)} or nn.Activation; got {wrong[0]!r}")
        if np.ndim(self.dropout):
            self._check_each("dropout", n_hidden)
            wrong = [rate for rate in self.dropout if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1]
            if wrong:
                raise ValueError(f"dropout must hold rates in [0, 1); got {wrong[0]!r}")
        if self.solver == "lbfgs":
            self._check_lbfgs(has_validation)
        elif incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")

    def _check_each(self, name, n_hidden):
        if len(getattr(self, name)) != n_hidden:
            raise ValueError(f"{name} must have one element for each of {n_hidden} hidden layers; got {getattr(self, name)!r}")

    @staticmethod
    def _is_activation(one):
        return one in ACTIVATIONS if isinstance(one, str) else hasattr(one, "value") and hasattr(one, "derivative")

    def _check_has_batches(self, what):
        if self.solver == "lbfgs":
            raise ValueError(f"{what} needs mini-batches: solver must be one of {list(STOCHASTIC)}; got 'lbfgs'")

    def _check_lbfgs(self, has_validation):
        values = {name: getattr(self, name) for name in ONLY_STOCHASTIC}
        on = {
            name: value
            for name, value in values.items()
            if value is not None and (name == "ema_decay" or isinstance(value, str) or np.any(value))
        }
        if callable(self.learning_rate) or self.learning_rate in SHAPES:
            on["learning_rate"] = self.learning_rate
        if self.normalization == "batch":
            on["normalization"] = "batch"
        if on:
            (name, value), *_ = on.items()
            self._check_has_batches(f"{name}={value!r}")
        if has_validation:
            raise ValueError(f"X_val and y_val need epochs: solver must be one of {list(STOCHASTIC)}; got 'lbfgs'")

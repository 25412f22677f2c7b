"""What TabularClassifier and TabularRegressor share: parameters, the steps of a fit, the members' outputs."""

from __future__ import annotations

import copy
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from .. import loop
from ..annotations import Floats, MatrixLike
from ..collective.context import refuse
from ..estimators.callbacks import CallbackMixin
from ..estimators.held_out import are_given, named
from ..estimators.validation import checked_weights, host_array, unchanged_by_errors
from ..kernels import EncodedRows
from ..network import Network
from ..precision import Precision
from ..preprocessing import TabularEncoder
from ..preprocessing.encoder import CategoricalFeatures, NumericEncoding
from ..preprocessing.frames import read_table
from ..progress import progress
from ..threads import effective_n_threads, n_threads_of_call
from ..training_set import TrainingSet
from ..warn import warn
from . import recipe
from .callbacks import MembersObserver
from .folds import held_out_rows
from .members import Member, Training, orders_of_members, train
from .rows import Rows, rows_with_weight, some_dimensions, weights_of_members, with_a_column
from .targets import near_one

# Parameters of `TabularEncoder` that all encoders have in common
SHARED = "categorical_features", "numeric_encoding", "min_frequency"


class BaseTabular(CallbackMixin, BaseEstimator):
    """Base of both estimators; the parameters are described there."""

    n_members: int
    hidden_layer_sizes: int | Sequence[int]
    categorical_features: CategoricalFeatures
    numeric_encoding: NumericEncoding
    n_bins: int | Sequence[int]
    min_frequency: int
    max_iter: int
    batch_size: int | Literal["auto"]
    learning_rate_init: float | Literal["auto"]
    weight_decay: float
    dropout: float
    scoring: str | Callable[..., float]
    validation_fraction: float
    early_stopping: bool
    refit: bool
    max_time: float | None
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    verbose: int
    warm_start: bool
    precision: Precision

    # Set by `fit`; described in the estimators' docstrings.
    members_: list[Network]
    encoders_: list[TabularEncoder]
    member_weights_: Floats
    loss_curves_: list[list[float]]
    validation_loss_curves_: list[list[float]]
    best_iters_: list[int]
    n_iter_: int
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        **{name: TabularEncoder._parameter_constraints[name] for name in SHARED},
        "n_bins": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "scoring": [str, callable],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean"],
        "refit": ["boolean"],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "precision": [StrOptions({"bfloat16"}), None],
    }

    @classmethod
    def from_preset(cls, name: Literal["fast", "accurate"], **parameters: Any) -> Self:
        """Make an estimator with the parameters of a preset.

        Parameters
        ----------
        name : {'fast', 'accurate'}
            'fast' trains two hidden layers for 16 epochs, in half to three quarters of the time. 'accurate' has the default
            parameters.
        **parameters
            Parameters of the estimator, which override those of the preset.

        Returns
        -------
        TabularClassifier or TabularRegressor
            An estimator that is not fitted.
        """
        if name not in recipe.PRESETS:
            raise ValueError(f"name must be one of {list(recipe.PRESETS)}; got {name!r}")
        return cls(**recipe.PRESETS[name] | parameters)

    # What the two estimators differ in

    @abstractmethod
    def _checked_targets(self, y):
        """y, shape (n,) or (n, n_outputs), checked; its values are unchanged."""

    @abstractmethod
    def _learn_targets(self, y, sample_weight, reset):
        """Set the attributes that turn checked y into the network's targets; without ``reset``, fail if y is of another kind."""

    @abstractmethod
    def _checked_validation_targets(self, y):
        """Like `_checked_targets`, for y_val, after `_learn_targets`."""

    @abstractmethod
    def _network_targets(self, y):
        """What `Network.training_set` takes."""

    @abstractmethod
    def _make_network(self, sizes):
        """A network with its loss; ``sizes`` are without the outputs."""

    def _classes_of_rows(self, y):
        """The class of each row, as a number, if validation rows are to have the classes in proportion; else None."""
        return None

    def _weights_of_rows(self, y, sample_weight):
        return sample_weight

    # Fitting

    def _fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val):
        refuse(f"{type(self).__name__}.fit")
        goes_on = self.warm_start and hasattr(self, "members_")
        as_given = X, y, sample_weight
        with unchanged_by_errors(self):
            self._check_parameters()
            table = read_table(X, self, reset=not goes_on)
            y = self._checked_targets(some_dimensions(host_array(y, "y")))
            check_consistent_length(table, y)
            sample_weight = checked_weights(sample_weight, y, "sample_weight")
            self._learn_targets(y, sample_weight, reset=not goes_on)
            sample_weight = self._weights_of_rows(y, sample_weight)
            if not goes_on:
                self._learn_encoding(table)
            validation = self._given_rows(X_val, y_val, sample_weight_val)
            rows = Rows(self._encode(table), y, sample_weight)
            observer = MembersObserver(self, "epoch", self.max_iter, *as_given) if self._has_callbacks else None
            self._train(rows, validation, goes_on, observer)
            if observer is not None:
                observer.finish()
        return self

    def _check_parameters(self):
        """Fail for errors that scikit-learn's validation of single parameters does not find."""
        self._hidden_layer_sizes()
        if self.scoring != "loss":
            check_scoring(self, self.scoring)

    def _hidden_layer_sizes(self):
        sizes = list(np.atleast_1d(self.hidden_layer_sizes).tolist())
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be integers of at least 1; got {self.hidden_layer_sizes!r}")
        return sizes

    def _learn_encoding(self, table):
        n_bins = np.atleast_1d(self.n_bins).tolist()
        if not n_bins or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in n_bins):
            raise ValueError(f"n_bins must be integers of at least 1; got {self.n_bins!r}")
        if len(table) > recipe.ROWS_OF_ONE_VIEW or self.numeric_encoding != "piecewise_linear":
            n_bins = [max(n_bins)]
        self.encoders_ = []
        for n in n_bins[: self.n_members]:
            encoder = TabularEncoder(n_bins=n, **{name: getattr(self, name) for name in SHARED})
            encoder._fit_table(table)
            table.name_features(encoder)
            self.encoders_.append(encoder)
        table.name_features(self)

    def _encode(self, table):
        return [with_a_column(encoder._encode_table(table)) for encoder in self.encoders_]

    def _given_rows(self, X, y, sample_weight):
        if not are_given(X, y, sample_weight):
            return None
        if not self.early_stopping:
            raise ValueError(
                "X_val and y_val are passed to fit while at the same time early_stopping is False. When passing X_val and y_val to "
                "fit, early_stopping should be set to True."
            )
        with named("X_val"):
            x = self._encode(read_table(X, self, reset=False))
        with named("y_val"):
            y = self._checked_validation_targets(some_dimensions(host_array(y, "y_val")))
            check_consistent_length(x[0].x, y)
        with named("sample_weight_val"):
            sample_weight = checked_weights(sample_weight, y, "sample_weight_val")
        return Rows(x, y, sample_weight)

    def _train(self, rows, validation, goes_on, observer):
        random_state, began = check_random_state(self.random_state), time.monotonic()
        seeds = random_state.randint(2**31 - 1, size=self.n_members)
        networks = self._networks(rows, seeds, goes_on)
        data, training = self._data_of_members(networks, rows), self._training(len(rows.y))
        parts = self._rows_of_members(networks, rows, validation, random_state)
        orders = orders_of_members([own for own, _, _ in parts], seeds)
        members = [
            Member(network, all_rows, order, held_out, score, training, np.random.RandomState(seed))
            for network, all_rows, order, (_, held_out, score), seed in zip(networks, data, orders, parts, seeds, strict=True)
        ]
        if observer is not None:
            observer.watch(members)
        ending = self._run(members, [self.max_iter] * len(members), self.max_time, observer)
        self.members_ = networks
        self._store(members)
        if self.refit and self.early_stopping and ending == "finished":
            left = None if self.max_time is None else self.max_time - (time.monotonic() - began)
            self.members_ = self._refitted(rows, data, training, seeds, left) or networks

    def _store(self, members):
        """Set the attributes that record the members' training."""
        self.loss_curves_ = [list(member.losses) for member in members]
        self.best_iters_, self.n_iter_ = [member.best_epoch for member in members], max(member.n_epochs for member in members)
        vars(self).pop("validation_loss_curves_", None)
        if any(member.validation_losses for member in members):
            self.validation_loss_curves_ = [list(member.validation_losses) for member in members]
        self.member_weights_ = weights_of_members([min(member.validation_losses, default=1.0) for member in members])

    def _refitted(self, rows, data, training, seeds, time_limit):
        """Networks trained on all rows, each for as many epochs as its best one; None if the time did not suffice."""
        if time_limit is not None and time_limit <= 0:
            return None
        networks, every = self._networks(rows, seeds, False), rows_with_weight(rows)
        members = [
            Member(network, all_rows, order, None, None, training, np.random.RandomState(seed))
            for network, all_rows, order, seed in zip(
                networks, data, orders_of_members([every] * len(seeds), seeds), seeds, strict=True
            )
        ]
        return networks if self._run(members, self.best_iters_, time_limit) == "finished" else None

    def _networks(self, rows, seeds, goes_on):
        hidden = self._hidden_layer_sizes()
        sizes = [(self._view(rows.x, member).shape[1], *hidden) for member in range(self.n_members)]
        if goes_on:
            if [network.sizes[:-1] for network in self.members_] != sizes:
                raise ValueError("warm_start needs the n_members and hidden_layer_sizes of the last fit")
            return [copy.deepcopy(network) for network in self.members_]
        networks = [self._make_network(each) for each in sizes]
        for network, seed in zip(networks, seeds.tolist(), strict=True):
            network.initialize(np.random.RandomState(seed))
        return networks

    def _training(self, n_rows):
        auto = self.batch_size == "auto"
        return Training(
            max_iter=self.max_iter,
            batch_size=min(recipe.batch_size(n_rows) if auto else self.batch_size, n_rows),
            learning_rate=recipe.LEARNING_RATE if self.learning_rate_init == "auto" else self.learning_rate_init,
            weight_decay=self.weight_decay,
            dropout=self.dropout,
            smoothing=getattr(self, "label_smoothing", 0.0),
            ema_decay=recipe.EMA_DECAY,
            beta_2=recipe.BETA_2,
            warmup=recipe.WARMUP,
            precision=self.precision,
            patience=recipe.PATIENCE if self.early_stopping else np.inf,
        )

    def _view(self, views, member):
        """What belongs to a member, given a list with an element for each encoder."""
        return views[member % len(views)]

    def _data_of_members(self, networks, rows) -> list[TrainingSet]:
        """The data of each member. Members with the same encoder share them."""
        made = [self._data(network, x, rows.y, rows.sample_weight) for network, x in zip(networks, rows.x, strict=False)]
        return [self._view(made, member) for member in range(self.n_members)]

    def _data(self, network, x, y, sample_weight) -> TrainingSet:
        weights = None if sample_weight is None else near_one(sample_weight)
        return network.training_set(x, self._network_targets(y), weights)

    def _rows_of_members(self, networks, rows, validation, random_state):
        """For each member: (training rows, validation rows or None, the score that replaces the validation loss or None)."""
        every, n_members = rows_with_weight(rows), self.n_members
        if validation is None and not self.early_stopping:
            return [(every, None, None)] * n_members
        if validation is None:
            rotates, classes = len(every) <= recipe.ROWS_OF_ONE_VIEW, self._classes_of_rows(rows.y[every])
            held_out = held_out_rows(len(every), self.validation_fraction, n_members, classes, rotates, random_state)
            places = [every[held] for held in held_out]
        else:
            places = [np.arange(len(validation.y))] * n_members
        made, parts = {}, []
        for member, held in enumerate(places):
            view = member % len(rows.x)
            if (key := (view, held.tobytes())) not in made:
                own = every if validation is not None else np.setdiff1d(every, held, assume_unique=True)
                made[key] = own, *self._validation(networks[member], (validation or rows), held, view)
            parts.append(made[key])
        return parts

    def _validation(self, network, rows, held, view):
        """(validation rows as a network's training set, the score of a network on them or None for the loss)."""
        x, y = rows.x[view][held], rows.y[held]
        weights = None if rows.sample_weight is None else rows.sample_weight[held]
        return self._data(network, x, y, weights), self._score_on(x, y, weights, view)

    def _score_on(self, x, y, sample_weight, view):
        """The score of a network on validation rows; None for the loss."""
        if not self.early_stopping or self.scoring == "loss":
            return None
        scorer = check_scoring(self, self.scoring)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}

        def score(network):
            value = scorer(self._alone(network, view), x, y, **weights)
            if math.isnan(value):
                raise ValueError("early stopping needs a score of the validation rows, and scoring gives nan for them")
            return value

        return score

    def _alone(self, network, view):
        """A fitted copy with one network alone, to compute its score."""
        alone = copy.copy(self)
        alone.members_, alone.encoders_, alone.member_weights_ = [network], [self.encoders_[view]], np.ones(1)
        return alone

    def _run(self, members, n_epochs, time_limit, observer=None):
        bar = progress(max(n_epochs), "epochs") if self.verbose else nullcontext(lambda n, doing: None)
        with bar as advance:

            def epoch_ends():
                advance(1, f"loss {np.mean([member.losses[-1] for member in members]):.4g}")

            n_threads = min(effective_n_threads(self.n_jobs), len(members))
            ending = train(members, n_epochs, n_threads, epoch_ends=epoch_ends, observer=observer, time_limit=time_limit)
        if ending == "interrupted":
            warn("Training interrupted by user.")
        return ending

    # Predicting

    def _outputs(self, X: MatrixLike | EncodedRows) -> Iterator[Floats]:
        """Each member's outputs, (n, n_outputs) float64."""
        check_is_fitted(self)
        views = [X] if isinstance(X, EncodedRows) else self._encode(read_table(X, self, reset=False))
        flops = 2 * self.members_[0].n_weights
        n_threads = n_threads_of_call(self.n_jobs, len(views[0]), flops)
        for member, network in enumerate(self.members_):
            yield loop.forward(network, self._view(views, member), n_threads).astype(np.float64)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags

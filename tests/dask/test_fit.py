"""Training on partitions: what it computes, from which forms of data, and what it refuses."""

import warnings
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("distributed", reason="dask and distributed are not installed")
import dask.array as da
import dask.dataframe as dd
import pandas as pd
from dask import delayed

from fastprop import MLPClassifier, MLPRegressor, Network
from fastprop.dask import DaskMLPClassifier, DaskMLPRegressor
from fastprop.dask.rounds import OuterStep
from fastprop.optim import Adam

ONE_PARTITION = {
    "adam": {},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1, "max_iter": 15},
    "everything": {"solver": "adamw", "dropout": 0.2, "weight_decay": 0.1, "clip_norm": 1.0, "warmup": 0.2, "ema_decay": 0.9},
    "batch norm, last batch of one row": {"normalization": "batch", "batch_size": 599},
    "no shuffle": {"shuffle": False, "class_weight": "balanced", "label_smoothing": 0.1},
}


@pytest.mark.parametrize("name", ONE_PARTITION)
def test_one_partition_has_the_bits_of_the_plain_fit(client, rows, options, same_weights, name):
    X, y = rows
    parameters = options | ONE_PARTITION[name]
    plain = MLPClassifier(n_jobs=1, **parameters).fit(X, y)
    ours = DaskMLPClassifier(**parameters).fit(da.from_array(X, chunks=-1), da.from_array(y, chunks=-1))
    same_weights(ours, plain)
    assert (ours.n_iter_, ours.t_, ours.best_loss_) == (plain.n_iter_, plain.t_, plain.best_loss_)
    assert getattr(ours, "learning_rate_curve_", None) == getattr(plain, "learning_rate_curve_", None)


def test_one_partition_of_a_regressor_with_weights_and_early_stopping(client, rows, options, same_weights):
    X, _ = rows
    y, weight = X[:, :2] ** 2, np.random.default_rng(0).uniform(size=len(X))
    parameters = options | {"early_stopping": True, "learning_rate": "constant", "max_iter": 60, "n_iter_no_change": 2, "tol": 0.01}
    plain = MLPRegressor(n_jobs=1, **parameters).fit(X, y, weight, X_val=X[:50], y_val=y[:50])
    given = [da.from_array(array, chunks=-1) for array in (X, y, weight)]
    ours = DaskMLPRegressor(**parameters).fit(*given, X_val=given[0][:50], y_val=y[:50])
    assert ours.n_iter_ == plain.n_iter_ < 60
    assert ours.validation_scores_ == plain.validation_scores_
    same_weights(ours, plain)


def by_hand(X, parts, y, options, n_steps_per_round=None):
    """The weights after training on parts of the rows, written as a loop."""
    network = Network([X.shape[1], 10, 3])
    state = np.random.RandomState(options["random_state"])
    network.initialize(state)
    seed, n = state.randint(2**31 - 1), len(X)
    outer, memory, t = OuterStep("auto", [len(part) / n for part in parts], "adam"), np.zeros((2, len(network.params))), 0
    for epoch in range(options["max_iter"]):
        orders = [np.random.default_rng((seed, i, epoch + 1)).permutation(len(part)) for i, part in enumerate(parts)]
        batches = [round(options["batch_size"] * len(part) / n) for part in parts]
        n_steps = -(-n // options["batch_size"])
        size = n_steps_per_round or n_steps
        for first in range(0, n_steps, size):
            means = [0, 0]
            for part, order, batch in zip(parts, orders, batches, strict=True):
                copy = network.astype(np.float64)
                optimizer = Adam(copy, 0.01)
                optimizer.memory[:], optimizer.t = memory, t
                here = order[first * batch : (first + size) * batch]
                data = copy.training_set(X[part], y[part])
                copy.train_epochs(data, here[None], optimizer, np.empty(1), batch_size=batch, alpha=1e-4)
                means[0] += copy.params * len(here)
                means[1] += optimizer.memory * len(here)
            n_rows = sum(len(order[first * batch : (first + size) * batch]) for order, batch in zip(orders, batches, strict=True))
            outer.make(network.params, means[0] / n_rows)
            memory, t = means[1] / n_rows, optimizer.t
    return network


@pytest.mark.parametrize("sync_every", ["epoch", 5])
def test_partitions_are_trained_apart_and_averaged(client, rows, options, sync_every):
    X, y = rows
    options = options | {"learning_rate": "constant", "max_iter": 4, "n_iter_no_change": np.inf}
    parts = np.split(np.arange(600), [300])
    expected = by_hand(X, parts, y, options, None if sync_every == "epoch" else sync_every)
    with warnings.catch_warnings(action="ignore"):  # that four epochs are few
        ours = DaskMLPClassifier(shuffle_partitions=False, sync_every=sync_every, **options)
        ours.fit(da.from_array(X, chunks=(300, -1)), da.from_array(y, chunks=300))
    for found, weight in zip(ours.coefs_, expected.coefs, strict=True):
        np.testing.assert_allclose(found, weight, rtol=1e-9)


def test_it_learns_what_the_plain_fit_learns(client, rows, lazy, options):
    X, y = rows
    plain = MLPClassifier(**options | {"max_iter": 40}).fit(X, y)
    ours = DaskMLPClassifier(**options | {"max_iter": 40}).fit(*lazy)
    assert ours.score(X, y) > plain.score(X, y) - 0.03 > 0.75
    assert len(ours.loss_curve_) == 40


def test_every_form_of_the_data_gives_the_same(client, rows, lazy, options, same_weights):
    (X, y), parameters = rows, options | {"max_iter": 2}
    weight = np.arange(600) % 3
    reference = DaskMLPClassifier(**parameters).fit(*lazy, da.from_array(weight, chunks=200))
    frame = dd.from_pandas(pd.DataFrame(X), npartitions=4)
    series = dd.from_pandas(pd.Series(y), npartitions=4)
    same_weights(DaskMLPClassifier(**parameters).fit(frame, series, dd.from_pandas(pd.Series(weight), npartitions=4)), reference)
    parts = [(X[i : i + 150], y[i : i + 150], weight[i : i + 150]) for i in range(0, 600, 150)]
    same_weights(DaskMLPClassifier(**parameters).fit([delayed(part) for part in parts]), reference)
    same_weights(DaskMLPClassifier(**parameters).fit([client.submit(lambda part: part, part) for part in parts]), reference)
    by_columns = lazy[0].rechunk((150, 3))
    same_weights(DaskMLPClassifier(**parameters).fit(by_columns, lazy[1], da.from_array(weight, chunks=150)), reference)


def test_names_of_columns_and_of_classes(client, rows, options):
    X, y = rows
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    labels = pd.Series(np.array(["a", "b", "c"])[y])
    model = DaskMLPClassifier(**options).fit(dd.from_pandas(frame, npartitions=3), dd.from_pandas(labels, npartitions=3))
    assert model.feature_names_in_.tolist() == [*frame.columns]
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert (model.predict(frame) == labels).mean() > 0.6


@pytest.mark.parametrize("shuffle_partitions", [True, 2, False])
def test_empty_tiny_and_lopsided_partitions(client, rows, options, shuffle_partitions):
    X, y = rows
    cuts = [0, 5, 5, 594, 600]  # 5, none, 589, 6
    parts = [delayed((X[i:j], y[i:j])) for i, j in pairwise(cuts)]
    model = DaskMLPClassifier(shuffle_partitions=shuffle_partitions, **options | {"max_iter": 20}).fit(parts)
    assert model.score(X, y) > 0.7
    assert model.t_ == 20 * 600


def test_a_class_in_each_partition(client, rows, options):
    X, y = rows
    order = np.argsort(y, kind="stable")
    given = [delayed((X[rows], y[rows])) for rows in np.split(order, np.flatnonzero(np.diff(y[order])) + 1)]
    assert len(given) == 3
    parameters = options | {"max_iter": 20}
    with pytest.warns(UserWarning, match=r"partitions have different classes: 6\d% of their rows .* shuffle_partitions=True"):
        skewed = DaskMLPClassifier(shuffle_partitions=False, **parameters).fit(given)
    assert not skewed.score(X, y) > DaskMLPClassifier(**parameters).fit(given).score(X, y) > 0.75


def test_balanced_weights_are_of_all_partitions(client, rows, options, same_weights):
    X, y = rows
    rare = np.flatnonzero((y != 2) | (np.arange(600) % 5 == 0))
    X, y = da.from_array(X[rare], chunks=(130, -1)), da.from_array(y[rare], chunks=130)
    counts = np.bincount(y.compute())
    given = {label: len(rare) / (3 * n) for label, n in enumerate(counts.tolist())}
    one, other = (DaskMLPClassifier(class_weight=weight, **options).fit(X, y) for weight in ("balanced", given))
    same_weights(one, other)


def test_a_partition_counts_by_its_weights(client, rows, options):
    """Its rows do not, nearly, where they have little weight: then others in their place change nothing."""
    X, y = rows
    given = da.from_array(y, chunks=300), da.from_array(np.repeat([1e-13, 1.0], 300), chunks=300)
    model = DaskMLPClassifier(shuffle_partitions=False, outer_momentum=0.0, **options | {"max_iter": 2})
    one, other = (
        model.fit(da.from_array(np.where(np.arange(600)[:, None] < 300, rows, X), chunks=(300, -1)), *given).to_local()
        for rows in (X, 3 - X)
    )
    for ours, theirs in zip(one.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def test_warm_start_and_max_time_and_what_is_printed(client, lazy, options, capsys):
    model = DaskMLPClassifier(warm_start=True, verbose=True, **options | {"max_iter": 3}).fit(*lazy)
    first = [weight.copy() for weight in model.coefs_]
    assert model.fit(*lazy).n_iter_ == 3
    assert len(model.loss_curve_) == 6
    assert model.loss_curve_[3] < model.loss_curve_[0]
    assert not np.array_equal(first[0], model.coefs_[0])
    printed = capsys.readouterr().out.splitlines()
    assert next(line for line in printed if line.startswith("Iter")) == f"Iteration 1, loss = {model.loss_curve_[0]:.8f}"
    assert model.set_params(max_time=1e-9, warm_start=False).fit(*lazy).n_iter_ == 1


def test_batch_norm_needs_two_rows_of_a_batch(client, rows, options):
    X, y = rows
    model = DaskMLPClassifier(normalization="batch", shuffle_partitions=False, **options)
    model.fit([delayed((X[:300], y[:300])), delayed((X[300:], y[300:]))])
    assert model.score(X, y) > 0.5
    assert all((variance > 0).all() for variance in model.running_vars_)
    with pytest.raises(
        ValueError, match="needs at least 2 rows of a mini-batch in each partition; with batch_size=40, one of 5 of"
    ):
        model.fit([delayed((X[:5], y[:5])), delayed((X[5:], y[5:]))])


def test_more_partitions_than_rows_of_a_batch(client, lazy, options):
    parameters = options | {"max_iter": 1, "batch_size": 3}
    with pytest.warns(UserWarning, match="4 partitions are more than the batch_size=3 rows .* shuffle_partitions=n deals"):
        DaskMLPClassifier(**parameters).fit(*lazy)
    DaskMLPClassifier(shuffle_partitions=3, **parameters).fit(*lazy)


def bad(X, y, place, what):
    """Delayed parts, one of which is wrong."""
    parts = [[X[i : i + 150].copy(), y[i : i + 150].astype(object if what == "labels" else y.dtype)] for i in range(0, 600, 150)]
    if what == "nan":
        parts[place][0][3, 1] = np.nan
    elif what == "columns":
        parts[place][0] = parts[place][0][:, :5]
    elif what == "rows":
        parts[place][1] = parts[place][1][:7]
    elif what == "weights":
        parts[place].append(np.ones(3))
    return [delayed(tuple(part)) for part in parts]


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("nan", "partition 2: Input X contains NaN"),
        ("columns", "partition 2: X has 5 features; the rows before it have 8"),
        ("rows", "partition 2: Found input variables with inconsistent numbers of samples"),
        ("weights", "partition 2: .*sample_weight"),
    ],
)
def test_an_error_names_the_partition(client, rows, options, what, match):
    model = DaskMLPClassifier(**options)
    with pytest.raises(ValueError, match=match):
        model.fit(bad(*rows, 2, what))
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "n_features_in_")


def test_what_is_refused(client, rows, lazy, options):
    X, y = rows
    for wrong, kind, match in [
        ((X, y), TypeError, "X must be a Dask array, dataframe or series, or a list of delayed parts; got ndarray"),
        ((lazy[0], y), TypeError, "y must be a Dask array"),
        ((lazy[0],), TypeError, "y must be given"),
        ((lazy[0], lazy[1][:-1]), ValueError, "y must have the 600 rows of X; got 599"),
        ((dd.from_dask_array(lazy[0]), lazy[1].rechunk(300)), ValueError, "y must have the 4 partitions of X; got 2"),
        (([delayed((X, y))], lazy[1]), TypeError, "y and sample_weight must not be given where X is a list"),
        (([delayed((X,))],), TypeError, r"partition 0 must be \(X, y\) or \(X, y, sample_weight\); got 1 elements"),
        ((lazy[0][:0], lazy[1][:0]), ValueError, "X has no rows"),
        ((*lazy, da.zeros(600, chunks=150)), ValueError, "Sample weights must contain at least one non-zero number"),
    ]:
        with pytest.raises(kind, match=match):
            DaskMLPClassifier(**options).fit(*wrong)
    for name, value in {"sync_every": 0, "outer_momentum": 1.0, "shuffle_partitions": 0, "round_timeout": 0, "client": 5}.items():
        with pytest.raises(ValueError, match=f"The '{name}' parameter of DaskMLPClassifier must be"):
            DaskMLPClassifier(**{name: value}).fit(*lazy)
    with pytest.raises(ValueError, match="DaskMLPClassifier needs mini-batches"):
        DaskMLPClassifier(solver="lbfgs").fit(*lazy)
    with pytest.raises(ValueError, match="early_stopping=True needs X_val and y_val"):
        DaskMLPClassifier(early_stopping=True).fit(*lazy)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        DaskMLPClassifier(warm_start=True, **options).fit(*lazy).fit(lazy[0], lazy[1] + 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'hidden'"):
        DaskMLPClassifier(hidden=3)
    for name in ("partial_fit", "fit_chunks"):
        with pytest.raises(AttributeError, match=f"DaskMLPClassifier has no {name}: to_local"):
            getattr(DaskMLPClassifier(), name)

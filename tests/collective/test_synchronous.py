"""Training on several ranks is training on one with the same mini-batches."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import r2_score

from fastprop import MLPClassifier, MLPRegressor
from fastprop.training_calls import TrainingCalls

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
BODIES, PROGRESS = load_diabetes(return_X_y=True)
BODIES, PROGRESS = BODIES * 10, PROGRESS / 100
WEIGHT = np.random.default_rng(0).uniform(0.1, 2, len(DIGIT))
# Steps of an epoch, and how many rows each rank adds to each: very unequal, and none.
STEPS, SHARES = 17, {2: (90, 10), 3: (70, 0, 30)}


def parts(n_ranks):
    """The rows of each rank, and all rows in the order in which one process has the same mini-batches."""
    sizes = np.array(SHARES[n_ranks]) * STEPS
    ends = np.cumsum(sizes)
    rows = [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return rows, np.concatenate([own[len(own) * s // STEPS : len(own) * (s + 1) // STEPS] for s in range(STEPS) for own in rows])


def block(model):
    return model._current_network().params


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "adamw", "weight_decay": 0.1, "dropout": (0.2, 0.1), "hidden_layer_sizes": (30, 20), "class_weight": "balanced"},
        {"solver": "sgd", "learning_rate": "cosine", "clip_norm": 0.5, "label_smoothing": 0.1, "normalization": "layer"},
        {"ema_decay": 0.9, "warmup": 0.3, "activation": "tanh", "alpha": 1.0, "early_stopping": True, "n_iter_no_change": 2},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_steps_are_those_of_one_process(ranks, options, weighted):
    given = {"hidden_layer_sizes": (30,), "max_iter": 4, "random_state": 0, "batch_size": 100, "shuffle": False, **options}
    own, all_rows = parts(ranks.size)
    weight = WEIGHT if weighted else None
    validation = np.arange(1700, 1797)

    def fit(rows, validation):
        arguments = {"sample_weight": None if weight is None else weight[rows]}
        if len(validation):
            arguments |= {"X_val": DIGITS[validation], "y_val": DIGIT[validation], "sample_weight_val": WEIGHT[validation]}
        return MLPClassifier(**given).fit(DIGITS[rows], DIGIT[rows], **arguments)

    expected = fit(all_rows, validation)
    models = ranks.fitted(lambda group: fit(own[group.rank], np.array_split(validation, [60, 60][: group.size - 1])[group.rank]))
    for model in models:
        np.testing.assert_array_equal(block(model), block(models[0]))
        assert model.loss_curve_ == models[0].loss_curve_
        assert model.validation_scores_ == models[0].validation_scores_
    np.testing.assert_allclose(block(models[0]), block(expected), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(models[0].loss_curve_, expected.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(models[0].validation_scores_, expected.validation_scores_, rtol=1e-12)
    np.testing.assert_allclose(models[0].validation_loss_curve_, expected.validation_loss_curve_, rtol=1e-12)
    assert models[0].n_iter_ == expected.n_iter_
    assert models[0].best_iter_ == expected.best_iter_
    np.testing.assert_allclose(models[0].predict_proba(DIGITS), expected.predict_proba(DIGITS), atol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_regressor(two_ranks, loss):
    given = {"hidden_layer_sizes": (10,), "max_iter": 5, "random_state": 0, "batch_size": 40, "shuffle": False, "loss": loss}
    rows, held_out, halves = np.arange(400), np.arange(400, 442), (np.arange(300), np.arange(300, 400))
    together = np.concatenate([part[len(part) * s // 10 : len(part) * (s + 1) // 10] for s in range(10) for part in halves])
    expected = MLPRegressor(**given).fit(
        BODIES[rows[together]], PROGRESS[rows[together]], X_val=BODIES[held_out], y_val=PROGRESS[held_out]
    )

    def fit(group):
        own, val = halves[group.rank], np.array_split(held_out, [30])[group.rank]
        return MLPRegressor(**given).fit(BODIES[own], PROGRESS[own], X_val=BODIES[val], y_val=PROGRESS[val])

    for model in two_ranks.fitted(fit):
        np.testing.assert_allclose(block(model), block(expected), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(model.validation_scores_, expected.validation_scores_, rtol=1e-9)


@pytest.mark.parametrize("kind", ["float32", "sparse", "several labels", "strings"])
def test_kinds_of_data(two_ranks, kind):
    X, y = DIGITS, DIGIT
    if kind == "float32":
        X = X.astype(np.float32)
    elif kind == "sparse":
        X = csr_array(X)
    elif kind == "several labels":
        y = np.stack([y % 2, y > 4, y == 3], axis=1).astype(int)
    else:
        y = np.array([f"digit {i}" for i in y])
    own, together = parts(2)
    given = {"hidden_layer_sizes": (10,), "max_iter": 3, "random_state": 0, "batch_size": 100, "shuffle": False}
    expected = MLPClassifier(**given).fit(X[together], y[together])
    for model in two_ranks.fitted(lambda group: MLPClassifier(**given).fit(X[own[group.rank]], y[own[group.rank]])):
        assert model.coefs_[0].dtype == X.dtype
        tolerance = 2e-5 if kind == "float32" else 1e-12
        np.testing.assert_allclose(block(model), block(expected), rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(model.classes_, expected.classes_)


def test_bfloat16(two_ranks):
    own, together = parts(2)
    given = {"hidden_layer_sizes": (32,), "max_iter": 3, "random_state": 0, "batch_size": 100, "shuffle": False}
    float32, expected = (
        MLPClassifier(**given, precision=each).fit(DIGITS[together].astype(np.float32), DIGIT[together])
        for each in (None, "bfloat16")
    )
    given["precision"] = "bfloat16"
    for model in two_ranks.fitted(lambda group: MLPClassifier(**given).fit(DIGITS[own[group.rank]], DIGIT[own[group.rank]])):
        apart = np.abs(block(model) - block(expected)).max()
        assert apart < 1e-5 < np.abs(block(float32) - block(expected)).max()


def test_classes_that_only_some_ranks_have_and_shuffling(ranks):
    """Rows sorted by class do no harm: each mini-batch has a share of every rank's rows."""
    order = np.argsort(DIGIT, kind="stable")
    cuts = np.array_split(order, ranks.size)
    models = ranks.fitted(
        lambda group: MLPClassifier(max_iter=15, random_state=0).fit(DIGITS[cuts[group.rank]], DIGIT[cuts[group.rank]])
    )
    one = MLPClassifier(max_iter=15, random_state=0).fit(DIGITS, DIGIT)
    assert models[-1].classes_.tolist() == list(range(10))
    assert abs(models[-1].score(DIGITS, DIGIT) - one.score(DIGITS, DIGIT)) < 0.03


def test_random_numbers_are_those_of_rank_0(two_ranks):
    """The first weights and the masks of dropout; the other rank has another seed."""
    given = {"hidden_layer_sizes": (5,), "max_iter": 2, "dropout": 0.3, "batch_size": 100, "shuffle": False}
    own, together = parts(2)
    expected = MLPClassifier(**given, random_state=0).fit(DIGITS[together], DIGIT[together])

    def fit(group):
        rows = own[group.rank]
        return MLPClassifier(**given, random_state=group.rank).fit(DIGITS[rows], DIGIT[rows])

    for model in two_ranks.fitted(fit):
        np.testing.assert_allclose(block(model), block(expected), rtol=1e-12, atol=1e-14)


def test_each_rank_and_epoch_has_an_order_of_its_own(two_ranks, monkeypatch):
    orders, sums = {}, TrainingCalls.sums

    def noted(self, order, first_row, out):
        orders.setdefault((first_row > 0, self._optimizer.t), order.copy())
        sums(self, order, first_row, out)

    monkeypatch.setattr(TrainingCalls, "sums", noted)
    given = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0, "batch_size": 200}
    two_ranks.fitted(lambda group: MLPClassifier(**given).fit(DIGITS[group.rank :: 2][:800], DIGIT[group.rank :: 2][:800]))
    assert len(orders) == 2 * 2 * 8
    first = {tuple(np.concatenate([orders[rank, epoch * 8 + step] for step in range(8)])) for rank in (0, 1) for epoch in (0, 1)}
    assert len(first) == 4
    assert {tuple(sorted(order)) for order in first} == {tuple(range(800))}


def test_left_over_rows_are_spread_over_the_steps(eight_ranks, monkeypatch):
    sizes, apply = [], TrainingCalls.apply

    def noted(self, sums, rate=1.0):
        sizes.append(sums[-1])
        return apply(self, sums, rate)

    monkeypatch.setattr(TrainingCalls, "apply", noted)
    X, y = DIGITS[:80], DIGIT[:80]
    eight_ranks.fitted(
        lambda group: MLPClassifier(hidden_layer_sizes=(3,), max_iter=1, batch_size=4, random_state=0).fit(
            X[group.rank :: 8], y[group.rank :: 8]
        )
    )
    assert set(sizes) == {4.0}


def test_warm_start_goes_on_together(two_ranks):
    own, _ = parts(2)

    def fit(group):
        rows = own[group.rank]
        model = MLPClassifier(hidden_layer_sizes=(5,), max_iter=3, random_state=0, warm_start=True)
        return model.fit(DIGITS[rows], DIGIT[rows]).fit(DIGITS[rows], DIGIT[rows])

    first, second = two_ranks.fitted(fit)
    assert len(first.loss_curve_) == 6
    np.testing.assert_array_equal(block(first), block(second))

    def differently(group):
        rows = own[group.rank]
        model = MLPClassifier(hidden_layer_sizes=(5,), max_iter=3, random_state=0, warm_start=True)
        if group.rank == 0:
            vars(model).update(vars(first))
        return model.fit(DIGITS[rows], DIGIT[rows])

    two_ranks.run(differently)
    assert all("all ranks need the same parameters; the model" in str(error) for error in two_ranks.errors)


def test_held_out_rows_are_those_of_all_ranks(two_ranks):
    cuts = [slice(0, 400), slice(400, 402)]  # the second rank has too few to hold out any

    def fit(group):
        model = MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0, early_stopping=True, warm_start=True)
        return model.fit(BODIES[cuts[group.rank]], PROGRESS[cuts[group.rank]])

    for model in two_ranks.fitted(fit):
        assert len(model.validation_scores_) == 3
        assert model.t_ == 3 * (402 - 40)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_score_of_moments_is_r2(offset):
    model = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(BODIES, np.stack([PROGRESS, -PROGRESS], 1))
    y, outputs = np.stack([PROGRESS, PROGRESS**2], 1) + offset, np.stack([PROGRESS + 0.1, PROGRESS], 1) + offset
    weight = WEIGHT[: len(y)]
    center, pieces = np.average(y, axis=0, weights=weight), (slice(0, 100), slice(100, None))
    moments = sum(model._score_moments(y[part], outputs[part], weight[part], center) for part in pieces)
    np.testing.assert_allclose(model._score_of_moments(moments), r2_score(y, outputs, sample_weight=weight), rtol=1e-6)
    constant = np.stack([np.full(9, 3.0), np.arange(9.0)], 1)
    for predicted in (constant, constant + 1):
        moments = model._score_moments(constant, predicted, None, constant.mean(axis=0))
        assert model._score_of_moments(moments) == pytest.approx(r2_score(constant, predicted))


def test_time_and_callbacks_stop_all_ranks(two_ranks):
    half = [slice(0, 900), slice(900, None)]

    def fit(group):
        model = MLPClassifier(hidden_layer_sizes=(5,), max_iter=50, random_state=0, max_time=1e-9 if group.rank == 0 else 1e9)
        return model.fit(DIGITS[half[group.rank]], DIGIT[half[group.rank]])

    two_ranks.run(fit)
    assert "all ranks need the same parameters; max_time" in str(two_ranks.errors[1])
    models = two_ranks.fitted(
        lambda group: MLPClassifier(hidden_layer_sizes=(5,), random_state=0, max_time=1e-9).fit(
            DIGITS[half[group.rank]], DIGIT[half[group.rank]]
        )
    )
    assert [model.n_iter_ for model in models] == [1, 1]
    sklearn_callback = pytest.importorskip("sklearn.callback")
    assert sklearn_callback

    class Stops:
        def __init__(self, rank):
            self.rank, self.n = rank, 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, *arguments, **data):
            pass

        def on_fit_task_end(self, *arguments, **data):
            self.n += 1
            return self.rank == 1 and self.n == 3

    def watched(group):
        model = MLPClassifier(hidden_layer_sizes=(5,), random_state=0).set_callbacks(Stops(group.rank))
        return model.fit(DIGITS[half[group.rank]], DIGIT[half[group.rank]])

    assert [model.n_iter_ for model in two_ranks.fitted(watched)] == [3, 3]

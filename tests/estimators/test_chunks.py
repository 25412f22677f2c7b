"""fit_chunks: rows that are read anew for each epoch."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes, load_digits

from fastprop import MLPClassifier, MLPRegressor
from fastprop.estimators.chunks import ChunkEpochs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
SIZES = {"hidden_layer_sizes": (20,), "max_iter": 4, "random_state": 0}


def pieces(*arrays, size=97):
    """The arrays in chunks of so many rows."""
    return [tuple(None if a is None else a[i : i + size] for a in arrays) for i in range(0, arrays[0].shape[0], size)]


class OneChunk:
    """A sequence that fails otherwise than lists do beyond its end, as row groups of parquet files do."""

    def __init__(self, *chunk):
        self.chunk = chunk

    def __len__(self):
        return 1

    def __getitem__(self, place):
        if type(place) is not int or place:
            raise ValueError(f"no place {place!r}")
        return self.chunk


def weights(estimator):
    return np.concatenate([a.ravel() for a in (*estimator.coefs_, *estimator.intercepts_)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "adamw", "weight_decay": 0.1, "ema_decay": 0.9, "learning_rate": "cosine", "warmup": 0.2},
        {"dropout": 0.3, "class_weight": "balanced", "label_smoothing": 0.1},
        {"normalization": "batch", "batch_size": 7, "clip_norm": 0.5},
        {"shuffle": False, "learning_rate": "one_cycle"},
    ],
)
def test_one_chunk_gives_the_bits_of_fit(options):
    rows = slice(0, 64)  # of which batch norm leaves out the last: 64 = 9 * 7 + 1
    X, y = DIGITS[rows], DIGIT[rows]
    expected = MLPClassifier(**SIZES, **options).fit(X, y)
    for source in ([(X, y)], lambda: iter([(X, y)]), OneChunk(X, y)):
        got = MLPClassifier(**SIZES, **options).fit_chunks(source)
        np.testing.assert_array_equal(weights(got), weights(expected))
        assert got.loss_curve_ == expected.loss_curve_
        assert got.t_ == expected.t_


def test_one_chunk_of_a_long_epoch_is_cut_where_fit_cuts_it(monkeypatch):
    monkeypatch.setattr("fastprop.loop.FLOPS_PER_CALL", 1e6)
    expected = MLPClassifier(**SIZES).fit(DIGITS, DIGIT)
    got = MLPClassifier(**SIZES).fit_chunks([(DIGITS, DIGIT)])
    np.testing.assert_array_equal(weights(got), weights(expected))
    assert got.loss_curve_ == expected.loss_curve_


def test_without_shuffling_many_chunks_do_the_steps_of_fit():
    """Whole batches and batches that span chunks, also more than two of them."""
    weight = np.linspace(0.5, 2, len(DIGIT))
    expected = MLPClassifier(**SIZES, shuffle=False, batch_size=50).fit(DIGITS, DIGIT, weight)
    for size in (1797, 600, 97, 50, 20):
        got = MLPClassifier(**SIZES, shuffle=False, batch_size=50).fit_chunks(pieces(DIGITS, DIGIT, weight, size=size))
        np.testing.assert_allclose(weights(got), weights(expected), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(got.loss_curve_, expected.loss_curve_, rtol=1e-12)
        assert got._optimizer.t == expected._optimizer.t


def test_an_epoch_has_every_row_once_in_a_new_order(monkeypatch):
    seen = []
    batches = ChunkEpochs._batches

    def spied(self):
        for rows, order in batches(self):
            seen[-1].append(rows.X[order, 0])
            yield rows, order

    def run(self, orders, losses, run=ChunkEpochs.run):
        seen.append([])
        run(self, orders, losses)

    monkeypatch.setattr(ChunkEpochs, "_batches", spied)
    monkeypatch.setattr(ChunkEpochs, "run", run)
    X = np.arange(500.0)[:, None]
    MLPRegressor(hidden_layer_sizes=(2,), max_iter=3, random_state=0, batch_size=32).fit_chunks(
        pieces(X / 500, X[:, 0] / 500, size=150)
    )
    epochs = [np.rint(np.concatenate(each) * 500).astype(int) for each in seen]
    assert len(epochs) == 3
    for epoch in epochs:
        assert sorted(epoch) == list(range(500))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # The chunks of a list come in a new order too.
    assert len({tuple(dict.fromkeys(epoch // 150)) for epoch in epochs}) > 1


def test_the_same_seed_gives_the_same_bits():
    first, second = (MLPClassifier(**SIZES).fit_chunks(pieces(DIGITS, DIGIT)) for _ in range(2))
    np.testing.assert_array_equal(weights(first), weights(second))


def test_many_chunks_learn_as_well_as_fit():
    losses = {"fit": [], "chunks": []}
    for seed in range(3):
        given = {"max_iter": 15, "random_state": seed}
        losses["fit"].append(MLPClassifier(**given).fit(DIGITS, DIGIT).loss_)
        losses["chunks"].append(MLPClassifier(**given).fit_chunks(pieces(DIGITS, DIGIT, size=300)).loss_)
    assert abs(np.mean(losses["chunks"]) / np.mean(losses["fit"]) - 1) < 0.1


@pytest.mark.parametrize("kind", ["sparse", "frame", "float32", "several labels", "strings"])
def test_kinds_of_data(kind):
    X, y = DIGITS, DIGIT
    if kind == "sparse":
        X = csr_array(X)
    elif kind == "frame":
        pandas = pytest.importorskip("pandas")
        X = pandas.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    elif kind == "float32":
        X = X.astype(np.float32)
    elif kind == "several labels":
        y = np.stack([y % 2, y > 4], axis=1).astype(int)
    else:
        y = np.array([f"digit {i}" for i in y])
    given = {**SIZES, "shuffle": False, "class_weight": "balanced"}
    expected = MLPClassifier(**given).fit(X, y)
    got = MLPClassifier(**given).fit_chunks(pieces(X, y, size=300))
    assert got.coefs_[0].dtype == expected.coefs_[0].dtype
    np.testing.assert_allclose(weights(got), weights(expected), rtol=1e-4 if kind == "float32" else 1e-10, atol=1e-6)
    np.testing.assert_array_equal(got.classes_, expected.classes_)
    np.testing.assert_array_equal(got.predict(X[:50]), expected.predict(X[:50]))
    assert hasattr(got, "feature_names_in_") == (kind == "frame")


def test_one_float64_chunk_makes_all_float64():
    chunks = pieces(DIGITS.astype(np.float32), DIGIT, size=900)
    assert MLPClassifier(**SIZES).fit_chunks(chunks).coefs_[0].dtype == np.float32
    chunks[1] = (chunks[1][0].astype(np.float64), chunks[1][1])
    assert MLPClassifier(**SIZES).fit_chunks(chunks).coefs_[0].dtype == np.float64


def test_classes_of_all_chunks():
    order = np.argsort(DIGIT, kind="stable")
    chunks = pieces(DIGITS[order], DIGIT[order], size=170)
    assert MLPClassifier(**SIZES).fit_chunks(chunks).classes_.tolist() == list(range(10))
    assert MLPClassifier(**SIZES).fit_chunks(chunks, classes=range(12)).n_outputs_ == 12
    with pytest.raises(ValueError, match="classes not in"):
        MLPClassifier(**SIZES).fit_chunks(chunks, classes=range(9))


def test_some_chunks_with_weights():
    weight = np.ones(len(DIGIT))
    weight[:97] = 3
    expected = MLPClassifier(**SIZES, shuffle=False).fit(DIGITS, DIGIT, weight)
    first, *rest = pieces(DIGITS, DIGIT)
    got = MLPClassifier(**SIZES, shuffle=False).fit_chunks([(*first, np.full(97, 3.0)), *rest])
    np.testing.assert_allclose(weights(got), weights(expected), rtol=1e-10, atol=1e-12)


def test_regressor_and_validation():
    X, y = load_diabetes(return_X_y=True)
    X, y = X * 10, y / 100
    given = {**SIZES, "shuffle": False, "early_stopping": True, "max_iter": 30, "n_iter_no_change": 3}
    expected = MLPRegressor(**given).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    got = MLPRegressor(**given).fit_chunks(pieces(X[:300], y[:300]), X_val=X[300:], y_val=y[300:])
    assert got.n_iter_ == expected.n_iter_
    np.testing.assert_allclose(got.validation_scores_, expected.validation_scores_, rtol=1e-10)
    np.testing.assert_allclose(weights(got), weights(expected), rtol=1e-10)


def test_warm_start_goes_on():
    chunks = pieces(DIGITS, DIGIT)
    model = MLPClassifier(**{**SIZES, "warm_start": True}).fit_chunks(chunks)
    loss = model.loss_
    model.fit_chunks(chunks)
    assert model.loss_ < loss
    assert len(model.loss_curve_) == 8
    with pytest.raises(ValueError, match="same classes"):
        model.fit_chunks(chunks[:1], classes=range(11))
    with pytest.raises(ValueError, match="chunk 0 of source: X has 63 features"):
        model.fit_chunks(pieces(DIGITS[:, 1:], DIGIT))


class Interruption(Exception):
    pass


def failing(error, epoch):
    """A source that raises an error in the second chunk of an epoch, from 1."""
    reads = []

    def read():
        reads.append(0)
        yield DIGITS[:900], DIGIT[:900]
        if len(reads) == epoch + 1:
            raise error
        yield DIGITS[900:], DIGIT[900:]

    return read


def test_a_source_that_fails_leaves_a_usable_model():
    model = MLPClassifier(**{**SIZES, "max_iter": 10, "warm_start": True})
    with pytest.raises(Interruption):
        model.fit_chunks(failing(Interruption(), 4))
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert len(model.predict(DIGITS)) == len(DIGIT)
    loss = model.loss_
    assert model.fit_chunks(pieces(DIGITS, DIGIT)).loss_ < loss


def test_ctrl_c_in_a_source_ends_the_fit():
    model = MLPClassifier(**{**SIZES, "max_iter": 10})
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit_chunks(failing(KeyboardInterrupt(), 4))
    assert model.n_iter_ == 3


def test_an_error_in_the_first_reading_changes_nothing():
    model = MLPClassifier(**SIZES).fit(DIGITS, DIGIT)
    before = weights(model).copy()
    with pytest.raises(Interruption):
        model.fit_chunks(failing(Interruption(), 0))
    with pytest.raises(ValueError, match="chunk 1 of source: Input X contains NaN"):
        model.fit_chunks([(DIGITS, DIGIT), (np.full((3, 64), np.nan), [0, 1, 2])])
    np.testing.assert_array_equal(weights(model), before)
    assert model.n_features_in_ == 64


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (((DIGITS, DIGIT) for _ in range(3)), TypeError, "source must be read again for each epoch"),
        (3, TypeError, "source must be read again"),
        ([], ValueError, "source has no rows"),
        ([(DIGITS[:0], DIGIT[:0])], ValueError, "source has no rows"),
        ([DIGITS], TypeError, r"chunk 0 of source must be \(X, y\) or \(X, y, sample_weight\); got a ndarray"),
        ([(DIGITS,)], TypeError, "got 1 elements"),
        ([(DIGITS, DIGIT), (DIGITS[:, :5], DIGIT)], ValueError, "chunk 1 of source: X has 5 features; the rows before it have 64"),
        ([(DIGITS, DIGIT[:5])], ValueError, "chunk 0 of source: Found input variables with inconsistent numbers of samples"),
        ([(DIGITS, DIGIT), (DIGITS, np.stack([DIGIT > 3, DIGIT > 5], 1))], ValueError, "chunk 1 of source: y has 2 labels in each"),
        ([(DIGITS, DIGIT, np.zeros(len(DIGIT)))], ValueError, "at least one non-zero"),
        ([(DIGITS, DIGIT), (csr_array(DIGITS), DIGIT)], ValueError, "chunk 1 of source: X is sparse; the rows before it are dense"),
        ([(DIGITS, DIGIT), (DIGITS, DIGIT[:0])], ValueError, "chunk 1 of source: "),
    ],
)
def test_bad_sources(source, error, message):
    model = MLPClassifier(**SIZES)
    with pytest.raises(error, match=message):
        model.fit_chunks(source)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("size", [100, 1000])
@pytest.mark.parametrize("second", [300, 500])
def test_a_source_that_changes(second, size):
    sizes = iter([400, second])

    def read():
        n = next(sizes)
        return iter(pieces(DIGITS[:n], DIGIT[:n], size=size))

    with pytest.raises(ValueError, match=f"400 rows that it had when it was first read; it has {second} now"):
        MLPClassifier(**SIZES).fit_chunks(read)


def test_the_only_chunk_shrinks_in_a_later_epoch():
    sizes = iter([400, 400, 10])

    def read():
        n = next(sizes)
        return iter([(DIGITS[:n], DIGIT[:n])])

    with pytest.raises(ValueError, match="it has 10 now"):
        MLPClassifier(**SIZES).fit_chunks(read)


def test_a_source_whose_form_changes():
    reads = iter([[(DIGITS, DIGIT)], [(DIGITS, DIGIT, np.ones(len(DIGIT)))]])
    with pytest.raises(ValueError, match="chunk 0 of source: the rows are sparse, or have weights, unlike"):
        MLPClassifier(**SIZES).fit_chunks(lambda: iter(next(reads)))


def test_what_chunks_cannot_have():
    chunks = pieces(DIGITS, DIGIT)
    with pytest.raises(ValueError, match="early_stopping=True needs X_val and y_val"):
        MLPClassifier(early_stopping=True).fit_chunks(chunks)
    with pytest.raises(ValueError, match=r"fit_chunks needs mini-batches: solver must be one of .* got 'lbfgs'"):
        MLPClassifier(solver="lbfgs").fit_chunks(chunks)


def test_an_empty_chunk_is_skipped():
    chunks = pieces(DIGITS, DIGIT, size=600)
    got = MLPClassifier(**SIZES, shuffle=False).fit_chunks([chunks[0], (DIGITS[:0], DIGIT[:0]), *chunks[1:]])
    expected = MLPClassifier(**SIZES, shuffle=False).fit_chunks(chunks)
    np.testing.assert_array_equal(weights(got), weights(expected))


def test_a_chunk_may_have_no_weight():
    chunks = [(X, y, np.ones(len(y)) * (place != 1)) for place, (X, y) in enumerate(pieces(DIGITS, DIGIT, size=600))]
    weight = np.concatenate([chunk[2] for chunk in chunks])
    got = MLPClassifier(**SIZES, shuffle=False).fit_chunks(chunks)
    expected = MLPClassifier(**SIZES, shuffle=False).fit(DIGITS, DIGIT, weight)
    np.testing.assert_allclose(weights(got), weights(expected), rtol=1e-10, atol=1e-12)

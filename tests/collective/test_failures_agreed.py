"""Errors on one rank, and checkpoints, with ranks that are threads."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastprop import MLPClassifier, TabularClassifier, collective
from fastprop.estimators import shares
from fastprop.estimators.shares import ShareEpochs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
HALVES = [slice(0, 900), slice(900, None)]
SIZES = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0}


def model_of(group, **options):
    return MLPClassifier(**{**SIZES, **options})


def fit(group, X=DIGITS, y=DIGIT, **options):
    return model_of(group, **options).fit(X[HALVES[group.rank]], y[HALVES[group.rank]])


def failed(ranks, function):
    ranks.run(function)
    return [f"{type(error).__name__}: {error}" for error in ranks.errors]


def test_bad_data_of_one_rank_are_an_error_on_all(two_ranks):
    X = DIGITS.copy()
    X[1000, 3] = np.nan
    first, second = failed(two_ranks, lambda group: fit(group, X))
    assert first.startswith("RankError: rank 1 failed: ValueError: Input X contains NaN")
    assert second.startswith("ValueError: Input X contains NaN")
    assert not two_ranks.aborted


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda group: fit(group, DIGITS if group.rank else DIGITS[:, :3]), "X has 64 features; the rows before it have 3"),
        (lambda group: fit(group, alpha=group.rank), "all ranks need the same parameters; alpha is 0 on rank 0, 1 on rank 1"),
        (lambda group: fit(group, normalization="batch"), "normalization='batch' needs all rows"),
        (lambda group: fit(group, solver="lbfgs"), "training on several ranks needs mini-batches"),
        (
            lambda group: fit(group, DIGITS, DIGIT if group.rank else np.stack([DIGIT > 3, DIGIT > 5], 1)),
            "y has one label in each row",
        ),
        (lambda group: model_of(group).fit(DIGITS[:0], DIGIT[:0]), "no rank has rows to train on"),
        (lambda group: model_of(group).fit(DIGITS[:9], DIGIT[:9], np.zeros(9)), "at least one non-zero"),
        (lambda group: model_of(group).partial_fit(DIGITS, DIGIT, classes=range(10)), "partial_fit does not train together"),
        (lambda group: model_of(group).fit_chunks([(DIGITS, DIGIT)]), "fit_chunks does not train together"),
        (lambda group: TabularClassifier().fit(DIGITS, DIGIT), "TabularClassifier.fit does not train together"),
    ],
)
def test_refusals(two_ranks, function, message):
    errors = failed(two_ranks, function)
    assert all(message in error for error in errors), errors


def test_an_error_in_training_ends_all(two_ranks, monkeypatch, capsys):
    run, epochs = ShareEpochs.run, []

    def failing(self, orders, losses):
        if self._group.rank == 1 and len(epochs) == 1:
            raise OSError("the disk is gone")
        if self._group.rank == 1:
            epochs.append(0)
        run(self, orders, losses)

    monkeypatch.setattr(ShareEpochs, "run", failing)
    first, second = failed(two_ranks, fit)
    assert second == "OSError: the disk is gone"
    assert "BrokenBarrierError" in first
    assert "rank 1 of 2 ends all:" in capsys.readouterr().err
    assert "the disk is gone" in two_ranks.aborted


class Killed(BaseException):
    """What no code expects."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "dropout": 0.2, "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 1.0},
        {"solver": "adamw", "weight_decay": 0.1, "ema_decay": 0.9, "early_stopping": True, "learning_rate": "cosine"},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
def test_after_a_kill_the_checkpoint_leads_to_the_same_model(two_ranks, monkeypatch, tmp_path, options):
    path, given = tmp_path / "fit.npz", {"max_iter": 8, **options}
    monkeypatch.setattr(shares, "SECONDS_BETWEEN_SAVES", 0.0)
    expected, _ = two_ranks.fitted(lambda group: fit(group, **given))
    run = ShareEpochs.run

    def killed(self, orders, losses):
        if self._optimizer.t >= 4 * 9:
            raise Killed
        run(self, orders, losses)

    def checkpointed(group):
        with collective.use(group, path):
            return fit(group, **given)

    monkeypatch.setattr(ShareEpochs, "run", killed)
    two_ranks.run(checkpointed)
    assert path.exists()
    other = failed(two_ranks, lambda group: checkpointed_with(group, path, **{**given, "alpha": 9}))
    assert all("fit.npz belongs to another fit: alpha" in error or "RankError" in error for error in other), other
    monkeypatch.setattr(ShareEpochs, "run", run)
    got, other = two_ranks.fitted(checkpointed)
    assert not path.exists()
    for model in (got, other):
        np.testing.assert_array_equal(model._current_network().params, expected._current_network().params)
        assert model.loss_curve_ == expected.loss_curve_
        assert model.validation_scores_ == expected.validation_scores_
        assert model.n_iter_ == expected.n_iter_
    path.write_bytes(b"no zip file")
    assert all("is no checkpoint" in error for error in failed(two_ranks, checkpointed))


def checkpointed_with(group, path, **options):
    with collective.use(group, path):
        return fit(group, **options)


def test_a_group_needs_five_names():
    with pytest.raises(TypeError, match="rank, size, allreduce_, broadcast_ and abort; got dict"), collective.use({}):
        pass


def test_one_rank_is_a_plain_fit():
    class Alone:
        rank, size = 0, 1

        def allreduce_(self, array):
            raise AssertionError

        broadcast_ = abort = allreduce_

    with collective.use(Alone()):
        got = MLPClassifier(**SIZES).fit(DIGITS, DIGIT)
    np.testing.assert_array_equal(got.coefs_[0], MLPClassifier(**SIZES).fit(DIGITS, DIGIT).coefs_[0])

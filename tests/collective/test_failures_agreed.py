"""Errors on one rank, and checkpoints, with ranks that are threads."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits

from fastprop import MLPClassifier, TabularClassifier, collective, fit_many
from fastprop.estimators import shares
from fastprop.estimators.shares import ShareEpochs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
HALVES = [slice(0, 900), slice(900, None)]


def no_score(estimator, X, y):
    return math.nan


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
        (lambda group: fit_many([model_of(group)], DIGITS, DIGIT), "fit_many does not train together"),
        (lambda group: fit(group, csr_array(DIGITS) if group.rank else DIGITS), "X is sparse; the rows before it are dense"),
        (lambda group: model_of(group).fit(DIGITS, None if group.rank else DIGIT), "y"),
        (lambda group: model_of(group).fit(DIGITS[: 9 * group.rank], DIGIT[:9]), "Found array with 0 sample(s)"),
        (lambda group: fit(group, scoring=no_score, early_stopping=True), "scoring gives nan for those of a rank"),
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


def test_ctrl_c_on_one_rank_ends_all_and_keeps_the_checkpoint(two_ranks, monkeypatch, tmp_path):
    monkeypatch.setattr(shares, "SECONDS_BETWEEN_SAVES", 0.0)
    run, path = ShareEpochs.run, tmp_path / "fit.npz"

    def interrupted(self, orders, losses):
        if self._group.rank == 0 and self._optimizer.t:
            raise KeyboardInterrupt
        run(self, orders, losses)

    monkeypatch.setattr(ShareEpochs, "run", interrupted)
    two_ranks.run(lambda group: checkpointed_with(group, path))
    assert isinstance(two_ranks.errors[0], KeyboardInterrupt)
    assert two_ranks.errors[1] is not None
    assert path.exists()


def test_validation_rows_on_one_rank_only(two_ranks):
    def fit(group, n):
        model = model_of(group, early_stopping=True)
        rows = HALVES[group.rank]
        return model.fit(DIGITS[rows], DIGIT[rows], X_val=DIGITS[:n], y_val=DIGIT[:n])

    both = two_ranks.fitted(lambda group: fit(group, 50 if group.rank else 0))
    assert both[0].validation_scores_ == both[1].validation_scores_
    assert len(both[0].validation_scores_) == 4


def test_a_callback_on_one_rank_only(two_ranks):
    pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
    from sklearn.callback import ProgressBar

    def watched(group):
        model = model_of(group)
        if group.rank:
            model.set_callbacks(ProgressBar())
        return model.fit(DIGITS[HALVES[group.rank]], DIGIT[HALVES[group.rank]])

    assert [model.n_iter_ for model in two_ranks.fitted(watched)] == [4, 4]


def test_a_checkpoint_of_other_data_or_in_no_folder_is_refused(two_ranks, monkeypatch, tmp_path):
    monkeypatch.setattr(shares, "SECONDS_BETWEEN_SAVES", 0.0)
    run, path = ShareEpochs.run, tmp_path / "fit.npz"

    def killed(self, orders, losses):
        if self._group.rank == 0 and self._optimizer.t:  # the one that has saved by then
            raise Killed
        run(self, orders, losses)

    monkeypatch.setattr(ShareEpochs, "run", killed)
    two_ranks.run(lambda group: checkpointed_with(group, path))
    monkeypatch.setattr(ShareEpochs, "run", run)

    def other(group):
        with collective.use(group, path):
            return model_of(group).fit(DIGITS[HALVES[group.rank]], (DIGIT[HALVES[group.rank]] + 1) % 10)

    assert all("belongs to another fit: data" in error for error in failed(two_ranks, other)[:1])
    assert all(
        "folder" in error for error in failed(two_ranks, lambda group: checkpointed_with(group, tmp_path / "none" / "fit.npz"))
    )


def test_leaving_with_success_is_no_error(two_ranks):
    def leave(group):
        raise SystemExit(0)

    two_ranks.run(leave)
    assert all(isinstance(error, SystemExit) for error in two_ranks.errors)
    assert not two_ranks.aborted


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
        if self._group.rank == 0 and self._optimizer.t >= 4 * 9:
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

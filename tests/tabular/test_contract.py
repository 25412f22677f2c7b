"""What each fit keeps to: reproducible bits, parameters that stay, a fitted estimator that an error does not change."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone

from fastprop import TabularClassifier, TabularRegressor
from fastprop.tabular import recipe

KINDS = ["binary", "multiclass", "one output", "two outputs"]


@pytest.mark.parametrize("cls", [TabularClassifier, TabularRegressor])
def test_parameters(cls):
    names = list(inspect.signature(cls).parameters)
    assert sorted(cls().get_params()) == sorted(names) == sorted(cls._parameter_constraints)
    for name, value in cls().get_params().items():
        assert cls().set_params(**{name: value}).get_params() == cls().get_params()
    sizes, columns = [4, 4], np.array([0])
    ours = cls(hidden_layer_sizes=sizes, categorical_features=columns)
    assert ours.hidden_layer_sizes is sizes
    assert ours.categorical_features is columns
    with pytest.raises(ValueError, match="Invalid parameter 'alpha' for estimator"):
        ours.set_params(alpha=1)
    with pytest.raises(TypeError, match="positional argument"):
        cls(8)


@pytest.mark.parametrize("kind", KINDS)
def test_clone(data, make, assert_same, kind):
    X, y = data(kind)
    ours = make(kind, hidden_layer_sizes=[7], dropout=0.1, refit=True).fit(X, y)
    copied = clone(ours)
    assert not hasattr(copied, "members_")
    assert copied.get_params() == ours.get_params()
    assert_same(copied.fit(X, y), ours, X)


OPTIONS = [{}, {"dropout": 0.2}, {"early_stopping": False, "batch_size": 7}, {"scoring": "given"}, {"refit": True}]


@pytest.mark.pairwise
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_changes_no_bit(data, make, assert_same, kind, options):
    X, y = data(kind)
    if "scoring" in options:
        options = {"scoring": "accuracy" if kind in KINDS[:2] else "r2"}
    weight = np.linspace(0.5, 2, len(y))
    one, *others = (make(kind, n_jobs=n, n_members=3, **options).fit(X, y, weight) for n in (1, 2, 3, -1))
    for other in others:
        assert_same(other, one, np.repeat(X, 30, axis=0))


@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_random_state(data, make, assert_same, kind):
    X, y = data(kind)
    seeded = [make(kind, n_bins=8, random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    assert_same(*seeded[:2])
    assert (seeded[0].members_[0].params != seeded[2].members_[0].params).any()
    assert (seeded[0].members_[0].params != seeded[0].members_[1].params).any()
    generator = np.random.RandomState(0)
    first = make(kind, n_bins=8, random_state=generator).fit(X, y)
    assert_same(first, seeded[0])
    assert (first.members_[0].params != make(kind, n_bins=8, random_state=generator).fit(X, y).members_[0].params).any()
    unseeded = [make(kind, n_bins=8, random_state=None).fit(X, y) for _ in range(2)]
    assert (unseeded[0].members_[0].params != unseeded[1].members_[0].params).any()


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_an_error_leaves_a_fitted_estimator_as_it_was(data, make, assert_same, kind, warm_start):
    X, y = data(kind)
    ours, same = (make(kind, warm_start=warm_start).fit(X, y) for _ in range(2))
    infinite = X.copy()
    infinite[0, 0] = np.inf

    n_scored = iter(range(3))

    def fails(*arguments):
        if next(n_scored) == 2:  # in the second epoch
            raise OSError("of the scorer")
        return 0.0

    bad = [
        (infinite, y, {}),
        (X, y[1:], {}),
        (X, None, {}),
        (X, y, {"sample_weight": np.zeros(len(y))}),
        (X, y, {"X_val": X}),
        (X, y, {"X_val": X[:, 1:], "y_val": y}),
        (X, y, {"X_val": X, "y_val": np.array(["z"] * len(y))}),
    ]
    for rows, targets, given in bad:
        with pytest.raises(ValueError):  # noqa: PT011 (test_refusals.py has the words)
            ours.fit(rows, targets, **given)
        assert_same(ours, same, X)
    for wrong in ({"n_jobs": 0}, {"max_iter": 0}, {"scoring": "bad"}, {"hidden_layer_sizes": [0]}, {"n_members": 2.5}):
        with pytest.raises(ValueError):  # noqa: PT011
            clone(ours).set_params(**wrong).fit(X, y)
    with pytest.raises(OSError, match="of the scorer"):
        ours.set_params(scoring=fails).fit(X, y)
    assert_same(ours, same, X)


@pytest.mark.parametrize("kind", KINDS)
def test_fit_changes_no_input(data, make, kind):
    X, y = data(kind)
    weight = np.linspace(1, 2, len(y))
    before = X.copy(), y.copy(), weight.copy()
    for array in (X, y, weight):
        array.setflags(write=False)
    ours = make(kind).fit(X, y, weight, X_val=X, y_val=y, sample_weight_val=weight)
    ours.predict(X)
    for array, was in zip((X, y, weight), before, strict=True):
        np.testing.assert_array_equal(array, was)


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start_goes_on(data, make, kind):
    X, y = data(kind, n=300)
    ours = make(kind, warm_start=True, early_stopping=False, max_iter=6, learning_rate_init=0.02).fit(X, y)
    first, encoder, losses = [network.params.copy() for network in ours.members_], ours.encoders_, ours.loss_curves_
    before = ours.predict(X)
    other, _ = data(kind, n=300, seed=1)
    ours.fit(other, data(kind, n=300, seed=1)[1])
    assert ours.encoders_ is encoder
    assert ours.n_iter_ == 6
    for old, new in zip(losses, ours.loss_curves_, strict=True):
        assert new[0] < old[0]
    assert (ours.members_[0].params != first[0]).any()
    assert before.shape == ours.predict(X).shape
    with pytest.raises(ValueError, match="warm_start needs the n_members and hidden_layer_sizes of the last fit"):
        ours.set_params(n_members=3).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but Tabular\w+ is expecting 4 features"):
        ours.set_params(n_members=2).fit(X[:, 1:], y)


def test_warm_start_needs_targets_of_the_same_kind(data, make):
    X, y = data("multiclass")
    ours = make("multiclass", warm_start=True).fit(X, y)
    with pytest.raises(
        ValueError, match="warm_start can only be used where `y` has the same classes as in the previous call to fit"
    ):
        ours.fit(X, np.where(y == "a", "b", y))
    X, y = data("two outputs")
    ours = make("two outputs", warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"warm_start needs y of the shape of the last fit, \(90, 2\); got shape \(90,\)"):
        ours.fit(X, y[:, 0])


def test_a_new_fit_begins_anew(data, make, assert_same):
    X, y = data("multiclass")
    ours = make("multiclass").fit(*data("binary", n=50))
    assert_same(ours.fit(X, y), make("multiclass").fit(X, y), X)
    assert not hasattr(ours.set_params(early_stopping=False).fit(X, y), "validation_loss_curves_")


@pytest.mark.parametrize(("limit", "n_iter"), [(1e-9, 1), (2.5, 3), (1e9, 5)])
def test_max_time(data, make, clock, limit, n_iter):
    """No further epoch begins after it."""
    X, y = data("multiclass")
    clock()
    ours = make("multiclass", max_iter=5, max_time=limit).fit(X, y)
    assert ours.n_iter_ == n_iter
    assert [len(curve) for curve in ours.loss_curves_] == [n_iter] * 2
    assert np.isfinite(ours.predict_proba(X)).all()


@pytest.mark.parametrize("limit", [1e-9, 2.5, 6, 9])
def test_without_the_time_for_a_whole_refit_there_is_none(data, make, assert_same, clock, limit):
    X, y = data("multiclass")
    fitted = []
    for refit in (False, True):
        clock()
        fitted.append(make("multiclass", max_iter=5, max_time=limit, refit=refit).fit(X, y))
    assert_same(*fitted, X)
    assert fitted[0].n_iter_ == (5 if limit >= 6 else 1 + int(limit))


@pytest.mark.parametrize("kind", KINDS)
def test_refit(data, make, kind):
    """Each member learns from all rows, for as many epochs as its best one."""
    X, y = data(kind)
    plain, ours = (make(kind, max_iter=6, refit=refit).fit(X, y) for refit in (False, True))
    assert plain.best_iters_ == ours.best_iters_
    assert plain.loss_curves_ == ours.loss_curves_
    assert all((a.params != b.params).any() for a, b in zip(plain.members_, ours.members_, strict=True))
    alone = make(kind, max_iter=6, early_stopping=False, refit=True).fit(X, y)
    assert alone.best_iters_ == [6, 6]


def test_patience(data, make, monkeypatch):
    """Each member stops so many epochs after its best one."""
    X, y = data("one output")
    y[:] = np.random.default_rng(0).normal(size=len(y))  # there is nothing to learn
    long = make("one output", max_iter=40, learning_rate_init=0.05).fit(X, y)
    monkeypatch.setattr(recipe, "PATIENCE", 3)
    ours = make("one output", max_iter=40, learning_rate_init=0.05).fit(X, y)
    for best, curve, whole in zip(ours.best_iters_, ours.validation_loss_curves_, long.validation_loss_curves_, strict=True):
        assert len(curve) == best + 3 < 40
        assert best == 1 + int(np.argmin(curve))
        assert curve == whole[: len(curve)]
    assert ours.n_iter_ == max(map(len, ours.loss_curves_))


@pytest.mark.parametrize("verbose", [0, 1, True, 2])
def test_verbose_shows_a_progress_bar_on_stderr(data, make, capsys, verbose):
    make("multiclass", verbose=verbose).fit(*data("multiclass"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("3/3" in shown.err) is bool(verbose)
    assert ("loss" in shown.err) is bool(verbose)


def test_the_bar_of_a_refit(data, make, capsys):
    make("multiclass", verbose=1, refit=True).fit(*data("multiclass"))
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fitted", [False, True], ids=["", "fitted"])
def test_html(data, make, kind, fitted):
    ours = make(kind)
    if fitted:
        ours.fit(*data(kind))
    html = ours._repr_html_()
    assert ours._repr_mimebundle_()["text/html"]
    assert type(ours).__name__ in html
    assert ("Fitted" if fitted else "Not fitted") in html
    assert "hidden_layer_sizes" in html


def test_repr(make):
    assert repr(TabularClassifier()) == "TabularClassifier()"
    assert repr(TabularRegressor(loss="huber", n_members=2)) == "TabularRegressor(loss='huber', n_members=2)"


@pytest.mark.parametrize("cls", [TabularClassifier, TabularRegressor])
def test_tags(cls):
    tags = cls().__sklearn_tags__()
    assert tags.input_tags.sparse
    assert tags.input_tags.allow_nan
    assert tags.input_tags.categorical
    assert tags.target_tags.required
    if cls is TabularRegressor:
        assert tags.target_tags.multi_output
        assert not tags.target_tags.positive_only
        assert cls(loss="gamma").__sklearn_tags__().target_tags.positive_only
